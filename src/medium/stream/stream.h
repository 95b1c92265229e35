/* SPDX-License-Identifier: MIT */
/*
 * The stream driver: messages over any byte stream, written once. input.c reads and assembles, admit.c admits, output.c queues and writes,
 * quick.c does the common cases of both in few instructions, control.c acts on control frames and reports what was taken, rendezvous.c withdraws, link.c greets and ends, port.c listens.
 *
 * Which lock guards what stands beside each member ([in], [out]: struct telex_link). What the in side counts and the
 * out side reports is published in single-writer atomics, so that receiving a message needs no second lock.
 */
#ifndef TELEX_MEDIUM_STREAM_STREAM_H
#define TELEX_MEDIUM_STREAM_STREAM_H

#include "medium/medium.h"
#include "medium/stream/bytes.h"
#include "wire/wire.h"

enum {
    STREAM_BUFFER = 65536,       /* bytes of the input buffer, and of the staging buffer */
    STREAM_DIRECT = 16384,       /* longer bodies are read straight into their message */
    STREAM_AHEAD = 512,          /* what is read besides such a body: surely the next header, little to copy */
    STREAM_COALESCE = 4096,      /* shorter pieces are copied into the staging buffer, longer ones written from where they lie */
    STREAM_OUTCOMES = 1024,      /* sent numbers whose outcome is remembered */
    STREAM_READS = 16,           /* reads in one `next`, so that a flood of control frames cannot hold the caller */
    STREAM_LOOK = 256,           /* reads after which a peer that never stops is looked at: it may be a child of one that is dead */
    STREAM_LOOK_NS = 20000000,   /* and one that does not come is looked at again after so long, when reads are in vain */
    STREAM_OWED = 4096,          /* control frames that may wait for the peer to read; more is a peer that floods and does not read */
    STREAM_RESERVES_FROM = 524288, /* of smaller windows, of which half may be granted and not told, nothing can be spared */
    STREAM_DESCRIPTORS = 128,    /* received descriptors that may wait for their message */
};

struct stream_assembly { /* a message that arrives in pieces; [in] */
    struct stream_assembly *next;
    struct telex_memory *memory;
    telex_message message;   /* length: what it will be (lines: what it is so far) */
    uint64_t cost;           /* bytes of its frames so far */
    size_t filled;
};

struct stream_lane_in { /* never removed while the stream lives */
    struct stream_lane_in *_Atomic next;
    unsigned lane;
    uint64_t last;           /* [in] the highest number that arrived */
    uint64_t highest;        /* [in] the highest number that was taken: a reply overtakes what waits */
    _Atomic uint64_t taken;  /* all up to this one are; written under [in], read under [out] */
    uint64_t reported;       /* [out] */
};

struct stream_parcel { /* a message on its way out; [out] */
    struct stream_parcel *next;
    struct telex_frame frame;  /* what its frames have in common */
    const uint8_t *data;       /* in `memory`, or the program's while borrowed */
    struct telex_memory *memory;
    size_t length, sent;       /* sent: bytes in frames that have begun */
    size_t gone;               /* bytes at the front that `data` no longer has: they were written when the rest was copied */
    bool begun;                /* its first frame is on its way */
    bool abandoned;            /* withdrawn midway: WITHDRAW goes out instead of its other pieces */
    bool sync;
    unsigned descriptor_count;
    int *descriptors;          /* duplicates, owned */
};

struct stream_lane_out { /* [out]; never removed while the stream lives */
    struct stream_lane_out *next;
    unsigned lane;
    struct stream_parcel *first, **last;
    uint64_t taken;            /* the peer has taken all numbers up to this one, but the withdrawn */
};

struct stream_owed { /* a control frame that waits; [out] */
    struct stream_owed *next;
    size_t length;
    uint8_t bytes[];
};

