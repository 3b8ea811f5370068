/* proxy/console/prepared.h - statements and portals of one client of the console.
 *
 * Owner:   struct console (admin.c). Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_PREPARED_H
#define PGWEIR_CONSOLE_PREPARED_H

#include "console/task.h"

/* Named and unnamed ones at one time. */
#define STATEMENTS_MAX 128u
#define PORTALS_MAX 32u

struct statement {
	struct link link;
	unsigned refs;
	const struct command *cmd;   /* NULL: an empty query */
	unsigned args_at;
	struct words words;
	char name[];
};

struct portal {
	struct link link;
	struct statement *st;        /* one reference */
	uint64_t binary;             /* formats, as rows.h has them */
	struct task *task;           /* suspended, or under way; one reference */
	bool over;                   /* it has given all it has */
	char name[];
};

struct prepared {
	struct link statements, portals;
	unsigned statement_n, portal_n;
};

void prepared_init(struct prepared *p);
void prepared_clear(struct prepared *p);

/* NULL: there is no such one. */
struct statement *prepared_statement(const struct prepared *p, const char *name);
struct portal *prepared_portal(const struct prepared *p, const char *name);
/* NULL: out of memory. The name must be free; words NULL: an empty query. */
struct statement *prepared_add_statement(struct prepared *p, const char *name,
					 const struct command *cmd, const struct words *words,
					 unsigned args_at);
struct portal *prepared_add_portal(struct prepared *p, const char *name, struct statement *st,
			  uint64_t binary);
void statement_close(struct prepared *p, struct statement *st);
/* Its task, if it has not ended, is told that nobody waits for it any more. */
void portal_close(struct prepared *p, struct portal *o);
void portals_close(struct prepared *p);

/* Nobody waits for t any more; gives the reference back. NULL is fine. */
void task_leave(struct task *t);

#endif
