/* SPDX-License-Identifier: MIT */
/* Addresses and options: what is understood, what is refused, and that the sentence names the part at fault. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/reason.h"
#include "medium/address.h"
#include "unit/testing.h"
#include "wire/wire.h"

static struct telex_address parsed(const char *text, const telex_options *options)
{
    struct telex_address address;
    if (telex_address_parse(text, options, &address) != 0)
        fail_msg("%s: %s", text, telex_said());
    return address;
}

/* Refused with -EINVAL and a sentence that contains `words`; the output is not touched. */
static void refused(const char *text, const telex_options *options, const char *words)
{
    struct telex_address address, before;
    memset(&address, 0x5A, sizeof address);
    before = address;
    telex_say(-1, "nothing was said");
    assert_int_equal(telex_address_parse(text, options, &address), -EINVAL);
    if (strstr(telex_said(), words) == NULL)
        fail_msg("\"%s\": \"%s\" does not speak of \"%s\"", text, telex_said(), words);
    assert_memory_equal(&address, &before, sizeof address);
}

static void parts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *where;
        bool faulty;
    } good[] = {
        {"unix:///tmp/x", "unix", "/tmp/x", false},
        {"unix://@name", "unix", "@name", false},
        {"tcp://[::1]:7000", "tcp", "[::1]:7000", false},
        {"fault+tcp://127.0.0.1:0", "tcp", "127.0.0.1:0", true},
        {"unix:///a%20b%3Fc%25d%c3%A9", "unix", "/a b?c%d\xC3\xA9", false},
        {"shm://", "shm", "", false},
        {"fd:3,4", "fd", "3,4", false},
        {"fd:3,-?wire=raw", "fd", "3,-", false},
        {"fault+fd:3", "fd", "3", true},
        {"stdio:", "stdio", "", false},
        {"stdio:?max=1MiB", "stdio", "", false},
        {"unix:///a&b=c", "unix", "/a&b=c", false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct telex_address address = parsed(good[i].text, NULL);
        assert_string_equal(address.scheme, good[i].scheme);
        assert_string_equal(address.where, good[i].where);
        assert_int_equal(address.faulty, good[i].faulty);
    }
}

static void defaults(void **state)
{
    (void)state;
    struct telex_settings settings = parsed("unix:///x", NULL).settings;
    assert_ptr_equal(settings.wire, &telex_wire_telex);
    assert_int_equal(settings.max, 16 << 20);
    assert_true(settings.fixed == UINT64_MAX);
    assert_int_equal(settings.buffer, 1 << 20);
    assert_int_equal(settings.window, 1 << 20);
    assert_int_equal(settings.queue, 0);
    assert_true(settings.greeting == INT64_C(10000000000));
    assert_true(settings.keepalive == INT64_C(40000000000));
    assert_int_equal(settings.wait, TELEX_WAIT_ADAPTIVE);
    assert_int_equal(settings.full, TELEX_FULL_WAIT);
    assert_int_equal(settings.mode, 0600);
    assert_int_equal(settings.descriptors, 0);
    assert_int_equal(settings.pending, 1024);
    assert_true(settings.program[0] != '\0');
    assert_string_equal(settings.fault, "");
}

