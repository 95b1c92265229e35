/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands share: options, exit statuses, dialling, signals, reading standard input and printing messages.
 */
#ifndef TELEX_TOOL_COMMON_H
#define TELEX_TOOL_COMMON_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telex/telex.h"

/* Exit statuses; scripts rely on them. */
enum tool_status {
    TOOL_OK = 0,
    TOOL_FAILURE = 1,
    TOOL_USAGE = 2,
    TOOL_DEADLINE = 3,
    TOOL_REFUSED = 4, /* by the peer or the protocol */
};

enum { TOOL_UNLIMITED = 1 << 30 };

/* How long these may take unless --deadline says otherwise, ns. */
#define TOOL_PATIENCE INT64_C(10000000000) /* dialling, calling, sending */
#define TOOL_DRAIN INT64_C(5000000000)     /* what a server still has to do when it is told to stop */

struct tool_options {
    bool binary, sync, quiet, json, echo, listen;
    int64_t deadline; /* ns; 0: not given; INT64_MAX: never */
    uint64_t count;   /* -n; 0: not given */
    uint64_t size;    /* -s; UINT64_MAX: not given */
    uint64_t workers; /* 0: not given */
    char **operands;  /* what is no option; NULL ends them */
    int operand_count;
    char **command; /* what follows --, for commands that take TOOL_TAKES_COMMAND; else NULL */
};

/* Options that only some subcommands have. */
enum tool_takes {
    TOOL_TAKES_COUNT = 1,
    TOOL_TAKES_SIZE = 2,
    TOOL_TAKES_JSON = 4,
    TOOL_TAKES_ECHO = 8,
    TOOL_TAKES_LISTEN = 16,
    TOOL_TAKES_WORKERS = 32,
    TOOL_TAKES_COMMAND = 64,
};

/* What the operands are, for completion. */
enum tool_operands { TOOL_OPERANDS_ADDRESSES, TOOL_OPERANDS_FILES, TOOL_OPERANDS_MEDIA, TOOL_OPERANDS_OPTIONS, TOOL_OPERANDS_NONE };

/* demo.c: the name of the at-th medium of the demo; NULL: there are no more. */
const char *tool_demo_medium(size_t at);

/*
 * The one source of --help, of the manual page (manual.c) and of the completion (completion.c). `help` is paragraphs with an empty line
 * between them, `literals` in backticks; a last one that begins with the line "examples:", each example indented by two spaces.
 */
struct tool_command {
    const char *name;
    const char *synopsis; /* what follows the name in the usage line; NULL: not shown in the list of subcommands */
    const char *summary;
    const char *help; /* meaning and examples */
    unsigned takes;   /* enum tool_takes */
    int least, most;  /* operands */
    int (*run)(const struct tool_options *options);
    enum tool_operands operands;
};

/* main.c: all of them, NULL at the end. */
extern const struct tool_command *const tool_commands[];

struct tool_flag {
    char letter; /* 0: none */
    const char *name;
    unsigned takes; /* enum tool_takes; 0: common to all subcommands */
    const char *value;
    const char *meaning;
    bool (*set)(struct tool_options *options, const char *value);
};

/* options.c: all of them, and whether `command` has it. A name of NULL ends them. */
extern const struct tool_flag tool_flags[];
bool tool_has_flag(const struct tool_command *command, const struct tool_flag *flag);

extern const struct tool_command tool_serve, tool_call, tool_listen, tool_send, tool_receive, tool_talk, tool_ping,
    tool_demo, tool_demo_worker, tool_list, tool_spawn, tool_tap, tool_sequence, tool_manual, tool_completion;

/*
 * options.c: reads argv (that of the subcommand, its name first). -1 to go on, or the status to exit with (--help, a
 * usage error).
 */
int tool_parse(const struct tool_command *command, int argc, char **argv, struct tool_options *ret_options);

/* Says `telex: SENTENCE` on stderr. Control characters, which a peer may have put in, become '?'. */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* As tool_say, and returns TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Says why `error` (a negative errno) happened on `channel` (NULL: without a handle) and returns the exit status for
 * it.
 */
int tool_fail(int error, const telex_channel *channel);

