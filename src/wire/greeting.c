/* SPDX-License-Identifier: MIT */
/* The greeting of wire=telex: 72 fixed bytes, then TLVs; docs/wire.md defines every byte. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/reason.h"
#include "base/utf8.h"
#include "wire/wire.h"

static const uint8_t magic[8] = {'t', 'e', 'l', 'e', 'x', '\r', '\n', 0x1A};

enum {
    AT_LOWEST = 8,
    AT_HIGHEST = 10,
    AT_LENGTH = 12,
    AT_FEATURES = 16,
    AT_DESCRIPTORS = 20,
    AT_MAX = 24,
    AT_WINDOW = 32,
    AT_QUEUE = 40,
    AT_FIXED = 48,
    AT_LIFE = 56,
    TLV_HEADER = 4,
    TLV_OPTIONAL = 0x8000,
    TLV_PROTOCOL_NAME = 1, /* 1 to 4 speak of protocols */
    TLV_ROLE = 4,
    TLV_PROGRAM = 5,
    TLV_PID = 6,
};

static uint8_t *put_tlv(uint8_t *at, unsigned type, const void *value, size_t length)
{
    telex_put16(at, (uint16_t)(type | TLV_OPTIONAL));
    telex_put16(at + 2, (uint16_t)length);
    memcpy(at + TLV_HEADER, value, length);
    return at + TLV_HEADER + length;
}

size_t telex_greeting_encode(const struct telex_greeting *greeting, uint8_t *to)
{
    memcpy(to, magic, sizeof magic);
    telex_put16(to + AT_LOWEST, greeting->lowest);
    telex_put16(to + AT_HIGHEST, greeting->highest);
    telex_put32(to + AT_FEATURES, greeting->features);
    telex_put32(to + AT_DESCRIPTORS, greeting->descriptors);
    telex_put64(to + AT_MAX, greeting->max);
    telex_put64(to + AT_WINDOW, greeting->window);
    telex_put64(to + AT_QUEUE, greeting->queue);
    telex_put64(to + AT_FIXED, greeting->fixed);
    memcpy(to + AT_LIFE, greeting->life, sizeof greeting->life);
    uint8_t *at = to + TELEX_GREETING_FIXED;
    size_t program = strnlen(greeting->program, sizeof greeting->program - 1);
    if (program > 0)
        at = put_tlv(at, TLV_PROGRAM, greeting->program, program);
    if (greeting->pid >= 0) {
        uint8_t pid[8];
        telex_put64(pid, (uint64_t)greeting->pid);
        at = put_tlv(at, TLV_PID, pid, sizeof pid);
    }
    size_t length = (size_t)(at - to);
    telex_put32(to + AT_LENGTH, (uint32_t)length);
    return length;
}

static int read_tlv(unsigned type, bool optional, const uint8_t *value, size_t length, struct telex_greeting *greeting)
{
    if (type == TLV_PROGRAM) {
        if (length >= sizeof greeting->program || !telex_utf8_valid(value, length) || memchr(value, 0, length) != NULL)
            return telex_say(-EPROTO, "the peer's greeting has a program name that is too long or no text");
        memcpy(greeting->program, value, length);
        greeting->program[length] = '\0';
        return 0;
    }
    if (type == TLV_PID) {
        if (length != 8)
            return telex_say(-EPROTO, "the peer's greeting has a process number of %zu bytes; it has 8", length);
        greeting->pid = (int64_t)(telex_get64(value) & INT64_MAX);
        return 0;
    }
    if (optional)
        return 0;
    if (type == TLV_PROTOCOL_NAME && telex_utf8_valid(value, length))
        return telex_say(-EPROTO, "the peer insists on protocol %.*s, and this side speaks none", (int)length, (const char *)value);
    if (type >= TLV_PROTOCOL_NAME && type <= TLV_ROLE)
        return telex_say(-EPROTO, "the peer insists on a protocol, and this side speaks none");
    return telex_say(-EPROTO, "the peer's greeting insists on item %u, which is not known here", type);
}