static void query(void **state)
{
    (void)state;
    struct telex_settings settings =
        parsed("fault+unix:///x?wire=lines&max=1MiB&size=64&buffer=2kB&window=256KiB&queue=8&greeting=500ms&keepalive=1min&wait=block"
               "&full=drop-oldest&mode=0660&descriptors=3&pending=7&program=caf%C3%A9&fault=split:1,seed:3&flush=helper",
               NULL)
            .settings;
    assert_ptr_equal(settings.wire, &telex_wire_lines);
    assert_int_equal(settings.max, 1 << 20);
    assert_int_equal(settings.fixed, 64);
    assert_int_equal(settings.buffer, 2000);
    assert_int_equal(settings.window, 262144);
    assert_int_equal(settings.queue, 8);
    assert_int_equal(settings.greeting, 500000000);
    assert_true(settings.keepalive == INT64_C(60000000000));
    assert_int_equal(settings.wait, TELEX_WAIT_BLOCK);
    assert_int_equal(settings.full, TELEX_FULL_DROP_OLDEST);
    assert_int_equal(settings.mode, 0660);
    assert_int_equal(settings.descriptors, 3);
    assert_int_equal(settings.pending, 7);
    assert_string_equal(settings.program, "caf\xC3\xA9");
    assert_string_equal(settings.fault, "split:1,seed:3");
    assert_true(parsed("unix:///x?size=0", NULL).settings.fixed == UINT64_MAX);
    assert_int_equal(parsed("unix:///x?wait=spin", NULL).settings.wait, TELEX_WAIT_SPIN);
    assert_int_equal(parsed("unix:///x?full=drop-newest", NULL).settings.full, TELEX_FULL_DROP_NEWEST);
    assert_int_equal(parsed("unix:///x?full=fail", NULL).settings.full, TELEX_FULL_FAIL);
    assert_ptr_equal(parsed("unix:///x?wire=raw", NULL).settings.wire, &telex_wire_raw);
}

static void structure(void **state)
{
    (void)state;
    telex_options options = {.size = sizeof options,
                             .wire = "raw",
                             .max = 5000,
                             .fixed = 70,
                             .buffer = 1,
                             .window = 131072,
                             .queue = 9,
                             .greeting = 1,
                             .keepalive = INT64_C(5000000000),
                             .wait = TELEX_WAIT_SPIN,
                             .full = TELEX_FULL_FAIL,
                             .mode = 0640,
                             .descriptors = 64,
                             .pending = 1,
                             .program = "me",
                             .fault = "cut:10"};
    struct telex_settings settings = parsed("fault+tcp://x:1", &options).settings;
    assert_ptr_equal(settings.wire, &telex_wire_raw);
    assert_int_equal(settings.max, 5000);
    assert_int_equal(settings.fixed, 70);
    assert_int_equal(settings.buffer, 1);
    assert_int_equal(settings.window, 131072);
    assert_int_equal(settings.queue, 9);
    assert_int_equal(settings.greeting, 1);
    assert_true(settings.keepalive == INT64_C(5000000000));
    assert_int_equal(settings.wait, TELEX_WAIT_SPIN);
    assert_int_equal(settings.full, TELEX_FULL_FAIL);
    assert_int_equal(settings.mode, 0640);
    assert_int_equal(settings.descriptors, 64);
    assert_int_equal(settings.pending, 1);
    assert_string_equal(settings.program, "me");
    assert_string_equal(settings.fault, "cut:10");

    /* The address wins. */
    settings = parsed("fault+tcp://x:1?wire=telex&max=100&wait=block&program=you", &options).settings;
    assert_ptr_equal(settings.wire, &telex_wire_telex);
    assert_int_equal(settings.max, 100);
    assert_int_equal(settings.wait, TELEX_WAIT_BLOCK);
    assert_string_equal(settings.program, "you");
    assert_int_equal(settings.queue, 9);
}

/* A struct of an earlier version is shorter; of a later one longer, with zeroes in what this version does not know. */
static void versions(void **state)
{
    (void)state;
    telex_options small = {.size = offsetof(telex_options, fixed), .max = 5000, .fixed = 70};
    struct telex_settings settings = parsed("unix:///x", &small).settings;
    assert_int_equal(settings.max, 5000);
    assert_true(settings.fixed == UINT64_MAX);

    struct {
        telex_options options;
        uint64_t more[2];
    } later = {.options = {.size = sizeof later, .max = 5000}};
    assert_int_equal(parsed("unix:///x", &later.options).settings.max, 5000);
    later.more[1] = 1;
    refused("unix:///x", &later.options, "does not know");

    refused("unix:///x", &(telex_options){0}, "telex_options.size");
    refused("unix:///x", &(telex_options){.size = sizeof(telex_options), .room = {[3] = 1}}, "room");
}

