/* SPDX-License-Identifier: MIT */
/*
 * Receiving: records into messages. Each word that the peer wrote is read once and checked; where the peer is not trusted, so are the bytes: they are copied
 * first, and what is checked is the copy. What was taken is told when a quarter of the ring or of the window has come together, or nothing is left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "medium/shm/shm.h"
#include "os/clock.h"
#include "os/fork.h"

enum {
    ALIVE_EVERY = 16,         /* looks in vain, between two looks at the socket */
    ALIVE_EVERY_NS = 20000000, /* and so long at most: who comes by rarely is told, too */
};

/* ---- the socket: rings of the bell, descriptors, the end ---- */

/* How it ended, the ring tells, which may still have a goodbye in it: see find_nothing(). */
static void read_ended(struct shm_link *shm, ssize_t result)
{
    shm->ended = true;
    shm->lap = atomic_load_explicit(&shm->reader.at, memory_order_relaxed);
    if (shm->ended_error == 0)
        shm->ended_error = -ECONNRESET;
    shm->lost_descriptors = result == -EMFILE;
}

static ssize_t read_socket(struct shm_link *shm, ssize_t (*read)(struct telex_bytes *, const struct iovec *, int, int *, unsigned *))
{
    uint8_t rings[256];
    struct iovec part = {rings, sizeof rings};
    if (shm->held_count + TELEX_BYTES_DESCRIPTORS > SHM_HELD_DESCRIPTORS)
        return telex_link_break(&shm->link, telex_say(-EPROTO, "the peer sends descriptors without the messages that they belong to"));
    ssize_t got = read(shm->area->bytes, &part, 1, shm->ours.descriptors > 0 ? shm->held : NULL, &shm->held_count);
    if (got == -EAGAIN || got == -EINTR)
        return got;
    if (got <= 0)
        read_ended(shm, got);
    else if (shm->announced_in || shm->announced_out)
        telex_shm_awake(shm); /* what was rung for a sleep is rung once: the next one needs a number of its own */
    shm->stray = false;
    return got;
}

void telex_shm_hear(struct shm_link *shm)
{
    if (shm->held_count + TELEX_BYTES_DESCRIPTORS > SHM_HELD_DESCRIPTORS)
        return; /* that ends the link, and find_nothing() sees to it: here both locks are held */
    shm->stray = false;
    if (!shm->ended && shm->link.in_end == 0)
        read_socket(shm, shm->area->bytes->ops->read);
}

/*
 * Once in a ring's length: whether the peer is still there, for who always finds another record never gets to look otherwise. true: it was not there
 * when the last such length began. So nothing new lies here, whatever lies here.
 */
static bool is_stale(struct shm_link *shm)
{
    if (__builtin_expect(shm->reader.done - shm->lap < shm->reader.size, 1))
        return false;
    if (shm->ended)
        return true;
    shm->lap = shm->reader.done;
    read_socket(shm, shm->area->bytes->ops->read);
    if (!shm->ended && shm->link.in_end == 0 && telex_shm_is_dead(shm))
        read_ended(shm, 0);
    return shm->link.in_end != 0;
}

/* Nothing was there. 0: look again, for what came before the end; else -EAGAIN or how the direction ended. */
static int find_nothing(struct shm_link *shm)
{
    shm->reader.done = atomic_load_explicit(&shm->reader.at, memory_order_relaxed);
    if (telex_shm_is_untold(shm))
        telex_shm_tell_progress(shm);
    if (atomic_load_explicit(&shm->lied, memory_order_relaxed)) {
        telex_link_say_reason(&shm->link, -EPROTO);
        return telex_link_break(&shm->link, -EPROTO);
    }
    if (shm->ended) { /* and all that came before the end was looked at */
        if (!shm->goodbye) {
            telex_say(-ECONNRESET, shm->lost_descriptors ? "descriptors were lost on the way: this process is at its limit of open files"
                                                         : "the peer ended without a goodbye: it died");
            telex_link_blame(&shm->link, -ECONNRESET);
        }
        shm->link.in_end = shm->ended_error;
        telex_lock(&shm->link.out);
        if (shm->link.out_end == 0)
            shm->link.out_end = shm->ended_error;
        telex_shm_forget(shm);
        shm->quick_until = 0;
        telex_unlock(&shm->link.out);
        shm->link.news++;
        return shm->ended_error;
    }
    shm->empties++;
    int64_t now = telex_clock_roughly();
    if (!shm->announced_in && !shm->announced_out && shm->empties != 2 && shm->empties % ALIVE_EVERY != 0 && now - shm->looked < ALIVE_EVERY_NS &&
        !atomic_load_explicit(&shm->alone, memory_order_relaxed))
        return -EAGAIN;
    shm->looked = now;
    ssize_t got = read_socket(shm, shm->area->bytes->ops->read);
    if (shm->link.in_end != 0)
        return shm->link.in_end;
    if (!shm->ended && telex_shm_is_dead(shm))
        read_ended(shm, 0);
    return shm->ended || got > 0 ? 0 : -EAGAIN;
}

