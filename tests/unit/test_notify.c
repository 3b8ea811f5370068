/* tests/unit/test_notify.c - proxy/notify against real datagram sockets, and
 * inherited descriptors in a child of our own.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notify.h"

/* ---- sd_notify ---- */

/* The manager's end: a datagram socket at path ('@' for abstract). */
static int manager(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(un.sun_path, path, len);
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	return fd;
}

static void expect(int fd, const char *want)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, want);
}

static void talk(const char *path, int fd)
{
	struct notify n;

	assert_int_equal(notify_open(&n, path), 0);
	assert_true(n.fd >= 0);
	assert_true(fcntl(n.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(notify_send(&n, "READY=1\nSTATUS=accepting connections"), 0);
	assert_int_equal(notify_send(&n, "WATCHDOG=1"), 0);
	assert_int_equal(notify_reloading(&n, UINT64_MAX), 0);
	expect(fd, "READY=1\nSTATUS=accepting connections");
	expect(fd, "WATCHDOG=1");
	expect(fd, "RELOADING=1\nMONOTONIC_USEC=18446744073709551615");
	notify_close(&n);
	assert_int_equal(n.fd, -1);
	notify_close(&n);
}

static void by_path_and_by_name(void **unused)
{
	char dir[] = "/tmp/pgweir_notify_XXXXXX", path[128], name[128];
	struct notify n;
	int fd;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	fd = manager(path);
	talk(path, fd);
	/* a manager that comes back under its name is heard of again */
	assert_int_equal(notify_open(&n, path), 0);
	close(fd);
	unlink(path);
	assert_int_equal(notify_send(&n, "LOST=1"), -1);
	assert_int_equal(errno, ENOENT);
	fd = manager(path);
	assert_int_equal(notify_send(&n, "BACK=1"), 0);
	expect(fd, "BACK=1");
	notify_close(&n);
	close(fd);
	unlink(path);
	rmdir(dir);

	snprintf(name, sizeof(name), "@pgweir-notify-%d", (int)getpid());
	fd = manager(name);
	talk(name, fd);
	close(fd);
}

/* The longest path that fits, and one more. */
static void lengths(void **unused)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
	struct notify n;

	(void)unused;
	memset(path, 'x', sizeof(path));
	path[0] = '@';
	path[sizeof(path) - 2] = '\0';
	assert_int_equal(notify_open(&n, path), 0);
	notify_close(&n);
	path[sizeof(path) - 2] = 'x';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(notify_open(&n, path), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(n.fd, -1);
}

static void nobody_listens(void **unused)
{
	static const struct {
		const char *path;
		int err;
	} bad[] = {{"relative", EINVAL}, {"@", EINVAL}, {"/", EINVAL}, {"vsock:2:1", EAFNOSUPPORT}};
	struct notify n;

	(void)unused;
	assert_int_equal(notify_open(&n, NULL), 0);
	assert_int_equal(n.fd, -1);
	assert_int_equal(notify_send(&n, "READY=1"), 0);
	assert_int_equal(notify_reloading(&n, 1), 0);
	assert_int_equal(notify_open(&n, ""), 0);
	assert_int_equal(n.fd, -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(notify_open(&n, bad[i].path), -1);
		assert_int_equal(errno, bad[i].err);
		assert_int_equal(n.fd, -1);
		assert_int_equal(notify_send(&n, "READY=1"), 0);
	}
}

/* A manager that does not read must not stop us. */
static void a_full_queue_does_not_block(void **unused)
{
	char name[64];
	struct notify n;
	int fd, sent = 0;

	(void)unused;
	snprintf(name, sizeof(name), "@pgweir-full-%d", (int)getpid());
	fd = manager(name);
	assert_int_equal(notify_open(&n, name), 0);
	alarm(20);
	while (sent < 1000000 && notify_send(&n, "WATCHDOG=1") == 0)
		sent++;
	alarm(0);
	assert_int_equal(errno, EAGAIN);
	assert_true(sent > 0);
	notify_close(&n);
	close(fd);
}

static void watchdog(void **unused)
{
	static const struct {
		const char *usec;
		uint64_t want;
	} rows[] = {
		{"30000000", 30000000},
		{"1", 1},
		{"0", 0},
		{"18446744073709551614", UINT64_MAX - 1},
		{"18446744073709551615", 0},
		{"18446744073709551616", 0},
		{"99999999999999999999999", 0},
		{"", 0},
		{"-1", 0},
		{"+1", 0},
		{" 1", 0},
		{"1s", 0},
		{"0x10", 0},
	};
	char pid[32];

	(void)unused;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	unsetenv("WATCHDOG_USEC");
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_watchdog_us(), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		setenv("WATCHDOG_USEC", rows[i].usec, 1);
		assert_int_equal(notify_watchdog_us(), rows[i].want);
	}
	setenv("WATCHDOG_USEC", "5", 1);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(notify_watchdog_us(), 0);
	setenv("WATCHDOG_PID", "", 1);
	assert_int_equal(notify_watchdog_us(), 0);
	unsetenv("WATCHDOG_PID");
	assert_int_equal(notify_watchdog_us(), 5);
	unsetenv("WATCHDOG_USEC");
}

/* ---- LISTEN_FDS ---- */

enum kind { LISTENING, CONNECTED, DATAGRAM, PLAIN_FILE, NOTHING };

struct passed {
	const char *pid; /* NULL: unset; "": our own */
	const char *fds;
	enum kind kind[2]; /* descriptors 3 and 4 */
	int rc, n;
	const char *error; /* part of the message */
};

static void make_fd(enum kind kind, int at)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int pair[2] = {-1, -1};
	int fd = -1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	switch (kind) {
	case LISTENING:
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 1) != 0)
			_exit(90);
		break;
	case CONNECTED:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
			_exit(91);
		fd = pair[0];
		break;
	case DATAGRAM:
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		break;
	case PLAIN_FILE:
		fd = open("/dev/null", O_RDONLY);
		break;
	case NOTHING:
		close(at);
		return;
	}
	if (fd < 0)
		_exit(92);
	/* dup2 leaves the copy without close-on-exec, as a manager's are; fd may
	 * have come to stand there itself, and then has none either */
	if (fd != at && dup2(fd, at) != at)
		_exit(93);
}

