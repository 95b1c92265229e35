/* SPDX-License-Identifier: MIT */
/*
 * Programs with a channel to them. Two that speak telex get a Unix socket, which carries descriptors and tells who is there, and whose number stands in the
 * child's environment. A program that knows nothing of telex gets what a shell would give it: two pipes, as its standard input and output.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/channel.h"
#include "os/clock.h"
#include "os/fork.h"

#define VARIABLE "TELEX_CHANNEL"

enum {
    LAST_WORDS_NS = 100000000, /* between the end of a program's output and its own */
    QUERY_MAX = 1024,
};

extern char **environ;

/* ---- how it ended ---- */

/*
 * The descriptors of a process that ends are closed before it can be waited for, so the channel's end comes first, and how the program ended some us later.
 * The first to be told of a direction's end waits for that: LAST_WORDS_NS at most, for a program may also close its output, or its input, and go on.
 */
int telex_channel_end_of_child(telex_channel *channel, enum channel_direction direction, int error)
{
    struct telex_child *child = channel->child;
    struct telex_link *link = channel->link;
    if (child == NULL || (error != -EPIPE && error != -ECONNRESET))
        return error;
    bool told = atomic_exchange(&channel->child_told[direction], true);
    int64_t until = told ? TELEX_NOW : telex_after(LAST_WORDS_NS);
    int r;
    do
        r = telex_child_wait(child, until);
    while (r == -EINTR);
    char text[256];
    telex_child_describe(child, text, sizeof text);
    int status = r == 0 ? telex_child_status(child) : -1;
    bool killed = status >= 0 && (status & 0x7F) != 0;
    if (killed)
        error = -ECONNRESET;
    pthread_mutex_lock(&link->reason_lock);
    if (strncmp(link->reason, "the peer said", 13) != 0) { /* its own last words are worth more, and it gave them in order */
        bool cut = strncmp(link->reason, TELEX_LINK_CUT, strlen(TELEX_LINK_CUT)) == 0; /* that something was lost is told, too */
        const char *before = cut ? TELEX_LINK_CUT ": " : r < 0 ? "the other side has closed the channel: " : "";
        snprintf(link->reason, sizeof link->reason, "%s%s", before, text);
    }
    pthread_mutex_unlock(&link->reason_lock);
    return telex_link_say_reason(link, error);
}

int telex_exit_status(telex_channel *channel, telex_time deadline, int *ret_status)
{
    if (channel->generation != telex_generation())
        return telex_channel_foreign(channel);
    struct telex_child *child = channel->child;
    int r = child == NULL ? telex_say(-EINVAL, "no program belongs to this channel: telex_spawn() did not make it") : telex_child_wait(child, deadline);
    if (child != NULL && r < 0) {
        char text[256];
        telex_child_describe(child, text, sizeof text);
        telex_say(r, "%s", text);
    }
    int status = r == 0 ? telex_child_status(child) : -1;
    if (r == 0 && status < 0)
        r = telex_say(-ENODATA, "how the program ended is not known: this program waits for its children itself, or ignores SIGCHLD");
    if (r < 0)
        telex_said_about(channel);
    else
        *ret_status = status;
    return r;
}

/* ---- starting ---- */

struct ends { /* owned; of a socket in == out */
    int here[2], there[2];
};

static void shut_pair(int pair[2])
{
    telex_shut(pair[0]);
    if (pair[1] != pair[0])
        telex_shut(pair[1]);
    pair[0] = pair[1] = -1;
}

/* An owned descriptor above 2 in the place of `fd`: the lower ones will be the child's standard streams. */
static int lift(int fd)
{
    if (fd > STDERR_FILENO)
        return telex_own(fd);
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = -errno;
    close(fd);
    return telex_own(lifted < 0 ? error : lifted);
}

static int make_pipe(int *ret_in, int *ret_out)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    *ret_in = lift(pair[0]);
    *ret_out = lift(pair[1]);
    return *ret_in < 0 ? *ret_in : *ret_out < 0 ? *ret_out : 0;
}

