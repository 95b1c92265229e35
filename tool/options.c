/* SPDX-License-Identifier: MIT */
/* Reading the command line, and the help that goes with it: one table of options for both. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    {"", 1},
    {"kB", 1000},
    {"KiB", 1 << 10},
    {"MB", 1000000},
    {"MiB", 1 << 20},
    {"GB", 1000000000},
    {"GiB", 1 << 30},
    {NULL, 0},
};

static const struct unit durations[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"min", UINT64_C(60000000000)},
    {NULL, 0},
};

static const struct unit numbers[] = {{"", 1}, {NULL, 0}};

static bool read_number(const char *text, const struct unit *units, uint64_t most, uint64_t *ret_number)
{
    size_t digits = strspn(text, "0123456789");
    while (units->name != NULL && strcmp(units->name, text + digits) != 0)
        units++;
    uint64_t number = 0;
    bool good = digits > 0 && units->name != NULL;
    for (size_t i = 0; i < digits && good; i++)
        good = !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number);
    if (!good || __builtin_mul_overflow(number, units->factor, &number) || number > most)
        return false;
    *ret_number = number;
    return true;
}

/* ---- what the options do: false where the value is bad ---- */

static bool set_sync(struct tool_options *options, const char *value)
{
    (void)value;
    return options->sync = true;
}

static bool set_text(struct tool_options *options, const char *value)
{
    (void)value;
    options->binary = false;
    return true;
}

static bool set_binary(struct tool_options *options, const char *value)
{
    (void)value;
    return options->binary = true;
}

static bool set_quiet(struct tool_options *options, const char *value)
{
    (void)value;
    return options->quiet = true;
}

static bool set_json(struct tool_options *options, const char *value)
{
    (void)value;
    return options->json = true;
}

static bool set_echo(struct tool_options *options, const char *value)
{
    (void)value;
    return options->echo = true;
}

static bool set_listen(struct tool_options *options, const char *value)
{
    (void)value;
    return options->listen = true;
}

static bool set_deadline(struct tool_options *options, const char *value)
{
    uint64_t ns = INT64_MAX;
    if (strcmp(value, "never") != 0 && !read_number(value, durations, INT64_MAX - 1, &ns))
        return false;
    options->deadline = ns == 0 ? 1 : (int64_t)ns; /* 0 stands for: not given */
    return true;
}

static bool set_count(struct tool_options *options, const char *value)
{
    return read_number(value, numbers, UINT64_MAX, &options->count) && options->count > 0;
}

static bool set_size(struct tool_options *options, const char *value)
{
    return read_number(value, sizes, UINT32_MAX, &options->size);
}

static bool set_workers(struct tool_options *options, const char *value)
{
    return read_number(value, numbers, 1000, &options->workers) && options->workers > 0;
}

const struct tool_flag tool_flags[] = {
    {'n', "count", TOOL_TAKES_COUNT, "N", "end after N messages or round trips", set_count},
    {'s', "size", TOOL_TAKES_SIZE, "BYTES", "length of each message (64)", set_size},
    {0, "json", TOOL_TAKES_JSON, NULL, "print JSON, an object a line", set_json},
    {0, "echo", TOOL_TAKES_ECHO, NULL, "answer with what was asked", set_echo},
    {0, "listen", TOOL_TAKES_LISTEN, NULL, "wait at ADDRESS for one peer instead of dialling it", set_listen},
    {0, "workers", TOOL_TAKES_WORKERS, "N", "how many worker processes (as many as cores, 2 to 16)", set_workers},
    {0, "sync", 0, NULL, "send by rendezvous: wait until the receiver has taken it", set_sync},
    {0, "text", 0, NULL, "messages are text (default)", set_text},
    {0, "binary", 0, NULL, "messages are bytes, read and written as they are", set_binary},
    {0, "deadline", 0, "DURATION", "how long a message or call may take: 500ms, 2s, never", set_deadline},
    {'q', "quiet", 0, NULL, "no `listening on ADDRESS` and no other notes on stderr", set_quiet},
    {0, "version", 0, NULL, "print the version", NULL},
    {'h', "help", 0, NULL, "print this", NULL},
    {0, NULL, 0, NULL, NULL, NULL},
};

bool tool_has_flag(const struct tool_command *command, const struct tool_flag *flag)
{
    return flag->takes == 0 || (command->takes & flag->takes);
}

/* Commands without one are for telex itself: its build, its demo. */
static const char *synopsis_of(const struct tool_command *command)
{
    return command->synopsis != NULL ? command->synopsis : "...";
}

