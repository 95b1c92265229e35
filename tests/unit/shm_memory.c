/* SPDX-License-Identifier: MIT */
/* The memories that two processes share: how they are made, and what their sealing refuses to whoever gets them. */
#include "medium/shm/memory.h"
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/fork.h"
#include "unit/scratch.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { RING = SHM_RING_LEAST, ARENA = 8 * SHM_PAGE, SIZE = 8192 + RING + ARENA, FIRM = F_SEAL_SHRINK | F_SEAL_GROW };

#define MIB (UINT64_C(1) << 20)

static void assert_refused(int result, int error)
{
    if (result == error)
        return;
    fail_msg("%d (%s), expected %d (%s): %s", result, strerror(-result), error, strerror(-error), telex_said());
}

static void sizes(void **state)
{
    (void)state;
    assert_int_equal(telex_shm_ring_size(1), RING);
    assert_int_equal(telex_shm_ring_size(RING), RING);
    assert_int_equal(telex_shm_ring_size(RING + 1), 2 * RING);
    assert_int_equal(telex_shm_ring_size(3 * MIB), 4 * MIB);
    assert_int_equal(telex_shm_arena_size(0), 0);
    assert_int_equal(telex_shm_arena_size(1), 4096);
    assert_int_equal(telex_shm_arena_size(4 * MIB), 4 * MIB);
    assert_int_equal(telex_shm_arena_size(4 * MIB + 1), 4 * MIB + 8192); /* more than 1,024 granules of 4,096 */
    assert_int_equal(telex_shm_arena_size(1024 * MIB + 1), 1026 * MIB);

    assert_true(telex_shm_sizes_valid(RING, 0));
    assert_true(telex_shm_sizes_valid(RING, ARENA));
    assert_true(telex_shm_sizes_valid(UINT64_C(1) << 36, UINT64_C(1) << 36));
    assert_false(telex_shm_sizes_valid(0, ARENA));
    assert_false(telex_shm_sizes_valid(RING / 2, ARENA));
    assert_false(telex_shm_sizes_valid(RING + 4096, ARENA));
    assert_false(telex_shm_sizes_valid(UINT64_C(1) << 37, ARENA));
    assert_false(telex_shm_sizes_valid(UINT64_C(1) << 63, ARENA));
    assert_false(telex_shm_sizes_valid(RING, ARENA + 1));
    assert_false(telex_shm_sizes_valid(RING, 4 * MIB + 4096));
    assert_false(telex_shm_sizes_valid(RING, UINT64_MAX));
    assert_false(telex_shm_sizes_valid(RING, (UINT64_C(1) << 36) + (UINT64_C(1) << 26)));
}

static void shared_by(bool prefault)
{
    struct shm_memory own, theirs;
    int fd;
    assert_good(telex_shm_memory_make(RING, ARENA, prefault, &own, &fd));
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_good(telex_shm_memory_open(fd, RING, ARENA, prefault, &theirs));
    telex_shut(fd);
    assert_int_equal(theirs.slots, 8);
    assert_int_equal(theirs.granule, 4096);
    assert_int_equal(atomic_load(&theirs.page->asleep_in), 0);

    /* The ring goes on at its beginning, for both. */
    memcpy(own.ring + RING - 4, "messages", 8);
    assert_memory_equal(own.ring, "ages", 4);
    assert_memory_equal(theirs.ring + RING - 4, "messages", 8);
    assert_memory_equal(theirs.ring + 2 * RING - 4, "mess", 4);
    memset(own.arena, 'a', ARENA);
    for (size_t i = 0; i < ARENA; i++)
        assert_int_equal(theirs.arena[i], 'a');
    assert_memory_equal(theirs.ring, "ages", 4);
    atomic_store(&own.page->released[SHM_SLOTS - 1], 77);
    assert_int_equal(atomic_load(&theirs.page->released[SHM_SLOTS - 1]), 77);
    telex_shm_memory_close(&own);
    assert_memory_equal(theirs.ring, "ages", 4); /* it lives as long as anybody has it */
    telex_shm_memory_close(&theirs);
    telex_shm_memory_close(&theirs);
}