static int make_ends(bool speaks_telex, struct ends *ends)
{
    int pair[2], r;
    *ends = (struct ends){{-1, -1}, {-1, -1}};
    if (speaks_telex) {
        r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
        if (r == 0) {
            ends->here[0] = ends->here[1] = lift(pair[0]);
            ends->there[0] = ends->there[1] = lift(pair[1]);
            r = ends->here[0] < 0 ? ends->here[0] : ends->there[0] < 0 ? ends->there[0] : 0;
        }
    } else {
        r = make_pipe(&ends->there[0], &ends->here[1]);
        if (r == 0)
            r = make_pipe(&ends->here[0], &ends->there[1]);
        for (int i = 0; i < 2 && r == 0; i++) /* our ends are open files of their own: the child's go on waiting */
            r = fcntl(ends->here[i], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    }
    if (r == 0)
        return 0;
    shut_pair(ends->here);
    shut_pair(ends->there);
    return telex_say(r, "no channel to a program can be made: %s", strerror(-r));
}

/* The environment with the variable as given (NULL: without it), to be given to free(); NULL when out of memory. */
static const char **environment_with(const char *const *environment, const char *setting)
{
    size_t count = 0, length = strlen(VARIABLE "=");
    while (environment[count] != NULL)
        count++;
    const char **made = calloc(count + 2, sizeof *made);
    size_t at = 0;
    for (size_t i = 0; i < count && made != NULL; i++)
        if (strncmp(environment[i], VARIABLE "=", length) != 0)
            made[at++] = environment[i];
    if (made != NULL && setting != NULL)
        made[at] = setting;
    return made;
}

static int start(const char *const *argv, const telex_spawn_options *options, const struct ends *ends, bool speaks_telex, struct telex_child **ret_child)
{
    char setting[64];
    snprintf(setting, sizeof setting, VARIABLE "=fd:%d", ends->there[0]);
    const char **environment = environment_with(options->environment != NULL ? options->environment : (const char *const *)environ, speaks_telex ? setting : NULL);
    if (environment == NULL)
        return telex_say(-ENOMEM, "no memory for the environment of a program");
    struct telex_child_start how = {
        .argv = argv,
        .environment = environment,
        .directory = options->directory,
        .standard = {speaks_telex ? options->input : ends->there[0], speaks_telex ? options->output : ends->there[1], options->errors},
        .kept = speaks_telex ? ends->there[0] : -1,
    };
    for (int i = 0; i < 3; i++) /* 0 in the options is what this program has there */
        how.standard[i] = how.standard[i] == 0 ? i : how.standard[i];
    int r = telex_child_new(&how, ret_child);
    free(environment);
    return r;
}

static int check(const char *const *argv, const telex_spawn_options *options, bool speaks_telex)
{
    if (argv == NULL || argv[0] == NULL || argv[0][0] == '\0')
        return telex_say(-EINVAL, "no program is named (argv[0] of telex_spawn())");
    if (!speaks_telex && (options->input != 0 || options->output != 0))
        return telex_say(-EINVAL, "telex_spawn_options: on wire=lines and raw the program's standard input and output are the channel");
    bool room = options->reserved == 0;
    for (size_t i = 0; i < sizeof options->room / sizeof *options->room; i++)
        room = room && options->room[i] == 0;
    return room ? 0 : telex_say(-EINVAL, "telex_spawn_options: `reserved` and `room` must be zero");
}

static int copy_options(const telex_spawn_options *options, telex_spawn_options *ret_copy)
{
    *ret_copy = (telex_spawn_options){.size = sizeof *ret_copy};
    if (options == NULL)
        return 0;
    if (options->size != sizeof *options)
        return telex_say(-EINVAL, "telex_spawn_options.size is %zu; set it to sizeof(telex_spawn_options)", options->size);
    *ret_copy = *options;
    return 0;
}

static int read_settings(const telex_spawn_options *spawn, const telex_options *options, struct telex_address *ret_address)
{
    char text[QUERY_MAX];
    const char *query = spawn->query != NULL ? spawn->query : "";
    int length = snprintf(text, sizeof text, "stdio:%s%s", query[0] != '\0' ? "?" : "", query);
    if (length >= (int)sizeof text)
        return telex_say(-EINVAL, "telex_spawn_options.query is too long: at most %d bytes", QUERY_MAX - 8);
    return telex_address_parse(text, options, ret_address);
}

/* A program that could not be talked to leaves nothing behind. */
static int fail(struct telex_child *child, int error)
{
    char why[TELEX_REASON_SIZE], text[256];
    snprintf(why, sizeof why, "%s", telex_said());
    bool ended = error == -ECONNRESET && telex_child_wait(child, telex_after(LAST_WORDS_NS)) == 0;
    if (!ended)
        telex_child_kill(child);
    telex_child_wait(child, telex_after(10 * LAST_WORDS_NS));
    telex_child_describe(child, text, sizeof text);
    telex_child_free(child);
    return ended ? telex_say(error, "%s before it greeted: does it call telex_inherit()? Others want wire=lines or wire=raw", text)
                 : telex_say(error, "%s (it was ended: %.200s)", why, text);
}

static int talk_to(struct telex_child *child, struct ends *ends, const struct telex_settings *settings, telex_time deadline, telex_channel **ret_channel)
{
    int watch = telex_child_watch(child);
    int death = watch < 0 ? -1 : fcntl(watch, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    death = watch < 0 ? -1 : telex_own(death < 0 ? -errno : death);
    if (watch >= 0 && death < 0) {
        shut_pair(ends->here);
        return telex_say(death, "no descriptor to watch a program by: %s", strerror(-death));
    }
    struct telex_link *link;
    int r = telex_link_over(ends->here[0], ends->here[1], death, settings, false, &link);
    return r < 0 ? r : telex_channel_open(link, settings, deadline, false, ret_channel);
}

int telex_spawn(const char *const *argv, const telex_spawn_options *spawn, const telex_options *options, telex_time deadline, telex_channel **ret_channel)
{
    telex_spawn_options copy;
    struct telex_address address;
    struct telex_child *child;
    struct ends ends;
    int r = copy_options(spawn, &copy);
    if (r == 0)
        r = read_settings(&copy, options, &address);
    bool speaks_telex = r == 0 && (address.settings.wire->can & TELEX_CAN_GREET) != 0;
    if (r == 0)
        r = check(argv, &copy, speaks_telex);
    if (r == 0)
        r = make_ends(speaks_telex, &ends);
    if (r < 0)
        return r;
    r = start(argv, &copy, &ends, speaks_telex, &child);
    shut_pair(ends.there); /* so that the end of the program is the end of the channel */
    if (r < 0) {
        shut_pair(ends.here);
        return r;
    }
    telex_channel *channel;
    r = talk_to(child, &ends, &address.settings, deadline, &channel);
    if (r < 0)
        return fail(child, r);
    channel->child = child;
    channel->peer.pid = telex_child_process(child); /* the socket names who made it: this process */
    channel->peer.uid = getuid();
    channel->peer.gid = getgid();
    *ret_channel = channel;
    return 0;
}

/* ---- in the child ---- */

/* The descriptor, owned, or -errno. */
static int take_up(const char *text, const telex_options *options, struct telex_address *ret_address)
{
    int in, out, type = 0, domain = 0;
    socklen_t length = sizeof type;
    int r = telex_address_parse(text, options, ret_address);
    if (r == 0 && strcmp(ret_address->scheme, "fd") != 0)
        r = telex_say(-EINVAL, VARIABLE "=%.100s: telex_spawn() writes fd:N there", text);
    if (r == 0)
        r = telex_address_descriptors(ret_address->where, &in, &out);
    if (r < 0)
        return r;
    if (!(ret_address->settings.wire->can & TELEX_CAN_GREET))
        return telex_say(-EINVAL, "telex_inherit() with wire=%s: what telex_spawn() hands on so speaks wire=telex; others come as stdio:", ret_address->settings.wire->name);
    if (fcntl(in, F_GETFD) < 0 || in != out || telex_owns(in))
        return telex_say(-EBADF, VARIABLE "=%.100s: that descriptor is not open here: it was closed, or taken up before", text);
    if (getsockopt(in, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || getsockopt(in, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || type != SOCK_STREAM || domain != AF_UNIX)
        return telex_say(-EBADF, VARIABLE "=%.100s: that descriptor is something else by now: whoever started this program did not hand it on", text);
    r = lift(in);
    if (r < 0)
        return telex_say(r, VARIABLE "=%.100s: %s", text, strerror(-r));
    fcntl(r, F_SETFD, FD_CLOEXEC);
    return r;
}

int telex_inherit(const telex_options *options, telex_time deadline, telex_channel **ret_channel)
{
    const char *text = getenv(VARIABLE);
    struct telex_address address;
    if (text == NULL || text[0] == '\0')
        return telex_say(-ENOENT, "no channel was inherited (" VARIABLE " is not set): telex_spawn() or telex spawn starts this program with one");
    int fd = take_up(text, options, &address);
    if (fd < 0)
        return fd;
    unsetenv(VARIABLE); /* what this program starts has no business with it */
    struct telex_link *link;
    int r = telex_link_over(fd, fd, -1, &address.settings, true, &link);
    return r < 0 ? r : telex_channel_open(link, &address.settings, deadline, true, ret_channel);
}
