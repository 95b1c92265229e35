/* SPDX-License-Identifier: MIT */
/* What a forked child keeps and what not; and the other facts of os/: bells, waiting, cores, random bytes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/event.h"
#include "os/fork.h"
#include "os/process.h"
#include "unit/testing.h"

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int new_file(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* Runs `body` in a forked child; it returns which of its expectations failed, 0: none. */
static void in_child(int (*body)(void *), void *user)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(body(user));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct held {
    int owned[3], disowned, foreign;
    unsigned generation;
};

static int look_around(void *user)
{
    struct held *held = user;
    if (is_open(held->owned[0]) || is_open(held->owned[1]) || is_open(held->owned[2]))
        return 1;
    if (!is_open(held->disowned) || !is_open(held->foreign))
        return 2;
    if (telex_generation() != held->generation + 1)
        return 3;
    /* A number that was the parent's is the child's own now: a handle of the parent must not close it. */
    int fd = dup2(held->foreign, held->owned[0]);
    telex_shut(held->owned[0]);
    if (fd != held->owned[0] || !is_open(fd))
        return 4;
    telex_own(fd);
    telex_shut(fd);
    return is_open(fd) ? 5 : 0;
}

static void owned_are_closed_in_child(void **state)
{
    (void)state;
    struct held held = {.disowned = telex_own(new_file()), .foreign = new_file(), .generation = telex_generation()};
    held.owned[0] = telex_own(new_file());
    held.owned[1] = telex_own(new_file());
    held.owned[2] = telex_own(fcntl(held.foreign, F_DUPFD_CLOEXEC, 900)); /* far behind the others */
    assert_true(held.owned[0] >= 0 && held.owned[1] >= 0 && held.owned[2] >= 900);
    telex_disown(held.disowned);
    in_child(look_around, &held);

    assert_int_equal(telex_generation(), held.generation);
    for (int i = 0; i < 3; i++) {
        assert_true(is_open(held.owned[i]));
        errno = 77;
        telex_shut(held.owned[i]);
        assert_int_equal(errno, 77);
        assert_false(is_open(held.owned[i]));
    }
    telex_shut(held.disowned);
    assert_true(is_open(held.disowned));
    close(held.disowned);
    close(held.foreign);
}

static int grandchild(void *user)
{
    return telex_generation() == *(unsigned *)user + 2 ? 0 : 1;
}

static int child_of_generation(void *user)
{
    in_child(grandchild, user);
    return telex_generation() == *(unsigned *)user + 1 ? 0 : 1;
}

static void generations_count(void **state)
{
    (void)state;
    telex_shut(telex_own(new_file()));
    unsigned before = telex_generation();
    in_child(child_of_generation, &before);
    assert_int_equal(telex_generation(), before);
}

static void errors_pass_through(void **state)
{
    (void)state;
    assert_int_equal(telex_own(-EMFILE), -EMFILE);
    telex_shut(-EMFILE);
    telex_disown(-1);
    telex_disown(1 << 20);
    telex_shut(1 << 20);
}

static void *own_and_shut(void *user)
{
    atomic_bool *stop = user;
    while (!atomic_load(stop)) {
        int fds[4];
        for (int i = 0; i < 4; i++)
            fds[i] = telex_own(new_file());
        for (int i = 0; i < 4; i++)
            telex_shut(fds[i]);
    }
    return NULL;
}

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += is_open(fd);
    return count;
}

static int child_beside_threads(void *user)
{
    /* A descriptor between open() and telex_own() may slip through, one for each thread; none that was owned. */
    if (count_open() > *(int *)user + 2)
        return 1;
    telex_shut(telex_own(new_file())); /* the mutex is free */
    return 0;
}

