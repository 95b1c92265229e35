/* SPDX-License-Identifier: MIT */
#include "conform/hall.h"

#include <fcntl.h>
#include <sys/resource.h>

static struct hall_side *side; /* in the server's process */
static telex_server *running;

static void on_term(int number)
{
    (void)number;
    telex_server_stop(running);
}

static void run_in_poll(telex_server *server)
{
    struct pollfd fd = {.fd = telex_server_fd(server), .events = POLLIN};
    do
        poll(&fd, 1, -1);
    while (telex_server_process(server) == 0);
}

static void serve(void *with)
{
    side = with;
    char listen_at[512], dialed[2][512] = {"", ""};
    telex_server *server;
    assert_good(telex_server_new(&side->handlers, &side->limits, side, &server));
    running = server;
    signal(SIGTERM, on_term);
    const char *real;
    conform_address(side->setup, side->options, listen_at, sizeof listen_at);
    assert_good(telex_server_listen(server, listen_at, NULL, &real));
    conform_dialable(listen_at, real, dialed[0], sizeof dialed[0]);
    snprintf(listen_at, sizeof listen_at, "tcp://127.0.0.1:0?wire=%s", side->setup->wire);
    assert_good(telex_server_listen(server, listen_at, NULL, &real));
    conform_dialable(listen_at, real, dialed[1], sizeof dialed[1]);
    assert_int_equal(write(side->out, dialed, sizeof dialed), sizeof dialed);
    if (side->files != 0)
        assert_good(setrlimit(RLIMIT_NOFILE, &(struct rlimit){side->files, side->files}));
    if (side->foreign_loop)
        run_in_poll(server);
    else
        assert_good(telex_server_run(server));
    assert_int_equal(telex_server_process(server), -ESHUTDOWN);
    signal(SIGTERM, SIG_IGN); /* the server is about to be gone, and a second signal may still come */
    telex_server_close(server, SECONDS(5));
}

static void *serve_thread(void *with)
{
    serve(with);
    forget_patterns();
    return NULL;
}

void hall_open(struct hall *hall, struct hall_side given)
{
    static struct hall_side with; /* a thread has no copy of it */
    with = given;
    int there[2], here[2];
    assert_good(pipe2(there, O_CLOEXEC));
    assert_good(pipe2(here, O_CLOEXEC));
    with.out = here[1];
    with.in = there[0];
    with.limits.size = sizeof with.limits;
    with.handlers.size = sizeof with.handlers;
    if (with.options == NULL)
        with.options = "";
    *hall = (struct hall){.server = 0};
    if (with.setup->medium->threads) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* its assertions cannot jump out of another thread */
        assert_good(-pthread_create(&hall->thread, NULL, serve_thread, &with));
    } else {
        hall->server = testing_fork(serve, &with);
        close(here[1]);
        close(there[0]);
    }
    hall->out = there[1];
    hall->in = here[0];
    assert_int_equal(read(hall->in, hall->addresses, sizeof hall->addresses), sizeof hall->addresses);
}

void hall_stop(struct hall *hall)
{
    if (hall->server > 0)
        kill(hall->server, SIGTERM);
    else if (!hall->stopped)
        telex_server_stop(running);
    hall->stopped = true;
}

void hall_close(struct hall *hall)
{
    hall_stop(hall);
    if (hall->server > 0) {
        testing_wait(hall->server);
    } else {
        pthread_join(hall->thread, NULL);
        close(side->out);
        close(side->in);
    }
    close(hall->out);
    close(hall->in);
}

void said(struct hall *hall, char word)
{
    char heard = 0;
    assert_int_equal(read(hall->in, &heard, 1), 1);
    assert_int_equal(heard, word);
}

void say(char word)
{
    if (write(side->out, &word, 1) != 1)
        abort();
}

telex_channel *enter(struct hall *hall, int address)
{
    telex_channel *channel;
    assert_good(telex_dial(hall->addresses[address], NULL, SECONDS(10), &channel));
    return channel;
}

void echoes(telex_channel *channel, const char *text)
{
    telex_message request = telex_text(text), reply = {0};
    assert_gives(telex_call(channel, &request, &reply, SECONDS(10)), 0, channel);
    assert_int_equal(reply.length, strlen(text));
    assert_memory_equal(reply.data, text, reply.length);
    telex_release(&reply);
}

void echo_call(telex_server *server, telex_channel *channel, telex_message *request, void *user)
{
    (void)server, (void)user;
    telex_reply(channel, request, request, 0, TELEX_NOW);
}

unsigned long ticks_of(pid_t process)
{
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                     2);
    fclose(file);
    return user + system;
}
