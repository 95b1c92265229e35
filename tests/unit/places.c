/* SPDX-License-Identifier: MIT */
/* Listening and dialing: paths that are stale, living or no sockets; names, ports, full queues; what is said of each failure. */
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "medium/stream/resolve.h"
#include "unit/scratch.h"
#include "unit/streams.h"

/* ---- paths ---- */

static bool exists(const char *path)
{
    struct stat facts;
    return lstat(path, &facts) == 0;
}

static int listen_path(const char *name, const char *options, struct telex_bytes_port **ret_port)
{
    char text[256];
    snprintf(text, sizeof text, "unix://%s%s", scratch_path(name), options);
    return streams_listen(text, ret_port);
}

/* A path left by a process that was killed. */
static void leave_stale(const char *name)
{
    pid_t child = fork();
    if (child == 0) {
        struct telex_bytes_port *port;
        listen_path(name, "", &port);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_true(exists(scratch_path(name)));
}

static void paths(void **state)
{
    (void)state;
    struct telex_bytes_port *port, *other;
    struct stat facts;
    leave_stale("a");
    assert_int_equal(listen_path("a", "?mode=0640", &port), 0);
    assert_int_equal(stat(scratch_path("a"), &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0640);
    assert_int_equal(listen_path("a", "", &other), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "somebody listens"));
    struct telex_bytes *probe = streams_accept(port); /* all that the living one saw of it */
    probe->ops->close(probe);
    port->ops->close(port);
    assert_false(exists(scratch_path("a")));

    fclose(fopen(scratch_path("b"), "w"));
    assert_int_equal(listen_path("b", "", &port), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), "no socket"));
    assert_true(exists(scratch_path("b")));
    assert_int_equal(symlink("nowhere", scratch_path("c")), 0);
    assert_int_equal(listen_path("c", "", &port), -EADDRINUSE);
    assert_true(exists(scratch_path("c")));
    assert_int_equal(listen_path("no/d", "", &port), -ENOENT);

    /* Somebody else's path by now. */
    assert_int_equal(listen_path("e", "", &port), 0);
    assert_int_equal(unlink(scratch_path("e")), 0);
    assert_int_equal(listen_path("e", "", &other), 0);
    port->ops->close(port);
    assert_true(exists(scratch_path("e")));
    other->ops->close(other);
    assert_false(exists(scratch_path("e")));
}

static void a_datagram_socket_is_somebody(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, scratch_path("a"));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen_path("a", "", &port), -EADDRINUSE);
    assert_int_equal(streams_dial(strcat(strcpy((char[256]){0}, "unix://"), name.sun_path), streams_soon(), &bytes),
                     -EPROTOTYPE);
    close(fd);
}

static void paths_without_a_runtime_directory(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    fclose(fopen(scratch_path("telex"), "w"));
    leave_stale("a");
    assert_int_equal(listen_path("a", "", &port), 0);
    port->ops->close(port);
    assert_false(exists(scratch_path("a")));
}

