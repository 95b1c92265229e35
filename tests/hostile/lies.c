/* SPDX-License-Identifier: MIT */
/* Lies one by one: records, control frames and counts that an honest peer would never write. Each ends its own channel, with a reason, or does no harm. */
#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "hostile/worker.h"

enum { SLOTS = ATTACKER_ARENA / SHM_PAGE, CANCEL = 5, FAIL = 6, BYE = 7, WITHDRAW = 3, UNKNOWN = 99 };

/* ---- records ---- */

static void too_long(struct attacker *a)
{
    attacker_put_what(a, SHM_WHAT(ATTACKER_RING - 2 * SHM_RECORD + 1, 0, 0, 0), 1, "", 0);
}
static void much_too_long(struct attacker *a)
{
    attacker_put_what(a, SHM_WHAT(UINT32_MAX, 0, 0, 0), 1, "", 0);
}
static void number_zero(struct attacker *a)
{
    attacker_put(a, 0, 0, 0, "x", 1);
}
static void same_number(struct attacker *a)
{
    attacker_put(a, 0, 0, 7, "x", 1);
    attacker_put(a, 0, 0, 7, "x", 1);
}
static void falling_numbers(struct attacker *a)
{
    attacker_put(a, 0, 0, UINT64_MAX, "x", 1);
    attacker_put(a, 0, 0, 1, "x", 1);
}
static void put_chunk(struct attacker *a, unsigned flags, uint64_t number, uint64_t slot, uint64_t length)
{
    struct shm_chunk chunk = {.slot = (uint32_t)slot, .length = length};
    attacker_put(a, SHM_CHUNK | flags, 0, number, &chunk, sizeof chunk);
}
static void slot_behind_the_last(struct attacker *a)
{
    put_chunk(a, 0, 1, SLOTS, 0);
}
static void slot_far_away(struct attacker *a)
{
    put_chunk(a, 0, 1, UINT32_MAX, 1);
}
static void chunk_over_the_end(struct attacker *a)
{
    put_chunk(a, 0, 1, SLOTS - 1, SHM_PAGE + 1);
}
static void chunk_of_all_bytes(struct attacker *a)
{
    put_chunk(a, 0, 1, 1, UINT64_MAX);
}
static void half_a_chunk(struct attacker *a)
{
    attacker_put(a, SHM_CHUNK, 0, 1, "12345678", 8);
}
static void call_and_reply(struct attacker *a)
{
    attacker_put(a, SHM_CALL | SHM_REPLY, 0, 1, "12345678", 8);
}
static void reply_to_zero(struct attacker *a)
{
    attacker_put(a, SHM_REPLY, 0, 1, "\0\0\0\0\0\0\0\0", 8);
}
static void half_a_reply(struct attacker *a)
{
    attacker_put(a, SHM_REPLY, 0, 1, "1234567", 7);
}
static void put_first(struct attacker *a, unsigned lane, uint64_t number, uint64_t total, size_t length)
{
    uint8_t body[1000] = {0};
    memcpy(body, &total, sizeof total);
    attacker_put(a, SHM_MORE, lane, number, body, 8 + length);
}
static void all_in_the_first_piece(struct attacker *a)
{
    put_first(a, 0, 1, 4, 4);
}
static void empty_first_piece(struct attacker *a)
{
    put_first(a, 0, 1, 4, 0);
}
static void larger_than_max(struct attacker *a)
{
    put_first(a, 0, 1, UINT64_C(1) << 40, 100);
}
static void largest(struct attacker *a)
{
    put_first(a, 0, 1, UINT64_MAX, 100);
}
static void another_in_the_middle(struct attacker *a)
{
    put_first(a, 0, 1, 100, 10);
    attacker_put(a, 0, 0, 2, "x", 1);
}
static void last_piece_too_short(struct attacker *a)
{
    put_first(a, 0, 1, 100, 10);
    attacker_put(a, 0, 0, 1, "x", 1);
}
static void piece_too_long(struct attacker *a)
{
    put_first(a, 0, 1, 12, 10);
    attacker_put(a, SHM_MORE, 0, 1, "xxxx", 4);
}
static void too_much_midway(struct attacker *a)
{
    for (unsigned lane = 0; lane < 3; lane++)
        put_first(a, lane, lane + 1, 7000000, 10);
}
static void on_a_lane_withdrawn(struct attacker *a)
{
    put_first(a, 0, 1, 100, 10);
    attacker_put_control(a, WITHDRAW, 1, "", 0);
    attacker_put(a, 0, 0, 1, "x", 1);
}
static void not_text(struct attacker *a)
{
    attacker_put(a, SHM_TEXT, 0, 1, "\xc3", 1);
}
static void not_text_in_a_chunk(struct attacker *a)
{
    memset(a->arena, 0xff, 5000);
    put_chunk(a, SHM_TEXT, 1, 0, 5000);
}
static void not_text_in_pieces(struct attacker *a)
{
    uint64_t total = 3;
    uint8_t body[] = {0, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    memcpy(body, &total, sizeof total);
    attacker_put(a, SHM_MORE | SHM_TEXT, 0, 1, body, sizeof body);
    attacker_put(a, SHM_TEXT, 0, 1, "\xc3", 1);
}
static void no_descriptors(struct attacker *a)
{
    attacker_put(a, SHM_DESCRIPTORS, 0, 1, "\2\0\0\0\0\0\0\0", 8);
}
static void too_many_descriptors(struct attacker *a)
{
    attacker_put(a, SHM_DESCRIPTORS, 0, 1, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
}

/* ---- control ---- */

static void nothing_of_a_frame(struct attacker *a)
{
    attacker_put(a, 0, SHM_CONTROL_LANE, 0, "", 0);
}
static void part_of_a_frame(struct attacker *a)
{
    attacker_put(a, 0, SHM_CONTROL_LANE, 0, "\0\0\0\0\5\0\xff\0\1", 9);
}
static void frame_without_its_body(struct attacker *a)
{
    attacker_put(a, 0, SHM_CONTROL_LANE, 0, "\x10\0\0\0\7\0\xff\0\0\0\0\0\0\0\0\0", 16);
}
static void long_frame(struct attacker *a)
{
    static const char body[6000];
    attacker_put(a, 0, SHM_CONTROL_LANE, 0, body, sizeof body);
}
static void credit(struct attacker *a)
{
    attacker_put_control(a, 2, 0, "1234567812345678", 16);
}
static void outcome(struct attacker *a)
{
    attacker_put_control(a, 4, 1, "\1\0\0\0", 4);
}
static void unknown_frame(struct attacker *a)
{
    attacker_put_control(a, UNKNOWN, 1, "", 0);
}
static void message_as_control(struct attacker *a)
{
    struct bytes bytes = {.length = 0};
    put_message(&bytes, 0, 0, 1, "hello");
    attacker_put(a, 0, SHM_CONTROL_LANE, 0, bytes.at, bytes.length);
}
static void sentence_not_text(struct attacker *a)
{
    attacker_put_control(a, FAIL, 1, "\2\0\0\0\xff\xfe", 6);
}
static void took_what_was_not_sent(struct attacker *a)
{
    attacker_put_control(a, BYE, 0, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16);
}
static void goes_on_after_goodbye(struct attacker *a)
{
    struct shm_record *first = (struct shm_record *)a->ring;
    struct bytes bye = {.length = 0};
    put_header(&bye, 16, BYE, SHM_CONTROL_LANE, 0, 0);
    put(&bye, 0, 8);
    put(&bye, 0, 8);
    attacker_put_what(a, 0, 0, bye.at, bye.length);
    attacker_put(a, 0, 0, 1, "x", 1);
    atomic_store(&first->what, SHM_WHAT(bye.length, 0, SHM_CONTROL_LANE, 0)); /* both are there when the victim looks */
    attacker_ring(a);
}

static const struct lie {
    const char *part;
    void (*tell)(struct attacker *attacker);
} lies[] = {
    {"in a ring of", too_long},
    {"in a ring of", much_too_long},
    {"message 0 after", number_zero},
    {"after message 7", same_number},
    {"after message", falling_numbers},
    {"outside of its arena", slot_behind_the_last},
    {"outside of its arena", slot_far_away},
    {"outside of its arena", chunk_over_the_end},
    {"outside of its arena", chunk_of_all_bytes},
    {"too short", half_a_chunk},
    {"both a call and a reply", call_and_reply},
    {"request 0", reply_to_zero},
    {"too short", half_a_reply},
    {"goes on after its", all_in_the_first_piece},
    {"goes on after its", empty_first_piece},
    {"at most", larger_than_max},
    {"at most", largest},
    {"in the middle", another_in_the_middle},
    {"are left", last_piece_too_short},
    {"are left", piece_too_long},
    {"midway", too_much_midway},
    {"after message 1", on_a_lane_withdrawn},
    {"UTF-8", not_text},
    {"UTF-8", not_text_in_a_chunk},
    {"UTF-8", not_text_in_pieces},
    {"without its descriptors", no_descriptors},
    {"at most", too_many_descriptors},
    {"cut off", nothing_of_a_frame},
    {"cut off", part_of_a_frame},
    {NULL, frame_without_its_body},
    {"control frame", long_frame},
    {"no place", credit},
    {"no place", outcome},
    {"not known", unknown_frame},
    {NULL, message_as_control},
    {"UTF-8", sentence_not_text},
    {"more than were sent", took_what_was_not_sent},
    {"after its goodbye", goes_on_after_goodbye},
};

static void meet(struct host *host, struct attacker *attacker)
{
    attacker_init(attacker, true, NULL);
    assert_true(attacker_attach(attacker, attacker_connect(host->path)));
}

static void expect_hang_up(struct attacker *attacker)
{
    int64_t until = now_ms() + 10000 * slow();
    while (!attacker_hung_up(attacker) && now_ms() < until)
        poll(NULL, 0, 1);
    assert_true(attacker_hung_up(attacker));
    attacker_deinit(attacker);
}

static void tell_lies(const char *options)
{
    struct host host;
    host_open(&host, options);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct attacker attacker;
        meet(&host, &attacker);
        lies[i].tell(&attacker);
        host_says(&host, -EPROTO, lies[i].part);
        expect_hang_up(&attacker);
        host_serves(&host);
    }
    host_forgets(&host);
    host_close(&host);
}

static void to_who_trusts(void **state)
{
    (void)state;
    tell_lies("descriptors=4");
}

static void to_who_trusts_not(void **state)
{
    (void)state;
    tell_lies("descriptors=4&trust=no&wait=block");
}

/* Three messages have begun and wait, as was agreed; a fourth ends the channel. */
static void more_than_the_queue(void **state)
{
    (void)state;
    struct host host;
    struct attacker attacker;
    host_open(&host, "queue=3");
    meet(&host, &attacker);
    for (unsigned lane = 0; lane < 3; lane++)
        put_first(&attacker, lane, lane + 1, 100, 10);
    while (atomic_load(&attacker.their_page->progress.head) != attacker.tail) { /* they were read, and did no harm */
        host_serves(&host);
        poll(NULL, 0, 1);
    }
    assert_false(attacker_hung_up(&attacker));
    put_first(&attacker, 3, 4, 100, 10);
    host_says(&host, -EPROTO, "option queue");
    expect_hang_up(&attacker);
    host_close(&host);
}

/* ---- what is odd, but does no harm ---- */

static void replies_to_nobody(struct attacker *a)
{
    for (uint64_t i = 1; i <= 100; i++)
        attacker_put(a, SHM_REPLY, 0, i, &i, 8);
}
static void nobody_cancelled(struct attacker *a)
{
    for (uint64_t i = 1; i <= 50; i++) {
        attacker_put_control(a, CANCEL, i, "", 0);
        attacker_put_control(a, WITHDRAW, i, "", 0);
        attacker_put_control(a, FAIL, i, "\1\0\0\0", 4);
    }
}
static void one_chunk_again_and_again(struct attacker *a)
{
    for (uint64_t i = 1; i <= 50; i++)
        put_chunk(a, 0, i, i % 3, 3 * SHM_PAGE);
}
static void same_numbers_on_other_lanes(struct attacker *a)
{
    for (unsigned lane = 0; lane < 100; lane++)
        attacker_put(a, 0, lane, 1, "x", 1);
}
static void never_offered(struct attacker *a)
{
    for (uint64_t i = 1; i <= 50; i++) {
        atomic_store(&a->decisions->of_dialer, i % 4 == 0 ? UINT64_MAX : SHM_DECISION(i, i % 4));
        atomic_store(&a->decisions->of_listener, any(&(uint64_t){i}));
        attacker_put(a, SHM_SYNC, 0, i, "x", 1);
    }
}
static void the_longest_record(struct attacker *a)
{
    static const char body[ATTACKER_RING - 2 * SHM_RECORD];
    attacker_put(a, 0, 0, 1, body, sizeof body);
    while (atomic_load(&a->their_page->progress.head) != a->tail)
        poll(NULL, 0, 1);
}
static void not_marked_as_present(struct attacker *a)
{
    attacker_put_what(a, 1, 1, "x", 1);
}
static void never_ends(struct attacker *a)
{
    for (unsigned lane = 10; lane < 30; lane++)
        put_first(a, lane, lane, 500000, 100);
}
static void asleep_and_awake(struct attacker *a)
{
    for (uint64_t i = 1; i < 100000; i++) {
        atomic_store(&a->page->asleep_in, i);
        atomic_store(&a->page->asleep_out, i * i);
    }
}
static void log_of_nothing(struct attacker *a)
{
    for (unsigned i = 0; i < SHM_SLOTS; i++)
        atomic_store(&a->page->released[i], UINT32_C(1) << SHM_RELEASED_SLOT | i % 5);
}

static void (*const oddities[])(struct attacker *) = {
    replies_to_nobody,     nobody_cancelled, one_chunk_again_and_again, same_numbers_on_other_lanes, never_offered, the_longest_record,
    not_marked_as_present, never_ends,       asleep_and_awake,          log_of_nothing,
};

/* The server answers a call of this peer. */
static void expect_answer(struct attacker *attacker)
{
    int64_t until = now_ms() + 10000 * slow();
    uint64_t what = 0, number;
    const uint8_t *body;
    attacker_put(attacker, SHM_CALL, 0, 1000000, "and you?", 8);
    while (now_ms() < until && !((what >> 56) & SHM_REPLY)) {
        what = attacker_take(attacker, &number, &body);
        if (what == 0)
            poll(NULL, 0, 1);
    }
    assert_true((what >> 56) & SHM_REPLY);
    assert_memory_equal(body + 8, "and you?", 8);
}

static void be_odd(const char *options)
{
    struct host host;
    host_open(&host, options);
    for (size_t i = 0; i < sizeof oddities / sizeof *oddities; i++) {
        struct attacker attacker;
        meet(&host, &attacker);
        oddities[i](&attacker);
        expect_answer(&attacker);
        host_serves(&host);
        attacker_deinit(&attacker);
        host_says(&host, -ECONNRESET, "goodbye");
    }
    host_forgets(&host);
    host_close(&host);
}

static void odd_to_who_trusts(void **state)
{
    (void)state;
    be_odd("wait=block");
}

static void odd_to_who_trusts_not(void **state)
{
    (void)state;
    be_odd("trust=no");
}

/* Each value that the flags of a record can have, with bodies that fit some of them: an end, or it goes on. */
static void all_flags(void **state)
{
    (void)state;
    struct host host;
    host_open(&host, "descriptors=4&trust=no");
    for (unsigned flags = 1; flags < 256; flags++) {
        struct attacker attacker;
        uint8_t body[64] = {1};
        meet(&host, &attacker);
        body[8] = (uint8_t)(flags * 7);
        for (size_t length = 0; length <= sizeof body; length += 8)
            attacker_put_what(&attacker, (uint64_t)flags << 56 | length, 1 + length, body, length);
        attacker_put(&attacker, 0, SHM_CONTROL_LANE, 0, body, 3);
        host_says(&host, -EPROTO, NULL);
        attacker_deinit(&attacker);
    }
    host_forgets(&host);
    host_close(&host);
}

/* ---- counts: to who sends ---- */

static void head_beyond_tail(struct attacker *a)
{
    atomic_store(&a->page->progress.head, UINT64_C(1) << 40);
}
static void head_a_bit_beyond(struct attacker *a)
{
    atomic_store(&a->page->progress.head, 1000000);
}
static void head_goes_back(struct attacker *a)
{
    atomic_store(&a->page->progress.head, UINT64_MAX);
}
static void cost_beyond(struct attacker *a)
{
    atomic_store(&a->page->progress.cost, UINT64_C(1) << 62);
}
static void costly_beyond(struct attacker *a)
{
    atomic_store(&a->page->progress.costly, UINT64_C(1) << 62);
}
static void messages_beyond(struct attacker *a)
{
    atomic_store(&a->page->progress.messages, UINT64_MAX / 2);
}
static void prefix_beyond(struct attacker *a)
{
    atomic_store(&a->page->progress.prefix, UINT64_C(1) << 32);
}

static void (*const counts[])(struct attacker *) = {head_beyond_tail, head_a_bit_beyond, head_goes_back, cost_beyond, costly_beyond, messages_beyond, prefix_beyond};

/* Sends until that fails, on so many channels. */
static void send_until_it_fails(void *with)
{
    const struct worker_side *side = with;
    char address[400];
    static const char bytes[3000];
    shm_address(side->path, side->options, address, sizeof address);
    for (size_t i = 0; i < side->seed; i++) {
        telex_channel *channel;
        struct told told = {0};
        assert_good(telex_dial(address, NULL, SECONDS(10), &channel));
        while (told.result == 0 || told.result == -ETIMEDOUT) {
            telex_message message = telex_binary(bytes, sizeof bytes);
            telex_time deadline = MILLISECONDS(50);
            told.result = telex_send(channel, &message, ++told.calls % 16 == 0 ? TELEX_SYNC : 0, deadline);
            int64_t late = telex_after(0) - deadline;
            told.late_ns = late > told.late_ns ? late : told.late_ns;
        }
        snprintf(told.sentence, sizeof told.sentence, "%s", telex_reason(channel));
        telex_close(channel, MILLISECONDS(50), NULL);
        tell(side->out, &told);
    }
}

static void counts_lie(void **state)
{
    (void)state;
    int here[2];
    char path[200];
    const size_t count = sizeof counts / sizeof *counts;
    snprintf(path, sizeof path, "%s/liar", testing_directory());
    int listening = attacker_listen(path);
    assert_good(pipe2(here, O_CLOEXEC));
    struct worker_side side = {.path = path, .options = "ring=16KiB", .out = here[1], .seed = count};
    pid_t victim = testing_fork(send_until_it_fails, &side);
    close(here[1]);
    for (size_t i = 0; i < count; i++) {
        struct attacker attacker;
        struct told told;
        attacker_init(&attacker, false, NULL);
        assert_true(attacker_attach(&attacker, attacker_accept(listening, 10000)));
        counts[i](&attacker);
        attacker_ring(&attacker);
        hear_told(here[0], &told);
        if (told.result != -EPROTO || strstr(told.sentence, "counts") == NULL)
            fprintf(stderr, "lie %zu: %d %s\n", i, told.result, told.sentence);
        assert_int_equal(told.result, -EPROTO);
        assert_non_null(strstr(told.sentence, "make no sense"));
        assert_true(told.late_ns < slack_ns());
        attacker_deinit(&attacker);
    }
    testing_wait(victim);
    close(here[0]);
    close(listening);
}

/* ---- a ring that never ends ---- */

static size_t cancel_for_ever(struct attacker *a)
{
    attacker_put_control(a, CANCEL, 1, "", 0);
    return 32;
}
static size_t fail_for_ever(struct attacker *a)
{
    attacker_put_control(a, FAIL, 1000000, "\1\0\0\0because of this and of that..", 32);
    return 64;
}
static size_t withdraw_for_ever(struct attacker *a)
{
    attacker_put_control(a, WITHDRAW, 1, "", 0);
    return 32;
}

/* The ring is full of good control frames, all alike: whoever reads it comes back to where he began, and nowhere is a zero. */
static void close_the_ring(struct attacker *a, size_t (*say)(struct attacker *))
{
    size_t size;
    do
        size = say(a);
    while (a->tail < ATTACKER_RING);
    const struct shm_record *last = (const struct shm_record *)(a->ring + ATTACKER_RING - size);
    atomic_store(&((struct shm_record *)a->ring)->what, atomic_load(&last->what));
}

static size_t (*const endless[])(struct attacker *) = {cancel_for_ever, fail_for_ever, withdraw_for_ever};

struct endless_victim {
    struct worker_side side;
    char path[200];
    int in;
    pid_t process;
};

static void endless_begin(struct endless_victim *self, struct attacker *attacker, unsigned i)
{
    static const char *const options[] = {"wait=block&trust=no", "wait=spin", "wait=adaptive"};
    int here[2];
    char ready;
    snprintf(self->path, sizeof self->path, "%s/victim", testing_directory());
    assert_good(pipe2(here, O_CLOEXEC));
    self->side = (struct worker_side){.path = self->path, .options = options[i / 3], .listens = true, .out = here[1], .seed = i + 1, .life = 300};
    self->process = testing_fork(worker_run, &self->side);
    close(here[1]);
    self->in = here[0];
    assert_int_equal(read(self->in, &ready, 1), 1);
    attacker_init(attacker, true, NULL);
    close_the_ring(attacker, endless[i % 3]);
    assert_true(attacker_attach(attacker, attacker_connect(self->path)));
}

static void endless_end(struct endless_victim *self, struct attacker *attacker, int result)
{
    struct told told;
    hear_told(self->in, &told);
    if (told.result != result || told.late_ns > slack_ns() || told.wrong[0] != '\0')
        fprintf(stderr, "%d %s, %s; %s came back %lld ms after its deadline\n", told.result, told.sentence, told.wrong, told.late_call,
                (long long)told.late_ns / 1000000);
    assert_int_equal(told.result, result);
    assert_true(told.late_ns < slack_ns() && told.wrong[0] == '\0');
    attacker_deinit(attacker);
    kill(self->process, SIGTERM);
    testing_wait(self->process);
    close(self->in);
}

/* All calls keep to their deadlines meanwhile. */
static void a_ring_without_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct endless_victim victim;
        struct attacker attacker;
        endless_begin(&victim, &attacker, i);
        endless_end(&victim, &attacker, 0);
    }
}