static void shared(void **state)
{
    (void)state;
    shared_by(false);
    shared_by(true);

    struct shm_memory own;
    int fd;
    assert_good(telex_shm_memory_make(RING, 0, false, &own, &fd)); /* without an arena */
    assert_int_equal(own.slots, 0);
    telex_shut(fd);
    telex_shm_memory_close(&own);
}

/* ---- what the peer cannot do ---- */

static void assert_no_writable_map(int fd, size_t length)
{
    assert_ptr_equal(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EPERM);
}

static void assert_firm(int fd, size_t length)
{
    assert_no_writable_map(fd, length);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, (off_t)length + 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1); /* no more seals: nobody can break the owner's own writing */
}

static void peers_only_read(void **state)
{
    (void)state;
    struct shm_memory own, theirs;
    int fd;
    assert_good(telex_shm_memory_make(RING, ARENA, false, &own, &fd));
    assert_good(telex_shm_memory_open(fd, RING, ARENA, false, &theirs));
    assert_firm(fd, SIZE);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        assert_firm(again, SIZE);
        close(again);
    }
    assert_int_equal(mprotect(theirs.base, 4096, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(madvise(theirs.base, 4096, MADV_REMOVE), -1);
    assert_int_equal(madvise(own.base, 4096, MADV_REMOVE), -1); /* its owner makes no hole either */
    memcpy(own.ring, "still", 5);
    assert_memory_equal(theirs.ring, "still", 5);
    telex_shut(fd);
    telex_shm_memory_close(&own);
    telex_shm_memory_close(&theirs);
}

/* ---- what is refused ---- */

static int sealed(size_t size, bool whole, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (whole)
        assert_int_equal(fallocate(fd, 0, 0, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void assert_not_opened(int fd)
{
    struct shm_memory memory = {.base = NULL};
    assert_refused(telex_shm_memory_open(fd, RING, ARENA, false, &memory), -EPROTO);
    assert_null(memory.base);
    assert_true(telex_said()[0] != '\0');
    close(fd);
}

static void others_are_checked(void **state)
{
    (void)state;
    struct shm_memory memory;
    int fd = sealed(SIZE, true, FIRM | F_SEAL_FUTURE_WRITE);
    assert_good(telex_shm_memory_open(fd, RING, ARENA, false, &memory));
    telex_shm_memory_close(&memory);
    close(fd);

    assert_not_opened(sealed(SIZE, true, 0));
    assert_not_opened(sealed(SIZE, true, FIRM)); /* it could be written by a third */
    assert_not_opened(sealed(SIZE, true, F_SEAL_GROW | F_SEAL_FUTURE_WRITE));
    assert_not_opened(sealed(SIZE, true, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE));
    assert_not_opened(sealed(SIZE - 4096, true, FIRM | F_SEAL_FUTURE_WRITE));
    assert_not_opened(sealed(SIZE + 4096, true, FIRM | F_SEAL_FUTURE_WRITE));
    assert_not_opened(sealed(SIZE, false, FIRM | F_SEAL_FUTURE_WRITE)); /* holes: to read one could need memory that is not there */
    int behind = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* the same, with blocks enough, but behind its end */
    assert_int_equal(ftruncate(behind, SIZE), 0);
    assert_int_equal(fallocate(behind, FALLOC_FL_KEEP_SIZE, 4 * MIB, 4 * MIB), 0);
    assert_int_equal(fcntl(behind, F_ADD_SEALS, FIRM | F_SEAL_FUTURE_WRITE), 0);
    assert_not_opened(behind);
    assert_not_opened(open(scratch_path("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    assert_not_opened(open("/dev/zero", O_RDWR | O_CLOEXEC));
}

/* ---- what cannot be had is an error, and no signal ---- */

static uint64_t mapped_bytes(void)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Makes a memory under a limit, which is lifted again. */
static int make_under(int resource, uint64_t limit, uint64_t ring)
{
    struct rlimit before, now;
    struct shm_memory memory;
    int fd = -1;
    assert_int_equal(getrlimit(resource, &before), 0);
    now = (struct rlimit){.rlim_cur = limit, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(resource, &now), 0);
    int r = telex_shm_memory_make(ring, 0, false, &memory, &fd);
    assert_int_equal(setrlimit(resource, &before), 0);
    if (r == 0) {
        telex_shut(fd);
        telex_shm_memory_close(&memory);
    }
    return r;
}

static void too_big(void **state)
{
    (void)state;
    struct shm_memory memory;
    int fd;
    assert_refused(make_under(RLIMIT_FSIZE, 65536, RING), 0);
    assert_refused(make_under(RLIMIT_FSIZE, 65536, 65536), -EFBIG); /* the kernel's own answer is SIGXFSZ */
    assert_refused(make_under(RLIMIT_AS, mapped_bytes() + 16 * MIB, 32 * MIB), -ENOMEM);
    assert_refused(make_under(RLIMIT_NOFILE, 0, RING), -EMFILE);
    assert_true(telex_shm_memory_make(UINT64_C(1) << 63, 0, false, &memory, &fd) < 0); /* no file has so many bytes */
    uint64_t there = telex_memory_available();
    assert_true(there > MIB && there < UINT64_MAX);
    assert_int_equal(telex_shm_memory_make(RING, telex_shm_arena_size(2 * there), false, &memory, &fd), -ENOMEM); /* and nobody is killed for it */
    assert_non_null(strstr(telex_said(), "not so much left"));

    /* Nothing is left of those that failed: the runner looks at descriptors. */
    assert_good(telex_shm_memory_make(RING, ARENA, false, &memory, &fd));
    telex_shut(fd);
    telex_shm_memory_close(&memory);
}

/* ---- decisions ---- */

static void decisions_are_of_two(void **state)
{
    (void)state;
    struct shm_decisions *dialers, *listeners, *third;
    int fd;
    assert_good(telex_shm_decisions_make(&dialers, &fd));
    assert_good(telex_shm_decisions_open(fd, &listeners));
    uint64_t offered = SHM_DECISION(1, SHM_OFFERED), taken = SHM_DECISION(1, SHM_TAKEN);
    atomic_store(&dialers->of_dialer, offered);
    assert_true(atomic_compare_exchange_strong(&listeners->of_dialer, &offered, taken));
    assert_false(atomic_compare_exchange_strong(&dialers->of_dialer, &offered, SHM_DECISION(1, SHM_WITHDRAWN)));
    assert_int_equal(offered, taken);
    assert_int_equal(atomic_load(&dialers->of_listener), 0);

    assert_firm(fd, SHM_PAGE); /* from when both have it */
    assert_true(telex_shm_decisions_open(fd, &third) < 0);
    telex_shut(fd);
    telex_shm_decisions_close(dialers);
    telex_shm_decisions_close(listeners);
    telex_shm_decisions_close(NULL);
}

static void decisions_are_checked(void **state)
{
    (void)state;
    struct shm_decisions *decisions;
    int bad[] = {
        sealed(SHM_PAGE, true, 0),
        sealed(SHM_PAGE, true, F_SEAL_SHRINK),
        sealed(SHM_PAGE, false, FIRM),
        sealed(2 * SHM_PAGE, true, FIRM),
        sealed(SHM_PAGE, true, FIRM | F_SEAL_SEAL), /* nobody could seal it */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(telex_shm_decisions_open(bad[i], &decisions), -EPROTO);
        close(bad[i]);
    }
}

/* ---- fork ---- */

static void not_in_the_child(void *with)
{
    const struct shm_memory *own = with;
    unsigned char there;
    assert_int_equal(mincore(own->base, 4096, &there), -1);
    assert_int_equal(errno, ENOMEM);
}

static void not_inherited(void **state)
{
    (void)state;
    struct shm_memory own;
    int fd;
    assert_good(telex_shm_memory_make(RING, ARENA, true, &own, &fd));
    testing_wait(testing_fork(not_in_the_child, &own));
    telex_shut(fd);
    telex_shm_memory_close(&own);
}

static const struct testing_case cases[] = {
    TESTING_CASE(sizes),
    TESTING_CASE(shared),
    TESTING_CASE(peers_only_read),
    TESTING_CASE(others_are_checked),
    TESTING_CASE(too_big),
    TESTING_CASE(decisions_are_of_two),
    TESTING_CASE(decisions_are_checked),
    TESTING_CASE(not_inherited),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "shm_memory", cases, sizeof cases / sizeof *cases);
}
