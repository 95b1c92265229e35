/* SPDX-License-Identifier: MIT */
/* Text as an address: what is accepted is terminated, within its limits, and can be written and read again. */
#include <errno.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "medium/address.h"
#include "wire/wire.h"

static void check_text(const char *text, size_t size)
{
    require(memchr(text, 0, size) != NULL);
}

static void check_settings(const struct telex_settings *settings)
{
    require(settings->wire != NULL && telex_wire_named(settings->wire->name) == settings->wire);
    require(settings->max >= 1 && settings->max <= UINT32_MAX);
    require(settings->fixed == UINT64_MAX || (settings->fixed >= 1 && settings->fixed <= settings->max));
    require(settings->buffer >= 1 && settings->buffer <= UINT64_C(1) << 40);
    require(settings->window >= TELEX_WINDOW_LEAST && settings->window <= UINT64_C(1) << 40);
    require(settings->queue <= UINT32_MAX);
    require(settings->greeting >= 1 && settings->greeting <= INT64_MAX / 2);
    require(settings->wait >= TELEX_WAIT_ADAPTIVE && settings->wait <= TELEX_WAIT_BLOCK);
    require(settings->full >= TELEX_FULL_WAIT && settings->full <= TELEX_FULL_DROP_OLDEST);
    require(settings->mode <= 0777 && settings->descriptors <= 64 && settings->pending >= 1);
    check_text(settings->program, sizeof settings->program);
    check_text(settings->fault, sizeof settings->fault);
    require(telex_utf8_valid(settings->program, strlen(settings->program)));
}

static void check_host_port(const char *where)
{
    char host[64];
    memset(host, 'x', sizeof host);
    uint16_t port;
    int r = telex_address_host_port(where, host, sizeof host, &port);
    require(r == 0 || r == -EINVAL);
    if (r != 0)
        return;
    check_text(host, sizeof host);
    require(strlen(host) < strlen(where) && strstr(where, host) != NULL);
}

static void check_descriptors(const char *where)
{
    int in = -9, out = -9;
    int r = telex_address_descriptors(where, &in, &out);
    require(r == 0 || (r == -EINVAL && in == -9 && out == -9));
    require(r < 0 || (in >= -1 && out >= -1 && (in >= 0 || out >= 0)));
}

static void check_written(const struct telex_address *address)
{
    char text[4 * TELEX_ADDRESS_MAX], small[24];
    struct telex_address again;
    require(telex_address_parse(telex_address_write(address->scheme, address->where, text, sizeof text), NULL, &again) == 0);
    require(strcmp(again.scheme, address->scheme) == 0 && strcmp(again.where, address->where) == 0);
    for (size_t size = 1; size <= sizeof small; size++)
        check_text(telex_address_write(address->scheme, address->where, small, size), size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1);
    require(text != NULL);
    if (length > 0)
        memcpy(text, bytes, length);
    text[length] = '\0';
    struct telex_address address;
    memset(&address, 'x', sizeof address);
    int r = telex_address_parse(text, NULL, &address);
    free(text);
    require(r == 0 || r == -EINVAL);
    if (r != 0) {
        require(address.scheme[0] == 'x' && address.where[TELEX_ADDRESS_MAX - 1] == 'x');
        return 0;
    }
    check_text(address.scheme, sizeof address.scheme);
    check_text(address.where, sizeof address.where);
    require(address.scheme[0] != '\0');
    require(address.faulty || address.settings.fault[0] == '\0');
    check_settings(&address.settings);
    check_host_port(address.where);
    check_descriptors(address.where);
    if (strncmp(address.scheme, "fault+", 6) != 0) /* fault+fault+..., which no medium is called */
        check_written(&address);
    return 0;
}
