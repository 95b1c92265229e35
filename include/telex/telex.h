/* SPDX-License-Identifier: MIT */
/*
 * telex: processes that cooperate talk to each other, over any medium, with one set of calls.
 *
 * Conventions, for every function here:
 *   - It returns 0 (or a value that is not negative) on success and a negative errno on failure. Outputs named
 *     ret_... are untouched on failure. telex_reason() then tells in a sentence what was at fault and what to do.
 *   - Lengths are in bytes, times in nanoseconds, deadlines are absolute (CLOCK_MONOTONIC).
 *   - "Sending" calls of one channel may run in one thread while "receiving" calls run in another one; each
 *     function below says which it is. A further thread in the same direction gets -EBUSY and has no effect.
 *   - In a child made by fork() every handle of the parent answers -ECHILD; its descriptors are closed there.
 *   - The library never prints, exits, aborts, raises SIGPIPE or installs a signal handler, and has no thread but the one that flush=helper asks for.
 */
#ifndef TELEX_TELEX_H
#define TELEX_TELEX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TELEX_VERSION_MAJOR 0
#define TELEX_VERSION_MINOR 1
#define TELEX_VERSION_PATCH 0

typedef struct telex_channel telex_channel;   /* one two-way conversation between two processes */
typedef struct telex_listener telex_listener; /* a passive endpoint with a known address */
typedef struct telex_server telex_server;     /* listeners and many channels, served by handlers */

/* ---- time ------------------------------------------------------------------------------------------------ */

typedef int64_t telex_time; /* ns of CLOCK_MONOTONIC */

#define TELEX_NOW ((telex_time)0)           /* do not wait: -EAGAIN where a wait would be needed */
#define TELEX_NEVER ((telex_time)INT64_MAX) /* wait without a deadline */

/* The present time, ns of CLOCK_MONOTONIC. Any thread; also in a signal handler. */
telex_time telex_now(void);

/* The deadline that lies `ns` nanoseconds ahead; it saturates at TELEX_NEVER, and is never TELEX_NOW. */
telex_time telex_after(int64_t ns);

/* The version of the library in use, "0.1.0"; static memory. */
const char *telex_version(void);

/* ---- messages -------------------------------------------------------------------------------------------- */

enum telex_kind {
    TELEX_BINARY = 0,
    TELEX_TEXT = 1, /* valid UTF-8, checked when sent and when received */
};

enum telex_message_flags {
    TELEX_IS_CALL = 1, /* received: the sender waits for exactly one telex_reply() or telex_fail() */
    TELEX_IS_REPLY = 2, /* received: the answer to the request numbered `request` */
    TELEX_IS_SYNC = 4, /* received: the sender waited until it was taken */
};

/*
 * A message. The program owns the struct and may copy it; it starts zeroed (`telex_message m = {0};`).
 * Sending: set data, length, kind and, where wanted, type, lane and descriptors; telex sets number.
 * Receiving: telex sets everything. The bytes are the message's own until telex_release() or until the struct is
 * handed to another receive, which reuses its memory; several may be held at once. They are to be read: on shm and inproc a long message may lie where
 * its sender, the same user, wrote it, and writing to it would end the process. `memory` is telex's: a struct that is
 * copied has one owner, the copy that is released.
 */
typedef struct telex_message {
    void *data;
    size_t length;         /* bytes */
    uint64_t number;       /* its number in its direction, from 1, over all lanes of the channel */
    uint64_t request;      /* of a reply: the number of the request */
    uint16_t type;         /* its word in the protocol; 0 without a protocol */
    uint8_t kind;          /* enum telex_kind */
    uint8_t lane;          /* 0 to 254; order holds within a lane */
    uint8_t flags;         /* enum telex_message_flags; set on receive */
    uint8_t descriptor_count;
    uint8_t reserved[2];   /* zero */
    int *descriptors;      /* unix, shm, inproc. Sent: the program's own, duplicated by the send; received: see telex_claim() */
    void *memory;          /* telex's */
    uint64_t room[3];      /* zero */
} telex_message;

