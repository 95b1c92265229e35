/* SPDX-License-Identifier: MIT */
/* A thousand clients: a server that sleeps, and wakes for the one that speaks. */
#include "conform/hall.h"

#include <sys/resource.h>

enum { MOST_PEERS = 1000, CROWD_IN_SHORT = 60, ROUNDS = 200, DESCRIPTORS_EACH = 6 /* pipes, while they connect */, OTHERS = 200 };

static void raise_limit(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* As many as the limit of open files lets in, on either side. */
static int size_of_the_crowd(const struct conform_setup *setup)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    unsigned long possible = (limit.rlim_cur - OTHERS) / DESCRIPTORS_EACH / (setup->medium->threads ? 2 : 1);
    unsigned long wanted = is_short() ? CROWD_IN_SHORT : MOST_PEERS;
    return (int)(wanted < possible ? wanted : possible);
}

static void the_right_one_is_woken_for(void **state)
{
    raise_limit();
    const struct conform_setup *setup = *state;
    struct hall hall;
    hall_open(&hall, (struct hall_side){.setup = setup, .options = "ring=16KiB&arena=4KiB", .handlers = {.call = echo_call}});
    static telex_channel *clients[MOST_PEERS];
    int count = size_of_the_crowd(setup);
    for (int i = 0; i < count; i++)
        clients[i] = enter(&hall, 0);

    unsigned long before = hall.server > 0 ? ticks_of(hall.server) : 0;
    nap(400);
    if (hall.server > 0) /* a tenth of the processor at most: it sleeps */
        assert_true(ticks_of(hall.server) - before <= (unsigned long)sysconf(_SC_CLK_TCK) / 25 + 1);

    unsigned seed = 1;
    for (int i = 0; i < ROUNDS; i++) {
        char text[32];
        seed = seed * 1103515245 + 12345;
        snprintf(text, sizeof text, "client %u", seed / 65536 % (unsigned)count);
        echoes(clients[seed / 65536 % (unsigned)count], text);
    }
    telex_message none = {0};
    for (int i = 0; i < count; i++)
        assert_gives(telex_receive(clients[i], &none, TELEX_NOW), -EAGAIN, clients[i]);
    for (int i = 0; i < count; i++)
        telex_close(clients[i], SECONDS(5), NULL);
    hall_close(&hall);
}

static const struct conform_case cases[] = {
    {"the_right_one_is_woken_for", the_right_one_is_woken_for, ON_TELEX, NO_FAULTS | MANY_PEERS, 60},
};

const struct conform_theme conform_crowd = {cases, sizeof cases / sizeof *cases};