static void bad_structs(void **state)
{
    (void)state;
    size_t size = sizeof(telex_options);
    refused("unix:///x", &(telex_options){.size = size, .wire = "morse"}, "wire=morse");
    refused("unix:///x", &(telex_options){.size = size, .max = UINT64_C(1) << 32}, "max=4294967296");
    refused("unix:///x", &(telex_options){.size = size, .greeting = -1}, "greeting=");
    refused("unix:///x", &(telex_options){.size = size, .wait = 4}, "wait=4");
    refused("unix:///x", &(telex_options){.size = size, .full = 5}, "full=5");
    refused("unix:///x", &(telex_options){.size = size, .flush = 3}, "flush=3");
    refused("unix:///x", &(telex_options){.size = size, .mode = 01000}, "mode=1000");
    refused("unix:///x", &(telex_options){.size = size, .descriptors = 65}, "descriptors=65");
    refused("unix:///x", &(telex_options){.size = size, .fault = "split:1"}, "fault+unix://");
    refused("unix:///x", &(telex_options){.size = size, .program = "a\nb"}, "control character");
}

static void bad_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {NULL, "NULL"},
        {"", "SCHEME://WHERE"},
        {"/tmp/x", "/tmp/x"},
        {"unix:/tmp/x", "SCHEME://WHERE"},
        {"://x", "SCHEME://WHERE"},
        {"UNIX:///x", "small letters"},
        {"fault+://x", "no medium"},
        {"averyveryverylongscheme://x", "averyveryverylongscheme"},
        {"unix:///a%2", "hexadecimal"},
        {"unix:///a%", "hexadecimal"},
        {"unix:///a%zz", "hexadecimal"},
        {"unix:///a%00b", "zero byte"},
        {"unix:///x?", "NAME=VALUE"},
        {"unix:///x?max", "\"max\""},
        {"unix:///x?max=1&", "NAME=VALUE"},
        {"unix:///x?max=1&&size=1", "NAME=VALUE"},
        {"unix:///x?maxx=1", "maxx"},
        {"unix:///x?maxx=1", "wire, max, size, buffer, window, queue, ring, arena, prefault, trust, greeting, keepalive, wait, full, mode, "
                             "descriptors, "
                             "pending, program, fault, flush"},
        {"unix:///x?=1", "\"\""},
        {"unix:///x?max=1&max=2", "max is given twice"},
        {"unix:///x?max=", "max="},
        {"unix:///x?max=0", "max=0"},
        {"unix:///x?max=4GiB", "max=4294967296"},
        {"unix:///x?max=1MiBi", "max=1MiBi"},
        {"unix:///x?max=%zz", "option max"},
        {"unix:///x?max=-1", "max=-1"},
        {"unix:///x?size=2&max=1", "size=2"},
        {"unix:///x?buffer=0", "buffer=0"},
        {"unix:///x?window=131071", "window=131071"},
        {"unix:///x?queue=1KiB", "queue=1KiB"},
        {"unix:///x?queue=99999999999999999999", "queue="},
        {"unix:///x?greeting=10", "greeting=10"},
        {"unix:///x?greeting=0s", "greeting=0ns"},
        {"tcp://x:1?keepalive=3s", "keepalive=3000000000ns"},
        {"unix:///x?wait=sleep", "adaptive, spin, block"},
        {"unix:///x?full=drop", "wait, fail, drop-newest, drop-oldest"},
        {"unix:///x?mode=0888", "mode=0888"},
        {"unix:///x?mode=1777", "mode=1777"},
        {"unix:///x?descriptors=65", "descriptors=65"},
        {"unix:///x?pending=0", "pending=0"},
        {"unix:///x?wire=morse", "telex, lines and raw"},
        {"unix:///x?program=%FF", "UTF-8"},
        {"unix:///x?program=0123456789012345678901234567890123456789012345678901234567890123", "63 bytes"},
        {"unix:///x?fault=split:1", "fault+unix://"},
        {"unix:///x?flush=never", "call, helper"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].text, NULL, bad[i].words);
}

static void lengths(void **state)
{
    (void)state;
    char text[2 * TELEX_ADDRESS_MAX] = "unix:///";
    memset(text + strlen(text), 'x', TELEX_ADDRESS_MAX - 2);
    assert_int_equal(strlen(parsed(text, NULL).where), TELEX_ADDRESS_MAX - 1);
    strcat(text, "x");
    refused(text, NULL, "too long");
    strcpy(text, "unix:///x?program=");
    memset(text + strlen(text), 'x', TELEX_ADDRESS_MAX);
    refused(text, NULL, "too long");
}

