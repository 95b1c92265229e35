/* SPDX-License-Identifier: MIT */
/* telex demo: processes count the words of real text together, over every medium, asynchronously and synchronously. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

/* One line for each medium: what to listen at. Nothing of it stays behind, whatever ends the demo, but a name of shm and a path of pipe if it is killed. */
static const struct medium {
    const char *name;
    const char *address;
    bool numbered; /* with the process' number after it: it must be nobody else's */
} media[] = {
    {"shm", "shm://telex-demo-", true},
    {"unix", "unix://@telex-demo-", true},
    {"pipe", "pipe:///tmp/telex-demo-", true},
    {"tcp", "tcp://127.0.0.1:0", false},
};

enum { MEDIUM_COUNT = sizeof media / sizeof *media };

#define RUN_NS INT64_C(600000000) /* a run should take about so long: the text is counted again and again */

enum { PIECES_MOST = 1000000, WORKERS_MOST = 16 };

struct demo {
    const struct tool_options *options;
    struct demo_text text;
    bool selected[MEDIUM_COUNT];
    unsigned workers;
    int stop;
    unsigned deaths;
    uint64_t again;
    bool wrong;
};

const char *tool_demo_medium(size_t at)
{
    return at < MEDIUM_COUNT ? media[at].name : NULL;
}

/* ---- what is to be done ---- */

static int medium_of(const char *name)
{
    for (int i = 0; i < MEDIUM_COUNT; i++)
        if (strcmp(media[i].name, name) == 0)
            return i;
    return -1;
}

/* Operands that name a medium, first; the rest are files. */
static int choose_media(struct demo *demo)
{
    int count = 0;
    while (count < demo->options->operand_count) {
        int medium = medium_of(demo->options->operands[count]);
        if (medium < 0)
            break;
        demo->selected[medium] = true;
        count++;
    }
    for (int i = 0; i < MEDIUM_COUNT; i++)
        demo->selected[i] = demo->selected[i] || count == 0;
    return count;
}

static unsigned default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : cores > WORKERS_MOST ? WORKERS_MOST : (unsigned)cores;
}

/* ---- one row ---- */

static size_t passes_for(const struct demo *demo, const struct demo_run *trial)
{
    int64_t passes = trial->ns > 0 ? RUN_NS / trial->ns + 1 : 1;
    int64_t most = (int64_t)(PIECES_MOST / demo->text.piece_count);
    if (passes > most)
        passes = most;
    return passes > 1 ? (size_t)passes : 1;
}

static bool is_right(const struct demo *demo, const struct demo_run *run)
{
    return run->words == run->passes * demo->text.words;
}

static void print_head(const struct demo *demo)
{
    if (!demo->options->quiet)
        printf("%" PRIu64 " words (wc -w) in %zu file%s, %" PRIu64 " bytes, %zu piece%s, counted over and over\n\n",
               demo->text.words, demo->text.file_count, demo->text.file_count == 1 ? "" : "s", demo->text.length,
               demo->text.piece_count, demo->text.piece_count == 1 ? "" : "s");
    char against[32];
    snprintf(against, sizeof against, "1 worker against %u", demo->workers);
    printf("%-6s  %-12s  %9s  %10s  %17s  %20s  %s\n", "medium", "mode", "messages", "messages/s", "median round trip",
           against, "check");
    fflush(stdout);
}

static void print_row(struct demo *demo, const struct medium *medium, const struct demo_run *one,
                      const struct demo_run *all)
{
    bool right = is_right(demo, one) && is_right(demo, all);
    double seconds = (double)all->ns / 1e9;
    char median[32], against[32];
    snprintf(median, sizeof median, "%.1f us", (double)all->median_ns / 1e3);
    snprintf(against, sizeof against, "%.2f times as fast", all->ns > 0 ? (double)one->ns / (double)all->ns : 0.0);
    printf("%-6s  %-12s  %9" PRIu64 "  %10.0f  %17s  %20s  %s\n", medium->name,
           all->sync ? "synchronous" : "asynchronous", all->messages,
           seconds > 0 ? (double)all->messages / seconds : 0.0, median, against, right ? "ok" : "WRONG");
    fflush(stdout);
    demo->wrong = demo->wrong || !right;
    demo->deaths += all->deaths;
    demo->again += all->again;
}

