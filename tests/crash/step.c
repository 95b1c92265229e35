/* SPDX-License-Identifier: MIT */
/* The tracer: steps the victim, sees what has changed, makes copies of this process that live on. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel.h"
#include "crash/crash.h"
#include "medium/shm/shm.h"

enum {
    INT3 = 0xCC,
    SYSCALL = 0x050F,      /* the two bytes, as a number */
    PARTS_MOST = 16,       /* of what lies in the socket: each is bytes, or a byte with descriptors */
    PART_MOST = 256,
    PART_DESCRIPTORS = 4,
    NAP_US = 100,
    SURELY_ASLEEP = 10,
    BOTH_ASLEEP_NAPS = 50000,
    REPEATS = 16,          /* of the states within one instruction, one is not passed over */
    OVERTIME = 15000,      /* instructions beyond the limit, at most */
    MOMENT = 100,          /* most steps of the victim in the midst of what its peer does */
    STEPS_OF_A_NAP = 50,   /* of the victim, while its peer sleeps for a millisecond */
    STEPS_OF_A_DOZE = 400,
    SHORT_NAP_NS = 500000000,
};

struct board *board;
const struct plan *plan;
uint64_t crash_instructions, crash_states;
bool crash_is_copy, crash_is_over;

struct copied { /* memory, and what it was when last looked at */
    void *at, *copy;
    size_t size;
};

struct part {
    uint8_t bytes[PART_MOST];
    size_t length;
    int fds[PART_DESCRIPTORS];
    unsigned count;
};

static struct {
    pid_t victim; /* 0: there is none */
    int state;    /* /proc/PID/stat */
    bool running; /* it was let go and has not stopped since */
    bool stepping;
    bool repeats; /* what was stepped is not at its end: a rep movsb copies a byte a step */
    bool news;    /* it has done something since the last copy */
    bool moved;   /* this process has done something since the last copy */
    uint64_t limit;
    uintptr_t place; /* the victim's instruction */
    struct copied own, theirs, decisions;
    struct part parts[PARTS_MOST];
    unsigned part_count;
    size_t rung; /* bytes in the socket */
    pid_t copies[SURVIVORS];
    uintptr_t places[SURVIVORS];
    unsigned next;
} duel;

/* ---- memory ---- */

static struct copied copied_new(void *at, size_t size)
{
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_true(copy != MAP_FAILED);
    return (struct copied){at, copy, size};
}

static struct copied copied_memory(const struct shm_memory *memory)
{
    return copied_new(memory->base, sizeof(struct shm_page) + 2 * memory->ring_size + memory->arena_size);
}

static bool has_changed(struct copied *memory)
{
    if (memcmp(memory->copy, memory->at, memory->size) == 0)
        return false;
    memcpy(memory->copy, memory->at, memory->size);
    return true;
}

/* In a copy of this process, which has nothing mapped there. The ring's mirror is none here: the dead write no more, and nobody reads what we write. */
static void put_in_place(struct copied *memory, int protection)
{
    void *at = mremap(memory->copy, memory->size, memory->size, MREMAP_MAYMOVE | MREMAP_FIXED, memory->at);
    if (at != memory->at || mprotect(at, memory->size, protection) < 0)
        _exit(3);
}

/* ---- the socket ---- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(PART_DESCRIPTORS * sizeof(int))];
};

/* One part of what lies unread, by SO_PEEK_OFF. */
static bool peek_part(struct part *part)
{
    union control control;
    struct iovec bytes = {part->bytes, sizeof part->bytes};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(survivor.remains.socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return false;
    part->length = (size_t)got;
    part->count = 0;
    const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        part->count = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(part->fds, CMSG_DATA(head), part->count * sizeof(int));
    }
    return true;
}

static void peek_parts(void)
{
    int fd = survivor.remains.socket;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){0}, sizeof(int)), 0);
    duel.part_count = 0;
    while (duel.part_count < PARTS_MOST && peek_part(&duel.parts[duel.part_count]))
        duel.part_count++;
    assert_in_range(duel.part_count, 0, PARTS_MOST - 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int)), 0);
}

static void close_parts(void)
{
    for (unsigned i = 0; i < duel.part_count; i++)
        for (unsigned k = 0; k < duel.parts[i].count; k++)
            close(duel.parts[i].fds[k]);
}

static bool send_part(int fd, struct part *part)
{
    union control control = {.align = {.cmsg_len = CMSG_LEN(part->count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec bytes = {part->bytes, part->length};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    memcpy(CMSG_DATA(&control.align), part->fds, part->count * sizeof(int));
    if (part->count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(part->count * sizeof(int));
    }
    return sendmsg(fd, &message, 0) == (ssize_t)part->length;
}

static bool send_parts(int fd)
{
    bool sent = true;
    for (unsigned i = 0; i < duel.part_count; i++)
        sent = sent && send_part(fd, &duel.parts[i]);
    close_parts();
    return sent;
}

/* ---- a copy ---- */

/* The same bytes, and then the end. With `held_open` somebody else, a child of the dead, holds the other end. */
static void replace_socket(bool held_open)
{
    int ends[2], fd = survivor.remains.socket;
    struct timeval patience;
    socklen_t size = sizeof patience;
    if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, &size) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
        !send_parts(ends[1]) || dup2(ends[0], fd) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, size) < 0)
        _exit(3);
    close(ends[0]);
    if (held_open)
        survivor.remains.fds++;
    else
        close(ends[1]);
}