static void hosts(void **state)
{
    (void)state;
    static const struct {
        const char *where, *host;
        unsigned port;
    } good[] = {
        {"127.0.0.1:7000", "127.0.0.1", 7000},   {"[::1]:0", "::1", 0}, {"[fe80::1%lo]:1", "fe80::1%lo", 1},
        {"localhost:65535", "localhost", 65535}, {":7000", "", 7000},   {"*:80", "*", 80},
    };
    char host[32];
    uint16_t port;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(telex_address_host_port(good[i].where, host, sizeof host, &port), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    static const char *const bad[] = {"",
                                      "host",
                                      "host:",
                                      "host:x",
                                      "host:65536",
                                      "host:-1",
                                      "host:1x",
                                      "::1:80",
                                      "[::1]",
                                      "[::1]80",
                                      "[::1:80",
                                      "[host]:80",
                                      "[::zz]:80",
                                      "host: 1",
                                      "host:+1",
                                      "1234567890123456789012345678901234:1",
                                      "host:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        telex_say(-1, "nothing was said");
        assert_int_equal(telex_address_host_port(bad[i], host, sizeof host, &port), -EINVAL);
        assert_string_not_equal(telex_said(), "nothing was said");
    }
}

/* What is written is read back. */
static void written(void **state)
{
    (void)state;
    char where[260] = "/", text[1024];
    for (int byte = 1; byte < 256; byte++)
        where[byte] = (char)byte;
    telex_address_write("unix", where, text, sizeof text);
    assert_null(strpbrk(text, " \n?"));
    assert_string_equal(parsed(text, NULL).where, where);
    for (size_t size = 8; size < 64; size++)
        assert_true(strlen(telex_address_write("unix", where, text, size)) < size);
}

/* Numbers of descriptors, and which schemes have no slashes. */
static void descriptors(void **state)
{
    (void)state;
    static const struct {
        const char *where;
        int in, out;
    } good[] = {{"3,4", 3, 4}, {"0,1", 0, 1}, {"3", 3, 3}, {"3,-", 3, -1}, {"-,4", -1, 4}, {"7,7", 7, 7}, {"2147483647,0", 2147483647, 0}};
    static const char *const bad[] = {"", ",", "3,", ",4", "-", "-,-", "3,4,5", "3, 4", "+3,4", "-1,4", "a,b", "2147483648", "99999999999999999999", "3,4 "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int in = 99, out = 99;
        assert_int_equal(telex_address_descriptors(good[i].where, &in, &out), 0);
        assert_int_equal(in, good[i].in);
        assert_int_equal(out, good[i].out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int in = 99, out = 99;
        telex_say(-1, "nothing was said");
        assert_int_equal(telex_address_descriptors(bad[i], &in, &out), -EINVAL);
        assert_non_null(strstr(telex_said(), "fd:"));
        assert_true(in == 99 && out == 99);
    }
    refused("fd://3,4", NULL, "no slashes follow fd:");
    refused("fault+stdio://", NULL, "no slashes follow stdio:");
    refused("fd", NULL, "is no address");
    refused("unix:/tmp/name", NULL, "is no address");
    char text[64];
    assert_string_equal(telex_address_write("fd", "3,4", text, sizeof text), "fd:3,4");
    assert_string_equal(telex_address_write("stdio", "", text, sizeof text), "stdio:");
}

static const struct testing_case cases[] = {
    TESTING_CASE(descriptors),
    TESTING_CASE(parts),    TESTING_CASE(defaults),    TESTING_CASE(query),         TESTING_CASE(structure),
    TESTING_CASE(versions), TESTING_CASE(bad_structs), TESTING_CASE(bad_addresses), TESTING_CASE(lengths),
    TESTING_CASE(hosts),    TESTING_CASE(written),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "address", cases, sizeof cases / sizeof *cases);
}
