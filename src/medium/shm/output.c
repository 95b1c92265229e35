/* SPDX-License-Identifier: MIT */
/*
 * Sending: room and credit, small messages into the ring, long ones through the arena, and what becomes of synchronous ones. What the other has taken is
 * read from its page only when room or credit seem to be used up: each such look costs a cache line's way between the cores.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "medium/shm/shm.h"
#include "os/clock.h"

/* ---- the other's progress ---- */

static struct shm_seen load_progress(const struct shm_area *area)
{
    const struct shm_progress *from = &area->theirs.page->progress;
    /* Acquire: see layout.h. `head` comes last, so that it is no older than the others. */
    struct shm_seen now = {
        .prefix = atomic_load_explicit(&from->prefix, memory_order_acquire),
        .messages = atomic_load_explicit(&from->messages, memory_order_acquire),
        .costly = atomic_load_explicit(&from->costly, memory_order_acquire),
        .cost = atomic_load_explicit(&from->cost, memory_order_acquire),
        .head = atomic_load_explicit(&from->head, memory_order_acquire),
    };
    return now;
}

static bool differs(const struct shm_seen *a, const struct shm_seen *b)
{
    return a->head != b->head || a->cost != b->cost || a->costly != b->costly || a->messages != b->messages || a->prefix != b->prefix;
}

/* Each only grows, and none beyond what was sent. */
static bool plausible(const struct shm_link *shm, const struct shm_seen *now)
{
    const struct shm_seen *before = &shm->seen;
    return now->head - before->head <= shm->writer.tail - before->head && now->cost - before->cost <= shm->sent_cost - before->cost &&
           now->costly - before->costly <= shm->sent_costly - before->costly && now->prefix - before->prefix <= shm->completed - before->prefix &&
           now->messages - before->messages <= shm->completed - before->messages;
}

static void blame_progress(struct shm_link *shm)
{
    telex_say(-EPROTO, "the peer's counts of what it has taken make no sense");
    telex_link_blame(&shm->link, -EPROTO);
    shm->link.out_end = -EPROTO;
    shm->quick_until = 0;
    atomic_store_explicit(&shm->lied, true, memory_order_relaxed); /* a flag to the receiving side, which takes the link's locks to act on it */
}

bool telex_shm_refresh(struct shm_link *shm)
{
    telex_shm_fold_sent(shm);
    struct shm_seen now = load_progress(shm->area);
    bool returned = telex_shm_arena_reclaim(&shm->arena, shm->area->theirs.page);
    shm->unheeded = shm->unheeded || returned;
    if (!differs(&now, &shm->seen))
        return returned;
    shm->unheeded = true;
    if (!plausible(shm, &now)) {
        blame_progress(shm);
        return true;
    }
    shm->seen = now;
    shm->writer.head = now.head;
    return true;
}

struct shm_sight telex_shm_sight(const struct shm_link *shm)
{
    return (struct shm_sight){.seen = shm->seen, .log = shm->arena.log, .undecided = shm->undecided};
}

bool telex_shm_progressed(const struct shm_area *area, const struct shm_sight *sight)
{
    /* Relaxed: whoever acts on it takes the lock and loads them by acquire. All five, for any of them may be what somebody waits for. */
    const struct shm_progress *from = &area->theirs.page->progress;
    const struct shm_seen *seen = &sight->seen;
    if (atomic_load_explicit(&from->head, memory_order_relaxed) != seen->head || atomic_load_explicit(&from->cost, memory_order_relaxed) != seen->cost ||
        atomic_load_explicit(&from->costly, memory_order_relaxed) != seen->costly ||
        atomic_load_explicit(&from->messages, memory_order_relaxed) != seen->messages ||
        atomic_load_explicit(&from->prefix, memory_order_relaxed) != seen->prefix)
        return true;
    if (telex_shm_arena_returns(sight->log, area->theirs.page))
        return true;
    uint64_t undecided = sight->undecided;
    return undecided != 0 && atomic_load_explicit(area->our_decision, memory_order_relaxed) != SHM_DECISION(undecided, SHM_OFFERED);
}

/* ---- room ---- */

