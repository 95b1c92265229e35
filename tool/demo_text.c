/* SPDX-License-Identifier: MIT */
/* The text of telex demo: files read, counted by wc(1), and cut into pieces at white space. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"

#define DEFAULT_DIRECTORY "/usr/share/common-licenses"

enum {
    PIECE = 16 << 10,     /* about so long is a piece; it ends at the next white space */
    PIECE_MOST = 8 << 20, /* within the library's default limit of a message */
    TEXT_MOST = 1 << 30,
};

static int failure(const char *name, const char *why)
{
    tool_say("%s: %s", name, why);
    return TOOL_FAILURE;
}

/* ---- which files ---- */

static int add_file(struct demo_text *text, const char *name)
{
    char **files = reallocarray(text->files, text->file_count + 2, sizeof *files);
    if (files == NULL)
        return failure(name, strerror(errno));
    text->files = files;
    files[text->file_count] = strdup(name);
    files[text->file_count + 1] = NULL;
    if (files[text->file_count] == NULL)
        return failure(name, strerror(errno));
    text->file_count++;
    return TOOL_OK;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All regular files of the directory; links within it lead to files that it has under their own name. */
static int add_directory(struct demo_text *text, const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_visible, alphasort), status = TOOL_OK;
    if (count < 0)
        return failure(directory, "cannot be read; say which FILEs to count");
    for (int i = 0; i < count; i++) {
        char path[512];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        if (status == TOOL_OK && lstat(path, &about) == 0 && S_ISREG(about.st_mode))
            status = add_file(text, path);
        free(entries[i]);
    }
    free(entries);
    if (status == TOOL_OK && text->file_count == 0)
        return failure(directory, "holds no files; say which FILEs to count");
    return status;
}

/* ---- reading and cutting ---- */