static void a_forked_child_keeps_the_path(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    assert_int_equal(listen_path("a", "", &port), 0);
    snprintf(text, sizeof text, "%s", port->ops->address(port));
    pid_t child = fork();
    if (child == 0) {
        port->ops->close(port);
        _exit(exists(scratch_path("a")) ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);

    /* A child that lives on does not make its dead parent look alive. */
    int gone[2];
    assert_int_equal(pipe(gone), 0);
    port->ops->close(port);
    child = fork();
    if (child == 0) {
        listen_path("a", "", &port);
        if (fork() > 0)
            _exit(0);
        pid_t heir = getpid();
        if (write(gone[1], &heir, sizeof heir) == sizeof heir)
            telex_poll(NULL, 0, streams_soon());
        _exit(0);
    }
    waitpid(child, &status, 0);
    pid_t heir;
    assert_int_equal(read(gone[0], &heir, sizeof heir), sizeof heir);
    assert_int_equal(streams_dial(text, streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(listen_path("a", "", &port), 0);
    port->ops->close(port);
    kill(heir, SIGKILL);
    waitpid(heir, NULL, 0); /* orphans come to the test case */
    close(gone[0]);
    close(gone[1]);
}

static void abstract_names(void **state)
{
    (void)state;
    struct telex_bytes_port *port, *other;
    struct telex_bytes *bytes;
    assert_int_equal(streams_listen(streams_abstract("", ""), &port), 0);
    assert_string_equal(port->ops->address(port), streams_abstract("", ""));
    assert_int_equal(streams_listen(streams_abstract("", ""), &other), -EADDRINUSE);
    port->ops->close(port);
    assert_int_equal(streams_dial(streams_abstract("", ""), streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(streams_listen(streams_abstract("", ""), &port), 0);
    port->ops->close(port);
}

/* ---- dialing ---- */

static void malformed(void **state)
{
    (void)state;
    char long_path[200] = "unix:///";
    memset(long_path + 8, 'x', 107);
    const char *const both[] = {"unix://relative", "unix://",         "unix:///",     "unix://@",   long_path,
                                "tcp://",          "tcp://127.0.0.1", "tcp://::1:80", "tcp://[::1]"};
    const char *const dialed[] = {"tcp://:80", "tcp://*:80", "tcp://127.0.0.1:0"};
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        assert_int_equal(streams_listen(both[i], &port), -EINVAL);
        assert_int_equal(streams_dial(both[i], streams_soon(), &bytes), -EINVAL);
    }
    for (size_t i = 0; i < sizeof dialed / sizeof *dialed; i++)
        assert_int_equal(streams_dial(dialed[i], streams_soon(), &bytes), -EINVAL);
    char text[256];
    snprintf(text, sizeof text, "unix://%s", scratch_path("with%20space%3Fand%25"));
    assert_int_equal(streams_listen(text, &port), 0);
    assert_string_equal(port->ops->address(port), text);
    assert_true(exists(scratch_path("with space?and%")));
    port->ops->close(port);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    assert_int_equal(streams_listen("tcp://127.0.0.1:0", &port), 0);
    snprintf(text, sizeof text, "%s", port->ops->address(port));
    port->ops->close(port);
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ECONNREFUSED);
    assert_int_equal(streams_dial(text, 0, &bytes), -ECONNREFUSED);
    assert_non_null(strstr(telex_said(), text));
    leave_stale("a");
    snprintf(text, sizeof text, "unix://%s", scratch_path("a"));
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ECONNREFUSED);
    assert_non_null(strstr(telex_said(), text));
    snprintf(text, sizeof text, "unix://%s", scratch_path("b"));
    assert_int_equal(streams_dial(text, INT64_MAX, &bytes), -ENOENT);
}

static void not_permitted(void **state)
{
    (void)state;
    struct telex_bytes_port *port;
    struct telex_bytes *bytes;
    char text[256];
    if (geteuid() == 0 && (chown(testing_directory(), 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0))
        return; /* root may do everything */
    assert_int_equal(listen_path("a", "?mode=0", &port), 0);
    snprintf(text, sizeof text, "unix://%s", scratch_path("a"));
    assert_int_equal(streams_dial(text, streams_soon(), &bytes), -EACCES);
    assert_non_null(strstr(telex_said(), "mode="));
    port->ops->close(port);
}

/* The name of streams_abstract(), for bind(2); returns its length. */
static socklen_t bind_name(struct sockaddr_un *ret_name)
{
    *ret_name = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(ret_name->sun_path + 1, testing_directory());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(testing_directory()));
}

/* A listener whose queue is full: until the deadline, and until there is room. */
static void full_queue(int family, struct sockaddr *name, socklen_t length)
{
    int listening = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct telex_bytes *queued[8], *late;
    assert_int_equal(bind(listening, name, length), 0);
    assert_int_equal(listen(listening, 0), 0);
    char address[256];
    getsockname(listening, name, &length);
    if (family == AF_UNIX)
        strcpy(address, streams_abstract("", ""));
    else
        snprintf(address, sizeof address, "tcp://127.0.0.1:%u", ntohs(((struct sockaddr_in *)name)->sin_port));
    int count = 0, error;
    while (count < 8 && (error = streams_dial(address, telex_clock() + 100 * MS, &queued[count])) == 0)
        count++;
    assert_true(count > 0 && count < 8);
    assert_int_equal(error, -ETIMEDOUT);
    assert_int_equal(streams_dial(address, 0, &late), -EAGAIN);
    int64_t begin = telex_clock();
    assert_int_equal(streams_dial(address, begin + 200 * MS, &late), -ETIMEDOUT);
    assert_true(telex_clock() - begin >= 200 * MS && telex_clock() - begin < 2000 * MS);

    pid_t child = fork();
    if (child == 0) {
        telex_poll(NULL, 0, telex_clock() + 100 * MS);
        for (int i = 0; i < 8; i++) {
            struct pollfd poll = {.fd = listening, .events = POLLIN};
            telex_poll(&poll, 1, telex_clock() + 2000 * MS);
            accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        }
        _exit(0);
    }
    assert_int_equal(streams_dial(address, telex_clock() + (int64_t)10000 * MS, &late), 0);
    late->ops->close(late);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (count > 0) {
        count--;
        queued[count]->ops->close(queued[count]);
    }
    close(listening);
}

static void full_queues(void **state)
{
    (void)state;
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
    } name;
    full_queue(AF_UNIX, &name.any, bind_name(&name.local));
    name.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    full_queue(AF_INET, &name.any, sizeof name.v4);
}

static void ignore(int number)
{
    (void)number;
}

static void dialing_is_interrupted(void **state)
{
    (void)state;
    struct sockaddr_un name;
    socklen_t length = bind_name(&name);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&name, length), 0);
    assert_int_equal(listen(listening, 0), 0);
    struct telex_bytes *queued, *bytes;
    assert_int_equal(streams_dial(streams_abstract("", ""), 0, &queued), 0);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = ignore}, NULL);
    ualarm(50000, 0);
    assert_int_equal(streams_dial(streams_abstract("", ""), streams_soon(), &bytes), -EINTR);
    queued->ops->close(queued);
    close(listening);
}

