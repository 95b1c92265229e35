/* SPDX-License-Identifier: MIT */
/* The short way of small messages that need no decision; everything else goes through output.c and input.c. */
#include <string.h>

#include "medium/shm/shm.h"

/* Sixteen bytes at a time, the last ones overlapping: for few, a call costs more. */
static inline void copy_in(uint8_t *to, const uint8_t *from, size_t length)
{
    enum { STEP = 16, FEW = 128 };
    if (length < STEP || length > FEW) {
        memcpy(to, from, length);
        return;
    }
    for (size_t at = 0; at + STEP < length; at += STEP)
        memcpy(to + at, from + at, STEP);
    memcpy(to + length - STEP, from + length - STEP, STEP);
}

bool telex_shm_put_quickly(struct telex_link *link, telex_message *message, unsigned flags)
{
    struct shm_link *shm = shm_of(link);
    struct shm_writer *writer = &shm->writer;
    size_t length = message->length;
    uint64_t record = shm_record_size(length);
    if (writer->tail + record > shm->quick_until || length > shm->quick_put_most)
        return false;
    copy_in(shm_ring_body(writer), message->data, length);
    uint64_t number = ++shm->number;
    message->number = number;
    shm->sent_cost += record;
    shm->sent_costly++;
    shm->admitted_bytes += length;
    shm_complete(shm, number);
    bool hold = (flags & TELEX_MORE) != 0;
    if (__builtin_expect(hold || writer->held != NULL, 0)) {
        hold = hold && writer->held_count < SHM_HELD_MOST;
        shm_ring_put(writer, record, SHM_WHAT(length, message->type, message->lane, 0), number, hold);
        atomic_store_explicit(&link->held, hold, memory_order_relaxed); /* a hint: see telex_link_waits */
        if (hold)
            return true;
    } else {
        shm_ring_put(writer, record, SHM_WHAT(length, message->type, message->lane, 0), number, false);
    }
    shm_bell_message(shm->area);
    return true;
}

void telex_shm_settle_quick(struct shm_link *shm)
{
    bool alone = shm->trusted && shm->link.fixed == UINT64_MAX && shm->queue == UINT64_MAX && shm->last == 0 && telex_list_first(&shm->waiting) == NULL &&
                 shm->assemblies == NULL && !shm->announced_in && !shm->goodbye && shm->arrived_cost - shm->granted + 2 * SHM_INLINE_MOST <= shm->link.window;
    uint64_t most = shm->ours.max < SHM_INLINE_MOST ? shm->ours.max : SHM_INLINE_MOST;
    shm->quick_most = !alone ? 0 : most < shm->body_most ? most : shm->body_most;
}

/* A record's bytes are padded to 16, and so may be read beyond the message's end; `to` has room for as much. */
static inline void copy_few(uint8_t *to, const uint8_t *from, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += SHM_RECORD)
        memcpy(to + at, from + at, SHM_RECORD);
}

bool telex_shm_take_quickly(struct telex_link *link, telex_message *ret_message)
{
    enum { FEW = 128, AHEAD = 8 * SHM_LINE };
    struct shm_link *shm = shm_of(link);
    struct shm_reader *reader = &shm->reader;
    uint64_t at = atomic_load_explicit(&reader->at, memory_order_relaxed);
    const struct shm_record *record = (const struct shm_record *)(reader->bytes + (at & reader->mask));
    uint64_t what = atomic_load_explicit(&record->what, memory_order_acquire); /* as shm_ring_look() */
    uint64_t size = (uint32_t)what, number = shm_read_once((const uint8_t *)&record->number);
    unsigned lane = (uint8_t)(what >> 48);
    struct telex_memory *memory = ret_message->memory;
    /* What is no plain message, or comes out of order, goes the long way. */
    if (what >> 56 != SHM_PRESENT || size > shm->quick_most || number <= shm->lane_numbers[lane] || link->in_end != 0 ||
        !telex_memory_reusable(memory, size <= FEW ? FEW : size))
        return false;
    if (size <= FEW)
        copy_few(memory->bytes, (const uint8_t *)(record + 1), size);
    else
        memcpy(memory->bytes, record + 1, size);
    uint64_t cost = shm_record_size(size);
    atomic_store_explicit(&reader->at, at + cost, memory_order_relaxed);
    reader->done = at + cost; /* the bytes are copied */
    shm->lane_numbers[lane] = number;
    shm->quick_messages++;
    shm->quick_cost += cost;
    shm->empties = 0;
    unsigned run = atomic_load_explicit(&shm->run, memory_order_relaxed) + 1;
    atomic_store_explicit(&shm->run, run, memory_order_relaxed);
    if (run < atomic_load_explicit(&shm->last_run, memory_order_relaxed) / 2) /* the other is surely far ahead: its lines come while we read these */
        __builtin_prefetch(reader->bytes + ((at + AHEAD) & reader->mask));
    *ret_message = (telex_message){
        .data = memory->bytes,
        .length = size,
        .number = number,
        .type = (uint16_t)(what >> 32),
        .kind = TELEX_BINARY,
        .lane = (uint8_t)lane,
        .memory = memory,
    };
    atomic_store_explicit(&shm->taken_messages, atomic_load_explicit(&shm->taken_messages, memory_order_relaxed) + 1, memory_order_relaxed);
    if (at + cost - shm->told_progress.head >= reader->size / 4)
        telex_shm_tell_progress(shm);
    return true;
}
