/* SPDX-License-Identifier: MIT */
/*
 * What two processes share: docs/shm-layout.md in C. Every word says who writes it, who reads it, and which reordering its accesses forbid. Whoever
 * changes anything here changes SHM_VERSION.
 *
 * Each side has a memory of its own (a memfd), which it alone writes and the other maps read-only:
 *
 *     struct shm_page      how far its owner is with the other's ring, whether it sleeps, which chunks it gave back
 *     ring                 records, the owner's messages; a power of two of bytes
 *     arena                chunks, long messages and loans; a number of granules
 *
 * and both share one page of decisions about synchronous messages, which both write. Numbers are the host's own, for both are on it. There are no pointers.
 */
#ifndef TELEX_MEDIUM_SHM_LAYOUT_H
#define TELEX_MEDIUM_SHM_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHM_VERSION = 1,
    SHM_LINE = 64,        /* bytes that travel together between cores */
    SHM_PAGE = 4096,
    SHM_SLOTS = 1024,     /* most granules of an arena */
    SHM_RECORD = 16,      /* bytes of a record's header, and what all records are aligned to */
    SHM_RING_LEAST = 16384,
    SHM_MAGIC = 0x4D4C5854, /* "TXLM" */
};

/*
 * How far the owner is with the other's messages. Written by the owner's receiving side, read by the other's sending side; each word only
 * grows. The release store of `head` pairs with an acquire load: what the owner read from the ring before, it has read before the other overwrites it. The
 * other words are counts; their acquire loads only make sure that a sender that was woken by them sees what led to them.
 */
struct shm_progress {
    _Atomic uint64_t head;     /* bytes of the other's ring that the owner has done with: free again */
    _Atomic uint64_t cost;     /* bytes of records taken, of those that cost credit */
    _Atomic uint64_t costly;   /* messages taken or dropped, of those that cost credit */
    _Atomic uint64_t messages; /* messages taken */
    _Atomic uint64_t prefix;   /* of the messages in the order in which their last records came, so many from the first on are taken or withdrawn */
};

struct shm_page {
    struct shm_progress progress;
    /*
     * 0: awake; else the number of the present sleep. Written by the owner before it sleeps, read by the other after each publication, which rings
     * the bell once a number. Store, heavy barrier, look again on the owner's side; store, light barrier, load on the other's: see area.h.
     */
    _Alignas(SHM_LINE) _Atomic uint64_t asleep_in; /* it waits for messages */
    _Atomic uint64_t asleep_out; /* it waits for progress: room, a taken message, a chunk given back */
    /*
     * 1: the owner sleeps so often that it takes a full barrier instead of the heavy one, and so must the other, between its publication and its load of an
     * `asleep` word. Written by the owner, read by the other before that load.
     */
    _Atomic uint64_t fences;
    /*
     * The log of chunks given back: entry i tells the i-th one, at i modulo SHM_SLOTS: the number of the lap (i / SHM_SLOTS + 1) above, SHM_RELEASED_SLOT
     * bits of the chunk's first granule below. Written by the owner (any thread), read by the other's sending side in order. Release and acquire: what
     * the owner read of the chunk, it has read before the other overwrites it.
     */
    _Alignas(SHM_PAGE) _Atomic uint32_t released[SHM_SLOTS];
};

enum { SHM_RELEASED_SLOT = 10 };

/*
 * A record: header, body. A message, a piece of one, or (lane 255) a control frame of wire=telex. The next record begins at the next multiple of
 * SHM_RECORD, wherever that is: the ring is mapped twice in a row, so that nothing is ever split.
 *
 * `what` is 0 until the record is complete. A writer zeroes the word behind a record before it completes the record: so the reader, which looks at that
 * word only after it has seen the record, never takes for a header what a message of an earlier lap left there. Release by the writer, acquire by
 * the reader: whoever sees `what` sees the whole record and the zero behind it.
 */
struct shm_record {
    _Atomic uint64_t what; /* size of the body (32 bits), type (16), lane (8), flags (8); see SHM_WHAT */
    uint64_t number;       /* of the message, as on wire=telex */
};

#define SHM_WHAT(size, type, lane, flags)                                                                              \
    ((uint64_t)(size) | (uint64_t)(type) << 32 | (uint64_t)(lane) << 48 | (uint64_t)((flags) | SHM_PRESENT) << 56)

