/* proxy/handoff.h - the messages by which one pgweir takes over from another on the same
 * machine, and the unix socket in takeover_dir where they are exchanged.
 *
 * The new process knocks and says HELLO; the old one answers OFFER, with its listening
 * sockets, or NO. The new one starts with them, all but accepting, and says READY; the old
 * one stops accepting and says GO. Now the new one accepts. When that has gone well for a
 * while it says STEADY; the old one tells the service manager who is the main process now,
 * says OVER, and lets its clients finish. Until STEADY the old one goes on as before when
 * the connection ends, and NO ends it from its side. From GO on, as long as the old one
 * lives, the new one sends it CANCEL for keys it does not know itself, with the connection
 * that asks.
 *
 * Magic, version and kind stay where they are in all versions: a stranger's version is
 * answered with NO.
 *
 * Threads: any; each socket one's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HANDOFF_H
#define PGWEIR_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/err.h"
#include "io/sockfile.h"

#define HANDOFF_VERSION 1
#define HANDOFF_FDS 40               /* those of a listener, and four */

enum handoff_kind {
	HANDOFF_HELLO = 1,
	HANDOFF_OFFER,
	HANDOFF_NO,
	HANDOFF_READY,
	HANDOFF_GO,
	HANDOFF_STEADY,
	HANDOFF_OVER,
	HANDOFF_CANCEL,
	HANDOFF_UPGRADE                /* instead of HELLO: start the next process (upgrade.h) */
};

/* What a descriptor is. */
enum handoff_role {
	ROLE_LISTEN = 1,               /* clients come in here */
	ROLE_UNIX,                     /* so too, and it has a file with a lock */
	ROLE_UNIX_LOCK,                /* of that; follows it */
	ROLE_DOOR,                     /* the socket in takeover_dir */
	ROLE_DOOR_LOCK,
	ROLE_ASKER                     /* of a CANCEL: closed when that is done */
};

struct handoff {
	uint16_t version, kind;
	uint32_t pid;                  /* of the sender */
	uint32_t inherited;            /* OFFER: the sockets are the service manager's */
	uint64_t taken;                /* READY: the new process has these of the OFFER, a bit each */
	uint32_t key_pid, key_secret;  /* CANCEL */
	uint32_t n;                    /* descriptors */
	uint8_t role[HANDOFF_FDS];
	char text[200];                /* NO: why */
	int fd[HANDOFF_FDS];           /* -1: gone */
};

void handoff_begin(struct handoff *m, enum handoff_kind kind);
/* A descriptor goes along, and stays the caller's. Beyond HANDOFF_FDS none does. */
void handoff_add(struct handoff *m, enum handoff_role role, int fd);
/* 0, or -1 with errno: EAGAIN on a non-blocking socket whose buffer is full. */
MUST_CHECK int handoff_send(int sock, const struct handoff *m);
/* 1: *m is filled in, its descriptors are owned; 0: the other end has closed; -1: errno,
 * EPROTO for what is no such message. A CANCEL may have lost its descriptor: this process
 * has too many. */
MUST_CHECK int handoff_recv(int sock, struct handoff *m);
/* The same within wait_ms; -1 with ETIMEDOUT. */
MUST_CHECK int handoff_wait(int sock, struct handoff *m, int wait_ms);
/* Closes what is left. */
void handoff_drop(struct handoff *m);

/* Opens the door in dir, which must be the user's own and closed to others; f gets its name
 * and its lock. The descriptor, or -1. */
MUST_CHECK int handoff_door(struct sockfile *f, const char *dir, struct err *e);
/* A connection from the door. *pid: who it is. -1: none, or none that may. */
MUST_CHECK int handoff_let_in(int door, pid_t *pid);
/* Connects to the door in dir: the socket, or -1; *nobody: because there is nobody, which is
 * no error. user: who the old process may be, beside ourselves and root; HANDOFF_ANYBODY: whose
 * the directory is, for who takes nothing from him. */
#define HANDOFF_ANYBODY ((uid_t)-1)
MUST_CHECK int handoff_knock(const char *dir, uid_t user, bool *nobody, struct err *e);
/* Takes an offered door over, with its name. */
void handoff_adopt(struct sockfile *f, const char *dir, int lock_fd);

#endif