/* ---- tcp ---- */

static void every_interface(void **state)
{
    (void)state;
    static const char *const listened[] = {"tcp://*:0", "tcp://:0"};
    static const char *const dialed[] = {"127.0.0.1", "localhost", "[::1]"};
    for (int i = 0; i < 2; i++) {
        struct telex_bytes_port *port;
        assert_int_equal(streams_listen(listened[i], &port), 0);
        const char *number = strrchr(port->ops->address(port), ':') + 1;
        for (int j = 0; j < (streams_ipv6() ? 3 : 2); j++) {
            char text[64];
            struct telex_bytes *bytes, *accepted;
            struct telex_medium_peer peer;
            snprintf(text, sizeof text, "tcp://%s:%s", dialed[j], number);
            assert_int_equal(streams_dial(text, streams_soon(), &bytes), 0);
            accepted = streams_accept(port);
            accepted->ops->peer(accepted, &peer);
            assert_int_equal(strncmp(peer.address, j == 2 ? "[::1]:" : "127.0.0.1:", 6), 0);
            accepted->ops->close(accepted);
            bytes->ops->close(bytes);
        }
        struct telex_bytes *bytes; /* what it says of itself can be dialed, too */
        assert_int_equal(streams_dial(port->ops->address(port), streams_soon(), &bytes), 0);
        bytes->ops->close(bytes);
        port->ops->close(port);
    }
}

static void ports_in_use(void **state)
{
    (void)state;
    struct streams streams = streams_new("tcp://127.0.0.1:0", "");
    struct telex_bytes_port *other;
    char text[64];
    snprintf(text, sizeof text, "%s", streams.port->ops->address(streams.port));
    assert_int_equal(streams_listen(text, &other), -EADDRINUSE);
    assert_non_null(strstr(telex_said(), text));
    streams.accepted->ops->close(streams.accepted); /* this end stays in TIME_WAIT, which does not hinder */
    streams.accepted = NULL;
    streams_free(&streams);
    assert_int_equal(streams_listen(text, &other), 0);
    other->ops->close(other);
}

static int option_of(struct telex_bytes *bytes, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    getsockopt(bytes->ops->descriptor(bytes), level, name, &value, &length);
    return value;
}

