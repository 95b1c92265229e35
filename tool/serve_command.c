/* SPDX-License-Identifier: MIT */
/*
 * Answering calls by running a command for each. A call is a job: it waits until fewer than `most` commands run, then
 * its command is started in a process group of its own, fed and listened to over two pipes, and watched by a pidfd.
 * Everything is moved by tool_jobs_step(), which tries all that might be possible: only few jobs run at a time.
 */
#include "serve_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* What waits here no longer holds back its sender: a caller past these is told so. */
enum {
    WAITING_MOST = 1024,           /* calls that wait for a command to end */
    WAITING_BYTES_MOST = 64 << 20, /* their bytes */
    READ_AT_ONCE = 65536,
    DESCRIPTORS = 3,
};

#define GRACE_NS INT64_C(1000000000) /* between SIGTERM and SIGKILL */

struct job {
    struct job *next;
    telex_server *server;
    telex_channel *channel; /* NULL: nobody waits for the reply any more */
    telex_message request;
    pid_t pid;            /* 0: not started; -1: ended */
    int process, in, out; /* the pidfd, and our ends of the pipes; -1: none */
    size_t written;
    char *answer;
    size_t length, capacity;
    telex_time until;   /* the command has to be done by then */
    telex_time kill_at; /* it was told to end, and is killed then */
    unsigned failure;   /* enum telex_failure; 0: none as yet */
    char sentence[256]; /* goes with it */
};

struct tool_jobs {
    const struct tool_options *options;
    struct job *first, **last; /* in the order of their coming */
    unsigned running, most, waiting;
    size_t waiting_bytes;
    bool stopping, short_of; /* short_of: no more can be started until one has ended; said once */
};

struct tool_jobs *tool_jobs_new(const struct tool_options *options)
{
    struct tool_jobs *jobs = calloc(1, sizeof *jobs);
    if (jobs == NULL)
        return NULL;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    jobs->options = options;
    jobs->last = &jobs->first;
    jobs->most = cores > 2 ? 2 * (unsigned)cores : 4;
    signal(SIGCHLD, SIG_DFL); /* started with it ignored, nobody could be waited for */
    return jobs;
}

/* ---- answers ---- */

/* Where a wire cannot tell of a failure (lines, raw), the end of the channel does. */
static void fail(telex_server *server, telex_channel *channel, const telex_message *request, unsigned failure,
                 const char *sentence)
{
    int r = telex_fail(channel, request, failure, sentence);
    if (r != -EOPNOTSUPP)
        return;
    tool_say("a call is answered by closing its channel, for this wire has no word for: %s", sentence);
    telex_server_drop(server, channel);
}

static void reply(const struct tool_jobs *jobs, struct job *job)
{
    size_t length = job->length;
    if (!jobs->options->binary && length > 0 && job->answer[length - 1] == '\n')
        length--;
    telex_message message = tool_message(jobs->options, job->answer != NULL ? job->answer : "", length);
    int r = telex_reply(job->channel, &job->request, &message, 0, TELEX_NOW);
    if (r == 0 || r == -EPIPE || r == -ECONNRESET || r == -ENOENT)
        return;
    snprintf(job->sentence, sizeof job->sentence, "the answer of %s cannot be sent: %s", jobs->options->command[0],
             telex_reason(job->channel));
    fail(job->server, job->channel, &job->request, r == -EAGAIN ? TELEX_FAILURE_LIMIT : TELEX_FAILURE_FAILED,
         job->sentence);
}

static void answer(const struct tool_jobs *jobs, struct job *job)
{
    if (job->channel == NULL)
        return;
    if (job->failure != 0)
        fail(job->server, job->channel, &job->request, job->failure, job->sentence);
    else
        reply(jobs, job);
}

/* ---- the command's life ---- */

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Opens a pipe of which our end, number `ours`, does not block. */
static int open_pipe(int ours, int ret_fds[2])
{
    if (pipe2(ret_fds, O_CLOEXEC) < 0)
        return -errno;
    fcntl(ret_fds[ours], F_SETFL, O_NONBLOCK);
    return 0;
}

