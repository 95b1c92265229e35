/* SPDX-License-Identifier: MIT */
/*
 * The yardsticks of shared memory: what two processes can do with a mapping that both have, without any library, in
 * the plain way in which a careful programmer writes it. They trust each other blindly, as no library may: nobody
 * checks what the other side writes, or notices that it is dead.
 *
 * Some processors copy ten times more slowly where the destination lies up to 16 bytes behind the source, modulo a
 * page. So buffers here begin with a page, or half a page after one; long records never lie within 16 bytes of that.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { LINES = 128, PAGE = 4096 }; /* bytes; neighbouring cache lines are fetched in pairs */

/* ---- a mapping that both sides have ---------------------------------------------------------------------- */

struct shared {
    int fd;
    size_t size;
    void *map;
};

/* Touched here, since the first touch of a page costs more than a round trip. */
static void shared_map(struct shared *shared)
{
    shared->map = mmap(NULL, shared->size, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
    if (shared->map == MAP_FAILED || madvise(shared->map, shared->size, MADV_POPULATE_WRITE) < 0)
        bench_fail("shared memory of %zu bytes: %s", shared->size, strerror(errno));
}

/* It has no name, so nothing of it stays behind; the other side opens it by way of this process. */
static void shared_new(struct shared *shared, char address[BENCH_ADDRESS])
{
    shared->fd = memfd_create("telex-bench", MFD_CLOEXEC);
    if (shared->fd < 0 || ftruncate(shared->fd, (off_t)shared->size) < 0)
        bench_fail("memfd_create: %s", strerror(errno));
    shared_map(shared);
    snprintf(address, BENCH_ADDRESS, "/proc/%d/fd/%d", (int)getpid(), shared->fd);
}

static void shared_open(struct shared *shared, const char *address)
{
    shared->fd = open(address, O_RDWR | O_CLOEXEC);
    if (shared->fd < 0)
        bench_fail("open %s: %s", address, strerror(errno));
    shared_map(shared);
}

static void shared_close(struct shared *shared)
{
    munmap(shared->map, shared->size);
    close(shared->fd);
}

/* A run begins when both sides have the mapping; until then they only wait, and that works without the other. */
static void no_accept(void *end)
{
    (void)end;
}

/* Between two looks at a cache line: for so long the other side, which writes it, can keep it. */
static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- a ring of bytes for each direction, one producer, one consumer -------------------------------------- */

enum { SHORT_RING = 1 << 20, LONG_RING = 4 << 20, LONG = 65536, RARELY = 16 };

/* In place of a length: the rest up to the end of the ring is left free, for records lie in one piece. */
static const uint64_t SKIP = UINT64_MAX;

/*
 * head and tail count bytes, and never wrap. The producer's release store of head pairs with the consumer's acquire
 * load: it sees the records whole. The consumer's release store of tail pairs with the producer's acquire load: what
 * it frees, it has read.
 */
struct way {
    _Alignas(LINES) _Atomic uint64_t head;
    _Alignas(LINES) _Atomic uint64_t tail;
    _Alignas(LINES) unsigned char records[]; /* each a length of 8 bytes, then its bytes, up to a multiple of 8 */
};

struct ring {
    struct shared shared;
    size_t capacity;
    struct way *out, *in;
    uint64_t head, tail_seen;           /* of out; the other side's counter is read when the ring seems full */
    uint64_t tail, released, head_seen; /* of in; the same when it seems empty */
    unsigned batch, held;
    unsigned char *buffer;
};

static struct ring *ring_new(const struct bench_contender *contender, size_t size)
{
    struct ring *ring = malloc(sizeof *ring);
    const size_t pages = (size + PAGE - 1) / PAGE * PAGE;
    unsigned char *buffer = aligned_alloc(PAGE, pages);
    if (!ring || !buffer)
        bench_fail("out of memory");
    memset(buffer, 0, pages);
    *ring = (struct ring){.capacity = size > LONG ? LONG_RING : SHORT_RING, .batch = (unsigned)contender->variant};
    ring->shared.size = 2 * (sizeof(struct way) + ring->capacity);
    ring->buffer = buffer;
    return ring;
}

static void *ring_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    (void)medium;
    struct ring *ring = ring_new(contender, size);
    shared_new(&ring->shared, address);
    ring->in = ring->shared.map;
    ring->out = (struct way *)((char *)ring->shared.map + ring->shared.size / 2);
    return ring;
}

static void *ring_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)medium;
    struct ring *ring = ring_new(contender, size);
    shared_open(&ring->shared, address);
    ring->out = ring->shared.map;
    ring->in = (struct way *)((char *)ring->shared.map + ring->shared.size / 2);
    return ring;
}

/* What a program knows the length of, it copies without a call. */
static void copy_bytes(void *to, const void *from, size_t size)
{
    if (size == 64)
        memcpy(to, from, 64);
    else
        memcpy(to, from, size);
}

