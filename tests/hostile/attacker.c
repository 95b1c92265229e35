/* SPDX-License-Identifier: MIT */
#include "hostile/attacker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { FDS_A_MESSAGE = 50, HELLO_MOST = 8192 };

/* Whatever this peer cannot do is a fault of the test. */
static void need(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "the attacker cannot %s: %s\n", what, strerror(errno));
    abort();
}

/* ---- sockets ---- */

static struct sockaddr_un name_of(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    return name;
}

int attacker_listen(const char *path)
{
    struct sockaddr_un name = name_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path);
    need(fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && listen(fd, 64) == 0, "listen");
    return fd;
}

int attacker_connect(const char *path)
{
    struct sockaddr_un name = name_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0, "connect");
    return fd;
}

int attacker_accept(int listening, unsigned milliseconds)
{
    struct pollfd fd = {.fd = listening, .events = POLLIN};
    return poll(&fd, 1, (int)milliseconds) > 0 ? accept4(listening, NULL, NULL, SOCK_CLOEXEC) : -1;
}

/* ---- its memory ---- */

static uint8_t *map(int fd, uint64_t ring, uint64_t arena, int protection)
{
    uint64_t page = sizeof(struct shm_page), length = page + 2 * ring + arena;
    uint8_t *base = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    need(base != MAP_FAILED, "map");
    bool good = mmap(base, page + ring, protection, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED &&
                mmap(base + page + ring, ring, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)page) != MAP_FAILED &&
                (arena == 0 || mmap(base + page + 2 * ring, arena, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)(page + ring)) != MAP_FAILED);
    need(good, "map memory");
    return base;
}

static int make_file(const struct offer *offer, uint64_t size)
{
    int fd = memfd_create("attacker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    need(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "make memory");
    if (offer->elsewhere)
        need(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)(size + 8192), (off_t)(size + (4 << 20))) == 0, "allocate behind the end");
    else if (!offer->sparse && size > 0)
        need(fallocate(fd, 0, 0, (off_t)size) == 0, "allocate");
    return fd;
}

static void make_memory(struct attacker *attacker, const struct offer *offer)
{
    uint64_t size = sizeof(struct shm_page) + attacker->ring_size + attacker->arena_size;
    attacker->memory_fd = make_file(offer, size + (uint64_t)offer->longer);
    if (offer->longer >= 0) {
        attacker->base = map(attacker->memory_fd, attacker->ring_size, attacker->arena_size, PROT_READ | PROT_WRITE);
        attacker->page = attacker->base;
        attacker->ring = (uint8_t *)attacker->base + sizeof(struct shm_page);
        attacker->arena = attacker->ring + 2 * attacker->ring_size;
    }
    int seals = ((F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) & ~offer->without) | offer->with;
    need(fcntl(attacker->memory_fd, F_ADD_SEALS, seals) == 0, "seal");
}

static void make_decisions(struct attacker *attacker, const struct offer *offer)
{
    static const struct offer good;
    attacker->decisions_fd = make_file(&good, SHM_PAGE + (uint64_t)offer->decisions_longer);
    int seals = ((F_SEAL_SHRINK | F_SEAL_GROW) & ~offer->decisions_without) | offer->decisions_with;
    if (!(seals & F_SEAL_WRITE) && offer->decisions_longer >= 0) {
        attacker->decisions = mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, attacker->decisions_fd, 0);
        need(attacker->decisions != MAP_FAILED, "map decisions");
    }
    need(fcntl(attacker->decisions_fd, F_ADD_SEALS, seals) == 0, "seal decisions");
}

