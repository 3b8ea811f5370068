/* proxy/top/link.h - the connection of `pgweir top` to a console: never waits, so that keys
 * and signals are heard meanwhile (but for names that libpq looks up).
 *
 * Owner: who made it (zeroed), until link_close(). Threads: one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_LINK_H
#define PGWEIR_TOP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "top/sample.h"

enum link_state { LINK_CLOSED = 0, LINK_CONNECTING, LINK_IDLE, LINK_ASKING };

enum link_news {
	NEWS_NONE = 0,
	NEWS_CONNECTED,          /* link_ask() may be called */
	NEWS_SAMPLE,             /* ... again; link.sample is whole */
	NEWS_LOST                /* link.error says why; it is closed */
};

struct link {
	PGconn *pg;
	enum link_state state;
	PostgresPollingStatusType wants; /* LINK_CONNECTING */
	bool version_asked, needs_password, refused;
	enum top_ask ask;
	unsigned unknown;        /* questions that this daemon does not know, a bit each */
	struct top_sample sample;
	char version[64];
	char error[256];         /* one line */
};

/* Begins to connect, as PQconnectStartParams() with expand_dbname. Failing is told by the
 * next link_turn(). */
void link_open(struct link *l, const char *const *keys, const char *const *values);
void link_close(struct link *l);

/* What to wait for: -1, or a descriptor and poll()'s events. */
int link_fd(const struct link *l, short *events);
/* To be called when that has come. */
enum link_news link_turn(struct link *l, uint64_t now_us);
/* Begins a sample. LINK_IDLE only. */
void link_ask(struct link *l);

#endif
