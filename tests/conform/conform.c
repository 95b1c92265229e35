/* SPDX-License-Identifier: MIT */
/* Runs every case over every medium and wire that it is about; and what the cases share. */
#include "conform/conform.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "os/quiet.h"

/* ---- conversations ---- */

/* The medium's own options, but for those that the case gives itself. */
static int add_query(const char *query, const char *options, char *to, size_t size)
{
    int length = 0;
    while (query[0] != '\0') {
        int part = (int)strcspn(query, "&"), name = (int)strcspn(query, "=") + 1;
        const char *given = options;
        while (given != NULL && strncmp(given, query, (size_t)name) != 0) {
            given = strchr(given, '&');
            given = given != NULL ? given + 1 : NULL;
        }
        if (given == NULL)
            length += snprintf(to + length, size - (size_t)length, "&%.*s", part, query);
        query += part + (query[part] == '&');
    }
    return length;
}

static void add_options(const struct conform_setup *setup, const char *options, char *ret_address, size_t size)
{
    int length = (int)strlen(ret_address);
    length += snprintf(ret_address + length, size - (size_t)length, "?wire=%s", setup->wire);
    length += add_query(setup->medium->query, options, ret_address + length, size - (size_t)length);
    if (options[0] != '\0')
        snprintf(ret_address + length, size - (size_t)length, "&%s", options);
}

void conform_address(const struct conform_setup *setup, const char *options, char *ret_address, size_t size)
{
    snprintf(ret_address, size, setup->medium->address, testing_directory());
    add_options(setup, options, ret_address, size);
}

struct ends { /* of both sides: [0] to read from, [1] to write to */
    int here[2], there[2];
};

static void make_pair(enum conform_pair pair, struct ends *ends)
{
    int one[2], other[2];
    if (pair == PAIR_OF_SOCKETS) {
        assert_good(socketpair(AF_UNIX, SOCK_STREAM, 0, one));
        *ends = (struct ends){{one[0], one[0]}, {one[1], one[1]}};
        return;
    }
    assert_good(pipe(one));
    assert_good(pipe(other));
    *ends = (struct ends){{other[0], one[1]}, {one[0], other[1]}};
}

static void pair_address(const struct conform_setup *setup, const int ends[2], const char *options, char *ret_address, size_t size)
{
    snprintf(ret_address, size, setup->medium->address, ends[0], ends[1]);
    add_options(setup, options, ret_address, size);
}

static void close_ends(const int ends[2])
{
    close(ends[0]);
    if (ends[1] != ends[0])
        close(ends[1]);
}

void conform_dialable(const char *listened_at, const char *real, char *ret_address, size_t size)
{
    bool faulty = strncmp(listened_at, "fault+", 6) == 0 && strncmp(real, "fault+", 6) != 0;
    snprintf(ret_address, size, "%s%s%s", faulty ? "fault+" : "", real, strchr(listened_at, '?'));
}

struct peer_side {
    struct talk *talk;
    conform_peer *peer;
    const char *listen_at;
};

static void run_peer(void *with)
{
    struct peer_side *side = with;
    struct talk *talk = side->talk;
    telex_listener *listener;
    assert_good(telex_listen(side->listen_at, NULL, &listener));
    conform_dialable(side->listen_at, telex_listener_address(listener), talk->address, sizeof talk->address);
    assert_int_equal(write(talk->out, talk->address, sizeof talk->address), sizeof talk->address);
    assert_good(telex_accept(listener, SECONDS(10), &talk->channel));
    telex_listener_close(listener);
    side->peer(talk);
    if (talk->channel != NULL)
        telex_close(talk->channel, SECONDS(5), NULL);
}

static _Thread_local char *kept[4]; /* what pattern() gave to this thread */
static _Thread_local size_t capacities[4];

void forget_patterns(void)
{
    for (int i = 0; i < 4; i++)
        free(kept[i]);
}

/* The same as a thread; what the end of a process would give back, it does. */
static void *run_peer_thread(void *with)
{
    struct peer_side *side = with;
    run_peer(side);
    close(side->talk->in);
    close(side->talk->out);
    forget_patterns();
    free(side->talk);
    free(side);
    return NULL;
}

static void begin_thread(struct talk *talk, const struct talk *other, conform_peer *peer, const char *listen_at)
{
    struct peer_side *side = malloc(sizeof *side);
    struct talk *copy = malloc(sizeof *copy);
    assert_true(side != NULL && copy != NULL);
    *copy = *other;
    *side = (struct peer_side){copy, peer, listen_at};
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* its assertions cannot jump out of another thread */
    assert_good(-pthread_create(&talk->thread, NULL, run_peer_thread, side));
}

