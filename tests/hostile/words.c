/* SPDX-License-Identifier: MIT */
/*
 * A peer that talks as an honest one would, more or less, while a thread of it rewrites its words at random: those of its own memory and of the page of
 * decisions, at full speed or now and then. Whatever it writes: no crash, no call after its deadline, nothing wrong in the victim's hands, and an end with a reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "hostile/worker.h"

enum { ROUND_MS = 150, CHAT_MOST = 2000 };

enum target { PROGRESS = 1, ASLEEP = 2, RELEASED = 4, RING = 8, ARENA = 16, DECISIONS = 32, TARGETS = 64 };

struct storm {
    struct attacker *attacker;
    unsigned targets;
    unsigned pause; /* turns of an empty loop between two words */
    uint64_t seed, written;
    atomic_bool over;
};

/* ---- words at random ---- */

static _Atomic uint64_t *in_ring(struct storm *storm)
{
    const struct attacker *attacker = storm->attacker;
    uint64_t place = any(&storm->seed);
    if (place % 4 != 0) /* near what the victim reads next */
        place = atomic_load_explicit(&attacker->their_page->progress.head, memory_order_relaxed) + any(&storm->seed) % 2048;
    place = place / 8 * 8 % attacker->ring_size;
    if (any(&storm->seed) % 2)
        place = place / SHM_RECORD * SHM_RECORD;
    return (_Atomic uint64_t *)(attacker->ring + place);
}

static _Atomic uint64_t *pick(struct storm *storm)
{
    struct attacker *attacker = storm->attacker;
    unsigned target;
    do
        target = 1u << any(&storm->seed) % 6;
    while (!(storm->targets & target));
    uint64_t place = any(&storm->seed);
    switch (target) {
    case PROGRESS:
        return (_Atomic uint64_t *)attacker->page + place % 5;
    case ASLEEP:
        return place % 2 ? &attacker->page->asleep_in : &attacker->page->asleep_out;
    case RELEASED:
        return (_Atomic uint64_t *)attacker->page->released + place % (SHM_SLOTS / 2);
    case RING:
        return in_ring(storm);
    case ARENA:
        return (_Atomic uint64_t *)(attacker->arena + place % attacker->arena_size / 8 * 8);
    default:
        return place % 2 ? &attacker->decisions->of_dialer : &attacker->decisions->of_listener;
    }
}

static uint64_t value(struct storm *storm, uint64_t old)
{
    uint64_t *seed = &storm->seed, number = any(seed);
    switch (any(seed) % 8) {
    case 0:
        return number;
    case 1:
        return number % 4096;
    case 2:
        return old ^ UINT64_C(1) << number % 64;
    case 3:
        return old + number % 64 - 32;
    case 4: /* a header, of any size up to more than the ring */
        return SHM_WHAT(number % (number % 3 ? 512 : 20000), 0, number >> 32 & (number % 5 ? 3 : 255), number >> 40 & 127);
    case 5: /* characters of two bytes, cut or not */
        return UINT64_C(0xA9C3A9C3A9C3A9C3) << number % 2 * 8;
    case 6: /* of the log */
        return (number % 4 << SHM_RELEASED_SLOT | number % 16) * UINT64_C(0x100000001);
    default:
        return 0;
    }
}

/* In this process it races with what the chat writes, as it is meant to: it is the victim that must not mind. */
__attribute__((no_sanitize("thread"))) static void *blow(void *with)
{
    struct storm *storm = with;
    while (!atomic_load_explicit(&storm->over, memory_order_relaxed)) {
        _Atomic uint64_t *at = pick(storm);
        atomic_store_explicit(at, value(storm, atomic_load_explicit(at, memory_order_relaxed)), memory_order_relaxed);
        storm->written++;
        for (volatile unsigned i = 0; i < storm->pause; i++)
            ;
    }
    return NULL;
}

/* ---- talking meanwhile ---- */

struct chat {
    struct attacker *attacker;
    uint64_t seed;
    uint64_t released;
    uint64_t begun_lane; /* 0: no message is midway, else its lane + 1 */
    uint64_t begun_number;
};

static _Atomic uint64_t *own_decision(struct attacker *attacker)
{
    return attacker->dials ? &attacker->decisions->of_dialer : &attacker->decisions->of_listener;
}

static void give_back(struct chat *chat, unsigned slot)
{
    uint64_t at = chat->released++;
    atomic_store(&chat->attacker->page->released[at % SHM_SLOTS], (uint32_t)(at / SHM_SLOTS + 1) << SHM_RELEASED_SLOT | (slot % SHM_SLOTS));
}

