/* SPDX-License-Identifier: MIT */
/*
 * iceoryx, by a publisher and a subscriber for each direction: trying again, or asleep in a wait set. It needs a
 * daemon, iox-roudi, which lives for the run. Without the library: not built.
 */
#include "bench.h"

#ifdef BENCH_ICEORYX
#include <errno.h>
#include <fcntl.h>
#include <iceoryx_binding_c/api.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum variant { SPIN, BLOCK };
enum { QUEUED = 256, BYTES = 4 << 20, SPARE = 32 };

struct end {
    iox_pub_storage_t publisher_storage;
    iox_sub_storage_t subscriber_storage;
    iox_ws_storage_t wait_set_storage;
    iox_pub_t publisher;
    iox_sub_t subscriber;
    iox_ws_t wait_set;   /* NULL: it spins */
    const void *message; /* the last one that came; it lies in the memory of iceoryx */
    int life[2];         /* a pipe, to see when the dialing side has gone: it holds the end for writing */
};

/* ---- the daemon ------------------------------------------------------------------------------------------ */

static pid_t daemon_pid;

/* Fewer messages than a queue may hold where they are long: memory that stays in the caches is quicker. */
static unsigned queued(size_t size)
{
    return size * QUEUED <= BYTES ? QUEUED : size * 4 <= BYTES ? (unsigned)(BYTES / size) : 4;
}

/* Its memory: so many chunks of the size in question as both directions can hold. */
static int daemon_config(size_t size)
{
    char text[256];
    int fd = memfd_create("telex-bench", 0);
    int length = snprintf(text, sizeof text,
                          "[general]\nversion = 1\n[[segment]]\n[[segment.mempool]]\nsize = %zu\ncount = %u\n",
                          (size + 31) & ~(size_t)31, 2 * queued(size) + SPARE);
    if (fd < 0 || pwrite(fd, text, (size_t)length, 0) != length)
        bench_fail("memfd_create: %s", strerror(errno));
    return fd;
}

/* It must not outlive this process, however that ends, and need not stay on the core that this process is pinned to. */
static _Noreturn void daemon_run(pid_t parent, size_t size, int out)
{
    char config[32];
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    sched_setaffinity(0, sizeof all, &all);
    snprintf(config, sizeof config, "/proc/self/fd/%d", daemon_config(size));
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execlp("iox-roudi", "iox-roudi", "-m", "off", "-k", "1", "-c", config, (char *)NULL);
    _exit(127);
}

static void daemon_stop(void)
{
    if (daemon_pid > 0 && kill(daemon_pid, SIGTERM) == 0)
        waitpid(daemon_pid, NULL, 0);
}

/* Returns when it says that it is ready. It says little later: the pipe is kept open, and never full. */
static void daemon_start(size_t size)
{
    int out[2];
    char said[4096];
    size_t length = 0;
    if (pipe2(out, O_CLOEXEC) < 0)
        bench_fail("pipe: %s", strerror(errno));
    pid_t parent = getpid();
    daemon_pid = fork();
    if (daemon_pid == 0)
        daemon_run(parent, size, out[1]);
    close(out[1]);
    while (length < sizeof said - 1) {
        ssize_t n = read(out[0], said + length, sizeof said - 1 - length);
        if (n <= 0)
            break;
        length += (size_t)n;
        said[length] = 0;
        if (strstr(said, "RouDi is ready for clients"))
            return;
    }
    said[length] = 0;
    daemon_stop();
    bench_fail("iox-roudi does not start: %s", length == 0                     ? "it cannot be run"
                                               : strstr(said, "still running") ? "another one is running"
                                                                               : said);
}

/* ---- the two sides --------------------------------------------------------------------------------------- */

static struct end *end_new(const struct bench_contender *contender, const char *instance, size_t size, bool listens)
{
    struct end *end = calloc(1, sizeof *end);
    if (!end)
        bench_fail("out of memory");
    iox_set_loglevel(Iceoryx_LogLevel_Off);
    iox_runtime_init(bench_unique());

    iox_pub_options_t out;
    iox_pub_options_init(&out);
    out.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    end->publisher = iox_pub_init(&end->publisher_storage, "telex-bench", instance, listens ? "back" : "there", &out);

    iox_sub_options_t in;
    iox_sub_options_init(&in);
    in.queueCapacity = queued(size);
    in.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    end->subscriber = iox_sub_init(&end->subscriber_storage, "telex-bench", instance, listens ? "there" : "back", &in);
    if (contender->variant == BLOCK) {
        end->wait_set = iox_ws_init(&end->wait_set_storage);
        if (iox_ws_attach_subscriber_state(end->wait_set, end->subscriber, SubscriberState_HAS_DATA, 0, NULL) !=
            WaitSetResult_SUCCESS)
            bench_fail("iox_ws_attach_subscriber_state failed");
    }
    return end;
}

