/* SPDX-License-Identifier: MIT */
/*
 * UCX, which carries the messages of MPI and the like, over its transports for two processes of one host. Nobody
 * sleeps in it: each side tries again until something has come. Without the library: not built.
 */
#include "bench.h"

#ifdef BENCH_UCX
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

enum { TAG = 1, LONGEST_ADDRESS = 4096 };

struct end {
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h peer;
    int fd; /* where the dialing side reads how to get here */
    unsigned char *buffer;
};

static void check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK)
        bench_fail("%s: %s", what, ucs_status_string(status));
}

/*
 * Its quickest way here, found by trying: all through its shared memory, in large pieces. With pieces of 8 KiB, its
 * default, or with cma, where one process reads the memory of the other, 64 KiB take two to three times as long. Its
 * pieces must be shorter than 64 KiB. Whoever knows better may say so in the environment.
 */
static const struct {
    const char *name, *value;
} tuning[] = {{"UCX_TLS", "posix,self"}, {"UCX_POSIX_SEG_SIZE", "32k"}, {"UCX_RNDV_THRESH", "inf"}};

static struct end *end_new(size_t size)
{
    const ucp_params_t features = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG};
    const ucp_worker_params_t mode = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                      .thread_mode = UCS_THREAD_MODE_SINGLE};
    struct end *end = malloc(sizeof *end);
    if (!end)
        bench_fail("out of memory");
    *end = (struct end){.fd = -1, .buffer = malloc(size > LONGEST_ADDRESS ? size : LONGEST_ADDRESS)};
    if (!end->buffer)
        bench_fail("out of memory");
    for (unsigned i = 0; i < sizeof tuning / sizeof *tuning; i++)
        setenv(tuning[i].name, tuning[i].value, 0);
    ucp_config_t *config;
    check(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
    check(ucp_init(&features, config, &end->context), "ucp_init");
    ucp_config_release(config);
    check(ucp_worker_create(end->context, &mode, &end->worker), "ucp_worker_create");
    return end;
}

static void end_meet(struct end *end, const void *address)
{
    const ucp_ep_params_t peer = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = address};
    check(ucp_ep_create(end->worker, &peer, &end->peer), "ucp_ep_create");
}

static void settle(struct end *end, ucs_status_ptr_t request, const char *what)
{
    ucs_status_t status;
    if (!UCS_PTR_IS_PTR(request)) {
        check(UCS_PTR_STATUS(request), what);
        return;
    }
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
        ucp_worker_progress(end->worker);
    ucp_request_free(request);
    check(status, what);
}

static void pair_send(void *each, const void *data, size_t size)
{
    const ucp_request_param_t plain = {0};
    struct end *end = each;
    settle(end, ucp_tag_send_nbx(end->peer, data, size, TAG, &plain), "ucp_tag_send_nbx");
}

/* Returns how many bytes came. */
static size_t take(struct end *end, size_t size)
{
    ucp_tag_recv_info_t info;
    const ucp_request_param_t plain = {.op_attr_mask = UCP_OP_ATTR_FIELD_RECV_INFO, .recv_info.tag_info = &info};
    ucs_status_ptr_t request = ucp_tag_recv_nbx(end->worker, end->buffer, size, TAG, UINT64_MAX, &plain);
    if (UCS_PTR_IS_PTR(request)) {
        while (ucp_tag_recv_request_test(request, &info) == UCS_INPROGRESS)
            ucp_worker_progress(end->worker);
    }
    settle(end, request, "ucp_tag_recv_nbx");
    return info.length;
}

static const unsigned char *pair_receive(void *each, size_t size)
{
    struct end *end = each;
    size_t got = take(end, size);
    if (got != size)
        bench_fail("%zu bytes came where %zu were sent", got, size);
    return end->buffer;
}

/* An address of UCX is longer than one of ours: it lies in a file without a name. */
static void *pair_listen(const struct bench_contender *contender, const char *medium, size_t size,
                         char address[BENCH_ADDRESS])
{
    (void)contender, (void)medium;
    struct end *end = end_new(size);
    ucp_address_t *own;
    size_t length;
    check(ucp_worker_get_address(end->worker, &own, &length), "ucp_worker_get_address");
    end->fd = memfd_create("telex-bench", MFD_CLOEXEC);
    if (end->fd < 0 || pwrite(end->fd, own, length, 0) != (ssize_t)length)
        bench_fail("memfd_create: %s", strerror(errno));
    ucp_worker_release_address(end->worker, own);
    snprintf(address, BENCH_ADDRESS, "/proc/%d/fd/%d", (int)getpid(), end->fd);
    return end;
}

/* The first message is where the other side is; the answer makes sure that both ways are there. */
static void pair_accept(void *each)
{
    struct end *end = each;
    take(end, LONGEST_ADDRESS);
    end_meet(end, end->buffer);
    pair_send(end, "", 1);
}

static void *pair_dial(const struct bench_contender *contender, const char *medium, size_t size, const char *address)
{
    (void)contender, (void)medium;
    struct end *end = end_new(size);
    ucp_address_t *own;
    size_t length;
    int fd = open(address, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, end->buffer, LONGEST_ADDRESS) <= 0)
        bench_fail("%s: %s", address, strerror(errno));
    close(fd);
    end_meet(end, end->buffer);
    check(ucp_worker_get_address(end->worker, &own, &length), "ucp_worker_get_address");
    pair_send(end, own, length);
    ucp_worker_release_address(end->worker, own);
    pair_receive(end, 1);
    return end;
}

static void pair_finish(void *each)
{
    const ucp_request_param_t plain = {0};
    struct end *end = each;
    settle(end, ucp_worker_flush_nbx(end->worker, &plain), "ucp_worker_flush_nbx");
}

/* The worker ends its way to the other side with it: an orderly end would need that side, which may have gone. */
static void pair_close(void *each)
{
    struct end *end = each;
    ucp_worker_destroy(end->worker);
    ucp_cleanup(end->context);
    if (end->fd >= 0)
        close(end->fd);
    free(end->buffer);
    free(end);
}

const struct bench_contender bench_ucx = {
    .name = "UCX",
    .shows = "ucp_tag_send_nbx, ucp_tag_recv_nbx through its shared memory; spins",
    .listen = pair_listen,
    .accept = pair_accept,
    .dial = pair_dial,
    .send = pair_send,
    .receive = pair_receive,
    .finish = pair_finish,
    .close = pair_close,
};

#else

const struct bench_contender bench_ucx = {.name = "UCX"};

#endif