struct telex_stream {
    struct telex_link link;
    struct telex_bytes *bytes;
    struct telex_greeting ours;
    bool passive, greeted, admitted;
    bool controls;             /* the wire has control frames (constant) */
    unsigned generation;       /* of the process that made it (constant): the quick ways do not ask the channel */
    enum telex_full full;      /* (constant) */
    int death;                 /* readable once the peer's process is dead; -1: none (constant once greeted) */
    uint64_t buffer;           /* bytes that wait before the queue counts as full (constant) */
    uint64_t queue;            /* most untaken messages, UINT64_MAX: unbounded; agreed in the greeting */

    /* ---- [in] ---- */
    struct telex_decoder decoder;
    uint8_t *input;            /* STREAM_BUFFER bytes, or NULL */
    size_t input_at, input_end;
    bool input_large;          /* the last body was long: read little besides the next */
    bool ended;                /* the medium's end was read */
    bool dead;                 /* the peer's process is: what lies here is all that comes, whoever still holds its end */
    bool read_in_vain;         /* since `death` was last looked at */
    unsigned reads;            /* that were not in vain */
    int64_t looked;            /* ns; when `death` was last looked at for reads in vain */
    uint64_t left_by_dead;     /* bytes that lay here when the death was noticed, and were not read yet: what comes after them is somebody else's */
    bool goodbye;              /* the peer said bye: nothing but the end follows */
    int ended_error;           /* what reading ended with, handed out once all that arrived is decoded */
    struct stream_assembly *assemblies; /* one a lane at most */
    struct stream_assembly *filling;    /* its present piece is being read */
    size_t piece_left;         /* bytes of the present piece (or of a skipped frame) still to come */
    size_t tail_left;          /* bytes to skip after it */
    bool piece_last;           /* the message ends with this piece */
    uint64_t assembling_total[2]; /* lengths of all messages being assembled, [1]: replies; each at most link.max */
    uint64_t assembling_cost;  /* bytes of their frames so far */
    uint64_t arrived_bytes;    /* cumulative, of data frames that cost credit */
    uint64_t arrived_messages; /* that cost credit */
    uint64_t arrived_number;   /* lines, raw: messages are numbered here */
    uint64_t taken_bytes;      /* of what cost credit */
    uint64_t taken_costly;     /* messages that cost credit */
    uint64_t asked_bytes, asked_messages, asked_taken; /* when the out side was last asked to tell them */
    uint64_t withdrawn_arrivals; /* arrived whole, never taken: they gave their room back */
    unsigned held_count;
    int held[STREAM_DESCRIPTORS]; /* descriptors that came, oldest first, whose message has not begun */
    size_t quick_take_most;    /* a plain message of so many bytes, and no more, may be taken by take_quickly now: nothing is midway, nothing waits to be taken. 0: none */
    uint8_t eager;             /* the peer is closing: report each message taken */

    /* ---- published by [in], read by [out] ---- */
    struct stream_lane_in lane_in;      /* lane 0 lives here, others follow in its list */
    _Atomic uint64_t taken_messages, quick_taken; /* quick_taken: of these, by take_quickly */
    _Atomic uint64_t credit_bytes, credit_messages;

