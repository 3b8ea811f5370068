/* tests/sim/program.h - what one simulated client does: frontend messages, one step
 * after the other, made from a stream of random numbers.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_PROGRAM_H
#define PGWEIR_SIM_PROGRAM_H

#include "engine.h"
#include "rng.h"

enum manners {
	MANNERS_PLAIN = 0,     /* waits for each answer: simple and extended protocol */
	MANNERS_PIPELINE,      /* several units, Syncs, Flushes in flight */
	MANNERS_STATEFUL,      /* settings, LISTEN, temporary tables, PREPARE, locks */
	MANNERS_HOSTILE,       /* malformed messages, wrong order, half messages, leaves
				  in the middle, cancels at random */
	MANNERS_N
};

enum move {
	MOVE_SEND = 0,         /* bytes are in the buffer given */
	MOVE_WAIT,             /* for all answers that are owed (or copy_in below) */
	MOVE_PAUSE,            /* for *us */
	MOVE_CANCEL,           /* send a CancelRequest on another connection */
	MOVE_CLOSE,            /* drop the connection without Terminate */
	MOVE_RECONNECT,        /* close, and begin a new session of the same program */
	MOVE_DONE              /* closes too */
};

struct program;

struct program_conf {
	enum manners manners;
	enum dialect dialect;
	unsigned client;       /* goes into tags and markers: c<client>.<number> */
	unsigned steps;        /* units of work, then Terminate and MOVE_DONE */
	unsigned clients;      /* how many there are, for channels and locks in common */
};

struct program *program_new(const struct program_conf *conf, struct rng r);
void program_free(struct program *p);
/* The parameters of the next startup packet: name and value pairs, ended with a zero
 * byte (user and database among them). Length. */
size_t program_startup(struct program *p, uint8_t *buf, size_t cap);
/* The next step. status: of the last ReadyForQuery; copy_in: the server waits for
 * CopyData. MOVE_SEND: *n bytes in buf (cap at least 65536). Markers in statements name
 * the client, so that a byte of another's is seen. */
enum move program_next(struct program *p, char status, bool copy_in, uint8_t *buf, size_t cap,
		       size_t *n, uint64_t *us);
/* The connection ended, or an error came (sqlstate): programs that retry do so. */
void program_lost(struct program *p);
void program_error(struct program *p, const char *sqlstate);
/* The step it is at, for a trace: static or its own text. */
const char *program_says(const struct program *p);

#endif
