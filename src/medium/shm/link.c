/* SPDX-License-Identifier: MIT */
/* The life of a link through shared memory: made, asleep, woken, ended; and its table of operations. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "medium/shm/shm.h"
#include "os/clock.h"
#include "os/fork.h"
#include "os/pause.h"
#include "os/process.h"

enum {
    LOOKS_IN_A_SPIN = 256,
    RUN = 8,               /* messages */
    SLEEPS = 3,            /* in a row, before the other is asked for full barriers */
    MESSAGES_A_SLEEP = 64, /* more without a sleep between them, and sleeps are no longer in a row */
    PAUSES_AFTER_A_RUN = 128,
};

/* ---- sleeping ---- */

void telex_shm_awake(struct shm_link *shm)
{
    struct shm_page *page = shm->area->own.page;
    shm->stray = shm->announced_in || shm->announced_out;
    shm->link.disarmed++;
    /* Relaxed: a bell that is rung too often is a look in vain. */
    if (shm->announced_in)
        atomic_store_explicit(&page->asleep_in, 0, memory_order_relaxed);
    if (shm->announced_out)
        atomic_store_explicit(&page->asleep_out, 0, memory_order_relaxed);
    shm->announced_in = shm->announced_out = false;
    telex_shm_settle_quick(shm);
}

/* It sleeps: from the third time in a row on with the other's help. */
static void choose_barrier(struct shm_link *shm)
{
    /* Relaxed: written in this direction only. */
    uint64_t taken = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed);
    shm->sleeps_in_a_row = taken - shm->slept_at > MESSAGES_A_SLEEP ? 1 : shm->sleeps_in_a_row + 1;
    shm->slept_at = taken;
    if (shm->fences || shm->area->fenced || shm->sleeps_in_a_row < SLEEPS)
        return;
    atomic_store_explicit(&shm->area->own.page->fences, 1, memory_order_relaxed);
    telex_barrier_of_all(); /* see area.h: only after this may a sleep rely on the word */
    shm->fences = true;
}

void telex_shm_wakeful(struct shm_link *shm)
{
    uint64_t taken = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed);
    if (!shm->fences || taken - shm->slept_at <= MESSAGES_A_SLEEP)
        return;
    shm->fences = false;
    shm->sleeps_in_a_row = 0;
    atomic_store_explicit(&shm->area->own.page->fences, 0, memory_order_relaxed);
}

bool telex_shm_announce(struct shm_link *shm, bool in, bool out)
{
    struct shm_page *page = shm->area->own.page;
    bool news = false;
    if (shm->stray)
        telex_shm_hear(shm);
    if ((in && !shm->announced_in) || (out && !shm->announced_out))
        choose_barrier(shm);
    if (in && !shm->announced_in) {
        atomic_store_explicit(&page->asleep_in, ++shm->sleeps, memory_order_relaxed); /* ordered by the barrier below: (1) in area.h */
        shm->announced_in = news = true;
    }
    if (out && !shm->announced_out) {
        atomic_store_explicit(&page->asleep_out, ++shm->sleeps, memory_order_relaxed);
        shm->announced_out = news = true;
    }
    if (news) {
        telex_shm_settle_quick(shm);
        shm_bell_settle(shm->area, shm->fences); /* (2) */
    }
    struct shm_sight sight = telex_shm_sight(shm);
    bool changed = (in && telex_shm_has_work(shm)) || (out && telex_shm_progressed(shm->area, &sight)); /* (3) */
    if (changed)
        telex_shm_awake(shm);
    return !changed;
}

static int arm(struct telex_link *link, unsigned directions)
{
    struct shm_link *shm = shm_of(link);
    if (!shm->attached || !shm->admitted || shm->refused)
        return shm->refused ? 0 : POLLIN;
    bool in = (directions & TELEX_ARM_IN) != 0;
    if (in && (link->in_end != 0 || telex_shm_has_work(shm)))
        return -1;
    telex_shm_publish(shm);
    bool waits = atomic_load_explicit(&link->blocked, memory_order_relaxed); /* written under [out] */
    bool out = waits || (directions & TELEX_ARM_PROGRESS) != 0;
    bool news = out && telex_shm_refresh(shm); /* so that what is seen below is news */
    if (news || (waits && shm->unheeded)) {
        if (waits) /* here, for nothing else may come to tell of this room: who is told now may look again before it acts, and then it is no news */
            telex_shm_push(link);
        return -1;
    }
    if (!telex_shm_announce(shm, in, out))
        return -1;
    return link->in_end == 0 ? POLLIN : 0;
}

