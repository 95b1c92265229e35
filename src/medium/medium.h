/* SPDX-License-Identifier: MIT */
/*
 * THE contract between a conversation (src/channel) and what carries it (src/medium). It speaks of messages, so that a medium
 * that is not a byte stream can do them its own way; stream/ does them once for every byte stream.
 *
 * Locks. A link has two sides, each with a lock in the base struct: `in` for what arrives, `out` for what leaves. Whoever
 * calls an operation holds the locks named beside it. Order: `in` before `out`; an [in] operation may take `out` itself (a
 * control frame that arrives changes what may leave), an [out] operation never takes `in`. No operation waits.
 */
#ifndef TELEX_MEDIUM_MEDIUM_H
#define TELEX_MEDIUM_MEDIUM_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "medium/address.h"
#include "os/lock.h"
#include "telex/telex.h"
#include "wire/wire.h"

struct telex_greeting;
struct telex_link;
struct telex_port;

struct telex_medium_peer {
    int64_t pid, uid, gid; /* -1: not known */
    char address[256];
};

enum telex_arrival_kind {
    TELEX_ARRIVAL_MESSAGE,
    TELEX_ARRIVAL_WITHDRAW, /* `message.number` must not be taken any more; answer with `decide` */
    TELEX_ARRIVAL_CANCEL,   /* nobody waits for the reply to request `message.number` */
    TELEX_ARRIVAL_FAIL,     /* our request `message.request` gets no reply: `code` (enum telex_failure), `sentence` */
};

struct telex_arrival {
    enum telex_arrival_kind kind;
    uint32_t code;
    telex_message message; /* `memory` NULL: the bytes are the link's, good until the next `next`, `rest` or `free` */
    uint64_t cost;         /* the medium's own, handed back to `take` */
    const char *sentence;  /* good as long as borrowed bytes */
    size_t sentence_length;
};

struct telex_put { /* how a message leaves, besides what the message itself says */
    unsigned flags;   /* TELEX_SYNC, TELEX_MORE */
    bool call;        /* it is a request */
    uint64_t request; /* it answers this request; 0: it is no reply */
    bool patient;     /* the sender would rather wait a while than have the message copied to wait here: -EAGAIN then, though there is room for it to wait */
    bool borrow;      /* the link may go on reading message->data after the return, until `keep` */
};

enum { TELEX_PUT_BORROWED = 1 }; /* put: admitted, and part of it still lies in the program's memory */

enum telex_arm { /* which directions a sleeper waits for */
    TELEX_ARM_IN = 1,
    TELEX_ARM_OUT = 2,
    TELEX_ARM_PROGRESS = 4, /* a sender waits: for room, or for what it sent to be taken; media of which that shows anyhow need not be told */
};

enum telex_taken { /* of take_quickly */
    TELEX_TAKEN_NOW,   /* *ret_message is set */
    TELEX_TAKEN_LATER, /* nothing is there that it may take: something may come */
    TELEX_TAKEN_SLOWLY, /* only the long way can tell */
};

struct telex_link_ops {
    /* [in out] Exchanges greetings: 0 when the peer's has been read and agreed with, -EAGAIN, or the error of dial. */
    int (*greet)(struct telex_link *link);
    /* [in out] Passive side, after greet: lets the peer in, or (code != 0, enum telex_bye) tells it why not. */
    int (*admit)(struct telex_link *link, uint32_t code, const char *sentence);

    /*
     * [out] Admits a message: 0 (number set, handed over or queued), TELEX_PUT_BORROWED, -EAGAIN (the queue is full: no effect), or the error that the
     * direction ended with. Everything that depends on limits and wire was checked before.
     */
    int (*put)(struct telex_link *link, telex_message *message, const struct telex_put *how);
    /*
     * No lock is held. The common case of an asynchronous send by itself, in as few instructions as can be: a binary message without descriptors, from a thread that
     * owns `out` (os/lock.h), while nothing else is under way. false: nothing was done, and the long way decides, also about errors. NULL: always that.
     */
    bool (*put_quickly)(struct telex_link *link, telex_message *message, unsigned flags);
    /* [out] Copies what is still borrowed. 0 or -ENOMEM (the link has ended then). */
    int (*keep)(struct telex_link *link);
    /* [out] Hands over what can be handed over now. 0: all; -EAGAIN: the medium or the peer's credit lets no more through; or the error. */
    int (*push)(struct telex_link *link);
    /* [out] Drops the oldest asynchronous message of the lane that was not begun. 0, or -ENOENT. */
    int (*drop)(struct telex_link *link, unsigned lane);
    /* [out] Withdraws a synchronous message; returns its enum telex_outcome now. */
    int (*withdraw)(struct telex_link *link, uint64_t number);
    /* [out] enum telex_outcome, or -ENOENT. */
    int (*outcome)(struct telex_link *link, uint64_t number);
    /* [out] Tells the peer: kind TELEX_ARRIVAL_CANCEL (number) or TELEX_ARRIVAL_FAIL (number of its request, code, sentence). 0 or -errno. */
    int (*tell)(struct telex_link *link, enum telex_arrival_kind kind, uint64_t number, uint32_t code, const char *sentence);
    /* [out] Nothing more will be put: says goodbye after what is queued (`now`: instead of it). */
    void (*finish)(struct telex_link *link, uint32_t code, const char *sentence, bool now);
    /* [out] After finish: 0 when all that was put has left this host's buffers and is known taken or told; -EAGAIN; or the error. */
    int (*finished)(struct telex_link *link);
    /* [out] 0 when all has left this host's buffers (flush), -EAGAIN, or the error. */
    int (*delivered)(struct telex_link *link);
    /* [out] sent, taken, withdrawn, dropped, queued and bytes of these; received: only what take_quickly took. */
    void (*count)(struct telex_link *link, telex_counters *counters);