/* A text message that refers to (does not copy) the zero-terminated `text`. Any thread. */
telex_message telex_text(const char *text);

/* A binary message that refers to (does not copy) `length` bytes at `data`. Any thread. */
telex_message telex_binary(const void *data, size_t length);

/*
 * The bytes of `message` as a fresh zero-terminated string, to be given to free(); NULL when out of memory. Any thread.
 * A zero byte within the message stays where it is.
 */
char *telex_string(const telex_message *message);

/*
 * Takes over received descriptor number `index` of `message`: it is now the caller's to close. Descriptors that nobody
 * claims are closed by telex_release(). Returns the descriptor (close-on-exec), or -EINVAL (no such index) or -ENOENT (claimed before).
 */
int telex_claim(telex_message *message, unsigned index);

/*
 * Gives back what `message` holds (received bytes, unclaimed descriptors, or an unsent loan) and zeroes it. Any thread,
 * also after the channel was closed. NULL and messages that hold nothing are fine.
 */
void telex_release(telex_message *message);

/* ---- options --------------------------------------------------------------------------------------------- */

enum telex_wait { /* how calls on the channel wait; see docs/DESIGN.md, "Waiting" */
    TELEX_WAIT_ADAPTIVE = 1, /* default: try again for about as long as a sleep costs, then sleep; it learns */
    TELEX_WAIT_SPIN = 2,     /* try again until the deadline (with one allowed core: as block) */
    TELEX_WAIT_BLOCK = 3,    /* sleep at once */
};

enum telex_full { /* what an asynchronous send does when the queue is full */
    TELEX_FULL_WAIT = 1, /* default: wait for room until the deadline */
    TELEX_FULL_FAIL = 2, /* -EAGAIN at once, whatever the deadline */
    TELEX_FULL_DROP_NEWEST = 3, /* return 0, drop this message, count it */
    TELEX_FULL_DROP_OLDEST = 4, /* drop queued messages of the lane that were not handed over, count them */
};

enum telex_flush { /* when what was sent leaves */
    TELEX_FLUSH_CALL = 1,   /* default: within the call, a lone message in one system call */
    TELEX_FLUSH_HELPER = 2, /* the first few of a burst at once; the rest is gathered, for some 50 us at most, by the helper thread of this process */
};

enum telex_answer { TELEX_NO = 1, TELEX_YES = 2 }; /* of options that are yes or no */

/*
 * Options; zero means the default. The same names exist in an address's query (`tcp://host:7000?max=1MiB&wait=block`); where
 * both speak, the address wins, because it comes from whoever runs the program. Strings are copied.
 */
typedef struct telex_options {
    size_t size;          /* sizeof(telex_options), so that the struct can grow */
    const char *wire;     /* wire=: "telex" (default; the only one on shm and inproc), "lines", "raw" */
    uint64_t max;         /* max=: longest message accepted, bytes; 16 MiB. Agreed: the lesser of both sides */
    uint64_t fixed;       /* size=: every message has exactly this many bytes; 0: variable */
    uint64_t buffer;      /* buffer=: bytes that wait to be sent before the queue counts as full; 1 MiB */
    uint64_t window;      /* window=: bytes that the peer may send beyond what was taken; 1 MiB */
    uint64_t queue;       /* queue=: most untaken messages, those in the medium included; 0: unbounded */
    int64_t greeting;     /* greeting=: an accepted peer must have greeted within this time, ns; 10 s */
    uint32_t wait;        /* wait=: enum telex_wait */
    uint32_t full;        /* full=: wait, fail, drop-newest, drop-oldest (enum telex_full) */
    uint32_t mode;        /* mode=: permission bits of a path that is listened at; 0600 */
    uint32_t descriptors; /* descriptors=: most descriptors accepted with one message (unix, shm, inproc), up to 64; 0: none */
    uint32_t pending;     /* pending=: most peers that may be greeting at a listener at a time; 1,024 */
    uint32_t flush;       /* flush=: enum telex_flush; shm and inproc, where a send is no system call, have no need of a helper */
    const char *program;  /* program=: the name told to the peer; default: that of the executable */
    const char *fault;    /* fault=: what a fault+MEDIUM:// address does to the bytes (tests); see docs/media.md */
    uint64_t ring;        /* ring=: shm, inproc: bytes of the ring that messages of up to 4 KiB go through, each way; 64 KiB. Rounded up to a power of two */
    uint64_t arena;       /* arena=: shm, inproc: bytes for longer messages and loans, each way; 256 KiB. Longer than half of it goes in pieces */
    uint32_t prefault;    /* prefault=: shm, inproc: map every page when the channel is made, not at its first use; TELEX_NO */
    uint32_t trust;       /* trust=: shm, inproc: TELEX_NO: copy each message, and check the copy, also when the peer is the same user; TELEX_YES */
    int64_t keepalive;    /* keepalive=: tcp: a host that went silent is found within about this time, ns, 4 s at least; 40 s. With bytes on their way: 15 s at least */
    uint64_t room[4];     /* zero */
} telex_options;

