/* SPDX-License-Identifier: MIT */
/* The short way of small messages that need no decision; everything else goes through output.c and input.c. */
#include <string.h>

#include "base/bytes.h"
#include "medium/shm/shm.h"

/* The bytes of a record may be read up to the next multiple of SHM_RECORD; `to` has room for as much. */
static inline void copy_out(uint8_t *to, const uint8_t *from, uint64_t size)
{
    enum { FEW = 64 };
    if (size > FEW || size <= FEW - SHM_RECORD)
        memcpy(to, from, size);
    else
        memcpy(to, from, FEW);
}

/* Nothing else was put meanwhile. Each such message has one record, which costs credit, and so is complete. */
void telex_shm_fold_sent(struct shm_link *shm)
{
    uint64_t messages = shm->number - shm->folded_number;
    uint64_t from = messages < SHM_OUTCOMES ? shm->folded_number : shm->number - SHM_OUTCOMES;
    for (uint64_t number = from + 1; number <= shm->number; number++)
        shm->fates[number % SHM_OUTCOMES] = SHM_FATE(number - shm->order_lag, TELEX_OFFERED);
    shm->sent_cost += messages > 0 ? shm->writer.tail - shm->folded_tail : 0;
    shm->sent_costly += messages;
    shm->completed += messages;
    shm->folded_number = shm->number;
    shm->folded_tail = shm->writer.tail;
}

/* The first record of a batch is held, the others are complete behind it: ring.h, (3). */
static inline void put_held(struct shm_link *shm, uint64_t record, uint64_t what, uint64_t number)
{
    struct shm_writer *writer = &shm->writer;
    if (writer->held != NULL) {
        shm_ring_put_one(writer, record, what, number);
        writer->held_count++;
        return;
    }
    shm_ring_put(writer, record, what, number, true);
    atomic_store_explicit(&shm->link.held, true, memory_order_relaxed); /* a hint: see telex_link_waits */
}

bool telex_shm_put_quickly(struct telex_link *link, telex_message *message, unsigned flags)
{
    struct shm_link *shm = shm_of(link);
    struct shm_writer *writer = &shm->writer;
    if (!telex_link_is_plain(message, flags) || !telex_link_is_undisturbed(link, 0) || !telex_lock_quickly(&link->out))
        return false;
    size_t length = message->length;
    uint64_t record = shm_record_size(length), what = SHM_WHAT(length, message->type, message->lane, 0);
    bool fits = writer->tail + record <= shm->quick_until && length <= shm->quick_put_most;
    if (__builtin_expect(fits, 1)) {
        telex_copy_few(shm_ring_body(writer), message->data, length);
        uint64_t number = ++shm->number;
        message->number = number;
        shm->admitted_bytes += length;
        if ((flags & TELEX_MORE) && writer->held_count < SHM_HELD_MOST) {
            put_held(shm, record, what, number);
        } else {
            shm_ring_put_one(writer, record, what, number);
            if (writer->held != NULL) {
                shm_ring_commit(writer);
                writer->held_count = 0;
                atomic_store_explicit(&link->held, false, memory_order_relaxed);
            }
            shm_bell_message(shm->area);
        }
    }
    telex_unlock(&link->out);
    return fits;
}

void telex_shm_settle_quick(struct shm_link *shm)
{
    telex_shm_fold(shm);
    bool alone = shm->trusted && shm->link.fixed == UINT64_MAX && shm->queue == UINT64_MAX && shm->last == 0 && telex_list_first(&shm->waiting) == NULL &&
                 shm->assemblies == NULL && !shm->announced_in && !shm->goodbye && shm->arrived_cost - shm->granted + 2 * SHM_INLINE_MOST <= shm->link.window;
    uint64_t most = shm->ours.max < SHM_INLINE_MOST ? shm->ours.max : SHM_INLINE_MOST;
    shm->quick_below = !alone ? 0 : (most < shm->body_most ? most : shm->body_most) + 1;
}

/* What is no plain message, or comes out of order, goes the long way. */
static inline bool take(struct shm_link *shm, telex_message *ret_message, uint64_t what)
{
    enum { ROOM_LEAST = 64 };
    struct shm_reader *reader = &shm->reader;
    uint64_t at = atomic_load_explicit(&reader->at, memory_order_relaxed);
    const struct shm_record *record = shm_ring_next(reader);
    uint64_t size = (uint32_t)what, number = shm_read_once((const uint8_t *)&record->number);
    unsigned lane = (uint8_t)(what >> 48);
    struct telex_memory *memory = ret_message->memory;
    if (what >> 56 != SHM_PRESENT || size >= shm->quick_below || number <= shm->lane_numbers[lane] ||
        !telex_memory_reusable(memory, size < ROOM_LEAST ? ROOM_LEAST : size))
        return false;
    copy_out(memory->bytes, (const uint8_t *)(record + 1), size);
    uint64_t next = at + shm_record_size(size);
    atomic_store_explicit(&reader->at, next, memory_order_relaxed);
    shm->lane_numbers[lane] = number;
    shm->link.quick_received_bytes += size;
    atomic_store_explicit(&shm->taken_messages, atomic_load_explicit(&shm->taken_messages, memory_order_relaxed) + 1, memory_order_relaxed);
    *ret_message = (telex_message){
        .data = memory->bytes,
        .length = size,
        .number = number,
        .type = (uint16_t)(what >> 32),
        .kind = TELEX_BINARY,
        .lane = (uint8_t)lane,
        .memory = memory,
    };
    if (__builtin_expect(next - shm->told_progress.head >= reader->size / 4, 0))
        telex_shm_tell_progress(shm);
    return true;
}

enum telex_taken telex_shm_take_quickly(struct telex_link *link, telex_message *ret_message)
{
    struct shm_link *shm = shm_of(link);
    if (!telex_link_is_undisturbed(link, 1) || telex_link_waits(link) || !telex_lock_quickly(&link->in))
        return TELEX_TAKEN_SLOWLY;
    enum telex_taken taken = TELEX_TAKEN_SLOWLY;
    uint64_t what = shm_ring_look(&shm->reader);
    if (what == 0)
        taken = shm->quick_below > 0 ? TELEX_TAKEN_LATER : TELEX_TAKEN_SLOWLY;
    else if (link->in_end == 0 && take(shm, ret_message, what))
        taken = TELEX_TAKEN_NOW;
    telex_unlock(&link->in);
    return taken;
}
