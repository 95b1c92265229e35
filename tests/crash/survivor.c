/* SPDX-License-Identifier: MIT */
/* What the peer does while the victim lives, and how it goes on, as the test itself or as a copy, once the victim is dead. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/crash.h"

enum { OPEN_MOST = 256, ENOUGH = 1000 /* messages that fill the ring and the queue */, SHORT = 100, PAUSE = 200, LONG_PAUSE = 800, DAWDLES = 400, NAP_US = 100, SHORT_PAUSE = 50, IDLE_MOST = 30000, BURST = 60 };

struct survivor survivor;

static bool gone(void)
{
    return crash_is_copy || crash_is_over;
}

static const struct board *now(void)
{
    return gone() ? &survivor.at_death : board;
}

/* In the test: the victim of a real kill is dead now. */
static void bury(void)
{
    int status = 0;
    waitpid(survivor.killed, &status, 0);
    survivor.killed = 0;
    survivor.at_death = *board;
    crash_is_over = true;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        crash_fail("the victim ended by itself, status %#x", status);
}

/* How a call may end: well, or, of a dead peer, by its death or by its goodbye. */
static bool may_end(int r, const char *call)
{
    if (r >= 0)
        return true;
    if (survivor.killed != 0)
        bury();
    if (gone() && (r == -ECONNRESET || (r == -EPIPE && survivor.at_death.closing)))
        return true;
    if (!gone() && r == -EPIPE && board->closing)
        return true;
    return crash_fail("%s gave %d (%s)%s: %s", call, r, strerror(-r), gone() ? " after the death" : "", telex_reason(NULL));
}

/* ---- as long as it lives ---- */

/* So that the victim is anywhere when something comes to it. Whether it sleeps. */
static bool let_it_go_on(uint32_t most)
{
    enum advance advance = CRASH_STEPPED;
    for (uint32_t i = crash_random() % most; i > 0 && advance == CRASH_STEPPED; i--)
        advance = duel_advance();
    return advance == CRASH_SLEEPS;
}

/* Half of them leave no pause, so that the ring is full. */
static void pause_before_a_message(void)
{
    if (survivor.hasty)
        return;
    let_it_go_on(LONG_PAUSE);
}

static bool heard_one(telex_channel *channel, telex_message *message)
{
    if (!crash_is(message, survivor.heard))
        return false;
    if (message->descriptor_count != (plan->descriptors ? survivor.heard % 2 : 0))
        return crash_fail("message %u came with %u descriptors", survivor.heard, message->descriptor_count);
    survivor.heard++;
    if (!(message->flags & TELEX_IS_CALL))
        return true;
    telex_message reply = telex_binary(message->data, message->length);
    return may_end(telex_reply(channel, message, &reply, 0, SECONDS(60)), "telex_reply");
}

/* 0: heard one; 1: none; else the end. */
static int receive_one(telex_channel *channel, telex_time deadline)
{
    telex_message *into = &survivor.held[survivor.heard % HELD];
    int r = telex_receive(channel, into, deadline);
    if (r == -EAGAIN && deadline == TELEX_NOW)
        return 1;
    if (r == 0)
        return heard_one(channel, into) ? 0 : -EBADMSG;
    if (r == -EPIPE && survivor.heard != now()->started) {
        crash_fail("the goodbye came after %u messages of %u", survivor.heard, now()->started);
        return -EBADMSG;
    }
    return may_end(r, "telex_receive") ? r : -EBADMSG;
}

/* The same of sending. `flags`: of telex_send(). */
static int send_one(telex_channel *channel, uint32_t length, bool loan, unsigned flags, telex_time deadline)
{
    static uint8_t bytes[LONGEST];
    telex_message message = {0};
    int r = loan ? telex_loan(channel, length, &message, deadline) : 0;
    if (r < 0 && r != -ENOBUFS && r != -EAGAIN && !may_end(r, "telex_loan"))
        return -EBADMSG;
    if (message.data == NULL)
        message = telex_binary(bytes, length);
    crash_fill(message.data, survivor.spoken, length);
    r = telex_send(channel, &message, flags, deadline);
    telex_release(&message);
    if (r == -EAGAIN && deadline == TELEX_NOW)
        return 1;
    survivor.spoken += r == 0;
    return may_end(r, "telex_send") ? r : -EBADMSG;
}

static uint32_t any_length(bool loan)
{
    return loan ? 1100 + crash_random() % 2900 : 8 + crash_random() % 900;
}

void survivor_receives(telex_channel *channel)
{
    while (!gone() && receive_one(channel, SECONDS(60)) == 0)
        ;
}

