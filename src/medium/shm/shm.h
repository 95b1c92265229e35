/* SPDX-License-Identifier: MIT */
/*
 * Shared memory as a medium: layout.h is what is shared, ring.h the ring, area.h the mappings and the bell, arena.h the chunks; attach.c greets and maps,
 * output.c sends, queue.c keeps what waits for room, input.c receives, taken.c counts and tells what was taken, quick.c is the short way of small
 * messages, link.c ends, sleeps and lists the operations, port.c finds names.
 *
 * Small messages are copied into the ring, and copied out by the receiver. Long ones go through the arena and are lent to the receiver where they lie, if it
 * trusts the sender. What fits nowhere goes in pieces.
 */
#ifndef TELEX_MEDIUM_SHM_SHM_H
#define TELEX_MEDIUM_SHM_SHM_H

#include "base/list.h"
#include "base/numbers.h"
#include "medium/medium.h"
#include "medium/shm/area.h"
#include "medium/shm/arena.h"
#include "medium/shm/ring.h"
#include "wire/wire.h"

enum {
    SHM_INLINE_MOST = 4096,     /* longer messages go through the arena; in a small ring: a sixteenth of it */
    SHM_PIECE = 65536,          /* most bytes of a piece of a message that does not fit as a whole */
    SHM_HELD_MOST = 32,         /* records of a batch (TELEX_MORE) */
    SHM_OUTCOMES = 1024,        /* sent numbers whose outcome is remembered */
    SHM_OWED = 4096,            /* control frames that may wait for room */
    SHM_RECORDS = 64,           /* control records and pieces in one `next`, so that a flood of them cannot hold the caller */
    SHM_HELD_DESCRIPTORS = 128, /* received descriptors that may wait for their message */
    SHM_QUICK_MOST = 24576,     /* bytes between two looks whether the peer is still there, by who only sends */
    SHM_HELLO_MOST = TELEX_GREETING_MAX + 64 + TELEX_WIRE_SENTENCE,
};

struct shm_seen { /* the other's progress, as last read */
    uint64_t head, cost, costly, messages, prefix;
};

struct shm_sight { /* what this side knows of the other's progress, for a look without the lock */
    struct shm_seen seen;
    uint64_t log, undecided; /* as in struct shm_arena, struct shm_link */
};

struct shm_waiting { /* a message that arrived and is not taken yet, though others came since; [in] */
    struct telex_node node;
    struct telex_numbered numbered;
    uint64_t order; /* the how-manieth it was to arrive whole */
};

struct shm_assembly { /* a message that arrives in pieces; [in] */
    struct shm_assembly *next;
    struct telex_memory *memory;
    telex_message message; /* length: what it will be */
    size_t filled;
    uint64_t cost;
};

struct shm_parcel { /* a message, or the rest of one, that waits for room; [out] */
    struct telex_node node; /* in its lane */
    telex_message message;  /* data, length, number, type, kind, lane; descriptors: owned */
    uint64_t request;
    struct telex_memory *memory; /* owned; NULL: borrowed from the program */
    size_t sent;
    size_t gone; /* bytes at the front that `message.data` no longer has */
    uint8_t flags; /* enum shm_flags, as far as known */
    bool begun, sync;
};

struct shm_lane { /* a lane that had parcels; [out]; never removed while the link lives */
    struct shm_lane *next;
    unsigned lane;
    struct telex_node parcels;
};

struct shm_owed { /* a control frame that waits; [out] */
    struct telex_node node;
    size_t length;
    uint8_t bytes[];
};

/* What is known of a sent message: `completed` when its last record was written, and enum telex_outcome, as far as known here. */
#define SHM_FATE(order, outcome) ((uint64_t)(order) << 2 | (uint64_t)(outcome))

struct shm_link {
    struct telex_link link;
    struct shm_area *area;
    struct telex_greeting ours;
    uint64_t queue;        /* most untaken messages (constant after the greeting) */
    uint64_t buffer;       /* bytes that wait here before the queue counts as full (constant) */
    uint64_t their_window; /* (constant after the greeting) */
    enum telex_full full;  /* (constant) */
    struct telex_settings settings;    /* (constant) */
    bool prefault, wants_trust, local; /* (constant) local: both sides must be this process */
    bool passive, greeted, attached, admitted;
    bool refused;          /* the peer was told so: nothing follows */
    bool trusted;          /* its messages are read in place */
    uint8_t *hello;        /* what came of the peer's greeting; NULL once it is done with */
    size_t hello_length;
    int fd;                /* the own memory, until it was handed over */
    int decisions_fd;
    int death;             /* readable once the peer's process is dead; -1: none */

