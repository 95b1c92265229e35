/* SPDX-License-Identifier: MIT */
/*
 * What waits for room: control frames, the rest of long messages, messages behind those on their lane, and the goodbye. Control goes first, then each lane has a
 * piece in turn, so that neither control nor a reply on its own lane sticks behind a long message.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "medium/shm/shm.h"

/* ---- parcels ---- */

static struct shm_lane *lane_of(const struct shm_link *shm, unsigned number)
{
    struct shm_lane *lane = shm->lanes;
    while (lane != NULL && lane->lane != number)
        lane = lane->next;
    return lane;
}

static struct shm_lane *make_lane(struct shm_link *shm, unsigned number)
{
    struct shm_lane *lane = lane_of(shm, number);
    if (lane != NULL || (lane = malloc(sizeof *lane)) == NULL)
        return lane;
    lane->lane = number;
    lane->next = shm->lanes;
    telex_list_init(&lane->parcels);
    shm->lanes = lane;
    return lane;
}

static struct shm_parcel *first_of(const struct shm_lane *lane)
{
    struct telex_node *first = telex_list_first(&lane->parcels);
    return first != NULL ? TELEX_OF(first, struct shm_parcel, node) : NULL;
}

bool telex_shm_lane_waits(const struct shm_link *shm, unsigned number)
{
    if (shm->queued_messages == 0)
        return false;
    const struct shm_lane *lane = lane_of(shm, number);
    return lane != NULL && first_of(lane) != NULL;
}

static int own_bytes(struct shm_parcel *parcel)
{
    size_t left = parcel->message.length - parcel->sent;
    struct telex_memory *memory = telex_memory_new(left);
    if (memory == NULL)
        return telex_say(-ENOMEM, "no memory to queue a message of %zu bytes", parcel->message.length);
    if (left > 0)
        memcpy(memory->bytes, (const uint8_t *)parcel->message.data + (parcel->sent - parcel->gone), left);
    parcel->memory = memory;
    parcel->message.data = memory->bytes;
    parcel->gone = parcel->sent;
    return 0;
}

/* by 1: it waits; by -1: no more. */
static void count_queued(struct shm_link *shm, const struct shm_parcel *parcel, int by)
{
    uint64_t bytes = (parcel->message.length - parcel->sent) * by;
    shm->queued_messages += by;
    shm->queued_bytes += bytes;
    if (parcel->request != 0) {
        shm->queued_replies += by;
        shm->queued_reply_bytes += bytes;
    } else if (!parcel->begun) {
        shm->unbegun += by;
    }
    if (parcel->begun)
        shm->begun_total[parcel->request != 0] += parcel->message.length * by;
}

int telex_shm_enqueue(struct shm_link *shm, const struct shm_parcel *parcel, bool borrow)
{
    struct shm_lane *lane = make_lane(shm, parcel->message.lane);
    struct shm_parcel *kept = malloc(sizeof *kept);
    if (lane == NULL || kept == NULL) {
        free(kept);
        return telex_say(-ENOMEM, "no memory to queue a message");
    }
    *kept = *parcel;
    kept->memory = NULL;
    kept->message.descriptors = NULL;
    if (!kept->begun) {
        int r = telex_descriptors_copy(&parcel->message, &kept->message.descriptors);
        if (r < 0) {
            free(kept);
            return r;
        }
    }
    if (borrow && shm->borrowed == NULL) {
        shm->borrowed = kept;
    } else {
        int r = own_bytes(kept);
        if (r < 0) {
            telex_descriptors_free(kept->message.descriptors, kept->message.descriptor_count);
            free(kept);
            return r;
        }
    }
    telex_list_append(&lane->parcels, &kept->node);
    count_queued(shm, kept, 1);
    shm->quick_until = 0; /* others wait: nothing passes them */
    atomic_store_explicit(&shm->link.blocked, true, memory_order_relaxed); /* a hint: see telex_link_waits */
    return 0;
}

void telex_shm_unqueue(struct shm_link *shm, struct shm_parcel *parcel)
{
    count_queued(shm, parcel, -1);
    if (shm->borrowed == parcel)
        shm->borrowed = NULL;
    telex_list_remove(&parcel->node);
    telex_memory_release(parcel->memory);
    telex_descriptors_free(parcel->message.descriptors, parcel->message.descriptor_count);
    free(parcel);
}