int telex_shm_doze(struct telex_link *link, unsigned directions)
{
    struct shm_link *shm = shm_of(link);
    if (shm->ended || link->in_end != 0 || telex_shm_has_work(shm))
        return -EOPNOTSUPP;
    telex_lock(&link->out); /* a second thread may begin to send just now */
    bool asleep = telex_shm_announce(shm, true, (directions & TELEX_ARM_PROGRESS) != 0);
    telex_unlock(&link->out);
    if (!asleep)
        return 0;
    ssize_t got = read_socket(shm, shm->area->bytes->ops->doze);
    return got == -EINTR ? -EINTR : 0;
}

/* ---- pieces ---- */

static struct shm_assembly **assembly_of(struct shm_link *shm, unsigned lane)
{
    struct shm_assembly **at = &shm->assemblies;
    while (*at != NULL && (*at)->message.lane != lane)
        at = &(*at)->next;
    return at;
}

/* Takes it out of the list; its memory is left. */
static void unlink_assembly(struct shm_link *shm, struct shm_assembly **at)
{
    struct shm_assembly *assembly = *at;
    *at = assembly->next;
    shm->assembling_total[(assembly->message.flags & TELEX_IS_REPLY) != 0] -= assembly->message.length;
    shm->assembling_cost -= assembly->cost;
}

/* A withdrawn message that was still arriving. */
static void drop_assembly(struct shm_link *shm, uint64_t number)
{
    for (struct shm_assembly **at = &shm->assemblies; *at != NULL; at = &(*at)->next) {
        struct shm_assembly *assembly = *at;
        if (assembly->message.number != number)
            continue;
        unlink_assembly(shm, at);
        telex_shm_settle(shm, &assembly->message, assembly->cost); /* it never arrived whole, and is in no order */
        telex_memory_release(assembly->memory);
        free(assembly);
        return;
    }
}

static int begin_assembly(struct shm_link *shm, const telex_message *message, uint64_t total)
{
    uint64_t *sum = &shm->assembling_total[(message->flags & TELEX_IS_REPLY) != 0];
    if (total > shm->ours.max - (*sum < shm->ours.max ? *sum : shm->ours.max))
        return telex_say(-EPROTO, "the peer has %llu bytes of messages midway; at most %llu are accepted here (option max)",
                         (unsigned long long)(total + *sum), (unsigned long long)shm->ours.max);
    struct shm_assembly *assembly = malloc(sizeof *assembly);
    struct telex_memory *memory = telex_memory_new(total);
    if (assembly == NULL || memory == NULL) {
        free(assembly);
        telex_memory_release(memory);
        return telex_say(-ENOMEM, "no memory for a message of %llu bytes", (unsigned long long)total);
    }
    *assembly = (struct shm_assembly){.next = shm->assemblies, .memory = memory, .message = *message};
    assembly->message.length = total;
    *sum += total;
    shm->assemblies = assembly;
    return 0;
}

/* ---- messages ---- */

struct piece { /* what a record says */
    telex_message message; /* length: of these bytes */
    unsigned flags;
    const uint8_t *bytes;
    uint64_t total, descriptors, cost;
    int slot; /* -1: the bytes lie in the ring */
};

static int read_prefix(const uint8_t *body, uint64_t size, bool first, struct piece *piece)
{
    const uint8_t *at = body;
    uint64_t wanted = (piece->flags & SHM_CHUNK ? sizeof(struct shm_chunk) : 0) +
                      (first ? (piece->flags & SHM_REPLY ? 8u : 0u) + (piece->flags & SHM_MORE ? 8u : 0u) + (piece->flags & SHM_DESCRIPTORS ? 8u : 0u) : 0);
    if (size < wanted)
        return telex_say(-EPROTO, "a record of %llu bytes is too short for what its flags announce", (unsigned long long)size);
    if (first && (piece->flags & SHM_REPLY)) {
        piece->message.request = shm_read_once(at);
        at += 8;
        if (piece->message.request == 0)
            return telex_say(-EPROTO, "a reply to request 0; numbers begin with 1");
    }
    if (first && (piece->flags & SHM_MORE)) {
        piece->total = shm_read_once(at);
        at += 8;
    }
    if (first && (piece->flags & SHM_DESCRIPTORS)) {
        piece->descriptors = shm_read_once(at);
        at += 8;
    }
    piece->bytes = at;
    piece->message.length = size - (uint64_t)(at - body);
    return 0;
}

