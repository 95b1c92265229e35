/* SPDX-License-Identifier: MIT */
/*
 * Attaching: over the socket each side sends the greeting of wire=telex and then struct shm_attach, with its memory. The dialer goes first; the listener
 * answers when its program lets the peer in, or with a refusal. Nothing that comes from the peer is believed before it was checked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/utf8.h"
#include "medium/shm/shm.h"
#include "os/fork.h"

/* ---- what we say ---- */

static int write_all(struct shm_link *shm, const void *data, size_t length, const int *fds, unsigned count)
{
    struct telex_bytes *bytes = shm->area->bytes;
    struct iovec part = {(void *)data, length};
    ssize_t written = bytes->ops->write(bytes, &part, 1, fds, count);
    if (written == -EPIPE)
        return telex_say(-ECONNRESET, "the peer closed before it greeted: is it a listener of shm://?");
    if (written < 0 && written != -EAGAIN)
        return (int)written;
    /* A fresh socket's buffer takes a hundred times as much. */
    return (size_t)written == length ? 0 : telex_say(-ECONNRESET, "the peer's socket takes no greeting");
}

static int send_hello(struct shm_link *shm, struct shm_attach *attach, const char *sentence, const int *fds, unsigned count)
{
    uint8_t hello[SHM_HELLO_MOST];
    size_t length = telex_greeting_encode(&shm->ours, hello);
    memcpy(hello + length, attach, sizeof *attach);
    length += sizeof *attach;
    memcpy(hello + length, sentence, attach->sentence);
    length += attach->sentence;
    return write_all(shm, hello, length, fds, count);
}

static int send_memory(struct shm_link *shm)
{
    struct shm_attach attach = {
        .magic = SHM_MAGIC,
        .version = SHM_VERSION,
        .kind = SHM_ATTACH,
        .ring = shm->area->own.ring_size,
        .arena = shm->area->own.arena_size,
        .flags = shm->area->fenced ? 0 : SHM_HAS_MEMBARRIER,
    };
    int fds[2] = {shm->fd, shm->decisions_fd};
    int r = send_hello(shm, &attach, "", fds, shm->decisions_fd >= 0 ? 2 : 1);
    telex_shut(shm->fd);
    telex_shut(shm->decisions_fd);
    shm->fd = shm->decisions_fd = -1;
    return r;
}

static void send_refusal(struct shm_link *shm, uint32_t code, const char *sentence)
{
    size_t length = sentence != NULL ? strlen(sentence) : 0;
    while (length > TELEX_WIRE_SENTENCE || (length > 0 && !telex_utf8_valid(sentence, length)))
        length--;
    struct shm_attach attach = {
        .magic = SHM_MAGIC,
        .version = SHM_VERSION,
        .kind = SHM_REFUSED,
        .code = code,
        .sentence = (uint32_t)length,
    };
    send_hello(shm, &attach, sentence != NULL ? sentence : "", NULL, 0);
    shm->refused = true;
}

/* ---- the memories ---- */

static int make_memory(struct shm_link *shm, const struct telex_settings *settings)
{
    struct shm_area *area = shm->area;
    uint64_t ring = telex_shm_ring_size(settings->ring), arena = telex_shm_arena_size(settings->arena);
    int r = telex_shm_memory_make(ring, arena, shm->prefault, &area->own, &shm->fd);
    if (r < 0)
        return r;
    shm->writer = (struct shm_writer){.bytes = area->own.ring, .mask = ring - 1, .size = ring};
    shm->inline_most = ring / 16 < SHM_INLINE_MOST ? ring / 16 : SHM_INLINE_MOST;
    telex_shm_arena_init(&shm->arena, &area->own);
    return 0;
}

int telex_shm_begin(struct shm_link *shm, const struct telex_settings *settings)
{
    int r = make_memory(shm, settings);
    if (r < 0 || shm->passive)
        return r;
    r = telex_shm_decisions_make(&shm->area->decisions, &shm->decisions_fd);
    return r < 0 ? r : send_memory(shm);
}

