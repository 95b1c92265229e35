/* SPDX-License-Identifier: MIT */
/* A program that this process started. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/fork.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct telex_child {
    struct telex_child *next; /* among those that were freed before their end */
    unsigned generation;
    pid_t process;
    int watch;             /* pidfd; -1: it ended before there was one */
    pthread_mutex_t mutex; /* guards the next two: several threads may ask how it ended */
    bool ended;
    int status;            /* as of wait(2); -1: not known */
    char name[64];
};

/* Freed before their end: a stack that is only ever taken as a whole, so that no lock can be left held by a fork. */
static struct telex_child *_Atomic left;

/* ---- starting ---- */

struct moved { /* descriptors above 2, so that none is overwritten before it was used */
    int fds[3];
};

static void unmove(struct moved *moved)
{
    for (int i = 0; i < 3; i++)
        telex_shut(moved->fds[i]);
}

static int move(const int standard[3], struct moved *ret_moved)
{
    struct moved moved = {{-1, -1, -1}};
    for (int i = 0; i < 3; i++) {
        if (standard[i] == i)
            continue;
        int null = standard[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
        int from = standard[i] < 0 ? null : standard[i];
        int fd = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        int error = telex_say(-errno, "no descriptor for a program's standard streams: %m");
        if (null >= 0)
            close(null);
        moved.fds[i] = fd < 0 ? -1 : telex_own(fd);
        if (moved.fds[i] < 0) {
            unmove(&moved);
            return error;
        }
    }
    *ret_moved = moved;
    return 0;
}

/* 0 or errno, as posix_spawn functions say it. */
static int list_actions(const struct telex_child_start *start, const struct moved *moved, posix_spawn_file_actions_t *actions)
{
    int error = start->directory != NULL ? posix_spawn_file_actions_addchdir_np(actions, start->directory) : 0;
    for (int i = 0; i < 3 && error == 0; i++)
        if (moved->fds[i] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, moved->fds[i], i);
    if (error == 0 && start->kept >= 0) /* onto itself: that makes it survive the exec, in the child alone */
        error = posix_spawn_file_actions_adddup2(actions, start->kept, start->kept);
    return error;
}

static int execute(const struct telex_child_start *start, const struct moved *moved, pid_t *ret_process)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, pipe_only;
    sigemptyset(&none);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &pipe_only); /* others that are ignored, as by nohup, are to stay so */
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        error = list_actions(start, moved, &actions);
        if (error == 0)
            error = posix_spawnp(ret_process, start->argv[0], &actions, &attributes, (char *const *)start->argv, (char *const *)start->environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int explain(const struct telex_child_start *start, int error)
{
    struct stat facts;
    if (start->directory != NULL && (stat(start->directory, &facts) < 0 || !S_ISDIR(facts.st_mode)))
        return telex_say(-error, "%s cannot be started in \"%.200s\": that is no directory", start->argv[0], start->directory);
    return telex_say(-error, "%.200s cannot be started: %s", start->argv[0], error == ENOENT ? "there is no such program" : strerror(error));
}

/* The number is the child's until it is waited for; it can only be another's where the program ignores SIGCHLD, and then there is nothing to lose. */
static int watch_process(struct telex_child *child)
{
    int fd = (int)syscall(SYS_pidfd_open, child->process, 0);
    if (fd < 0 && errno == ESRCH) {
        child->ended = true;
        return 0;
    }
    int error = fd < 0 ? -errno : 0;
    child->watch = fd < 0 ? -1 : telex_own(fd);
    if (fd >= 0 && child->watch < 0)
        error = -ENOMEM;
    if (error == 0)
        return 0;
    kill(child->process, SIGKILL);
    waitpid(child->process, NULL, 0);
    return telex_say(error, "no descriptor to watch %s by: %s", child->name, strerror(-error));
}

int telex_child_new(const struct telex_child_start *start, struct telex_child **ret_child)
{
    telex_child_tidy();
    struct telex_child *child = calloc(1, sizeof *child);
    struct moved moved;
    if (child == NULL)
        return telex_say(-ENOMEM, "no memory to start a program");
    int r = move(start->standard, &moved);
    if (r < 0) {
        free(child);
        return r;
    }
    const char *slash = strrchr(start->argv[0], '/');
    snprintf(child->name, sizeof child->name, "%s", slash != NULL && slash[1] != '\0' ? slash + 1 : start->argv[0]);
    child->generation = telex_generation();
    child->watch = child->status = -1;
    pthread_mutex_init(&child->mutex, NULL);
    int error = execute(start, &moved, &child->process);
    unmove(&moved);
    r = error != 0 ? explain(start, error) : watch_process(child);
    if (r < 0) {
        pthread_mutex_destroy(&child->mutex);
        free(child);
        return r;
    }
    *ret_child = child;
    return 0;
}

/* ---- its end ---- */

int64_t telex_child_process(const struct telex_child *child)
{
    return child->process;
}

int telex_child_watch(const struct telex_child *child)
{
    return child->watch;
}

static int status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xFF) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/* Whether it has ended. Whoever sees that first also learns how, and the process is gone. */
static bool has_ended(struct telex_child *child)
{
    pthread_mutex_lock(&child->mutex);
    siginfo_t info = {0};
    if (!child->ended && waitid(P_PIDFD, (id_t)child->watch, &info, WEXITED | WNOHANG) == 0) {
        child->ended = info.si_pid != 0;
        child->status = child->ended ? status_of(&info) : -1;
    } else if (!child->ended && errno == ECHILD) {
        child->ended = true; /* somebody else was told how */
    }
    bool ended = child->ended;
    pthread_mutex_unlock(&child->mutex);
    return ended;
}