struct shm_parcel *telex_shm_find_parcel(struct shm_link *shm, uint64_t number)
{
    for (struct shm_lane *lane = shm->lanes; lane != NULL; lane = lane->next)
        for (struct telex_node *node = lane->parcels.next; node != &lane->parcels; node = node->next) {
            struct shm_parcel *parcel = TELEX_OF(node, struct shm_parcel, node);
            if (parcel->message.number == number)
                return parcel;
        }
    return NULL;
}

int telex_shm_keep(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    struct shm_parcel *parcel = shm->borrowed;
    if (parcel == NULL)
        return 0;
    shm->borrowed = NULL;
    int r = own_bytes(parcel);
    if (r < 0) { /* part of it has left: nothing can be taken back */
        telex_link_blame(link, r);
        telex_shm_forget(shm);
        shm->quick_until = 0;
        link->out_end = r;
    }
    return r;
}

int telex_shm_drop(struct telex_link *link, unsigned number)
{
    struct shm_link *shm = shm_of(link);
    struct shm_lane *lane = lane_of(shm, number);
    if (lane == NULL)
        return -ENOENT;
    for (struct telex_node *node = lane->parcels.next; node != &lane->parcels; node = node->next) {
        struct shm_parcel *parcel = TELEX_OF(node, struct shm_parcel, node);
        if (parcel->begun || parcel->sync || (parcel->flags & (SHM_CALL | SHM_REPLY)))
            continue;
        uint64_t at = parcel->message.number;
        if (at + SHM_OUTCOMES > shm->number)
            shm->fates[at % SHM_OUTCOMES] = SHM_FATE(0, TELEX_WITHDRAWN);
        shm->admitted_bytes -= parcel->message.length;
        shm->dropped++;
        telex_shm_unqueue(shm, parcel);
        return 0;
    }
    return -ENOENT;
}

/* ---- control frames ---- */

static bool write_control(struct shm_link *shm, const uint8_t *bytes, size_t length)
{
    uint64_t record = shm_record_size(length);
    if (!shm_ring_fits(&shm->writer, record)) {
        telex_shm_publish(shm);
        telex_shm_refresh(shm);
        if (shm->link.out_end == -EPROTO || !shm_ring_fits(&shm->writer, record))
            return false;
    }
    telex_shm_fold_sent(shm);
    shm->quick_until = 0; /* this record costs nothing */
    memcpy(shm_ring_body(&shm->writer), bytes, length);
    shm_ring_put(&shm->writer, record, SHM_WHAT(length, 0, SHM_CONTROL_LANE, 0), 0, false);
    shm->writer.held_count = 0;
    shm_bell_message(shm->area);
    return true;
}

static int owe(struct shm_link *shm, const struct telex_frame *frame)
{
    if (!shm->attached || shm->bye_written)
        return 0;
    if (frame->kind == TELEX_FRAME_FAIL && shm->owed_count >= SHM_OWED)
        return telex_say(-EPROTO, "the peer asks for more answers than it reads");
    uint8_t bytes[TELEX_WIRE_CONTROL];
    size_t length = shm->link.wire->head(frame, bytes);
    if (shm->owed_count == 0 && write_control(shm, bytes, length))
        return 0;
    struct shm_owed *owed = malloc(sizeof *owed + length);
    if (owed == NULL)
        return telex_say(-ENOMEM, "no memory for a control frame");
    owed->length = length;
    memcpy(owed->bytes, bytes, length);
    telex_list_append(&shm->owed, &owed->node);
    shm->owed_count++;
    shm->quick_until = 0;
    atomic_store_explicit(&shm->link.blocked, true, memory_order_relaxed);
    return 0;
}

int telex_shm_tell(struct telex_link *link, enum telex_arrival_kind kind, uint64_t number, uint32_t code, const char *sentence)
{
    struct shm_link *shm = shm_of(link);
    if (link->out_end != 0)
        return link->out_end;
    if (kind == TELEX_ARRIVAL_CANCEL && telex_shm_find_parcel(shm, number) != NULL) { /* it never left, or not wholly: there is nothing to cancel */
        telex_shm_withdraw(link, number);
        return 0;
    }
    struct telex_frame frame = {
        .kind = kind == TELEX_ARRIVAL_FAIL ? TELEX_FRAME_FAIL : TELEX_FRAME_CANCEL,
        .number = number,
        .code = code,
        .sentence = sentence,
        .sentence_length = sentence != NULL ? strlen(sentence) : 0,
    };
    return owe(shm, &frame);
}

