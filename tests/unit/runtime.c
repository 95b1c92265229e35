/* SPDX-License-Identifier: MIT */
/* The runtime directory, its lock, and the list of living listeners, also after a kill -9. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"
#include "os/runtime.h"
#include "unit/scratch.h"

enum { MS = 1000000 };

static void directory_is_private(void **state)
{
    (void)state;
    char path[256];
    struct stat facts;
    assert_int_equal(telex_runtime_path(path, sizeof path), 0);
    assert_string_equal(path, scratch_path("telex"));
    assert_int_equal(lstat(path, &facts), 0);
    assert_true(S_ISDIR(facts.st_mode));
    assert_int_equal(facts.st_mode & 07777, 0700);
    assert_int_equal(facts.st_uid, geteuid());
    assert_int_equal(telex_runtime_path(path, sizeof path), 0);
    assert_int_equal(telex_runtime_path(path, 10), -ENAMETOOLONG);
}

static void refused(const char *word)
{
    char path[256];
    telex_say(-1, "nothing was said");
    assert_int_equal(telex_runtime_path(path, sizeof path), -EPERM);
    assert_non_null(strstr(telex_said(), word));
    assert_int_equal(telex_runtime_lock(), -EPERM);
}

static void unsafe_directories_are_refused(void **state)
{
    (void)state;
    const char *path = scratch_path("telex");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0750), 0);
    refused("0750");
    assert_int_equal(rmdir(path), 0);

    assert_int_equal(mkdir(scratch_path("elsewhere"), 0700), 0);
    assert_int_equal(symlink(scratch_path("elsewhere"), path), 0);
    refused("no directory");
    assert_int_equal(unlink(path), 0);

    fclose(fopen(path, "w"));
    refused("no directory");
    assert_int_equal(unlink(path), 0);

    if (geteuid() == 0) { /* only root can make a directory of somebody else */
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chown(path, 12345, 12345), 0);
        refused("12345");
    }
}

static void falls_back(const char *xdg, const char *temporary)
{
    char path[256], expected[256];
    if (xdg != NULL)
        setenv("XDG_RUNTIME_DIR", xdg, 1);
    else
        unsetenv("XDG_RUNTIME_DIR");
    setenv("TMPDIR", temporary, 1);
    assert_int_equal(telex_runtime_path(path, sizeof path), 0);
    snprintf(expected, sizeof expected, "%s/telex-%u", temporary, (unsigned)geteuid());
    assert_string_equal(path, expected);
}

static void other_places(void **state)
{
    (void)state;
    falls_back(NULL, testing_directory());
    falls_back("", testing_directory());
    falls_back("relative", testing_directory());
    falls_back(scratch_path("not-there"), testing_directory());
    if (geteuid() == 0) { /* as after su: the variable is another user's */
        const char *other = scratch_path("other");
        assert_int_equal(mkdir(other, 0700), 0);
        assert_int_equal(chown(other, 12345, 12345), 0);
        falls_back(other, testing_directory());
    }
}