/* The receiver counts as we do: input.c, check_credit(). A message that alone is longer than the window goes when all else was taken. */
static bool has_credit(const struct shm_link *shm, uint64_t cost, bool begins)
{
    if (begins && shm->queue != UINT64_MAX && shm->sent_costly - shm->seen.costly >= shm->queue)
        return false;
    return shm->sent_cost + cost <= shm->seen.cost + shm->their_window || shm->sent_cost == shm->seen.cost;
}

static bool has_room(const struct shm_link *shm, uint64_t record, uint64_t cost, bool costs, bool begins)
{
    return shm_ring_fits(&shm->writer, record) && (!costs || has_credit(shm, cost, begins));
}

/* The same after a look at what was taken since. */
static bool finds_room(struct shm_link *shm, uint64_t record, uint64_t cost, bool costs, bool begins)
{
    if (has_room(shm, record, cost, costs, begins))
        return true;
    telex_shm_publish(shm); /* nobody takes what is held */
    return telex_shm_refresh(shm) && shm->link.out_end == 0 && has_room(shm, record, cost, costs, begins);
}

void telex_shm_publish(struct shm_link *shm)
{
    if (shm_ring_commit(&shm->writer))
        shm_bell_message(shm->area);
    shm->writer.held_count = 0;
    atomic_store_explicit(&shm->link.held, false, memory_order_relaxed); /* a hint: see telex_link_waits */
}

void telex_shm_reclaim_loans(struct shm_link *shm)
{
    for (int slot; (slot = telex_shm_returned_loan(shm->area)) >= 0;)
        telex_shm_arena_free(&shm->arena, (unsigned)slot);
}

static int take_chunk(struct shm_link *shm, uint64_t length)
{
    telex_shm_reclaim_loans(shm);
    return telex_shm_arena_take(&shm->arena, length, shm->area->theirs.page);
}

static uint8_t *chunk_bytes(const struct shm_link *shm, unsigned slot)
{
    return shm->area->own.arena + slot * shm->arena.granule;
}

/* ---- records ---- */

static void put_number(uint8_t **at, uint64_t value)
{
    memcpy(*at, &value, sizeof value);
    *at += sizeof value;
}

static bool costs_credit(const struct shm_parcel *parcel)
{
    return parcel->request == 0;
}

static size_t prefix_of(const struct shm_parcel *parcel, unsigned flags)
{
    if (parcel->begun)
        return 0;
    return (parcel->request != 0 ? 8u : 0u) + (flags & SHM_MORE ? 8u : 0u) + (flags & SHM_DESCRIPTORS ? 8u : 0u);
}

static uint8_t *write_prefix(const struct shm_parcel *parcel, unsigned flags, uint8_t *at)
{
    if (parcel->begun)
        return at;
    if (parcel->request != 0)
        put_number(&at, parcel->request);
    if (flags & SHM_MORE)
        put_number(&at, parcel->message.length);
    if (flags & SHM_DESCRIPTORS)
        put_number(&at, parcel->message.descriptor_count);
    return at;
}

/* Descriptors go ahead: the receiver that sees the record finds them in the socket. false: it is full of rings that nobody reads, or broken. */
static bool send_descriptors(struct shm_link *shm, const telex_message *message)
{
    static char carrier[1] = {'D'};
    struct telex_bytes *bytes = shm->area->bytes;
    struct iovec part = {carrier, sizeof carrier};
    ssize_t written = bytes->ops->write(bytes, &part, 1, message->descriptors, message->descriptor_count);
    shm->failed = written < 0 && written != -EAGAIN ? (int)written : 0;
    return written > 0;
}

static void finish_record(struct shm_link *shm, const struct shm_parcel *parcel, size_t body, unsigned flags, uint64_t cost, bool hold)
{
    const telex_message *message = &parcel->message;
    telex_shm_fold_sent(shm);
    if (costs_credit(parcel)) {
        shm->sent_cost += cost;
        shm->sent_costly += !parcel->begun;
    }
    if (parcel->sync && !parcel->begun) {
        /* Release, for form: the record's own release orders it before the record. */
        atomic_store_explicit(shm->area->our_decision, SHM_DECISION(message->number, SHM_OFFERED), memory_order_release);
        shm->undecided = message->number;
    }
    if (!(flags & SHM_MORE))
        shm_complete(shm, message->number);
    shm->quick_until = 0; /* room, credit and counts are not what they were */
    shm_ring_put(&shm->writer, shm_record_size(body), SHM_WHAT(body, message->type, message->lane, flags), message->number,
                 hold && shm->writer.held_count < SHM_HELD_MOST);
    if (shm->writer.held == NULL) {
        shm->writer.held_count = 0;
        shm_bell_message(shm->area);
    }
    atomic_store_explicit(&shm->link.held, shm->writer.held != NULL, memory_order_relaxed);
}