    /* [in] What has arrived next; -EAGAIN, -EPIPE, -ECONNRESET, -EPROTO as of receive. Control that arrives is acted on here, and `news` raised. */
    int (*next)(struct telex_link *link, struct telex_arrival *ret_arrival);
    /* The same of a receive: a plain message goes into the memory that *ret_message has already. */
    enum telex_taken (*take_quickly)(struct telex_link *link, telex_message *ret_message);
    /* [in] The program takes the message: it counts as taken and its credit returns; a synchronous one is told at once. */
    void (*take)(struct telex_link *link, const telex_message *message, uint64_t cost);
    /* [in] Before a synchronous message is handed to the program: whether it may be; false: it was withdrawn, and is dropped. NULL: it always may. */
    bool (*claim)(struct telex_link *link, const telex_message *message, uint64_t cost);
    /* [in] Answers a withdrawal: TELEX_TAKEN, or TELEX_WITHDRAWN with the message's cost. */
    void (*decide)(struct telex_link *link, uint64_t number, int outcome, uint64_t cost);
    /* [in] Nothing is left to receive just now: tells what was taken since the last time. */
    void (*report)(struct telex_link *link);
    /* [in out] Returns the poll(2) events that a sleeper must wait for on `descriptor`; -1: there is work now. */
    int (*arm)(struct telex_link *link, unsigned directions);
    /*
     * [in] Sleeps in the medium itself until something arrives, some milliseconds at most: 0, or -EINTR when a signal came. No bell ends it, and `in` is
     * held meanwhile (directions: as of arm): only for a channel that one thread uses. -EOPNOTSUPP: the medium cannot, or there is work already. May be NULL.
     */
    int (*doze)(struct telex_link *link, unsigned directions);
    /*
     * No lock. Looks again for a microsecond or some, in memory or by reads of its own: true: a try in these directions may succeed now, or looking does not
     * help. NULL: trying is the way to find out.
     */
    bool (*spin)(struct telex_link *link, unsigned directions);
    /* [out] Memory of the medium itself to write a message into: 0, -EAGAIN: some may come back soon; -ENOBUFS: take heap memory. NULL: always that. */
    int (*loan)(struct telex_link *link, size_t length, telex_message *ret_message);
    /* A descriptor that becomes readable when the peer has died, be its end of the link held open by another process or not; -1: none. NULL: there is none. */
    int (*death)(struct telex_link *link);
    /* [in out] Gives back buffers that hold nothing. */
    void (*rest)(struct telex_link *link);

    int (*descriptor)(struct telex_link *link); /* readable when something arrives, and writable when something may leave; -1: nothing ever arrives */
    /* The descriptor that becomes writable, where that is another one (pipes); -1: nothing ever leaves. NULL: `descriptor`. */
    int (*outlet)(struct telex_link *link);
    void (*peer)(struct telex_link *link, struct telex_medium_peer *ret_peer);
    void (*free)(struct telex_link *link); /* at once; no lock is held, none is taken */
};

enum { TELEX_GATHER_NS = 20000 }; /* flush=helper: a sender that goes on hands over by itself what was gathered for so long, so that the helper need not */