/*
 * As tool_fail, of telex_dial(), telex_listen() and the like: a bad address is a usage error, a path without
 * permission a failure.
 */
int tool_fail_address(int error, const char *address);

/* Whether the peer ended `channel` with a sentence, so refused to go on, and did not just close it. After -EPIPE. */
bool tool_peer_refused(const telex_channel *channel);

/* The moment --deadline from now; `otherwise` ns from now (INT64_MAX: never) where it was not given. */
telex_time tool_deadline(const struct tool_options *options, int64_t otherwise);

/* Sleeps until one of `fds` is ready, a signal comes, or `deadline`. How many are ready; 0 or -1 otherwise. */
int tool_poll(struct pollfd *fds, unsigned count, telex_time deadline);

/* Dials. TOOL_OK, or the status to exit with, after saying why. */
int tool_dial(const char *address, telex_time deadline, telex_channel **ret_channel);

/* Says `listening on ADDRESS`, unless quiet. */
void tool_listening(const struct tool_options *options, const char *address);

/* Adds one more address to `server` and says so. TOOL_OK, or the status to exit with, after saying why. */
int tool_server_listen(const struct tool_options *options, telex_server *server, const char *address);

/*
 * A peer that broke the rules, or ended in the middle of a message, is not heard any more: whoever reads the output should know. Whether
 * `why` is such an end of `channel`; then *ret_sentence says which peer, and why.
 */
bool tool_describe_loss(telex_channel *channel, int why, char *ret_sentence, size_t size);

/* Serves what had arrived by now, for a second at most: before a server closes. */
void tool_server_drain(telex_server *server);

/*
 * From now on the first SIGINT, SIGTERM or SIGHUP only asks to stop: tool_stopping() is true then, and the returned descriptor
 * readable. A second one (half a second later at least) ends the process; with _twice it only asks to hurry. A negative errno on
 * failure, after saying so.
 */
int tool_catch_signals(void);
int tool_catch_signals_twice(void);
int tool_stopping(void); /* the signal, or 0 */
bool tool_hurried(void); /* it was asked for twice */

/* Ends the process as the signal that asked to stop would have done. */
void tool_end_by_signal(void);

/* Signals that ask to stop interrupt `channel` from now on; NULL: none. */
void tool_interrupts(telex_channel *channel);

/*
 * As telex_send(), but signals that do not ask to stop (a job stopped and continued) do not end it early. -EINTR: asked to
 * stop.
 */
int tool_send_message(telex_channel *channel, telex_message *message, unsigned flags, telex_time deadline);

/* As telex_call() and telex_receive(), in the same way: the request is sent once, whatever signals come. */
int tool_ask(telex_channel *channel, telex_message *request, telex_message *ret_reply, telex_time deadline);
int tool_receive_message(telex_channel *channel, telex_message *ret_message, telex_time deadline);

/* A message of the kind that the options ask for; it refers to the bytes. */
telex_message tool_message(const struct tool_options *options, const void *data, size_t length);

/* Prints one message: text ends with a newline, binary is as it is. TOOL_OK, or TOOL_FAILURE after saying why. */
int tool_print(const struct tool_options *options, const telex_message *message);

/* Flushes standard output at the end. `status`, or TOOL_FAILURE where what was printed could not be written. */
int tool_finish(int status);

/* Prints a received message, or answers it where it is a call: nobody here answers calls. Status as of tool_print(). */
int tool_take(const struct tool_options *options, telex_channel *channel, const telex_message *message);

/* Bytes read and not used yet. */
struct tool_input {
    int fd;
    bool ended;
    char *bytes;
    size_t start, length, capacity; /* the unused ones: bytes[start .. start + length) */
};

/* Reads once, waiting for input if there is none. 0, at the end too (`ended`), or -errno. */
int tool_input_read(struct tool_input *input);

/* Reads to the end, at most `most` bytes. 0, -EMSGSIZE, or another -errno. */
int tool_input_read_all(struct tool_input *input, size_t most);

/*
 * The next line, without its newline; the last one may lack it. False: none as yet, or none any more. The bytes are
 * good until the next read.
 */
bool tool_input_line(struct tool_input *input, const char **ret_line, size_t *ret_length);

void tool_input_deinit(struct tool_input *input);

#endif