int telex_child_wait(struct telex_child *child, int64_t deadline)
{
    while (!has_ended(child)) {
        struct pollfd fd = {.fd = child->watch, .events = POLLIN};
        int r = deadline <= 0 ? 0 : telex_poll(&fd, 1, deadline);
        if (r < 0)
            return r;
        if (r == 0)
            return has_ended(child) ? 0 : deadline <= 0 ? -EAGAIN : -ETIMEDOUT;
    }
    return 0;
}

int telex_child_status(struct telex_child *child)
{
    pthread_mutex_lock(&child->mutex);
    int status = child->status;
    pthread_mutex_unlock(&child->mutex);
    return status;
}

void telex_child_describe(struct telex_child *child, char *ret_text, size_t size)
{
    bool ended = has_ended(child);
    int status = telex_child_status(child), length = snprintf(ret_text, size, "%s (process %d) ", child->name, (int)child->process);
    char *to = ret_text + length;
    size_t room = size - (size_t)length;
    if (!ended)
        snprintf(to, room, "has not ended");
    else if (status < 0)
        snprintf(to, room, "has ended; how is not known, for this program waits for its children itself or ignores SIGCHLD");
    else if (WIFSIGNALED(status))
        snprintf(to, room, "was killed by signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)) != NULL ? sigdescr_np(WTERMSIG(status)) : "unknown");
    else
        snprintf(to, room, "exited with status %d", WEXITSTATUS(status));
}

void telex_child_kill(struct telex_child *child)
{
    if (child->watch >= 0)
        syscall(SYS_pidfd_send_signal, child->watch, SIGKILL, NULL, 0);
}

/* ---- those that outlive whoever started them ---- */

static void destroy(struct telex_child *child)
{
    telex_shut(child->watch);
    pthread_mutex_destroy(&child->mutex);
    free(child);
}

void telex_child_free(struct telex_child *child)
{
    if (child == NULL)
        return;
    if (child->generation != telex_generation()) {
        free(child); /* a forked child: it is no child of this process, and its mutex may be held by a thread that is not here */
        return;
    }
    if (has_ended(child)) {
        destroy(child);
        return;
    }
    struct telex_child *head = atomic_load_explicit(&left, memory_order_relaxed);
    do
        child->next = head;
    while (!atomic_compare_exchange_weak_explicit(&left, &head, child, memory_order_release, memory_order_relaxed)); /* pairs with the exchange below */
}

void telex_child_tidy(void)
{
    /* Acquire: sees what the release above published. */
    struct telex_child *child = atomic_exchange_explicit(&left, NULL, memory_order_acquire);
    while (child != NULL) {
        struct telex_child *next = child->next;
        telex_child_free(child); /* puts it back if it still runs */
        child = next;
    }
}
