/* SPDX-License-Identifier: MIT */
/* The cases: who does what while it is killed, at every instruction. See crash.h. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "crash/crash.h"

enum {
    INSTRUCTIONS = 6000, /* a case */
    INSTRUCTIONS_LONG = 60000,
    ROUNDS = 4,
    ROUNDS_LONG = 20,
    WARM_MOST = 120,
};

bool crash_is_evidence(void)
{
    return getenv("TELEX_EVIDENCE") != NULL;
}

const char *crash_address(void)
{
    static char text[128];
    const char *options = plan->options != NULL ? plan->options : "wait=adaptive";
    snprintf(text, sizeof text, "shm://crash?ring=16KiB&buffer=16KiB&%s&%s", strncmp(options, "arena=", 6) == 0 ? "full=wait" : "arena=16KiB", options);
    return text;
}

struct totals *crash_totals;

/* ---- a round: one victim ---- */

static _Noreturn void be_victim(bool dials)
{
    telex_listener *listener;
    telex_channel *channel;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (plan->attaches)
        duel_stand_ready();
    int r = 0;
    if (dials) {
        r = telex_dial(crash_address(), NULL, SECONDS(10), &channel);
    } else {
        r = telex_listen(crash_address(), NULL, &listener);
        if (r == 0)
            r = telex_accept(listener, SECONDS(10), &channel);
        if (r == 0)
            telex_listener_close(listener);
    }
    if (r < 0) {
        crash_fail("the victim does not come so far: %s", telex_reason(NULL));
        _exit(1);
    }
    if (plan->attaches) {
        victim_attached();
    } else {
        victim_warms_up(plan->warm + crash_random() % WARM_MOST);
        duel_stand_ready();
    }
    plan->victim(channel);
    _exit(0);
}

static telex_channel *dial_patiently(void)
{
    telex_channel *channel = NULL;
    for (telex_time until = SECONDS(10); telex_now() < until; usleep(1000))
        if (telex_dial(crash_address(), NULL, SECONDS(10), &channel) == 0)
            return channel;
    return NULL;
}

static pid_t meet(bool dials, telex_channel **ret_channel)
{
    telex_listener *listener = NULL;
    if (dials)
        assert_good(telex_listen(crash_address(), NULL, &listener));
    fflush(NULL);
    pid_t victim = fork();
    if (victim == 0)
        be_victim(dials);
    if (plan->attaches) {
        duel_meet(victim);
        duel_let_greet(victim);
    }
    if (dials) {
        assert_good(telex_accept(listener, SECONDS(10), ret_channel));
        telex_listener_close(listener);
    } else {
        *ret_channel = dial_patiently();
        assert_non_null(*ret_channel);
    }
    return victim;
}

static void one_round(bool dials, uint64_t instructions)
{
    telex_channel *channel;
    *board = (struct board){0};
    survivor = (struct survivor){.remains.fds = crash_count_open(), .variant = crash_random(), .hasty = crash_random() % 2 == 0};
    pid_t victim = meet(dials || plan->attaches, &channel);
    if (!plan->attaches)
        duel_meet(victim);
    duel_begin(victim, channel);
    duel_limit(instructions);
    plan->survivor(channel);
    if (!crash_is_copy)
        duel_end(); /* the copies look at their descriptors before this process closes its own */
    bool good = survive(channel);
    if (crash_is_copy)
        _exit(!good);
}

void crash_begin(const struct plan *what)
{
    plan = what;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(board != MAP_FAILED);
    testing_directory();
}

