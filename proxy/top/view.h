/* proxy/top/view.h - the page of `pgweir top`: what is known laid out on a grid of any
 * size. Pure; proxy/top/tables.c has the tables.
 *
 * Owner: who made it. Threads: one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_VIEW_H
#define PGWEIR_TOP_VIEW_H

#include <stdbool.h>

#include "top/grid.h"
#include "top/order.h"
#include "top/sample.h"

#define VIEW_HISTORY 256

struct view {
	const char *where;           /* who is looked at */
	char version[64];
	char clock[32];              /* time of day */
	char message[256];           /* what is wrong, "": nothing */
	bool paused, help, connected;
	bool batch;                  /* a page of text: everything, whatever the size, and no keys */
	int interval_ms;
	struct order order;          /* of the tables */
	int scroll;                  /* pools above the first that is shown; view_draw limits it */
	struct top_sample before, now;
	bool has_before, has_now;
	double history[VIEW_HISTORY]; /* queries a second, the newest at [history_n - 1] */
	int history_n;
};

/* The next sample; the one before is the one to compare with. -1: out of memory. Of another
 * daemon (one that has begun anew): there is nothing to compare with. */
MUST_CHECK int view_take(struct view *v, const struct top_sample *s);
/* The connection is lost: nothing is known any more. */
void view_lose(struct view *v);
void view_free(struct view *v);

/* Lines that all of it takes, w columns wide. */
int view_height(const struct view *v);
/* Draws on g, which is blank. Smaller than 20x4: as much as there is room for. */
void view_draw(struct view *v, struct grid *g);

#endif