/* A child that holds the lock for `ms`; returns once it has it. */
static pid_t holder(int ms)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int lock = telex_runtime_lock();
        if (write(ready[1], "x", 1) < 1)
            _exit(2);
        telex_poll(NULL, 0, telex_clock() + (int64_t)ms * MS);
        telex_shut(lock);
        _exit(lock >= 0 ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void joined(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void lock_excludes(void **state)
{
    (void)state;
    int64_t begin = telex_clock();
    pid_t child = holder(200);
    int lock = telex_runtime_lock();
    assert_true(lock >= 0);
    assert_true(telex_clock() - begin >= 200 * MS);
    telex_shut(lock);
    joined(child);

    child = holder(10000);
    begin = telex_clock();
    assert_int_equal(telex_runtime_lock(), -EBUSY);
    assert_true(telex_clock() - begin >= 1000 * MS);
    assert_non_null(strstr(telex_said(), "lock"));
    kill(child, SIGKILL); /* its lock dies with it */
    waitpid(child, NULL, 0);
    begin = telex_clock();
    lock = telex_runtime_lock();
    assert_true(lock >= 0 && telex_clock() - begin < 500 * MS);
    telex_shut(lock);
}

/* ---- entries ---- */

struct seen {
    int count, stop_at;
    char addresses[8][64];
    int64_t pids[8], since[8];
    char program[64];
};

static int see(const struct telex_entry_facts *facts, void *user)
{
    struct seen *seen = user;
    assert_true(seen->count < 8);
    snprintf(seen->addresses[seen->count], sizeof seen->addresses[0], "%s", facts->address);
    snprintf(seen->program, sizeof seen->program, "%s", facts->program);
    seen->pids[seen->count] = facts->pid;
    seen->since[seen->count++] = facts->since;
    return seen->count == seen->stop_at ? 77 : 0;
}

static struct seen walk(void)
{
    struct seen seen = {0};
    assert_int_equal(telex_entry_walk(see, &seen), 0);
    return seen;
}

static void entries_are_listed(void **state)
{
    (void)state;
    assert_int_equal(walk().count, 0);
    struct telex_entry entries[3];
    static const char *const addresses[] = {"unix:///b", "tcp://127.0.0.1:7", "unix:///a"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(telex_entry_add(&entries[i], addresses[i]), 0);
        assert_true(entries[i].fd >= 0);
    }
    struct seen seen = walk();
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.addresses[0], "tcp://127.0.0.1:7");
    assert_string_equal(seen.addresses[1], "unix:///a");
    assert_string_equal(seen.addresses[2], "unix:///b");
    assert_string_equal(seen.program, telex_program());
    assert_int_equal(seen.pids[0], getpid());
    assert_true(llabs(seen.since[0] - time(NULL)) <= 5);

    seen = (struct seen){.stop_at = 2};
    assert_int_equal(telex_entry_walk(see, &seen), 77);
    assert_int_equal(seen.count, 2);

    telex_entry_remove(&entries[2]);
    telex_entry_remove(&entries[2]);
    assert_int_equal(walk().count, 2);
    telex_entry_remove(&entries[0]);
    telex_entry_remove(&entries[1]);
    assert_int_equal(walk().count, 0);

    struct telex_entry bad;
    assert_int_equal(telex_entry_add(&bad, "unix:///a\nb"), -EINVAL);
    assert_int_equal(bad.fd, -1);
    telex_entry_remove(&bad);
}

static int files_in(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *each; (each = readdir(folder)) != NULL;)
        count += each->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* A child that lists an address and lives until it is killed. With `heir`, it leaves a forked child of its own behind. */
static pid_t lister(const char *address, bool heir, int *ret_heir)
{
    int ready[2], word = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct telex_entry entry;
        word = telex_entry_add(&entry, address);
        if (heir && fork() == 0) /* it tells of itself: when it runs, it has closed what it must not keep */
            word = getpid();
        else if (heir)
            pause();
        if (write(ready[1], &word, sizeof word) == sizeof word)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &word, sizeof word), sizeof word);
    assert_true(word >= 0);
    *ret_heir = word;
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void the_killed_are_not_listed(void **state)
{
    (void)state;
    int heir, none;
    pid_t first = lister("unix:///first", false, &none), second = lister("unix:///second", true, &heir);
    assert_int_equal(walk().count, 2);
    kill(second, SIGKILL);
    waitpid(second, NULL, 0);
    struct seen seen = walk(); /* although its forked child lives */
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.addresses[0], "unix:///first");
    assert_int_equal(files_in(scratch_path("telex/listeners")), 1);
    kill(heir, SIGKILL);
    waitpid(heir, NULL, 0); /* orphans come to the test case */

    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    struct telex_entry entry; /* the next listener tidies up as well */
    assert_int_equal(telex_entry_add(&entry, "unix:///third"), 0);
    assert_int_equal(files_in(scratch_path("telex/listeners")), 1);
    telex_entry_remove(&entry);
    assert_int_equal(files_in(scratch_path("telex/listeners")), 0);
}

/* What others put into the folder disturbs nobody. */
static void strange_entries(void **state)
{
    (void)state;
    struct telex_entry entry;
    assert_int_equal(telex_entry_add(&entry, "unix:///x"), 0);
    assert_int_equal(mkfifo(scratch_path("telex/listeners/fifo"), 0600), 0);
    assert_int_equal(symlink("/etc/passwd", scratch_path("telex/listeners/link")), 0);
    assert_int_equal(mkdir(scratch_path("telex/listeners/folder"), 0700), 0);
    fclose(fopen(scratch_path("telex/listeners/empty"), "w"));
    assert_int_equal(walk().count, 1);
    /* Ours, but not an entry's lines. */
    assert_int_equal(ftruncate(entry.fd, 10), 0);
    assert_int_equal(walk().count, 0);
    telex_entry_remove(&entry);
}

static const struct testing_case cases[] = {
    TESTING_CASE(directory_is_private), TESTING_CASE(unsafe_directories_are_refused),
    TESTING_CASE(other_places),         TESTING_CASE(lock_excludes),
    TESTING_CASE(entries_are_listed),   TESTING_CASE(the_killed_are_not_listed),
    TESTING_CASE(strange_entries),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "runtime", cases, sizeof cases / sizeof *cases);
}