static int spawn(char **command, int in, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    r = posix_spawnp(ret_pid, command[0], &actions, &attributes, command, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int start_process(struct job *job, char **command)
{
    int in[2], out[2];
    int r = open_pipe(1, in);
    if (r < 0)
        return r;
    r = open_pipe(0, out);
    if (r < 0) {
        close(in[0]);
        close(in[1]);
        return r;
    }
    r = spawn(command, in[0], out[1], &job->pid);
    close(in[0]);
    close(out[1]);
    job->in = in[1];
    job->out = out[0];
    if (r < 0) {
        job->pid = 0;
        return r;
    }
    job->process = pidfd_open(job->pid, 0);
    if (job->process >= 0)
        return 0;
    r = -errno;
    kill(-job->pid, SIGKILL);
    waitpid(job->pid, NULL, 0);
    return r;
}

static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -EAGAIN || error == -ENOMEM;
}

static void start(struct tool_jobs *jobs, struct job *job)
{
    int r = start_process(job, jobs->options->command);
    if (jobs->running > 0 && is_shortage(r)) { /* what runs will give back what it has */
        if (!jobs->short_of && !jobs->options->quiet)
            tool_say("%s cannot be run just now, calls wait until one that runs has ended: %s (said once)", jobs->options->command[0], strerror(-r));
        jobs->short_of = true;
        shut(&job->in);
        shut(&job->out);
        job->pid = 0;
        return;
    }
    jobs->waiting--;
    jobs->waiting_bytes -= job->request.length;
    if (r == 0) {
        jobs->running++;
        job->until = tool_deadline(jobs->options, INT64_MAX);
        return;
    }
    job->pid = -1;
    job->failure = TELEX_FAILURE_FAILED;
    snprintf(job->sentence, sizeof job->sentence, "%s cannot be run: %s", jobs->options->command[0], strerror(-r));
    tool_say("%s", job->sentence);
}

/* Tells the command, and whom it started, to end. */
static void tell_to_end(struct job *job)
{
    if (job->pid <= 0 || job->kill_at != 0)
        return;
    kill(-job->pid, SIGTERM);
    job->kill_at = telex_after(GRACE_NS);
}

__attribute__((format(printf, 3, 4))) static void give_up(struct job *job, unsigned failure, const char *format, ...)
{
    if (job->failure == 0) {
        job->failure = failure;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(job->sentence, sizeof job->sentence, format, arguments);
        va_end(arguments);
    }
    tell_to_end(job);
}

static void feed(struct job *job)
{
    while (job->in >= 0 && job->written < job->request.length) {
        ssize_t count =
            write(job->in, (const char *)job->request.data + job->written, job->request.length - job->written);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            break; /* the command does not want to know: it may answer all the same */
        job->written += (size_t)count;
    }
    shut(&job->in);
}

static bool make_room(struct job *job)
{
    if (job->capacity - job->length >= READ_AT_ONCE)
        return true;
    size_t capacity = 2 * job->length + READ_AT_ONCE;
    char *grown = realloc(job->answer, capacity);
    if (grown == NULL)
        return false;
    job->answer = grown;
    job->capacity = capacity;
    return true;
}

static void collect(const struct tool_jobs *jobs, struct job *job)
{
    size_t most = job->channel != NULL ? (size_t)telex_max(job->channel) : 0;
    while (job->out >= 0) {
        if (!make_room(job)) {
            give_up(job, TELEX_FAILURE_LIMIT, "no memory for the answer of %s after %zu bytes",
                    jobs->options->command[0], job->length);
            job->length = 0;
        }
        ssize_t count = read(job->out, job->answer + job->length, job->capacity - job->length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            shut(&job->out);
            return;
        }
        job->length += (size_t)count;
        if (job->channel != NULL && job->length <= most + 1) /* one more: the newline that will go */
            continue;
        if (job->channel != NULL)
            give_up(job, TELEX_FAILURE_FAILED, "%s answered more than the %zu bytes agreed for a message",
                    jobs->options->command[0], most);
        job->length = 0; /* read on, for nobody, so that it can end */
    }
}

/* Whether the command has ended; then what it left in the pipe is collected and the verdict made. */
static bool reap(struct tool_jobs *jobs, struct job *job)
{
    int status;
    pid_t pid = waitpid(job->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return false;
    collect(jobs, job); /* not to the end of the pipe: whoever the command left behind may hold it open */
    jobs->running--;
    job->pid = -1;
    if (job->failure != 0 || pid < 0)
        return true;
    const char *command = jobs->options->command[0];
    if (WIFSIGNALED(status))
        snprintf(job->sentence, sizeof job->sentence, "%s was ended by signal %d (%s)", command, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        snprintf(job->sentence, sizeof job->sentence, "%s ended with status %d", command, WEXITSTATUS(status));
    else
        return true;
    job->failure = TELEX_FAILURE_FAILED;
    return true;
}

/* ---- all of them ---- */

/* Whether the job is done. */
static bool step(struct tool_jobs *jobs, struct job *job)
{
    if (job->channel != NULL && telex_cancelled(job->channel, &job->request) == 1)
        give_up(job, TELEX_FAILURE_CANCELLED, "%s was cancelled after it had answered %zu bytes",
                jobs->options->command[0], job->length);
    if (job->pid == 0 && (job->channel == NULL || job->failure != 0)) { /* never to be started */
        jobs->waiting--;
        jobs->waiting_bytes -= job->request.length;
        return true;
    }
    if (job->pid == 0 && jobs->running < jobs->most)
        start(jobs, job);
    if (job->pid == 0)
        return false;
    if (job->pid < 0)
        return true;
    telex_time now = telex_now();
    if (now >= job->until)
        give_up(job, TELEX_FAILURE_FAILED, "%s was not done by the deadline; it had answered %zu bytes",
                jobs->options->command[0], job->length);
    if (job->kill_at != 0 && now >= job->kill_at)
        kill(-job->pid, SIGKILL);
    feed(job);
    collect(jobs, job);
    return reap(jobs, job);
}

static void job_free(struct job *job)
{
    shut(&job->process);
    shut(&job->in);
    shut(&job->out);
    telex_release(&job->request);
    free(job->answer);
    free(job);
}

void tool_jobs_step(struct tool_jobs *jobs)
{
    /* Once more when one has ended: the next may start. */
    for (bool again = true; again;) {
        again = false;
        for (struct job **at = &jobs->first; *at != NULL;) {
            struct job *job = *at;
            if (!step(jobs, job)) {
                at = &job->next;
                continue;
            }
            *at = job->next;
            if (jobs->last == &job->next)
                jobs->last = at;
            answer(jobs, job);
            job_free(job);
            again = jobs->waiting > 0;
        }
    }
}

void tool_jobs_ask(struct tool_jobs *jobs, telex_server *server, telex_channel *channel, telex_message *request)
{
    bool full = jobs->waiting >= WAITING_MOST || jobs->waiting_bytes + request->length > WAITING_BYTES_MOST;
    struct job *job = full || jobs->stopping ? NULL : calloc(1, sizeof *job);
    if (job == NULL) {
        fail(server, channel, request, TELEX_FAILURE_LIMIT,
             jobs->stopping ? "this server is shutting down" : "too many calls wait here already");
        return;
    }
    *job = (struct job){.server = server,
                        .channel = channel,
                        .request = *request,
                        .process = -1,
                        .in = -1,
                        .out = -1,
                        .until = TELEX_NEVER};
    *request = (telex_message){0};
    jobs->waiting++;
    jobs->waiting_bytes += job->request.length;
    *jobs->last = job;
    jobs->last = &job->next;
}

void tool_jobs_forget(struct tool_jobs *jobs, const telex_channel *channel)
{
    for (struct job *job = jobs->first; job != NULL; job = job->next)
        if (job->channel == channel) {
            job->channel = NULL;
            tell_to_end(job);
        }
}

unsigned tool_jobs_width(const struct tool_jobs *jobs)
{
    return jobs->most * DESCRIPTORS;
}

unsigned tool_jobs_wait_for(const struct tool_jobs *jobs, struct pollfd *fds, telex_time *ret_deadline)
{
    unsigned count = 0;
    *ret_deadline = TELEX_NEVER;
    for (const struct job *job = jobs->first; job != NULL; job = job->next) {
        if (job->pid <= 0)
            continue;
        fds[count++] = (struct pollfd){.fd = job->process, .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = job->in, .events = POLLOUT};
        fds[count++] = (struct pollfd){.fd = job->out, .events = POLLIN};
        telex_time next = job->kill_at != 0 ? job->kill_at : job->until;
        if (next < *ret_deadline)
            *ret_deadline = next;
    }
    return count;
}

bool tool_jobs_idle(const struct tool_jobs *jobs)
{
    return jobs->first == NULL;
}

void tool_jobs_stop(struct tool_jobs *jobs)
{
    jobs->stopping = true;
}

void tool_jobs_free(struct tool_jobs *jobs)
{
    if (jobs == NULL)
        return;
    while (jobs->first != NULL) {
        struct job *job = jobs->first;
        jobs->first = job->next;
        if (job->pid > 0) {
            kill(-job->pid, SIGKILL);
            waitpid(job->pid, NULL, 0);
        }
        job->failure = TELEX_FAILURE_CANCELLED;
        snprintf(job->sentence, sizeof job->sentence, "this server ended before %s did", jobs->options->command[0]);
        answer(jobs, job);
        job_free(job);
    }
    free(jobs);
}
