/* SPDX-License-Identifier: MIT */
#include "channel/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void telex_inbox_init(struct telex_inbox *inbox)
{
    *inbox = (struct telex_inbox){0};
    telex_list_init(&inbox->entries);
}

void telex_inbox_empty(struct telex_inbox *inbox)
{
    for (struct inbox_entry *entry; (entry = telex_inbox_first(inbox)) != NULL;) {
        telex_message message;
        uint64_t cost;
        telex_inbox_remove(inbox, entry, &message, &cost);
        telex_memory_release(message.memory);
    }
}

void telex_inbox_deinit(struct telex_inbox *inbox)
{
    telex_inbox_empty(inbox);
    telex_numbers_deinit(&inbox->numbers);
    while (inbox->lanes != NULL) {
        struct inbox_lane *lane = inbox->lanes;
        inbox->lanes = lane->next;
        free(lane);
    }
}

static struct inbox_lane *find_lane(const struct telex_inbox *inbox, unsigned number)
{
    struct inbox_lane *lane = inbox->lanes;
    while (lane != NULL && lane->lane != number)
        lane = lane->next;
    return lane;
}

static struct inbox_lane *make_lane(struct telex_inbox *inbox, unsigned number)
{
    struct inbox_lane *lane = find_lane(inbox, number);
    if (lane != NULL || (lane = malloc(sizeof *lane)) == NULL)
        return lane;
    lane->lane = number;
    lane->next = inbox->lanes;
    telex_list_init(&lane->entries);
    inbox->lanes = lane;
    return lane;
}

static uint64_t size_of(const struct inbox_entry *entry)
{
    return sizeof *entry + sizeof(struct telex_memory) + entry->message.length;
}

int telex_inbox_add(struct telex_inbox *inbox, struct telex_arrival *arrival)
{
    telex_message *message = &arrival->message;
    struct inbox_lane *lane = make_lane(inbox, message->lane);
    struct inbox_entry *entry = malloc(sizeof *entry);
    struct telex_memory *memory = message->memory;
    if (lane != NULL && entry != NULL && memory == NULL) {
        memory = telex_memory_fitting(message->length);
        if (memory != NULL && message->length > 0)
            memcpy(memory->bytes, message->data, message->length);
        if (memory != NULL)
            message->data = memory->bytes;
    }
    if (lane == NULL || entry == NULL || memory == NULL) {
        free(entry);
        telex_memory_release(message->memory);
        return telex_say(-ENOMEM, "no memory for a message of %zu bytes that arrived", message->length);
    }
    message->memory = memory;
    entry->message = *message;
    entry->cost = arrival->cost;
    entry->numbered.number = message->number;
    telex_numbers_add(&inbox->numbers, &entry->numbered);
    telex_list_append(&inbox->entries, &entry->all);
    telex_list_append(&lane->entries, &entry->of_lane);
    inbox->bytes += size_of(entry);
    inbox->descriptors += message->descriptor_count;
    return 0;
}

struct inbox_entry *telex_inbox_first(const struct telex_inbox *inbox)
{
    struct telex_node *first = telex_list_first(&inbox->entries);
    return first != NULL ? TELEX_OF(first, struct inbox_entry, all) : NULL;
}

struct inbox_entry *telex_inbox_find(const struct telex_inbox *inbox, uint64_t number)
{
    struct telex_numbered *found = telex_numbers_find(&inbox->numbers, number);
    return found != NULL ? TELEX_OF(found, struct inbox_entry, numbered) : NULL;
}

void telex_inbox_remove(struct telex_inbox *inbox, struct inbox_entry *entry, telex_message *ret_message, uint64_t *ret_cost)
{
    inbox->bytes -= size_of(entry);
    inbox->descriptors -= entry->message.descriptor_count;
    telex_numbers_remove(&inbox->numbers, &entry->numbered);
    telex_list_remove(&entry->all);
    telex_list_remove(&entry->of_lane);
    *ret_message = entry->message;
    *ret_cost = entry->cost;
    free(entry);
}

uint64_t telex_inbox_oldest(const struct telex_inbox *inbox, unsigned number)
{
    const struct inbox_lane *lane = find_lane(inbox, number);
    struct telex_node *first = lane != NULL ? telex_list_first(&lane->entries) : NULL;
    return first != NULL ? TELEX_OF(first, struct inbox_entry, of_lane)->message.number : 0;
}
