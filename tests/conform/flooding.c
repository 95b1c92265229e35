/* SPDX-License-Identifier: MIT */
/* Peers that send more than they may: memory stays within the limits, and the others are served. */
#include "conform/victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Fills the window with messages that nobody takes, and goes on: found out, with no more memory taken than was granted. */
static void credit_overrun(void **state)
{
    const struct conform_setup *setup = *state;
    char address[512], dialed[512];
    conform_address(setup, "window=256KiB", address, sizeof address);
    telex_listener *listener;
    assert_good(telex_listen(address, NULL, &listener));
    conform_dialable(address, telex_listener_address(listener), dialed, sizeof dialed);
    char *wire = strstr(dialed, "wire=telex");
    memmove(wire + 8, wire + 10, strlen(wire + 10) + 1);
    memcpy(wire, "wire=raw", 8);
    telex_channel *raw, *victim;
    assert_good(telex_dial(dialed, NULL, SECONDS(5), &raw));
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    telex_message message = telex_binary(bytes.at, bytes.length);
    assert_good(telex_send(raw, &message, 0, SECONDS(5)));
    assert_good(telex_accept(listener, SECONDS(5), &victim));
    int r = 0;
    for (uint64_t number = 1; r == 0 && number < 1000; number++) {
        bytes.length = 0;
        put_header(&bytes, 4000, 0, 0, 0, number);
        bytes.length += 4000;
        message = telex_binary(bytes.at, bytes.length);
        if (telex_send(raw, &message, 0, MILLISECONDS(50)) < 0)
            break;
        r = telex_process(victim); /* reads, takes nothing */
    }
    for (int i = 0; i < 100 && r == 0; i++)
        r = telex_process(victim);
    telex_message received = {0};
    int got = 0;
    while ((r = telex_receive(victim, &received, SECONDS(5))) == 0)
        got++; /* what was granted and had arrived whole is still handed out */
    assert_gives(r, -EPROTO, victim);
    because(victim, "credit");
    assert_true(got > 0 && got <= 256 * 1024 / 4016);
    telex_release(&received);
    telex_close(victim, TELEX_NOW, NULL);
    telex_close(raw, TELEX_NOW, NULL);
    telex_listener_close(listener);
}

/* Random bytes after a good greeting: whatever they mean, the server lives and stays small. */
static void garbage(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    size_t before = resident_pages(victim.server);
    unsigned seed = 1;
    for (int i = 0; i < (is_short() ? 20 : 150); i++) {
        struct bytes bytes = {.length = 0};
        if (i % 4 != 0)
            put_greeting(&bytes);
        for (int j = 0; j < 2000; j++) {
            seed = seed * 1103515245 + 12345;
            bytes.at[bytes.length++] =
                (unsigned char)(j % 16 == 2 || j % 16 == 3 ? 0 : seed >> 16); /* sizes that are sometimes believable */
        }
        telex_close(shout(&victim, &bytes), TELEX_NOW, NULL);
    }
    victim_serves(&victim);
    assert_true(resident_pages(victim.server) < before + 8192); /* 32 MiB */
    close(victim.in);
    victim.in = -1;
    signal(SIGPIPE, SIG_IGN);
    telex_close(victim.steady, SECONDS(5), NULL);
    kill(victim.server, SIGKILL);
    waitpid(victim.server, NULL, 0);
}

/* Questions without reading the answers: bounded, and the others are served. */
static void asks_and_does_not_read(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    size_t before = resident_pages(victim.server);
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    telex_channel *raw = shout(&victim, &bytes);
    bytes.length = 0;
    for (uint64_t number = 1; number <= 400; number++)
        put_header(&bytes, 0, 3, 255, 0, number); /* WITHDRAW, each to be answered */
    int r = 0;
    for (int i = 0; i < 2000 && r == 0; i++) {
        telex_message message = telex_binary(bytes.at, bytes.length);
        r = telex_send(raw, &message, 0, MILLISECONDS(200));
    }
    assert_true(r < 0); /* thrown out, or not read any more */
    victim_serves(&victim);
    assert_true(resident_pages(victim.server) < before + 8192);
    telex_close(raw, TELEX_NOW, NULL);
    victim_close(&victim);
}

