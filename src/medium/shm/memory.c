/* SPDX-License-Identifier: MIT */
#include "medium/shm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/reason.h"
#include "os/fork.h"
#include "os/process.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum {
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW,
    BLOCK = 512,         /* bytes, of st_blocks */
    HUGE_PAGE = 2 << 20, /* the kernel may give a file as much behind its end */
};

#define SIZE_MOST (UINT64_C(1) << 36)

/* ---- sizes ---- */

uint64_t telex_shm_ring_size(uint64_t wanted)
{
    uint64_t size = SHM_RING_LEAST;
    while (size < wanted)
        size *= 2;
    return size;
}

static uint64_t granule_of(uint64_t arena)
{
    uint64_t granule = SHM_PAGE;
    while (granule * SHM_SLOTS < arena)
        granule *= 2;
    return granule;
}

uint64_t telex_shm_arena_size(uint64_t wanted)
{
    uint64_t granule = granule_of(wanted);
    return (wanted + granule - 1) / granule * granule;
}

bool telex_shm_sizes_valid(uint64_t ring, uint64_t arena)
{
    return ring >= SHM_RING_LEAST && ring <= SIZE_MOST && (ring & (ring - 1)) == 0 && arena <= SIZE_MOST && arena == telex_shm_arena_size(arena);
}

static uint64_t file_size(uint64_t ring, uint64_t arena)
{
    return sizeof(struct shm_page) + ring + arena;
}

/* ---- mapping ---- */

/* EAGAIN is mmap's word for too much locked memory; here it would mean that the peer has not said enough yet. */
static int map_failed(void)
{
    return errno == EAGAIN ? -ENOMEM : -errno;
}

static int map_part(uint8_t *at, uint64_t length, int fd, uint64_t offset, int protection, int flags)
{
    if (length == 0)
        return 0;
    return mmap(at, length, protection, MAP_SHARED | MAP_FIXED | flags, fd, (off_t)offset) == MAP_FAILED ? map_failed() : 0;
}

static int map(int fd, uint64_t ring, uint64_t arena, int protection, bool prefault, struct shm_memory *ret_memory)
{
    uint64_t page = sizeof(struct shm_page), length = page + 2 * ring + arena;
    int flags = prefault ? MAP_POPULATE : 0;
    uint8_t *base = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return telex_say(map_failed(), "no room to map %llu bytes of shared memory: %m", (unsigned long long)length);
    int r = map_part(base, page + ring, fd, 0, protection, flags);
    if (r == 0)
        r = map_part(base + page + ring, ring, fd, page, protection, flags);
    if (r == 0)
        r = map_part(base + page + 2 * ring, arena, fd, page + ring, protection, flags);
    if (r < 0) {
        munmap(base, length);
        return telex_say(r, "shared memory cannot be mapped: %s", strerror(-r));
    }
    madvise(base, length, MADV_DONTFORK); /* a child that writes there would be a second writer */
    *ret_memory = (struct shm_memory){
        .base = base,
        .page = (struct shm_page *)base,
        .ring = base + page,
        .arena = base + page + 2 * ring,
        .ring_size = ring,
        .arena_size = arena,
        .granule = granule_of(arena),
        .slots = (unsigned)(arena / granule_of(arena)),
    };
    return 0;
}

void telex_shm_memory_close(struct shm_memory *memory)
{
    if (memory->base != NULL)
        munmap(memory->base, sizeof(struct shm_page) + 2 * memory->ring_size + memory->arena_size);
    memory->base = NULL;
}

/* ---- making ---- */

/* The kernel's answer to a file above this limit is a signal. */
static int check_file_limit(uint64_t size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur)
        return telex_say(-EFBIG, "shared memory of %llu bytes is above this process's limit of file sizes (ulimit -f)", (unsigned long long)size);
    return 0;
}

/* The kernel promises more than there is, and kills somebody when it is wanted. Small sizes are not worth the question. */
static int check_available(uint64_t size)
{
    enum { WORTH_ASKING = 4 << 20 };
    if (size < WORTH_ASKING || size <= telex_memory_available())
        return 0;
    return telex_say(-ENOMEM, "%llu bytes of shared memory cannot be had (options ring, arena): this machine has not so much left", (unsigned long long)size);
}

