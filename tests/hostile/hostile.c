/* SPDX-License-Identifier: MIT */
/* The honest server that is attacked, what the cases share, and main(). */
#include "hostile/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

/* ---- limits, names ---- */

unsigned slow(void)
{
    const char *factor = getenv("TESTING_SLOW");
    return factor != NULL ? (unsigned)atoi(factor) : 1;
}

int64_t slack_ns(void)
{
    return INT64_C(2000000000) * slow();
}

double attack_seconds(void)
{
    const char *wanted = getenv("TELEX_ATTACK_SECONDS");
    bool evidence = getenv("TELEX_EVIDENCE") != NULL;
#ifdef __SANITIZE_ADDRESS__
    double seconds = evidence ? 3600 : 10;
#else
    double seconds = evidence ? 60 : 4;
#endif
    return wanted != NULL ? atof(wanted) : seconds;
}

void shm_address(const char *path, const char *options, char *ret_address, size_t size)
{
    snprintf(ret_address, size, "shm://%s%s%s", path, options[0] != '\0' ? "?" : "", options);
}

/* ---- the host ---- */

struct host_side {
    const char *path, *options;
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
    const struct host_side *side = user;
    char told[512] = "";
    snprintf(told, sizeof told, "%d %s", why, telex_reason(channel));
    if (write(side->out, told, sizeof told) < 0)
        abort();
}

static void serve(void *with)
{
    struct host_side *side = with;
    const telex_handlers handlers = {.size = sizeof handlers, .call = echo_call, .close = say_why};
    char address[400];
    const char *real;
    shm_address(side->path, side->options, address, sizeof address);
    assert_good(telex_server_new(&handlers, NULL, side, &running));
    signal(SIGTERM, on_term);
    assert_good(telex_server_listen(running, address, NULL, &real));
    assert_int_equal(write(side->out, "ready", 5), 5);
    assert_good(telex_server_run(running));
    signal(SIGTERM, SIG_IGN); /* the server is about to be gone */
    telex_server_close(running, SECONDS(2));
}

void host_open(struct host *host, const char *options)
{
    int here[2];
    char ready[5];
    snprintf(host->path, sizeof host->path, "%s/host", testing_directory());
    shm_address(host->path, options, host->address, sizeof host->address);
    assert_good(pipe2(here, O_CLOEXEC));
    struct host_side side = {host->path, options, here[1]};
    host->server = testing_fork(serve, &side);
    close(here[1]);
    host->in = here[0];
    assert_int_equal(read(host->in, ready, sizeof ready), sizeof ready);
    assert_good(telex_dial(host->address, NULL, SECONDS(10), &host->steady));
    host_serves(host);
    host->descriptors = open_descriptors(host->server);
    host->mappings = shared_mappings(host->server);
}

void host_serves(struct host *host)
{
    telex_message request = telex_text("still there?"), reply = {0};
    assert_good(telex_call(host->steady, &request, &reply, telex_after(INT64_C(10000000000) * slow())));
    assert_int_equal(reply.length, request.length);
    telex_release(&reply);
}

void host_forgets(struct host *host)
{
    int64_t until = now_ms() + 5000 * slow();
    size_t descriptors, mappings;
    do {
        descriptors = open_descriptors(host->server);
        mappings = shared_mappings(host->server);
        if (descriptors <= host->descriptors && mappings <= host->mappings)
            return;
        poll(NULL, 0, 5);
    } while (now_ms() < until);
    fprintf(stderr, "the host has %zu descriptors (before: %zu) and %zu mappings of memory (before: %zu)\n", descriptors, host->descriptors, mappings,
            host->mappings);
    fail();
}

void host_close(struct host *host)
{
    host_serves(host);
    telex_close(host->steady, SECONDS(5), NULL);
    kill(host->server, SIGTERM);
    testing_wait(host->server);
    close(host->in);
}

void host_says(struct host *host, int why, const char *part)
{
    char told[512];
    assert_int_equal(read(host->in, told, sizeof told), sizeof told);
    const char *sentence = strchr(told, ' ');
    bool fits = (why == 0 || atoi(told) == why) && sentence != NULL && strlen(sentence) > 1 && (part == NULL || strstr(sentence, part) != NULL);
    if (!fits)
        fprintf(stderr, "expected %d with \"%s\", but it was: %s\n", why, part != NULL ? part : "", told);
    assert_true(fits);
}

/* ---- what victims tell ---- */

void tell(int out, const struct told *told)
{
    if (write(out, told, sizeof *told) != (ssize_t)sizeof *told)
        abort();
}

void hear_told(int in, struct told *ret_told)
{
    assert_int_equal(read(in, ret_told, sizeof *ret_told), sizeof *ret_told);
}

/* ---- all of them ---- */

static const struct theme *const themes[] = {&hostile_attach, &hostile_lies, &hostile_words, &hostile_floods, &hostile_dying};

enum { MOST_CASES = 256 };

int main(int argc, char **argv)
{
    static struct testing_case cases[MOST_CASES];
    size_t count = 0;
    for (size_t theme = 0; theme < sizeof themes / sizeof *themes; theme++)
        for (size_t i = 0; i < themes[theme]->count; i++)
            cases[count++] = themes[theme]->cases[i];
    return testing_main(argc, argv, "hostile", cases, count);
}
