/* SPDX-License-Identifier: MIT */
/*
 * The coordinator of telex demo: hands out pieces, adds up the answers. A piece is done when its answer has been
 * received, and only then; until then its worker holds it, and when that one dies it goes to another. So every piece
 * is counted once, whoever dies when.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"

enum {
    BAR_MOST = 32,
    BESIDE_BAR = 43, /* columns: label, workers, brackets, per cent */
    AHEAD = 4, /* pieces that a worker holds at most: asynchronous ones are queued ahead */
    ASYNC = AHEAD,
    SYNC = 1,
};

#define HELLO_NS INT64_C(2000000000)
#define GOODBYE_NS INT64_C(2000000000)
#define LOOK_AGAIN_NS INT64_C(100000000) /* a worker that ends before it has come shows on no descriptor */
#define PROGRESS_NS INT64_C(50000000)

struct held {
    size_t piece;
    uint64_t number; /* of the message it left in */
    telex_time since;
};

struct worker {
    pid_t pid;               /* 0: none */
    telex_channel *channel;  /* NULL: not come yet */
    struct held held[AHEAD]; /* oldest first: answers come in the order of the pieces */
    unsigned held_count;
};

struct crew {
    struct demo_run *run;
    telex_listener *listener;
    struct worker *workers;
    struct pollfd *fds;
    size_t total, next, done; /* pieces, over all passes: in all, next to be handed out, answered */
    size_t *returned;         /* from dead workers */
    size_t returned_count;
    int64_t *times; /* of each round trip */
    telex_time quiet_since, shown;
    bool killed;
};

static int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int failure(const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    tool_say("%s", sentence);
    return TOOL_FAILURE;
}

static int64_t patience(const struct crew *crew)
{
    return crew->run->options->deadline != 0 ? crew->run->options->deadline : TOOL_PATIENCE;
}

/* ---- workers come and go ---- */

static int hire(struct crew *crew, struct worker *worker)
{
    const struct demo_run *run = crew->run;
    const char *arguments[] = {"telex",
                               "demo-worker",
                               telex_listener_address(crew->listener),
                               run->text->any_byte ? "any-byte" : "printable",
                               run->sync ? "--sync" : NULL,
                               NULL};
    *worker = (struct worker){0};
    int error = posix_spawn(&worker->pid, "/proc/self/exe", NULL, NULL, (char **)arguments, environ);
    return error == 0 ? TOOL_OK : failure("a worker cannot be started: %s", strerror(error));
}

/* Sees that a worker has ended; one that does not is killed. */
static void bury(struct worker *worker)
{
    telex_time until = telex_after(GOODBYE_NS);
    while (waitpid(worker->pid, NULL, WNOHANG) == 0) {
        if (telex_now() >= until)
            kill(worker->pid, SIGKILL);
        usleep(200);
    }
    worker->pid = 0;
}

/* A worker died: another one takes its place, and its pieces go to whoever is next. */
static int replace(struct crew *crew, struct worker *worker)
{
    while (worker->held_count > 0) {
        crew->returned[crew->returned_count++] = worker->held[--worker->held_count].piece;
        crew->run->again++;
    }
    telex_close(worker->channel, TELEX_NOW, NULL);
    worker->channel = NULL;
    kill(worker->pid, SIGKILL);
    bury(worker);
    crew->run->deaths++;
    if (crew->run->deaths > 1 + 2 * crew->run->workers)
        return failure("worker after worker dies");
    return hire(crew, worker);
}

/* A peer that has come says by its process id which worker it is; strangers are sent away. */
static int welcome(struct crew *crew, telex_channel *channel)
{
    telex_message hello = {0};
    struct demo_word word = {0};
    struct worker *worker = NULL;
    int r = telex_receive(channel, &hello, telex_after(HELLO_NS));
    if (r == 0 && hello.length == sizeof word)
        memcpy(&word, hello.data, sizeof word);
    telex_release(&hello);
    for (unsigned i = 0; i < crew->run->workers && word.value != 0; i++)
        if ((uint64_t)crew->workers[i].pid == word.value && crew->workers[i].channel == NULL)
            worker = &crew->workers[i];
    if (worker == NULL) {
        telex_close(channel, TELEX_NOW, NULL);
        return TOOL_OK;
    }
    int fd = telex_fd(channel);
    if (fd < 0) {
        tool_fail(fd, channel);
        telex_close(channel, TELEX_NOW, NULL);
        return TOOL_FAILURE;
    }
    worker->channel = channel;
    return TOOL_OK;
}

static int welcome_all(struct crew *crew)
{
    for (;;) {
        telex_channel *channel;
        int r = telex_accept(crew->listener, TELEX_NOW, &channel);
        if (r == -EAGAIN || r == -EINTR)
            return TOOL_OK;
        if (r < 0)
            return tool_fail(r, NULL);
        int status = welcome(crew, channel);
        if (status != TOOL_OK)
            return status;
    }
}