/* ---- a channel: one conversation ------------------------------------------------------------------------- */

/*
 * Dials `address` and waits for the peer's greeting. The caller owns *ret_channel and ends it with telex_close().
 * Any thread. -EINVAL (address or option; the sentence names the part), -ECONNREFUSED (nobody listens there, or the peer
 * refused: telex_reason(NULL) has its sentence), -ENOENT (no such path or host name), -EACCES, -ETIMEDOUT, -EAGAIN (TELEX_NOW), -EINTR,
 * -EPROTO (it is not a telex peer), -ECONNRESET (it closed before it greeted), -EPROTONOSUPPORT (no version in common), -ENOMEM, -EMFILE and
 * other errnos of socket(2) and connect(2).
 * fd:IN,OUT and stdio: take up descriptors that are open already, of which telex_dial() is the active side and telex_listen() the passive one. Unless that
 * fails with -EINVAL (also: no stream, wrong way round), -EBADF (not open), -ENOMEM or -EMFILE, numbers above 2 are telex's from then on, and closed with the
 * channel, as fdopen(3) and fclose(3) do; 0, 1 and 2 stay open.
 */
int telex_dial(const char *address, const telex_options *options, telex_time deadline, telex_channel **ret_channel);

enum telex_send_flags {
    TELEX_SYNC = 1, /* a rendezvous: return when the receiver has taken it */
    TELEX_MORE = 2, /* more follows at once: may be held back until a send without it, telex_flush() or a wait */
};

/*
 * Sends `message`; sending. Asynchronous (flags 0): 0 means queued or handed over, whole, in order. With TELEX_SYNC: 0 means that the peer's
 * receive has returned it. The bytes may be reused when it returns. message->number is set whenever a number was given.
 *   -EAGAIN, -ETIMEDOUT   asynchronous: the queue stayed full, no effect. Synchronous: not known to be taken by the deadline; telex
 *                         withdraws it and telex_outcome() tells what became of it.
 *   -EINTR                as -EAGAIN, because of telex_interrupt() or a signal.
 *   -EPIPE, -ECONNRESET   the peer closed / died or the link broke; telex_close() counts what is not known taken.
 *   -EMSGSIZE             longer than agreed, or not the agreed fixed size: refused here, the channel lives on.
 *   -EINVAL, -EILSEQ      the message cannot be said on this wire (a newline on lines, ...) / the text is not UTF-8.
 *   -EOPNOTSUPP           this wire or medium cannot: rendezvous on lines, descriptors on tcp, ...
 *   -EPROTO               the peer broke the rules of the wire: the channel has ended.
 *   -ENOMEM, -EBUSY (a second sending thread), -ECHILD (after fork).
 */
int telex_send(telex_channel *channel, telex_message *message, unsigned flags, telex_time deadline);

/*
 * Sends `count` messages, asynchronous and in order, in as few system calls as the medium allows; sending. Returns how many were sent (at
 * least 1), or the error of the first; telex_send() of the next tells why it stopped early. -EINVAL: count is 0.
 */
