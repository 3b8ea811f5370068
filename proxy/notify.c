/* proxy/notify.c - the service manager's protocols. See notify.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* sd_listen_fds(3): the first descriptor that is passed. */
#define LISTEN_FDS_START 3

/* Decimal digits and nothing else: strtoull alone would take "-1", " 7" and
 * "+7" too. */
static bool parse_number(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (!s || !*s)
		return false;
	for (; *s; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (*s < '0' || *s > '9' || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return true;
}

/* True when the variable holds our own process id. */
static bool is_us(const char *pid)
{
	uint64_t v;

	return parse_number(pid, INT_MAX, &v) && v == (uint64_t)getpid();
}

int notify_open(struct notify *n, const char *path)
{
	size_t len = path ? strlen(path) : 0;

	*n = (struct notify){.fd = -1};
	if (len == 0)
		return 0;
	if (strncmp(path, "vsock", 5) == 0) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	/* a name must follow the / or the @ */
	if (len < 2 || (path[0] != '/' && path[0] != '@')) {
		errno = EINVAL;
		return -1;
	}
	if (len >= sizeof(n->to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	n->to.sun_family = AF_UNIX;
	memcpy(n->to.sun_path, path, len);
	n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	/* An abstract name is as long as the address says; a path ends with its
	 * zero. */
	if (path[0] == '@')
		n->to.sun_path[0] = '\0';
	else
		n->to_len++;
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return n->fd < 0 ? -1 : 0;
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

int notify_send(struct notify *n, const char *state)
{
	size_t len = strlen(state);
	ssize_t sent;

	if (n->fd < 0)
		return 0;
	/* Not connected on purpose: after the manager has been re-executed its
	 * socket is another one under the same name. */
	do {
		sent = sendto(n->fd, state, len, MSG_NOSIGNAL | MSG_DONTWAIT,
			      (const struct sockaddr *)&n->to, n->to_len);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

int notify_reloading(struct notify *n, uint64_t mono_us)
{
	char state[64];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, mono_us);
	return notify_send(n, state);
}

uint64_t notify_watchdog_us(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us;

	/* WATCHDOG_PID may be missing: then it is for whoever reads it. */
	if (pid && !is_us(pid))
		return 0;
	/* The library's own limit: UINT64_MAX means "never" to it. */
	if (!parse_number(getenv("WATCHDOG_USEC"), UINT64_MAX - 1, &us))
		return 0;
	return us;
}

/* One descriptor that was passed: ours alone, and fit to accept from? */
static int take_fd(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFD);
	int listening = 0;
	int type = 0;
	socklen_t len = sizeof(listening);

	if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return err_set(e, "LISTEN_FDS: descriptor %d is not open: %s", fd, strerror(errno));
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0)
		return err_set(e, "LISTEN_FDS: descriptor %d is no socket: %s", fd,
			       strerror(errno));
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
	    !listening)
		return err_set(e,
			       "LISTEN_FDS: descriptor %d is no listening stream socket; the "
			       "socket unit must have ListenStream= and no Accept=yes",
			       fd);
	return 0;
}

static int take_fds(const char *pid, const char *fds, int *n, struct err *e)
{
	uint64_t count;

	/* Without LISTEN_PID, or with a parent's, they are not for us. */
	if (!pid || !fds || !is_us(pid))
		return 0;
	if (!parse_number(fds, INT_MAX - LISTEN_FDS_START, &count))
		return err_set(e, "LISTEN_FDS: not a number of descriptors");
	for (uint64_t i = 0; i < count; i++) {
		if (take_fd(LISTEN_FDS_START + (int)i, e) != 0)
			return -1;
	}
	*n = (int)count;
	return 0;
}

int listen_fds(int *first, int *n, struct err *e)
{
	int rc;

	*first = LISTEN_FDS_START;
	*n = 0;
	rc = take_fds(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), n, e);
	/* Whoever we start must not think they are his. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return rc;
}