static void open_ring(struct shm_link *shm)
{
    struct shm_area *area = shm->area;
    shm->reader = (struct shm_reader){.bytes = area->theirs.ring, .mask = area->theirs.ring_size - 1, .size = area->theirs.ring_size};
    shm->body_most = shm_body_most(area->theirs.ring_size);
    shm->lane_numbers[SHM_CONTROL_LANE] = UINT64_MAX;
    struct shm_decisions *decisions = area->decisions;
    area->our_decision = shm->passive ? &decisions->of_listener : &decisions->of_dialer;
    area->their_decision = shm->passive ? &decisions->of_dialer : &decisions->of_listener;
}

static int open_memory(struct shm_link *shm, const struct shm_attach *attach)
{
    struct shm_area *area = shm->area;
    unsigned wanted = shm->passive ? 2 : 1;
    if (!telex_shm_sizes_valid(attach->ring, attach->arena))
        return telex_say(-EPROTO, "the peer announces a ring of %llu bytes and an arena of %llu: no such sizes exist",
                         (unsigned long long)attach->ring, (unsigned long long)attach->arena);
    if (shm->held_count != wanted)
        return telex_say(-EPROTO, "the peer hands over %u descriptors with its greeting; %u are wanted", shm->held_count, wanted);
    int r = telex_shm_memory_open(shm->held[0], attach->ring, attach->arena, shm->prefault, &area->theirs);
    if (r == 0 && shm->passive)
        r = telex_shm_decisions_open(shm->held[1], &area->decisions);
    for (unsigned i = 0; i < shm->held_count; i++)
        telex_shut(shm->held[i]);
    shm->held_count = 0;
    if (!(attach->flags & SHM_HAS_MEMBARRIER))
        area->fenced = true;
    if (r == 0)
        open_ring(shm);
    return r;
}

/* ---- what the peer says ---- */

/* A peer of another process, or of another user, where none may be. */
static int check_peer(struct shm_link *shm)
{
    struct telex_medium_peer peer;
    shm->area->bytes->ops->peer(shm->area->bytes, &peer);
    shm->trusted = shm->wants_trust && peer.uid == (int64_t)geteuid();
    if (shm->local && peer.pid != (int64_t)getpid())
        return telex_say(-ECONNREFUSED, "inproc:// connects threads of one process, and this peer is another one; use shm://");
    return 0;
}

static int read_more(struct shm_link *shm)
{
    struct telex_bytes *bytes = shm->area->bytes;
    if (shm->hello_length == SHM_HELLO_MOST)
        return telex_say(-EPROTO, "the peer's greeting does not end");
    if (shm->held_count + TELEX_BYTES_DESCRIPTORS > SHM_HELD_DESCRIPTORS)
        return telex_say(-EPROTO, "the peer hands over more descriptors than its greeting has");
    /* No more than is wanted: what follows the greeting is the bell's. */
    size_t wanted = SHM_HELLO_MOST - shm->hello_length;
    struct iovec part = {shm->hello + shm->hello_length, wanted};
    ssize_t got = bytes->ops->read(bytes, &part, 1, shm->held, &shm->held_count);
    if (got == 0)
        return telex_say(-ECONNRESET, "the peer closed before it greeted: is it a listener of shm://?");
    if (got < 0)
        return (int)got;
    shm->hello_length += (size_t)got;
    return 0;
}

static int refused(const struct shm_attach *attach, const char *sentence)
{
    int error = attach->code == TELEX_BYE_VERSION ? -EPROTONOSUPPORT : attach->code == TELEX_BYE_PROTOCOL ? -EPROTO : -ECONNREFUSED;
    if (attach->sentence == 0 || !telex_utf8_valid(sentence, attach->sentence))
        return telex_say(error, "the peer closed the channel");
    return telex_say(error, "the peer said: %.*s", (int)attach->sentence, sentence);
}