static int read_file(const char *name, char **ret_bytes, size_t *ret_length, struct stat *ret_about)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) < 0) {
        int status = failure(name, errno == ENOENT ? "there is no such file, and no medium of that name (see telex demo --help)" : strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    if (!S_ISREG(about.st_mode) || about.st_size > TEXT_MOST) {
        close(fd);
        return failure(name, S_ISREG(about.st_mode) ? "longer than 1 GiB"
                                                    : "no regular file (and no medium: see telex demo --help)");
    }
    size_t length = (size_t)about.st_size, got = 0;
    char *bytes = malloc(length + 1);
    ssize_t count = 1;
    while (bytes != NULL && got <= length && count > 0) { /* one byte more than it should have: it may have grown */
        count = read(fd, bytes + got, length + 1 - got);
        got += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    if (bytes == NULL || count < 0) {
        free(bytes);
        return failure(name, strerror(errno));
    }
    *ret_bytes = bytes;
    *ret_length = got;
    *ret_about = about;
    return TOOL_OK;
}

/* Whether the file is no longer what was read: wc reads it again, and would count something else. */
static bool has_changed(const char *name, const struct stat *before, size_t read)
{
    struct stat now;
    return stat(name, &now) < 0 || now.st_size != before->st_size || (size_t)now.st_size != read ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t length_of_piece(const char *data, size_t left)
{
    size_t length = left < PIECE ? left : PIECE;
    while (length < left && !is_space(data[length]))
        length++;
    return length;
}

/* An empty file is one empty piece. */
static int cut(struct demo_text *text, const char *name, const char *bytes, size_t length)
{
    size_t at = 0;
    do {
        struct demo_piece *pieces = text->pieces;
        if ((text->piece_count & (text->piece_count - 1)) == 0) { /* full at each power of two */
            pieces = reallocarray(pieces, text->piece_count > 0 ? 2 * text->piece_count : 1, sizeof *pieces);
            if (pieces == NULL)
                return failure(name, strerror(errno));
            text->pieces = pieces;
        }
        size_t piece = length_of_piece(bytes + at, length - at);
        if (piece > PIECE_MOST)
            return failure(name, "no white space in 8 MiB: this is no text");
        pieces[text->piece_count++] = (struct demo_piece){bytes + at, piece};
        at += piece;
    } while (at < length);
    return TOOL_OK;
}

static int read_and_cut(struct demo_text *text)
{
    text->bytes = calloc(text->file_count, sizeof *text->bytes);
    text->about = calloc(text->file_count, sizeof *text->about);
    text->read = calloc(text->file_count, sizeof *text->read);
    if (text->bytes == NULL || text->about == NULL || text->read == NULL)
        return failure("the text", strerror(errno));
    for (size_t i = 0; i < text->file_count; i++) {
        size_t length;
        int status = read_file(text->files[i], &text->bytes[i], &length, &text->about[i]);
        if (status != TOOL_OK)
            return status;
        text->read[i] = length;
        text->length += length;
        if (text->length > TEXT_MOST)
            return failure(text->files[i], "with this file it is more than 1 GiB of text");
        status = cut(text, text->files[i], text->bytes[i], length);
        if (status != TOOL_OK)
            return status;
    }
    return TOOL_OK;
}

/* ---- what wc says ---- */

/* Starts `wc -w` on the files (NULL: on descriptor `in`); *ret_out is what it prints. */
static int start_wc(char **files, size_t count, int in, int *ret_out, pid_t *ret_pid)
{
    int out[2];
    char **arguments = calloc(count + 4, sizeof *arguments);
    if (arguments == NULL || pipe2(out, O_CLOEXEC) < 0) {
        free(arguments);
        return errno;
    }
    arguments[0] = (char *)"wc";
    arguments[1] = (char *)"-w";
    arguments[2] = (char *)"--";
    if (count > 0)
        memcpy(arguments + 3, files, count * sizeof *files);
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        error = posix_spawnp(ret_pid, "wc", &actions, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(out[1]);
    if (error != 0)
        close(out[0]);
    *ret_out = out[0];
    free(arguments);
    return error;
}

/* The number at the beginning of the last line: the only one, or the total. */
static int ask_wc(char **files, size_t count, int in, uint64_t *ret_words)
{
    pid_t pid;
    int out = -1, exit_status = 0, error = start_wc(files, count, in, &out, &pid);
    if (error != 0)
        return failure("wc", strerror(error));
    FILE *lines = fdopen(out, "r");
    char line[8192];
    bool good = false;
    while (lines != NULL && fgets(line, sizeof line, lines) != NULL)
        good = sscanf(line, "%" SCNu64, ret_words) == 1;
    if (lines != NULL)
        fclose(lines);
    else
        close(out);
    while (waitpid(pid, &exit_status, 0) < 0 && errno == EINTR)
        continue;
    return good && exit_status == 0 ? TOOL_OK : failure("wc -w", "failed; it has to tell how many words there are");
}

/* Whether this wc counts a word made of nothing printable. */
static int ask_rule(bool *ret_any_byte)
{
    int probe[2];
    if (pipe2(probe, O_CLOEXEC) < 0)
        return failure("wc", strerror(errno));
    ssize_t written = write(probe[1], "\303\251\n", 3);
    close(probe[1]);
    uint64_t words = 0;
    int status = written == 3 ? ask_wc(NULL, 0, probe[0], &words) : failure("wc", strerror(errno));
    close(probe[0]);
    *ret_any_byte = words > 0;
    return status;
}

int demo_text_init(struct demo_text *text, char **files, size_t count)
{
    *text = (struct demo_text){0};
    int status = TOOL_OK;
    if (count == 0)
        status = add_directory(text, DEFAULT_DIRECTORY);
    for (size_t i = 0; i < count && status == TOOL_OK; i++)
        status = add_file(text, files[i]);
    if (status == TOOL_OK)
        status = read_and_cut(text);
    setenv("LC_ALL", "C", 1);
    if (status == TOOL_OK)
        status = ask_rule(&text->any_byte);
    if (status == TOOL_OK)
        status = ask_wc(text->files, text->file_count, STDIN_FILENO, &text->words);
    for (size_t i = 0; i < text->file_count && status == TOOL_OK; i++)
        if (has_changed(text->files[i], &text->about[i], text->read[i]))
            status = failure(text->files[i], "it changes while it is counted, or is no ordinary file; count a copy of it");
    if (status != TOOL_OK)
        demo_text_deinit(text);
    return status;
}

void demo_text_deinit(struct demo_text *text)
{
    for (size_t i = 0; i < text->file_count; i++) {
        free(text->files[i]);
        if (text->bytes != NULL)
            free(text->bytes[i]);
    }
    free(text->files);
    free(text->bytes);
    free(text->about);
    free(text->read);
    free(text->pieces);
    *text = (struct demo_text){0};
}
