/* SPDX-License-Identifier: MIT */
/* Attaching to a peer that lies: an error with a sentence, in time, and nothing of what it brought is kept. */
#include "hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum side { BY_BOTH = 0, BY_DIALER, BY_LISTENER };

static const struct lie {
    const char *part; /* of the sentence */
    enum side side;
    struct offer offer;
} lies[] = {
    {"descriptors", BY_BOTH, {.no_descriptors = true}},
    {"descriptors", BY_DIALER, {.only_one = true}},
    {"descriptors", BY_BOTH, {.descriptors = 3}},
    {"descriptors", BY_BOTH, {.descriptors = 64}},
    {"descriptors", BY_BOTH, {.descriptors = 200}},
    {"no shared memory", BY_BOTH, {.memory = A_PIPE}},
    {"no shared memory", BY_BOTH, {.memory = A_ZERO}},
    {"no shared memory", BY_BOTH, {.memory = A_DIRECTORY}},
    {"", BY_BOTH, {.memory = A_FILE}}, /* in some file systems a file can have seals; it has none of those that are wanted */
    {"no shared memory", BY_BOTH, {.memory = A_SOCKET}},
    {"another size", BY_DIALER, {.memory = A_READER, .decisions_with = F_SEAL_FUTURE_WRITE}},
    {"no shared memory", BY_DIALER, {.decisions = A_PIPE}},
    {"no shared memory", BY_DIALER, {.decisions = A_ZERO}},
    {"", BY_DIALER, {.decisions = A_FILE}},
    {"mapped", BY_DIALER, {.decisions = A_READER}},
    {"sealed", BY_BOTH, {.without = F_SEAL_SHRINK}},
    {"sealed", BY_BOTH, {.without = F_SEAL_GROW}},
    {"sealed", BY_BOTH, {.without = F_SEAL_FUTURE_WRITE}},
    {"sealed", BY_BOTH, {.without = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE}},
    {"sealed", BY_DIALER, {.decisions_without = F_SEAL_SHRINK}},
    {"sealed", BY_DIALER, {.decisions_without = F_SEAL_GROW}},
    {"mapped", BY_DIALER, {.decisions_with = F_SEAL_WRITE}},
    {"sealed", BY_DIALER, {.decisions_with = F_SEAL_SEAL}},
    {"size", BY_BOTH, {.longer = -SHM_PAGE}},
    {"size", BY_BOTH, {.longer = SHM_PAGE}},
    {"size", BY_BOTH, {.longer = 1}},
    {"size", BY_DIALER, {.decisions_longer = SHM_PAGE}},
    {"size", BY_DIALER, {.decisions_longer = -SHM_PAGE}},
    {"size", BY_BOTH, {.ring = 16383}},
    {"size", BY_BOTH, {.ring = 3 * 16384}},
    {"size", BY_BOTH, {.ring = 8192}},
    {"size", BY_BOTH, {.ring = 32768}},
    {"size", BY_BOTH, {.ring = UINT64_C(1) << 63}},
    {"size", BY_BOTH, {.ring = UINT64_C(1) << 36, .arena = UINT64_C(1) << 36}},
    {"size", BY_BOTH, {.ring = UINT64_C(1) << 62, .arena = UINT64_C(3) << 62}},
    {"size", BY_BOTH, {.arena = UINT64_C(1) << 63}},
    {"size", BY_BOTH, {.arena = UINT64_MAX - 1}},
    {"size", BY_BOTH, {.arena = UINT64_MAX}}, /* none, though there is one */
    {"size", BY_BOTH, {.arena = 65537}},
    {"as a whole", BY_BOTH, {.sparse = true}},
    {"as a whole", BY_BOTH, {.elsewhere = true}},
    {"no shared memory", BY_BOTH, {.magic = 1}},
    {"layout", BY_BOTH, {.version = 2}},
    {"layout", BY_BOTH, {.version = 65535}},
    {"no shared memory", BY_BOTH, {.kind = 3}},
    {"no shared memory", BY_BOTH, {.kind = 65535}},
    {"zero", BY_BOTH, {.reserved = 1}},
    {"zero", BY_BOTH, {.sentence = UINT32_MAX}},
    {"zero", BY_BOTH, {.sentence = 4097}},
    {"refuses", BY_DIALER, {.kind = SHM_REFUSED, .no_descriptors = true}},
    {"closed the channel", BY_LISTENER, {.kind = SHM_REFUSED, .no_descriptors = true}},
    {"closed the channel", BY_LISTENER, {.kind = SHM_REFUSED, .no_descriptors = true, .code = 4711, .text = "\xff\xfe"}},
    {"go away", BY_LISTENER, {.kind = SHM_REFUSED, .no_descriptors = true, .code = 4, .text = "go away"}},
    {"go away", BY_LISTENER, {.kind = SHM_REFUSED, .descriptors = 5, .code = UINT32_MAX, .text = "go away"}},
    {"closed", BY_LISTENER, {.kind = SHM_REFUSED, .sentence = 1000, .cut = 180, .text = "too short"}},
};