struct telex_link {
    const struct telex_link_ops *ops;
    struct telex_lock in, out;
    const struct telex_wire *wire; /* what can be said: wire->can, wire->check */
    uint64_t max;                  /* longest message to send, agreed */
    uint64_t fixed;                /* agreed length, UINT64_MAX: variable */
    uint64_t window;               /* bytes that may wait here untaken */
    unsigned descriptors;          /* most descriptors that may go with a message; 0: none */
    atomic_bool lively;            /* a hint by the channel: waits end without sleeping, so what was taken may be told every now and then */
    atomic_bool blocked;           /* written under [out]: something waits for the medium to take it */
    atomic_bool held;              /* written under [out]: something waits for what follows it (TELEX_MORE), or for a wait */
    uint64_t waiting;              /* [in] set before `take`: the oldest message of that lane that arrived and still waits to be taken; 0: none */
    bool quick;                    /* (constant) put_quickly and take_quickly are worth a try */
    atomic_bool entered[2];        /* by the channel: a thread is in a call that sends, receives, and did not take the short way. Relaxed: see put_quickly */
    atomic_bool watched;           /* by the channel, under [in] and [out]: readiness must be settled after each call. Relaxed, likewise */
    uint64_t quick_received_bytes; /* [in] by take_quickly; `count` tells how many messages they were */
    bool helped;                   /* (constant) flush=helper: what waits here is moved by the helper thread, which `put` asks for by wants_helper */
    bool wants_helper;             /* [out] something waits that the helper is to move, and it does not know yet */
    bool helper_works;             /* [out] it does; the helper lowers it when nothing waits any more */
    atomic_bool bursting;          /* written under [out]: messages follow each other so fast that they are gathered. Read without it as a hint */
    unsigned gathered;             /* [out] messages that were, since the last push */
    int64_t gathered_since;        /* [out] ns; flush=helper: when the first of them was */
    atomic_uint pushes;            /* written under [out]: pushes that wrote something; the helper looks at it without the lock */
    uint64_t quick_sent_bytes;     /* [out] by put_quickly, headers included, since the last `put` */
    bool announces;                /* (constant) a sleeper is only woken for what was armed: TELEX_ARM_PROGRESS counts */
    bool thirsty;                  /* [out] credit is running low: reading would help */
    unsigned news;                 /* [in] raised when something arrived that a sender may wait for */
    unsigned disarmed;             /* [in] raised when what `arm` arranged is no more, so that whoever sleeps by it must arm anew */
    int in_end, out_end;           /* [in], [out] 0, or the error that the direction has ended with */
    unsigned char life[16];
    char program[64];              /* the peer's */
    int64_t pid;                   /* the peer's own word; -1: none. A hint, nothing to trust */
    pthread_mutex_t reason_lock;   /* guards `reason`: both sides may end the link */
    char reason[TELEX_REASON_SIZE]; /* why the link ended; set once */
};

/* Relaxed: hints to the other direction's thread, which takes `out` before it acts on them. */
static inline bool telex_link_waits(const struct telex_link *link)
{
    return atomic_load_explicit(&link->blocked, memory_order_relaxed) || atomic_load_explicit(&link->held, memory_order_relaxed);
}

void telex_link_init(struct telex_link *link, const struct telex_link_ops *ops, const struct telex_wire *wire);
void telex_link_deinit(struct telex_link *link);

/* The reason where a last line has no newline; what is said of a program that ended so says both (channel/spawn.c). */
#define TELEX_LINK_CUT "the peer ended in the middle of a message, a line without its newline (wire=raw takes any bytes)"

/* Keeps the thread's last sentence as the reason of the end, if there is none yet. Returns `error`. */
int telex_link_blame(struct telex_link *link, int error);

/* Says the reason of the end again, for this thread. Returns `error`. */
int telex_link_say_reason(struct telex_link *link, int error);

/* What this process says of itself; `descriptors`: the medium can carry them. */
struct telex_greeting telex_link_greeting(const struct telex_settings *settings, bool descriptors);

/* Agrees with the peer's greeting on what the link will do: 0, or the error of dial, *ret_bye saying why (enum telex_bye). */
int telex_link_agree(struct telex_link *link, const struct telex_greeting *ours, const struct telex_greeting *theirs, uint32_t *ret_bye);

/* What poll(2) must look at for `events` (of arm): how many of `ret_fds` were set, 0 to 2. */
unsigned telex_link_polled(struct telex_link *link, int events, struct pollfd ret_fds[2]);

/*
 * Changes what `epoll` watches the link's descriptors for, from `before` (0: not there) to `now` (0: not there any more; a hang-up shows whatever is watched
 * for, so who waits for nothing must not be there at all). 0 or -errno.
 */
int telex_link_watch(struct telex_link *link, int epoll, uint32_t before, uint32_t now, void *tag);

/* The lesser of two bounds, where 0 is none; UINT64_MAX: none. */
uint64_t telex_link_lesser(uint64_t ours, uint64_t theirs);

