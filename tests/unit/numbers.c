/* SPDX-License-Identifier: MIT */
/* The table of things by number, against a plain array; and the list. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/numbers.h"
#include "unit/testing.h"

enum { THINGS = 3000, STEPS = 200000 };

struct thing {
    struct telex_numbered numbered;
    struct telex_node node;
    bool there;
};

static void finds_what_is_there(void **state)
{
    (void)state;
    static struct thing things[THINGS];
    struct telex_numbers numbers = {0};
    srand(5);
    size_t count = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        /* Few at first, then many, then few: through growing and the inner buckets. */
        unsigned range = step < STEPS / 4 ? 6 : THINGS, which = (unsigned)rand() % range;
        struct thing *thing = &things[which];
        uint64_t number = which * UINT64_C(1024) + 7; /* all in one bucket for long */
        struct telex_numbered *found = telex_numbers_find(&numbers, number);
        assert_ptr_equal(found, thing->there ? &thing->numbered : NULL);
        if (thing->there) {
            telex_numbers_remove(&numbers, &thing->numbered);
        } else {
            thing->numbered.number = number;
            telex_numbers_add(&numbers, &thing->numbered);
        }
        thing->there = !thing->there;
        count += thing->there ? 1 : (size_t)-1;
        assert_int_equal(numbers.count, count);
    }
    assert_null(telex_numbers_find(&numbers, 3));
    telex_numbers_deinit(&numbers);
    assert_null(telex_numbers_find(&numbers, 7));
}

static void lists_keep_their_order(void **state)
{
    (void)state;
    static struct thing things[5];
    struct telex_node list;
    telex_list_init(&list);
    assert_null(telex_list_first(&list));
    for (int i = 0; i < 5; i++)
        telex_list_append(&list, &things[i].node);
    telex_list_remove(&things[2].node);
    telex_list_remove(&things[0].node);
    telex_list_remove(&things[4].node);
    assert_ptr_equal(TELEX_OF(telex_list_first(&list), struct thing, node), &things[1]);
    telex_list_append(&list, &things[0].node);
    telex_list_remove(&things[1].node);
    assert_ptr_equal(telex_list_first(&list), &things[3].node);
    telex_list_remove(&things[3].node);
    assert_ptr_equal(telex_list_first(&list), &things[0].node);
    telex_list_remove(&things[0].node);
    assert_null(telex_list_first(&list));
}

static const struct testing_case cases[] = {
    TESTING_CASE(finds_what_is_there),
    TESTING_CASE(lists_keep_their_order),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "numbers", cases, sizeof cases / sizeof *cases);
}
