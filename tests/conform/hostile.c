/* SPDX-License-Identifier: MIT */
/* Peers that lie: their channel ends with a reason, the process and its other channels live, and no memory is taken beyond the limits. */
#include "conform/victim.h"

/* ---- greetings ---- */

static void bad_greetings(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    for (int fault = 0; fault < 8; fault++) {
        struct bytes bytes = {.length = 0};
        put_greeting(&bytes);
        switch (fault) {
        case 0:
            memcpy(bytes.at, "GET / HT", 8);
            break;
        case 1:
            bytes.at[7] ^= 1;
            break;
        case 2:
            bytes.at[8] = bytes.at[10] = 9;
            break; /* versions 9 to 9 */
        case 3:
            bytes.at[8] = 0;
            break; /* version 0 */
        case 4:
            memset(bytes.at + 12, 0xff, 4);
            break; /* a length of 4 GiB */
        case 5:
            bytes.at[12] = 71;
            break;
        case 6:
            memset(bytes.at + 32, 0, 8);
            break; /* no window */
        default:   /* an item that it must know */
            bytes.at[12] = 76;
            put(&bytes, 99, 2);
            put(&bytes, 0, 2);
        }
        expect_end(shout(&victim, &bytes));
        victim_serves(&victim);
    }
    /* Half a greeting, then the end. */
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    bytes.length = 40;
    telex_close(shout(&victim, &bytes), TELEX_NOW, NULL);
    victim_close(&victim);
}

/* Who speaks other versions is greeted all the same, and told which are spoken here. */
static void other_versions_are_told(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    bytes.at[8] = 7;
    bytes.at[10] = 9;
    telex_channel *raw = shout(&victim, &bytes);
    static char heard[8192];
    size_t length = 0;
    telex_message message = {0};
    while (telex_receive(raw, &message, SECONDS(10)) == 0 && length + message.length < sizeof heard) {
        memcpy(heard + length, message.data, message.length);
        length += message.length;
    }
    telex_release(&message);
    telex_close(raw, TELEX_NOW, NULL);
    assert_true(length > 72 + 16 + 16);
    assert_memory_equal(heard, "telex\r\n\x1a", 8);
    size_t greeting = (unsigned char)heard[12] + 256u * (unsigned char)heard[13];
    const unsigned char *bye = (const unsigned char *)heard + greeting;
    assert_int_equal(bye[4], 7);   /* BYE */
    assert_int_equal(bye[6], 255); /* control */
    assert_int_equal(bye[16], 1);  /* no version in common */
    assert_non_null(memmem(bye + 32, length - greeting - 32, "7 to 9", 6));
    victim_close(&victim);
}

/* ---- frames ---- */