static void ring_publish(void *each)
{
    struct ring *ring = each;
    atomic_store_explicit(&ring->out->head, ring->head, memory_order_release);
    ring->held = 0;
}

static size_t record_size(size_t size)
{
    return (sizeof(uint64_t) + size + 7) & ~(size_t)7;
}

static void ring_send(void *each, const void *data, size_t size)
{
    struct ring *ring = each;
    const size_t at = ring->head & (ring->capacity - 1), record = record_size(size), rest = ring->capacity - at;
    const size_t skipped = record > rest ? rest : 0;
    while (ring->head + skipped + record - ring->tail_seen > ring->capacity) {
        if (ring->held > 0)
            ring_publish(ring);
        pause_briefly();
        ring->tail_seen = atomic_load_explicit(&ring->out->tail, memory_order_acquire);
    }
    if (skipped > 0)
        memcpy(ring->out->records + at, &SKIP, sizeof SKIP);
    unsigned char *to = ring->out->records + (skipped > 0 ? 0 : at);
    memcpy(to, &(uint64_t){size}, sizeof(uint64_t));
    copy_bytes(to + sizeof(uint64_t), data, size);
    ring->head += skipped + record;
    if (++ring->held >= ring->batch)
        ring_publish(ring);
}

/* Room is given back by the eighth of the ring: a producer that waits would else fetch tail for every message. */
static void ring_release(struct ring *ring)
{
    if (ring->tail - ring->released < ring->capacity / 8)
        return;
    atomic_store_explicit(&ring->in->tail, ring->tail, memory_order_release);
    ring->released = ring->tail;
}

/* Looks at head every `pauses` pauses where it seems empty. */
static const unsigned char *ring_take(struct ring *ring, size_t size, unsigned pauses)
{
    while (ring->head_seen == ring->tail) {
        ring->head_seen = atomic_load_explicit(&ring->in->head, memory_order_acquire);
        for (unsigned i = 0; ring->head_seen == ring->tail && i < pauses; i++)
            pause_briefly();
    }
    size_t at = ring->tail & (ring->capacity - 1);
    uint64_t length;
    memcpy(&length, ring->in->records + at, sizeof length);
    if (length == SKIP) {
        ring->tail += ring->capacity - at;
        at = 0;
        memcpy(&length, ring->in->records, sizeof length);
    }
    if (length != size)
        bench_fail("%llu bytes came where %zu were sent", (unsigned long long)length, size);
    copy_bytes(ring->buffer, ring->in->records + at + sizeof length, size);
    ring->tail += record_size(size);
    ring_release(ring);
    return ring->buffer;
}

static const unsigned char *ring_receive(void *each, size_t size)
{
    return ring_take(each, size, 1);
}

static uint64_t ring_count(void *each, size_t size, unsigned pauses)
{
    uint64_t count = 1;
    while (ring_take(each, size, pauses)[0] != BENCH_LAST)
        count++;
    return count;
}

static uint64_t ring_drain(void *each, size_t size)
{
    return ring_count(each, size, 1);
}

/* Each look takes the line of head from the producer: who waits for many messages, not for one, may look less often. */
static uint64_t ring_drain_rarely(void *each, size_t size)
{
    return ring_count(each, size, RARELY);
}

static void ring_close(void *each)
{
    struct ring *ring = each;
    shared_close(&ring->shared);
    free(ring->buffer);
    free(ring);
}

/* ---- a page and a futex for each direction --------------------------------------------------------------- */

struct slot {
    _Alignas(LINES) _Atomic uint32_t count; /* of messages; release with the bytes, acquire by who reads them */
    unsigned char bytes[PAGE - sizeof(uint32_t)];
};

struct futex {
    struct shared shared;
    struct slot *out, *in;
    uint32_t sent, received;
    unsigned char buffer[sizeof((struct slot *)0)->bytes];
};

static struct futex *futex_new(size_t size)
{
    struct futex *futex = calloc(1, sizeof *futex);
    if (!futex)
        bench_fail("out of memory");
    if (size > sizeof futex->buffer)
        bench_fail("%zu bytes do not fit into a page", size);
    futex->shared.size = 2 * sizeof(struct slot);
    return futex;
}

static void *futex_listen(const struct bench_contender *contender, const char *medium, size_t size,
                          char address[BENCH_ADDRESS])
{
    (void)contender, (void)medium;
    struct futex *futex = futex_new(size);
    shared_new(&futex->shared, address);
    futex->in = futex->shared.map;
    futex->out = futex->in + 1;
    return futex;
}

static void *futex_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)contender, (void)medium;
    struct futex *futex = futex_new(size);
    shared_open(&futex->shared, address);
    futex->out = futex->shared.map;
    futex->in = futex->out + 1;
    return futex;
}