    /* ---- [out] ---- */
    uint8_t *staging;          /* STREAM_BUFFER bytes, or NULL: frames, whole or begun, that go first */
    size_t staging_at, staging_end;
    size_t quick_until;        /* put_quickly may fill the staging buffer up to here: nothing else waits, and credit lasts. 0: it may not */
    uint64_t alone_until;      /* put_quickly may write a message at once up to so many costly bytes: nothing waits, and credit does not run low. 0: it may not */
    size_t quick_put_most;     /* a message of so many bytes, and no more */
    struct stream_parcel *current; /* the piece whose body follows the staging buffer */
    size_t current_left;
    struct stream_parcel *passing; /* its descriptors go with the first byte of the staging buffer */
    bool broken;               /* the medium takes nothing ever again */
    bool report_due;           /* what was taken is to be told with the next write */
    bool finishing, bye_written, ended_writing;
    bool told;                 /* the peer's goodbye told its final count */
    uint32_t bye_code;
    char *bye_sentence;
    struct stream_lane_out lane_out;    /* lane 0 lives here */
    struct stream_lane_out *turn;       /* whose piece is next */
    struct stream_owed *owed, **owed_last;
    unsigned owed_count;
    struct stream_parcel *borrowed;     /* lies in the program's memory */
    uint64_t queued_messages, queued_bytes;
    uint64_t queued_replies, queued_reply_bytes; /* of these */
    uint64_t unbegun;          /* of those queued that cost credit, not begun */
    uint64_t begun_total[2];   /* lengths of long messages that are midway, [1]: replies; each at most link.max */
    uint64_t number;           /* the last number given */
    int64_t last_put;          /* ns; flush=helper: when the last asynchronous message was put, while they are not gathered */
    unsigned burst;            /* how many followed each other fast */
    uint64_t limit_bytes, limit_messages; /* the peer's credit, cumulative */
    uint64_t reserve;          /* bytes of it that long pieces leave to others: so a small message on another lane need not wait for credit behind a bulk transfer */
    uint64_t sent_messages;    /* begun, cumulative */
    uint64_t costly_bytes, costly_messages; /* of these, what cost credit */
    uint64_t told_bytes, told_messages;   /* the credit last told to the peer */
    uint64_t told_taken;                  /* the count of taken messages last told to the peer */
    uint64_t admitted_messages, admitted_bytes, peer_taken, withdrawn, dropped;
    uint64_t forgotten;        /* unknown outcomes that were overwritten there before the answer came */
    uint8_t (*outcomes)[2];    /* STREAM_OUTCOMES times lane, enum telex_outcome; made with the first number */
};

static inline struct telex_stream *stream_of(struct telex_link *link)
{
    return (struct telex_stream *)link;
}

/*
 * Whether a message with these wire flags costs credit. Replies do not: their call waits for them and takes them at once, whatever else
 * waits there untaken, or a reply could wait for the program that waits for the reply.
 */
static inline bool stream_costs(unsigned flags)
{
    return !(flags & TELEX_WIRE_REPLY);
}

/* So much credit may be granted and not told: no more than leaves the sender room for the longest frame. */
static inline uint64_t stream_telling_distance(const struct telex_stream *stream)
{
    uint64_t half = stream->link.window / 2, most = stream->link.window - TELEX_WIRE_LONGEST;
    return half < most ? half : most;
}

/* [out] The rest of what is counted when a message of one frame begins. */
static inline void stream_count_begun(struct telex_stream *stream, size_t bytes, bool costs)
{
    stream->costly_bytes += costs ? bytes : 0;
    stream->costly_messages += costs;
    stream->sent_messages++;
}

/* link.c */
extern const struct telex_link_ops telex_stream_ops;
int telex_stream_new(struct telex_bytes *bytes, const struct telex_settings *settings, bool passive, struct telex_link **ret_link);
void telex_stream_forget(struct telex_stream *stream);               /* [out] drops all that waits to be sent */

/* input.c [in] */
int telex_stream_next(struct telex_link *link, struct telex_arrival *ret_arrival);
int telex_stream_doze(struct telex_link *link, unsigned directions);
int telex_stream_read(struct telex_stream *stream);                   /* reads once: 0, -EAGAIN, or 0 with `ended` */
void telex_stream_look_for_death(struct telex_stream *stream);        /* sets `dead` if the peer's process is */
bool telex_stream_has_work(const struct telex_stream *stream);        /* next would not answer -EAGAIN without reading */
void telex_stream_input_free(struct telex_stream *stream);
void telex_stream_withdraw_assembly(struct telex_stream *stream, struct stream_assembly **at);