/* One record of the bytes [from, from + length): they lie in the chunk at `slot` already, or (slot < 0) are copied behind the header. */
static void write_record(struct shm_link *shm, const struct shm_parcel *parcel, const uint8_t *from, size_t length, unsigned flags, int slot, bool hold)
{
    uint8_t *body = shm_ring_body(&shm->writer), *at = write_prefix(parcel, flags, body);
    uint64_t cost = 0;
    if (slot >= 0) {
        struct shm_chunk chunk = {.slot = (uint32_t)slot, .length = length};
        memcpy(at, &chunk, sizeof chunk);
        at += sizeof chunk;
        flags |= SHM_CHUNK;
        cost = length;
        telex_shm_arena_lend(&shm->arena, (unsigned)slot);
    } else {
        memcpy(at, from, length);
        at += length;
    }
    size_t size = (size_t)(at - body);
    finish_record(shm, parcel, size, flags, cost + shm_record_size(size), hold);
}

static bool room_for(struct shm_link *shm, const struct shm_parcel *parcel, size_t length, unsigned flags, bool chunk)
{
    uint64_t record = shm_record_size(prefix_of(parcel, flags) + (chunk ? sizeof(struct shm_chunk) : length));
    return finds_room(shm, record, record + (chunk ? length : 0), costs_credit(parcel), !parcel->begun);
}

/* Once a record has its room and its chunk: what goes ahead of it. */
static bool is_ready(struct shm_link *shm, unsigned flags, const struct shm_parcel *parcel)
{
    return !(flags & SHM_DESCRIPTORS) || send_descriptors(shm, &parcel->message);
}

/* `length` bytes by way of a chunk. Whether there was one, and room. */
static bool write_chunk(struct shm_link *shm, const struct shm_parcel *parcel, const uint8_t *from, size_t length, unsigned flags, bool hold)
{
    if (!room_for(shm, parcel, length, flags, true))
        return false;
    int slot = take_chunk(shm, length);
    if (slot < 0)
        return false;
    if (!is_ready(shm, flags, parcel)) {
        telex_shm_arena_free(&shm->arena, (unsigned)slot);
        return false;
    }
    memcpy(chunk_bytes(shm, (unsigned)slot), from, length);
    write_record(shm, parcel, from, length, flags, slot, hold);
    return true;
}

enum shm_fit telex_shm_write(struct shm_link *shm, const struct shm_parcel *parcel, bool hold, size_t *ret_bytes)
{
    size_t left = parcel->message.length - parcel->sent;
    const uint8_t *from = left > 0 ? (const uint8_t *)parcel->message.data + (parcel->sent - parcel->gone) : (const uint8_t *)"";
    unsigned flags = parcel->flags & ~(unsigned)(parcel->begun ? SHM_MORE | SHM_DESCRIPTORS : SHM_MORE);
    *ret_bytes = left;
    if (left <= shm->inline_most) {
        if (!room_for(shm, parcel, left, flags, false) || !is_ready(shm, flags, parcel))
            return SHM_FULL;
        write_record(shm, parcel, from, left, flags, -1, hold);
        return SHM_FITS;
    }
    uint64_t half = shm->area->own.arena_size / 2;
    bool whole = left <= half || left <= SHM_PIECE;
    if (whole && write_chunk(shm, parcel, from, left, flags, hold))
        return SHM_FITS;
    /* What is on its way will be taken, and then there is room as a whole; what the other's program keeps may stay there for ever. */
    telex_shm_publish(shm);
    telex_shm_refresh(shm);
    if (shm->link.out_end != 0 || (whole && half >= left && shm->seen.head != shm->writer.tail))
        return SHM_FULL;
    if (!parcel->begun && shm->begun_total[parcel->request != 0] + left > shm->link.max)
        return SHM_FULL; /* the other keeps so much of what is midway, and no more */
    size_t piece = left < SHM_PIECE ? left : SHM_PIECE;
    piece = piece < half || half == 0 ? piece : half;
    if (piece < left && write_chunk(shm, parcel, from, piece, flags | SHM_MORE, hold)) {
        *ret_bytes = piece;
        return SHM_SPLIT;
    }
    if (shm->seen.head != shm->writer.tail)
        return SHM_FULL;
    piece = left < shm->inline_most ? left : shm->inline_most;
    if (!room_for(shm, parcel, piece, flags | SHM_MORE, false) || !is_ready(shm, flags, parcel))
        return SHM_FULL;
    write_record(shm, parcel, from, piece, flags | SHM_MORE, -1, hold);
    *ret_bytes = piece;
    return SHM_SPLIT;
}