/* Leaves what comes where it is, for a while. */
void survivor_dawdles(telex_channel *channel)
{
    for (uint32_t naps = crash_random() % DAWDLES; naps > 0 && !gone();)
        if (duel_advance() == CRASH_SLEEPS) {
            usleep(NAP_US);
            naps--;
        }
    survivor_receives(channel);
}

/* Until the victim has changed what both share. Whether it sleeps. */
static bool let_it_change_something(void)
{
    enum advance advance = CRASH_STEPPED;
    for (uint64_t states = crash_states; states == crash_states && advance == CRASH_STEPPED;)
        advance = duel_advance();
    return advance == CRASH_SLEEPS;
}

/* Never sleeps: looks every few instructions of the victim, or (hasty) whenever there is something new. */
void survivor_peeks(telex_channel *channel)
{
    uint32_t idle = 0;
    for (int r = 0; r >= 0 && !gone();) {
        bool sleeps = survivor.hasty ? let_it_change_something() : let_it_go_on(SHORT_PAUSE);
        if (gone())
            return;
        r = receive_one(channel, TELEX_NOW);
        idle = r == 1 && sleeps ? idle + 1 : 0;
        if (idle > 0)
            usleep(NAP_US);
        if (idle == IDLE_MOST) {
            crash_fail("the victim sleeps, and nothing comes");
            return;
        }
    }
}

void survivor_sends(telex_channel *channel)
{
    int r = 0;
    while (!gone() && r == 0) {
        pause_before_a_message();
        if (gone())
            break;
        bool loan = plan->loans && crash_random() % 3 != 0;
        r = send_one(channel, any_length(loan), loan, crash_random() % 4 == 0 ? TELEX_MORE : 0, SECONDS(60));
    }
}

/* Some give up soon: what was withdrawn then never comes, and the next one has its number in the text. */
void survivor_syncs(telex_channel *channel)
{
    static uint8_t bytes[LONGEST];
    int r = 0;
    while (!gone() && (r == 0 || r == -ETIMEDOUT)) {
        pause_before_a_message();
        if (gone())
            break;
        bool soon = crash_random() % 3 == 0;
        uint32_t length = any_length(false);
        telex_message message = telex_binary(bytes, length);
        crash_fill(bytes, survivor.spoken, length);
        r = telex_send(channel, &message, TELEX_SYNC, soon ? telex_after(1000000) : SECONDS(60));
        survivor.spoken += r == 0;
        if (r == 0 && now()->taking < survivor.spoken)
            crash_fail("a synchronous message counts as taken that was not");
        if (r == -ETIMEDOUT && soon && telex_outcome(channel, message.number) != TELEX_WITHDRAWN)
            crash_fail("what was not taken in time is not withdrawn");
        if (r != -ETIMEDOUT || !soon)
            may_end(r, "telex_send");
    }
}

void survivor_calls(telex_channel *channel)
{
    static uint8_t bytes[LONGEST];
    int r = 0;
    while (!gone() && r == 0) {
        pause_before_a_message();
        if (gone())
            break;
        uint32_t length = any_length(false);
        telex_message request = telex_binary(bytes, length), reply = {0};
        crash_fill(bytes, survivor.spoken, length);
        r = telex_call(channel, &request, &reply, SECONDS(60));
        if (r == 0 && !crash_is(&reply, survivor.spoken))
            r = -EBADMSG;
        else
            may_end(r, "telex_call");
        survivor.heard += r == 0; /* replies are messages of the victim, too */
        survivor.spoken++;
        telex_release(&reply);
    }
}

void survivor_does_both(telex_channel *channel)
{
    int r = 0;
    while (!gone() && r >= 0) {
        r = 0;
        let_it_go_on(PAUSE);
        if (gone())
            return;
        uint32_t what = crash_random() % 8;
        if (what < 3)
            r = receive_one(channel, TELEX_NOW);
        else if (what < 6)
            r = send_one(channel, any_length(what == 5), what == 5, what == 4 ? TELEX_MORE : 0, TELEX_NOW);
        else if (what == 6)
            telex_release(&survivor.held[crash_random() % HELD]);
        else if (survivor.hasty)
            for (int i = 0; i < BURST && r == 0; i++)
                r = send_one(channel, any_length(false), false, 0, TELEX_NOW);
        else
            telex_flush(channel, TELEX_NOW);
    }
}

void survivor_closes(telex_channel *channel)
{
    for (uint32_t i = crash_random() % 12; i > 0 && !gone(); i--)
        if (send_one(channel, any_length(i % 4 == 0), i % 4 == 0, 0, SECONDS(60)) < 0)
            return;
    if (gone())
        return;
    uint64_t untaken = 0;
    int r = telex_close(channel, SECONDS(60), &untaken);
    survivor.closed = true;
    const struct board *then = now();
    if (r != 0 && r != -ECONNRESET)
        crash_fail("telex_close gave %d (%s)", r, strerror(-r));
    if (survivor.spoken - untaken > then->taking)
        crash_fail("of %u messages %u were taken, and only %llu count as untaken", survivor.spoken, then->taking, (unsigned long long)untaken);
}