static void size_bomb(struct bytes *bytes)
{
    put_header(bytes, 0xffffffff, 0, 0, 0, 1);
}
static void too_long(struct bytes *bytes)
{
    put_header(bytes, 8 + 100, 0, 0, 16, 1); /* the first of several pieces; in all 1 TiB */
    put(bytes, UINT64_C(1) << 40, 8);
    bytes->length += 100;
}
static void reserved_flag(struct bytes *bytes)
{
    put_message(bytes, 0, 128, 1, "x");
}
static void optional_message(struct bytes *bytes)
{
    put_message(bytes, 0, 64, 1, "x");
}
static void call_and_reply(struct bytes *bytes)
{
    put_message(bytes, 0, 6, 1, "12345678");
}
static void number_zero(struct bytes *bytes)
{
    put_message(bytes, 0, 0, 0, "x");
}
static void numbers_fall(struct bytes *bytes)
{
    put_message(bytes, 0, 0, 5, "x");
    put_message(bytes, 0, 0, 5, "x");
}
static void not_utf8(struct bytes *bytes)
{
    put_message(bytes, 0, 1, 1, "\xff\xfe");
}
static void not_utf8_at_its_end(struct bytes *bytes)
{
    char text[1001];
    memset(text, 'a', 999);
    strcpy(text + 999, "\xff");
    put_message(bytes, 0, 1, 1, text);
}
static void not_utf8_in_pieces(struct bytes *bytes)
{
    put_header(bytes, 8 + 4, 0, 0, 16 | 1, 1);
    put(bytes, 10, 8);
    memcpy(bytes->at + bytes->length, "good", 4);
    bytes->length += 4;
    put_message(bytes, 0, 1, 1, "12345\xc3"); /* a character that never ends */
}
static void unknown_frame(struct bytes *bytes)
{
    put_header(bytes, 0, 99, 255, 0, 0);
}
static void unknown_extension(struct bytes *bytes)
{
    put_header(bytes, 4 + 4, 0, 0, 32, 1);
    put(bytes, 4, 4);
    put(bytes, 77, 2);
    put(bytes, 0, 2);
}
static void descriptors_that_did_not_come(struct bytes *bytes)
{
    put_header(bytes, 4 + 8, 0, 0, 32, 1);
    put(bytes, 8, 4);
    put(bytes, 1, 2);
    put(bytes, 4, 2);
    put(bytes, 3, 4);
}
static void pieces_do_not_add_up(struct bytes *bytes)
{
    put_header(bytes, 8 + 4, 0, 0, 16, 1);
    put(bytes, 10, 8);
    put(bytes, 0, 4);
    put_message(bytes, 0, 0, 1, "12345");
}
static void pieces_are_mixed(struct bytes *bytes)
{
    put_header(bytes, 8 + 4, 0, 0, 16, 1);
    put(bytes, 10, 8);
    put(bytes, 0, 4);
    put_message(bytes, 0, 0, 2, "123456");
}
static void too_much_at_once(struct bytes *bytes)
{
    for (unsigned lane = 0; lane < 3; lane++) { /* three messages of 7 MB midway; 16 MiB is the most */
        put_header(bytes, 8 + 4, 0, lane, 16, lane + 1);
        put(bytes, 7000000, 8);
        put(bytes, 0, 4);
    }
}
static void took_what_was_not_sent(struct bytes *bytes)
{
    put_header(bytes, 16, 1, 255, 0, 1000);
    put(bytes, 1000, 8);
    put(bytes, 0, 8);
}
static void strange_outcome(struct bytes *bytes)
{
    put_header(bytes, 4, 4, 255, 0, 1);
    put(bytes, 7, 4);
}
static void goes_on_after_bye(struct bytes *bytes)
{
    put_header(bytes, 16, 7, 255, 0, 0);
    put(bytes, 0, 8);
    put(bytes, 0, 8);
    put_message(bytes, 0, 0, 1, "x");
}
static void long_control(struct bytes *bytes)
{
    put_header(bytes, 5000, 6, 255, 0, 1);
}

static const struct {
    const char *part; /* of the sentence */
    void (*write)(struct bytes *bytes);
} lies[] = {
    {"bytes", size_bomb},
    {"at most", too_long},
    {"flags", reserved_flag},
    {"flags", optional_message},
    {"both a call and a reply", call_and_reply},
    {"number 0", number_zero},
    {"must rise", numbers_fall},
    {"UTF-8", not_utf8},
    {"UTF-8", not_utf8_at_its_end},
    {"UTF-8", not_utf8_in_pieces},
    {"not known here", unknown_frame},
    {"not known here", unknown_extension},
    {"descriptors", descriptors_that_did_not_come},
    {"add up", pieces_do_not_add_up},
    {"mixes", pieces_are_mixed},
    {"several lanes", too_much_at_once},
    {"only", took_what_was_not_sent},
    {"outcome 7", strange_outcome},
    {"goodbye", goes_on_after_bye},
    {"control frame", long_control},
};

