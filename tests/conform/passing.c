/* SPDX-License-Identifier: MIT */
/* Descriptors that travel with messages: the right ones, with the right message, none lost, none left open. */
#include "conform/conform.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int numbered_file(unsigned number)
{
    int fd = memfd_create("telex-test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &number, sizeof number, 0), sizeof number);
    return fd;
}

static unsigned number_in(int fd)
{
    unsigned number = 0;
    assert_int_equal(pread(fd, &number, sizeof number, 0), sizeof number);
    return number;
}

static size_t length_at(const struct talk *talk, unsigned i)
{
    return i % 9 == 4 && !talk->setup->medium->faulty ? 150000 : i % 40;
}

static void expect_files(struct talk *talk)
{
    telex_message message = {0};
    for (unsigned i = 0; i < 60; i++) {
        assert_gives(telex_receive(talk->channel, &message, SECONDS(10)), 0, talk->channel);
        assert_int_equal(message.length, length_at(talk, i));
        assert_int_equal(message.descriptor_count, i % 4);
        for (unsigned j = 0; j < i % 4; j++) {
            if ((i + j) % 5 == 0)
                continue; /* not claimed: closed with the message */
            int fd = telex_claim(&message, j);
            assert_true(fd >= 0);
            assert_int_equal(number_in(fd), i * 10 + j);
            assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
            assert_int_equal(telex_claim(&message, j), -ENOENT);
            if (i == 1) { /* it is the program's own now: also in a child that the program makes */
                pid_t child = fork();
                if (child == 0)
                    _exit(fcntl(fd, F_GETFD) < 0);
                testing_wait(child);
            }
            close(fd);
        }
        assert_int_equal(telex_claim(&message, i % 4), -EINVAL);
    }
    telex_release(&message);
    int fds = 0;
    for (int fd = 3; fd < 200; fd++) {
        struct stat facts;
        fds += fstat(fd, &facts) == 0 && facts.st_nlink == 0 && S_ISREG(facts.st_mode);
    }
    assert_int_equal(fds, 0); /* no memfd is open here any more */
}

/* TELEX_MORE coalesces messages into one write, the long ones are written in parts. */
static void with_their_messages(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "descriptors=16", expect_files);
    for (unsigned i = 0; i < 60; i++) {
        int files[4];
        telex_message message = telex_binary(pattern(i, length_at(&talk, i)), length_at(&talk, i));
        message.descriptors = files;
        for (unsigned j = 0; j < i % 4; j++)
            files[message.descriptor_count++] = numbered_file(i * 10 + j);
        assert_gives(telex_send(talk.channel, &message, i % 3 != 0 && i != 59 ? TELEX_MORE : 0, SECONDS(10)), 0,
                     talk.channel);
        for (unsigned j = 0; j < i % 4; j++)
            close(files[j]); /* the send has its own */
    }
    talk_end(&talk);
}

static void expect_one(struct talk *talk)
{
    expect_text(talk, "x");
}

static void refused_where_nobody_accepts_them(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "", expect_one); /* descriptors=0 */
    int file = numbered_file(1), many[3] = {file, file, file};
    telex_message message = telex_text("x");
    message.descriptors = many;
    message.descriptor_count = 1;
    assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EOPNOTSUPP, talk.channel);
    send_text(&talk, "x");
    talk_end(&talk);
    if (carries_descriptors(talk.setup->medium)) {
        talk_begin(&talk, *state, "descriptors=2", expect_one);
        message.descriptor_count = 3;
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EOPNOTSUPP, talk.channel);
        message.descriptor_count = 2;
        many[1] = 987;
        assert_gives(telex_send(talk.channel, &message, 0, SECONDS(5)), -EBADF, talk.channel);
        send_text(&talk, "x");
        talk_end(&talk);
    }
    close(file);
}

static void close_with_files_under_way(struct talk *talk)
{
    talk_hear(talk, 'c');
}

static void under_way_when_it_ends(void **state)
{
    struct talk talk;
    talk_begin(&talk, *state, "descriptors=16", close_with_files_under_way);
    for (unsigned i = 0; i < 20; i++) {
        int file = numbered_file(i);
        telex_message message = telex_text("x");
        message.descriptors = &file;
        message.descriptor_count = 1;
        assert_good(telex_send(talk.channel, &message, i % 2 ? TELEX_MORE : 0, SECONDS(5)));
        close(file);
    }
    talk_say(&talk, 'c');
    telex_close(talk.channel, MILLISECONDS(50),
                NULL); /* whatever is left is closed: the leak check of the case looks */
    talk.channel = NULL;
    talk_end(&talk);
}

static const struct conform_case cases[] = {
    {"with_their_messages", with_their_messages, ON_TELEX, WITH_DESCRIPTORS | PROCESSES, 40},
    {"refused_where_nobody_accepts_them", refused_where_nobody_accepts_them, ON_TELEX, ANY_MEDIUM, 0},
    {"under_way_when_it_ends", under_way_when_it_ends, ON_TELEX, WITH_DESCRIPTORS, 0},
};

const struct conform_theme conform_passing = {cases, sizeof cases / sizeof *cases};