/* Calls without end, whose replies nobody reads. */
static void calls_and_does_not_read(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "");
    size_t before = resident_pages(victim.server);
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    telex_channel *raw = shout(&victim, &bytes);
    int r = 0;
    uint64_t number = 1;
    for (int i = 0; i < 3000 && r == 0; i++) {
        bytes.length = 0;
        for (int j = 0; j < 400; j++)
            put_header(&bytes, 0, 0, 0, 2, number++);
        telex_message message = telex_binary(bytes.at, bytes.length);
        r = telex_send(raw, &message, 0, MILLISECONDS(500));
    }
    victim_serves(&victim);
    size_t pages = resident_pages(victim.server) - before,
           most = is_short() ? 65536 : 8192; /* 32 MiB; sanitizers take more */
    if (pages >= most)
        fprintf(stderr, "%llu calls that are not read cost %zu KiB\n", (unsigned long long)number, pages * 4);
    assert_true(pages < most);
    telex_close(raw, TELEX_NOW, NULL);
    victim_close(&victim);
}

static unsigned open_files(pid_t process)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)process);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int connect_unix(const char *address)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *where = strstr(address, "://") + 3;
    size_t length = strcspn(where, "?");
    memcpy(to.sun_path, where, length);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_good(connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)));
    return fd;
}

static ssize_t send_with_files(int fd, const struct bytes *bytes, int file, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)bytes->at, bytes->length};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (unsigned i = 0; i < count; i++)
        memcpy(CMSG_DATA(header) + i * sizeof(int), &file, sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Descriptors that no message announces, or more than were agreed: none stays open at the victim. */
static void descriptors_by_the_dozen(void **state)
{
    static const char *const options[] = {"descriptors=4", ""};
    for (int i = 0; i < 2; i++) {
        struct victim victim;
        victim_open(&victim, *state, options[i]);
        unsigned before = open_files(victim.server);
        int fd = connect_unix(victim.address), file = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct bytes bytes = {.length = 0};
        put_greeting(&bytes);
        bytes.at[16] = 1; /* features: descriptors */
        bytes.at[20] = 64;
        assert_int_equal(write(fd, bytes.at, bytes.length), bytes.length);
        for (uint64_t number = 1; number <= 50; number++) {
            bytes.length = 0;
            put_message(&bytes, 0, 0, number, "with many files");
            if (send_with_files(fd, &bytes, file, 60) < 0)
                break; /* thrown out already */
        }
        if (i == 0)
            victim_says(&victim, -EPROTO, "descriptors");
        victim_serves(&victim);
        for (int tries = 0; i == 1 && open_files(victim.server) != before + 1;
             tries++, nap(5)) /* who accepts none has closed them and lives on */
            assert_true(tries < 1000);
        close(fd);
        close(file);
        if (i == 1)
            victim_says(&victim, -ECONNRESET, "goodbye");
        for (int tries = 0; open_files(victim.server) != before; tries++, nap(5))
            assert_true(tries < 1000);
        victim_close(&victim);
    }
}

/* One message with more descriptors than were agreed, all of them there. */
static void one_descriptor_too_many(void **state)
{
    struct victim victim;
    victim_open(&victim, *state, "descriptors=4");
    unsigned before = open_files(victim.server);
    int fd = connect_unix(victim.address), file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct bytes bytes = {.length = 0};
    put_greeting(&bytes);
    bytes.at[16] = 1; /* features: descriptors */
    bytes.at[20] = 64;
    assert_int_equal(write(fd, bytes.at, bytes.length), bytes.length);
    bytes.length = 0;
    put_header(&bytes, 4 + 8 + 1, 0, 0, 32, 1);
    put(&bytes, 8, 4);
    put(&bytes, 1, 2);
    put(&bytes, 4, 2);
    put(&bytes, 5, 4);
    put(&bytes, 'x', 1);
    assert_int_equal(send_with_files(fd, &bytes, file, 5), bytes.length);
    victim_says(&victim, -EPROTO, "at most 4");
    close(fd);
    close(file);
    for (int tries = 0; open_files(victim.server) != before; tries++, nap(5))
        assert_true(tries < 1000);
    victim_close(&victim);
}

static const struct conform_case cases[] = {
    {"one_descriptor_too_many", one_descriptor_too_many, ON_TELEX, WITH_DESCRIPTORS | NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"credit_overrun", credit_overrun, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
    {"garbage", garbage, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 60},
    {"asks_and_does_not_read", asks_and_does_not_read, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 60},
    {"calls_and_does_not_read", calls_and_does_not_read, ON_TELEX, NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 60},
    {"descriptors_by_the_dozen", descriptors_by_the_dozen, ON_TELEX, WITH_DESCRIPTORS | NO_FAULTS | BYTE_STREAMS | MANY_PEERS, 0},
};

const struct conform_theme conform_flooding = {cases, sizeof cases / sizeof *cases};