/* A trial for how long the text takes, one worker alone, and the whole crew, of which one dies. */
static int do_row(struct demo *demo, const struct medium *medium, bool sync)
{
    char address[512], label[64];
    int length = snprintf(address, sizeof address, "%s", medium->address);
    if (medium->numbered)
        snprintf(address + length, sizeof address - (size_t)length, "%d", (int)getpid());
    snprintf(label, sizeof label, "%s, %s", medium->name, sync ? "synchronous" : "asynchronous");
    bool shows = isatty(STDERR_FILENO) && !demo->options->quiet;
    struct demo_run trial = {
        .options = demo->options,
        .text = &demo->text,
        .label = shows ? label : NULL,
        .address = address,
        .sync = sync,
        .workers = 1,
        .passes = 1,
        .stop = demo->stop,
    };
    struct demo_run one = trial, all = trial;
    int status = demo_coordinate(&trial);
    if (status != TOOL_OK)
        return status;
    one.passes = all.passes = passes_for(demo, &trial);
    all.workers = demo->workers;
    all.kill = true;
    status = demo_coordinate(&one);
    if (status == TOOL_OK)
        status = demo_coordinate(&all);
    if (status == TOOL_OK)
        print_row(demo, medium, &one, &all);
    return status;
}

static int do_rows(struct demo *demo)
{
    int status = TOOL_OK;
    print_head(demo);
    for (int i = 0; i < MEDIUM_COUNT && !tool_stopping(); i++)
        for (int sync = 0; sync < 2 && demo->selected[i] && !tool_stopping(); sync++)
            if (do_row(demo, &media[i], sync) != TOOL_OK)
                status = TOOL_FAILURE;
    if (tool_stopping())
        return TOOL_FAILURE;
    if (demo->wrong) {
        tool_say("the processes counted something else than wc -w");
        return TOOL_FAILURE;
    }
    if (status == TOOL_OK && !demo->options->quiet)
        printf("\n%u worker%s killed (SIGKILL) half way, %" PRIu64
               " piece%s in %s hands given to others: nothing lost, nothing counted twice.\n",
               demo->deaths, demo->deaths == 1 ? " was" : "s were", demo->again, demo->again == 1 ? "" : "s",
               demo->deaths == 1 ? "its" : "their");
    return status;
}

static int run(const struct tool_options *options)
{
    struct demo demo = {.options = options,
                        .workers = options->workers > 0 ? (unsigned)options->workers : default_workers()};
    int named = choose_media(&demo);
    demo.stop = tool_catch_signals();
    if (demo.stop < 0)
        return TOOL_FAILURE;
    int status = demo_text_init(&demo.text, options->operands + named, (size_t)(options->operand_count - named));
    if (status != TOOL_OK)
        return status;
    status = do_rows(&demo);
    demo_text_deinit(&demo.text);
    if (tool_stopping())
        tool_end_by_signal();
    return status;
}

const struct tool_command tool_demo = {
    .name = "demo",
    .synopsis = "[MEDIUM...] [--workers N] [FILE...]",
    .summary = "processes count words together, over every medium",
    .help =
        "Shows processes that cooperate. A coordinator hands pieces of text to worker processes, which answer with how many words\n"
        "they hold. It does so over each MEDIUM (shm, unix, pipe, tcp; all if none is named), once with asynchronous and once with\n"
        "synchronous hand-over, each time with one worker and with N (as many as cores, 2 to 16). Half way through, by the count\n"
        "of pieces, one of the N is killed with SIGKILL; another process takes its place, and the pieces that it held are given to\n"
        "others. The totals are checked against `LC_ALL=C wc -w`. The text is that of the FILEs, else of all files in\n"
        "/usr/share/common-licenses; it is counted again and again, so that a run takes about half a second.\n"
        "\n"
        "The table has, for each medium and mode: the messages of the run with N workers (pieces and answers), how many there were\n"
        "in a second, the median time from handing over a piece to its answer (asynchronous pieces wait their turn at the worker),\n"
        "how many times as fast N workers were as one, and whether the totals were right. The exit status is 1 when one was not.\n"
        "\n"
        "examples:\n"
        "  telex demo\n"
        "  telex demo unix\n"
        "  telex demo shm --workers 4 /usr/share/dict/words",
    .takes = TOOL_TAKES_WORKERS,
    .least = 0,
    .most = TOOL_UNLIMITED,
    .run = run,
    .operands = TOOL_OPERANDS_MEDIA,
};