static void begin_process(struct talk *talk, struct talk *other, conform_peer *peer, const char *listen_at, const struct ends *ends)
{
    struct peer_side side = {other, peer, listen_at};
    talk->peer = fork();
    if (talk->peer == 0) {
        if (ends != NULL)
            close_ends(ends->here);
        close(talk->out);
        close(talk->in);
        testing_be_child(run_peer, &side);
    }
    close(other->out);
    close(other->in);
    if (ends != NULL)
        close_ends(ends->there);
}

void talk_begin(struct talk *talk, const struct conform_setup *setup, const char *options, conform_peer *peer)
{
    char listen_at[512];
    struct ends ends, *pair = NULL;
    atomic_store(&telex_skills_denied, setup->medium->denied);
    if (setup->medium->pair != NO_PAIR) {
        make_pair(setup->medium->pair, &ends);
        pair_address(setup, ends.there, options, listen_at, sizeof listen_at);
        pair = &ends;
    } else {
        conform_address(setup, options, listen_at, sizeof listen_at);
    }
    int there[2], here[2];
    assert_good(pipe2(there, O_CLOEXEC));
    assert_good(pipe2(here, O_CLOEXEC));
    *talk = (struct talk){.setup = setup};
    struct talk other = {.setup = setup, .out = here[1], .in = there[0]};
    talk->out = there[1];
    talk->in = here[0];
    if (setup->medium->threads)
        begin_thread(talk, &other, peer, listen_at);
    else
        begin_process(talk, &other, peer, listen_at, pair);
    assert_int_equal(read(talk->in, talk->address, sizeof talk->address), sizeof talk->address);
    if (pair != NULL)
        pair_address(setup, ends.here, options, talk->address, sizeof talk->address);
    assert_good(telex_dial(talk->address, NULL, SECONDS(10), &talk->channel));
}

void talk_end(struct talk *talk)
{
    if (talk->channel != NULL)
        telex_close(talk->channel, SECONDS(5), NULL);
    close(talk->out);
    close(talk->in);
    if (talk->peer > 0)
        testing_wait(talk->peer);
    else if (talk->setup->medium->threads)
        pthread_join(talk->thread, NULL);
}

int unsent_here(void)
{
    int all = 0;
    for (int fd = 3; fd < 64; fd++) {
        int family = 0, listens = 0, bytes = 0;
        socklen_t size = sizeof family;
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family != AF_UNIX &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && !listens && ioctl(fd, SIOCOUTQ, &bytes) == 0)
            all += bytes;
    }
    return all;
}

void talk_say(struct talk *talk, char word)
{
    assert_int_equal(write(talk->out, &word, 1), 1);
}

void talk_hear(struct talk *talk, char word)
{
    char heard = 0;
    assert_int_equal(read(talk->in, &heard, 1), 1);
    assert_int_equal(heard, word);
}

void talk_hear_moving(struct talk *talk, char word)
{
    struct pollfd said = {.fd = talk->in, .events = POLLIN};
    while (poll(&said, 1, 1) == 0)
        assert_good(telex_process(talk->channel));
    talk_hear(talk, word);
}

/* ---- messages ---- */

telex_message message_of(const struct talk *talk, const void *bytes, size_t length)
{
    telex_message message = telex_binary(bytes, length);
    message.kind = talk->setup->on == ON_LINES ? TELEX_TEXT : TELEX_BINARY;
    return message;
}

const char *pattern(unsigned seed, size_t length)
{
    char **bytes = &kept[seed % 4];
    if (capacities[seed % 4] < length + 1) {
        free(*bytes);
        *bytes = malloc(length + 1);
        capacities[seed % 4] = length + 1;
    }
    for (size_t i = 0; i < length; i++)
        (*bytes)[i] = (char)('!' + (i * 7 + seed * 13 + i / 89) % 90);
    return *bytes;
}

void send_pattern(struct talk *talk, unsigned seed, size_t length)
{
    telex_message message = message_of(talk, pattern(seed, length), length);
    assert_gives(telex_send(talk->channel, &message, 0, SECONDS(10)), 0, talk->channel);
}

void expect_pattern(struct talk *talk, unsigned seed, size_t length)
{
    telex_message message = {0};
    assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), 0, talk->channel);
    assert_int_equal(message.length, length);
    if (length > 0)
        assert_memory_equal(message.data, pattern(seed, length), length);
    telex_release(&message);
}

void send_text(struct talk *talk, const char *text)
{
    telex_message message = telex_text(text);
    assert_gives(telex_send(talk->channel, &message, 0, SECONDS(10)), 0, talk->channel);
}

void expect_text(struct talk *talk, const char *text)
{
    telex_message message = {0};
    assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), 0, talk->channel);
    char *got = telex_string(&message);
    assert_string_equal(got, text);
    free(got);
    telex_release(&message);
}

void gives(int result, int expected, const telex_channel *channel, const char *what)
{
    if (result != expected)
        fprintf(stderr, "%s gave %d, not %d: %s\n", what, result, expected, telex_reason(channel));
    assert_int_equal(result, expected);
}