/* control.c */
int telex_stream_control(struct telex_stream *stream, const struct telex_frame *frame, struct telex_arrival *ret_arrival); /* [in] 1: arrival */
size_t telex_stream_reports(struct telex_stream *stream, uint8_t *to, size_t room, bool force, bool *ret_all); /* [out] TAKEN and CREDIT that are due; all of them? */
bool telex_stream_unreported(struct telex_stream *stream);            /* [out] */
void telex_stream_untell(struct telex_stream *stream);                /* [out] the reports just made were not written: make them again */
void telex_stream_take(struct telex_link *link, const telex_message *message, uint64_t cost);
void telex_stream_report(struct telex_link *link);
void telex_stream_credit(struct telex_stream *stream);                /* [in] publishes credit; tells it when half a window came together */
struct stream_lane_in *telex_stream_lane_in(struct telex_stream *stream, unsigned lane); /* [in] NULL: out of memory */
int telex_stream_owe(struct telex_stream *stream, const struct telex_frame *frame); /* [out] queues a control frame */
int telex_stream_tell(struct telex_link *link, enum telex_arrival_kind kind, uint64_t number, uint32_t code, const char *sentence);

/* admit.c [out] */
int telex_stream_put(struct telex_link *link, telex_message *message, const struct telex_put *how);
bool telex_stream_reports_are_due(struct telex_stream *stream);      /* with a lone message: that more were taken here */
int telex_stream_keep(struct telex_link *link);
int telex_stream_drop(struct telex_link *link, unsigned lane);

/* quick.c */
bool telex_stream_put_quickly(struct telex_link *link, telex_message *message, unsigned flags);
enum telex_taken telex_stream_take_quickly(struct telex_link *link, telex_message *ret_message);
bool telex_stream_spin(struct telex_link *link, unsigned directions);

/* [out] The quick ways end, until a message that took the long way allows them again: something else waits, or credit must be looked at. */
static inline void telex_stream_slow_down(struct telex_stream *stream)
{
    stream->quick_until = 0;
    stream->alone_until = 0;
}

/* output.c [out] */
bool telex_stream_make_staging(struct telex_stream *stream);          /* false: out of memory */
int telex_stream_push(struct telex_link *link);
int telex_stream_write_failed(struct telex_stream *stream, ssize_t error); /* nothing leaves any more; returns what the direction ended with */
int telex_stream_stage_rest(struct telex_stream *stream, const uint8_t *bytes, size_t length); /* the end of a frame whose beginning was written */
bool telex_stream_waits_for_medium(struct telex_stream *stream);      /* there is something that poll's POLLOUT would let go on */
bool telex_stream_idle(const struct telex_stream *stream);            /* nothing at all waits to be written */
void telex_stream_parcel_free(struct stream_parcel *parcel);
void telex_stream_count_queued(struct telex_stream *stream, const struct stream_parcel *parcel, int by); /* 1: it is queued now; -1: no more */
void telex_stream_unqueue(struct telex_stream *stream, struct stream_lane_out *lane, struct stream_parcel **at);
struct stream_lane_out *telex_stream_lane_out(struct telex_stream *stream, unsigned lane);
void telex_stream_output_free(struct telex_stream *stream);

/* rendezvous.c */
void telex_stream_remember(struct telex_stream *stream, uint64_t number, unsigned lane, int outcome); /* [out] */
bool telex_stream_take_back(struct telex_stream *stream, uint64_t number); /* [out] true: no byte of it had left, and none will */
bool telex_stream_abandon(struct telex_stream *stream, uint64_t number); /* [out] true: its last piece had not begun; the present one is finished, then WITHDRAW */
int telex_stream_withdraw(struct telex_link *link, uint64_t number);
int telex_stream_outcome(struct telex_link *link, uint64_t number);
void telex_stream_decide(struct telex_link *link, uint64_t number, int outcome, uint64_t cost);
void telex_stream_answer(struct telex_stream *stream, uint64_t number, int outcome); /* [in] sends the outcome */

/* port.c; `medium->driver` is the struct telex_bytes_medium */
int telex_stream_dial(const struct telex_medium *medium, const struct telex_address *address, int64_t deadline, struct telex_link **ret_link);
int telex_stream_listen(const struct telex_medium *medium, const struct telex_address *address, struct telex_port **ret_port);

#endif