enum { LIES = sizeof lies / sizeof *lies };

/* ---- who dials lies ---- */

static void lie_to_listener(struct host *host, const struct offer *offer, const char *part)
{
    struct attacker attacker;
    attacker_init(&attacker, true, offer);
    attacker_greet(&attacker, attacker_connect(host->path), offer);
    int r = attacker_hear(&attacker, 5000 * slow());
    if (r > 0 || (r < 0 && part != NULL) || (r == 0 && strstr(attacker.sentence, part != NULL ? part : "") == NULL) ||
        (r == 0 && attacker.sentence[0] == '\0'))
        fprintf(stderr, "expected a refusal with \"%s\": %d, %s\n", part != NULL ? part : "", r, attacker.sentence);
    assert_true(r <= 0);
    assert_true(r == 0 || part == NULL);
    if (r == 0) {
        assert_true(attacker.sentence[0] != '\0');
        assert_non_null(strstr(attacker.sentence, part != NULL ? part : ""));
    }
    attacker_deinit(&attacker);
}

static void dialers_lie(const char *options)
{
    struct host host;
    host_open(&host, options);
    for (int i = 0; i < LIES; i++) {
        if (lies[i].side == BY_LISTENER)
            continue;
        lie_to_listener(&host, &lies[i].offer, lies[i].part);
        host_serves(&host);
    }
    host_forgets(&host);
    host_close(&host);
}

static void dialer_lies(void **state)
{
    (void)state;
    dialers_lie("wait=block&trust=no");
}

static void dialer_lies_prefault(void **state)
{
    (void)state;
    dialers_lie("wait=spin&prefault=yes");
}

/* Cut off at each byte, followed by the end. */
static void dialer_is_cut_off(void **state)
{
    (void)state;
    struct host host;
    host_open(&host, "");
    for (size_t cut = 1; cut < 136; cut++) {
        const struct offer offer = {.cut = cut};
        lie_to_listener(&host, &offer, NULL);
    }
    host_serves(&host);
    host_forgets(&host);
    host_close(&host);
}

/* Cut off at some bytes, followed by nothing: those that never greet are shown out, and meanwhile others are served. */
static void dialer_falls_silent(void **state)
{
    (void)state;
    struct host host;
    struct attacker attackers[24];
    host_open(&host, "greeting=300ms");
    for (int i = 0; i < 24; i++) {
        const struct offer offer = {.cut = 1 + (size_t)i * 5, .silent = true};
        attacker_init(&attackers[i], true, &offer);
        int socket = attacker_connect(host.path);
        if (i > 0)
            attacker_greet(&attackers[i], socket, &offer);
        else
            attackers[i].socket = socket;
    }
    host_serves(&host);
    for (int i = 0; i < 24; i++) {
        assert_true(attacker_hear(&attackers[i], 5000 * slow()) <= 0);
        attacker_deinit(&attackers[i]);
    }
    host_forgets(&host);
    host_close(&host);
}

/* ---- who listens lies ---- */

struct dialer {
    const char *path, *options;
    int out;
    unsigned count;
    unsigned milliseconds;
};

/* Dials so many times; what each dial gave is told. */
static void dial_again_and_again(void *with)
{
    const struct dialer *dialer = with;
    char address[400];
    shm_address(dialer->path, dialer->options, address, sizeof address);
    size_t descriptors = open_descriptors(0), mappings = shared_mappings(0);
    for (unsigned i = 0; i < dialer->count; i++) {
        telex_channel *channel = NULL;
        telex_time deadline = MILLISECONDS(dialer->milliseconds);
        struct told told = {.result = telex_dial(address, NULL, deadline, &channel)};
        told.late_ns = telex_after(0) - deadline;
        snprintf(told.sentence, sizeof told.sentence, "%s", telex_reason(NULL));
        telex_close(channel, TELEX_NOW, NULL);
        tell(dialer->out, &told);
    }
    assert_int_equal(open_descriptors(0), descriptors);
    assert_int_equal(shared_mappings(0), mappings);
}