    /* ---- [out]; what a small message needs comes first ---- */
    _Alignas(SHM_LINE) struct shm_writer writer;
    uint64_t quick_until;   /* up to here `tail` may go without a look at room, credit and whether the peer lives; 0: nowhere */
    uint64_t quick_put_most; /* longest message that goes quickly */
    uint64_t number;        /* the last number given */
    uint64_t order_lag;     /* of quick messages: number - order_lag is their order */
    uint64_t admitted_bytes;
    uint64_t folded_number, folded_tail; /* up to here what was put quickly is counted below: see telex_shm_fold_sent() */
    uint64_t sent_cost, sent_costly; /* of what costs credit */
    uint64_t completed;     /* messages whose last record was written */
    uint64_t withdrawn, dropped;
    uint64_t alive_at;      /* where `tail` was at the last look whether the peer lives */
    struct shm_seen seen;
    bool unheeded;          /* it has changed since the last push: what waits may have room now */
    uint64_t inline_most;
    uint64_t undecided;     /* the synchronous message that waits for its decision; 0: none */
    uint64_t told_taken;    /* the count in the peer's goodbye */
    bool told;
    bool bye_due, bye_written, finishing;
    uint32_t bye_code;
    char *bye_sentence;
    uint64_t queued_messages, queued_bytes;
    uint64_t queued_replies, queued_reply_bytes; /* of these */
    uint64_t unbegun;       /* of those that cost credit, not begun */
    uint64_t begun_total[2]; /* lengths of messages that are midway, [1]: replies; each at most link.max */
    int failed;             /* what kept the last record from being written, other than room */
    struct shm_parcel *borrowed;
    struct shm_lane *lanes;
    struct telex_node owed;
    unsigned owed_count;
    struct shm_arena arena;
    uint64_t fates[SHM_OUTCOMES]; /* by number: see SHM_FATE */

    /* ---- [in]; likewise ---- */
    _Alignas(SHM_LINE) struct shm_reader reader;
    uint64_t quick_below;   /* shorter messages are taken quickly; 0: not even an empty one, for something else is under way */
    uint64_t quick_from;    /* what lies between here and reader.at was taken quickly, and is not counted elsewhere yet: see telex_shm_fold() */
    struct shm_seen told_progress; /* what `progress` says */
    struct shm_seen taken;  /* what it will say next, but for what was taken quickly; head is reader.done */
    uint64_t granted;       /* cost that the other may count as taken: `taken.cost` and what is being assembled */
    uint64_t arrived_cost;
    uint64_t arrived_costly; /* messages that began to arrive and cost credit; only where a queue was agreed */
    uint64_t arrived;       /* messages that arrived whole */
    uint64_t last;          /* the number of the last one, while it is not taken; 0: it is */
    uint64_t body_most;     /* of a record of the other's ring */
    struct telex_node waiting; /* those before it, in order */
    struct telex_numbers waiting_numbers;
    uint64_t sleeps;        /* numbers of sleeps given */
    bool announced_in, announced_out; /* `asleep` words that are not 0 */
    bool fences;            /* the own word `fences` */
    unsigned sleeps_in_a_row; /* with few messages in between */
    uint64_t slept_at;      /* `taken_messages` at the last of them */
    bool stray;             /* the bell may have been rung for a sleep that ended by itself */
    bool ended;             /* the socket's end was read, or a goodbye */
    bool lost_descriptors;  /* that was why it ended */
    bool goodbye;           /* nothing may follow */
    int ended_error;
    uint64_t lap;           /* where the reader was when it last looked whether the peer is there */
    unsigned empties;       /* looks in vain in a row */
    int64_t looked;         /* ns; when the socket was looked at last for looks in vain */
    _Atomic uint64_t looked_after; /* `taken_messages` at the last look in vain; relaxed: a hint, by the receiving thread */
    struct shm_assembly *assemblies;
    uint64_t assembling_total[2], assembling_cost;
    unsigned held_count;
    int held[SHM_HELD_DESCRIPTORS];
    uint64_t lane_numbers[SHM_CONTROL_LANE + 1]; /* the highest number that came on each lane; of the last, which has no messages: UINT64_MAX */
    uint8_t control[TELEX_WIRE_CONTROL]; /* a control frame, out of the peer's reach */

    _Atomic uint64_t slowly_taken;   /* of these, what did not go the short way; relaxed, likewise */
    _Atomic uint64_t taken_messages; /* as `taken.messages`, for the goodbye; relaxed: whoever says it comes after the receives that it counts */
    atomic_bool alone;      /* the sending side saw the end of the socket: the receiving one shall read it, and what came before it. Relaxed: as `lied` */
    atomic_bool lied;       /* the peer's words made no sense: set by the sending side, acted on by the receiving one */
};

static inline struct shm_link *shm_of(struct telex_link *link)
{
    return (struct shm_link *)link;
}

/* Its last record is written: from now on it is the other's. */
static inline void shm_complete(struct shm_link *shm, uint64_t number)
{
    shm->completed++;
    if (number + SHM_OUTCOMES > shm->number) /* else its place is another one's by now: it waited for long */
        shm->fates[number % SHM_OUTCOMES] = SHM_FATE(shm->completed, TELEX_OFFERED);
}

/* A number that the peer may change at any time, read once. */
static inline uint64_t shm_read_once(const uint8_t *at)
{
    return __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
}

