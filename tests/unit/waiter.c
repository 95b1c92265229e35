/* SPDX-License-Identifier: MIT */
/* When to try again and when to sleep: the arithmetic of waiter.h, with a clock made by hand. */
#include "channel/waiter.h"
#include "unit/testing.h"

enum { US = 1000 };

static struct telex_waiter adaptive(void)
{
    struct telex_waiter waiter;
    telex_waiter_init(&waiter, TELEX_WAIT_ADAPTIVE, -1);
    waiter.mode = TELEX_WAIT_ADAPTIVE; /* also where the tests have one core */
    return waiter;
}

/* A wait in vain with a look each `step`: how long it tried, 0: it slept at once. */
static int64_t tried(struct telex_waiter *waiter, int64_t step)
{
    struct telex_pause pause;
    int64_t now = 1000000;
    telex_pause_begin(&pause, waiter);
    while (telex_pause_again(&pause, now))
        now += step;
    return now - 1000000;
}

static void won(struct telex_waiter *waiter)
{
    struct telex_pause pause;
    telex_pause_begin(&pause, waiter);
    telex_pause_again(&pause, 1000000);
    telex_pause_won(&pause);
}

/* Waits that sleep at once until the next probe. */
static unsigned skipped(struct telex_waiter *waiter)
{
    unsigned count = 0;
    while (tried(waiter, US) == 0)
        if (++count > 5000)
            break;
    return count;
}

static void tries_as_long_as_a_sleep_costs(void **state)
{
    (void)state;
    struct telex_waiter waiter = adaptive();
    int64_t long_ago = tried(&waiter, US);
    assert_true(long_ago >= 20 * US && long_ago <= 100 * US);
}

static void learns_that_it_is_in_vain(void **state)
{
    (void)state;
    struct telex_waiter waiter = adaptive();
    tried(&waiter, US);
    unsigned before = skipped(&waiter), now;
    for (int i = 0; i < 8; i++, before = now) {
        now = skipped(&waiter);
        assert_true(now > before); /* sleeps at once for longer and longer */
    }
    for (int i = 0; i < 10; i++)
        now = skipped(&waiter);
    assert_true(now >= 500 && now <= 5000); /* and still probes now and then */
}

static void a_lost_core_ends_it(void **state)
{
    (void)state;
    struct telex_waiter waiter = adaptive();
    assert_int_equal(tried(&waiter, 30 * US), 30 * US); /* the first gap as long as that */
    assert_int_equal(tried(&waiter, US), 0);
}

static void success_is_learned_again(void **state)
{
    (void)state;
    struct telex_waiter waiter = adaptive();
    for (int i = 0; i < 9; i++)
        skipped(&waiter);
    unsigned bad = skipped(&waiter);
    while (tried(&waiter, US) == 0)
        ;
    waiter.skip = 0;
    for (int i = 0; i < 400; i++)
        won(&waiter);
    tried(&waiter, US);
    assert_true(skipped(&waiter) < bad / 8);
}

static void the_other_modes(void **state)
{
    (void)state;
    struct telex_waiter waiter = adaptive();
    waiter.mode = TELEX_WAIT_BLOCK;
    assert_int_equal(tried(&waiter, US), 0);
    waiter.mode = TELEX_WAIT_SPIN;
    struct telex_pause pause;
    telex_pause_begin(&pause, &waiter);
    for (int64_t now = 1; now < 3600ll * 1000000000; now += 1000000000)
        assert_true(telex_pause_again(&pause, now));
}

static const struct testing_case cases[] = {
    TESTING_CASE(tries_as_long_as_a_sleep_costs), TESTING_CASE(learns_that_it_is_in_vain),
    TESTING_CASE(a_lost_core_ends_it),            TESTING_CASE(success_is_learned_again),
    TESTING_CASE(the_other_modes),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "waiter", cases, sizeof cases / sizeof *cases);
}
