/* SPDX-License-Identifier: MIT */
/* Named pipes in a test case's own directory. */
#ifndef TELEX_TESTS_FIFOS_H
#define TELEX_TESTS_FIFOS_H

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unit/scratch.h"
#include "unit/streams.h"

/* How many FIFOs lie in the case's directory. */
static inline int fifos_there(void)
{
    DIR *directory = opendir(testing_directory());
    int count = 0;
    for (struct dirent *each; (each = readdir(directory)) != NULL;)
        count += each->d_type == DT_FIFO;
    closedir(directory);
    return count;
}

/* "pipe://DIRECTORY/NAME SUFFIX"; good until the eighth call after it. */
static inline const char *pipe_address(const char *name, const char *suffix)
{
    static char texts[8][256];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "pipe://%s%s", scratch_path(name), suffix);
    return text;
}

/* From now on system call `number` fails in this process, as a kernel or a file system fails it that does not know what is asked. */
static inline void fail_calls(unsigned number, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static inline struct streams pipe_streams_unaccepted(void)
{
    struct streams streams = {0};
    if (streams_listen(pipe_address("a", ""), &streams.port) < 0 || streams_dial(pipe_address("a", ""), streams_soon(), &streams.dialed) < 0)
        fail_msg("%s", telex_said());
    return streams;
}

static inline struct streams pipe_streams(void)
{
    return streams_new(pipe_address("a", ""), "");
}

#endif