static void bad_frames(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        if (lies[i].write == goes_on_after_bye && ((const struct conform_setup *)*state)->medium->faulty)
            continue; /* who reads the goodbye alone has hung up before the rest comes */
        struct bytes bytes = {.length = 0};
        put_greeting(&bytes);
        lies[i].write(&bytes);
        telex_channel *raw = shout(&victim, &bytes);
        expect_end(raw);
        victim_says(&victim, -EPROTO, lies[i].part);
        victim_serves(&victim);
    }
    victim_close(&victim);
}

static void unknown_but_optional(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    put_header(&bytes, 3000, 99, 255, 64, 0); /* skipped */
    bytes.length += 3000;
    put_header(&bytes, 8, 0, 0, 2, 1); /* a call, answered as ever */
    put(&bytes, 0x3837363534333231, 8);
    put_header(&bytes, 16, 7, 255, 0, 0); /* bye */
    put(&bytes, 0, 8);
    put(&bytes, 0, 8);
    expect_end(shout(&victim, &bytes));
    victim_says(&victim, -EPIPE, "closed");
    victim_close(&victim);
}

static void cut_off(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    put_header(&bytes, 1000, 0, 0, 2, 1);
    bytes.length += 300;
    telex_channel *raw = shout(&victim, &bytes);
    nap(20);
    telex_close(raw, TELEX_NOW, NULL);
    victim_says(&victim, -ECONNRESET, "goodbye");
    victim_close(&victim);
}

/* Wherever the connection is cut, both sides end with a reason, whole messages arrive or none, and the server lives. */
static void cut_anywhere(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    char address[600];
    snprintf(address, sizeof address, "fault+%s&fault=cut:", victim.address);
    size_t length = strlen(address);
    for (unsigned at = 1; at < 600; at += is_short() ? 37 : 5) {
        snprintf(address + length, sizeof address - length, "%u", at);
        telex_channel *channel = NULL;
        telex_message request = telex_text("to be or not"), reply = {0};
        int r = telex_dial(address, NULL, SECONDS(10), &channel);
        for (int i = 0; r == 0 && i < 10; i++) {
            r = telex_call(channel, &request, &reply, SECONDS(10));
            if (r == 0) {
                assert_int_equal(reply.length, request.length);
                assert_memory_equal(reply.data, request.data, reply.length);
            }
        }
        assert_true(r == 0 || r == -ECONNRESET || r == -EPIPE);
        telex_release(&reply);
        telex_close(channel, SECONDS(1), NULL);
        victim_serves(&victim);
    }
    victim_close(&victim);
}

/* ---- lines ---- */

static void a_line_that_does_not_end(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "max=100000");
    struct bytes bytes = {.length = 8000};
    memset(bytes.at, 'a', 8000);
    telex_channel *raw = shout(&victim, &bytes);
    int r = 0;
    for (int i = 0; i < 200 && r == 0; i++) {
        telex_message message = telex_binary(bytes.at, bytes.length);
        r = telex_send(raw, &message, 0, SECONDS(5));
        nap(1);
    }
    expect_end(raw);
    victim_says(&victim, -EPROTO, "100000");
    victim_serves(&victim);

    bytes.length = 0;
    memcpy(bytes.at, "\xff\xff\n", 3);
    bytes.length = 3;
    expect_end(shout(&victim, &bytes));
    victim_says(&victim, -EPROTO, "UTF-8");
    victim_close(&victim);
}

static const struct conform_case cases[] = {
    {"bad_greetings", bad_greetings, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 40},
    {"other_versions_are_told", other_versions_are_told, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 0},
    {"bad_frames", bad_frames, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 40},
    {"unknown_but_optional", unknown_but_optional, ON_TELEX, BYTE_STREAMS | MANY_PEERS, 0},
    {"cut_anywhere", cut_anywhere, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 60},
    {"cut_off", cut_off, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"a_line_that_does_not_end", a_line_that_does_not_end, ON_LINES, NO_FAULTS | MANY_PEERS, 0},
};

const struct conform_theme conform_hostile = {cases, sizeof cases / sizeof *cases};