static int make(const char *name, uint64_t size, int *ret_fd)
{
    int r = check_file_limit(size);
    if (r == 0)
        r = check_available(size);
    if (r < 0)
        return r;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    fd = telex_own(fd < 0 ? -errno : fd);
    if (fd < 0)
        return telex_say(fd, "no shared memory: %s", strerror(-fd));
    r = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
    if (r == 0)
        do
            r = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
        while (r == -EINTR);
    if (r < 0) {
        telex_shut(fd);
        return telex_say(r == -ENOSPC ? -ENOMEM : r, "%llu bytes of shared memory cannot be had (options ring, arena): %s", (unsigned long long)size,
                         strerror(-r));
    }
    *ret_fd = fd;
    return 0;
}

static int seal(int fd, int seals)
{
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? telex_say(-errno, "shared memory cannot be sealed: %m") : 0;
}

int telex_shm_memory_make(uint64_t ring, uint64_t arena, bool prefault, struct shm_memory *ret_memory, int *ret_fd)
{
    int fd;
    int r = make("telex", file_size(ring, arena), &fd);
    if (r < 0)
        return r;
    r = map(fd, ring, arena, PROT_READ | PROT_WRITE, prefault, ret_memory);
    if (r == 0) {
        r = seal(fd, SEALS | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL); /* this mapping is the last one that can write */
        if (r < 0)
            telex_shm_memory_close(ret_memory);
    }
    if (r < 0)
        telex_shut(fd);
    else
        *ret_fd = fd;
    return r;
}

/* ---- the other's ---- */

/* Without holes, and sealed so that it can neither shrink nor get any: then no access can fail. */
static int check(int fd, uint64_t size, int wanted)
{
    struct stat facts;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return telex_say(-EPROTO, "what the peer hands over is no shared memory that can be sealed");
    if ((seals & wanted) != wanted)
        return telex_say(-EPROTO, "the peer's memory is not sealed as it must be (seals 0x%x, wanted 0x%x)", seals, wanted);
    if (fstat(fd, &facts) < 0 || (uint64_t)facts.st_size != size)
        return telex_say(-EPROTO, "the peer's memory has another size than it says");
    /* Blocks behind the end count, too, and can be taken away later: many of them would stand for as many holes, which our reading fills at our cost. */
    uint64_t there = (uint64_t)facts.st_blocks * BLOCK;
    if (there < size || there > size + HUGE_PAGE)
        return telex_say(-EPROTO, "the peer's memory is not there as a whole");
    return 0;
}

int telex_shm_memory_open(int fd, uint64_t ring, uint64_t arena, bool prefault, struct shm_memory *ret_memory)
{
    int r = check(fd, file_size(ring, arena), SEALS | F_SEAL_FUTURE_WRITE);
    return r < 0 ? r : map(fd, ring, arena, PROT_READ, prefault, ret_memory);
}

/* ---- decisions ---- */

static int map_decisions(int fd, struct shm_decisions **ret_decisions)
{
    void *at = mmap(NULL, SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        return telex_say(map_failed(), "shared memory cannot be mapped: %m");
    madvise(at, SHM_PAGE, MADV_DONTFORK);
    *ret_decisions = at;
    return 0;
}

int telex_shm_decisions_make(struct shm_decisions **ret_decisions, int *ret_fd)
{
    int fd;
    int r = make("telex decisions", SHM_PAGE, &fd);
    if (r < 0)
        return r;
    r = seal(fd, SEALS);
    if (r == 0)
        r = map_decisions(fd, ret_decisions);
    if (r < 0)
        telex_shut(fd);
    else
        *ret_fd = fd;
    return r;
}

int telex_shm_decisions_open(int fd, struct shm_decisions **ret_decisions)
{
    struct shm_decisions *decisions = NULL;
    int r = check(fd, SHM_PAGE, SEALS);
    if (r == 0)
        r = map_decisions(fd, &decisions);
    if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) { /* nobody can punch a hole into it from now on */
        r = telex_say(-EPROTO, "the peer's page of decisions cannot be sealed");
        telex_shm_decisions_close(decisions);
    }
    if (r == 0)
        *ret_decisions = decisions;
    return r;
}

void telex_shm_decisions_close(struct shm_decisions *decisions)
{
    if (decisions != NULL)
        munmap(decisions, SHM_PAGE);
}