static void print_help(const struct tool_command *command)
{
    const char *help = command->synopsis != NULL ? command->help : "Not for users: other parts of telex run it.";
    printf("usage: telex %s %s\n\n%s\n\noptions:\n", command->name, synopsis_of(command), help);
    for (const struct tool_flag *flag = tool_flags; flag->name != NULL; flag++) {
        if (!tool_has_flag(command, flag))
            continue;
        char left[64];
        snprintf(left, sizeof left, "%c%c%s--%s%s%s", flag->letter ? '-' : ' ', flag->letter ? flag->letter : ' ',
                 flag->letter ? ", " : "  ", flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
        printf("  %-24s %s\n", left, flag->meaning);
    }
    printf("\nExit status: 0; 1 failure; 2 usage; 3 deadline passed; 4 refused by the peer or the protocol.\n");
}

static const struct tool_flag *find_flag(const struct tool_command *command, const char *name, size_t length)
{
    for (const struct tool_flag *flag = tool_flags; flag->name != NULL; flag++)
        if (tool_has_flag(command, flag) && strlen(flag->name) == length && memcmp(flag->name, name, length) == 0)
            return flag;
    return NULL;
}

static const struct tool_flag *find_letter(const struct tool_command *command, char letter)
{
    for (const struct tool_flag *flag = tool_flags; flag->name != NULL; flag++)
        if (flag->letter == letter && tool_has_flag(command, flag))
            return flag;
    return NULL;
}

/* Applies the option at argv[at]. How many arguments it used, or a negative value: -1 - the status to exit with. */
static int apply(const struct tool_command *command, int argc, char **argv, int at, struct tool_options *options)
{
    const char *text = argv[at], *value = NULL;
    const struct tool_flag *flag;
    if (text[1] == '-') {
        const char *equals = strchr(text, '=');
        flag = find_flag(command, text + 2, equals != NULL ? (size_t)(equals - text - 2) : strlen(text + 2));
        value = equals != NULL ? equals + 1 : NULL;
    } else {
        flag = find_letter(command, text[1]);
        value = text[2] != '\0' ? text + 2 : NULL;
    }
    if (flag == NULL)
        return -1 - tool_usage("%s: no such option; see telex %s --help (a message that begins with - goes after --)",
                               text, command->name);
    if (flag->set == NULL) {
        if (strcmp(flag->name, "version") == 0)
            printf("telex %s\n", telex_version());
        else
            print_help(command);
        return -1 - tool_finish(TOOL_OK);
    }
    if (flag->value == NULL && value != NULL)
        return -1 - tool_usage("%s: this option takes no value", text);
    int used = 1;
    if (flag->value != NULL && value == NULL) {
        if (at + 1 >= argc)
            return -1 - tool_usage("%s: %s is missing", text, flag->value);
        value = argv[at + 1];
        used = 2;
    }
    if (!flag->set(options, value))
        return -1 - tool_usage("%.*s %s: not a good %s (%s)", (int)strcspn(text, "="), text, value, flag->value, flag->meaning);
    return used;
}

static int check_operands(const struct tool_command *command, const struct tool_options *options)
{
    if (options->operand_count < command->least)
        return tool_usage("%s: too few arguments; usage: telex %s %s", command->name, command->name, synopsis_of(command));
    if (options->operand_count > command->most)
        return tool_usage("%s: one argument too many; usage: telex %s %s", options->operands[command->most],
                          command->name, command->synopsis);
    return -1;
}

int tool_parse(const struct tool_command *command, int argc, char **argv, struct tool_options *ret_options)
{
    struct tool_options options = {.size = UINT64_MAX, .operands = argv};
    int count = 0, at = 1;
    while (at < argc) {
        if (strcmp(argv[at], "--") == 0)
            break;
        if (argv[at][0] != '-' || argv[at][1] == '\0') {
            argv[count++] = argv[at++]; /* never ahead of what is still to be read: argv[0] is free */
            continue;
        }
        int used = apply(command, argc, argv, at, &options);
        if (used < 0)
            return -1 - used;
        at += used;
    }
    if (at < argc && (command->takes & TOOL_TAKES_COMMAND)) {
        options.command = argv + at + 1;
    } else {
        for (at++; at < argc; at++)
            argv[count++] = argv[at];
    }
    argv[count] = NULL;
    options.operand_count = count;
    *ret_options = options;
    return check_operands(command, &options);
}