int telex_send_many(telex_channel *channel, telex_message *messages, unsigned count, telex_time deadline);

/*
 * Receives one whole message; receiving. *ret_message must be zeroed or hold an earlier message, whose memory is
 * reused or released on success and untouched on failure.
 *   -EAGAIN, -ETIMEDOUT  none came by the deadline.        -EINTR   telex_interrupt() or a signal.
 *   -EPIPE        the peer closed in order, and all that it sent has been received.
 *   -ECONNRESET   the peer died or the link broke, after all that had arrived whole was received.
 *   -EPROTO       the peer broke the rules of the wire or said it wrongly: the channel has ended, telex_reason() tells.
 *   -ENOMEM, -EBUSY (a second receiving thread), -ECHILD (after fork).
 */
int telex_receive(telex_channel *channel, telex_message *ret_message, telex_time deadline);

/* Receives up to `count` messages: waits for the first, then takes what is there; receiving. Returns how many, or as telex_receive(). -EINVAL: count is 0. */
int telex_receive_many(telex_channel *channel, telex_message *ret_messages, unsigned count, telex_time deadline);

/*
 * Asks and waits for the one reply; sending. It may run while another thread receives. The reply needs no room here: it passes whatever
 * waits to be received, but on its own lane it comes after what was sent before it. Errors as of telex_send() and:
 *   -ETIMEDOUT, -EAGAIN, -EINTR   no reply by the deadline; the request is cancelled, a late reply is dropped and never given to another call.
 *   -ENOSYS       the peer has no handler for calls.       -EREMOTEIO   its handler failed.
 *   -EDQUOT       it is at a limit.      -EACCES  it refused.      -ECANCELED  it gave up the request.
 * With these five telex_reason() has the peer's sentence and the channel lives on. -EBUSY on wire=lines: one call is outstanding.
 */
int telex_call(telex_channel *channel, telex_message *request, telex_message *ret_reply, telex_time deadline);

/* Sends a request without waiting for the reply; sending. request->number then names it. Errors as of telex_send(). Any number may be outstanding. */
int telex_call_start(telex_channel *channel, telex_message *request, telex_time deadline);

/*
 * Waits for the reply to request `number` (0: to whichever comes first; ret_reply->request tells); sending. -ENOENT: no such request is outstanding.
 * On -EAGAIN, -ETIMEDOUT and -EINTR the request stays outstanding. Otherwise as telex_call().
 */
int telex_call_finish(telex_channel *channel, uint64_t number, telex_message *ret_reply, telex_time deadline);

/* Gives up request `number` and tells the peer; a reply that still comes is dropped. Sending; never waits. -ENOENT: it is not outstanding. */
int telex_call_cancel(telex_channel *channel, uint64_t number);

/* Answers `request` (received with TELEX_IS_CALL) on its lane; sending. flags: 0, TELEX_SYNC, TELEX_MORE. -ENOENT: it was answered before. Else as telex_send(). */
int telex_reply(telex_channel *channel, const telex_message *request, telex_message *reply, unsigned flags, telex_time deadline);

enum telex_failure { /* why a call gets no reply; in brackets what the caller's telex_call() returns */
    TELEX_FAILURE_NO_HANDLER = 1, /* -ENOSYS */
    TELEX_FAILURE_FAILED = 2,     /* -EREMOTEIO */
    TELEX_FAILURE_LIMIT = 3,      /* -EDQUOT */
    TELEX_FAILURE_REFUSED = 4,    /* -EACCES */
    TELEX_FAILURE_CANCELLED = 5,  /* -ECANCELED */
};

/* Answers `request` with a failure and a sentence (at most 1,000 bytes of it are sent); sending; never waits. -ENOENT (as above), -EINVAL (code),
 * -EOPNOTSUPP (lines), -ENOMEM, and how the channel ended: -EPIPE, -ECONNRESET, -EPROTO. */
int telex_fail(telex_channel *channel, const telex_message *request, unsigned failure, const char *sentence);

/* Whether the peer has cancelled `request`: 1, 0 (not, or not known yet), or -ENOENT (not outstanding). Any thread. */
int telex_cancelled(telex_channel *channel, const telex_message *request);