static void tuning_is_inherited(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *dial;
        int idle, between, count;
    } each[] = {
        {"tcp://127.0.0.1:0", "", 20, 5, 4},
        {"tcp://127.0.0.1:0?keepalive=8s", "?keepalive=8s", 4, 1, 4},
        {"tcp://127.0.0.1:0?keepalive=4s", "?keepalive=4s", 1, 1, 3},
        {"tcp://127.0.0.1:0?keepalive=1080min", "?keepalive=1080min", 32400, 8100, 4},
    };
    for (int at = 0; at < 8; at++) {
        struct streams tuned = streams_new(each[at / 2].listen, each[at / 2].dial);
        struct telex_bytes *bytes = at % 2 == 0 ? tuned.dialed : tuned.accepted;
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPIDLE), each[at / 2].idle);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPINTVL), each[at / 2].between);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_KEEPCNT), each[at / 2].count);
        streams_free(&tuned);
    }
    struct streams streams = streams_new("tcp://127.0.0.1:0", "");
    for (int i = 0; i < 2; i++) {
        struct telex_bytes *bytes = i == 0 ? streams.dialed : streams.accepted;
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option_of(bytes, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(bytes, IPPROTO_TCP, TCP_USER_TIMEOUT),
                         0); /* it would break with a peer that only reads late */
        assert_true((fcntl(bytes->ops->descriptor(bytes), F_GETFD) & FD_CLOEXEC) != 0);
    }
    int fd = 0;
    assert_int_equal(streams_pass(streams.dialed, "x", &fd, 1), -EOPNOTSUPP);
    streams_free(&streams);
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* In a network of its own with one port to pick, a socket that dials this port gets it as its own end. */
static void never_dials_itself(void **state)
{
    (void)state;
    struct ifreq interface = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return; /* not permitted here */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = ioctl(fd, SIOCSIFFLAGS, &interface) == 0;
    close(fd);
    if (!up || !write_file("/proc/sys/net/ipv4/ip_local_port_range", "40001 40001"))
        return;
    struct telex_bytes *bytes;
    assert_int_equal(streams_dial("tcp://127.0.0.1:40001", streams_soon(), &bytes), -ECONNREFUSED);
    assert_int_equal(streams_dial("tcp://[::1]:40001", streams_soon(), &bytes), -ECONNREFUSED);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct telex_resolved resolved;
    assert_int_equal(telex_resolve("localhost", 80, streams_soon(), &resolved), 0);
    bool found = false;
    for (unsigned i = 0; i < resolved.count; i++) {
        found = found || (resolved.hosts[i].any.sa_family == AF_INET &&
                          resolved.hosts[i].v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
        assert_int_equal(ntohs(resolved.hosts[i].v4.sin_port), 80);
    }
    assert_true(found);
    assert_int_equal(telex_resolve("::1", 80, 0, &resolved), 0);
    assert_int_equal(resolved.count, 1);
    assert_int_equal(resolved.hosts[0].any.sa_family, AF_INET6);
    assert_int_equal(telex_resolve("fe80::1%lo", 80, 0, &resolved), 0);
    assert_int_equal(resolved.hosts[0].v6.sin6_scope_id, 1);
    assert_int_equal(telex_resolve("fe80::1%nosuch0", 80, 0, &resolved), -EINVAL);
    assert_non_null(strstr(telex_said(), "nosuch0"));
    assert_int_equal(telex_resolve("a..b", 80, streams_soon(), &resolved), -EINVAL);
}

static const struct testing_case cases[] = {
    TESTING_CASE(paths),
    TESTING_CASE(a_datagram_socket_is_somebody),
    TESTING_CASE(paths_without_a_runtime_directory),
    TESTING_CASE(a_forked_child_keeps_the_path),
    TESTING_CASE(abstract_names),
    TESTING_CASE(malformed),
    TESTING_CASE(nobody_listens),
    TESTING_CASE(not_permitted),
    TESTING_CASE(full_queues),
    TESTING_CASE(dialing_is_interrupted),
    TESTING_CASE(every_interface),
    TESTING_CASE(ports_in_use),
    TESTING_CASE(tuning_is_inherited),
    TESTING_CASE(never_dials_itself),
    TESTING_CASE(names_are_looked_up),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "places", cases, sizeof cases / sizeof *cases);
}