static void expect_failed_dial(int in, const char *part)
{
    struct told told;
    hear_told(in, &told);
    if (told.result >= 0 || told.sentence[0] == '\0' || strstr(told.sentence, part) == NULL || told.late_ns > slack_ns())
        fprintf(stderr, "expected a failure with \"%s\", but it was: %d %s (%lld ms after its deadline)\n", part, told.result, told.sentence,
                (long long)told.late_ns / 1000000);
    assert_true(told.result < 0 && told.sentence[0] != '\0');
    assert_non_null(strstr(told.sentence, part));
    assert_true(told.late_ns < slack_ns());
}

struct lying_listener {
    struct dialer dialer;
    char path[200];
    int listening, in;
    pid_t victim;
};

static void listener_begin(struct lying_listener *self, const char *options, unsigned count, unsigned milliseconds)
{
    int here[2];
    snprintf(self->path, sizeof self->path, "%s/liar", testing_directory());
    self->listening = attacker_listen(self->path);
    assert_good(pipe2(here, O_CLOEXEC));
    self->dialer = (struct dialer){self->path, options, here[1], count, milliseconds};
    self->victim = testing_fork(dial_again_and_again, &self->dialer);
    close(here[1]);
    self->in = here[0];
}

static void listener_end(struct lying_listener *self)
{
    testing_wait(self->victim);
    close(self->in);
    close(self->listening);
}

static void lie_to_dialer(struct lying_listener *self, const struct offer *offer, const char *part)
{
    struct attacker attacker;
    attacker_init(&attacker, false, offer);
    attacker.socket = attacker_accept(self->listening, 10000);
    assert_true(attacker.socket >= 0);
    assert_int_equal(attacker_hear(&attacker, 10000), 1);
    attacker_greet(&attacker, attacker.socket, offer);
    expect_failed_dial(self->in, part);
    attacker_deinit(&attacker);
}

static void listeners_lie(const char *options)
{
    struct lying_listener self;
    unsigned count = 0;
    for (int i = 0; i < LIES; i++)
        count += lies[i].side != BY_DIALER;
    listener_begin(&self, options, count, 10000 * slow());
    for (int i = 0; i < LIES; i++)
        if (lies[i].side != BY_DIALER)
            lie_to_dialer(&self, &lies[i].offer, lies[i].part);
    listener_end(&self);
}

static void listener_lies(void **state)
{
    (void)state;
    listeners_lie("wait=adaptive&trust=no");
}

static void listener_lies_prefault(void **state)
{
    (void)state;
    listeners_lie("wait=spin&prefault=yes");
}

static void listener_is_cut_off(void **state)
{
    (void)state;
    struct lying_listener self;
    listener_begin(&self, "", 135, 10000 * slow());
    for (size_t cut = 1; cut < 136; cut++) {
        const struct offer offer = {.cut = cut};
        lie_to_dialer(&self, &offer, "");
    }
    listener_end(&self);
}

/* Says half of it, or nothing at all, and stays. */
static void listener_falls_silent(void **state)
{
    (void)state;
    struct lying_listener self;
    const char *waits[] = {"wait=block", "wait=spin", "wait=adaptive"};
    for (int i = 0; i < 6; i++) {
        struct attacker attacker;
        const struct offer offer = {.cut = 20 + (size_t)i * 20, .silent = true};
        listener_begin(&self, waits[i % 3], 1, 200);
        attacker_init(&attacker, false, &offer);
        attacker.socket = attacker_accept(self.listening, 10000);
        if (i >= 3) {
            assert_int_equal(attacker_hear(&attacker, 10000), 1);
            attacker_greet(&attacker, attacker.socket, &offer);
        }
        expect_failed_dial(self.in, "");
        attacker_deinit(&attacker);
        listener_end(&self);
    }
}

/* ---- once attached ---- */

static void expect_refused(int result, int error)
{
    assert_true(result < 0);
    if (errno != error && errno != EINVAL)
        fprintf(stderr, "refused, but with %s\n", strerror(errno));
    assert_true(errno == error || errno == EINVAL);
}