/* Under load, until the victim is no more. */
void survivor_chats(telex_channel *channel)
{
    int r = 0;
    while (r >= 0 && !gone()) {
        r = receive_one(channel, crash_random() % 2 == 0 ? SECONDS(10) : TELEX_NOW);
        for (uint32_t i = crash_random() % 4; i > 0 && r >= 0; i--) {
            bool loan = crash_random() % 4 == 0;
            r = send_one(channel, any_length(loan), loan, crash_random() % 3 == 0 ? TELEX_MORE : 0, TELEX_NOW);
        }
    }
}

/* ---- after the death ---- */

int crash_count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < OPEN_MOST; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* All that was sent before, whole, in order, then the end. */
static bool hear_all(telex_channel *channel, bool replies)
{
    const struct board *then = &survivor.at_death;
    int r;
    while ((r = receive_one(channel, SECONDS(5))) == 0)
        ;
    if (r == -EBADMSG || replies)
        return r != -EBADMSG;
    if (survivor.heard < then->sure || survivor.heard > then->started)
        return crash_fail("%u messages came where between %u and %u were sent", survivor.heard, then->sure, then->started);
    return true;
}

/* Nobody hears it; each call says so in time. */
static bool speak(telex_channel *channel, bool ended)
{
    int r = 0;
    if (survivor.variant & 16 && send_one(channel, SHORT, false, TELEX_SYNC, SECONDS(5)) >= 0)
        return crash_fail("a dead peer took a synchronous message, the first one after its death");
    for (int i = 0; i < ENOUGH && r == 0; i++)
        r = send_one(channel, SHORT, false, 0, SECONDS(5));
    if (r == -EBADMSG)
        return false;
    if (r >= 0 && ended)
        return crash_fail("a message was sent to the dead");
    if (r >= 0)
        return crash_fail("%d messages of %d bytes found room in the ring of the dead", ENOUGH, SHORT);
    r = send_one(channel, SHORT, false, TELEX_SYNC, SECONDS(5));
    if (r >= 0)
        return crash_fail("a dead peer took a synchronous message");
    static uint8_t bytes[SHORT];
    telex_message request = telex_binary(bytes, SHORT), reply = {0};
    r = telex_call(channel, &request, &reply, SECONDS(5));
    if (r >= 0)
        return crash_fail("a dead peer answered");
    return may_end(r, "telex_call");
}

static bool count_taken(telex_channel *channel)
{
    telex_counters counters = {.size = sizeof counters};
    int r = telex_counters_of(channel, &counters);
    if (r < 0)
        return crash_fail("telex_counters_of gave %d", r);
    if (counters.taken > survivor.at_death.taking)
        return crash_fail("%llu messages count as taken, the dead had taken %u at most", (unsigned long long)counters.taken, survivor.at_death.taking);
    return true;
}

/* What the dead lent is still there. */
static bool check_held(void)
{
    for (uint32_t i = 1; i <= HELD && i <= survivor.heard; i++) {
        telex_message *message = &survivor.held[(survivor.heard - i) % HELD];
        if (message->data != NULL && message->memory != NULL && !crash_is(message, survivor.heard - i))
            return false;
        telex_release(message);
    }
    return true;
}

static bool check_remains(void)
{
    const struct remains *remains = &survivor.remains;
    unsigned char present;
    int open = crash_count_open();
    if (open != remains->fds)
        return crash_fail("%d descriptors are open, before there were %d", open, remains->fds);
    if (remains->own != NULL && (mincore(remains->own, 1, &present) == 0 || mincore(remains->theirs, 1, &present) == 0))
        return crash_fail("memory is still mapped");
    return true;
}

static bool end_channel(telex_channel *channel)
{
    int r = telex_close(channel, SECONDS(5), NULL);
    if (r != 0 && r != -ECONNRESET && r != -EPIPE)
        return crash_fail("telex_close gave %d (%s)", r, strerror(-r));
    return true;
}

bool survive(telex_channel *channel)
{
    bool replies = plan->survivor == survivor_calls, early = (survivor.variant & 1) != 0, late = (survivor.variant & 2) != 0;
    bool good = true;
    if (!survivor.closed) {
        if (early)
            good = speak(channel, false);
        good = good && hear_all(channel, replies) && speak(channel, true) && count_taken(channel);
        if (!late)
            good = good && check_held();
        good = good && end_channel(channel);
    }
    return good && check_held() && check_remains();
}
