/* SPDX-License-Identifier: MIT */
/*
 * Answering calls by running a command for each: the request on its standard input, the reply from its standard
 * output.
 */
#ifndef TELEX_TOOL_SERVE_COMMAND_H
#define TELEX_TOOL_SERVE_COMMAND_H

#include "common.h"

struct tool_jobs; /* the calls that wait for their command */

struct tool_jobs *tool_jobs_new(const struct tool_options *options);

/* Takes the request over and answers it: now where that is impossible, else once its command has ended. */
void tool_jobs_ask(struct tool_jobs *jobs, telex_server *server, telex_channel *channel, telex_message *request);

/* The channel has ended: its commands are told to end, too. */
void tool_jobs_forget(struct tool_jobs *jobs, const telex_channel *channel);

/*
 * Writes what the jobs wait for to `fds` (at least tool_jobs_width()) and the moment of the next deadline. Returns how
 * many.
 */
unsigned tool_jobs_wait_for(const struct tool_jobs *jobs, struct pollfd *fds, telex_time *ret_deadline);
unsigned tool_jobs_width(const struct tool_jobs *jobs);

/* Moves what can be moved: requests in, answers out, commands that ended, calls that were cancelled. */
void tool_jobs_step(struct tool_jobs *jobs);

bool tool_jobs_idle(const struct tool_jobs *jobs);

/* New calls are refused from now on. */
void tool_jobs_stop(struct tool_jobs *jobs);

/* Kills what still runs, answers who still waits. */
void tool_jobs_free(struct tool_jobs *jobs);

#endif
