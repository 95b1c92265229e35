/* SPDX-License-Identifier: MIT */
#include "conform/victim.h"

#include <fcntl.h>

/* ---- the server ---- */

struct victim_side {
    const struct conform_setup *setup;
    const char *options;
    int out;
};

static telex_server *running;

static void on_term(int number)
{
    (void)number;
    telex_server_stop(running);
}

static void echo_call(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server, (void)user;
    telex_reply(channel, request, request, 0, TELEX_NOW);
}

static void say_why(telex_server *server, telex_channel *channel, int why, void *user)
{
    (void)server;
    const struct victim_side *side = user;
    char told[512] = "";
    snprintf(told, sizeof told, "%d %s", why, telex_reason(channel));
    if (write(side->out, told, sizeof told) < 0)
        abort();
}

static void serve(void *with)
{
    struct victim_side *side = with;
    const telex_handlers handlers = {.size = sizeof handlers, .call = echo_call, .close = say_why};
    char listen_at[512], dialed[512];
    const char *real;
    assert_good(telex_server_new(&handlers, NULL, side, &running));
    signal(SIGTERM, on_term);
    conform_address(side->setup, side->options, listen_at, sizeof listen_at);
    assert_good(telex_server_listen(running, listen_at, NULL, &real));
    conform_dialable(listen_at, real, dialed, sizeof dialed);
    assert_int_equal(write(side->out, dialed, sizeof dialed), sizeof dialed);
    assert_good(telex_server_run(running));
    signal(SIGTERM, SIG_IGN); /* the server is about to be gone */
    telex_server_close(running, SECONDS(2));
}

void victim_serves(struct victim *victim)
{
    telex_message request = telex_text("still there?"), reply = {0};
    assert_gives(telex_call(victim->steady, &request, &reply, SECONDS(10)), 0, victim->steady);
    assert_int_equal(reply.length, request.length);
    telex_release(&reply);
}

void raw_address(const char *address, char *ret_raw, size_t size)
{
    const char *wire = strstr(address, "wire=");
    snprintf(ret_raw, size, "%.*swire=raw%s", (int)(wire - address), address, wire + strcspn(wire, "&"));
}

void victim_open(struct victim *victim, const struct conform_setup *setup, const char *options)
{
    int here[2];
    assert_good(pipe2(here, O_CLOEXEC));
    struct victim_side side = {setup, options, here[1]};
    victim->server = testing_fork(serve, &side);
    close(here[1]);
    victim->in = here[0];
    assert_int_equal(read(victim->in, victim->address, sizeof victim->address), sizeof victim->address);
    raw_address(victim->address, victim->raw, sizeof victim->raw);
    assert_good(telex_dial(victim->address, NULL, SECONDS(10), &victim->steady));
    victim_serves(victim);
}

void victim_close(struct victim *victim)
{
    victim_serves(victim);
    telex_close(victim->steady, SECONDS(5), NULL);
    kill(victim->server, SIGTERM);
    testing_wait(victim->server);
    close(victim->in);
}

size_t resident_pages(pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    FILE *file = fopen(path, "r");
    size_t total = 0, resident = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident;
}

/* ---- bytes by hand ---- */

telex_channel *shout(struct victim *victim, const struct bytes *bytes)
{
    telex_channel *raw;
    assert_good(telex_dial(victim->raw, NULL, SECONDS(10), &raw));
    telex_message message = telex_binary(bytes->at, bytes->length);
    int r = telex_send(raw, &message, 0, SECONDS(10));
    assert_true(r == 0 || r == -EPIPE || r == -ECONNRESET);
    return raw;
}

void expect_end(telex_channel *raw)
{
    telex_message message = {0};
    int r;
    while ((r = telex_receive(raw, &message, SECONDS(10))) == 0)
        ;
    assert_true(r == -EPIPE || r == -ECONNRESET);
    telex_release(&message);
    telex_close(raw, TELEX_NOW, NULL);
}

void victim_says(struct victim *victim, int why, const char *part)
{
    char told[512];
    assert_int_equal(read(victim->in, told, sizeof told), sizeof told);
    if (atoi(told) != why || strstr(told, part) == NULL)
        fprintf(stderr, "expected %d with \"%s\", but it was: %s\n", why, part, told);
    assert_int_equal(atoi(told), why);
    assert_non_null(strstr(told, part));
}
