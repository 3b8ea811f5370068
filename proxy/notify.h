/* proxy/notify.h - what the service manager gives us and wants to hear from us:
 * sd_notify(3), the watchdog, and sockets it has opened (sd_listen_fds(3)),
 * without its library.
 *
 * Owner:   struct notify is the daemon's.
 * Threads: the control thread's; notify_watchdog_us and listen_fds read (and
 *          change) the environment, so at start only, before there are threads.
 *
 * Sources: systemd's manual pages sd_notify(3) (NOTIFY_SOCKET: a datagram
 * socket, absolute path or abstract with a leading @; one datagram of
 * NAME=value lines), sd_watchdog_enabled(3) (WATCHDOG_USEC, WATCHDOG_PID) and
 * sd_listen_fds(3) (LISTEN_PID, LISTEN_FDS, descriptors from 3 on).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_PROXY_NOTIFY_H
#define PGWEIR_PROXY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conf/err.h"

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_len;
};

/* path: the value of NOTIFY_SOCKET; NULL or empty when there is no service
 * manager, which is no error: notify_send then does nothing. -1 with errno and
 * n unused (fd -1) when the path is none (EINVAL, ENAMETOOLONG; vsock is not
 * supported: EAFNOSUPPORT) or no socket can be had. */
MUST_CHECK int notify_open(struct notify *n, const char *path);
void notify_close(struct notify *n);

/* Sends one datagram, e.g. "READY=1\nSTATUS=accepting connections". Never
 * blocks: -1 with errno when it could not be delivered (EAGAIN: the manager is
 * busy), 0 when it was or when nobody listens. A STATUS= value must hold no
 * newline of its own. */
int notify_send(struct notify *n, const char *state);

/* RELOADING=1 with the time that Type=notify-reload demands: mono_us is
 * CLOCK_MONOTONIC in microseconds. Follow it with READY=1 when done, also when
 * the reload failed. */
int notify_reloading(struct notify *n, uint64_t mono_us);

/* The watchdog's limit in microseconds: send WATCHDOG=1 at less than half of
 * it. 0 when there is none, when it is another process's, or when the variables
 * make no sense. */
uint64_t notify_watchdog_us(void);

/* Sockets that the service manager opened for us: *n of them, descriptors
 * *first, *first + 1 and so on, made close-on-exec; *n = 0 when none or when
 * they are another process's. Removes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES
 * from the environment in any case. -1 when the variables make no sense, or a
 * descriptor is not open or not a listening stream socket (Accept=yes in the
 * socket unit gives such). */
MUST_CHECK int listen_fds(int *first, int *n, struct err *e);

#endif
