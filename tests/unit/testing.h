/* SPDX-License-Identifier: MIT */
/*
 * Every test case in a process of its own: its own session, a time limit as a hang guard, and afterwards a look at what it left behind
 * (descriptors, child processes). cmocka's assertions work in the case's process and in those it makes by testing_fork(); only their
 * main threads may assert. One line a case on stdout: `ok GROUP.NAME` or `not ok GROUP.NAME # why`.
 */
#ifndef TELEX_TESTS_TESTING_H
#define TELEX_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

struct testing_case {
    const char *name;
    void (*run)(void **state);
    unsigned seconds; /* 0: 20 */
    const void *with; /* what *state points to */
};

#define TESTING_CASE(function) {.name = #function, .run = function}
#define TESTING_CASE_LIMIT(function, limit) {.name = #function, .run = function, .seconds = (limit)}

/* Runs the cases (all, or those that the arguments name, as NAME or GROUP.NAME; --list lists them). 0 if all are ok, else 1. */
int testing_main(int argc, char **argv, const char *group, const struct testing_case *cases, size_t count);

/* A child process that runs `run(with)`; a failed assertion there fails it. */
pid_t testing_fork(void (*run)(void *with), void *with);

/* The same in a child that exists already: runs `run(with)` and exits. */
_Noreturn void testing_be_child(void (*run)(void *with), void *with);

/* Waits for the child and asserts that it ended with status 0. */
void testing_wait(pid_t child);

/* A private directory, with XDG_RUNTIME_DIR pointing into it; removed after the case. The same one on each call of a case. */
const char *testing_directory(void);

/* Asserts that `result` (0 or -errno) is 0, and says what it is and why if not. */
void testing_good(int result, const char *what);
#define assert_good(call) testing_good((call), #call)

#endif
