/* SPDX-License-Identifier: MIT */
/* wire=raw: the stream itself, for talking to programs that know nothing of messages. */
#include <errno.h>

#include "base/reason.h"
#include "wire/wire.h"

static int check(const telex_message *message)
{
    if (message->length == 0)
        return telex_say(-EINVAL, "wire=raw has no empty messages: there would be no byte to tell of one");
    if (message->type != 0 || message->lane != 0)
        return telex_say(-EOPNOTSUPP, "wire=raw has no types and no lanes; use wire=telex");
    return 0;
}

static int decode(struct telex_decoder *decoder, const uint8_t *bytes, size_t length, bool full, struct telex_frame *ret_frame)
{
    (void)decoder, (void)bytes, (void)full;
    if (length == 0)
        return -EAGAIN;
    *ret_frame = (struct telex_frame){.kind = TELEX_FRAME_DATA, .first = true, .body = length};
    return 0;
}

static size_t head(const struct telex_frame *frame, uint8_t *to)
{
    (void)frame, (void)to;
    return 0;
}

const struct telex_wire telex_wire_raw = {
    .name = "raw",
    .can = TELEX_CAN_BINARY | TELEX_CAN_TEXT,
    .check = check,
    .decode = decode,
    .head = head,
    .tail = "",
};
