/* tests/sim/visitor.h - a simulated client: a program (program.h) that runs over a
 * connection to pgweir, and an oracle (oracle.h) that reads along.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_VISITOR_H
#define PGWEIR_SIM_VISITOR_H

#include "net.h"
#include "oracle.h"
#include "program.h"

struct visitor;

/* What it asks of the world. */
struct visitor_world {
	struct sim *s;
	struct net *net;
	struct history *history;
	/* A connection to pgweir: NULL: refused (it is shutting down). */
	struct end *(*dial)(void *arg);
	/* What may happen to it now: enum oracle_may. */
	unsigned (*may)(void *arg);
	void *arg;
	unsigned slow_readers;   /* percent */
};

struct visitor_conf {
	struct program_conf program;
	struct engine_conf engine;
	bool ask_ssl;            /* begins with SSLRequest */
};

struct visitor *visitor_new(const struct visitor_world *w, const struct visitor_conf *conf);
void visitor_free(struct visitor *v);
void visitor_start(struct visitor *v);
/* Something more may happen from now on. */
void visitor_may(struct visitor *v, unsigned bits);
bool visitor_done(const struct visitor *v);
/* What it waits for, for a trace or a failure. */
const char *visitor_says(const struct visitor *v);
/* For how long it has waited for answers. */
uint64_t visitor_waits_us(const struct visitor *v);

#endif
