/* SPDX-License-Identifier: MIT */
/* Heap memory of messages: what received bytes, loans and queued copies live in. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "medium/medium.h"
#include "os/fork.h"

/* Small messages share a size, so that a struct that is received into again and again rarely needs new memory. */
enum { SMALLEST = 256 };

void telex_memory_release_heap(struct telex_memory *memory)
{
    free(memory);
}

struct telex_memory *telex_memory_new(size_t length)
{
    return telex_memory_fitting(length < SMALLEST ? SMALLEST : length);
}

struct telex_memory *telex_memory_fitting(size_t capacity)
{
    struct telex_memory *memory = malloc(sizeof *memory + capacity);
    if (memory == NULL)
        return NULL;
    *memory = (struct telex_memory){.release = telex_memory_release_heap, .capacity = capacity};
    return memory;
}

struct telex_memory *telex_memory_grow(struct telex_memory *memory, size_t length)
{
    if (length <= memory->capacity)
        return memory;
    struct telex_memory *grown = realloc(memory, sizeof *memory + length);
    if (grown != NULL)
        grown->capacity = length;
    return grown;
}

void telex_memory_release(struct telex_memory *memory)
{
    if (memory == NULL)
        return;
    for (unsigned i = 0; i < memory->descriptor_count; i++) {
        if (memory->descriptors[i] < 0)
            continue;
        telex_disown(memory->descriptors[i]); /* first: the close of a stranger's file may take long, and must hold up nobody */
        close(memory->descriptors[i]);
    }
    free(memory->descriptors);
    memory->release(memory);
}

int telex_memory_attach(struct telex_memory *memory, const int *descriptors, unsigned count)
{
    int *copy = malloc(count * sizeof *copy);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, descriptors, count * sizeof *copy);
    memory->descriptors = copy;
    memory->descriptor_count = count;
    return 0;
}

/* ---- descriptors ---- */

void telex_descriptors_free(int *descriptors, unsigned count)
{
    for (unsigned i = 0; descriptors != NULL && i < count; i++)
        telex_shut(descriptors[i]);
    free(descriptors);
}

int telex_descriptors_copy(const telex_message *message, int **ret_descriptors)
{
    *ret_descriptors = NULL;
    if (message->descriptor_count == 0)
        return 0;
    int *copies = malloc(message->descriptor_count * sizeof *copies);
    if (copies == NULL)
        return telex_say(-ENOMEM, "no memory to queue a message");
    for (unsigned i = 0; i < message->descriptor_count; i++) {
        int copy = fcntl(message->descriptors[i], F_DUPFD_CLOEXEC, 0);
        copy = telex_own(copy < 0 ? -errno : copy);
        if (copy < 0) {
            telex_descriptors_free(copies, i);
            return telex_say(copy, "descriptor %d cannot be sent: %s", message->descriptors[i], strerror(-copy));
        }
        copies[i] = copy;
    }
    *ret_descriptors = copies;
    return 0;
}