/* One message at a time: the slot is free, because the other side has answered the one before. */
static void futex_send(void *each, const void *data, size_t size)
{
    struct futex *futex = each;
    memcpy(futex->out->bytes, data, size);
    atomic_store_explicit(&futex->out->count, ++futex->sent, memory_order_release);
    if (syscall(SYS_futex, &futex->out->count, FUTEX_WAKE, 1, NULL, NULL, 0) < 0)
        bench_fail("FUTEX_WAKE: %s", strerror(errno));
}

static const unsigned char *futex_receive(void *each, size_t size)
{
    struct futex *futex = each;
    while (atomic_load_explicit(&futex->in->count, memory_order_acquire) == futex->received) {
        if (syscall(SYS_futex, &futex->in->count, FUTEX_WAIT, futex->received, NULL, NULL, 0) < 0 && errno != EAGAIN &&
            errno != EINTR)
            bench_fail("FUTEX_WAIT: %s", strerror(errno));
    }
    futex->received++;
    memcpy(futex->buffer, futex->in->bytes, size);
    return futex->buffer;
}

static void futex_close(void *each)
{
    struct futex *futex = each;
    shared_close(&futex->shared);
    free(futex);
}

/* ---- no second process at all ---------------------------------------------------------------------------- */

/* 0 until all is copied. Release by who copied, acquire by who waits; nothing but the number passes. */
struct tally {
    _Alignas(LINES) _Atomic uint64_t count;
};

struct copy {
    struct shared shared;
    uint64_t count;
    unsigned char *memory, *here, *there;
};

static struct copy *copy_new(size_t size)
{
    struct copy *copy = malloc(sizeof *copy);
    const size_t distance = (size + PAGE - 1) / PAGE * PAGE + PAGE / 2, total = distance * 2;
    unsigned char *memory = aligned_alloc(PAGE, total);
    if (!copy || !memory)
        bench_fail("out of memory");
    memset(memory, 'x', total);
    *copy = (struct copy){.shared.size = sizeof(struct tally), .memory = memory, .here = memory};
    copy->there = memory + distance;
    return copy;
}

static void *copy_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    (void)contender, (void)medium;
    struct copy *copy = copy_new(size);
    shared_new(&copy->shared, address);
    return copy;
}

static void *copy_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)contender, (void)medium;
    struct copy *copy = copy_new(size);
    shared_open(&copy->shared, address);
    return copy;
}

/* The empty statement may have looked at the buffer, for all that the compiler knows: so both copies are made. */
static void copy_send(void *each, const void *data, size_t size)
{
    (void)data;
    struct copy *copy = each;
    memcpy(copy->there, copy->here, size);
    __asm__ volatile("" : : "r"(copy->there) : "memory");
    memcpy(copy->here, copy->there, size);
    copy->count++;
}

static void copy_finish(void *each)
{
    struct copy *copy = each;
    atomic_store_explicit(&((struct tally *)copy->shared.map)->count, copy->count, memory_order_release);
}

static uint64_t copy_drain(void *each, size_t size)
{
    (void)size;
    struct copy *copy = each;
    struct tally *tally = copy->shared.map;
    uint64_t count;
    while ((count = atomic_load_explicit(&tally->count, memory_order_acquire)) == 0)
        pause_briefly();
    return count;
}

static void copy_close(void *each)
{
    struct copy *copy = each;
    shared_close(&copy->shared);
    free(copy->memory);
    free(copy);
}

/* ---- the contenders -------------------------------------------------------------------------------------- */

#define RING(NAME, BATCH, DRAIN, SHOWS)                                                                                \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = BATCH, .listen = ring_listen, .accept = no_accept, .dial = ring_dial, \
        .send = ring_send, .receive = ring_receive, .drain = DRAIN, .finish = ring_publish, .close = ring_close,  \
    }

const struct bench_contender bench_ring =
    RING("bare ring", 1, ring_drain, "a ring of bytes in shared memory; head published with each message; spins");
const struct bench_contender bench_ring_batch =
    RING("bare ring, per 32", 32, ring_drain, "the same; head published with each 32nd message");
const struct bench_contender bench_ring_rarely =
    RING("bare ring, rare looks", 1, ring_drain_rarely, "the first; the consumer pauses 16 times between two looks");

const struct bench_contender bench_futex = {
    .name = "futex",
    .shows = "a page of shared memory; FUTEX_WAKE and FUTEX_WAIT for each message",
    .listen = futex_listen,
    .accept = no_accept,
    .dial = futex_dial,
    .send = futex_send,
    .receive = futex_receive,
    .close = futex_close,
};

const struct bench_contender bench_copy = {
    .name = "memcpy twice",
    .shows = "one core copies each message into a buffer and out again; it goes nowhere",
    .listen = copy_listen,
    .accept = no_accept,
    .dial = copy_dial,
    .send = copy_send,
    .drain = copy_drain,
    .finish = copy_finish,
    .close = copy_close,
};
