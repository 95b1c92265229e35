/* SPDX-License-Identifier: MIT */
/* The fault medium: it does what its plan says, and loses nothing that the plan does not cut. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "medium/fault/fault.h"
#include "unit/scratch.h"
#include "unit/streams.h"

static const char *listened(int medium)
{
    return medium == 0 ? streams_abstract("", "") : "tcp://127.0.0.1:0";
}

enum { LENGTH = 20000 };

/* Sends LENGTH bytes both ways at once through the plan; how many reads and writes moved something, or found nothing to move. */
static void exchange(const char *listen, const char *dial, unsigned *ret_moves, unsigned *ret_refusals)
{
    struct streams streams = streams_new(listen, dial);
    struct telex_bytes *ends[2] = {streams.dialed, streams.accepted};
    size_t sent[2] = {0}, seen[2] = {0};
    unsigned char pattern[LENGTH], block[LENGTH];
    for (size_t i = 0; i < LENGTH; i++)
        pattern[i] = (unsigned char)(i % 251);
    *ret_moves = *ret_refusals = 0;
    for (int64_t deadline = streams_soon(); seen[0] < LENGTH || seen[1] < LENGTH;) {
        assert_true(telex_clock() < deadline);
        for (int i = 0; i < 2; i++) {
            ssize_t moved = sent[i] < LENGTH ? streams_write(ends[i], pattern + sent[i], LENGTH - sent[i]) : -EAGAIN;
            if (moved > 0)
                sent[i] += (size_t)moved;
            *ret_moves += moved > 0;
            *ret_refusals += moved == -EAGAIN && sent[i] < LENGTH;
            moved = streams_read(ends[i], block, sizeof block);
            assert_true(moved > 0 || moved == -EAGAIN);
            for (ssize_t j = 0; j < moved; j++)
                assert_int_equal(block[j], seen[i]++ % 251);
            *ret_moves += moved > 0;
        }
    }
    streams_free(&streams);
}

