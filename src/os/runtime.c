/* SPDX-License-Identifier: MIT */
/* The runtime directory, its lock, and the entries of living listeners below `listeners/`, a file each. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/process.h"
#include "os/runtime.h"

enum {
    MS = 1000000,
    LOCK_WAIT = 1000, /* ms */
    LOCK_PAUSE = 2,   /* ms */
    ENTRY_MAX = 4096, /* bytes of an entry's file */
    ENTRY_TRIES = 1000,
};

struct entries { /* of a walk */
    struct telex_entry_facts *facts;
    size_t count, room;
};

static int own(int fd)
{
    return telex_own(fd < 0 ? -errno : fd);
}

/* ---- the directory ---- */

/* Whether $XDG_RUNTIME_DIR is this user's: su and sudo hand on that of another, where no file of ours belongs. */
static bool usable(const char *directory)
{
    struct stat facts;
    return directory != NULL && directory[0] == '/' && stat(directory, &facts) == 0 && S_ISDIR(facts.st_mode) &&
           facts.st_uid == geteuid();
}

static int name_directory(char *ret_path, size_t size)
{
    const char *base = secure_getenv("XDG_RUNTIME_DIR");
    int length;
    if (usable(base)) {
        length = snprintf(ret_path, size, "%s/telex", base);
    } else {
        base = secure_getenv("TMPDIR");
        if (base == NULL || base[0] != '/')
            base = "/tmp";
        length = snprintf(ret_path, size, "%s/telex-%u", base, (unsigned)geteuid());
    }
    if (length < 0 || (size_t)length >= size)
        return telex_say(-ENAMETOOLONG, "the runtime directory's path below %.100s is too long", base);
    return 0;
}

static int check_directory(int directory, const char *path)
{
    struct stat facts;
    if (fstat(directory, &facts) < 0)
        return telex_say(-errno, "the runtime directory %s: %m", path);
    if (facts.st_uid != geteuid())
        return telex_say(-EPERM, "the runtime directory %s belongs to user %u: remove it or set XDG_RUNTIME_DIR", path,
                         (unsigned)facts.st_uid);
    if ((facts.st_mode & 077) != 0)
        return telex_say(-EPERM, "the runtime directory %s is open to others (mode %04o): chmod 0700 it", path,
                         (unsigned)(facts.st_mode & 07777));
    return 0;
}

