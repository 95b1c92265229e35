/* SPDX-License-Identifier: MIT */
/* wire=raw: bytes as they come. */
#include <errno.h>
#include <string.h>

#include "base/reason.h"
#include "unit/testing.h"
#include "wire/wire.h"

static const struct telex_wire *const wire = &telex_wire_raw;

static void whatever_has_come(void **state)
{
    (void)state;
    struct telex_decoder decoder = {0};
    struct telex_frame frame;
    assert_int_equal(wire->decode(&decoder, (const uint8_t *)"", 0, false, &frame), -EAGAIN);
    for (size_t length = 1; length < 9; length++) {
        assert_int_equal(wire->decode(&decoder, (const uint8_t *)"\0\n\xFF\r\n text", length, length % 2, &frame), 0);
        assert_int_equal(frame.kind, TELEX_FRAME_DATA);
        assert_int_equal(frame.head | frame.tail, 0);
        assert_int_equal(frame.body, length);
        assert_int_equal(frame.flags | frame.lane | frame.type, 0);
        assert_true(frame.first);
    }
}

static void check(void **state)
{
    (void)state;
    telex_message message = telex_binary("\0\n\r", 3);
    assert_good(wire->check(&message));
    message = telex_text("text\n");
    assert_good(wire->check(&message));
    message.lane = 1;
    assert_int_equal(wire->check(&message), -EOPNOTSUPP);
    message.lane = 0;
    message.type = 1;
    assert_int_equal(wire->check(&message), -EOPNOTSUPP);
    message = telex_text("");
    assert_int_equal(wire->check(&message), -EINVAL);
    assert_non_null(strstr(telex_said(), "no empty messages"));
}

static void written(void **state)
{
    (void)state;
    struct telex_frame frame = {.kind = TELEX_FRAME_DATA, .body = 5, .number = 1, .first = true};
    uint8_t to[TELEX_WIRE_HEAD];
    assert_int_equal(wire->head(&frame, to), 0);
    assert_int_equal(wire->tail_length, 0);
}

static const struct testing_case cases[] = {
    TESTING_CASE(whatever_has_come),
    TESTING_CASE(check),
    TESTING_CASE(written),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "wire_raw", cases, sizeof cases / sizeof *cases);
}
