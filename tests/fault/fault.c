/* SPDX-License-Identifier: MIT */
/*
 * Seeded conversations over media that split, refuse, delay, break and kill. Two processes do what the plan of a seed says and write down what came of it; a third one
 * compares. `fault --seed N` does it again with one seed, and shows the plan.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault/log.h"
#include "unit/testing.h"

enum { PARTS = 10, RUNS = 100 /* of a part */, GUARD = 60 /* s, of one conversation */ };

static void on_alarm(int number)
{
    (void)number;
    static const char text[] = "a side hangs\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    abort();
}

static pid_t start(const struct plan *plan, unsigned me, struct log *log, const int *ready)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    signal(SIGALRM, on_alarm);
    const char *slow = getenv("TESTING_SLOW");
    alarm(GUARD * (slow != NULL ? (unsigned)atoi(slow) : 1));
    close(ready[!me]);
    side_run(plan, me, log, ready[me]);
    close(ready[me]);
    exit(0); /* not _exit: sanitizers look for leaks at exit */
}

/* What a killed listener leaves until the next one comes. */
static void remove_path(const struct log *log)
{
    const char *path = strstr(log->address, ":///");
    if (path != NULL)
        unlink(path + strlen("://"));
}

/* Runs one conversation; NULL, or what was wrong with it. */
static const char *run(const struct plan *plan, struct log *log)
{
    int ready[2], status[2] = {0};
    memset(log, 0, sizeof *log);
    assert_good(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready) < 0 ? -errno : 0);
    pid_t children[2];
    for (unsigned i = 0; i < 2; i++)
        children[i] = start(plan, i, log, ready);
    close(ready[0]);
    close(ready[1]);
    for (unsigned left = 2; left > 0; left--) {
        int how;
        pid_t ended = wait(&how);
        status[ended == children[1]] = how;
        if (ended == children[0])
            atomic_store(&log->nobody_dials, true);
    }
    remove_path(log);
    bool killed[2];
    for (unsigned i = 0; i < 2; i++) {
        killed[i] = WIFSIGNALED(status[i]) && WTERMSIG(status[i]) == SIGKILL && strstr(plan->sides[i].faults, "kill:") != NULL;
        if (status[i] != 0 && !killed[i])
            return log->sides[i].fault[0] != '\0' ? log->sides[i].fault : "a side crashed, or hung";
    }
    return judge(plan, log, killed);
}

static struct log *new_log(void)
{
    struct log *log = mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(log != MAP_FAILED);
    plan_bytes(0, 0); /* made once, before there are two processes with threads */
    return log;
}

static void report(const struct plan *plan, const struct log *log, const char *why)
{
    fprintf(stderr, "seed %" PRIu64 ": %s\nto see it again: build/tests/fault/fault --seed %" PRIu64 "\n", plan->seed, why, plan->seed);
    plan_print(plan, stderr);
    for (unsigned i = 0; i < 2; i++) {
        const struct log_side *side = &log->sides[i];
        fprintf(stderr, "side %u: %s, ended %d, close gave %d with %" PRIu64 " untaken of %" PRIu64 "\n", i, side->to_the_end ? "to the end" : "broken", side->ended,
                side->close_result, side->untaken, side->counted_sent);
        for (unsigned j = 0; j < atomic_load(&side->sent_count); j++)
            fprintf(stderr, "  sent %u number %" PRIu64 " lane %u%s%s%s: %d, outcome %d, at the end %d\n", side->sent[j].id, side->sent[j].number, side->sent[j].lane,
                    side->sent[j].sync ? " sync" : "", side->sent[j].call ? " call" : "", side->sent[j].reply ? " reply" : "", side->sent[j].result,
                    side->sent[j].outcome, side->sent[j].at_end);
        for (unsigned j = 0; j < atomic_load(&side->received_count); j++)
            fprintf(stderr, "  received %u number %" PRIu64 " lane %u\n", side->received[j].id, side->received[j].number, side->received[j].lane);
    }
}