/* The daemon brings both together, in its own time. */
static void end_meet(struct end *end)
{
    while (!iox_pub_has_subscribers(end->publisher) ||
           iox_sub_get_subscription_state(end->subscriber) != SubscribeState_SUBSCRIBED)
        usleep(1000);
}

/* The daemon is stopped by atexit() after the library has said goodbye to it, which it does by atexit() as well. */
static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    (void)medium;
    int life[2];
    daemon_start(size);
    atexit(daemon_stop);
    if (pipe2(life, O_CLOEXEC) < 0)
        bench_fail("pipe: %s", strerror(errno));
    snprintf(address, BENCH_ADDRESS, "/proc/%d/fd/%d", (int)getpid(), life[1]);
    struct end *end = end_new(contender, address, size, true);
    memcpy(end->life, life, sizeof life);
    return end;
}

static void pair_accept(void *each)
{
    struct end *end = each;
    end_meet(end);
    close(end->life[1]);
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)medium;
    int life = open(address, O_WRONLY | O_CLOEXEC);
    if (life < 0)
        bench_fail("%s: %s", address, strerror(errno));
    struct end *end = end_new(contender, address, size, false);
    end->life[0] = -1;
    end->life[1] = life;
    end_meet(end);
    return end;
}

/* Chunks that the other side still has come back soon. */
static void pair_send(void *each, const void *data, size_t size)
{
    struct end *end = each;
    void *chunk;
    enum iox_AllocationResult result = iox_pub_loan_chunk(end->publisher, &chunk, (uint32_t)size);
    if (result != AllocationResult_SUCCESS)
        bench_fail("iox_pub_loan_chunk: %d", (int)result);
    memcpy(chunk, data, size);
    iox_pub_publish_chunk(end->publisher, chunk);
}

/* In place: the message before is given back first. All messages of a run are of one size. */
static const unsigned char *pair_receive(void *each, size_t size)
{
    (void)size;
    struct end *end = each;
    iox_notification_info_t news;
    uint64_t missed;
    enum iox_ChunkReceiveResult result;
    if (end->message)
        iox_sub_release_chunk(end->subscriber, end->message);
    end->message = NULL;
    while ((result = iox_sub_take_chunk(end->subscriber, &end->message)) == ChunkReceiveResult_NO_CHUNK_AVAILABLE) {
        if (end->wait_set)
            iox_ws_wait(end->wait_set, &news, 1, &missed);
    }
    if (result != ChunkReceiveResult_SUCCESS)
        bench_fail("iox_sub_take_chunk: %d", (int)result);
    return end->message;
}

/*
 * The library takes leave of the daemon only when the process ends by exit(), and the daemon ends processes that have
 * not: so both sides end here, the dialing one first.
 */
static void pair_close(void *each)
{
    struct end *end = each;
    char nothing;
    if (end->message)
        iox_sub_release_chunk(end->subscriber, end->message);
    if (end->wait_set) {
        iox_ws_detach_subscriber_state(end->wait_set, end->subscriber, SubscriberState_HAS_DATA);
        iox_ws_deinit(end->wait_set);
    }
    iox_sub_deinit(end->subscriber);
    iox_pub_deinit(end->publisher);
    if (end->life[0] >= 0)
        while (read(end->life[0], &nothing, 1) < 0 && errno == EINTR)
            ;
    exit(0);
}

#define ICEORYX(NAME, VARIANT, SHOWS)                                                                                  \
    {                                                                                                                  \
        .name = NAME, .shows = SHOWS, .variant = VARIANT, .listen = pair_listen, .accept = pair_accept,                \
        .dial = pair_dial, .send = pair_send, .receive = pair_receive, .close = pair_close,                            \
    }

const struct bench_contender bench_iceoryx =
    ICEORYX("iceoryx", SPIN, "iox_pub_loan_chunk, iox_pub_publish_chunk, iox_sub_take_chunk; spins; read in place");
const struct bench_contender bench_iceoryx_block =
    ICEORYX("iceoryx wait set", BLOCK, "the same, asleep in iox_ws_wait");

#else

const struct bench_contender bench_iceoryx = {.name = "iceoryx"};
const struct bench_contender bench_iceoryx_block = {.name = "iceoryx wait set"};

#endif