static bool all_here(const struct crew *crew)
{
    for (unsigned i = 0; i < crew->run->workers; i++)
        if (crew->workers[i].channel == NULL)
            return false;
    return true;
}

/* A worker that ended before it came would be waited for in vain. */
static int look_after_absent(struct crew *crew)
{
    for (unsigned i = 0; i < crew->run->workers; i++) {
        struct worker *worker = &crew->workers[i];
        if (worker->channel == NULL && waitpid(worker->pid, NULL, WNOHANG) == worker->pid) {
            worker->pid = 0;
            return failure("a worker ended before it had come");
        }
    }
    return TOOL_OK;
}

/* ---- pieces out, answers in ---- */

static bool has_work(const struct crew *crew)
{
    return crew->returned_count > 0 || crew->next < crew->total;
}

/*
 * The one that was handed a piece just now dies half way: by count, so that every run sees it, and surely with work in
 * its hands.
 */
static void maybe_kill(struct crew *crew, const struct worker *worker)
{
    if (!crew->run->kill || crew->killed || crew->done < crew->total / 2)
        return;
    crew->killed = true;
    kill(worker->pid, SIGKILL);
}

/* Hands one piece to the worker. -EAGAIN: no more just now. */
static int hand_out(struct crew *crew, struct worker *worker)
{
    const struct demo_run *run = crew->run;
    bool again = crew->returned_count > 0;
    size_t piece = again ? crew->returned[crew->returned_count - 1] : crew->next;
    const struct demo_piece *text = &run->text->pieces[piece % run->text->piece_count];
    telex_message message = telex_binary(text->data, text->length);
    telex_time now = telex_now();
    telex_time deadline = run->sync ? telex_after(patience(crew)) : TELEX_NOW;
    int r = tool_send_message(worker->channel, &message, run->sync ? TELEX_SYNC : 0, deadline);
    if (r < 0)
        return r;
    worker->held[worker->held_count++] = (struct held){piece, message.number, now};
    if (again)
        crew->returned_count--;
    else
        crew->next++;
    maybe_kill(crew, worker);
    return 0;
}

/* Whether the worker or the link to it is gone, which is no trouble: another one gets its work. */
static bool is_death(int error)
{
    return error == -ECONNRESET || error == -EPIPE;
}

static int hand_out_all(struct crew *crew)
{
    unsigned most = crew->run->sync ? SYNC : ASYNC;
    for (bool again = true; again && has_work(crew);) {
        again = false;
        for (unsigned i = 0; i < crew->run->workers && has_work(crew); i++) {
            struct worker *worker = &crew->workers[i];
            if (worker->channel == NULL || worker->held_count >= most)
                continue;
            int r = hand_out(crew, worker);
            if (r < 0 && is_death(r))
                continue; /* what it had still answered is received first; then receive tells of its death */
            if (r < 0 && r != -EAGAIN && r != -EINTR)
                return tool_fail(r, worker->channel);
            again = again || r == 0;
        }
    }
    return TOOL_OK;
}

static int take_answer(struct crew *crew, struct worker *worker, const telex_message *answer)
{
    struct demo_word word;
    if (answer->length != sizeof word)
        return failure("a worker answered %zu bytes", answer->length);
    memcpy(&word, answer->data, sizeof word);
    if (worker->held_count == 0 || word.number != worker->held[0].number)
        return failure("a worker answered what it was not asked, piece %" PRIu64, word.number);
    crew->times[crew->done++] = telex_now() - worker->held[0].since;
    crew->run->words += word.value;
    worker->held_count--;
    memmove(worker->held, worker->held + 1, worker->held_count * sizeof *worker->held);
    return TOOL_OK;
}

static int take_answers(struct crew *crew, struct worker *worker)
{
    telex_message answer = {0};
    int r, status = TOOL_OK;
    while (status == TOOL_OK && (r = telex_receive(worker->channel, &answer, TELEX_NOW)) == 0) {
        status = take_answer(crew, worker, &answer);
        crew->quiet_since = telex_now();
    }
    telex_release(&answer);
    if (status != TOOL_OK || r == -EAGAIN || r == -EINTR)
        return status;
    return is_death(r) ? replace(crew, worker) : tool_fail(r, worker->channel);
}

/* As long as the line still fits the terminal: a longer one would scroll it. */
static size_t bar_width(void)
{
    struct winsize terminal = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &terminal) < 0 || terminal.ws_col == 0 || terminal.ws_col > BESIDE_BAR + BAR_MOST)
        return BAR_MOST;
    return terminal.ws_col > BESIDE_BAR ? terminal.ws_col - BESIDE_BAR : 1;
}

