/* proxy/successor.h - giving all to the next process: the old one's side of a take-over
 * (handoff.h).
 *
 * Owner: struct daemon. Threads: the control loop's.
 *
 * One take-over at a time. Whatever goes wrong with it before STEADY - the next process
 * refuses its configuration, crashes, hangs, speaks another version - this one goes on as if
 * nothing had been asked.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SUCCESSOR_H
#define PGWEIR_SUCCESSOR_H

#include <event2/event_struct.h>

#include "handoff.h"
#include "io/listen.h"

struct successor_ops {
	/* Accept, or do not: successor_quiet() is called when that is so. */
	void (*accept)(void *arg, bool on);
	/* It has proved itself: its clients are its own now, ours may finish. The name of our
	 * unix socket is its too, if it wanted that. */
	void (*given)(void *arg, pid_t pid);
	/* It has not taken over: we go on. */
	void (*failed)(void *arg, const char *why);
	/* Somebody wants us to start the next process. fd: his, owned. */
	void (*upgrade)(void *arg, int fd);
	/* A cancel for a client of ours. fd is owned. */
	void (*cancel)(void *arg, int fd, uint32_t pid, uint32_t secret);
};

enum successor_state {
	SUCCESSOR_NONE = 0,
	SUCCESSOR_HELLO,               /* somebody has knocked */
	SUCCESSOR_OFFERED,
	SUCCESSOR_QUIET,               /* we stop accepting */
	SUCCESSOR_TRIAL,               /* it accepts */
	SUCCESSOR_GIVEN
};

struct successor {
	struct worker *w;              /* the control loop; NULL: nobody can take over */
	struct listener *listener;
	const struct successor_ops *ops;
	void *arg;
	enum successor_state state;
	int door, link;
	pid_t pid;                     /* its */
	struct sockfile file;          /* of the door */
	uint8_t unix_at;               /* which of the offer has our file; HANDOFF_FDS: none */
	uint64_t taken;
	struct event door_ev, link_ev, timer;
	struct event rest;             /* door_ev is out until then */
};

/* Opens the door in dir, or goes on with an adopted one (handoff_adopt'ed into s->file, its
 * descriptor in s->door). dir NULL: nobody can take over. s is zeroed but for these, door
 * and link -1. */
MUST_CHECK int successor_open(struct successor *s, const char *dir, struct worker *w,
			      struct listener *l, struct err *e);
/* From now on somebody may knock. */
void successor_start(struct successor *s, const struct successor_ops *ops, void *arg);
/* We do not accept any more, as ops->accept(false) has asked for. */
void successor_quiet(struct successor *s);
/* This process ends by itself: nobody can take over any more. What is on trial is what
 * there is; what was given stays so. */
void successor_shut(struct successor *s);
/* Takes the door out of the file system if it is ours. */
void successor_close(struct successor *s);

#endif
