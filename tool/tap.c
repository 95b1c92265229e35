/* SPDX-License-Identifier: MIT */
/* telex tap: stands between peers and an address, passes everything on, and writes down what passes. */
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GOODBYE_NS INT64_C(5000000000) /* what is still queued when a connection ends */
#define GOODBYE_STOPPED_NS INT64_C(500000000)
#define LOOK_AGAIN_NS INT64_C(20000000) /* whether the last connection is over */

enum { STACK = 256 * 1024, BUFFER = 256 * 1024 };

/* ---- addresses ---- */

/* The value of an option in the query of `address`; length 0: it is not there. */
static const char *option_of(const char *address, const char *name, size_t *ret_length)
{
    const char *at = strchr(address, '?');
    size_t length = strlen(name);
    while (at != NULL) {
        at++;
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            *ret_length = strcspn(at + length + 1, "&");
            return at + length + 1;
        }
        at = strchr(at, '&');
    }
    *ret_length = 0;
    return NULL;
}

/* Whether nothing of `address` needs telex itself on this side: a byte stream, and no option but those of the listener. */
static bool can_pass_bytes(const char *address)
{
    static const char *const harmless[] = {"wire=", "mode=", "pending=", "wait=", "buffer="};
    if (strncmp(address, "shm:", 4) == 0 || strncmp(address, "inproc:", 7) == 0)
        return false;
    for (const char *at = strchr(address, '?'); at != NULL; at = strchr(at, '&')) {
        bool known = false;
        at++;
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            known = known || strncmp(at, harmless[i], strlen(harmless[i])) == 0;
        if (!known)
            return false;
    }
    return true;
}

static enum tap_wire_kind wire_of(const char *address)
{
    size_t length;
    const char *name = option_of(address, "wire", &length);
    return length == 5 && memcmp(name, "lines", 5) == 0 ? TAP_WIRE_LINES : length == 3 && memcmp(name, "raw", 3) == 0 ? TAP_WIRE_RAW : TAP_WIRE_TELEX;
}

/* `address` with wire=raw, whatever wire it says; NULL: out of memory. */
static char *as_raw(const char *address)
{
    size_t length;
    const char *name = option_of(address, "wire", &length);
    char *raw;
    int r = name == NULL ? asprintf(&raw, "%s%cwire=raw", address, strchr(address, '?') != NULL ? '&' : '?')
                         : asprintf(&raw, "%.*sraw%s", (int)(name - address), address, name + length);
    return r < 0 ? NULL : raw;
}

/* ---- connections ---- */