static void relax(unsigned pauses)
{
    for (unsigned i = 0; i < pauses; i++)
        telex_pause();
}

/*
 * Who looks at the place that the other is just writing to takes the cache line from it, again and again. So when messages came in a run and there is no more,
 * this looks away for a while, in which the next run comes together; a lone message, which no run precedes, is seen at once.
 */
static void look_away(struct shm_link *shm)
{
    uint64_t taken = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed);
    uint64_t run = taken - atomic_load_explicit(&shm->looked_after, memory_order_relaxed);
    atomic_store_explicit(&shm->looked_after, taken, memory_order_relaxed);
    if (run >= RUN)
        relax(PAUSES_AFTER_A_RUN);
}

/* false: another thread is just sending, and may find what this one looks for. */
static bool see(struct shm_link *shm, struct shm_sight *ret_sight)
{
    if (!telex_lock_try(&shm->link.out))
        return false;
    *ret_sight = telex_shm_sight(shm);
    telex_unlock(&shm->link.out);
    return true;
}

static bool spin(struct telex_link *link, unsigned directions)
{
    struct shm_link *shm = shm_of(link);
    if (directions == TELEX_ARM_IN)
        look_away(shm);
    struct shm_sight sight;
    if ((directions & TELEX_ARM_OUT) && !see(shm, &sight))
        return true;
    for (unsigned i = 0; i < LOOKS_IN_A_SPIN; i++) {
        if ((directions & TELEX_ARM_IN) && shm_ring_look(&shm->reader) != 0)
            return true;
        if ((directions & TELEX_ARM_OUT) && telex_shm_progressed(shm->area, &sight))
            return true;
        relax(1);
    }
    return false;
}

/* ---- the end ---- */

bool telex_shm_is_dead(struct shm_link *shm)
{
    return telex_process_ended(shm->death);
}

static int death(struct telex_link *link)
{
    return shm_of(link)->death;
}

static void finish(struct telex_link *link, uint32_t code, const char *sentence, bool now)
{
    struct shm_link *shm = shm_of(link);
    shm->quick_until = 0;
    if (now)
        telex_shm_forget(shm);
    if (!shm->finishing) {
        shm->finishing = true;
        shm->bye_code = code;
        shm->bye_sentence = sentence != NULL && sentence[0] != '\0' ? strndup(sentence, TELEX_WIRE_SENTENCE) : NULL;
        shm->bye_due = shm->attached && !shm->refused;
    }
    telex_shm_push(link);
}

static uint64_t known(const struct shm_link *shm)
{
    uint64_t taken = shm->seen.messages;
    if (shm->told && shm->told_taken > taken)
        taken = shm->told_taken;
    return taken;
}

/* What was dropped does not count as sent. */
static uint64_t admitted(const struct shm_link *shm)
{
    return shm->number - shm->dropped;
}

static bool all_taken(struct shm_link *shm)
{
    if (known(shm) + shm->withdrawn < admitted(shm) && shm->attached)
        telex_shm_refresh(shm);
    return known(shm) + shm->withdrawn >= admitted(shm);
}

static int finished(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    if (shm->refused || !shm->attached || all_taken(shm) || shm->told)
        return 0;
    if (link->in_end != 0 || link->out_end == -EPROTO)
        return -ECONNRESET;
    return -EAGAIN;
}

/* What lies in shared memory stays there, whatever becomes of this process. */
static int delivered(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    int r = telex_shm_push(link);
    if (r == -EAGAIN)
        return r;
    if (all_taken(shm))
        return 0;
    return r < 0 ? r : link->out_end;
}

static void count(struct telex_link *link, telex_counters *counters)
{
    struct shm_link *shm = shm_of(link);
    if (shm->attached)
        telex_shm_refresh(shm);
    counters->sent = admitted(shm);
    counters->sent_bytes = shm->admitted_bytes;
    counters->taken = known(shm);
    counters->received = atomic_load_explicit(&shm->taken_messages, memory_order_relaxed) - atomic_load_explicit(&shm->slowly_taken, memory_order_relaxed);
    counters->withdrawn = shm->withdrawn;
    counters->dropped = shm->dropped;
    counters->queued = shm->queued_messages;
    counters->queued_bytes = shm->queued_bytes;
}