/* In the child: the exit status says which look failed. */
static int child(const struct passed *p)
{
	int first = -1, n = -1, rc;
	struct err e = {""};
	char pid[32];

	close(3);
	close(4);
	for (int i = 0; i < 2; i++)
		make_fd(p->kind[i], 3 + i);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	if (p->pid)
		setenv("LISTEN_PID", p->pid[0] ? p->pid : pid, 1);
	if (p->fds)
		setenv("LISTEN_FDS", p->fds, 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);

	rc = listen_fds(&first, &n, &e);
	if (rc != p->rc)
		return 1;
	if (n != p->n || first != 3)
		return 2;
	if (p->error ? !strstr(e.text, p->error) : e.text[0] != '\0')
		return 3;
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		return 4;
	for (int fd = 3; fd < 5; fd++) {
		int flags = fcntl(fd, F_GETFD);

		/* ours are close-on-exec; the others are left alone */
		if (fd < 3 + n && (flags < 0 || !(flags & FD_CLOEXEC)))
			return 5;
		if (n == 0 && rc == 0 && flags > 0)
			return 6;
	}
	/* asked again: nothing any more */
	if (listen_fds(&first, &n, &e) != 0 || n != 0)
		return 7;
	return 0;
}

static void passed_sockets(void **unused)
{
	static const struct passed rows[] = {
		{"", "1", {LISTENING, NOTHING}, 0, 1, NULL},
		{"", "2", {LISTENING, LISTENING}, 0, 2, NULL},
		{"", "1", {LISTENING, LISTENING}, 0, 1, NULL},
		{"", "0", {LISTENING, LISTENING}, 0, 0, NULL},
		{"1", "2", {LISTENING, LISTENING}, 0, 0, NULL},
		{NULL, "2", {LISTENING, LISTENING}, 0, 0, NULL},
		{"", NULL, {LISTENING, LISTENING}, 0, 0, NULL},
		{"x", "2", {LISTENING, LISTENING}, 0, 0, NULL},
		{"", "", {LISTENING, LISTENING}, -1, 0, "not a number"},
		{"", "-1", {LISTENING, LISTENING}, -1, 0, "not a number"},
		{"", "2x", {LISTENING, LISTENING}, -1, 0, "not a number"},
		{"", "2147483647", {LISTENING, LISTENING}, -1, 0, "not a number"},
		{"", "2", {LISTENING, NOTHING}, -1, 0, "descriptor 4 is not open"},
		{"", "2", {LISTENING, PLAIN_FILE}, -1, 0, "descriptor 4 is no socket"},
		{"", "1", {CONNECTED, NOTHING}, -1, 0, "no listening stream socket"},
		{"", "1", {DATAGRAM, NOTHING}, -1, 0, "no listening stream socket"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(child(&rows[i]));
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			print_error("row %zu: status %x\n", i, (unsigned)status);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_path_and_by_name),
		cmocka_unit_test(lengths),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(a_full_queue_does_not_block),
		cmocka_unit_test(watchdog),
		cmocka_unit_test(passed_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