/* ---- admitting ---- */

static void remember(struct shm_link *shm, uint64_t number, int outcome)
{
    uint64_t *fate = &shm->fates[number % SHM_OUTCOMES];
    if (number + SHM_OUTCOMES > shm->number)
        *fate = (*fate & ~(uint64_t)3) | (uint64_t)outcome;
}

static void admitted(struct shm_link *shm, telex_message *message, uint64_t number)
{
    message->number = shm->number = shm->folded_number = number; /* what it costs is counted record by record */
    shm->admitted_bytes += message->length;
}

static int full(struct shm_link *shm)
{
    return shm->link.out_end != 0 ? shm->link.out_end : -EAGAIN;
}

/* Who only sends would else never learn that nobody is there any more. */
static bool is_alone(struct shm_link *shm)
{
    struct pollfd fd = {.fd = shm->area->bytes->ops->descriptor(shm->area->bytes), .events = POLLRDHUP};
    return telex_poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static bool is_any_loan(const telex_message *message)
{
    return message->memory != NULL && ((const struct telex_memory *)message->memory)->loan;
}

static uint8_t flags_of(const telex_message *message, const struct telex_put *how)
{
    unsigned flags = (message->kind == TELEX_TEXT ? SHM_TEXT : 0u) | (how->call ? SHM_CALL : 0u) | (how->request != 0 ? SHM_REPLY : 0u) |
                     (how->flags & TELEX_SYNC ? SHM_SYNC : 0u) | (message->descriptor_count > 0 ? SHM_DESCRIPTORS : 0u);
    return (uint8_t)flags;
}

/* A loan of this channel's own, as it was lent: nothing is copied. */
static int put_loan(struct shm_link *shm, telex_message *message, const struct shm_parcel *parcel, unsigned slot, bool hold)
{
    struct telex_memory *memory = message->memory;
    if (!room_for(shm, parcel, message->length, parcel->flags, true)) /* no copy helps: it needs no more than a record */
        return full(shm);
    write_record(shm, parcel, NULL, message->length, parcel->flags, (int)slot, hold);
    admitted(shm, message, parcel->message.number);
    telex_shm_loan_sent(memory);
    telex_memory_release(memory);
    *message = (telex_message){.number = message->number, .type = message->type, .lane = message->lane, .kind = message->kind};
    return 0;
}

/* It must wait behind others of its lane, or for room with others that may be dropped for it. */
static int queue_up(struct shm_link *shm, telex_message *message, struct shm_parcel *parcel, bool borrow)
{
    uint64_t bytes = parcel->request != 0 ? shm->queued_reply_bytes : shm->queued_bytes - shm->queued_reply_bytes;
    uint64_t messages = parcel->request != 0 ? shm->queued_replies : shm->queued_messages - shm->queued_replies;
    if (bytes >= shm->buffer || messages * sizeof *parcel >= shm->buffer)
        return full(shm);
    if (parcel->request == 0 && shm->queue != UINT64_MAX && shm->sent_costly + shm->unbegun - shm->seen.costly >= shm->queue &&
        (!telex_shm_refresh(shm) || shm->sent_costly + shm->unbegun - shm->seen.costly >= shm->queue))
        return full(shm);
    bool loan = is_any_loan(message);
    int r = telex_shm_enqueue(shm, parcel, borrow && !loan);
    if (r < 0)
        return r;
    shm->fates[parcel->message.number % SHM_OUTCOMES] = SHM_FATE(0, TELEX_OFFERED);
    admitted(shm, message, parcel->message.number);
    if (loan)
        telex_release(message);
    message->number = shm->number;
    return shm->borrowed != NULL ? TELEX_PUT_BORROWED : 0;
}

static int put_parcel(struct shm_link *shm, telex_message *message, const struct telex_put *how)
{
    struct shm_parcel parcel = {
        .message = *message,
        .request = how->request,
        .flags = flags_of(message, how),
        .sync = (how->flags & TELEX_SYNC) != 0,
    };
    parcel.message.number = shm->number + 1;
    if (shm->queued_messages > 0 || shm->owed_count > 0)
        telex_shm_push(&shm->link);
    if (shm->link.out_end != 0)
        return shm->link.out_end;
    if (telex_shm_lane_waits(shm, message->lane))
        return queue_up(shm, message, &parcel, how->borrow);
    if (shm->owed_count > 0) /* a withdrawal that waits for room may be about what is midway on this lane: nothing passes it */
        return how->patient ? full(shm) : queue_up(shm, message, &parcel, false);

    bool hold = (how->flags & TELEX_MORE) != 0;
    unsigned slot;
    if (telex_shm_is_loan(shm->area, message->memory, &slot) && message->data == chunk_bytes(shm, slot) && message->descriptor_count == 0 &&
        message->length <= ((struct telex_memory *)message->memory)->capacity)
        return put_loan(shm, message, &parcel, slot, hold);
    size_t written;
    enum shm_fit fit = telex_shm_write(shm, &parcel, hold, &written);
    if (shm->link.out_end != 0 || shm->failed != 0) {
        int r = shm->link.out_end != 0 ? shm->link.out_end : shm->failed;
        shm->failed = 0;
        return r;
    }
    if (fit == SHM_FULL)
        return how->patient ? full(shm) : queue_up(shm, message, &parcel, false);
    if (fit == SHM_SPLIT) {
        parcel.begun = true;
        parcel.sent = written;
        int r = telex_shm_enqueue(shm, &parcel, how->borrow && !is_any_loan(message));
        if (r < 0) {
            telex_link_blame(&shm->link, r);
            return shm->link.out_end = r;
        }
    }
    if (fit == SHM_SPLIT) /* what stood there is another one's fate, SHM_OUTCOMES messages ago */
        shm->fates[parcel.message.number % SHM_OUTCOMES] = SHM_FATE(0, TELEX_OFFERED);
    admitted(shm, message, parcel.message.number);
    if (is_any_loan(message)) { /* another medium's: it was copied, and is consumed */
        uint64_t number = message->number;
        telex_release(message);
        message->number = number;
    }
    if (fit == SHM_SPLIT)
        telex_shm_push(&shm->link);
    return shm->borrowed != NULL ? TELEX_PUT_BORROWED : 0;
}

/* How far telex_shm_put_quickly() may go. */
static void settle_quick(struct shm_link *shm)
{
    shm->quick_until = 0;
    shm->folded_tail = shm->writer.tail; /* what was written the long way is counted */
    shm->order_lag = shm->number - shm->completed;
    if (shm->queue != UINT64_MAX || shm->link.fixed != UINT64_MAX || shm->link.out_end != 0 || shm->queued_messages > 0 || shm->owed_count > 0)
        return;
    uint64_t tail = shm->writer.tail, room = shm->writer.head + shm->writer.size - SHM_RECORD - tail;
    uint64_t outstanding = shm->sent_cost - shm->seen.cost, credit = outstanding < shm->their_window ? shm->their_window - outstanding : 0;
    uint64_t most = room < credit ? room : credit;
    shm->quick_until = tail + (most < SHM_QUICK_MOST ? most : SHM_QUICK_MOST);
    shm->quick_put_most = shm->inline_most < shm->link.max ? shm->inline_most : shm->link.max;
}

int telex_shm_put(struct telex_link *link, telex_message *message, const struct telex_put *how)
{
    struct shm_link *shm = shm_of(link);
    if (link->out_end != 0)
        return link->out_end;
    bool due = shm->writer.tail - shm->alive_at >= SHM_QUICK_MOST;
    shm->alive_at = due ? shm->writer.tail : shm->alive_at;
    if (due && is_alone(shm)) {
        atomic_store_explicit(&shm->alone, true, memory_order_relaxed);
        return telex_say(-ECONNRESET, "the peer has closed or died");
    }
    telex_shm_fold_sent(shm);
    int r = put_parcel(shm, message, how);
    settle_quick(shm);
    return r;
}

int telex_shm_loan_of(struct telex_link *link, size_t length, telex_message *ret_message)
{
    struct shm_link *shm = shm_of(link);
    if (length > shm->area->own.arena_size / 2)
        return -ENOBUFS;
    int slot = take_chunk(shm, length);
    if (slot < 0) {
        telex_shm_publish(shm);
        telex_shm_refresh(shm);
        if (shm->seen.head == shm->writer.tail) /* none is on its way: the programs keep them all */
            return -ENOBUFS;
        return full(shm);
    }
    struct telex_memory *memory = telex_shm_loan(shm->area, (unsigned)slot, shm->arena.count[slot] * shm->arena.granule);
    if (memory == NULL) {
        telex_shm_arena_free(&shm->arena, (unsigned)slot);
        return telex_say(-ENOMEM, "no memory for a loan");
    }
    *ret_message = (telex_message){.data = chunk_bytes(shm, (unsigned)slot), .length = length, .memory = memory};
    return 0;
}

/* ---- what becomes of them ---- */

int telex_shm_outcome(struct telex_link *link, uint64_t number)
{
    struct shm_link *shm = shm_of(link);
    if (number == 0 || number > shm->number || number + SHM_OUTCOMES <= shm->number)
        return -ENOENT;
    telex_shm_fold_sent(shm);
    uint64_t fate = shm->fates[number % SHM_OUTCOMES];
    if ((fate & 3) != TELEX_OFFERED)
        return (int)(fate & 3);
    if (number == shm->undecided) {
        /* Acquire: pairs with the receiver's compare-and-swap; what it did before it took the message is seen by whoever sees it taken. */
        uint64_t decision = atomic_load_explicit(shm->area->our_decision, memory_order_acquire);
        if (decision != SHM_DECISION(number, SHM_TAKEN)) {
            if (decision != SHM_DECISION(number, SHM_OFFERED))
                blame_progress(shm); /* nobody else writes it; and who waits for it would look at it for ever */
            return TELEX_OFFERED;
        }
        shm->undecided = 0;
        remember(shm, number, TELEX_TAKEN);
        return TELEX_TAKEN;
    }
    if (telex_shm_find_parcel(shm, number) != NULL)
        return TELEX_OFFERED;
    if (fate >> 2 == 0) /* never written: it waited here, and the end came first */
        return TELEX_OFFERED;
    if (fate >> 2 > shm->seen.prefix)
        telex_shm_refresh(shm);
    return fate >> 2 <= shm->seen.prefix ? TELEX_TAKEN : TELEX_OFFERED;
}

static int withdrawn(struct shm_link *shm, uint64_t number)
{
    remember(shm, number, TELEX_WITHDRAWN);
    shm->withdrawn++;
    return TELEX_WITHDRAWN;
}

int telex_shm_withdraw(struct telex_link *link, uint64_t number)
{
    struct shm_link *shm = shm_of(link);
    int outcome = telex_shm_outcome(link, number);
    if (outcome != TELEX_OFFERED)
        return outcome;
    struct shm_parcel *parcel = telex_shm_find_parcel(shm, number);
    bool begun = parcel == NULL || parcel->begun;
    if (number == shm->undecided) {
        uint64_t offered = SHM_DECISION(number, SHM_OFFERED);
        bool won = atomic_compare_exchange_strong_explicit(shm->area->our_decision, &offered, SHM_DECISION(number, SHM_WITHDRAWN), memory_order_acq_rel,
                                                           memory_order_acquire);
        shm->undecided = 0;
        if (!won && offered == SHM_DECISION(number, SHM_TAKEN)) {
            remember(shm, number, TELEX_TAKEN);
            return TELEX_TAKEN;
        }
        if (!won)
            blame_progress(shm);
    }
    if (parcel != NULL) {
        telex_shm_unqueue(shm, parcel);
        if (begun)
            telex_shm_owe_withdrawal(shm, number);
        telex_shm_push(link);
    } else {
        telex_shm_publish(shm);
    }
    return withdrawn(shm, number);
}
