/* SPDX-License-Identifier: MIT */
/*
 * What fork() must not hand on: a bit for each descriptor that telex holds. The mutex is held over fork() itself and over each
 * close, so that the child sees bits and descriptors agree: never a bit for a number that the program uses by now.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/fork.h"
#include "os/lock.h"

enum { BITS = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *owned; /* guarded by mutex */
static size_t words;    /* guarded by mutex */

static pthread_once_t registered = PTHREAD_ONCE_INIT;
static int register_error; /* written once, before pthread_once returns */

atomic_uint telex_forks;

static void before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

static void after_fork_in_child(void)
{
    int kept = errno;
    for (size_t word = 0; word < words; word++)
        for (; owned[word] != 0; owned[word] &= owned[word] - 1)
            close((int)word * BITS + __builtin_ctzll(owned[word]));
    atomic_fetch_add_explicit(&telex_forks, 1, memory_order_relaxed);
    telex_thread_number = 0; /* so that this thread owns no lock of its parent's: the quick ways of the channels rely on it */
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static void register_handlers(void)
{
    register_error = -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Under the mutex: makes room for a bit. 0 or -ENOMEM. */
static int reach(size_t word)
{
    if (word < words)
        return 0;
    size_t wanted = word + 1 > 2 * words ? word + 1 : 2 * words;
    uint64_t *grown = realloc(owned, wanted * sizeof *owned);
    if (grown == NULL)
        return -ENOMEM;
    memset(grown + words, 0, (wanted - words) * sizeof *owned);
    owned = grown;
    words = wanted;
    return 0;
}

int telex_own(int fd)
{
    if (fd < 0)
        return fd;
    pthread_once(&registered, register_handlers);
    size_t word = (size_t)fd / BITS;
    pthread_mutex_lock(&mutex);
    int error = register_error != 0 ? register_error : reach(word);
    if (error == 0)
        owned[word] |= UINT64_C(1) << fd % BITS;
    pthread_mutex_unlock(&mutex);
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

/* Under the mutex: clears the bit; whether it was set. */
static int forget(int fd)
{
    if (fd < 0 || (size_t)fd / BITS >= words)
        return 0;
    size_t word = (size_t)fd / BITS;
    uint64_t bit = UINT64_C(1) << fd % BITS;
    if ((owned[word] & bit) == 0)
        return 0;
    owned[word] &= ~bit;
    return 1;
}

void telex_disown(int fd)
{
    pthread_mutex_lock(&mutex);
    forget(fd);
    pthread_mutex_unlock(&mutex);
}

bool telex_owns(int fd)
{
    pthread_mutex_lock(&mutex);
    size_t word = (size_t)fd / BITS;
    bool ours = fd >= 0 && word < words && (owned[word] >> fd % BITS & 1) != 0;
    pthread_mutex_unlock(&mutex);
    return ours;
}

void telex_shut(int fd)
{
    if (fd < 0)
        return;
    int kept = errno;
    pthread_mutex_lock(&mutex);
    /* Of a number that is not owned (any more: a handle from before fork()) the file behind it is somebody else's. */
    if (forget(fd))
        close(fd);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}