/*
 * Lends `length` bytes to write into; sending. A successful send of *ret_message consumes it; telex_release() gives it back. Any number may be held, and sent
 * in any order. On shm and inproc they lie in the medium's own memory (option arena), and a send on this channel copies nothing; elsewhere, and
 * where they are longer than half the arena or the programs on both sides keep all of it, they lie in the heap.
 *   -EAGAIN, -ETIMEDOUT   shm, inproc: messages on their way to the peer have the arena, and not enough of it came back by the deadline.
 *   -EMSGSIZE (as of telex_send()), -ENOMEM, -EINTR, -EPIPE, -ECONNRESET, -EPROTO, -EBUSY, -ECHILD.
 */
int telex_loan(telex_channel *channel, size_t length, telex_message *ret_message, telex_time deadline);

enum telex_outcome { TELEX_OFFERED = 0, TELEX_TAKEN = 1, TELEX_WITHDRAWN = 2, TELEX_UNKNOWN = 3 };

/*
 * What became of the sent message `number`: OFFERED (not known taken yet), TAKEN, WITHDRAWN (it will never be taken) or UNKNOWN (withdrawn too
 * late to know; it may become TAKEN or WITHDRAWN; never on shm and inproc, where both sides decide in one word). At least the last 1,024 numbers are
 * known, else -ENOENT. Any thread.
 */
int telex_outcome(telex_channel *channel, uint64_t number);

/*
 * Waits until all that was sent has left this process (tcp: acknowledged by the other host; shm: in memory that lives as long as the peer); sending. After
 * it, exit() loses nothing. -EAGAIN, -ETIMEDOUT, -EINTR, -EPIPE, -ECONNRESET, -EPROTO.
 */
int telex_flush(telex_channel *channel, telex_time deadline);

/* Moves what can be moved now, without waiting: reads, writes, timers; receiving. Returns 0, or how the channel ended (-EPIPE, -ECONNRESET, -EPROTO). */
int telex_process(telex_channel *channel);

/*
 * A descriptor for poll, select, epoll or any loop: level-triggered, readable exactly while telex_receive() would not answer -EAGAIN or
 * telex_process() has work that it can do now. It is the channel's: do not read or close it. Made at the first request; receiving. -EMFILE, -ENOMEM.
 */
int telex_fd(telex_channel *channel);

/*
 * Ends the present wait, or else the next one, in each direction with -EINTR. Any thread; safe in a signal handler; ends spinning too.
 * A wait that has just begun to sleep may notice an interrupt from another thread some milliseconds later.
 */
int telex_interrupt(telex_channel *channel);

/*
 * A sentence about the last failure of this thread on `channel`, else about why the channel ended, else "". With NULL: about
 * this thread's last failure of any call, where there is no handle (dial, listen). Valid until this thread's next failing call. Never NULL.
 */
const char *telex_reason(const telex_channel *channel);

/*
 * Sends what is queued, says goodbye and waits until all is taken or the peer said its own goodbye; both directions. The handle is
 * freed in any case but -EBUSY (another thread is still in a call on it: end that first). 0; else -ETIMEDOUT (-EAGAIN with TELEX_NOW,
 * -EINTR) or -ECONNRESET with messages not known taken, counted in *ret_untaken (may be NULL; set in every case but -ECHILD and -EBUSY).
 * An interrupt from before the call does not end it: what ended a receiving thread must not cost messages.
 * NULL is fine. On wires without counts (lines, raw) "taken" means: read by the peer's system.
 */
int telex_close(telex_channel *channel, telex_time deadline, uint64_t *ret_untaken);

/*
 * Nothing more will be sent: what was sent goes out, then the peer's reading ends, while receiving here goes on; sending. For programs that answer when they
 * have read everything (sort, wc): wire=lines and raw. Later sends give -ESHUTDOWN. 0: all has left and the end is told; -EAGAIN, -ETIMEDOUT, -EINTR: that comes
 * when it has. -EOPNOTSUPP (wire=telex, where telex_close() is for both directions), -EPIPE, -ECONNRESET, -EBUSY, -ECHILD.
 */