static int read_chunk(struct shm_link *shm, struct piece *piece)
{
    const struct shm_memory *theirs = &shm->area->theirs;
    uint64_t slot = shm_read_once(piece->bytes), length = shm_read_once(piece->bytes + 8);
    if (slot >= theirs->slots || length > (theirs->slots - slot) * theirs->granule)
        return telex_say(-EPROTO, "the peer's message lies outside of its arena");
    piece->slot = (int)slot;
    piece->bytes = theirs->arena + slot * theirs->granule;
    piece->message.length = length;
    piece->cost += length;
    return 0;
}

/* The sender counts as we do: output.c, has_credit(). */
static int check_credit(const struct shm_link *shm, uint64_t cost)
{
    if (shm->arrived_cost + cost <= shm->granted + shm->link.window || shm->arrived_cost == shm->granted)
        return 0;
    return telex_say(-EPROTO, "the peer sends more than it has credit for (option window)");
}

/* A message more has begun. Where messages are counted none is plain (below), nor taken quickly: each of them comes by here. */
static int check_queue(const struct shm_link *shm)
{
    if (shm->queue == UINT64_MAX || shm->arrived_costly - shm->taken.costly < shm->queue)
        return 0;
    return telex_say(-EPROTO, "the peer sends more messages than may wait untaken here (%llu, option queue)", (unsigned long long)shm->queue);
}

static int check_piece(const struct shm_link *shm, const struct piece *piece, const struct shm_assembly *assembly)
{
    const telex_message *message = &piece->message;
    bool more = (piece->flags & SHM_MORE) != 0;
    if (assembly != NULL) {
        uint64_t left = assembly->message.length - assembly->filled;
        if (message->number != assembly->message.number)
            return telex_say(-EPROTO, "message %llu begins in the middle of message %llu on its lane", (unsigned long long)message->number,
                             (unsigned long long)assembly->message.number);
        if (message->length == 0 || message->length > left || more != (message->length < left))
            return telex_say(-EPROTO, "a piece of message %llu has %zu bytes where %llu are left", (unsigned long long)message->number,
                             message->length, (unsigned long long)left);
        return 0;
    }
    uint64_t length = more ? piece->total : message->length;
    if (message->number <= shm->lane_numbers[message->lane])
        return telex_say(-EPROTO, "message %llu after message %llu on its lane", (unsigned long long)message->number,
                         (unsigned long long)shm->lane_numbers[message->lane]);
    if ((piece->flags & SHM_CALL) && (piece->flags & SHM_REPLY))
        return telex_say(-EPROTO, "a message that is both a call and a reply");
    if (more && (message->length == 0 || length <= message->length))
        return telex_say(-EPROTO, "message %llu goes on after its %llu bytes", (unsigned long long)message->number, (unsigned long long)length);
    if (length > shm->ours.max)
        return telex_say(-EPROTO, "the peer sends a message of %llu bytes; at most %llu are accepted here (option max)", (unsigned long long)length,
                         (unsigned long long)shm->ours.max);
    if (shm->link.fixed != UINT64_MAX && length != shm->link.fixed)
        return telex_say(-EPROTO, "the peer sends a message of %llu bytes; each has %llu (option size)", (unsigned long long)length,
                         (unsigned long long)shm->link.fixed);
    if (piece->descriptors > shm->ours.descriptors)
        return telex_say(-EPROTO, "the peer sends %llu descriptors with a message; at most %u are accepted here (option descriptors)",
                         (unsigned long long)piece->descriptors, shm->ours.descriptors);
    return 0;
}

