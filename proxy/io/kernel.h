/* proxy/io/kernel.h - all that workers ask of the kernel: sockets, readiness, time,
 * waking each other, randomness.
 *
 * The seam of the simulation: kernel.c has system calls and libevent, tests/sim/ has
 * a second implementation, linked in its place. Everything else in this folder but
 * listen.c and uids.c, and everything in session/, pool/ and wire/, is the same in both.
 *
 * Results and errno are those of the system calls; EINTR is never seen, all sockets
 * are non-blocking.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_KERNEL_H
#define PGWEIR_IO_KERNEL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "conf/err.h"

/* ---- time and chance ---- */

uint64_t clock_mono_us(void);
int64_t clock_wall_us(void *unused);
/* For secrets. -1 when the system has no randomness. */
MUST_CHECK int random_secret(void *p, size_t n);

/* ---- loops and what they watch ---- */

/* Something that a loop calls fn for; its thread only. */
struct watch {
	struct event ev;
};
enum watch_what { WATCH_READ = EV_READ, WATCH_WRITE = EV_WRITE };

/* NULL: out of memory or descriptors. No second thread may touch it. */
struct event_base *kernel_loop_new(void);
void kernel_loop_free(struct event_base *base);
/* Waits until something is due and calls for all that is. */
void kernel_loop_once(struct event_base *base);

/* fn is called whenever fd is ready, from watch_on to watch_off; each of these once. */
void watch_init(struct watch *w, struct event_base *base, int fd, enum watch_what what,
		event_callback_fn fn, void *arg);
void watch_on(struct watch *w);
void watch_off(struct watch *w);
/* fn is called once more, soon, whether fd is ready or not; the watch is on. */
void watch_poke(struct watch *w);
/* fn is called once, in_us from now; again moves it. */
void alarm_init(struct watch *w, struct event_base *base, event_callback_fn fn, void *arg);
void alarm_on(struct watch *w, uint64_t in_us);
/* Either kind; zeroed ones too. */
void watch_drop(struct watch *w);

/* A descriptor that is readable from wake_set (any thread) to wake_clear. -1: none. */
int wake_new(void);
void wake_set(int fd);
void wake_clear(int fd);

/* ---- sockets ---- */

/* TCP settings for a new connection, 0 = the system's. */
struct kernel_tcp {
	bool keepalive;
	int keepidle, keepintvl, keepcnt, user_timeout_ms;
};

/* A socket that connects to sa, TCP_NODELAY; -1: none (errno). *error: errno of a
 * refusal that came at once, else 0: the socket becomes writable, kernel_error tells. */
int kernel_connect(const struct sockaddr *sa, socklen_t len, int *error);
int kernel_error(int fd);
/* Two sockets that are each other's peer. -1: none (errno). */
MUST_CHECK int kernel_pair(int fd[2]);
/* TCP_NODELAY and what t says; nothing on a unix socket. */
void kernel_tcp(int fd, const struct kernel_tcp *t);
/* What t says and an accepted socket does not have from the one that listens. */
void kernel_tcp_accepted(int fd, const struct kernel_tcp *t);
ssize_t kernel_recv(int fd, void *p, size_t n);
/* recv with MSG_PEEK of one byte. */
ssize_t kernel_peek(int fd);
ssize_t kernel_send(int fd, const struct iovec *iov, int n);
/* Whose process made the connection, on a unix socket. -1: it is none. *uid:
 * KERNEL_NO_UID when it cannot be told from others: 65534 stands for every user that
 * the user namespace of this process does not know. *pid: 0 when it is in a pid
 * namespace out of sight. */
#define KERNEL_NO_UID UINT32_MAX
int kernel_peer_uid(int fd, uint32_t *uid, uint32_t *pid);
/* Our own end's address. -1: there is none. */
int kernel_local(int fd, struct sockaddr_storage *sa, socklen_t *len);
/* shutdown(SHUT_WR) */
void kernel_shut(int fd);
void kernel_close(int fd);

#endif
