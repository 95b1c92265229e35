/* SPDX-License-Identifier: MIT */
/*
 * A peer of shared memory written by hand: of the library it knows only layout.h. It can attach as the rules say, or break any of them, and
 * once attached it can write whatever it likes into its own memory and the page of decisions.
 */
#ifndef TELEX_TESTS_ATTACKER_H
#define TELEX_TESTS_ATTACKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conform/byhand.h"
#include "medium/shm/layout.h"

enum { ATTACKER_RING = 16384, ATTACKER_ARENA = 65536, ATTACKER_FDS = 256 };

enum foreign { AS_WANTED = 0, A_PIPE, A_ZERO, A_DIRECTORY, A_FILE, A_SOCKET, A_READER, FOREIGN_KINDS };

/* What is wrong with how it attaches; all zero: nothing. */
struct offer {
    int64_t longer;         /* bytes that its file has more than it says */
    uint64_t ring, arena;   /* announced instead of what is there; arena: ~0 for none */
    int without, with;      /* seals of its memory */
    int decisions_without, decisions_with;
    int64_t decisions_longer;
    enum foreign memory, decisions; /* something else instead */
    unsigned descriptors;   /* so many, whatever they are */
    bool no_descriptors, only_one;
    bool sparse;            /* not there as a whole */
    bool elsewhere;         /* as many pages as wanted, but behind the end */
    uint32_t magic, reserved;
    uint16_t version, kind;
    uint32_t code, sentence; /* of a refusal */
    const char *text;
    size_t cut;             /* so many bytes are sent, then the end; 0: all */
    bool silent;            /* what is sent is followed by nothing, not even the end */
};

struct attacker {
    int socket;
    int memory_fd, decisions_fd;
    bool dials;
    uint64_t ring_size, arena_size;
    void *base;
    struct shm_page *page;
    uint8_t *ring, *arena; /* the ring twice in a row */
    struct shm_decisions *decisions;

    /* the victim's */
    void *their_base;
    uint64_t their_ring_size, their_arena_size;
    const struct shm_page *their_page;
    const uint8_t *their_ring, *their_arena;
    int their_fd;
    struct shm_attach said; /* its struct shm_attach */
    char sentence[4097];    /* of its refusal */

    /* as an honest peer would count */
    uint64_t tail, number, at, cost, costly, messages;
};

/* A socket at `path` that listens; and the two ways to a victim. The last two give a socket, or -1. */
int attacker_listen(const char *path);
int attacker_connect(const char *path);
int attacker_accept(int listening, unsigned milliseconds);

/* Makes its memory, with the faults of `offer` (NULL: none). */
void attacker_init(struct attacker *attacker, bool dials, const struct offer *offer);
void attacker_deinit(struct attacker *attacker);

/* Greets over `socket`, which it takes over. */
void attacker_greet(struct attacker *attacker, int socket, const struct offer *offer);

/* The victim's greeting: 1: it attached, its memory is mapped; 0: it refused, see `said` and `sentence`; -1: the end, or nothing within the time. */
int attacker_hear(struct attacker *attacker, unsigned milliseconds);

/* All of it, in the order of its side: whether both are attached. */
bool attacker_attach(struct attacker *attacker, int socket);

/* Whether the victim has hung up; reads what has been rung. */
bool attacker_hung_up(struct attacker *attacker);
void attacker_ring(struct attacker *attacker);

/* A ring with so many descriptors (at most 50) that no message wants. */
void attacker_send_descriptors(struct attacker *attacker, unsigned count);

/* ---- records ---- */

/* Writes a record behind the last one, whatever room there is, and rings if the victim sleeps. */
void attacker_put(struct attacker *attacker, unsigned flags, unsigned lane, uint64_t number, const void *body, size_t length);

/* The same with a `what` of its own making. */
void attacker_put_what(struct attacker *attacker, uint64_t what, uint64_t number, const void *body, size_t length);

/* A frame of wire=telex without its body's rules: type (enum of the wire), number, body. */
void attacker_put_control(struct attacker *attacker, unsigned type, uint64_t number, const void *body, size_t length);

/* Whether the ring has room for so many bytes of body, by the victim's count. */
bool attacker_has_room(const struct attacker *attacker, size_t length);

/* The victim's next record: its `what`, 0 for none; *ret_body, *ret_number. It counts as taken; attacker_tell() says so. */
uint64_t attacker_take(struct attacker *attacker, uint64_t *ret_number, const uint8_t **ret_body);
void attacker_tell(struct attacker *attacker);

/* ---- small helpers ---- */

uint64_t any(uint64_t *seed);              /* the next random number */
size_t open_descriptors(pid_t process);    /* 0 for the own */
size_t shared_mappings(pid_t process);     /* of memfds */
int64_t now_ms(void);

#endif