int telex_end(telex_channel *channel, telex_time deadline);

typedef struct telex_peer {
    size_t size;             /* in: sizeof(telex_peer) */
    int64_t pid, uid, gid;   /* as the kernel says (unix, shm, inproc, pipe); -1 where the medium does not know */
    const char *address;     /* where the peer is, "" where it has no address */
    const char *program;     /* the name it gave in its greeting; untrusted; "" if none */
    unsigned char life[16];  /* random, one for each life of the peer process; zero on lines and raw */
    uint64_t room[4];
} telex_peer;

/* Tells who the peer is. Strings live as long as the channel. Any thread. -EINVAL (size). */
int telex_peer_of(telex_channel *channel, telex_peer *ret_peer);

typedef struct telex_counters {
    size_t size;             /* in: sizeof(telex_counters) */
    uint64_t sent;           /* messages admitted by send, those dropped not among them */
    uint64_t sent_bytes;
    uint64_t taken;          /* of these, known taken by the peer */
    uint64_t withdrawn;      /* of these, known never to be taken */
    uint64_t dropped;        /* by full=drop-newest or drop-oldest */
    uint64_t received;       /* messages taken here, replies among them */
    uint64_t received_bytes;
    uint64_t late;           /* replies that nobody waited for any more */
    uint64_t sleeps;         /* waits that slept */
    uint64_t tries;          /* tries made while spinning */
    uint64_t queued;         /* messages that wait here to be handed over */
    uint64_t queued_bytes;
    uint64_t room[8];
} telex_counters;

/* Tells the channel's counters. Any thread. -EINVAL (size). */
int telex_counters_of(telex_channel *channel, telex_counters *ret_counters);

/* The longest message that can be sent on `channel`, bytes, as agreed in the greeting. Any thread. */
int64_t telex_max(telex_channel *channel);

/* A pointer for the program's own use, kept with the channel; not looked at by telex. Any thread, with the program's own order. */
void telex_set_user(telex_channel *channel, void *user);
void *telex_user(const telex_channel *channel);

/* ---- programs with a channel to them ---------------------------------------------------------------------- */

typedef struct telex_spawn_options {
    size_t size;                    /* sizeof(telex_spawn_options) */
    const char *query;              /* options as in an address, "wire=lines&max=1MiB"; they win over telex_options. NULL: none */
    const char *const *environment; /* "NAME=VALUE" each, NULL at the end; NULL: that of this program */
    const char *directory;          /* where it runs; NULL: where this program does */
    int input, output, errors;      /* its standard input, output, error: 0: those of this program; -1: /dev/null; else this descriptor. wire=lines, raw: only `errors` */
    uint32_t reserved;              /* zero */
    uint64_t room[6];               /* zero */
} telex_spawn_options;

/*
 * Starts the program argv[0] (without a slash: looked up in PATH) with the arguments argv (NULL at the end) and a channel to it; `spawn`, `options` may be NULL.
 *   wire=telex       the program calls telex_inherit(), for whose greeting this waits. The channel is a Unix socket: descriptors travel.
 *   wire=lines, raw  its standard input and output are the channel, two pipes: for programs that know nothing of telex. telex_end() ends its input.
 * The program begins with an empty signal mask, SIGPIPE as it is by default, and no descriptor of telex's but this channel's.
 *
 * The channel ends with the process, also where others that it started hold the channel's descriptors. Then telex_reason() says how: "NAME (process N) exited
 * with status 3", "... was killed by signal 9 (Killed)"; -EPIPE where it ended by itself with the channel in order, -ECONNRESET where it was killed, or ended in
 * the middle of a message or without a goodbye. To say so, the first call in each direction that finds the end waits up to 100 ms for the process, whatever
 * its deadline.
 *
 * telex_close() waits for the program's end until its deadline, and never kills it. One that goes on after that is left alone; when it has ended, the next
 * telex_spawn(), or telex_close() of a channel made by it, removes what the kernel keeps of it. No signal handler is needed or installed.
 *
 * The caller owns *ret_channel. Any thread. -ENOENT, -EACCES, -ENOEXEC, -E2BIG (it cannot be executed), -EINVAL, -EMFILE, -ENOMEM, -EAGAIN (also: no
 * process to be had); with wire=telex as telex_dial(): -ETIMEDOUT, -ECONNRESET (it ended before it greeted), ... A program that did not greet is killed.
 */
