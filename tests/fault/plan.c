/* SPDX-License-Identifier: MIT */
#include "fault/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static unsigned below(uint64_t *random, unsigned bound)
{
    return (unsigned)(draw(random) % bound);
}

/* Mostly short, at times long; never longer than `most`. */
static size_t length_of(uint64_t *random, size_t most)
{
    static const struct {
        unsigned percent, length;
    } classes[] = {{6, 1}, {60, 300}, {24, 6000}, {8, 70000}, {2, PLAN_LONGEST + 1}};
    unsigned dice = below(random, 100), at = 0;
    for (; dice >= classes[at].percent; at++)
        dice -= classes[at].percent;
    size_t length = below(random, classes[at].length);
    return length > most ? length % (most + 1) : length;
}

static void add(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *format, ...)
{
    size_t length = strlen(text);
    va_list list;
    va_start(list, format);
    vsnprintf(text + length, size - length, format, list);
    va_end(list);
}

static void make_steps(uint64_t *random, struct plan_side *side, size_t longest)
{
    unsigned id = 1;
    side->step_count = 3 + below(random, PLAN_STEPS - 2);
    for (unsigned i = 0; i < side->step_count; i++) {
        struct plan_step *step = &side->steps[i];
        static const uint8_t often[] = {PLAN_SEND, PLAN_SEND, PLAN_SEND_MORE, PLAN_SEND_MORE, PLAN_SEND_SYNC, PLAN_SEND_SYNC, PLAN_SEND_MANY, PLAN_CALL, PLAN_CALL, PLAN_CALL_LATER, PLAN_FLUSH, PLAN_PROCESS};
        step->kind = often[below(random, sizeof often)];
        step->id = id;
        step->count = step->kind == PLAN_SEND_MANY ? 1 + below(random, PLAN_RUN) : step->kind < PLAN_FLUSH;
        id += step->count;
        step->lane = below(random, PLAN_LANES);
        step->length = length_of(random, longest);
        unsigned patience = below(random, 10);
        step->patience = patience == 0 ? 0 : patience < 6 ? 1000 * (1 + below(random, 1000)) : 1000000 * (1 + below(random, 6));
        step->receives = below(random, 3);
    }
}

/* What its medium does: `bytes` go both ways together, about. */
static size_t make_faults(uint64_t *random, struct plan_side *side, bool may_break, bool may_die)
{
    char *text = side->faults;
    size_t size = sizeof side->faults, longest = PLAN_LONGEST;
    add(text, size, "fault=seed:%u", below(random, 1000000000));
    if (below(random, 2) == 0)
        add(text, size, ",short:%u", below(random, 90));
    if (below(random, 2) == 0)
        add(text, size, ",again:%u", below(random, 50));
    switch (below(random, 6)) {
    case 0:
        add(text, size, ",split:%u", 1 + below(random, 40));
        longest = 2000;
        break;
    case 1:
        add(text, size, ",split:%u", 40 + below(random, 20000));
        longest = 20000;
        break;
    case 2:
        add(text, size, ",delay:%uus", 1 + below(random, 150));
        longest = 70000;
        break;
    }
    side->breaks = may_break && below(random, 3) != 0;
    if (side->breaks) {
        static const unsigned ranges[] = {400, 4000, 40000, 400000};
        bool dies = may_die && below(random, 2) == 0;
        add(text, size, ",%s:%u", dies ? "kill" : "cut", 1 + below(random, ranges[below(random, 4)]));
    }
    return longest;
}

static void make_options(uint64_t *random, struct plan_side *side)
{
    static const char *const waits[] = {"adaptive", "spin", "block"};
    char *text = side->options;
    size_t size = sizeof side->options;
    add(text, size, "wait=%s", waits[below(random, 8) % 3]);
    if (below(random, 3) == 0)
        add(text, size, "&queue=%u", 1 + below(random, 8));
    if (below(random, 3) == 0)
        add(text, size, "&buffer=%u", 1 + below(random, 100000));
    if (below(random, 3) == 0)
        add(text, size, "&window=128KiB");
    if (below(random, 4) == 0)
        add(text, size, "&full=fail");
    if (below(random, 3) == 0)
        add(text, size, "&flush=helper");
}

void plan_make(uint64_t seed, struct plan *ret_plan)
{
    uint64_t random = seed * UINT64_C(0x2545F4914F6CDD1D);
    static const char *const schemes[] = {"unix", "tcp", "pipe"};
    *ret_plan = (struct plan){.seed = seed, .scheme = schemes[below(&random, 3)]};
    bool breaks = below(&random, 2) == 0; /* every second conversation goes to its end */
    unsigned mortal = below(&random, 2);  /* one side alone may be killed: the other one tells how it was */
    size_t longest = PLAN_LONGEST;
    for (unsigned i = 0; i < 2; i++) {
        struct plan_side *side = &ret_plan->sides[i];
        size_t most = make_faults(&random, side, breaks, i == mortal);
        longest = most < longest ? most : longest;
        make_options(&random, side);
        side->threads = below(&random, 3) == 0;
        side->by_descriptor = below(&random, 4) == 0;
        side->receives = below(&random, 2) == 0 ? 1 : 1 + below(&random, 6);
    }
    for (unsigned i = 0; i < 2; i++)
        make_steps(&random, &ret_plan->sides[i], longest);
}

void plan_print(const struct plan *plan, FILE *to)
{
    static const char *const kinds[PLAN_KINDS] = {"send", "send more", "send sync", "send many", "call", "call later", "flush", "process"};
    fprintf(to, "seed %" PRIu64 ", %s\n", plan->seed, plan->scheme);
    for (unsigned i = 0; i < 2; i++) {
        const struct plan_side *side = &plan->sides[i];
        fprintf(to, "%s: %s&%s%s%s, receives %u at a time\n", i == 0 ? "dials" : "listens", side->options, side->faults,
                side->threads ? ", two threads" : "", side->by_descriptor ? ", by descriptor" : "", side->receives);
        for (unsigned at = 0; at < side->step_count; at++) {
            const struct plan_step *step = &side->steps[at];
            fprintf(to, "  %-9s id %u, %u of %zu bytes, lane %u, %" PRId64 " us, then %u receives\n", kinds[step->kind], step->id, step->count,
                    step->length, step->lane, step->patience / 1000, step->receives);
        }
    }
}

enum plan_answer plan_answer_to(const struct plan *plan, unsigned side, unsigned id, size_t *ret_length)
{
    uint64_t random = plan->seed ^ (uint64_t)(side + 1) << 40 ^ (uint64_t)id << 48;
    *ret_length = length_of(&random, 4000);
    unsigned dice = below(&random, 10);
    return dice == 0 ? PLAN_FAIL : dice < 3 ? PLAN_ANSWER_SYNC : PLAN_ANSWER;
}

const uint8_t *plan_bytes(unsigned side, unsigned id)
{
    enum { SHIFTS = 4096 };
    static uint64_t bytes[(PLAN_LONGEST + SHIFTS) / 8 + 1];
    if (bytes[0] == 0)
        for (uint64_t i = 0, random = 1; i < sizeof bytes / sizeof *bytes; i++)
            bytes[i] = draw(&random) | 1;
    return (const uint8_t *)bytes + (id * 131 + side * 1777) % SHIFTS;
}
