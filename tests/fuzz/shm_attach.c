/* SPDX-License-Identifier: MIT */
/*
 * Bytes as what a dialer of shared memory sends first: its greeting and struct shm_attach, with good memory. They come whole or in two parts. The listener
 * lets it in, refuses it with a sentence, or shows it out; others are let in afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "hostile/attacker.h"
#include "telex/telex.h"

static char path[64];
static telex_listener *listener;

static void remove_path(void)
{
    telex_listener_close(listener);
    unlink(path);
}

static void begin(void)
{
    char address[200];
    snprintf(path, sizeof path, "/tmp/telex-fuzz-%d", (int)getpid());
    snprintf(address, sizeof address, "shm://%s?ring=16KiB&arena=64KiB&descriptors=4", path);
    require(telex_listen(address, NULL, &listener) == 0);
    atexit(remove_path);
}

static void send_part(int socket, const uint8_t *bytes, size_t length, const int *fds, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof *fds)};
        memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    }
    if (length > 0)
        require(sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)length || errno == EPIPE || errno == ECONNRESET);
}

/* Whoever was not let in was told why, in good text, or was cut off. */
static void check_answer(int socket)
{
    static uint8_t answer[16384];
    ssize_t got = recv(socket, answer, sizeof answer, MSG_DONTWAIT);
    if (got < 16)
        return;
    size_t greeting = answer[12] | (size_t)answer[13] << 8;
    struct shm_attach attach;
    require((size_t)got >= greeting + sizeof attach);
    memcpy(&attach, answer + greeting, sizeof attach);
    require(attach.magic == SHM_MAGIC && attach.version == SHM_VERSION);
    if (attach.kind == SHM_REFUSED)
        require(attach.sentence > 0 && telex_utf8_valid((const char *)answer + greeting + sizeof attach, attach.sentence));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 2 || length > 8192)
        return 0;
    if (listener == NULL)
        begin();
    uint8_t how = bytes[0];
    size_t cut = how & 1 ? bytes[1] % (length - 1) : length - 2;
    struct attacker attacker;
    attacker_init(&attacker, true, NULL);
    int fds[2] = {attacker.memory_fd, attacker.decisions_fd};
    unsigned count = how & 2 ? (how >> 2) % 3 : 2;
    int socket = attacker_connect(path);
    attacker.socket = socket;
    bytes += 2;
    length -= 2;
    cut = cut < length ? cut : length;
    telex_channel *channel = NULL;
    send_part(socket, bytes, cut, fds, count);
    int r = telex_accept(listener, TELEX_NOW, &channel);
    if (r < 0 && cut < length) {
        send_part(socket, bytes + cut, length - cut, NULL, 0);
        r = telex_accept(listener, TELEX_NOW, &channel);
    }
    require(r == 0 || r == -EAGAIN);
    check_answer(socket);
    telex_close(channel, TELEX_NOW, NULL);
    attacker_deinit(&attacker);
    r = telex_accept(listener, TELEX_NOW, &channel); /* sees that it is gone */
    require(r == -EAGAIN);
    return 0;
}