int telex_spawn(const char *const *argv, const telex_spawn_options *spawn, const telex_options *options, telex_time deadline, telex_channel **ret_channel);

/*
 * In a program that telex_spawn() started with wire=telex: takes up the channel to whoever did. Once: TELEX_CHANNEL, the environment variable that names it,
 * is removed, so that programs which this one starts do not try; so call it before other threads use the environment. The caller owns *ret_channel.
 * -ENOENT (there is none), -EBADF (there is none any more), and as telex_dial().
 */
int telex_inherit(const telex_options *options, telex_time deadline, telex_channel **ret_channel);

/*
 * Waits until `deadline` for the end of the program at the other end of `channel`, which telex_spawn() made: *ret_status is then as of waitpid(2), for
 * WIFEXITED() and the like. -EAGAIN, -ETIMEDOUT, -EINTR (a signal): it has not ended. -ENODATA: it has, but somebody else was told how: this program waits for
 * children that it does not know, or ignores SIGCHLD. -EINVAL: telex_spawn() did not make the channel. -ECHILD. Any thread; not while the channel is closed.
 */
int telex_exit_status(telex_channel *channel, telex_time deadline, int *ret_status);

/* ---- a listener ------------------------------------------------------------------------------------------ */

/*
 * Listens at `address` (fd:, stdio: see telex_dial(); one peer comes there). The caller owns *ret_listener; telex_listener_close() ends it and removes its path. Any thread. A path left by a dead
 * process is replaced; -EADDRINUSE: somebody living listens there, or a file that is no socket has that name. Else -EINVAL, -EACCES,
 * -ENOENT (directory or host name), -EADDRNOTAVAIL (not an address of this host), -EMFILE, -ENOMEM.
 */
int telex_listen(const char *address, const telex_options *options, telex_listener **ret_listener);

/*
 * Hands out the next peer that has finished greeting; one thread at a time (else -EBUSY). Many peers may greet at a time; a silent one delays nobody.
 * The caller owns *ret_channel, which may outlive the listener. -EAGAIN, -ETIMEDOUT, -EINTR, -EMFILE or -ENFILE (out of descriptors: the peer stays in the queue), -ENOMEM.
 * -ESHUTDOWN: fd:, stdio:, and their one peer has come.
 */
int telex_accept(telex_listener *listener, telex_time deadline, telex_channel **ret_channel);

/* The address peers can dial, with the real port of tcp://HOST:0. Lives as long as the listener. Any thread. */
const char *telex_listener_address(const telex_listener *listener);

/* A descriptor, readable while telex_accept() has work; the listener's own. */
int telex_listener_fd(telex_listener *listener);

/* Ends the present or next wait of telex_accept() with -EINTR. Any thread; safe in a signal handler. */
int telex_listener_interrupt(telex_listener *listener);

/* Stops listening and frees the handle; NULL is fine. Channels that were accepted live on. */
void telex_listener_close(telex_listener *listener);

typedef struct telex_listing {
    size_t size;
    const char *address;
    const char *program;
    int64_t pid;
    int64_t since; /* seconds since 1970-01-01 UTC */
} telex_listing;

/*
 * Calls `each` for every living listener of this user on this host, in order of address (inproc:// excepted, which only its own process can dial); what
 * dead processes left is removed. The strings live during the call of `each`; a value from it that is not 0 ends the walk and is returned. Any thread. -EACCES, -ENOMEM.
 */
int telex_list(int (*each)(const telex_listing *listing, void *user), void *user);

/* ---- a server -------------------------------------------------------------------------------------------- */

