/* proxy/console/prepared.c - see prepared.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/prepared.h"

#include <stdlib.h>
#include <string.h>

void task_leave(struct task *t)
{
	void (*stop)(struct task *t);

	if (!t)
		return;
	t->c = NULL;
	t->woken = NULL;
	stop = t->stop;
	t->stop = NULL;
	if (stop && t->state == TASK_RUNS)
		stop(t);
	task_put(t);
}

void prepared_init(struct prepared *p)
{
	list_init(&p->statements);
	list_init(&p->portals);
	p->statement_n = p->portal_n = 0;
}

struct statement *prepared_statement(const struct prepared *p, const char *name)
{
	struct link *l;

	for (l = p->statements.next; l != &p->statements; l = l->next)
		if (strcmp(LIST_ITEM(l, struct statement, link)->name, name) == 0)
			return LIST_ITEM(l, struct statement, link);
	return NULL;
}

struct portal *prepared_portal(const struct prepared *p, const char *name)
{
	struct link *l;

	for (l = p->portals.next; l != &p->portals; l = l->next)
		if (strcmp(LIST_ITEM(l, struct portal, link)->name, name) == 0)
			return LIST_ITEM(l, struct portal, link);
	return NULL;
}

struct statement *prepared_add_statement(struct prepared *p, const char *name,
					 const struct command *cmd, const struct words *words,
					 unsigned args_at)
{
	size_t n = strlen(name) + 1;
	struct statement *st = calloc(1, sizeof(*st) + n);

	if (!st)
		return NULL;
	memcpy(st->name, name, n);
	st->refs = 1;
	st->cmd = cmd;
	if (words)
		st->words = *words;
	st->args_at = args_at;
	list_push_front(&p->statements, &st->link);
	p->statement_n++;
	return st;
}

static void statement_put(struct statement *st)
{
	if (!--st->refs)
		free(st);
}

void statement_close(struct prepared *p, struct statement *st)
{
	list_del(&st->link);
	p->statement_n--;
	statement_put(st);
}

struct portal *prepared_add_portal(struct prepared *p, const char *name, struct statement *st,
			  uint64_t binary)
{
	size_t n = strlen(name) + 1;
	struct portal *o = calloc(1, sizeof(*o) + n);

	if (!o)
		return NULL;
	memcpy(o->name, name, n);
	o->st = st;
	st->refs++;
	o->binary = binary;
	list_push_front(&p->portals, &o->link);
	p->portal_n++;
	return o;
}

void portal_close(struct prepared *p, struct portal *o)
{
	list_del(&o->link);
	p->portal_n--;
	task_leave(o->task);
	statement_put(o->st);
	free(o);
}

void portals_close(struct prepared *p)
{
	while (!list_empty(&p->portals))
		portal_close(p, LIST_ITEM(p->portals.next, struct portal, link));
}

void prepared_clear(struct prepared *p)
{
	portals_close(p);
	while (!list_empty(&p->statements))
		statement_close(p, LIST_ITEM(p->statements.next, struct statement, link));
}