/* Nothing of it can be taken away, nor written by who must not. */
static void nothing_can_be_taken_away(void **state)
{
    (void)state;
    struct host host;
    struct attacker attacker;
    host_open(&host, "");
    attacker_init(&attacker, true, NULL);
    assert_true(attacker_attach(&attacker, attacker_connect(host.path)));
    int fds[] = {attacker.memory_fd, attacker.their_fd, attacker.decisions_fd};
    for (int i = 0; i < 3; i++) {
        expect_refused(ftruncate(fds[i], 0), EPERM);
        expect_refused(ftruncate(fds[i], 1 << 24), EPERM);
        expect_refused(fallocate(fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SHM_PAGE), EPERM);
        expect_refused((int)pwrite(fds[i], "x", 1, 0), EPERM);
        expect_refused(mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0) == MAP_FAILED ? -1 : 0, EPERM);
    }
    expect_refused(mprotect(attacker.their_base, SHM_PAGE, PROT_READ | PROT_WRITE), EACCES);
    expect_refused(madvise(attacker.page, SHM_PAGE, MADV_REMOVE), EPERM);
    attacker_put(&attacker, SHM_CALL, 0, 1, "alive", 5);
    host_serves(&host);
    attacker_deinit(&attacker);
    host_says(&host, -ECONNRESET, "goodbye");
    host_forgets(&host);
    host_close(&host);
}

/* Maps and unmaps pages of its own as fast as it can: one that somebody else unmaps is a crash. */
static void *map_pages(void *with)
{
    atomic_bool *over = with;
    while (!atomic_load(over)) {
        volatile char *pages[8];
        for (int i = 0; i < 8; i++) {
            pages[i] = mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (pages[i] == MAP_FAILED)
                abort();
        }
        for (int round = 0; round < 50; round++)
            for (int i = 0; i < 8; i++)
                *pages[i] = (char)i;
        for (int i = 0; i < 8; i++)
            munmap((void *)pages[i], SHM_PAGE);
    }
    return NULL;
}

static void accept_one_of_many(void *with)
{
    char address[400];
    telex_listener *listener;
    telex_channel *channel;
    const struct dialer *side = with;
    atomic_bool over = false;
    pthread_t thread;
    shm_address(side->path, side->options, address, sizeof address);
    assert_good(telex_listen(address, NULL, &listener));
    assert_int_equal(pthread_create(&thread, NULL, map_pages, &over), 0);
    assert_int_equal(write(side->out, "r", 1), 1);
    assert_good(telex_accept(listener, telex_after(INT64_C(20000000000) * slow()), &channel));
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    telex_close(channel, TELEX_NOW, NULL);
    telex_listener_close(listener);
}

/* What is unmapped after a failure is what was mapped, once. */
static void strangers_unmap_nothing(void **state)
{
    (void)state;
    int here[2];
    char path[200], address[400], ready;
    snprintf(path, sizeof path, "%s/victim", testing_directory());
    assert_good(pipe2(here, O_CLOEXEC));
    struct dialer side = {.path = path, .options = "", .out = here[1]};
    pid_t victim = testing_fork(accept_one_of_many, &side);
    close(here[1]);
    assert_int_equal(read(here[0], &ready, 1), 1);
    close(here[0]);
    for (int i = 0; i < 300; i++) {
        const struct offer offer = {.decisions_with = F_SEAL_SEAL};
        struct attacker attacker;
        attacker_init(&attacker, true, &offer);
        attacker_greet(&attacker, attacker_connect(path), &offer);
        assert_int_equal(attacker_hear(&attacker, 10000), 0);
        attacker_deinit(&attacker);
    }
    telex_channel *channel;
    shm_address(path, "", address, sizeof address);
    assert_good(telex_dial(address, NULL, SECONDS(10), &channel));
    telex_close(channel, SECONDS(5), NULL);
    testing_wait(victim);
}

static const struct testing_case cases[] = {
    {"attach.dialer_lies", dialer_lies, 40, NULL},
    {"attach.dialer_lies_prefault", dialer_lies_prefault, 40, NULL},
    {"attach.dialer_is_cut_off", dialer_is_cut_off, 30, NULL},
    {"attach.dialer_falls_silent", dialer_falls_silent, 0, NULL},
    {"attach.listener_lies", listener_lies, 40, NULL},
    {"attach.listener_lies_prefault", listener_lies_prefault, 40, NULL},
    {"attach.listener_is_cut_off", listener_is_cut_off, 30, NULL},
    {"attach.listener_falls_silent", listener_falls_silent, 0, NULL},
    {"attach.strangers_unmap_nothing", strangers_unmap_nothing, 30, NULL},
    {"attach.nothing_can_be_taken_away", nothing_can_be_taken_away, 0, NULL},
};

const struct theme hostile_attach = {cases, sizeof cases / sizeof *cases};