void attacker_init(struct attacker *attacker, bool dials, const struct offer *offer)
{
    static const struct offer good;
    if (offer == NULL)
        offer = &good;
    *attacker = (struct attacker){.dials = dials, .ring_size = ATTACKER_RING, .arena_size = ATTACKER_ARENA};
    attacker->socket = attacker->memory_fd = attacker->decisions_fd = attacker->their_fd = -1;
    make_memory(attacker, offer);
    if (dials)
        make_decisions(attacker, offer);
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void attacker_deinit(struct attacker *attacker)
{
    uint64_t page = sizeof(struct shm_page);
    if (attacker->base != NULL)
        munmap(attacker->base, page + 2 * attacker->ring_size + attacker->arena_size);
    if (attacker->their_base != NULL)
        munmap(attacker->their_base, page + 2 * attacker->their_ring_size + attacker->their_arena_size);
    if (attacker->decisions != NULL)
        munmap(attacker->decisions, SHM_PAGE);
    int *fds[] = {&attacker->socket, &attacker->memory_fd, &attacker->decisions_fd, &attacker->their_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close_one(fds[i]);
    *attacker = (struct attacker){.socket = -1, .memory_fd = -1, .decisions_fd = -1, .their_fd = -1};
}

/* ---- greeting ---- */

static int foreign_fd(enum foreign kind, const struct attacker *attacker)
{
    int fds[2] = {-1, -1};
    char path[64] = "/tmp/telex-hostile-XXXXXX";
    switch (kind) {
    case A_PIPE:
        need(pipe2(fds, O_CLOEXEC) == 0, "make a pipe");
        break;
    case A_SOCKET:
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "make sockets");
        break;
    case A_ZERO:
        fds[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        break;
    case A_DIRECTORY:
        fds[0] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        break;
    case A_FILE:
        fds[0] = mkostemp(path, O_CLOEXEC);
        need(fds[0] >= 0 && unlink(path) == 0 && ftruncate(fds[0], SHM_PAGE) == 0, "make a file");
        break;
    default: /* its memory, but opened for reading only */
        snprintf(path, sizeof path, "/proc/self/fd/%d", attacker->decisions_fd >= 0 ? attacker->decisions_fd : attacker->memory_fd);
        fds[0] = open(path, O_RDONLY | O_CLOEXEC);
    }
    close_one(&fds[1]);
    need(fds[0] >= 0, "open something");
    return fds[0];
}

/* Which descriptors go with the greeting; all are to be closed. */
static unsigned list_descriptors(const struct attacker *attacker, const struct offer *offer, int *fds)
{
    unsigned count = 0;
    if (!offer->no_descriptors) {
        fds[count++] = offer->memory != AS_WANTED ? foreign_fd(offer->memory, attacker) : dup(attacker->memory_fd);
        if (attacker->dials && !offer->only_one)
            fds[count++] = offer->decisions != AS_WANTED ? foreign_fd(offer->decisions, attacker) : dup(attacker->decisions_fd);
    }
    while (count < offer->descriptors)
        fds[count++] = dup(attacker->memory_fd);
    return count;
}

/* One byte or more, with up to FDS_A_MESSAGE descriptors. Whether the victim still listens. */
static bool send_with(int socket, const void *data, size_t length, const int *fds, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {(void *)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)length;
}

static void put_hello(const struct attacker *attacker, const struct offer *offer, struct bytes *bytes)
{
    struct shm_attach attach = {
        .magic = offer->magic != 0 ? offer->magic : SHM_MAGIC,
        .version = offer->version != 0 ? offer->version : SHM_VERSION,
        .kind = offer->kind != 0 ? offer->kind : SHM_ATTACH,
        .ring = offer->ring != 0 ? offer->ring : attacker->ring_size,
        .arena = offer->arena == UINT64_MAX ? 0 : offer->arena != 0 ? offer->arena : attacker->arena_size,
        .code = offer->code,
        .sentence = offer->sentence != 0 ? offer->sentence : offer->text != NULL ? (uint32_t)strlen(offer->text) : 0,
    };
    attach.reserved[6] = offer->reserved;
    put_greeting(bytes);
    memcpy(bytes->at + bytes->length, &attach, sizeof attach);
    bytes->length += sizeof attach;
    if (offer->text != NULL) {
        memcpy(bytes->at + bytes->length, offer->text, strlen(offer->text));
        bytes->length += strlen(offer->text);
    }
    if (offer->cut > 0 && offer->cut < bytes->length)
        bytes->length = offer->cut;
}

void attacker_greet(struct attacker *attacker, int socket, const struct offer *offer)
{
    static const struct offer good;
    if (offer == NULL)
        offer = &good;
    attacker->socket = socket;
    struct bytes bytes = {.length = 0};
    put_hello(attacker, offer, &bytes);
    int fds[ATTACKER_FDS];
    unsigned count = list_descriptors(attacker, offer, fds), sent = 0;
    size_t from = 0;
    while (count - sent > FDS_A_MESSAGE && send_with(socket, bytes.at + from, 1, fds + sent, FDS_A_MESSAGE)) {
        from++;
        sent += FDS_A_MESSAGE;
    }
    send_with(socket, bytes.at + from, bytes.length - from, fds + sent, count - sent < FDS_A_MESSAGE ? count - sent : FDS_A_MESSAGE);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    if (offer->cut > 0 && !offer->silent)
        shutdown(socket, SHUT_WR);
}

/* ---- what the victim says ---- */

static ssize_t receive_with(int socket, void *data, size_t length, int *fds, unsigned *count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec part = {data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        *count = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
        memcpy(fds, CMSG_DATA(head), *count * sizeof *fds);
    }
    return got;
}

static bool readable(int socket, int64_t until)
{
    int64_t left = until - now_ms();
    struct pollfd fd = {.fd = socket, .events = POLLIN};
    return poll(&fd, 1, left > 0 ? (int)left : 0) > 0;
}

static void open_theirs(struct attacker *attacker, const int *fds, unsigned count)
{
    need(count == (attacker->dials ? 1 : 2), "get the victim's memory");
    attacker->their_fd = fds[0];
    attacker->their_ring_size = attacker->said.ring;
    attacker->their_arena_size = attacker->said.arena;
    uint8_t *base = map(fds[0], attacker->said.ring, attacker->said.arena, PROT_READ);
    attacker->their_base = base;
    attacker->their_page = (const struct shm_page *)base;
    attacker->their_ring = base + sizeof(struct shm_page);
    attacker->their_arena = attacker->their_ring + 2 * attacker->said.ring;
    if (count == 1)
        return;
    attacker->decisions_fd = fds[1];
    attacker->decisions = mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
    need(attacker->decisions != MAP_FAILED, "map the victim's decisions");
}

int attacker_hear(struct attacker *attacker, unsigned milliseconds)
{
    static uint8_t hello[HELLO_MOST];
    size_t length = 0, greeting = 0;
    int fds[4];
    unsigned count = 0;
    int64_t until = now_ms() + milliseconds;
    for (;;) {
        if (greeting > 0 && length >= greeting + sizeof attacker->said) {
            memcpy(&attacker->said, hello + greeting, sizeof attacker->said);
            if (length >= greeting + sizeof attacker->said + attacker->said.sentence)
                break;
        }
        ssize_t got = readable(attacker->socket, until) ? receive_with(attacker->socket, hello + length, sizeof hello - length, fds, &count) : -1;
        if (got <= 0)
            return -1;
        length += (size_t)got;
        if (length >= 16)
            greeting = hello[12] | (size_t)hello[13] << 8;
    }
    snprintf(attacker->sentence, sizeof attacker->sentence, "%.*s", (int)attacker->said.sentence, hello + greeting + sizeof attacker->said);
    if (attacker->said.kind != SHM_ATTACH)
        return 0;
    open_theirs(attacker, fds, count);
    return 1;
}

bool attacker_attach(struct attacker *attacker, int socket)
{
    if (attacker->dials) {
        attacker_greet(attacker, socket, NULL);
        return attacker_hear(attacker, 10000) == 1;
    }
    attacker->socket = socket;
    if (attacker_hear(attacker, 10000) != 1)
        return false;
    attacker_greet(attacker, socket, NULL);
    return true;
}

bool attacker_hung_up(struct attacker *attacker)
{
    char rings[4096];
    ssize_t got;
    while ((got = recv(attacker->socket, rings, sizeof rings, MSG_DONTWAIT)) > 0)
        ;
    return got == 0 || (errno != EAGAIN && errno != EINTR);
}

void attacker_ring(struct attacker *attacker)
{
    send(attacker->socket, "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void attacker_send_descriptors(struct attacker *attacker, unsigned count)
{
    int fds[FDS_A_MESSAGE];
    for (unsigned i = 0; i < count; i++)
        fds[i] = attacker->memory_fd;
    send_with(attacker->socket, "!", 1, fds, count);
}

/* ---- records ---- */

static void wake(struct attacker *attacker)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (attacker->their_page == NULL) /* not attached yet */
        return;
    if (atomic_load(&attacker->their_page->asleep_in) != 0 || atomic_load(&attacker->their_page->asleep_out) != 0)
        attacker_ring(attacker);
}

static struct shm_record *place(const struct attacker *attacker, uint64_t position)
{
    return (struct shm_record *)(attacker->ring + position % attacker->ring_size);
}

bool attacker_has_room(const struct attacker *attacker, size_t length)
{
    return attacker->tail - atomic_load(&attacker->their_page->progress.head) + length + 4 * SHM_RECORD <= attacker->ring_size;
}

void attacker_put_what(struct attacker *attacker, uint64_t what, uint64_t number, const void *body, size_t length)
{
    struct shm_record *record = place(attacker, attacker->tail);
    memcpy(record + 1, body, length);
    record->number = number;
    attacker->tail += (SHM_RECORD + length + SHM_RECORD - 1) / SHM_RECORD * SHM_RECORD;
    atomic_store_explicit(&place(attacker, attacker->tail)->what, 0, memory_order_relaxed);
    atomic_store_explicit(&record->what, what, memory_order_release);
    wake(attacker);
}

void attacker_put(struct attacker *attacker, unsigned flags, unsigned lane, uint64_t number, const void *body, size_t length)
{
    attacker_put_what(attacker, SHM_WHAT(length, 0, lane, flags), number, body, length);
}

void attacker_put_control(struct attacker *attacker, unsigned type, uint64_t number, const void *body, size_t length)
{
    struct bytes bytes = {.length = 0};
    put_header(&bytes, length, type, SHM_CONTROL_LANE, 0, number);
    memcpy(bytes.at + bytes.length, body, length);
    attacker_put(attacker, 0, SHM_CONTROL_LANE, 0, bytes.at, bytes.length + length);
}

uint64_t attacker_take(struct attacker *attacker, uint64_t *ret_number, const uint8_t **ret_body)
{
    const struct shm_record *record = (const struct shm_record *)(attacker->their_ring + attacker->at % attacker->their_ring_size);
    uint64_t what = atomic_load_explicit(&record->what, memory_order_acquire);
    if (what == 0)
        return 0;
    uint64_t size = (uint32_t)what, bytes = (SHM_RECORD + size + SHM_RECORD - 1) / SHM_RECORD * SHM_RECORD;
    unsigned flags = (unsigned)(what >> 56);
    *ret_number = record->number;
    *ret_body = (const uint8_t *)(record + 1);
    attacker->at += bytes;
    if ((uint8_t)(what >> 48) == SHM_CONTROL_LANE)
        return what;
    if (!(flags & SHM_REPLY)) {
        attacker->cost += bytes;
        attacker->costly++;
        if (flags & SHM_CHUNK) {
            struct shm_chunk chunk;
            memcpy(&chunk, *ret_body + (flags & SHM_MORE ? 8 : 0), sizeof chunk); /* right for the first piece, and for whole ones */
            attacker->cost += chunk.length;
        }
    }
    attacker->messages += !(flags & SHM_MORE);
    return what;
}

void attacker_tell(struct attacker *attacker)
{
    struct shm_progress *progress = &attacker->page->progress;
    atomic_store_explicit(&progress->head, attacker->at, memory_order_release);
    atomic_store_explicit(&progress->cost, attacker->cost, memory_order_release);
    atomic_store_explicit(&progress->costly, attacker->costly, memory_order_release);
    atomic_store_explicit(&progress->prefix, attacker->messages, memory_order_release);
    atomic_store_explicit(&progress->messages, attacker->messages, memory_order_release);
    wake(attacker);
}

/* ---- small helpers ---- */

uint64_t any(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * UINT64_C(0x9E3779B97F4A7C15);
}

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void proc_path(pid_t process, const char *what, char *ret_path, size_t size)
{
    if (process == 0)
        snprintf(ret_path, size, "/proc/self/%s", what);
    else
        snprintf(ret_path, size, "/proc/%d/%s", (int)process, what);
}

size_t open_descriptors(pid_t process)
{
    char path[64];
    proc_path(process, "fd", path, sizeof path);
    DIR *directory = opendir(path);
    size_t count = 0;
    need(directory != NULL, "list descriptors");
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

size_t shared_mappings(pid_t process)
{
    char path[64], line[512];
    proc_path(process, "maps", path, sizeof path);
    FILE *file = fopen(path, "re");
    size_t count = 0;
    need(file != NULL, "list mappings");
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, "/memfd:") != NULL;
    fclose(file);
    return count;
}