/* [in] The peer broke the rules, or going on is impossible: tells it why (the thread's last sentence) and ends both directions with `error`, which it returns. */
int telex_link_break(struct telex_link *link, int error);

struct telex_port_ops {
    /* The next peer, not yet greeted: 0, -EAGAIN, -EMFILE, -ENFILE, -ENOMEM. */
    int (*accept)(struct telex_port *port, struct telex_link **ret_link);
    int (*descriptor)(struct telex_port *port);
    const char *(*address)(struct telex_port *port);
    void (*close)(struct telex_port *port);
};

struct telex_port {
    const struct telex_port_ops *ops;
    bool unlisted; /* (constant) no other process can dial it: it stands in no list */
    bool single;   /* (constant) one peer comes, and never another one */
};

struct telex_medium {
    const char *scheme;
    /* Connects, without greeting. Errors as of telex_dial(). */
    int (*dial)(const struct telex_medium *medium, const struct telex_address *address, int64_t deadline, struct telex_link **ret_link);
    int (*listen)(const struct telex_medium *medium, const struct telex_address *address, struct telex_port **ret_port);
    const void *driver; /* what the functions above need to know of the medium (stream: its struct telex_bytes_medium) */
};

/* The medium for `address`; NULL, with a sentence that lists the known ones, if there is none. */
const struct telex_medium *telex_medium_of(const struct telex_address *address);

/*
 * A link over owned descriptors that nobody else shares: a connected Unix socket (in == out), or the ends of two pipes that do not wait. `death`: one that is
 * readable once the peer has died; -1: none. Takes all of them over, also when it fails.
 */
int telex_link_over(int in, int out, int death, const struct telex_settings *settings, bool passive, struct telex_link **ret_link);

/* ---- memory of messages ---- */

/* What telex_message.memory points to; the bytes follow it. */
struct telex_memory {
    void (*release)(struct telex_memory *memory);
    size_t capacity;
    bool loan;                  /* made by telex_loan(): a successful send consumes it */
    unsigned descriptor_count;  /* received, owned; -1 once claimed */
    int *descriptors;
    _Alignas(16) unsigned char bytes[];
};

/* Fresh heap memory for `length` bytes, NULL when out of memory. */
struct telex_memory *telex_memory_new(size_t length);

/* The same without room for more: for what only waits. */
struct telex_memory *telex_memory_fitting(size_t length);

void telex_memory_release_heap(struct telex_memory *memory); /* what `release` is of heap memory */

/* Whether another message of `length` bytes may be put into it: the medium does not want it back, and nothing else is in it. */
static inline bool telex_memory_reusable(const struct telex_memory *memory, size_t length)
{
    return memory != NULL && memory->release == telex_memory_release_heap && !memory->loan && memory->descriptor_count == 0 && memory->capacity >= length;
}

/* Grows heap memory to at least `length` bytes, keeping what is in it; NULL when out of memory (the old one lives on). */
struct telex_memory *telex_memory_grow(struct telex_memory *memory, size_t length);

/* Closes unclaimed descriptors and frees; NULL is fine. */
void telex_memory_release(struct telex_memory *memory);

/* Owned copies of the program's descriptors, for a message that waits. 0 (*ret_descriptors NULL: it has none), -ENOMEM, -EBADF, -EMFILE, ... with a sentence. */
int telex_descriptors_copy(const telex_message *message, int **ret_descriptors);

/* Closes and frees them; NULL is fine. */
void telex_descriptors_free(int *descriptors, unsigned count);

/* Moves `count` owned descriptors into `memory`. 0 or -ENOMEM (they are still the caller's). */
int telex_memory_attach(struct telex_memory *memory, const int *descriptors, unsigned count);

/* ---- the quick ways ---- */

/* What a message says of itself, if the quick ways may take it: binary, without descriptors, on a lane for messages, with bytes of its own. */
static inline bool telex_link_is_plain(const telex_message *message, unsigned flags)
{
    const struct telex_memory *memory = message->memory;
    return message->kind == TELEX_BINARY && message->descriptor_count == 0 && message->lane < TELEX_WIRE_LANES && (flags & ~(unsigned)TELEX_MORE) == 0 &&
           message->data != NULL && (memory == NULL || !memory->loan);
}

/* Whether nobody is in a call of this direction that took the long way, or must be told of each. */
static inline bool telex_link_is_undisturbed(const struct telex_link *link, int direction)
{
    return !atomic_load_explicit(&link->entered[direction], memory_order_relaxed) && !atomic_load_explicit(&link->watched, memory_order_relaxed);
}

#endif