static int check_attach(const struct shm_attach *attach)
{
    static const uint32_t zeros[sizeof attach->reserved / sizeof *attach->reserved];
    if (attach->magic != SHM_MAGIC || (attach->kind != SHM_ATTACH && attach->kind != SHM_REFUSED))
        return telex_say(-EPROTO, "what follows the peer's greeting is no shared memory");
    if (attach->version != SHM_VERSION)
        return telex_say(-EPROTONOSUPPORT, "the peer's shared memory has layout %u; this library speaks %d", attach->version, SHM_VERSION);
    if (memcmp(attach->reserved, zeros, sizeof zeros) != 0 || attach->sentence > TELEX_WIRE_SENTENCE)
        return telex_say(-EPROTO, "the peer's shared memory comes with bytes set that must be zero");
    return 0;
}

/* Reads the greeting and what follows it: 0, -EAGAIN, or the error. */
static int read_hello(struct shm_link *shm, struct telex_greeting *theirs, struct shm_attach *attach)
{
    for (;;) {
        size_t length = 0;
        int r = shm->hello_length == 0 ? -EAGAIN : telex_greeting_decode(shm->hello, shm->hello_length, theirs, &length);
        if (r == 0 && shm->hello_length >= length + sizeof *attach) {
            memcpy(attach, shm->hello + length, sizeof *attach);
            r = check_attach(attach);
            if (r < 0)
                return r;
            const char *sentence = (const char *)shm->hello + length + sizeof *attach;
            if (shm->hello_length >= length + sizeof *attach + attach->sentence) {
                if (attach->kind == SHM_REFUSED)
                    return shm->passive ? telex_say(-EPROTO, "a dialer that refuses") : refused(attach, sentence);
                return 0;
            }
        } else if (r != 0 && r != -EAGAIN) {
            return r;
        }
        r = read_more(shm);
        if (r < 0)
            return r;
    }
}

static int agree(struct shm_link *shm, const struct telex_greeting *theirs, uint32_t *ret_bye)
{
    int r = telex_link_agree(&shm->link, &shm->ours, theirs, ret_bye);
    shm->queue = telex_link_lesser(shm->ours.queue, theirs->queue);
    shm->their_window = theirs->window;
    return r;
}

int telex_shm_greet(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    if (shm->attached)
        return 0;
    struct telex_greeting theirs;
    struct shm_attach attach;
    uint32_t bye = TELEX_BYE_REFUSED;
    int r = check_peer(shm);
    if (r == 0 && shm->hello == NULL) {
        shm->hello = malloc(SHM_HELLO_MOST);
        r = shm->hello == NULL ? telex_say(-ENOMEM, "no memory for a greeting") : 0;
    }
    if (r == 0)
        r = read_hello(shm, &theirs, &attach);
    if (r == -EAGAIN)
        return r;
    if (r == 0) {
        shm->greeted = true;
        r = agree(shm, &theirs, &bye);
    }
    if (r == 0 && shm->passive)
        r = telex_shm_begin(shm, &shm->settings);
    if (r == 0)
        r = open_memory(shm, &attach);
    free(shm->hello);
    shm->hello = NULL;
    if (r < 0) {
        telex_link_blame(link, r);
        if (shm->passive && r != -ECONNRESET)
            send_refusal(shm, r == -EPROTO ? TELEX_BYE_PROTOCOL : r == -EPROTONOSUPPORT ? TELEX_BYE_VERSION : bye, telex_said());
        return telex_say(r, "%s", link->reason);
    }
    shm->attached = true;
    shm->admitted = !shm->passive;
    return 0;
}

int telex_shm_admit(struct telex_link *link, uint32_t code, const char *sentence)
{
    struct shm_link *shm = shm_of(link);
    if (shm->admitted)
        return 0;
    shm->admitted = true;
    if (code == 0)
        return send_memory(shm);
    send_refusal(shm, code, sentence);
    link->out_end = -EPIPE;
    return 0;
}