void tap_wake(struct tap_way *way)
{
    uint64_t one = 1;
    if (write(way->wake, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
}

bool tap_give_up(struct tap *tap, int status)
{
    uint64_t one = 1;
    int none = TOOL_OK;
    bool first = atomic_compare_exchange_strong(&tap->status, &none, status);
    if (first && write(tap->stop, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
    return first;
}

void tap_wait(struct tap_way *way, telex_time deadline)
{
    struct pollfd fds[] = {{.fd = telex_fd(way->from), .events = POLLIN}, {.fd = way->wake, .events = POLLIN}};
    if (tool_poll(fds, 2, deadline) <= 0 || fds[1].revents == 0)
        return;
    uint64_t count;
    if (read(way->wake, &count, sizeof count) < 0) {
        /* somebody else's wish: look again */
    }
}

void tap_end(struct tap_connection *connection, bool broken)
{
    if (broken)
        atomic_store(&connection->broken, true);
    atomic_store(&connection->over, true);
    for (int way = 0; way < TAP_WAYS; way++) {
        if (connection->channels[way] != NULL)
            telex_interrupt(connection->channels[way]);
        tap_wake(&connection->ways[way]);
    }
}

void tap_gone(struct tap_way *way)
{
    /* Both ways do this in the same order, so at least one of them sees the other's. */
    atomic_store(&way->ended, true);
    if (atomic_load(&tap_other(way)->ended))
        tap_end(way->connection, false);
}

static void *pass(void *user)
{
    struct tap_way *way = user;
    (way->connection->tap->bytes ? tap_bytes_pass : tap_messages_pass)(way);
    return NULL;
}

static void say_hello(struct tap_connection *connection, int way)
{
    telex_peer peer = {.size = sizeof peer, .address = "", .program = "", .pid = -1};
    telex_peer_of(connection->channels[way], &peer);
    tap_log(connection, &(struct tap_event){.what = TAP_HELLO, .way = way, .program = *peer.program != '\0' ? peer.program : NULL, .pid = peer.pid});
}

/* Dials, and says who is there. TOOL_OK, or what went wrong was said. */
static int dial(struct tap_connection *connection)
{
    struct tap *tap = connection->tap;
    telex_options options = {.size = sizeof options, .wait = TELEX_WAIT_BLOCK, .buffer = BUFFER};
    telex_peer peer = {.size = sizeof peer, .address = "", .program = ""};
    telex_peer_of(connection->channels[TAP_TO], &peer);
    tap_log(connection, &(struct tap_event){.what = TAP_OPEN, .way = -1, .program = peer.address});
    telex_channel *channel = NULL;
    int r;
    do
        r = telex_dial(tap->address, &options, tool_deadline(tap->options, TOOL_PATIENCE), &channel);
    while (r == -EINTR && !tool_stopping());
    if (r < 0) {
        int status = tool_fail_address(r, tap->shown);
        if (r == -EINVAL) /* nobody can ever be reached there */
            tap_give_up(tap, status);
        tap_log(connection, &(struct tap_event){.what = TAP_END, .way = TAP_FROM, .sentence = telex_reason(NULL)});
        return TOOL_FAILURE;
    }
    pthread_mutex_lock(&tap->lock); /* whoever stops looks at it */
    connection->channels[TAP_FROM] = channel;
    if (tap->stopping)
        atomic_store(&connection->over, true);
    pthread_mutex_unlock(&tap->lock);
    for (int way = 0; way < TAP_WAYS; way++) {
        connection->ways[way].from = connection->channels[way];
        connection->ways[way].to = connection->channels[1 - way];
        r = telex_fd(connection->channels[way]);
        if (r < 0)
            return tool_fail(r, connection->channels[way]);
        if (!tap->bytes)
            say_hello(connection, way);
    }
    return TOOL_OK;
}

static void pass_both_ways(struct tap_connection *connection)
{
    pthread_t back;
    int r = pthread_create(&back, NULL, pass, &connection->ways[TAP_FROM]);
    if (r != 0) {
        tool_say("no thread for connection %u: %s", connection->number, strerror(r));
        return;
    }
    pass(&connection->ways[TAP_TO]);
    pthread_join(back, NULL);
}

static void connection_free(struct tap_connection *connection)
{
    (connection->tap->bytes ? tap_bytes_free : tap_messages_free)(connection);
    for (int way = 0; way < TAP_WAYS; way++) {
        pthread_mutex_destroy(&connection->ways[way].sending);
        if (connection->ways[way].wake >= 0)
            close(connection->ways[way].wake);
    }
    free(connection);
}

/* The thread of a connection: all its life. */
static void *live(void *user)
{
    struct tap_connection *connection = user;
    struct tap *tap = connection->tap;
    if (dial(connection) == TOOL_OK && (tap->bytes ? tap_bytes_prepare : tap_messages_prepare)(connection) == TOOL_OK)
        pass_both_ways(connection);
    pthread_mutex_lock(&tap->lock);
    telex_channel *channels[] = {connection->channels[TAP_FROM], connection->channels[TAP_TO]};
    connection->channels[TAP_TO] = connection->channels[TAP_FROM] = NULL; /* nobody interrupts them any more */
    bool stopping = tap->stopping;
    pthread_mutex_unlock(&tap->lock);
    /* One that has ended has nothing to wait for, and must not hold up what the other one should learn. */
    int first = connection->ways[TAP_FROM].ended ? 1 : 0;
    for (int i = 0; i < 2; i++)
        telex_close(channels[first ^ i], telex_after(stopping ? GOODBYE_STOPPED_NS : GOODBYE_NS), NULL);
    tap_log(connection, &(struct tap_event){.what = TAP_CLOSE, .way = -1});
    pthread_mutex_lock(&tap->lock);
    *connection->at = connection->next;
    if (connection->next != NULL)
        connection->next->at = connection->at;
    tap->count--;
    connection_free(connection);
    pthread_cond_signal(&tap->gone);
    pthread_mutex_unlock(&tap->lock);
    return NULL;
}

static int begin(struct tap *tap, telex_channel *channel)
{
    struct tap_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return -ENOMEM;
    connection->tap = tap;
    connection->number = ++tap->number;
    connection->channels[TAP_TO] = channel;
    int r = 0;
    for (int way = 0; way < TAP_WAYS; way++) {
        connection->ways[way] = (struct tap_way){.connection = connection, .way = way, .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
        pthread_mutex_init(&connection->ways[way].sending, NULL);
        if (connection->ways[way].wake < 0)
            r = -errno;
    }
    pthread_mutex_lock(&tap->lock);
    connection->next = tap->connections;
    connection->at = &tap->connections;
    if (connection->next != NULL)
        connection->next->at = &connection->next;
    tap->connections = connection;
    tap->count++;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    if (r == 0)
        r = -pthread_create(&connection->thread, &attributes, live, connection);
    pthread_attr_destroy(&attributes);
    if (r < 0) {
        tap->connections = connection->next;
        if (connection->next != NULL)
            connection->next->at = &tap->connections;
        tap->count--;
        connection_free(connection);
    }
    pthread_mutex_unlock(&tap->lock);
    return r;
}

/* ---- all of them ---- */

/* Until the connections that there are have come to their end, or somebody asks to stop. */
static void wait_for_the_last(struct tap *tap)
{
    struct pollfd stop = {.fd = tap->stop, .events = POLLIN};
    bool lives = true;
    while (lives && !tool_stopping() && atomic_load(&tap->status) == TOOL_OK) {
        tool_poll(&stop, 1, telex_after(LOOK_AGAIN_NS));
        pthread_mutex_lock(&tap->lock);
        lives = tap->count > 0;
        pthread_mutex_unlock(&tap->lock);
    }
}

static int accept_peers(struct tap *tap, telex_listener *listener)
{
    struct pollfd fds[] = {{.fd = telex_listener_fd(listener), .events = POLLIN}, {.fd = tap->stop, .events = POLLIN}};
    while (!tool_stopping() && atomic_load(&tap->status) == TOOL_OK) {
        telex_channel *channel;
        int r = telex_accept(listener, TELEX_NOW, &channel);
        if (r == -EAGAIN) {
            tool_poll(fds, 2, TELEX_NEVER);
        } else if (r == -EMFILE || r == -ENFILE || r == -ENOMEM) {
            tool_say("a peer has to wait: %s", telex_reason(NULL));
            tool_poll(fds + 1, 1, telex_after(1000000000));
        } else if (r == -ESHUTDOWN) { /* the one peer that could come (fd:, stdio:) has come */
            wait_for_the_last(tap);
            break;
        } else if (r < 0 && r != -EINTR) {
            return tool_fail(r, NULL);
        } else if (r == 0 && (r = begin(tap, channel)) < 0) {
            tool_say("a peer is sent away: %s", strerror(-r));
            telex_close(channel, TELEX_NOW, NULL);
        }
    }
    return atomic_load(&tap->status);
}

/* Ends all connections, and waits for their threads. */
static void end_all(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    tap->stopping = true;
    for (struct tap_connection *at = tap->connections; at != NULL; at = at->next)
        tap_end(at, false);
    while (tap->count > 0)
        pthread_cond_wait(&tap->gone, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

static int tap_at(struct tap *tap, const char *new_address)
{
    telex_options options = {.size = sizeof options, .wait = TELEX_WAIT_BLOCK, .buffer = BUFFER};
    telex_listener *listener;
    char *raw = tap->bytes ? as_raw(new_address) : NULL;
    if (tap->bytes && raw == NULL) {
        tool_say("out of memory");
        return TOOL_FAILURE;
    }
    int r = telex_listen(raw != NULL ? raw : new_address, &options, &listener);
    int status = r < 0 ? tool_fail_address(r, new_address) : TOOL_OK;
    free(raw);
    if (status != TOOL_OK)
        return status;
    tool_listening(tap->options, telex_listener_address(listener));
    status = accept_peers(tap, listener);
    telex_listener_close(listener);
    end_all(tap);
    return status;
}

static int run(const struct tool_options *options)
{
    const char *new_address = options->operands[0], *address = options->operands[1];
    if (strcmp(new_address, address) == 0)
        return tool_usage("%s: the tap cannot stand before itself; NEW-ADDRESS is where peers come, ADDRESS where they wanted to go", address);
    struct tap tap = {.options = options, .shown = address, .wire = wire_of(address)};
    tap.bytes = can_pass_bytes(new_address) && can_pass_bytes(address) && wire_of(new_address) == tap.wire;
    char *raw = tap.bytes ? as_raw(address) : NULL;
    tap.address = raw != NULL ? raw : address;
    tap.bytes = raw != NULL;
    pthread_mutex_init(&tap.lock, NULL);
    pthread_cond_init(&tap.gone, NULL);
    tap.stop = tool_catch_signals();
    int status = tap.stop < 0 ? TOOL_FAILURE : tap_at(&tap, new_address);
    pthread_cond_destroy(&tap.gone);
    pthread_mutex_destroy(&tap.lock);
    free(raw);
    return status;
}

const struct tool_command tool_tap = {
    .name = "tap",
    .synopsis = "NEW-ADDRESS ADDRESS [--json]",
    .summary = "passes on what peers say, and prints it",
    .help =
        "Listens at NEW-ADDRESS. For each peer that comes it dials ADDRESS, passes everything on and back, and prints what passes:\n"
        "when, which connection, which way (> from the peer to ADDRESS, < back), what it is, its kind, its size and how it begins,\n"
        "as text or, where it is binary, in hexadecimal. With --json it prints an object a line, with up to 64 KiB of each message;\n"
        "`telex sequence` draws that. It ends at SIGINT or SIGTERM; at fd:IN,OUT and stdio:, with the one peer that they have.\n"
        "\n"
        "Where both addresses are byte streams (all but shm) of one wire, the bytes pass as they are, and the tap only makes\n"
        "out the messages in them. So everything is as without it: a rendezvous is one with the far side (`taken` is printed when it\n"
        "said so), a call that is cancelled is cancelled there, limits are agreed between the two sides, and a peer that dies\n"
        "without a goodbye has died for the other side. The tap's own death is a broken line for both. Descriptors do not pass:\n"
        "the offer to take any is taken out of the greetings, so that nobody sends one.\n"
        "\n"
        "Where one side is shm, where the two wires differ, or where an address has options other than wire, mode, pending, wait and\n"
        "buffer, each message is received and sent again, with its kind, type, lane and descriptors (say descriptors=16 in both addresses). Calls\n"
        "are asked on, and their replies, failures and cancellations brought back. Then two things are different: a synchronous\n"
        "message counts as taken for its sender when the tap has it; the tap takes nothing more that way until the far side has\n"
        "taken it. And the death of a peer is a goodbye for the other side.\n"
        "\n"
        "A side that does not read holds back the other one: the tap keeps 256 KiB for it, and where messages are sent again\n"
        "1 MiB more. On `wire=lines` and `wire=raw`, which have no goodbye, a side that has ended its stream still gets answers until\n"
        "the other side ends, too, or has been silent for a second, or for as long as --deadline says. With --deadline each\n"
        "dialling may take so long, too (10 s).\n"
        "\n"
        "examples:\n"
        "  telex tap unix:///tmp/tap unix:///tmp/words               then: telex call unix:///tmp/tap 'to be or not'\n"
        "  telex tap --json tcp://127.0.0.1:7001 tcp://127.0.0.1:7000 >log\n"
        "  telex tap 'tcp://127.0.0.1:7001?wire=lines' 'tcp://127.0.0.1:7000?wire=lines'    peers may be nc\n"
        "  telex tap 'tcp://127.0.0.1:8080?wire=raw' 'tcp://localhost:80?wire=raw'          what a browser says",
    .takes = TOOL_TAKES_JSON,
    .least = 2,
    .most = 2,
    .run = run,
};