/* ---- the rest ---- */

static void rest(struct telex_link *link)
{
    (void)link; /* what there is is agreed with the peer */
}

static int descriptor(struct telex_link *link)
{
    struct telex_bytes *bytes = shm_of(link)->area->bytes;
    return bytes->ops->descriptor(bytes);
}

static void peer(struct telex_link *link, struct telex_medium_peer *ret_peer)
{
    struct telex_bytes *bytes = shm_of(link)->area->bytes;
    bytes->ops->peer(bytes, ret_peer);
}

static void shm_free(struct telex_link *link)
{
    struct shm_link *shm = shm_of(link);
    if (shm->attached)
        telex_shm_publish(shm);
    telex_shm_output_free(shm);
    telex_shm_input_free(shm);
    telex_shut(shm->fd);
    telex_shut(shm->decisions_fd);
    telex_shut(shm->death);
    free(shm->hello);
    telex_shm_area_leave(shm->area);
    telex_link_deinit(link);
    free(shm);
}

const struct telex_link_ops telex_shm_ops = {
    .greet = telex_shm_greet,
    .admit = telex_shm_admit,
    .put = telex_shm_put,
    .put_quickly = telex_shm_put_quickly,
    .keep = telex_shm_keep,
    .push = telex_shm_push,
    .drop = telex_shm_drop,
    .withdraw = telex_shm_withdraw,
    .outcome = telex_shm_outcome,
    .tell = telex_shm_tell,
    .finish = finish,
    .finished = finished,
    .delivered = delivered,
    .count = count,
    .next = telex_shm_next,
    .take_quickly = telex_shm_take_quickly,
    .take = telex_shm_take,
    .claim = telex_shm_claim,
    .report = telex_shm_report,
    .arm = arm,
    .doze = telex_shm_doze,
    .spin = spin,
    .loan = telex_shm_loan_of,
    .death = death,
    .rest = rest,
    .descriptor = descriptor,
    .peer = peer,
    .free = shm_free,
};

/* The peer's process, so that its death is seen whoever else holds its end of the socket. -1: it cannot be told; then the socket must do. */
static int watch_death(const struct shm_link *shm)
{
    struct telex_medium_peer peer;
    shm->area->bytes->ops->peer(shm->area->bytes, &peer);
    if (peer.pid <= 0 || peer.pid == (int64_t)getpid())
        return -1;
    return telex_process_watch(peer.pid, shm->area->bytes->ops->descriptor(shm->area->bytes));
}

/* Takes over `bytes`; also when it fails. */
int telex_shm_new(struct telex_bytes *bytes, const struct telex_settings *settings, bool passive, bool local, struct telex_link **ret_link)
{
    struct shm_area *area = telex_shm_area_new(bytes);
    struct shm_link *shm = area != NULL ? aligned_alloc(_Alignof(struct shm_link), sizeof *shm) : NULL; /* its two sides share no cache line */
    if (shm == NULL) {
        if (area != NULL)
            telex_shm_area_leave(area);
        return telex_say(-ENOMEM, "no memory for a channel");
    }
    memset(shm, 0, sizeof *shm);
    telex_link_init(&shm->link, &telex_shm_ops, settings->wire);
    shm->link.announces = shm->link.quick = true;
    shm->area = area;
    area->fenced = !telex_membarrier_ready();
    shm->settings = *settings;
    shm->ours = telex_link_greeting(settings, true);
    shm->link.max = settings->max;
    shm->link.fixed = settings->fixed;
    shm->link.window = settings->window;
    shm->queue = UINT64_MAX;
    shm->buffer = settings->buffer;
    shm->full = (enum telex_full)settings->full;
    shm->prefault = settings->prefault == TELEX_YES;
    shm->wants_trust = settings->trust == TELEX_YES;
    shm->local = local;
    shm->passive = passive;
    shm->fd = shm->decisions_fd = -1;
    shm->death = watch_death(shm);
    telex_list_init(&shm->owed);
    telex_list_init(&shm->waiting);
    if (!passive) {
        int r = telex_shm_begin(shm, settings);
        if (r < 0) {
            shm_free(&shm->link);
            return r;
        }
    }
    *ret_link = &shm->link;
    return 0;
}
