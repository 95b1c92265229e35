/* SPDX-License-Identifier: MIT */
/*
 * Real kills: the victim, as dialer or as listener, kills itself by a timer, at whatever instruction, while both sides talk as fast as they can. Its peer hears
 * all that was sent, and the end; afterwards there are no descriptors, no files, no memory.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash/crash.h"

enum {
    KILLS = 100, /* of each side */
    KILLS_LONG = 5000,
    LATEST_US = 3000,
    MEMORY_KB = 131072, /* that may come and go meanwhile on this machine; what KILLS_LONG channels have is four times as much */
};

static const struct plan chat = {.options = "descriptors=2", .descriptors = true, .least = 8, .most = 900};

/* ---- a victim ---- */

static void die_later(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value.tv_nsec = 1 + (long)(crash_random() % LATEST_US) * 1000};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 || timer_settime(timer, 0, &when, NULL) < 0)
        _exit(2);
}

static _Noreturn void be_victim(bool dials)
{
    telex_listener *listener;
    telex_channel *channel = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool early = dials && crash_random() % 4 == 0; /* while it attaches */
    if (early)
        die_later();
    int r = 0;
    if (dials) {
        r = telex_dial(crash_address(), NULL, SECONDS(10), &channel);
    } else {
        r = telex_listen(crash_address(), NULL, &listener);
        if (r == 0)
            r = telex_accept(listener, SECONDS(10), &channel);
    }
    if (r < 0)
        crash_fail("the victim does not come so far: %s", telex_reason(NULL));
    if (r < 0)
        _exit(1);
    if (!early)
        die_later();
    victim_chats(channel);
    _exit(0);
}

/* ---- what is left ---- */

static long number_in(const char *path, const char *name)
{
    char line[256];
    long number = -1;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (number < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            number = atol(line + strlen(name));
    fclose(file);
    return number;
}

static bool maps_any(void)
{
    char line[512];
    bool any = false;
    FILE *file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        any = any || strstr(line, "memfd:telex") != NULL;
    fclose(file);
    return any;
}

static int sockets_in(const char *directory)
{
    int count = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        count += entry->d_type == DT_SOCK || entry->d_type == DT_REG ? strstr(entry->d_name, "lock") == NULL : 0;
        if (entry->d_type == DT_DIR)
            count += sockets_in(path);
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static int count_listing(const telex_listing *listing, void *count)
{
    (void)listing;
    ++*(int *)count;
    return 0;
}

/* ---- the other side ---- */

/* NULL: it died before it came. */
static telex_channel *accept_it(telex_listener *listener)
{
    telex_channel *channel;
    int status;
    for (;;) {
        pid_t dead = waitpid(survivor.killed, &status, WNOHANG);
        int r = telex_accept(listener, dead != 0 ? TELEX_NOW : telex_after(2000000), &channel);
        if (dead != 0) {
            survivor.killed = 0;
            survivor.at_death = *board;
            crash_is_over = true;
        }
        if (r == 0)
            return channel;
        if (r != -ETIMEDOUT && r != -EAGAIN)
            crash_fail("telex_accept gave %d: %s", r, telex_reason(NULL));
        if (dead != 0 || board->why[0] != '\0')
            return NULL;
    }
}

static telex_channel *dial_it(void)
{
    telex_channel *channel;
    for (telex_time until = SECONDS(10); telex_now() < until; usleep(200))
        if (telex_dial(crash_address(), NULL, SECONDS(10), &channel) == 0)
            return channel;
    return NULL;
}

static void one_kill(telex_listener *listener)
{
    *board = (struct board){0};
    crash_is_over = false;
    survivor = (struct survivor){.remains.fds = crash_count_open(), .variant = crash_random()};
    survivor.killed = fork();
    if (survivor.killed == 0)
        be_victim(listener != NULL);
    telex_channel *channel = listener != NULL ? accept_it(listener) : dial_it();
    if (channel == NULL) {
        if (listener == NULL)
            crash_fail("nobody listened");
        return;
    }
    survivor_chats(channel);
    survive(channel);
}

static void kill_many(bool dialers)
{
    crash_begin(&chat);
    unsigned kills = crash_is_evidence() ? KILLS_LONG : KILLS;
    long before = number_in("/proc/meminfo", "Shmem:"), own_before = number_in("/proc/self/status", "RssShmem:");
    telex_listener *listener = NULL;
    telex_time since = telex_now();
    if (dialers)
        assert_good(telex_listen(crash_address(), NULL, &listener));
    uint64_t heard = 0;
    for (unsigned i = 0; i < kills && board->why[0] == '\0'; i++) {
        one_kill(listener);
        heard += survivor.heard;
    }
    crash_end();
    if (listener == NULL) /* the last one's path is still there: the next listener takes it over */
        assert_good(telex_listen(crash_address(), NULL, &listener));
    telex_listener_close(listener);
    int listed = 0;
    assert_good(telex_list(count_listing, &listed));
    assert_int_equal(listed, 0);
    assert_int_equal(sockets_in(testing_directory()), 0);
    assert_false(maps_any());
    long after = number_in("/proc/meminfo", "Shmem:"), own_after = number_in("/proc/self/status", "RssShmem:");
    crash_totals->kills += kills;
    crash_note("%s: %u real kills under load, %llu messages heard, %ld KiB of shared memory more than before on this machine, %ld here; %.1f s",
               dialers ? "killed_dialers" : "killed_listeners", kills, (unsigned long long)heard, after - before, own_after - own_before,
               (double)(telex_now() - since) / 1e9);
    assert_true(own_after <= own_before + 64);
    assert_true(after <= before + MEMORY_KB);
}

void crash_killed_dialers(void **state)
{
    (void)state;
    kill_many(true);
}

void crash_killed_listeners(void **state)
{
    (void)state;
    kill_many(false);
}
