/* proxy/handoff.c - see handoff.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "handoff.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define MAGIC 0x57745067u        /* gPtW */
#define NAME "takeover"
#define KNOCK_S 10

/* As it is sent. Both ends are on one machine. */
struct packet {
	uint32_t magic;
	uint16_t version, kind;
	uint32_t pid, inherited;
	uint64_t taken;
	uint32_t key_pid, key_secret, n;
	uint8_t role[HANDOFF_FDS];
	char text[sizeof(((struct handoff *)0)->text)];
	uint32_t spare[8];
};

#define HEAD offsetof(struct packet, pid)

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int) * HANDOFF_FDS)];
};

void handoff_begin(struct handoff *m, enum handoff_kind kind)
{
	unsigned i;

	memset(m, 0, sizeof(*m));
	m->version = HANDOFF_VERSION;
	m->kind = (uint16_t)kind;
	m->pid = (uint32_t)getpid();
	for (i = 0; i < HANDOFF_FDS; i++)
		m->fd[i] = -1;
}

void handoff_add(struct handoff *m, enum handoff_role role, int fd)
{
	if (fd < 0 || m->n == HANDOFF_FDS)
		return;
	m->role[m->n] = (uint8_t)role;
	m->fd[m->n++] = fd;
}

void handoff_drop(struct handoff *m)
{
	unsigned i;

	for (i = 0; i < m->n && i < HANDOFF_FDS; i++) {
		if (m->fd[i] >= 0)
			close(m->fd[i]);
		m->fd[i] = -1;
	}
}

int handoff_send(int sock, const struct handoff *m)
{
	struct packet p = {
		.magic = MAGIC,
		.version = m->version,
		.kind = m->kind,
		.pid = m->pid,
		.inherited = m->inherited,
		.taken = m->taken,
		.key_pid = m->key_pid,
		.key_secret = m->key_secret,
		.n = m->n,
	};
	union control c = { .room = { 0 } };
	struct iovec iov = { &p, sizeof(p) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	memcpy(p.role, m->role, sizeof(p.role));
	memcpy(p.text, m->text, sizeof(p.text));
	if (m->n) {
		h.msg_control = c.room;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * m->n);
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(sizeof(int) * m->n);
		memcpy(CMSG_DATA(&c.head), m->fd, sizeof(int) * m->n);
	}
	do
		sent = sendmsg(sock, &h, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)sizeof(p) ? 0 : -1;
}

static void take_fds(struct msghdr *h, struct handoff *m)
{
	struct cmsghdr *c;
	int fd;

	for (c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->n < HANDOFF_FDS)
				m->fd[m->n++] = fd;
			else
				close(fd);
		}
	}
}

static int bad(struct handoff *m)
{
	handoff_drop(m);
	errno = EPROTO;
	return -1;
}

int handoff_recv(int sock, struct handoff *m)
{
	struct packet p = { 0 };
	union control c;
	struct iovec iov = { &p, sizeof(p) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.room,
			    .msg_controllen = sizeof(c.room) };
	bool reset = false;
	ssize_t got;

	handoff_begin(m, 0);
	for (;;) {
		got = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
		if (got >= 0 || (errno != EINTR && (errno != ECONNRESET || reset)))
			break;
		/* told once, in front of what has come, when the other end closed with a
		 * message of ours unread */
		reset = errno == ECONNRESET;
	}
	if (got <= 0)
		return got < 0 ? -1 : 0;
	take_fds(&h, m);
	if ((size_t)got < HEAD || p.magic != MAGIC)
		return bad(m);
	m->version = p.version;
	m->kind = p.kind;
	if (p.version != HANDOFF_VERSION)
		return 1; /* the rest may be anything */
	if ((size_t)got != sizeof(p) || h.msg_flags & MSG_TRUNC)
		return bad(m);
	/* a cancel goes without its asker where there is no descriptor left for him */
	if (p.kind != HANDOFF_CANCEL && (p.n != m->n || h.msg_flags & MSG_CTRUNC))
		return bad(m);
	m->pid = p.pid;
	m->inherited = p.inherited;
	m->taken = p.taken;
	m->key_pid = p.key_pid;
	m->key_secret = p.key_secret;
	memcpy(m->role, p.role, sizeof(m->role));
	memcpy(m->text, p.text, sizeof(m->text));
	m->text[sizeof(m->text) - 1] = 0;
	return 1;
}