static void say_something(struct chat *chat)
{
    struct attacker *attacker = chat->attacker;
    uint8_t body[600] = {0};
    uint64_t choice = any(&chat->seed) % 16, number = ++attacker->number, request = any(&chat->seed) % 64;
    size_t length = any(&chat->seed) % (sizeof body - 16);
    unsigned lane = (unsigned)(any(&chat->seed) % 3);
    struct shm_chunk chunk = {.slot = (uint32_t)(any(&chat->seed) % 16), .length = any(&chat->seed) % 4096};
    memset(body, 'a', length);
    if (choice < 6) {
        attacker_put(attacker, choice % 2, lane, number, body, length);
    } else if (choice < 8) {
        attacker_put(attacker, SHM_CALL | SHM_TEXT, lane, number, body, length);
    } else if (choice < 10) {
        atomic_store(own_decision(attacker), SHM_DECISION(number, SHM_OFFERED));
        attacker_put(attacker, SHM_SYNC, lane, number, body, length);
    } else if (choice < 12) {
        attacker_put(attacker, SHM_CHUNK | (choice % 2), lane, number, &chunk, sizeof chunk);
    } else if (choice < 14) {
        uint64_t total = 2 * length + 2;
        memcpy(body, &total, sizeof total);
        attacker_put(attacker, SHM_MORE | SHM_TEXT, 5, number, body, 8 + length + 1);
        if (choice == 12)
            attacker_put_control(attacker, 3, number, "", 0); /* withdrawn */
        else
            attacker_put(attacker, SHM_TEXT, 5, number, body + 8, length + 1);
    } else {
        attacker_put_control(attacker, choice == 14 ? 5 : 6, request + 1, choice == 14 ? "" : "\1\0\0\0because", choice == 14 ? 0 : 11);
    }
}

static void listen_to(struct chat *chat)
{
    struct attacker *attacker = chat->attacker;
    uint64_t what, number;
    const uint8_t *body;
    for (int i = 0; i < 32 && (what = attacker_take(attacker, &number, &body)) != 0; i++) {
        unsigned flags = (unsigned)(what >> 56);
        if ((uint8_t)(what >> 48) == SHM_CONTROL_LANE)
            continue;
        if (flags & SHM_SYNC) {
            uint64_t offered = SHM_DECISION(number, SHM_OFFERED);
            _Atomic uint64_t *decision = attacker->dials ? &attacker->decisions->of_listener : &attacker->decisions->of_dialer;
            atomic_compare_exchange_strong(decision, &offered, SHM_DECISION(number, SHM_TAKEN));
        }
        if (flags & SHM_CHUNK) {
            struct shm_chunk chunk;
            memcpy(&chunk, body + (flags & SHM_MORE ? 8 : 0), sizeof chunk);
            give_back(chat, chunk.slot);
        }
        if ((flags & SHM_CALL) && attacker_has_room(attacker, 32))
            attacker_put(attacker, SHM_REPLY | SHM_TEXT, 0, ++attacker->number, &number, sizeof number);
    }
    attacker_tell(attacker);
}

/* One channel, attacked: until the victim hangs up, or for a while. */
static void attack(struct attacker *attacker, uint64_t *seed, uint64_t *ret_words)
{
    struct storm storm = {.attacker = attacker, .seed = any(seed) | 1};
    struct chat chat = {.attacker = attacker, .seed = any(seed) | 1};
    storm.targets = any(seed) % 2 ? 1u << any(seed) % 6 : (unsigned)(1 + any(seed) % (TARGETS - 1));
    storm.pause = any(seed) % 3 == 0 ? 0 : (unsigned)(1u << any(seed) % 18);
    bool silent = any(seed) % 8 == 0; /* it does not even listen */
    int64_t until = now_ms() + ROUND_MS;
    pthread_t thread;
    if (pthread_create(&thread, NULL, blow, &storm) != 0)
        abort();
    for (unsigned i = 0; i < CHAT_MOST * 50u && !attacker_hung_up(attacker) && now_ms() < until; i++) {
        if (!silent)
            listen_to(&chat);
        for (unsigned said = 0; said < 8 && attacker_has_room(attacker, 1300); said++)
            say_something(&chat);
        if (any(seed) % 64 == 0)
            poll(NULL, 0, 1); /* so that it sleeps, now and then */
    }
    atomic_store(&storm.over, true);
    pthread_join(thread, NULL);
    *ret_words += storm.written;
}

/* ---- the victims ---- */

struct attacked {
    pid_t process;
    int in, listening;
    char path[200];
    struct worker_side side;
};

static void begin(struct attacked *self, bool listens, const char *options, uint64_t seed)
{
    int here[2];
    char ready;
    snprintf(self->path, sizeof self->path, "%s/%s", testing_directory(), listens ? "victim" : "liar");
    self->listening = listens ? -1 : attacker_listen(self->path);
    assert_good(pipe2(here, O_CLOEXEC));
    self->side = (struct worker_side){
        .path = self->path, .options = options, .listens = listens, .copies = strstr(options, "trust=no") != NULL, .out = here[1], .seed = seed};
    self->process = testing_fork(worker_run, &self->side);
    close(here[1]);
    self->in = here[0];
    assert_int_equal(read(self->in, &ready, 1), 1);
}

