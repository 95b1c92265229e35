/* SPDX-License-Identifier: MIT */
#include "unit/testing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "telex/telex.h"

enum { SECONDS = 20, MOST_OPEN = 4096 };

static char directory[64];

/* ---- a case, in its own process ---- */

static size_t list_open(int *fds, size_t most)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir) && count < most)
            fds[count++] = atoi(entry->d_name);
    if (dir != NULL)
        closedir(dir);
    return count;
}

static bool was_open(int fd, const int *before, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (before[i] == fd)
            return true;
    return false;
}

static int report_leaks(const int *before, size_t before_count)
{
    static int after[MOST_OPEN];
    size_t after_count = list_open(after, MOST_OPEN);
    int leaks = 0;
    for (size_t i = 0; i < after_count; i++) {
        if (was_open(after[i], before, before_count))
            continue;
        char path[64], target[256] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", after[i]);
        if (readlink(path, target, sizeof target - 1) > 0)
            fprintf(stderr, "left open: descriptor %d (%s)\n", after[i], target);
        leaks++;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    if (kill(-getpid(), 0) == 0 && waitpid(-1, NULL, WNOHANG) == 0) {
        fprintf(stderr, "left behind: a child process\n");
        leaks++;
    }
    return leaks;
}

struct body {
    void (*run)(void *with);
    void *with;
};

static void run_body(void **state)
{
    struct body *body = *state;
    body->run(body->with);
}

/* Runs the body as a cmocka test, so that assertions fail it instead of aborting; cmocka's own report goes nowhere, its messages to stderr. */
static int under_cmocka(struct body *body)
{
    fflush(stdout);
    int report = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
    cmocka_set_message_output(CM_OUTPUT_STDOUT);
    const struct CMUnitTest test = {"case", run_body, NULL, NULL, body};
    const struct CMUnitTest tests[] = {test};
    FILE *out = stdout;
    int failed = cmocka_run_group_tests_name("case", tests, NULL, NULL);
    fflush(out);
    dup2(report, STDOUT_FILENO);
    close(report);
    return failed;
}

struct case_body {
    const struct testing_case *one;
};

static void run_case(void *with)
{
    const struct testing_case *one = ((struct case_body *)with)->one;
    void *state = (void *)one->with;
    one->run(&state);
}

static int run_here(const struct testing_case *one)
{
    static int before[MOST_OPEN];
    size_t count = list_open(before, MOST_OPEN);
    struct case_body with = {one};
    struct body body = {run_case, &with};
    int failed = under_cmocka(&body);
    return failed != 0 || report_leaks(before, count) != 0;
}

pid_t testing_fork(void (*run)(void *with), void *with)
{
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child != 0)
        return child;
    testing_be_child(run, with);
}

_Noreturn void testing_be_child(void (*run)(void *with), void *with)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct body body = {run, with};
    /* cmocka is running a test already in this process' copy: a fresh run inside it keeps assertions here. */
    int failed = under_cmocka(&body);
    fflush(stderr);
    exit(failed != 0); /* not _exit: sanitizers look for leaks at exit */
}

void testing_wait(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        fprintf(stderr, "child process %d ended with %s %d\n", (int)child, WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    assert_int_equal(status, 0);
}

const char *testing_directory(void)
{
    if (directory[0] == '\0') {
        strcpy(directory, "/tmp/telex-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        setenv("XDG_RUNTIME_DIR", directory, 1);
    }
    return directory;
}

void testing_good(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s gave %d (%s): %s\n", what, result, strerror(-result), telex_reason(NULL));
    fail();
}

/* ---- from outside ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

/* Where the case keeps its directory is told to the parent through a pipe, so that it is removed also when the case was killed. */
static void child_side(const struct testing_case *one, int tell)
{
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    testing_directory();
    if (write(tell, directory, sizeof directory) < 0)
        _exit(2);
    close(tell);
    int failed = run_here(one);
    fflush(stdout);
    fflush(stderr);
    exit(failed); /* not _exit: sanitizers look for leaks at exit */
}

static bool wait_limited(pid_t child, unsigned seconds, int *ret_status)
{
    struct timespec nap = {.tv_nsec = 2000000};
    for (unsigned naps = 0; naps < seconds * 500; naps++) {
        if (waitpid(child, ret_status, WNOHANG) == child)
            return true;
        nanosleep(&nap, NULL);
    }
    return false;
}

static bool run_one(const char *group, const struct testing_case *one)
{
    int tell[2];
    if (pipe2(tell, O_CLOEXEC) < 0)
        return false;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(tell[0]);
        child_side(one, tell[1]);
    }
    close(tell[1]);
    char where[sizeof directory] = "";
    bool told = read(tell[0], where, sizeof where) == (ssize_t)sizeof where;
    close(tell[0]);
    int status = 0;
    unsigned seconds = one->seconds != 0 ? one->seconds : SECONDS;
    const char *slow = getenv("TESTING_SLOW"); /* a factor, for sanitizers */
    bool ended = wait_limited(child, seconds * (slow != NULL ? (unsigned)atoi(slow) : 1), &status);
    kill(-child, SIGKILL);
    if (!ended)
        waitpid(child, &status, 0);
    if (told)
        nftw(where, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (ended && status == 0)
        printf("ok %s.%s\n", group, one->name);
    else if (!ended)
        printf("not ok %s.%s # did not end within %u s\n", group, one->name, seconds);
    else if (WIFSIGNALED(status))
        printf("not ok %s.%s # killed by signal %d\n", group, one->name, WTERMSIG(status));
    else
        printf("not ok %s.%s # failed, status %d\n", group, one->name, WEXITSTATUS(status));
    fflush(stdout);
    return ended && status == 0;
}

static bool selected(int argc, char **argv, const char *group, const char *name)
{
    bool any = false;
    char full[256];
    snprintf(full, sizeof full, "%s.%s", group, name);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            continue;
        any = true;
        if (strstr(full, argv[i]) != NULL)
            return true;
    }
    return !any;
}

int testing_main(int argc, char **argv, const char *group, const struct testing_case *cases, size_t count)
{
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    int failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (!selected(argc, argv, group, cases[i].name))
            continue;
        if (list)
            printf("%s.%s\n", group, cases[i].name);
        else
            failed += !run_one(group, &cases[i]);
    }
    return failed != 0;
}