static void replace_death(bool is_seen)
{
    if (survivor.remains.death < 0)
        return;
    int fd = eventfd(is_seen, EFD_CLOEXEC);
    if (fd < 0 || dup2(fd, survivor.remains.death) < 0)
        _exit(3);
    close(fd);
}

static void become_copy(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(PATIENCE);
    crash_is_copy = true;
    put_in_place(&duel.own, PROT_READ | PROT_WRITE);
    put_in_place(&duel.theirs, PROT_READ);
    put_in_place(&duel.decisions, PROT_READ | PROT_WRITE);
    unsigned seen = survivor.variant / 4 % 3; /* how the death shows: by both, by the socket's end alone, by the process' end alone */
    replace_socket(seen == 2);
    replace_death(seen != 1);
}

static void check_copy(unsigned slot)
{
    extern const char __executable_start[];
    int status = 0;
    if (duel.copies[slot] == 0)
        return;
    waitpid(duel.copies[slot], &status, 0);
    duel.copies[slot] = 0;
    if (status == 0)
        return;
    if (WIFSIGNALED(status))
        crash_fail("who lived on %s", WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
    fprintf(stderr, "death at instruction %#lx (addr2line) of the victim: status %#x, %s\n", duel.places[slot] - (uintptr_t)__executable_start, status,
            board->why);
}

/* Not by fork(): its handlers would make the channel a foreign one. */
static void make_copy(void)
{
    unsigned slot = duel.next++ % SURVIVORS;
    check_copy(slot);
    duel.places[slot] = duel.place;
    memcpy(duel.own.copy, duel.own.at, duel.own.size);
    peek_parts();
    survivor.at_death = *board;
    survivor.variant++;
    pid_t copy = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (copy == 0) {
        become_copy();
        return;
    }
    close_parts();
    assert_true(copy > 0);
    duel.copies[slot] = copy;
}

static void look(void)
{
    int rung = 0;
    ioctl(survivor.remains.socket, FIONREAD, &rung);
    bool changed = has_changed(&duel.theirs);
    changed = has_changed(&duel.decisions) || changed;
    crash_instructions++;
    duel.news = duel.news || changed || (size_t)rung != duel.rung;
    duel.rung = (size_t)rung;
    bool passed_over = duel.repeats && crash_random() % REPEATS != 0;
    if (!duel.moved && (!duel.news || passed_over))
        return;
    duel.moved = duel.news = false;
    crash_states++;
    make_copy();
}

/* ---- the victim ---- */

bool duel_runs(void)
{
    return duel.victim != 0 && !crash_is_copy && !crash_is_over;
}

static enum advance buried(void)
{
    survivor.at_death = *board;
    close(duel.state);
    survivor.remains.fds--;
    duel.victim = 0;
    crash_is_over = true;
    return CRASH_OVER;
}

static enum advance over(void)
{
    int status;
    if (duel.victim == 0)
        return CRASH_OVER;
    kill(duel.victim, SIGKILL);
    waitpid(duel.victim, &status, 0);
    return buried();
}

static bool is_asleep(void)
{
    char text[256] = "";
    if (pread(duel.state, text, sizeof text - 1, 0) <= 0)
        return false;
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[2] == 'S';
}

/* The victim runs. Whether it has stopped; else it sleeps. */
static bool wait_stopped(int *ret_status, bool may_sleep)
{
    if (!may_sleep)
        return waitpid(duel.victim, ret_status, 0) == duel.victim;
    for (int asleep = 0; asleep < 2;) {
        if (waitpid(duel.victim, ret_status, WNOHANG) == duel.victim)
            return true;
        asleep = is_asleep() ? asleep + 1 : 0;
        sched_yield();
    }
    return waitpid(duel.victim, ret_status, WNOHANG) == duel.victim;
}

static uintptr_t where(void)
{
    return (uintptr_t)ptrace(PTRACE_PEEKUSER, duel.victim, offsetof(struct user_regs_struct, rip), NULL);
}

static bool let_go(void)
{
    uintptr_t before = duel.place;
    duel.place = where();
    duel.repeats = duel.stepping && duel.place == before;
    const uint8_t *at = (const uint8_t *)duel.place; /* the same program, at the same place */
    duel.stepping = board->steps && *at != INT3;
    duel.running = true;
    ptrace(duel.stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, duel.victim, NULL, NULL);
    return !duel.stepping || (at[0] | at[1] << 8) == SYSCALL;
}

enum advance duel_advance(void)
{
    int status = 0;
    if (!duel_runs())
        return CRASH_OVER;
    /* The call that has begun may come to its end: else a sleep that nobody ends could not be told from one that is over too soon. */
    if (board->why[0] != '\0' || crash_instructions >= duel.limit + OVERTIME || (crash_instructions >= duel.limit && !board->steps))
        return over();
    bool may_sleep = duel.running || let_go();
    if (!wait_stopped(&status, may_sleep))
        return CRASH_SLEEPS;
    duel.running = false;
    if (!WIFSTOPPED(status)) {
        if (status != 0)
            crash_fail("the victim ended by itself, status %#x", status);
        return buried();
    }
    if (WSTOPSIG(status) != SIGTRAP) {
        crash_fail("the victim got %s", strsignal(WSTOPSIG(status)));
        return over();
    }
    if (duel.stepping)
        look();
    return crash_is_copy ? CRASH_OVER : CRASH_STEPPED;
}

/* ---- this process sleeps: the victim's turn ---- */

static bool is_ready(struct pollfd *fds, nfds_t count)
{
    static const struct timespec none;
    for (nfds_t i = 0; i < count; i++)
        fds[i].revents = 0;
    return syscall(SYS_ppoll, fds, count, &none, NULL, 0) > 0;
}

static void victims_turn(struct pollfd *fds, nfds_t count, uint64_t most)
{
    duel.moved = true;
    for (unsigned naps = 0; most > 0 && duel_runs() && !is_ready(fds, count);) {
        enum advance advance = duel_advance();
        if (advance == CRASH_STEPPED) {
            most--;
            naps = 0;
        } else if (advance == CRASH_SLEEPS) {
            usleep(NAP_US);
            if (most < UINT64_MAX / 2)
                most--;
            if (++naps == BOTH_ASLEEP_NAPS) {
                crash_fail("both sleep, and nobody wakes them");
                over();
            }
        }
    }
}

/* This process does not sleep: but so far it has come, and then the victim does something. */
static void victims_moment(void)
{
    duel.moved = true;
    for (uint32_t steps = crash_random() % 2 * crash_random() % MOMENT; steps > 0 && duel_advance() == CRASH_STEPPED;)
        steps--;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec left = timeout != NULL ? *timeout : (struct timespec){0};
    if (duel_runs() && timeout != NULL && timeout->tv_sec == 0 && timeout->tv_nsec == 0) {
        victims_moment();
    } else if (duel_runs()) {
        bool nap = timeout != NULL && timeout->tv_sec == 0 && timeout->tv_nsec < SHORT_NAP_NS;
        victims_turn(fds, count, nap ? STEPS_OF_A_NAP : UINT64_MAX);
        if (nap && !crash_is_copy)
            left = (struct timespec){0};
    }
    return (int)syscall(SYS_ppoll, fds, count, timeout != NULL ? &left : NULL, mask, 8);
}

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    if (!duel_runs() || fd != survivor.remains.socket) {
        ;
    } else if (flags & MSG_DONTWAIT) {
        victims_moment();
    } else {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        victims_turn(&one, 1, STEPS_OF_A_DOZE);
        if (!crash_is_copy)
            flags |= MSG_DONTWAIT;
    }
    return syscall(SYS_recvfrom, fd, bytes, length, flags, NULL, NULL);
}

