/* SPDX-License-Identifier: MIT */
/* telex list: the living listeners of this user. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"

struct row {
    char *address, *process, since[40];
};

struct rows {
    struct row *at;
    size_t count;
    int width[2]; /* of ADDRESS and PROCESS */
};

/* A program may call itself anything; a terminal should not obey it. */
static void make_harmless(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
}

static void widen(int *width, const char *text)
{
    int length = (int)strlen(text);
    if (length > *width)
        *width = length;
}

static int add(const telex_listing *listing, void *user)
{
    struct rows *rows = user;
    struct row *grown = reallocarray(rows->at, rows->count + 1, sizeof *grown);
    if (grown == NULL)
        return 1;
    rows->at = grown;
    struct row *row = &grown[rows->count];
    *row = (struct row){.address = strdup(listing->address)};
    if (row->address == NULL || asprintf(&row->process, "%lld %s", (long long)listing->pid, listing->program) < 0) {
        free(row->address);
        return 1;
    }
    make_harmless(row->address);
    make_harmless(row->process);
    time_t since = (time_t)listing->since;
    struct tm local;
    if (localtime_r(&since, &local) == NULL ||
        strftime(row->since, sizeof row->since, "%Y-%m-%dT%H:%M:%S%z", &local) == 0)
        strcpy(row->since, "-");
    widen(&rows->width[0], row->address);
    widen(&rows->width[1], row->process);
    rows->count++;
    return 0;
}

static int run(const struct tool_options *options)
{
    struct rows rows = {.width = {(int)strlen("ADDRESS"), (int)strlen("PROCESS")}};
    int r = telex_list(add, &rows);
    int status = TOOL_OK;
    if (r < 0) {
        status = tool_fail(r, NULL);
    } else if (r > 0) {
        tool_say("out of memory");
        status = TOOL_FAILURE;
    } else if (!options->quiet) {
        printf("%-*s  %-*s  %s\n", rows.width[0], "ADDRESS", rows.width[1], "PROCESS", "SINCE");
    }
    for (size_t i = 0; i < rows.count; i++) {
        if (status == TOOL_OK)
            printf("%-*s  %-*s  %s\n", rows.width[0], rows.at[i].address, rows.width[1], rows.at[i].process,
                   rows.at[i].since);
        free(rows.at[i].address);
        free(rows.at[i].process);
    }
    free(rows.at);
    return status;
}

const struct tool_command tool_list = {
    .name = "list",
    .synopsis = "[--quiet]",
    .summary = "living listeners of this user: address, process, since when",
    .help =
        "Lists the living listeners of this user on this host that other processes can dial: their address, the process that\n"
        "listens (pid and program) and since when. What dead processes left is removed. With --quiet, without the head line.\n"
        "\n"
        "examples:\n"
        "  telex list\n"
        "  telex list --quiet | awk '/words/ {print $1}'",
    .run = run,
    .operands = TOOL_OPERANDS_NONE,
};