/* ---- cases ---- */

static void seeds(void **state)
{
    uint64_t part = (uint64_t)(uintptr_t)*state - 1;
    uint64_t runs = getenv("TELEX_EVIDENCE") != NULL ? 100 * RUNS : getenv("CONFORM_SHORT") != NULL ? RUNS / 10 : RUNS;
    struct log *log = new_log();
    unsigned to_the_end = 0, broken = 0, killed = 0, late = 0;
    for (uint64_t i = 0; i < runs; i++) {
        struct plan plan;
        plan_make(1 + part * 100 * RUNS + i, &plan);
        const char *why = run(&plan, log);
        if (why != NULL)
            report(&plan, log, why);
        assert_null(why);
        to_the_end += log->sides[0].to_the_end && log->sides[1].to_the_end;
        broken += log->sides[0].ended != 0 || log->sides[1].ended != 0;
        killed += !log->sides[0].closed != !log->sides[1].closed;
        for (unsigned side = 0; side < 2; side++)
            for (unsigned j = 0; j < atomic_load(&log->sides[side].sent_count); j++)
                late += log->sides[side].sent[j].result == -ETIMEDOUT;
    }
    munmap(log, sizeof *log);
    fprintf(stderr, "%u went to their ends, %u broke, in %u one side was killed; %u sends were too late\n", to_the_end, broken, killed, late);
    if (runs >= RUNS) /* enough for all that may happen to have happened */
        assert_true(to_the_end >= runs / 4 && broken >= runs / 8 && killed > 0 && late > runs / 2);
}

/* What both sides did is told by the plan; what their media did, by the decisions: the n-th is the same each time. */
static void a_seed_repeats(void **state)
{
    (void)state;
    struct log *first = new_log(), *second = new_log();
    unsigned compared = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct plan plan, again;
        char *texts[2];
        size_t sizes[2];
        plan_make(seed, &plan);
        plan_make(seed, &again);
        for (unsigned i = 0; i < 2; i++) {
            FILE *to = open_memstream(&texts[i], &sizes[i]);
            plan_print(i == 0 ? &plan : &again, to);
            fclose(to);
        }
        assert_int_equal(sizes[0], sizes[1]);
        assert_string_equal(texts[0], texts[1]);
        assert_null(run(&plan, first));
        assert_null(run(&again, second));
        for (unsigned i = 0; i < 4; i++) {
            const struct log_side *one = &first->sides[i / 2], *other = &second->sides[i / 2];
            unsigned mine = atomic_load(&one->decided[i % 2]), theirs = atomic_load(&other->decided[i % 2]);
            unsigned common = mine < theirs ? mine : theirs; /* how often a side looks is up to the scheduler */
            assert_memory_equal(one->decisions[i % 2], other->decisions[i % 2], common * sizeof *one->decisions[0]);
            compared += common;
        }
        free(texts[0]);
        free(texts[1]);
    }
    assert_true(compared > 200);
    munmap(first, sizeof *first);
    munmap(second, sizeof *second);
}

static int replay(uint64_t seed)
{
    struct plan plan;
    plan_make(seed, &plan);
    struct log *log = new_log();
    const char *why = run(&plan, log);
    report(&plan, log, why != NULL ? why : "all is well");
    return why != NULL;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seed") == 0)
        return replay(strtoull(argv[2], NULL, 10));
    static struct testing_case cases[PARTS + 1];
    static char names[PARTS][32];
    for (uintptr_t i = 0; i < PARTS; i++) {
        snprintf(names[i], sizeof names[i], "seeds_%u", (unsigned)i);
        cases[i] = (struct testing_case){names[i], seeds, getenv("TELEX_EVIDENCE") != NULL ? 2500 : 100, (void *)(i + 1)};
    }
    cases[PARTS] = (struct testing_case)TESTING_CASE_LIMIT(a_seed_repeats, 60);
    return testing_main(argc, argv, "fault", cases, PARTS + 1);
}