void telex_shm_owe_withdrawal(struct shm_link *shm, uint64_t number)
{
    struct telex_frame frame = {.kind = TELEX_FRAME_WITHDRAW, .number = number};
    owe(shm, &frame); /* without memory the pieces stay with the peer, which can never take them: the decision says so */
}

/* ---- pushing ---- */

static void push_owed(struct shm_link *shm)
{
    for (struct telex_node *node; (node = telex_list_first(&shm->owed)) != NULL;) {
        struct shm_owed *owed = TELEX_OF(node, struct shm_owed, node);
        if (!write_control(shm, owed->bytes, owed->length))
            return;
        telex_list_remove(node);
        shm->owed_count--;
        free(owed);
    }
}

/* Writes a piece of the lane's first parcel. Whether there was room. */
static bool push_lane(struct shm_link *shm, struct shm_lane *lane)
{
    struct shm_parcel *parcel = first_of(lane);
    size_t written;
    enum shm_fit fit = parcel == NULL ? SHM_FULL : telex_shm_write(shm, parcel, false, &written);
    if (fit == SHM_FULL)
        return false;
    if (fit == SHM_FITS) {
        telex_shm_unqueue(shm, parcel);
        return true;
    }
    count_queued(shm, parcel, -1);
    parcel->begun = true;
    parcel->sent += written;
    count_queued(shm, parcel, 1);
    return true;
}

static void write_bye(struct shm_link *shm)
{
    struct telex_frame frame = {
        .kind = TELEX_FRAME_BYE,
        .code = shm->bye_code,
        .total = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed),
        .sentence = shm->bye_sentence,
        .sentence_length = shm->bye_sentence != NULL ? strlen(shm->bye_sentence) : 0,
    };
    uint8_t bytes[TELEX_WIRE_CONTROL];
    if (!write_control(shm, bytes, shm->link.wire->head(&frame, bytes)))
        return;
    shm->bye_written = true;
    shm->bye_due = false;
}

int telex_shm_push(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    if (!shm->attached || !shm->admitted || shm->refused)
        return 0;
    telex_shm_publish(shm);
    telex_shm_refresh(shm); /* whoever waits looks here; so that what it has seen is no news to telex_shm_progressed() */
    shm->unheeded = false;
    if (link->out_end != 0 && link->out_end != -EPIPE && !shm->bye_due)
        return link->out_end;
    push_owed(shm);
    for (bool any = shm->queued_messages > 0 && shm->owed_count == 0; any;) { /* nothing passes what is owed: the peer counts on its order */
        any = false;
        for (struct shm_lane *lane = shm->lanes; lane != NULL; lane = lane->next)
            any = push_lane(shm, lane) || any;
    }
    if (shm->bye_due && shm->queued_messages == 0 && shm->owed_count == 0)
        write_bye(shm);
    bool waits = shm->queued_messages > 0 || shm->owed_count > 0 || shm->bye_due;
    atomic_store_explicit(&link->blocked, waits, memory_order_relaxed); /* a hint: see telex_link_waits */
    return waits ? (link->out_end != 0 ? link->out_end : -EAGAIN) : 0;
}

/* ---- the end ---- */

void telex_shm_forget(struct shm_link *shm)
{
    for (struct shm_lane *lane = shm->lanes; lane != NULL; lane = lane->next)
        for (struct shm_parcel *parcel; (parcel = first_of(lane)) != NULL;)
            telex_shm_unqueue(shm, parcel);
    for (struct telex_node *node; (node = telex_list_first(&shm->owed)) != NULL;) {
        telex_list_remove(node);
        free(TELEX_OF(node, struct shm_owed, node));
    }
    shm->owed_count = 0;
}

void telex_shm_output_free(struct shm_link *shm)
{
    telex_shm_forget(shm);
    for (struct shm_lane *lane = shm->lanes, *next; lane != NULL; lane = next) {
        next = lane->next;
        free(lane);
    }
    free(shm->bye_sentence);
}
