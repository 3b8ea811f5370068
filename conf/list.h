/* conf/list.h - intrusive doubly linked lists.
 *
 * Owner: whoever embeds. A link that is on no list points to itself, so that
 * list_del() is always right and list_on() can be asked.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_LIST_H
#define PGWEIR_CONF_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

#define LIST_ITEM(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

static inline void list_init(struct link *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct link *head)
{
	return head->next == head;
}

static inline bool list_on(const struct link *l)
{
	return l->next != l;
}

static inline void list_insert(struct link *l, struct link *prev, struct link *next)
{
	l->next = next;
	l->prev = prev;
	prev->next = l;
	next->prev = l;
}

static inline void list_push_back(struct link *head, struct link *l)
{
	list_insert(l, head->prev, head);
}

static inline void list_push_front(struct link *head, struct link *l)
{
	list_insert(l, head, head->next);
}

static inline void list_del(struct link *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	list_init(l);
}

/* The first link taken off, NULL when empty. */
static inline struct link *list_pop(struct link *head)
{
	struct link *l = head->next;

	if (l == head)
		return NULL;
	list_del(l);
	return l;
}

/* Safe against deletion of the current link. */
#define LIST_EACH(l, tmp, head)                                                \
	for ((l) = (head)->next, (tmp) = (l)->next; (l) != (head); (l) = (tmp), (tmp) = (l)->next)

#endif
