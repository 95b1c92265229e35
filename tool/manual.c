/* SPDX-License-Identifier: MIT */
/*
 * telex manual: the manual pages, as mdoc(7), made at build time from the same tables as --help. `telex manual call` is telex-call(1);
 * `telex manual FILE` is FILE with the list of subcommands where it says so.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* Of the pages: when the command last changed much. */
#define DATE "November 25, 2026"

/* Where FILE wants the list of subcommands. */
static const char place[] = ".\\\" subcommands\n";

/* ---- text ---- */

/* A character that means something to the formatter at this place is made to mean itself. */
static void put_character(char character, bool first)
{
    if (first && (character == '.' || character == '\''))
        fputs("\\&", stdout); /* does no harm where no line begins */
    if (character == '\\')
        fputs("\\e", stdout);
    else if (character == '-')
        fputs("\\-", stdout);
    else
        putchar(character);
}

static void put_literal(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        put_character(text[i], i == 0);
}

/* An option in running text: dashes, and then more than dashes. */
static size_t option_at(const char *text, const char *before)
{
    size_t length = strspn(text, "-");
    bool begins = before == NULL || strchr(" (\n", *before) != NULL;
    if (!begins || length == 0 || length > 2)
        return 0;
    size_t letters = strspn(text + length, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return letters > 0 ? length + letters : 0;
}

/* mdoc(7) wants each sentence on a line of its own. */
static bool ends_sentence(const char *at, const char *end)
{
    const char *last = at[-1] == ')' ? at - 2 : at - 1;
    return end - at >= 2 && at[0] == ' ' && strchr(".?!", *last) != NULL;
}

/* A paragraph: `literals`, --options and what follows them in bold. */
static void put_paragraph(const char *text, size_t length)
{
    const char *before = NULL;
    for (const char *at = text, *end = text + length; at < end; before = at - 1) { /* `before`: a space where a sentence began */
        const char *close = *at == '`' ? memchr(at + 1, '`', (size_t)(end - at - 1)) : NULL;
        size_t option = option_at(at, before);
        if (close != NULL || option > 0) {
            const char *from = close != NULL ? at + 1 : at;
            size_t size = close != NULL ? (size_t)(close - from) : option;
            fputs("\\fB", stdout);
            for (size_t i = 0; i < size; i++) /* a line may end within */
                put_character(from[i], false);
            fputs("\\fR", stdout);
            at = from + size + (close != NULL);
        } else {
            put_character(*at, true);
            at++;
            if (ends_sentence(at, end)) {
                putchar('\n');
                at++;
            }
        }
    }
    putchar('\n');
}

/* A name of an operand: capitals. */
static size_t name_at(const char *text)
{
    size_t length = 0;
    while (isupper((unsigned char)text[length]) || (length > 0 && text[length] == '-' && isupper((unsigned char)text[length + 1])))
        length++;
    return length;
}

/* The operands of the usage line: names in italics, options in bold. */
static void put_synopsis(const char *synopsis)
{
    for (const char *at = synopsis; *at != '\0';) {
        bool begins = at == synopsis || strchr(" [(", at[-1]) != NULL;
        size_t option = begins ? strspn(at, "-") : 0, name = name_at(at);
        if (option > 0)
            option += strspn(at + option, "abcdefghijklmnopqrstuvwxyz-");
        if (option > 0 || name > 0) {
            fputs(option > 0 ? "\\fB" : "\\fI", stdout);
            put_literal(at, option > 0 ? option : name);
            fputs("\\fR", stdout);
            at += option > 0 ? option : name;
        } else {
            put_character(*at, at == synopsis);
            at++;
        }
    }
    putchar('\n');
}

/* ---- a page ---- */

static const char *examples_of(const char *help)
{
    const char *at = strstr(help, "\n\nexamples:\n");
    return at != NULL ? at + 2 : NULL;
}

static void put_description(const char *help)
{
    const char *examples = examples_of(help), *end = examples != NULL ? examples : help + strlen(help);
    for (const char *at = help; at < end;) {
        const char *next = strstr(at, "\n\n");
        fputs(at == help ? ".Sh DESCRIPTION\n" : ".Pp\n", stdout);
        put_paragraph(at, next != NULL ? (size_t)(next - at) : strlen(at));
        at = next != NULL ? next + 2 : end;
    }
}

static void put_examples(const char *help)
{
    const char *examples = examples_of(help);
    if (examples == NULL)
        return;
    puts(".Sh EXAMPLES\n.Bd -literal");
    for (const char *at = strchr(examples, '\n'); at != NULL; at = strchr(at, '\n')) {
        at++;
        at += strspn(at, " ");
        put_literal(at, strcspn(at, "\n"));
        putchar('\n');
    }
    puts(".Ed");
}

static void put_options(const struct tool_command *command)
{
    fputs(".Sh OPTIONS\n.Bl -tag -width Ds\n", stdout);
    for (const struct tool_flag *flag = tool_flags; flag->name != NULL; flag++) {
        if (!tool_has_flag(command, flag))
            continue;
        fputs(".It ", stdout);
        if (flag->letter != 0)
            printf("Fl %c , ", flag->letter);
        printf("Fl \\-%s%s%s\n", flag->name, flag->value != NULL ? " Ar " : "", flag->value != NULL ? flag->value : "");
        put_paragraph(flag->meaning, strlen(flag->meaning));
    }
    puts(".El");
}

static int print_page(const struct tool_command *command)
{
    printf(".\\\" SPDX-License-Identifier: MIT\n.\\\" Made by telex manual from tool/%s.c.\n.Dd " DATE "\n.Dt TELEX-", command->name);
    for (const char *at = command->name; *at != '\0'; at++)
        putchar(toupper((unsigned char)*at));
    printf(" 1\n.Os\n.Sh NAME\n.Nm telex-%s\n.Nd ", command->name);
    put_literal(command->summary, strlen(command->summary));
    printf("\n.Sh SYNOPSIS\n.Nm telex\n.Cm %s\n", command->name);
    put_synopsis(command->synopsis);
    put_description(command->help);
    put_options(command);
    fputs(".Sh EXIT STATUS\n0; 1 failure; 2 usage; 3 deadline passed; 4 refused by the peer or the protocol.\n.Xr telex 1\ntells more.\n", stdout);
    put_examples(command->help);
    puts(".Sh SEE ALSO\n.Xr telex 1 ,\n.Xr telex 3");
    return TOOL_OK;
}

/* ---- the overview ---- */

static void list_subcommands(void)
{
    puts(".Bl -tag -width Ds");
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++) {
        if ((*command)->synopsis == NULL)
            continue;
        printf(".It Cm %s\n", (*command)->name);
        put_synopsis((*command)->synopsis);
        puts(".br");
        put_literal((*command)->summary, strlen((*command)->summary));
        printf(":\n.Xr telex-%s 1\n", (*command)->name);
    }
    puts(".El");
}

static int print_overview(const char *path)
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        tool_say("%s: neither a subcommand nor a file: %s", path, strerror(errno));
        return TOOL_FAILURE;
    }
    while (getline(&line, &room, file) >= 0) {
        if (strcmp(line, place) != 0) {
            fputs(line, stdout);
            continue;
        }
        list_subcommands();
        found = true;
    }
    free(line);
    fclose(file);
    if (!found)
        tool_say("%s: no line that is: %.*s", path, (int)strlen(place) - 1, place);
    return found ? TOOL_OK : TOOL_FAILURE;
}

static int run(const struct tool_options *options)
{
    const char *name = options->operands[0];
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++)
        if (strcmp((*command)->name, name) == 0 && (*command)->synopsis != NULL)
            return print_page(*command);
    return print_overview(name);
}

const struct tool_command tool_manual = {
    .name = "manual",
    .synopsis = NULL,
    .summary = NULL,
    .least = 1,
    .most = 1,
    .run = run,
};