/* The message's descriptors, which came before it. */
static int attach_descriptors(struct shm_link *shm, telex_message *message, uint64_t count)
{
    while (shm->held_count < count && shm->link.in_end == 0) {
        ssize_t got = read_socket(shm, shm->area->bytes->ops->read);
        if (got <= 0)
            return got == -EMFILE ? (int)got : telex_say(-EPROTO, "message %llu comes without its descriptors", (unsigned long long)message->number);
    }
    int r = telex_memory_attach(message->memory, shm->held, (unsigned)count);
    if (r < 0)
        return telex_say(r, "no memory for descriptors");
    shm->held_count -= (unsigned)count;
    memmove(shm->held, shm->held + count, shm->held_count * sizeof *shm->held);
    message->descriptors = ((struct telex_memory *)message->memory)->descriptors;
    message->descriptor_count = (uint8_t)count;
    return 0;
}

static int copy_bytes(struct piece *piece)
{
    telex_message *message = &piece->message;
    struct telex_memory *memory = telex_memory_new(message->length);
    if (memory == NULL)
        return telex_say(-ENOMEM, "no memory for a message of %zu bytes", message->length);
    memcpy(memory->bytes, piece->bytes, message->length);
    message->memory = memory;
    message->data = memory->bytes;
    return 0;
}

/* A message in one record: lent where it lies, or copied. */
static int whole(struct shm_link *shm, struct piece *piece)
{
    telex_message *message = &piece->message;
    int r = 0;
    message->data = (void *)piece->bytes;
    if (piece->slot >= 0 && shm->trusted) {
        message->memory = telex_shm_lent(shm->area, (unsigned)piece->slot);
        if (message->memory != NULL)
            piece->slot = -1; /* it goes back when the message is released */
        else
            r = copy_bytes(piece);
    } else if (piece->slot >= 0 || !shm->trusted || piece->descriptors > 0) {
        r = copy_bytes(piece);
    }
    if (r == 0 && piece->descriptors > 0)
        r = attach_descriptors(shm, message, piece->descriptors);
    if (r < 0) {
        telex_memory_release(message->memory);
        message->memory = NULL;
    }
    return r;
}

/* 1: the message is whole, in *piece; 0: more of it is to come. */
static int assemble(struct shm_link *shm, struct piece *piece, struct shm_assembly **at)
{
    if (*at == NULL) {
        int r = begin_assembly(shm, &piece->message, piece->total);
        if (r < 0)
            return r;
        at = &shm->assemblies;
        if (piece->descriptors > 0) {
            (*at)->message.memory = (*at)->memory;
            r = attach_descriptors(shm, &(*at)->message, piece->descriptors);
            if (r < 0)
                return r;
        }
    }
    struct shm_assembly *assembly = *at;
    memcpy(assembly->memory->bytes + assembly->filled, piece->bytes, piece->message.length);
    assembly->filled += piece->message.length;
    if (piece->flags & SHM_MORE) {
        if (!(assembly->message.flags & TELEX_IS_REPLY)) {
            assembly->cost += piece->cost;
            shm->assembling_cost += piece->cost;
            telex_shm_grant(shm);
        }
        return 0;
    }
    unlink_assembly(shm, at);
    piece->message = assembly->message;
    piece->message.memory = assembly->memory;
    piece->message.data = assembly->memory->bytes;
    piece->cost += assembly->cost;
    free(assembly);
    return 1;
}

static telex_message message_of(uint64_t what, uint64_t number)
{
    unsigned flags = (unsigned)(what >> 56);
    unsigned is = (flags & SHM_CALL ? TELEX_IS_CALL : 0u) | (flags & SHM_REPLY ? TELEX_IS_REPLY : 0u) | (flags & SHM_SYNC ? TELEX_IS_SYNC : 0u);
    return (telex_message){
        .number = number,
        .type = (uint16_t)(what >> 32),
        .kind = flags & SHM_TEXT ? TELEX_TEXT : TELEX_BINARY,
        .lane = (uint8_t)(what >> 48),
        .flags = (uint8_t)is,
    };
}