/* attach.c */
int telex_shm_greet(struct telex_link *link);
int telex_shm_admit(struct telex_link *link, uint32_t code, const char *sentence);
int telex_shm_begin(struct shm_link *shm, const struct telex_settings *settings); /* the active side: makes its memory, sends its greeting */

/* output.c [out] */
int telex_shm_put(struct telex_link *link, telex_message *message, const struct telex_put *how);
int telex_shm_loan_of(struct telex_link *link, size_t length, telex_message *ret_message);
int telex_shm_withdraw(struct telex_link *link, uint64_t number);
int telex_shm_outcome(struct telex_link *link, uint64_t number);
bool telex_shm_refresh(struct shm_link *shm); /* reads the other's progress; whether anything has changed */
struct shm_sight telex_shm_sight(const struct shm_link *shm);
/* No lock: whether there is anything that was not there at that sight. Of a sight of now: whether telex_shm_refresh() or an outcome would find anything. */
bool telex_shm_progressed(const struct shm_area *area, const struct shm_sight *sight);
void telex_shm_publish(struct shm_link *shm);  /* completes what is held, and rings */
void telex_shm_reclaim_loans(struct shm_link *shm);

enum shm_fit { SHM_FITS = 0, SHM_FULL = 1, SHM_SPLIT = 2 };
/* Writes what fits of a message from `from` on: SHM_FITS: its end; SHM_SPLIT: a piece of *ret_bytes; SHM_FULL: nothing. */
enum shm_fit telex_shm_write(struct shm_link *shm, const struct shm_parcel *parcel, bool hold, size_t *ret_bytes);

/* queue.c [out] */
int telex_shm_push(struct telex_link *link);
int telex_shm_keep(struct telex_link *link);
int telex_shm_drop(struct telex_link *link, unsigned lane);
int telex_shm_tell(struct telex_link *link, enum telex_arrival_kind kind, uint64_t number, uint32_t code, const char *sentence);
int telex_shm_enqueue(struct shm_link *shm, const struct shm_parcel *parcel, bool borrow); /* copies what is not borrowed */
struct shm_parcel *telex_shm_find_parcel(struct shm_link *shm, uint64_t number);
void telex_shm_unqueue(struct shm_link *shm, struct shm_parcel *parcel);
void telex_shm_forget(struct shm_link *shm); /* drops all that waits */
bool telex_shm_lane_waits(const struct shm_link *shm, unsigned lane);
void telex_shm_owe_withdrawal(struct shm_link *shm, uint64_t number);
void telex_shm_output_free(struct shm_link *shm);

/* input.c [in] */
int telex_shm_next(struct telex_link *link, struct telex_arrival *ret_arrival);
void telex_shm_hear(struct shm_link *shm); /* reads what was rung */
int telex_shm_doze(struct telex_link *link, unsigned directions);
bool telex_shm_has_work(struct shm_link *shm);
void telex_shm_input_free(struct shm_link *shm);

/* taken.c [in] */
void telex_shm_take(struct telex_link *link, const telex_message *message, uint64_t cost);
bool telex_shm_claim(struct telex_link *link, const telex_message *message, uint64_t cost);
void telex_shm_report(struct telex_link *link);
void telex_shm_fold(struct shm_link *shm);
bool telex_shm_is_untold(struct shm_link *shm);
void telex_shm_tell_progress(struct shm_link *shm);
void telex_shm_tell_if_due(struct shm_link *shm);
void telex_shm_grant(struct shm_link *shm);
bool telex_shm_count_arrival(struct shm_link *shm, uint64_t number); /* false: out of memory */
void telex_shm_settle(struct shm_link *shm, const telex_message *message, uint64_t cost); /* it is taken, or never will be */
void telex_shm_waiting_free(struct shm_link *shm);

/* quick.c */
void telex_shm_fold_sent(struct shm_link *shm); /* [out] counts what was put quickly where all else is counted */
bool telex_shm_put_quickly(struct telex_link *link, telex_message *message, unsigned flags);
enum telex_taken telex_shm_take_quickly(struct telex_link *link, telex_message *ret_message);
void telex_shm_settle_quick(struct shm_link *shm); /* [in] whether messages may be taken quickly from now on */

/* link.c */
bool telex_shm_announce(struct shm_link *shm, bool in, bool out); /* [in] says that this side sleeps; false: it need not, something came */
void telex_shm_awake(struct shm_link *shm); /* [in] */
void telex_shm_wakeful(struct shm_link *shm); /* [in] many messages may have come without a sleep */
bool telex_shm_is_dead(struct shm_link *shm);
extern const struct telex_link_ops telex_shm_ops;
int telex_shm_new(struct telex_bytes *bytes, const struct telex_settings *settings, bool passive, bool local, struct telex_link **ret_link);

/* port.c */
int telex_shm_dial(const struct telex_medium *medium, const struct telex_address *address, int64_t deadline, struct telex_link **ret_link);
int telex_shm_listen(const struct telex_medium *medium, const struct telex_address *address, struct telex_port **ret_port);

#endif