/* The end of the peer is seen all the same. */
static void a_ring_without_end_of_the_dead(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct endless_victim victim;
        struct attacker attacker;
        endless_begin(&victim, &attacker, i);
        poll(NULL, 0, 50);
        shutdown(attacker.socket, SHUT_RDWR);
        endless_end(&victim, &attacker, -ECONNRESET);
    }
}

/* The same to a server: it serves others meanwhile. */
static void a_ring_without_end_to_a_server(void **state)
{
    (void)state;
    struct host host;
    host_open(&host, "");
    for (unsigned i = 0; i < 3; i++) {
        struct attacker attacker;
        attacker_init(&attacker, true, NULL);
        close_the_ring(&attacker, endless[i]);
        assert_true(attacker_attach(&attacker, attacker_connect(host.path)));
        for (int served = 0; served < 20; served++)
            host_serves(&host);
        attacker_deinit(&attacker);
        host_says(&host, -ECONNRESET, NULL);
    }
    host_forgets(&host);
    host_close(&host);
}

static const struct testing_case cases[] = {
    {"lies.to_who_trusts", to_who_trusts, 30, NULL},
    {"lies.to_who_trusts_not", to_who_trusts_not, 30, NULL},
    {"lies.more_than_the_queue", more_than_the_queue, 0, NULL},
    {"lies.odd_to_who_trusts", odd_to_who_trusts, 0, NULL},
    {"lies.odd_to_who_trusts_not", odd_to_who_trusts_not, 0, NULL},
    {"lies.all_flags", all_flags, 30, NULL},
    {"lies.counts_lie", counts_lie, 30, NULL},
    {"lies.a_ring_without_end", a_ring_without_end, 40, NULL},
    {"lies.a_ring_without_end_of_the_dead", a_ring_without_end_of_the_dead, 0, NULL},
    {"lies.a_ring_without_end_to_a_server", a_ring_without_end_to_a_server, 0, NULL},
};

const struct theme hostile_lies = {cases, sizeof cases / sizeof *cases};