static void show_progress(struct crew *crew, bool end)
{
    const struct demo_run *run = crew->run;
    if (run->label == NULL || (!end && telex_now() < crew->shown + PROGRESS_NS))
        return;
    crew->shown = telex_now();
    if (end) {
        fprintf(stderr, "\r\033[K");
        return;
    }
    char bar[BAR_MOST + 1];
    size_t width = bar_width(), filled = crew->total > 0 ? width * crew->done / crew->total : 0;
    memset(bar, '#', filled);
    memset(bar + filled, '.', width - filled);
    bar[width] = '\0';
    fprintf(stderr, "\r%s, %u worker%s [%s] %3d %%", run->label, run->workers, run->workers == 1 ? " " : "s", bar,
            crew->total > 0 ? (int)(100 * crew->done / crew->total) : 0);
}

/* Sleeps until something comes, then takes it. */
static int wait_and_take(struct crew *crew)
{
    struct demo_run *run = crew->run;
    struct pollfd *fds = crew->fds;
    fds[0] = (struct pollfd){.fd = telex_listener_fd(crew->listener), .events = POLLIN};
    fds[1] = (struct pollfd){.fd = run->stop, .events = POLLIN};
    for (unsigned i = 0; i < run->workers; i++)
        fds[2 + i] = (struct pollfd){.fd = crew->workers[i].channel != NULL ? telex_fd(crew->workers[i].channel) : -1,
                                     .events = POLLIN};
    int count = tool_poll(fds, 2 + run->workers, telex_after(LOOK_AGAIN_NS)), status = TOOL_OK;
    if (count < 0 && errno != EINTR)
        return failure("waiting for %u workers: %s", run->workers, strerror(errno));
    if (tool_stopping())
        return TOOL_FAILURE;
    if (count > 0 && fds[0].revents != 0)
        status = welcome_all(crew);
    for (unsigned i = 0; i < run->workers && count > 0 && status == TOOL_OK; i++)
        if (fds[2 + i].revents != 0)
            status = take_answers(crew, &crew->workers[i]);
    if (count == 0)
        status = look_after_absent(crew);
    if (status == TOOL_OK && count == 0 && telex_now() - crew->quiet_since > patience(crew))
        status = failure("no worker said anything for %" PRId64 " ms", patience(crew) / 1000000);
    show_progress(crew, false);
    return status;
}

static int work(struct crew *crew)
{
    int status = TOOL_OK;
    crew->quiet_since = telex_now();
    for (unsigned i = 0; i < crew->run->workers && status == TOOL_OK; i++)
        status = hire(crew, &crew->workers[i]);
    while (status == TOOL_OK && !all_here(crew))
        status = wait_and_take(crew);

    telex_time start = telex_now();
    while (status == TOOL_OK && crew->done < crew->total) {
        status = hand_out_all(crew);
        if (status == TOOL_OK)
            status = wait_and_take(crew);
    }
    crew->run->ns = telex_now() - start;
    return status;
}

static void dismiss(struct crew *crew)
{
    for (unsigned i = 0; i < crew->run->workers; i++) {
        struct worker *worker = &crew->workers[i];
        if (worker->channel == NULL && worker->pid != 0)
            kill(worker->pid, SIGKILL);
        telex_close(worker->channel, telex_after(GOODBYE_NS), NULL);
    }
    for (unsigned i = 0; i < crew->run->workers; i++)
        if (crew->workers[i].pid != 0)
            bury(&crew->workers[i]);
}

static int by_time(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int demo_coordinate(struct demo_run *run)
{
    struct crew crew = {.run = run, .total = run->passes * run->text->piece_count};
    crew.workers = calloc(run->workers, sizeof *crew.workers);
    crew.fds = calloc(run->workers + 2, sizeof *crew.fds);
    crew.returned = calloc(run->workers * AHEAD, sizeof *crew.returned);
    crew.times = calloc(crew.total, sizeof *crew.times);
    int status = TOOL_OK, r = 0;
    if (crew.workers == NULL || crew.fds == NULL || crew.returned == NULL || crew.times == NULL)
        status = failure("out of memory");
    if (status == TOOL_OK)
        r = telex_listen(run->address, NULL, &crew.listener);
    if (r < 0)
        status = tool_fail_address(r, run->address);
    if (status == TOOL_OK) {
        status = work(&crew);
        show_progress(&crew, true);
        dismiss(&crew);
    }
    telex_listener_close(crew.listener);
    run->messages = 2 * crew.done;
    qsort(crew.times, crew.done, sizeof *crew.times, by_time);
    run->median_ns = crew.done > 0 ? crew.times[(crew.done - 1) / 2] : 0;
    free(crew.workers);
    free(crew.fds);
    free(crew.returned);
    free(crew.times);
    return status == TOOL_OK ? TOOL_OK : TOOL_FAILURE;
}
