/* SPDX-License-Identifier: MIT */
/* A list whose nodes stand in the things themselves; both ends and any removal in constant time. The head is a node, too. */
#ifndef TELEX_BASE_LIST_H
#define TELEX_BASE_LIST_H

#include <stddef.h>

struct telex_node {
    struct telex_node *next, *last; /* of the head: the first and the last one of the list */
};

/* The thing of `type` whose member `member` is the node at `pointer`. */
#define TELEX_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void telex_list_init(struct telex_node *head)
{
    head->next = head->last = head;
}

/* The first node, NULL where there is none. */
static inline struct telex_node *telex_list_first(const struct telex_node *head)
{
    return head->next == head ? NULL : head->next;
}

static inline void telex_list_append(struct telex_node *head, struct telex_node *node)
{
    node->next = head;
    node->last = head->last;
    head->last->next = node;
    head->last = node;
}

static inline void telex_list_remove(struct telex_node *node)
{
    node->next->last = node->last;
    node->last->next = node->next;
}

#endif