int handoff_wait(int sock, struct handoff *m, int wait_ms)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int rc;

	handoff_begin(m, 0);
	do
		rc = poll(&p, 1, wait_ms);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		errno = ETIMEDOUT;
	return rc <= 0 ? -1 : handoff_recv(sock, m);
}

static int door_name(const char *dir, struct sockaddr_un *un, socklen_t *len, struct err *e)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/" NAME, dir);
	if (n < 0 || (size_t)n >= sizeof(un->sun_path))
		return err_set(e, "takeover_dir: %.64s... is too long for a unix socket", dir);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
	return 0;
}

/* Who can put something there could take all clients over. */
static int check_dir(const char *dir, uid_t user, uid_t *owner, struct err *e)
{
	struct stat st;

	if (stat(dir, &st))
		return err_set(e, "takeover_dir %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, "takeover_dir %s is no directory", dir);
	*owner = st.st_uid;
	if (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != user && user != HANDOFF_ANYBODY)
		return err_set(e, "takeover_dir %s belongs to user number %u; it must be that of pgweir "
				  "or root", dir, (unsigned)st.st_uid);
	if (st.st_mode & 022)
		return err_set(e, "takeover_dir %s may be written by others (mode %03o): whoever puts a "
				  "socket there could take all clients; chmod 700", dir,
			       (unsigned)st.st_mode & 0777u);
	return 0;
}

int handoff_door(struct sockfile *f, const char *dir, struct err *e)
{
	struct sockaddr_un un;
	socklen_t len;
	uid_t owner;
	int fd;

	*f = (struct sockfile){ .type = SOCK_SEQPACKET, .lock = -1, .setting = "takeover_dir" };
	if (check_dir(dir, geteuid(), &owner, e) || door_name(dir, &un, &len, e) ||
	    sockfile_take(f, &un, len, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&un, len) == 0 &&
	    sockfile_dress(f, 0600, NULL, e) == 0 && listen(fd, 16) == 0)
		return fd;
	err_set(e, "takeover_dir: cannot listen on %s: %s", un.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	sockfile_drop(f);
	return -1;
}

void handoff_adopt(struct sockfile *f, const char *dir, int lock_fd)
{
	struct sockaddr_un un;
	socklen_t len;

	*f = (struct sockfile){ .type = SOCK_SEQPACKET, .lock = -1, .setting = "takeover_dir" };
	if (door_name(dir, &un, &len, NULL) == 0)
		sockfile_adopt(f, un.sun_path, lock_fd);
}

static bool may(int fd, uid_t user, pid_t *pid)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
		return false;
	*pid = c.pid;
	return c.uid == geteuid() || c.uid == 0 || c.uid == user;
}

int handoff_let_in(int door, pid_t *pid)
{
	int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 || may(fd, geteuid(), pid))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

int handoff_knock(const char *dir, uid_t user, bool *nobody, struct err *e)
{
	struct timeval limit = { KNOCK_S, 0 };
	struct sockaddr_un un;
	socklen_t len;
	uid_t owner;
	pid_t pid;
	int fd;

	*nobody = false;
	if (check_dir(dir, user, &owner, e) || door_name(dir, &un, &len, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, "takeover_dir: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* its backlog may be full */
	if (connect(fd, (struct sockaddr *)&un, len)) {
		*nobody = errno == ENOENT || errno == ECONNREFUSED;
		err_set(e, "takeover_dir: cannot reach the running pgweir at %s: %s", un.sun_path,
			strerror(errno));
		close(fd);
		return -1;
	}
	if (may(fd, user == HANDOFF_ANYBODY ? owner : user, &pid))
		return fd;
	close(fd);
	return err_set(e, "takeover_dir: who answers at %s is another user's process", un.sun_path);
}