static void forks_beside_threads(void **state)
{
    (void)state;
    pthread_t threads[2];
    atomic_bool stop = false;
    int before = count_open();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, own_and_shut, &stop), 0);
    for (int i = 0; i < 200; i++)
        in_child(child_beside_threads, &before);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static int other_life(void *user)
{
    unsigned char life[16];
    memcpy(life, telex_life(), sizeof life);
    return memcmp(life, user, sizeof life) != 0 && memcmp(life, telex_life(), sizeof life) == 0 ? 0 : 1;
}

static void *same_life(void *user)
{
    return memcmp(telex_life(), user, 16) == 0 ? user : NULL;
}

static void lives_differ(void **state)
{
    (void)state;
    unsigned char life[16];
    memcpy(life, telex_life(), sizeof life);
    assert_memory_equal(telex_life(), life, sizeof life);
    assert_memory_not_equal(life, (unsigned char[16]){0}, sizeof life);
    in_child(other_life, life);
    pthread_t thread;
    void *same;
    assert_int_equal(pthread_create(&thread, NULL, same_life, life), 0);
    pthread_join(thread, &same);
    assert_ptr_equal(same, life);
    assert_memory_equal(telex_life(), life, sizeof life);
}

static void facts(void **state)
{
    (void)state;
    assert_true(telex_program()[0] != '\0');
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(telex_cores(-1), CPU_COUNT(&all));
    int core = 0;
    while (!CPU_ISSET(core, &all))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(telex_cores(-1), 1);
    unsigned char bytes[1000] = {0};
    assert_int_equal(telex_random(bytes, sizeof bytes), 0);
    int zeroes = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        zeroes += bytes[i] == 0;
    assert_true(zeroes < 100);
}

static void bells(void **state)
{
    (void)state;
    int event = telex_event_new();
    assert_true(event >= 0 && (fcntl(event, F_GETFD) & FD_CLOEXEC) != 0);
    struct pollfd poll = {.fd = event, .events = POLLIN};
    assert_int_equal(telex_poll(&poll, 1, 0), 0);
    errno = 77;
    telex_event_clear(event); /* does not wait where nothing rang */
    telex_event_ring(event);
    telex_event_ring(event);
    assert_int_equal(errno, 77);
    assert_int_equal(telex_poll(&poll, 1, INT64_MAX), 1);
    telex_event_clear(event);
    assert_int_equal(telex_poll(&poll, 1, 0), 0);
    telex_shut(event);
}

static void ignore(int number)
{
    (void)number;
}

static void *interrupt_soon(void *user)
{
    telex_poll(NULL, 0, telex_clock() + 50000000);
    pthread_kill(*(pthread_t *)user, SIGUSR1);
    return NULL;
}

static void waiting(void **state)
{
    (void)state;
    int64_t begin = telex_clock();
    assert_int_equal(telex_poll(NULL, 0, begin + 30000000), 0);
    int64_t took = telex_clock() - begin;
    assert_true(took >= 30000000 && took < 2000000000);
    begin = telex_clock();
    assert_int_equal(telex_poll(NULL, 0, begin - 1), 0);
    assert_int_equal(telex_poll(NULL, 0, 0), 0);
    assert_int_equal(telex_poll(NULL, 0, -1), 0);
    assert_true(telex_clock() - begin < 1000000000);

    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = ignore}, NULL);
    pthread_t self = pthread_self(), thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &self), 0);
    assert_int_equal(telex_poll(NULL, 0, INT64_MAX), -EINTR);
    pthread_join(thread, NULL);
}

static const struct testing_case cases[] = {
    TESTING_CASE(owned_are_closed_in_child),
    TESTING_CASE(generations_count),
    TESTING_CASE(errors_pass_through),
    TESTING_CASE(forks_beside_threads),
    TESTING_CASE(lives_differ),
    TESTING_CASE(facts),
    TESTING_CASE(bells),
    TESTING_CASE(waiting),
};

int main(int argc, char **argv)
{
    return testing_main(argc, argv, "fork", cases, sizeof cases / sizeof *cases);
}
