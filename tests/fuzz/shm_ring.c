/* SPDX-License-Identifier: MIT */
/*
 * Bytes as what a peer of shared memory wrote: its progress words, its ring from the first record on, its arena. A channel reads them to the end, over a
 * mapping of real memory made by hand. The first byte chooses how: trusting or not, which limits, and how often the program takes something.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "hostile/attacker.h"
#include "telex/telex.h"

enum { SECOND = 1000000000 };

static char path[64];
static telex_listener *listeners[4];

static const char *const options[4] = {"trust=no&wait=block&max=100000", "trust=yes&wait=block&max=100000&descriptors=4", "trust=no&wait=block&size=24",
                                       "trust=yes&wait=block&window=128KiB&queue=8"};

static void remove_paths(void)
{
    for (int i = 0; i < 4; i++) {
        path[strlen(path) - 1] = (char)('0' + i);
        telex_listener_close(listeners[i]);
        unlink(path);
    }
}

static void begin(void)
{
    snprintf(path, sizeof path, "/tmp/telex-fuzz-%d-0", (int)getpid());
    for (int i = 0; i < 4; i++) {
        char address[200];
        path[strlen(path) - 1] = (char)('0' + i);
        snprintf(address, sizeof address, "shm://%s?ring=16KiB&arena=64KiB&%s", path, options[i]);
        int r = telex_listen(address, NULL, &listeners[i]);
        if (r < 0)
            fprintf(stderr, "%s: %s\n", address, telex_reason(NULL));
        require(r == 0);
    }
    atexit(remove_paths);
}

static void fill(struct attacker *attacker, const uint8_t *bytes, size_t length)
{
    struct shm_progress *progress = &attacker->page->progress;
    if (length >= 5 && bytes[0] % 4 == 0) { /* often nothing is taken, so that reading is what is tried */
        atomic_store(&progress->head, bytes[1]);
        atomic_store(&progress->cost, bytes[2]);
        atomic_store(&progress->messages, bytes[3]);
        atomic_store(&progress->prefix, bytes[4]);
    }
    size_t skip = length < 8 ? length : 8;
    memset(attacker->arena, 'a', 8192);
    memcpy(attacker->arena, bytes, skip);
    bytes += skip;
    length -= skip;
    if (length > ATTACKER_RING)
        length = ATTACKER_RING;
    if (length > 0)
        memcpy(attacker->ring, bytes, length);
}

static void check_message(const telex_message *message, bool copied)
{
    require(message->length <= 16777216 && message->lane < SHM_CONTROL_LANE && message->number > 0);
    require(message->kind != TELEX_TEXT || telex_utf8_valid(message->data, message->length));
    uint8_t *copy = fuzz_copy(message->data, message->length); /* all of it can be read */
    require(!copied || message->memory != NULL);
    free(copy);
}

static void read_all(telex_channel *channel, uint8_t how, bool copied)
{
    telex_message message = {0}, request = {0};
    int r = 0;
    for (int i = 0; i < 4000 && (r == 0 || r == -EAGAIN); i++) {
        if (how & 8 && i % 3 == 0) {
            r = telex_process(channel);
            continue;
        }
        if (how & 16 && i % 5 == 0) {
            request = telex_text("well?");
            telex_message reply = {0};
            int called = telex_call(channel, &request, &reply, TELEX_NOW);
            require(called <= 0);
            telex_release(&reply);
        }
        r = telex_receive(channel, &message, TELEX_NOW);
        if (r == -EAGAIN && i > 400)
            break;
        if (r != 0)
            continue;
        check_message(&message, copied);
        if (message.flags & TELEX_IS_CALL) {
            telex_message answer = telex_text("so");
            telex_reply(channel, &message, &answer, 0, TELEX_NOW);
        }
        if (how & 32)
            telex_release(&message);
    }
    require(r == 0 || r == -EAGAIN || r == -EPROTO || r == -EPIPE || r == -ECONNRESET);
    require(r == 0 || r == -EAGAIN || telex_reason(channel)[0] != '\0');
    telex_release(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 1)
        return 0;
    if (listeners[0] == NULL)
        begin();
    uint8_t how = bytes[0];
    unsigned which = how % 4;
    struct attacker attacker;
    telex_channel *channel;
    attacker_init(&attacker, true, NULL);
    fill(&attacker, bytes + 1, length - 1);
    path[strlen(path) - 1] = (char)('0' + which);
    attacker_greet(&attacker, attacker_connect(path), NULL);
    require(telex_accept(listeners[which], telex_after(10 * (int64_t)SECOND), &channel) == 0);
    read_all(channel, how, which % 2 == 0);
    telex_close(channel, TELEX_NOW, NULL);
    attacker_deinit(&attacker);
    return 0;
}