/* Makes and checks the directory; an owned descriptor of it, its path, or -errno with a sentence. */
static int open_directory(char *ret_path, size_t size)
{
    int error = name_directory(ret_path, size);
    if (error < 0)
        return error;
    if (mkdir(ret_path, 0700) < 0 && errno != EEXIST)
        return telex_say(-errno, "the runtime directory %s cannot be made: %m", ret_path);
    int directory = own(open(ret_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (directory == -ELOOP || directory == -ENOTDIR)
        return telex_say(-EPERM, "the runtime directory %s is no directory: remove it or set XDG_RUNTIME_DIR",
                         ret_path);
    if (directory < 0)
        return telex_say(directory, "the runtime directory %s cannot be opened: %s", ret_path, strerror(-directory));
    error = check_directory(directory, ret_path);
    if (error == 0)
        return directory;
    telex_shut(directory);
    return error;
}

int telex_runtime_path(char *ret_path, size_t size)
{
    char path[PATH_MAX];
    int directory = open_directory(path, sizeof path);
    if (directory < 0)
        return directory;
    telex_shut(directory);
    if (strlen(path) >= size)
        return telex_say(-ENAMETOOLONG, "the runtime directory's path %.100s... is too long", path);
    memcpy(ret_path, path, strlen(path) + 1);
    return 0;
}

/* ---- the lock ---- */

static int lock_in(int directory, const char *path)
{
    int lock = own(openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (lock < 0)
        return telex_say(lock, "%s/lock cannot be opened: %s", path, strerror(-lock));
    int64_t deadline = telex_clock() + (int64_t)LOCK_WAIT * MS;
    while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        int error = errno == EWOULDBLOCK || errno == EINTR ? -EBUSY : -errno;
        if (error != -EBUSY || telex_clock() >= deadline) {
            telex_shut(lock);
            return telex_say(error, "%s/lock is held by another process: %s", path, strerror(-error));
        }
        telex_poll(NULL, 0, telex_clock() + LOCK_PAUSE * MS); /* a signal only shortens the pause */
    }
    return lock;
}

int telex_runtime_lock(void)
{
    char path[PATH_MAX];
    int directory = open_directory(path, sizeof path);
    if (directory < 0)
        return directory;
    int lock = lock_in(directory, path);
    telex_shut(directory);
    return lock;
}

/* ---- entries ---- */

struct listeners { /* the folder of entries, with the lock held */
    int lock, folder;
    char path[PATH_MAX];
};

static int open_listeners(struct listeners *listeners)
{
    int directory = open_directory(listeners->path, sizeof listeners->path);
    if (directory < 0)
        return directory;
    int error = listeners->lock = lock_in(directory, listeners->path);
    if (error >= 0) {
        if (mkdirat(directory, "listeners", 0700) < 0 && errno != EEXIST)
            error = -errno;
        else
            error = listeners->folder =
                own(openat(directory, "listeners", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (error < 0) {
            telex_say(error, "%s/listeners cannot be opened: %s", listeners->path, strerror(-error));
            telex_shut(listeners->lock);
        }
    }
    telex_shut(directory);
    return error < 0 ? error : 0;
}

static void close_listeners(struct listeners *listeners)
{
    telex_shut(listeners->folder);
    telex_shut(listeners->lock);
}

static int write_entry(int fd, const char *address)
{
    char text[ENTRY_MAX];
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    int length = snprintf(text, sizeof text, "%s\n%d\n%s\n%" PRId64 "\n", address, (int)getpid(), telex_program(),
                          (int64_t)time(NULL));
    if (length < 0 || (size_t)length >= sizeof text)
        return -ENAMETOOLONG;
    ssize_t written = write(fd, text, (size_t)length);
    return written < 0 ? -errno : written < length ? -ENOSPC : 0;
}

/* A fresh file of the name PID-NUMBER; -EEXIST are numbers of an earlier process with this pid, or of one in another pid namespace. */
static int make_entry(const struct listeners *listeners, struct telex_entry *entry)
{
    static atomic_uint last; /* relaxed: only its uniqueness matters */
    int fd = -EEXIST;
    for (int i = 0; i < ENTRY_TRIES && fd == -EEXIST; i++) {
        unsigned number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
        int length =
            snprintf(entry->path, sizeof entry->path, "%s/listeners/%d-%u", listeners->path, (int)getpid(), number);
        if (length < 0 || (size_t)length >= sizeof entry->path)
            return -ENAMETOOLONG;
        const char *name = strrchr(entry->path, '/') + 1;
        fd = own(openat(listeners->folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    }
    return fd;
}

/* Reads a living entry's lines into one allocation that `facts->address` begins. 0, -ENOMEM, or 1: not an entry. */
static int read_entry(int fd, struct telex_entry_facts *facts)
{
    char *text = malloc(ENTRY_MAX);
    if (text == NULL)
        return -ENOMEM;
    ssize_t length = pread(fd, text, ENTRY_MAX - 1, 0);
    text[length < 0 ? 0 : length] = '\0';
    char *lines[4], *rest = text;
    for (int i = 0; i < 4; i++) {
        lines[i] = rest;
        char *end = rest == NULL ? NULL : strchr(rest, '\n');
        if (end != NULL)
            *end++ = '\0';
        rest = end;
    }
    if (rest == NULL) {
        free(text);
        return 1;
    }
    *facts = (struct telex_entry_facts){.address = lines[0],
                                        .program = lines[2],
                                        .pid = strtoll(lines[1], NULL, 10),
                                        .since = strtoll(lines[3], NULL, 10)};
    return 0;
}

static int keep_entry(int fd, struct entries *entries)
{
    if (entries->count == entries->room) {
        size_t room = entries->room > 0 ? 2 * entries->room : 16;
        void *grown = realloc(entries->facts, room * sizeof *entries->facts);
        if (grown == NULL)
            return -ENOMEM;
        entries->facts = grown;
        entries->room = room;
    }
    int error = read_entry(fd, &entries->facts[entries->count]);
    if (error == 0)
        entries->count++;
    return error < 0 ? error : 0;
}

/* Removes the entry if its process is dead; else keeps it in `entries` (NULL: only removes). */
static int visit(int folder, const char *name, struct entries *entries)
{
    int fd = own(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0)
        return 0;
    int error = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(folder, name, 0);
    else if (errno == EWOULDBLOCK && entries != NULL)
        error = keep_entry(fd, entries);
    telex_shut(fd);
    return error;
}

static int visit_all(const struct listeners *listeners, struct entries *entries)
{
    int fd = own(openat(listeners->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        telex_shut(fd);
        return -ENOMEM;
    }
    int error = 0;
    for (struct dirent *each; error == 0 && (each = readdir(folder)) != NULL;)
        if (each->d_name[0] != '.')
            error = visit(listeners->folder, each->d_name, entries);
    telex_disown(fd);
    closedir(folder);
    return error;
}

int telex_entry_add(struct telex_entry *entry, const char *address)
{
    struct listeners listeners;
    *entry = (struct telex_entry){.fd = -1};
    if (strpbrk(address, "\r\n") != NULL)
        return -EINVAL;
    int error = open_listeners(&listeners);
    if (error < 0)
        return error;
    visit_all(&listeners, NULL); /* what crashes left must not pile up where nobody ever lists */
    int fd = make_entry(&listeners, entry);
    error = fd < 0 ? fd : write_entry(fd, address);
    if (error == 0) {
        entry->fd = fd;
    } else {
        if (fd >= 0)
            unlink(entry->path);
        telex_shut(fd);
    }
    close_listeners(&listeners);
    return error;
}

void telex_entry_remove(struct telex_entry *entry)
{
    if (entry->fd < 0)
        return;
    unlink(entry->path);
    telex_shut(entry->fd);
    entry->fd = -1;
}

static int compare(const void *left, const void *right)
{
    const struct telex_entry_facts *one = left, *other = right;
    int order = strcmp(one->address, other->address);
    return order != 0 ? order : (one->pid > other->pid) - (one->pid < other->pid);
}

int telex_entry_walk(int (*each)(const struct telex_entry_facts *facts, void *user), void *user)
{
    struct listeners listeners;
    struct entries entries = {0};
    int result = open_listeners(&listeners);
    if (result < 0)
        return result;
    result = visit_all(&listeners, &entries);
    close_listeners(&listeners); /* before `each`, which may listen or list itself */
    if (entries.count > 0)
        qsort(entries.facts, entries.count, sizeof *entries.facts, compare);
    for (size_t i = 0; i < entries.count; i++) {
        if (result == 0)
            result = each(&entries.facts[i], user);
        free((char *)entries.facts[i].address);
    }
    free(entries.facts);
    return result;
}
