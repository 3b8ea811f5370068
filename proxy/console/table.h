/* proxy/console/table.h - all commands of the console, and which of them some words are.
 *
 * Pure but for SHOW HELP. Threads: any.
 *
 * A room's commands stand in an array of its own that ends with words == NULL; table.c
 * has the list of these arrays.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_TABLE_H
#define PGWEIR_CONSOLE_TABLE_H

#include "console/task.h"

/* Why words are no command. */
struct table_no {
	const char *sqlstate;
	char message[400];
	char hint[200];
};

/* The command of these words (one at least), the longest of those that fit; SELECT x is
 * SHOW x when it is nothing else, as in PgBouncer. Lower-cases a plain word that is the
 * name. *args_at: the first word that is an argument. NULL: *no says why. */
const struct command *table_find(struct words *w, unsigned *args_at, struct table_no *no);

#endif
