/* SPDX-License-Identifier: MIT */
/* Names, checks and leftovers of FIFOs. Everything is done relative to the descriptor of one directory. */
#include "medium/stream/fifos.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/fork.h"

enum {
    SUFFIX_MOST = 5,
    PROBES = 1000, /* most leftovers that one sweep looks at: a directory that is open to all may be full of them */
};

static const char *const suffixes[] = {[TELEX_FIFO_UP] = ".up", [TELEX_FIFO_DOWN] = ".down", [TELEX_FIFO_NEW] = ".new"};

static int own(int fd)
{
    return telex_own(fd < 0 ? -errno : fd);
}

/* ---- names ---- */

int telex_fifos_open(const struct telex_address *address, struct telex_fifos *ret_fifos)
{
    enum { LONGEST = NAME_MAX - 1 - TELEX_HELLO_TOKEN - SUFFIX_MOST };
    const char *where = address->where, *slash = strrchr(where, '/');
    if (where[0] != '/')
        return telex_say(-EINVAL, "\"pipe://%.100s\": it wants a path from the root (three slashes: pipe:///tmp/name)", where);
    const char *name = slash + 1;
    size_t length = strlen(name);
    if (length == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return telex_say(-EINVAL, "\"pipe://%.100s\" names no file", where);
    if (length > LONGEST)
        return telex_say(-EINVAL, "pipe://%.40s...: the file's name has %zu bytes; at most %d are possible", where, length, LONGEST);
    char path[PATH_MAX];
    int path_length = slash == where ? 1 : (int)(slash - where);
    if (path_length >= PATH_MAX)
        return telex_say(-EINVAL, "pipe://%.40s...: the path is too long", where);
    snprintf(path, sizeof path, "%.*s", path_length, where);
    int directory = own(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (directory < 0)
        return telex_say(directory, "pipe://%s: its directory: %s", where, strerror(-directory));
    ret_fifos->directory = directory;
    memcpy(ret_fifos->name, name, length + 1);
    return 0;
}

void telex_fifos_close(struct telex_fifos *fifos)
{
    telex_shut(fifos->directory);
    fifos->directory = -1;
}

void telex_fifo_name(const struct telex_fifos *fifos, const char *token, enum telex_fifo which, char ret_name[NAME_MAX + 1])
{
    int length = snprintf(ret_name, NAME_MAX + 1, "%s.%s%s", fifos->name, token, suffixes[which]);
    if (length > NAME_MAX) /* telex_fifos_open() saw to it that it fits; a cut name would be another file's */
        ret_name[0] = '\0';
}

/* Whether `name` is one that telex_fifo_name() makes; then its token and kind. */
static bool read_name(const struct telex_fifos *fifos, const char *name, char ret_token[TELEX_HELLO_TOKEN + 1], enum telex_fifo *ret_which)
{
    size_t length = strlen(fifos->name);
    if (strncmp(name, fifos->name, length) != 0 || name[length] != '.')
        return false;
    const char *token = name + length + 1;
    if (strspn(token, "0123456789abcdef") != TELEX_HELLO_TOKEN)
        return false;
    memcpy(ret_token, token, TELEX_HELLO_TOKEN);
    ret_token[TELEX_HELLO_TOKEN] = '\0';
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcmp(token + TELEX_HELLO_TOKEN, suffixes[i]) == 0) {
            *ret_which = (enum telex_fifo)i;
            return true;
        }
    return false;
}

/* ---- opening ---- */

static bool is_private(const struct stat *facts)
{
    uid_t user = geteuid();
    return S_ISFIFO(facts->st_mode) && (facts->st_uid == user || user == 0) && facts->st_nlink == 1 && (facts->st_mode & 077) == 0;
}

int telex_fifo_open_private(const struct telex_fifos *fifos, const char *name, int flags, struct stat *ret_facts)
{
    /* A look before, because opening some things has effects (devices); and the check after it, of what was opened. */
    if (fstatat(fifos->directory, name, ret_facts, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!is_private(ret_facts))
        return -EPERM;
    int fd = own(openat(fifos->directory, name, flags | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    if (fstat(fd, ret_facts) == 0 && is_private(ret_facts))
        return fd;
    telex_shut(fd);
    return -EPERM;
}

void telex_fifo_remove(const struct telex_fifos *fifos, const char *token, enum telex_fifo which)
{
    char name[NAME_MAX + 1];
    telex_fifo_name(fifos, token, which, name);
    unlinkat(fifos->directory, name, 0);
}

/* ---- leftovers ---- */

/*
 * A client holds its FIFO up open for reading, too, until it is let in, and so does a listener its new one: nobody who lives has one that nobody reads, but for
 * a moment after it was made. To look does no harm: nobody reads the end of that FIFO yet.
 */
static bool is_left(const struct telex_fifos *fifos, const char *name, int64_t age)
{
    struct stat facts;
    if (fstatat(fifos->directory, name, &facts, AT_SYMLINK_NOFOLLOW) < 0 || !is_private(&facts))
        return false;
    if (age > 0 && (int64_t)facts.st_ctime + age > (int64_t)time(NULL)) /* not for an age of 0: time() lags some ms behind the clock of files (Linux 6.13) */
        return false;
    int fd = telex_fifo_open_private(fifos, name, O_WRONLY, &facts);
    telex_shut(fd);
    return fd == -ENXIO;
}

static void remove_if_left(const struct telex_fifos *fifos, const char *name, const char *token, enum telex_fifo which, int64_t age)
{
    struct stat facts;
    char up[NAME_MAX + 1];
    telex_fifo_name(fifos, token, TELEX_FIFO_UP, up);
    if (which == TELEX_FIFO_DOWN && fstatat(fifos->directory, up, &facts, AT_SYMLINK_NOFOLLOW) == 0)
        return; /* it goes with that one, or lives with it; without, nobody reads: who made it had that one made before */
    if (!is_left(fifos, name, age))
        return;
    if (which == TELEX_FIFO_UP)
        telex_fifo_remove(fifos, token, TELEX_FIFO_DOWN);
    unlinkat(fifos->directory, name, 0);
}

void telex_fifos_sweep(const struct telex_fifos *fifos, int64_t age)
{
    int fd = own(openat(fifos->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) { /* it may be one that can be written but not listed: then what is left there stays */
        telex_shut(fd);
        return;
    }
    unsigned probes = 0;
    for (struct dirent *each; probes < PROBES && (each = readdir(directory)) != NULL;) {
        char token[TELEX_HELLO_TOKEN + 1];
        enum telex_fifo which;
        if (!read_name(fifos, each->d_name, token, &which))
            continue;
        probes++;
        remove_if_left(fifos, each->d_name, token, which, age);
    }
    telex_disown(fd);
    closedir(directory);
}

/* ---- who ---- */

/* A POSIX lock is what makes the kernel tell the number of a process; it tells it in the reader's own pid namespace. */
int64_t telex_fifo_writer(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0 ? lock.l_pid : -1;
}

void telex_fifo_sign(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    fcntl(fd, F_SETLK, &lock);
}