/* 1: an arrival; 0: none yet. */
static int on_message(struct shm_link *shm, uint64_t what, uint64_t number, const uint8_t *body, struct telex_arrival *arrival)
{
    struct piece piece = {.message = message_of(what, number), .flags = (unsigned)(what >> 56), .slot = -1};
    uint64_t size = (uint32_t)what;
    piece.cost = shm_record_size(size);
    struct shm_assembly **at = shm->assemblies == NULL ? &shm->assemblies : assembly_of(shm, piece.message.lane);
    bool first = *at == NULL, costs = first ? !(piece.flags & SHM_REPLY) : !((*at)->message.flags & TELEX_IS_REPLY);
    int r = read_prefix(body, size, first, &piece);
    if (r == 0 && (piece.flags & SHM_CHUNK))
        r = read_chunk(shm, &piece);
    if (r == 0)
        r = check_piece(shm, &piece, *at);
    if (r == 0 && costs)
        r = check_credit(shm, piece.cost);
    if (r == 0 && costs && first)
        r = check_queue(shm);
    if (r < 0)
        return r;
    if (costs)
        shm->arrived_cost += piece.cost;
    shm->arrived_costly += costs && first;
    if (first)
        shm->lane_numbers[piece.message.lane] = number;
    if (first && !(piece.flags & SHM_MORE)) {
        r = whole(shm, &piece);
        r = r == 0 ? 1 : r;
    } else {
        r = assemble(shm, &piece, at);
    }
    if (piece.slot >= 0)
        telex_shm_give_back(shm->area, (unsigned)piece.slot);
    if (r == 1 && !telex_shm_count_arrival(shm, piece.message.number)) {
        telex_memory_release(piece.message.memory);
        r = telex_say(-ENOMEM, "no memory for a message that arrived");
    }
    if (r != 1)
        return r;
    arrival->kind = TELEX_ARRIVAL_MESSAGE;
    arrival->message = piece.message;
    arrival->cost = costs ? piece.cost : 0;
    return 1;
}

/* ---- control frames ---- */

static int on_bye(struct shm_link *shm, const struct telex_frame *frame)
{
    static const int errors[] = {
        [TELEX_BYE_CLOSED] = -EPIPE,          [TELEX_BYE_VERSION] = -EPROTONOSUPPORT, [TELEX_BYE_LIMIT] = -ECONNREFUSED,
        [TELEX_BYE_REFUSED] = -ECONNREFUSED,  [TELEX_BYE_PROTOCOL] = -EPROTO,
    };
    struct telex_link *link = &shm->link;
    telex_lock(&link->out);
    bool more = frame->total > shm->number;
    shm->told = !more;
    shm->told_taken = more ? 0 : frame->total;
    telex_unlock(&link->out);
    if (more)
        return telex_say(-EPROTO, "the peer says goodbye and that it took %llu messages, which is more than were sent", (unsigned long long)frame->total);
    shm->ended = shm->goodbye = true;
    shm->ended_error = frame->code < sizeof errors / sizeof *errors ? errors[frame->code] : -EPIPE;
    if (frame->sentence_length > 0)
        telex_say(-EPIPE, "the peer said: %.*s", (int)frame->sentence_length, frame->sentence);
    else
        telex_say(-EPIPE, "the peer closed the channel");
    telex_link_blame(link, -EPIPE);
    telex_lock(&link->out);
    if (link->out_end == 0)
        link->out_end = -EPIPE;
    telex_shm_forget(shm);
    shm->quick_until = 0;
    telex_unlock(&link->out);
    link->news++;
    telex_shm_report(link); /* it waits for nothing else */
    return 0;
}

static int on_control(struct shm_link *shm, uint64_t size, const uint8_t *body, struct telex_arrival *arrival)
{
    if (size > sizeof shm->control)
        return telex_say(-EPROTO, "a control frame of %llu bytes", (unsigned long long)size);
    memcpy(shm->control, body, size);
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    int r = shm->link.wire->decode(&decoder, shm->control, size, true, &frame);
    if (r < 0)
        return r == -EAGAIN ? telex_say(-EPROTO, "a control frame that is cut off") : r;
    static const enum telex_arrival_kind kinds[] = {[TELEX_FRAME_CANCEL] = TELEX_ARRIVAL_CANCEL, [TELEX_FRAME_FAIL] = TELEX_ARRIVAL_FAIL};
    switch (frame.kind) {
    case TELEX_FRAME_BYE:
        return on_bye(shm, &frame);
    case TELEX_FRAME_WITHDRAW:
        drop_assembly(shm, frame.number);
        return 0;
    case TELEX_FRAME_CANCEL:
    case TELEX_FRAME_FAIL:
        *arrival = (struct telex_arrival){
            .kind = kinds[frame.kind],
            .code = frame.code,
            .message = {.number = frame.number, .request = frame.number},
            .sentence = frame.sentence,
            .sentence_length = frame.sentence_length,
        };
        return 1;
    case TELEX_FRAME_SKIP:
        return 0;
    default:
        return telex_say(-EPROTO, "a control frame that has no place in shared memory (type %u)", frame.type);
    }
}

/* ---- records ---- */