enum shm_flags { /* the first five as on wire=telex */
    SHM_TEXT = 1,
    SHM_CALL = 2,
    SHM_REPLY = 4,        /* the body begins with the number of the request (8 bytes) */
    SHM_SYNC = 8,         /* it may be taken only by a decision */
    SHM_MORE = 16,        /* more pieces follow; in the first one stands then the total length (8 bytes) */
    SHM_DESCRIPTORS = 32, /* then the count of descriptors that went ahead over the socket (8 bytes) */
    SHM_CHUNK = 64,       /* then, instead of the message's bytes, struct shm_chunk: they lie in the arena */
    SHM_PRESENT = 128,    /* always: so that no complete record has a `what` of 0 */
};

enum { SHM_CONTROL_LANE = 255, SHM_PREFIX_MOST = 24 };

struct shm_chunk { /* where a long message lies */
    uint32_t slot;     /* its first granule */
    uint32_t reserved; /* 0 */
    uint64_t length;   /* bytes of the message */
};

/*
 * The page that both write: a word for each direction, about the one synchronous message that is undecided there: its number above, enum shm_decision in the
 * lowest two bits. The sender stores OFFERED before it publishes the record (the record's release orders it); then the receiver makes it TAKEN or the
 * sender WITHDRAWN, by compare-and-swap, so that one of them wins (acquire and release: the loser sees what the winner did before).
 */
struct shm_decisions {
    _Alignas(SHM_LINE) _Atomic uint64_t of_dialer;   /* about messages of the side that dialed */
    _Alignas(SHM_LINE) _Atomic uint64_t of_listener; /* about those of the side that listened */
};

enum shm_decision { SHM_OFFERED = 1, SHM_TAKEN = 2, SHM_WITHDRAWN = 3 };

#define SHM_DECISION(number, decision) ((uint64_t)(number) << 2 | (uint64_t)(decision))

/*
 * What goes over the attach socket after each side's greeting (that of wire=telex), with its memory, and from the dialer also the page of decisions, by
 * SCM_RIGHTS at its first byte. After it, each byte is a ring of the bell, or carries the descriptors of a message.
 */
struct shm_attach {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;      /* enum shm_attach_kind */
    uint64_t ring;      /* bytes of the sender's ring */
    uint64_t arena;     /* and of its arena, 0 for none */
    uint32_t flags;     /* enum shm_attach_flags */
    uint32_t code;      /* of a refusal: enum telex_bye */
    uint32_t sentence;  /* bytes of the sentence that follows a refusal */
    uint32_t reserved[7];
};

enum shm_attach_kind { SHM_ATTACH = 1, SHM_REFUSED = 2 };
enum shm_attach_flags { SHM_HAS_MEMBARRIER = 1 }; /* unless both have it, each publication pays for a full barrier */

_Static_assert(sizeof(struct shm_progress) == 40 && sizeof(struct shm_page) == 8192, "frozen: docs/shm-layout.md");
_Static_assert(offsetof(struct shm_page, asleep_in) == 64 && offsetof(struct shm_page, asleep_out) == 72 && offsetof(struct shm_page, fences) == 80, "frozen");
_Static_assert(offsetof(struct shm_page, released) == 4096, "frozen");
_Static_assert(offsetof(struct shm_progress, cost) == 8 && offsetof(struct shm_progress, costly) == 16, "frozen");
_Static_assert(offsetof(struct shm_progress, messages) == 24 && offsetof(struct shm_progress, prefix) == 32, "frozen");
_Static_assert(sizeof(struct shm_record) == SHM_RECORD && offsetof(struct shm_record, number) == 8, "frozen");
_Static_assert(sizeof(struct shm_chunk) == 16 && offsetof(struct shm_chunk, length) == 8, "frozen");
_Static_assert(offsetof(struct shm_decisions, of_listener) == 64 && sizeof(struct shm_decisions) == 128, "frozen");
_Static_assert(sizeof(struct shm_attach) == 64 && offsetof(struct shm_attach, flags) == 24, "frozen");
_Static_assert(offsetof(struct shm_attach, sentence) == 32 && offsetof(struct shm_attach, ring) == 8, "frozen");
_Static_assert((1 << SHM_RELEASED_SLOT) == SHM_SLOTS, "a slot fits below the lap");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "a lock would not be shared");

#endif
