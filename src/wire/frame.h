/* SPDX-License-Identifier: MIT */
/* The header of every frame of wire=telex: docs/wire.md. Inline for the streams' quick ways, which read and write plain message frames themselves. */
#ifndef TELEX_WIRE_FRAME_H
#define TELEX_WIRE_FRAME_H

#include "base/bytes.h"
#include "wire/wire.h"

struct telex_frame_header {
    uint32_t size; /* of what follows the header */
    uint16_t type;
    uint8_t lane, flags;
    uint64_t number;
};

static inline void telex_frame_put(uint8_t *to, size_t size, unsigned type, unsigned lane, unsigned flags, uint64_t number)
{
    telex_put64(to, (uint32_t)size | (uint64_t)(type & 0xFFFF) << 32 | (uint64_t)(lane & 0xFF) << 48 | (uint64_t)flags << 56);
    telex_put64(to + 8, number);
}

static inline struct telex_frame_header telex_frame_get(const uint8_t *from)
{
    uint64_t what = telex_get64(from);
    return (struct telex_frame_header){(uint32_t)what, (uint16_t)(what >> 32), (uint8_t)(what >> 48), (uint8_t)(what >> 56), telex_get64(from + 8)};
}

#endif