static int on_record(struct shm_link *shm, uint64_t what, struct telex_arrival *arrival)
{
    const struct shm_record *record = shm_ring_next(&shm->reader);
    uint64_t size = (uint32_t)what;
    if (size > shm->body_most)
        return telex_say(-EPROTO, "a record of %llu bytes in a ring of %llu", (unsigned long long)size, (unsigned long long)shm->reader.size);
    if (shm->goodbye)
        return telex_say(-EPROTO, "the peer goes on after its goodbye");
    uint64_t number = shm_read_once((const uint8_t *)&record->number);
    shm_ring_pass(&shm->reader, shm_record_size(size));
    const uint8_t *body = (const uint8_t *)(record + 1);
    if ((uint8_t)(what >> 48) == SHM_CONTROL_LANE)
        return on_control(shm, size, body, arrival);
    return on_message(shm, what, number, body, arrival);
}

/* The common case, by itself: a small message in one record, from a trusted peer. */
static bool is_plain(const struct shm_link *shm, uint64_t what)
{
    return ((what >> 56) & ~(uint64_t)(SHM_TEXT | SHM_CALL | SHM_SYNC | SHM_PRESENT)) == 0 && (uint8_t)(what >> 48) != SHM_CONTROL_LANE && shm->trusted &&
           shm->assemblies == NULL && (uint32_t)what <= shm->body_most && (uint32_t)what <= shm->ours.max && shm->link.fixed == UINT64_MAX && shm->queue == UINT64_MAX && !shm->goodbye;
}

static int next_plain(struct shm_link *shm, uint64_t what, struct telex_arrival *arrival)
{
    const struct shm_record *record = shm_ring_next(&shm->reader);
    uint64_t number = shm_read_once((const uint8_t *)&record->number), cost = shm_record_size((uint32_t)what);
    int r = check_credit(shm, cost);
    uint64_t *last = &shm->lane_numbers[(uint8_t)(what >> 48)];
    if (number <= *last)
        r = telex_say(-EPROTO, "message %llu after message %llu on its lane", (unsigned long long)number, (unsigned long long)*last);
    if (r == 0 && !telex_shm_count_arrival(shm, number))
        r = telex_say(-ENOMEM, "no memory for a message that arrived");
    if (r < 0)
        return r;
    shm_ring_pass(&shm->reader, cost);
    *last = number;
    shm->arrived_cost += cost;
    arrival->kind = TELEX_ARRIVAL_MESSAGE;
    arrival->message = message_of(what, number);
    arrival->message.data = (void *)(record + 1);
    arrival->message.length = (uint32_t)what;
    arrival->cost = cost;
    return 1;
}

static int next(struct telex_link *link, struct telex_arrival *ret_arrival)
{
    struct shm_link *shm = shm_of(link);
    if (link->in_end != 0)
        return link->in_end;
    if (!shm->admitted)
        return -EAGAIN;
    telex_shm_fold(shm);
    for (unsigned i = 0; i < SHM_RECORDS; i++) {
        shm->reader.done = atomic_load_explicit(&shm->reader.at, memory_order_relaxed); /* what was borrowed is no more */
        uint64_t what = is_stale(shm) ? 0 : shm_ring_look(&shm->reader);
        if (what == 0) {
            int r = link->in_end != 0 ? link->in_end : find_nothing(shm);
            if (r < 0)
                return r;
            continue;
        }
        if (shm->announced_in)
            telex_shm_awake(shm);
        telex_shm_tell_if_due(shm);
        int r = is_plain(shm, what) ? next_plain(shm, what, ret_arrival) : on_record(shm, what, ret_arrival);
        if (r < 0)
            return telex_link_break(link, r);
        if (r > 0)
            return 0;
    }
    return -EAGAIN;
}

int telex_shm_next(struct telex_link *link, struct telex_arrival *ret_arrival)
{
    int r = next(link, ret_arrival);
    telex_shm_settle_quick(shm_of(link));
    return r;
}

bool telex_shm_has_work(struct shm_link *shm)
{
    return shm->link.in_end == 0 && shm->admitted && (shm->ended || shm_ring_look(&shm->reader) != 0);
}

void telex_shm_input_free(struct shm_link *shm)
{
    while (shm->assemblies != NULL) {
        struct shm_assembly *assembly = shm->assemblies;
        shm->assemblies = assembly->next;
        telex_memory_release(assembly->memory);
        free(assembly);
    }
    telex_shm_waiting_free(shm);
    for (unsigned i = 0; i < shm->held_count; i++)
        telex_shut(shm->held[i]);
    shm->held_count = 0;
}