/*
 * What the server calls; NULL for what the program does not care about. All are called from telex_server_run() or telex_server_process(), one at
 * a time. They may send, start calls, reply and fail. They must not close a channel: it is the server's, and telex_server_drop() ends it. What is sent from a handler
 * should not wait (TELEX_NOW): the other clients wait too.
 */
typedef struct telex_handlers {
    size_t size; /* sizeof(telex_handlers) */
    /* A peer has come; a negative errno refuses it (it is told). */
    int (*open)(telex_server *server, telex_channel *channel, void *user);
    /* An asynchronous or synchronous message; released after the return unless the handler took it (copied the struct and zeroed *message). */
    void (*message)(telex_server *server, telex_channel *channel, telex_message *message, void *user);
    /*
     * A request: answer it with telex_reply() or telex_fail(), now or later (take it as above to keep its bytes; its number is enough to answer).
     * Without this handler callers get -ENOSYS. On wire=lines each line is a request if this handler is given.
     */
    void (*call)(telex_server *server, telex_channel *channel, telex_message *request, void *user);
    /* The channel has ended: -EPIPE (in order), -ECONNRESET, -EPROTO, ... Its handle is gone after the return. */
    void (*close)(telex_server *server, telex_channel *channel, int why, void *user);
} telex_handlers;

typedef struct telex_server_options {
    size_t size;           /* sizeof(telex_server_options) */
    uint64_t channels;     /* most channels at a time; 65,536. Newcomers past it are refused and told why */
    uint64_t per_user;     /* most channels of one uid, where the medium knows it; 0: no limit of its own */
    uint64_t room[6];
} telex_server_options;

/* Makes a server. `handlers` is copied, `user` handed to each handler, `options` may be NULL. The caller owns it: telex_server_close(). -EINVAL, -ENOMEM, -EMFILE. */
int telex_server_new(const telex_handlers *handlers, const telex_server_options *options, void *user, telex_server **ret_server);

/* Listens at one more address; `ret_address` (may be NULL) is the real one, living as long as the server. Errors as of telex_listen(). The server's thread. */
int telex_server_listen(telex_server *server, const char *address, const telex_options *options, const char **ret_address);

/* Serves until telex_server_stop(), or until the one peer of each address is gone where all are fd: or stdio:; one thread at a time. 0 when stopped; -EINTR never: signals just go on. -EBUSY, -ECHILD. */
int telex_server_run(telex_server *server);

/* Serves what is ready and returns: 0, or -ESHUTDOWN once stopped. For programs that have a loop of their own. The server's thread.
 * -EBUSY (another thread serves, or a handler called this), -ECHILD. */
int telex_server_process(telex_server *server);

/* A descriptor that is readable while telex_server_process() has work. The server's own. */
int telex_server_fd(telex_server *server);

/* Makes telex_server_run() return and telex_server_process() answer -ESHUTDOWN. Any thread; safe in a signal handler; sticky. */
void telex_server_stop(telex_server *server);

/* Ends `channel` after what was sent is written; the close handler gets -ECANCELED as soon as the server is next at work. The server's thread. -ENOENT: not of this server. */
int telex_server_drop(telex_server *server, telex_channel *channel);

/*
 * Sends one message, asynchronous, to all channels for which `match` (NULL: all) is not 0. Slow readers lose nothing of others: where the queue is full it is
 * not sent. Returns to how many it was sent. The server's thread.
 */
int telex_server_send_all(telex_server *server, const telex_message *message, int (*match)(telex_channel *channel, void *user), void *user);

/* How many channels are open. The server's thread. */
size_t telex_server_count(const telex_server *server);

/*
 * Stops listening, sends what is queued, says goodbye to every peer, waits for all of them at most until the deadline, and frees everything. Close
 * handlers are called with -ESHUTDOWN. 0, or -ETIMEDOUT if messages are not known taken. NULL is fine. The server's thread; -EBUSY: a handler
 * called this, or another thread serves: nothing is freed. -ECHILD: only the handle is freed.
 */
int telex_server_close(telex_server *server, telex_time deadline);

#ifdef __cplusplus
}
#endif
#endif