void because(const telex_channel *channel, const char *part)
{
    if (strstr(telex_reason(channel), part) == NULL)
        fprintf(stderr, "expected a sentence with \"%s\", but it was: %s\n", part, telex_reason(channel));
    assert_non_null(strstr(telex_reason(channel), part));
}

void nap(unsigned milliseconds)
{
    poll(NULL, 0, (int)milliseconds);
}

bool is_short(void)
{
    return getenv("CONFORM_SHORT") != NULL;
}

bool is_evidence(void)
{
    return getenv("TELEX_EVIDENCE") != NULL;
}

/* ---- all of them ---- */

static const struct conform_theme *const themes[] = { /* in the order of enum conform_themes */
    &conform_sending, &conform_full,    &conform_rendezvous, &conform_calls,   &conform_waiting, &conform_readiness,
    &conform_ending,  &conform_passing, &conform_meeting,    &conform_serving, &conform_hostile, &conform_flooding,
    &conform_neglect, &conform_crowd,   &conform_gathering, &conform_lanes,
};

static const struct {
    const char *name;
    enum conform_wires on;
} wires[] = {{"telex", ON_TELEX}, {"lines", ON_LINES}, {"raw", ON_RAW}};

/* With CONFORM_THREADS, for the thread sanitizer: unix, shm and inproc run all; elsewhere only what has threads in the library or in the case can say anything new. */
static unsigned themes_of(const struct conform_medium *medium)
{
    bool all = medium->threads || strcmp(medium->name, "unix") == 0 || strcmp(medium->name, "shm") == 0;
    unsigned threaded = SENDING | CALLS | WAITING | READINESS | ENDING | SERVING | GATHERING | LANES;
    return is_evidence() ? EVERY_THEME : getenv("CONFORM_THREADS") != NULL && !all ? medium->themes & threaded : medium->themes;
}

static bool applies(const struct conform_case *one, const struct conform_medium *medium, unsigned on)
{
    if (!(one->wires & on & medium->wires) || ((one->media & LOCAL_ONLY) && !medium->local) ||
        ((one->media & WITH_DESCRIPTORS) && !carries_descriptors(medium)) ||
        ((one->media & NO_FAULTS) && medium->faulty) || ((one->media & BYTE_STREAMS) && !(medium->wires & ON_RAW)) ||
        ((one->media & PROCESSES) && medium->threads) || ((one->media & MANY_PEERS) && medium->pair != NO_PAIR))
        return false;
    return !is_short() || !(one->media & LONG_FORM);
}

enum { MOST_CASES = 16384, MOST_MEDIA = 96 };

/* In the long form every medium also with every way to wait and to flush, but for those that delay each byte. */
static const char *const variations[] = {"wait=block", "wait=spin", "flush=helper", "wait=block&flush=helper", "wait=spin&flush=helper"};

static size_t vary(struct conform_medium media[MOST_MEDIA])
{
    size_t count = 0;
    for (size_t i = 0; i < conform_medium_count; i++) {
        media[count++] = conform_media[i];
        for (size_t k = 0; is_evidence() && !conform_media[i].faulty && conform_media[i].query[0] == '\0' && k < sizeof variations / sizeof *variations; k++) {
            char name[64];
            snprintf(name, sizeof name, "%s-%s", conform_media[i].name, variations[k]);
            media[count] = conform_media[i];
            media[count].name = strdup(name);
            media[count++].query = variations[k];
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct testing_case cases[MOST_CASES];
    static struct conform_medium media[MOST_MEDIA];
    static struct conform_setup setups[MOST_MEDIA][3];
    static char names[MOST_CASES][96];
    if (argc > 1 && strcmp(argv[1], "--short") == 0) {
        setenv("CONFORM_SHORT", "1", 1);
        argc--, argv++;
    }
    size_t count = 0;
    size_t medium_count = vary(media);
    for (size_t medium = 0; medium < medium_count; medium++)
        for (size_t wire = 0; wire < 3; wire++) {
            struct conform_setup *setup = &setups[medium][wire];
            *setup = (struct conform_setup){&media[medium], wires[wire].name, wires[wire].on};
            for (size_t theme = 0; theme < sizeof themes / sizeof *themes; theme++)
                for (size_t i = 0; i < themes[theme]->count && (themes_of(setup->medium) >> theme & 1); i++) {
                    const struct conform_case *one = &themes[theme]->cases[i];
                    if (!applies(one, setup->medium, setup->on))
                        continue;
                    snprintf(names[count], sizeof names[count], "%s.%s.%s", setup->medium->name, setup->wire,
                             one->name);
                    cases[count] = (struct testing_case){names[count], one->run, one->seconds, setup};
                    count++;
                }
        }
    return testing_main(argc, argv, "conform", cases, count);
}