static void end(struct attacked *self)
{
    kill(self->process, SIGTERM);
    testing_wait(self->process);
    close(self->in);
    if (self->listening >= 0)
        close(self->listening);
}

static void check(const struct told *told, uint64_t seed)
{
    bool good = told->wrong[0] == '\0' && told->late_ns < slack_ns();
    if (!good)
        fprintf(stderr, "seed %llu: %s; %s returned %lld ms after its deadline; %s ended with %d %s\n", (unsigned long long)seed, told->wrong,
                told->late_call, (long long)told->late_ns / 1000000, told->last_call, told->result, told->sentence);
    assert_true(good);
}

struct sums {
    uint64_t rounds, words, calls, received, protocol;
    int64_t late_ns;
};

static void round_of(struct attacked *self, uint64_t seed, struct sums *sums)
{
    struct attacker attacker;
    uint64_t state = seed | 1;
    attacker_init(&attacker, self->side.listens, NULL);
    int socket = self->side.listens ? attacker_connect(self->path) : attacker_accept(self->listening, 20000);
    assert_true(socket >= 0);
    assert_true(attacker_attach(&attacker, socket));
    attack(&attacker, &state, &sums->words);
    attacker_deinit(&attacker);
    struct told told;
    hear_told(self->in, &told);
    check(&told, seed);
    sums->rounds++;
    sums->calls += told.calls;
    sums->received += told.received;
    sums->protocol += told.result == -EPROTO;
    sums->late_ns = told.late_ns > sums->late_ns ? told.late_ns : sums->late_ns;
}

static const char *const options[] = {
    "wait=block&trust=no",    "wait=block&trust=yes",    "wait=spin&trust=no",           "wait=spin&trust=yes",
    "wait=adaptive&trust=no", "wait=adaptive&trust=yes", "wait=block&trust=no&queue=16", "wait=adaptive&trust=no&ring=16KiB&arena=64KiB",
    "wait=block&ring=16KiB&arena=4096", "wait=adaptive&full=drop-oldest&trust=no",
};

enum { OPTIONS = sizeof options / sizeof *options };

/* Every victim has its share of the time. */
static void random_words(void **state)
{
    (void)state;
    const char *wanted = getenv("TELEX_ATTACK_SEED");
    double seconds = attack_seconds();
    uint64_t seed = wanted != NULL ? strtoull(wanted, NULL, 10) : (uint64_t)telex_after(0);
    struct sums sums = {0};
    int64_t begin_ms = now_ms();
    fprintf(stderr, "TELEX_ATTACK_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 2 * OPTIONS; i++) {
        struct attacked attacked;
        int64_t until = begin_ms + (int64_t)(seconds * 1000 * (i + 1) / (2 * OPTIONS));
        begin(&attacked, i % 2 == 0, options[i / 2], any(&seed) | 1);
        do
            round_of(&attacked, any(&seed), &sums);
        while (now_ms() < until);
        end(&attacked);
    }
    fprintf(stderr, "%llu channels, %llu words, %llu calls, %llu messages received, %llu ended by protocol, latest call %.1f ms after its deadline\n",
            (unsigned long long)sums.rounds, (unsigned long long)sums.words, (unsigned long long)sums.calls, (unsigned long long)sums.received,
            (unsigned long long)sums.protocol, (double)sums.late_ns / 1e6);
}

/* A server, which serves others meanwhile. */
static void random_words_to_a_server(void **state)
{
    (void)state;
    const char *trust[] = {"trust=no", "wait=spin"};
    double seconds = attack_seconds() / 5;
    uint64_t seed = (uint64_t)telex_after(0) | 1, words = 0;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 2; i++) {
        struct host host;
        int64_t until = now_ms() + (int64_t)(seconds * 500);
        host_open(&host, trust[i]);
        do {
            struct attacker attacker;
            attacker_init(&attacker, true, NULL);
            assert_true(attacker_attach(&attacker, attacker_connect(host.path)));
            attack(&attacker, &seed, &words);
            attacker_deinit(&attacker);
            host_says(&host, 0, NULL);
            host_serves(&host);
        } while (now_ms() < until);
        host_forgets(&host);
        host_close(&host);
    }
}

static const struct testing_case cases[] = {
    {"words.random_words", random_words, 3900, NULL},
    {"words.random_words_to_a_server", random_words_to_a_server, 900, NULL},
};

const struct theme hostile_words = {cases, sizeof cases / sizeof *cases};