void crash_note(const char *format, ...)
{
    va_list arguments;
    if (!crash_is_evidence())
        return;
    fputs("note: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void crash_end(void)
{
    if (board->why[0] != '\0')
        fprintf(stderr, "%s\n", board->why);
    assert_int_equal(board->why[0], '\0');
}

static void run(void **state)
{
    crash_begin(*state);
    uint64_t all = crash_is_evidence() ? INSTRUCTIONS_LONG : INSTRUCTIONS, most = all / (crash_is_evidence() ? ROUNDS_LONG : ROUNDS);
    all *= plan->times > 0 ? plan->times : 1;
    unsigned rounds = 0;
    telex_time since = telex_now();
    while (crash_instructions < all && board->why[0] == '\0')
        one_round(rounds++ % 2 == 0, most < all - crash_instructions ? most : all - crash_instructions);
    crash_end();
    crash_totals->instructions += crash_instructions;
    crash_totals->states += crash_states;
    crash_note("%s: death at each of %llu instructions, %llu states that differ, in %u conversations; %.1f s", plan->name,
               (unsigned long long)crash_instructions, (unsigned long long)crash_states, rounds, (double)(telex_now() - since) / 1e9);
}

#define CASE(name_, victim_, survivor_, ...)                                                                                                           \
    {                                                                                                                                                  \
        #name_, run, 900, &(const struct plan){.name = #name_, .victim = victim_, .survivor = survivor_, __VA_ARGS__},                                 \
    }

static const struct testing_case cases[] = {
    CASE(sends, victim_sends, survivor_receives, .least = 8, .most = 900),
    CASE(sends_batches, victim_sends, survivor_receives, .least = 8, .most = 300, .flags = TELEX_MORE),
    CASE(sends_loans, victim_sends, survivor_receives, .least = 1100, .most = 4000, .loans = true),
    CASE(sends_chunks, victim_sends, survivor_receives, .least = 1100, .most = 4000),
    CASE(sends_pieces, victim_sends, survivor_receives, .least = 8200, .most = 10000),
    CASE(sends_pieces_through_the_ring, victim_sends, survivor_receives, .least = 1100, .most = 4000, .options = "arena=4KiB"),
    CASE(sends_to_the_wary, victim_sends, survivor_receives, .least = 8, .most = 2000, .options = "trust=no"),
    CASE(sends_synchronously, victim_sends, survivor_receives, .least = 8, .most = 900, .flags = TELEX_SYNC),
    CASE(sends_within_a_queue, victim_sends, survivor_receives, .least = 8, .most = 300, .options = "queue=4"),
    CASE(calls, victim_sends, survivor_receives, .least = 8, .most = 900, .calls = true),
    CASE(sends_descriptors, victim_sends, survivor_receives, .least = 8, .most = 2000, .options = "descriptors=2", .descriptors = true),
    CASE(attaches, victim_sends, survivor_receives, .least = 8, .most = 900, .attaches = true),
    CASE(sends_to_the_awake, victim_sends, survivor_peeks, .least = 8, .most = 900),
    CASE(sends_synchronously_to_the_awake, victim_sends, survivor_peeks, .least = 8, .most = 900, .flags = TELEX_SYNC),
    CASE(receives, victim_receives, survivor_sends, .least = 8, .most = 8),
    CASE(receives_loans, victim_receives, survivor_sends, .least = 8, .most = 8, .loans = true),
    CASE(receives_loans_in_the_next_lap, victim_receives, survivor_sends, .least = 8, .most = 8, .warm = 2500, .loans = true),
    CASE(receives_synchronous_ones, victim_receives, survivor_syncs, .least = 8, .most = 8, .times = 4),
    CASE(serves, victim_receives, survivor_calls, .least = 8, .most = 8, .times = 4),
    CASE(sleeps_at_once, victim_does_both, survivor_receives, .least = 8, .most = 900, .options = "wait=block"),
    CASE(does_both, victim_does_both, survivor_does_both, .least = 8, .most = 2000),
    CASE(closes, victim_closes, survivor_receives, .least = 8, .most = 900),
    CASE(closes_before_it_is_heard, victim_closes, survivor_dawdles, .least = 300, .most = 900, .floods = true),
    CASE(is_closed, victim_receives, survivor_closes, .least = 8, .most = 8),
    {"dials", crash_dials, 900, NULL},
    {"accepts", crash_accepts, 900, NULL},
    {"killed_dialers", crash_killed_dialers, 900, NULL},
    {"killed_listeners", crash_killed_listeners, 900, NULL},
};

int main(int argc, char **argv)
{
    crash_totals = mmap(NULL, sizeof *crash_totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failed = testing_main(argc, argv, "crash", cases, sizeof cases / sizeof *cases);
    if (argc < 2 || argv[1][0] != '-')
        printf("note: death at each of %llu instructions (%llu states that differ), at %llu stops of attaching, and by %llu real kills\n",
               (unsigned long long)crash_totals->instructions, (unsigned long long)crash_totals->states, (unsigned long long)crash_totals->stops,
               (unsigned long long)crash_totals->kills);
    return failed;
}