/* ---- the whole ---- */

void duel_limit(uint64_t instructions)
{
    duel.limit = crash_instructions + instructions;
}

void duel_stand_ready(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
        crash_fail("ptrace: %s", strerror(errno));
        _exit(1);
    }
    raise(SIGSTOP);
}

static void expect_stop(pid_t victim)
{
    int status;
    assert_int_equal(waitpid(victim, &status, 0), victim);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

void duel_meet(pid_t victim)
{
    char path[64];
    expect_stop(victim);
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, victim, NULL, PTRACE_O_EXITKILL), 0);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)victim);
    duel.state = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(duel.state >= 0);
    survivor.remains.fds++;
}

void duel_let_greet(pid_t victim)
{
    ptrace(PTRACE_CONT, victim, NULL, NULL);
    for (int asleep = 0; asleep < SURELY_ASLEEP; asleep = is_asleep() ? asleep + 1 : 0)
        usleep(NAP_US);
    kill(victim, SIGSTOP);
    expect_stop(victim);
    board->steps = true;
}

void duel_begin(pid_t victim, telex_channel *channel)
{
    struct shm_link *shm = shm_of(channel->link);
    struct shm_area *area = shm->area;
    survivor.remains.socket = channel->link->ops->descriptor(channel->link);
    survivor.remains.death = shm->death;
    survivor.remains.own = area->own.base;
    survivor.remains.theirs = area->theirs.base;
    duel.own = copied_memory(&area->own);
    duel.theirs = copied_memory(&area->theirs);
    duel.decisions = copied_new(area->decisions, SHM_PAGE);
    duel.running = false;
    duel.moved = true;
    crash_is_over = false;
    duel.victim = victim;
}

void duel_end(void)
{
    over();
    for (unsigned i = 0; i < SURVIVORS; i++)
        check_copy(i);
    munmap(duel.own.copy, duel.own.size);
    munmap(duel.theirs.copy, duel.theirs.size);
    munmap(duel.decisions.copy, duel.decisions.size);
}