static void nothing_is_lost(void **state)
{
    (void)state;
    static const struct {
        const char *plan;
        unsigned least_moves;
        bool refuses;
    } plans[] = {
        {"", 2, false},
        {"?fault=", 2, false},
        {"?fault=split:1", 2 * LENGTH, false},
        {"?fault=split:7", 2 * LENGTH / 7, false},
        {"?fault=short:100,seed:5", 20, false},
        {"?fault=again:60,seed:9", 2, true},
        {"?fault=split:50,short:50,again:50,seed:1", 2 * LENGTH / 50, true},
        {"?fault=delay:1ms", 2, true},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        for (int medium = 0; medium < 2; medium++) {
            unsigned moves, refusals;
            exchange(listened(medium), plans[i].plan, &moves, &refusals);
            assert_true(moves >= plans[i].least_moves);
            if (strstr(plans[i].plan, "again") != NULL)
                assert_true(refusals > 0);
        }
}

/* The lengths of the first reads and writes under a plan, as a string. */
static void behaviour(const char *options, char *ret_text, size_t size)
{
    struct streams streams = streams_new(listened(0), options);
    char block[1000] = {0};
    ret_text[0] = '\0';
    for (int i = 0; i < 20; i++)
        snprintf(ret_text + strlen(ret_text), size - strlen(ret_text), "%zd ",
                 streams_write(streams.dialed, block, sizeof block));
    assert_int_equal(streams_write(streams.accepted, block, sizeof block), sizeof block);
    for (int i = 0; i < 20; i++)
        snprintf(ret_text + strlen(ret_text), size - strlen(ret_text), "%zd ", streams_read(streams.dialed, block, 10));
    streams_free(&streams);
}

static void seeds_repeat(void **state)
{
    (void)state;
    char one[1024], again[1024], other[1024];
    behaviour("?fault=short:50,again:30,seed:1", one, sizeof one);
    behaviour("?fault=short:50,again:30,seed:1", again, sizeof again);
    behaviour("?fault=short:50,again:30,seed:2", other, sizeof other);
    assert_string_equal(one, again);
    assert_string_not_equal(one, other);
}

enum { DECISIONS = 200 };

static struct telex_fault_decision decisions[2][2][DECISIONS]; /* of the first, second run; of reads, writes */
static unsigned decided[2][2], watched_run;

static void watch(const struct telex_fault_decision *decision)
{
    unsigned *count = &decided[watched_run][decision->writes];
    assert_int_equal(decision->number, *count); /* none is left out */
    if (*count < DECISIONS)
        decisions[watched_run][decision->writes][(*count)++] = *decision;
}

/* The n-th read and write is decided alike, whatever the earlier ones asked for and found. */
static void decisions_follow_from_the_seed(void **state)
{
    (void)state;
    char block[1000] = {0};
    telex_fault_watch = watch;
    for (watched_run = 0; watched_run < 2; watched_run++) {
        const char *plan = watched_run == 0 ? "?fault=short:50,again:30,seed:3" : "?fault=short:10,again:60,seed:3";
        struct streams streams = streams_new(listened(0), plan);
        for (unsigned i = 0; i < DECISIONS; i++) {
            streams_write(streams.dialed, block, watched_run == 0 ? sizeof block : 1);
            streams_read(streams.dialed, block, 1 + i % 9);
            if (watched_run == 1 && i % 2 == 0)
                assert_true(streams_write(streams.accepted, block, 3) == 3);
        }
        streams_free(&streams);
    }
    telex_fault_watch = NULL;
    assert_int_equal(decided[0][0] + decided[0][1] + decided[1][0] + decided[1][1], 4 * DECISIONS);
    for (unsigned way = 0; way < 2; way++)
        for (unsigned i = 0; i < DECISIONS; i++) {
            const struct telex_fault_decision *one = &decisions[0][way][i], *other = &decisions[1][way][i];
            assert_true(one->again == other->again && one->shortened == other->shortened && one->length == other->length);
        }
}

/* Exactly N bytes pass, and both sides find the connection broken. */
static void cuts(void **state)
{
    (void)state;
    for (int medium = 0; medium < 2; medium++) {
        struct streams streams = streams_new(listened(medium), "?fault=cut:10");
        char text[16];
        assert_int_equal(streams_write(streams.accepted, "abcd", 4), 4);
        streams_expect(streams.dialed, "abcd", 4);
        assert_int_equal(streams_write(streams.dialed, "0123456789", 10), 6);
        assert_int_equal(streams_write(streams.dialed, "6", 1), -ECONNRESET);
        assert_int_equal(streams_read(streams.dialed, text, 1), -ECONNRESET);
        assert_non_null(strstr(telex_said(), "cut"));
        streams_expect(streams.accepted, "012345", 6);
        streams_ready(streams.accepted->ops->descriptor(streams.accepted), POLLIN);
        assert_true(streams_read(streams.accepted, text, sizeof text) <= 0);
        streams_free(&streams);
    }
}

static void kills(void **state)
{
    (void)state;
    struct streams streams = streams_new(listened(0), "");
    pid_t child = fork();
    if (child == 0) {
        struct telex_bytes *bytes;
        if (streams_dial(streams_abstract("fault+", "?fault=kill:5"), streams_soon(), &bytes) < 0)
            _exit(1);
        while (streams_write(bytes, "0123456789", 10) > 0)
            ;
        _exit(2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct telex_bytes *accepted = streams_accept(streams.port);
    streams_expect(accepted, "01234", 5);
    accepted->ops->close(accepted);
    streams_free(&streams);
}

static void delays(void **state)
{
    (void)state;
    struct streams streams = streams_new(listened(0), "?fault=delay:30ms");
    char text[8];
    int64_t begin = telex_clock();
    ssize_t moved;
    while ((moved = streams_write(streams.dialed, "abc", 3)) == -EAGAIN)
        assert_true(telex_clock() - begin < (int64_t)60000 * MS);
    assert_int_equal(moved, 3);
    assert_true(telex_clock() - begin >= 30 * MS);
    assert_int_equal(streams_read(streams.dialed, text, sizeof text), -EAGAIN);
    assert_int_equal(streams_write(streams.accepted, "def", 3), 3);
    begin = telex_clock();
    streams_expect(streams.dialed, "def", 3);
    assert_true(telex_clock() - begin >= 30 * MS);
    streams_expect(streams.accepted, "abc", 3);
    streams.accepted->ops->close(streams.accepted);
    streams.accepted = NULL;
    while ((moved = streams_read(streams.dialed, text, sizeof text)) == -EAGAIN)
        assert_true(telex_clock() - begin < (int64_t)60000 * MS);
    assert_int_equal(moved, 0); /* the end is delayed, not lost */
    streams_free(&streams);
}

/* A write that is split still attaches its descriptors to the first byte, once. */
static void descriptors_pass(void **state)
{
    (void)state;
    struct streams streams = streams_new(streams_abstract("fault+", "?descriptors=1&fault=split:2"), "?fault=split:1");
    struct telex_bytes *one = streams.dialed, *other = streams.accepted;
    int file = open(scratch_path("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), fds[TELEX_BYTES_DESCRIPTORS];
    unsigned count = 0;
    char text[4];
    struct stat sent, came;
    assert_true(one->carries_descriptors && other->carries_descriptors);
    assert_int_equal(streams_pass(one, "abc", &file, 1), 1);
    assert_int_equal(streams_write(one, "bc", 2), 1);
    assert_int_equal(streams_write(one, "c", 1), 1);
    for (int got = 0; got < 3;) {
        ssize_t moved = other->ops->read(other, &(struct iovec){text, sizeof text}, 1, fds, &count);
        assert_true(moved > 0 && moved <= 2);
        assert_int_equal(count, 1);
        got += (int)moved;
    }
    assert_int_equal(fstat(file, &sent), 0);
    assert_int_equal(fstat(fds[0], &came), 0);
    assert_true(sent.st_ino == came.st_ino);
    telex_shut(fds[0]);
    close(file);
    streams_free(&streams);
}

static void the_rest_is_the_mediums(void **state)
{
    (void)state;
    struct streams streams = streams_new("fault+tcp://127.0.0.1:0", "?fault=split:1");
    struct telex_medium_peer peer;
    assert_false(streams.dialed->carries_descriptors || streams.dialed->delivered_when_written);
    streams.dialed->ops->peer(streams.dialed, &peer);
    assert_string_equal(peer.address, strstr(streams.port->ops->address(streams.port), "127"));
    assert_true(streams.dialed->ops->unsent(streams.dialed) >= 0);
    assert_int_equal(streams.port->ops->accept(streams.port, &streams.accepted), -EAGAIN);
    assert_int_equal(streams.dialed->ops->end(streams.dialed), 0);
    streams_ready(streams.accepted->ops->descriptor(streams.accepted), POLLIN);
    assert_int_equal(streams_read(streams.accepted, &peer, 1), 0);
    streams_free(&streams);
}

static void bad_plans(void **state)
{
    (void)state;
    static const char *const plans[] = {"split",  "split:",    "split:x",  "splitt:1", "split:1,",
                                        ",",      "again:101", "short:-1", "delay:5",  "cut:99999999999999999999",
                                        "kill:1s"};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        char text[512];
        struct telex_bytes *bytes;
        struct telex_bytes_port *port;
        snprintf(text, sizeof text, "%s%s", streams_abstract("fault+", "?fault="), plans[i]);
        telex_say(-1, "nothing was said");
        assert_int_equal(streams_dial(text, 0, &bytes), -EINVAL);
        assert_non_null(strstr(telex_said(), "fault="));
        assert_int_equal(streams_listen(text, &port), -EINVAL);
    }
}

static const struct testing_case cases[] = {
    TESTING_CASE(nothing_is_lost),
    TESTING_CASE(seeds_repeat),
    TESTING_CASE(decisions_follow_from_the_seed),
    TESTING_CASE(cuts),
    TESTING_CASE(kills),
    TESTING_CASE(delays),
    TESTING_CASE(descriptors_pass),
    TESTING_CASE(the_rest_is_the_mediums),
    TESTING_CASE(bad_plans),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "faults", cases, sizeof cases / sizeof *cases);
}