/* Reads the items of `length` bytes, of which `there` have come. Each is judged as soon as it is there. */
static int read_tlvs(const uint8_t *at, size_t length, size_t there, struct telex_greeting *greeting)
{
    uint8_t seen[TLV_OPTIONAL / 8] = {0};
    while (length > 0) {
        if (length < TLV_HEADER)
            return telex_say(-EPROTO, "the peer's greeting ends in the middle of an item");
        if (there < TLV_HEADER)
            return -EAGAIN;
        unsigned given = telex_get16(at), type = given & ~(unsigned)TLV_OPTIONAL;
        size_t size = TLV_HEADER + (size_t)telex_get16(at + 2);
        if (size > length)
            return telex_say(-EPROTO, "the peer's greeting ends in the middle of item %u", type);
        if (seen[type / 8] & 1u << type % 8)
            return telex_say(-EPROTO, "the peer's greeting has item %u twice", type);
        seen[type / 8] = (uint8_t)(seen[type / 8] | 1u << type % 8);
        if (there < size)
            return -EAGAIN;
        int r = read_tlv(type, (given & TLV_OPTIONAL) != 0, at + TLV_HEADER, size - TLV_HEADER, greeting);
        if (r < 0)
            return r;
        at += size;
        length -= size;
        there -= size;
    }
    return 0;
}

static int check_magic(const uint8_t *bytes, size_t there)
{
    if (memcmp(bytes, magic, there < sizeof magic ? there : sizeof magic) == 0)
        return 0;
    return telex_say(-EPROTO, "the peer does not speak wire=telex: it begins with other bytes than a greeting");
}

static int check_versions(const uint8_t *bytes)
{
    unsigned lowest = telex_get16(bytes + AT_LOWEST), highest = telex_get16(bytes + AT_HIGHEST);
    if (lowest >= 1 && lowest <= highest)
        return 0;
    return telex_say(-EPROTO, "the peer's greeting speaks versions %u to %u, which is no range of versions", lowest, highest);
}

static int check_length(const uint8_t *bytes)
{
    uint32_t length = telex_get32(bytes + AT_LENGTH);
    if (length >= TELEX_GREETING_FIXED && length <= TELEX_GREETING_MAX)
        return 0;
    return telex_say(-EPROTO, "the peer's greeting says it has %u bytes; it has %d to %d", length, TELEX_GREETING_FIXED,
                     TELEX_GREETING_MAX);
}

static int check_window(const uint8_t *bytes)
{
    uint64_t window = telex_get64(bytes + AT_WINDOW);
    if (window >= TELEX_WINDOW_LEAST)
        return 0;
    return telex_say(-EPROTO, "the peer's greeting has a window of %llu bytes; it has at least %d", (unsigned long long)window,
                     TELEX_WINDOW_LEAST);
}

/* Judges what has come of the fixed part. */
static int check_fixed(const uint8_t *bytes, size_t there)
{
    static const struct {
        size_t needs; /* bytes from the start */
        int (*check)(const uint8_t *bytes);
    } checks[] = {{AT_LENGTH, check_versions}, {AT_FEATURES, check_length}, {AT_QUEUE, check_window}};
    int r = check_magic(bytes, there);
    for (size_t i = 0; r == 0 && i < sizeof checks / sizeof *checks; i++)
        r = there >= checks[i].needs ? checks[i].check(bytes) : -EAGAIN;
    return r == 0 && there < TELEX_GREETING_FIXED ? -EAGAIN : r;
}

int telex_greeting_decode(const uint8_t *bytes, size_t length, struct telex_greeting *ret_greeting, size_t *ret_length)
{
    int r = check_fixed(bytes, length);
    if (r < 0)
        return r;
    struct telex_greeting greeting = {
        .lowest = telex_get16(bytes + AT_LOWEST),
        .highest = telex_get16(bytes + AT_HIGHEST),
        .features = telex_get32(bytes + AT_FEATURES),
        .descriptors = telex_get32(bytes + AT_DESCRIPTORS),
        .max = telex_get64(bytes + AT_MAX),
        .window = telex_get64(bytes + AT_WINDOW),
        .queue = telex_get64(bytes + AT_QUEUE),
        .fixed = telex_get64(bytes + AT_FIXED),
        .pid = -1,
    };
    memcpy(greeting.life, bytes + AT_LIFE, sizeof greeting.life);
    size_t whole = telex_get32(bytes + AT_LENGTH);
    r = read_tlvs(bytes + TELEX_GREETING_FIXED, whole - TELEX_GREETING_FIXED, length - TELEX_GREETING_FIXED, &greeting);
    if (r < 0)
        return r;
    *ret_greeting = greeting;
    *ret_length = whole;
    return 0;
}

int telex_greeting_agree(const struct telex_greeting *ours, const struct telex_greeting *theirs)
{
    uint16_t version = ours->highest < theirs->highest ? ours->highest : theirs->highest;
    if (version >= ours->lowest && version >= theirs->lowest)
        return version;
    return telex_say(-EPROTONOSUPPORT, "one side speaks versions %u to %u of wire=telex, the other %u to %u", ours->lowest,
                     ours->highest, theirs->lowest, theirs->highest);
}
