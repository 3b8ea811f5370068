/* proxy/io/sockfile.h - what a listening unix socket has in the file system: its name, and
 * the lock file beside it, which says whose it is.
 *
 * Owner: who listens. Threads: the owner's. Blocks on the disk: at start and at the end.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_SOCKFILE_H
#define PGWEIR_IO_SOCKFILE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "conf/err.h"

struct sockfile {
	const char *setting;           /* that names the directory, for messages */
	bool with_port;                /* its name has listen_port in it */
	int type;                      /* SOCK_STREAM or SOCK_SEQPACKET */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
	int lock;                      /* holds the lock file, -1: there is none */
	dev_t dev;
	ino_t ino;                     /* of the socket at path, 0: not made yet */
	bool lent;                     /* another process's: stays where it is at the end */
	bool laid_out;                 /* sockfile_lay_out: these are for it */
	mode_t mode;
	gid_t gid;                     /* (gid_t)-1: as it is */
};

#define SOCKFILE_NONE { .type = SOCK_STREAM, .lock = -1 }

/* Makes the name free for bind(): f has setting, with_port and type. What a pgweir that has
 * ended left there is taken over; who lives is left alone, and that is an error. */
MUST_CHECK int sockfile_take(struct sockfile *f, const struct sockaddr_un *un, socklen_t len,
			     struct err *e);
/* Bound and not yet listening, so that nobody can connect before it has its mode (and
 * group, a name or a number; NULL: as it comes). */
MUST_CHECK int sockfile_dress(struct sockfile *f, unsigned mode, const char *group, struct err *e);
/* The socket and its lock came from another process, which has them too: both stay where
 * they are until sockfile_own. lock_fd is owned from now on, -1: there is none. */
void sockfile_adopt(struct sockfile *f, const char *path, int lock_fd);
/* What sockfile_dress would do, for an adopted one: kept until sockfile_put_on, so that
 * nothing has changed should the other process go on. */
MUST_CHECK int sockfile_lay_out(struct sockfile *f, unsigned mode, const char *group,
				struct err *e);
/* Does it, if there is something. */
MUST_CHECK int sockfile_put_on(struct sockfile *f, struct err *e);
/* Another process has got them. */
void sockfile_lend(struct sockfile *f);
/* They are ours from now on, and the lock file says so. -1: it cannot be written, which only
 * a PostgreSQL that wants the same name would miss. */
int sockfile_own(struct sockfile *f);
/* Takes both away if they are still ours, and lets go of the lock. */
void sockfile_drop(struct sockfile *f);

#endif
