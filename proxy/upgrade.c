/* proxy/upgrade.c - see upgrade.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handoff.h"

/* Longer than the process that runs waits for the next one. */
#define PATIENCE_MS 120000
/* For a next process whose end is not seen: longer than a take-over may last from its knock
 * on (successor.c), less than that. */
#define KNOCK_S 100

int upgrade_ask(const char *dir, pid_t *pid, struct err *e)
{
	struct handoff m;
	bool nobody;
	int rc, link = handoff_knock(dir, HANDOFF_ANYBODY, &nobody, e);

	if (link < 0)
		return -1;
	handoff_begin(&m, HANDOFF_UPGRADE);
	/* it may have said no and gone before it was asked */
	rc = handoff_send(link, &m) && errno != EPIPE ? -1 : handoff_wait(link, &m, PATIENCE_MS);
	close(link);
	handoff_drop(&m);
	if (rc <= 0)
		return err_set(e, "the running pgweir does not answer: %s",
			       rc == 0 ? "it has ended the connection" : strerror(errno));
	if (m.version != HANDOFF_VERSION)
		return err_set(e, "the running pgweir speaks version %u of the take-over, and this one "
				  "version %d: only a restart replaces it", m.version, HANDOFF_VERSION);
	if (m.kind != HANDOFF_OVER)
		return err_set(e, "the running pgweir goes on: %s", m.text);
	*pid = (pid_t)m.pid;
	return 0;
}

void upgrade_init(struct upgrade *u, struct worker *w)
{
	*u = (struct upgrade){ .w = w, .asker = -1, .pidfd = -1 };
}

static void forget(struct upgrade *u)
{
	if (u->pidfd < 0)
		return;
	event_del(&u->ev);
	close(u->pidfd);
	u->pidfd = -1;
}

static void unwatch(struct upgrade *u)
{
	if (event_initialized(&u->asker_ev))
		event_del(&u->asker_ev);
	if (event_initialized(&u->timer))
		event_del(&u->timer);
}

void upgrade_end(struct upgrade *u, pid_t pid, const char *why)
{
	struct handoff m;

	if (u->asker < 0)
		return;
	unwatch(u);
	handoff_begin(&m, why ? HANDOFF_NO : HANDOFF_OVER);
	m.pid = (uint32_t)pid;
	(void)snprintf(m.text, sizeof(m.text), "%s", why ? why : "");
	if (handoff_send(u->asker, &m))
		LOG(&u->w->log_ctx, LOG_LEVEL_WARN, "upgrade_unheard", "reason=\"%s\"", strerror(errno));
	close(u->asker);
	u->asker = -1;
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd;
	(void)what;
	worker_clock(u->w);
	forget(u);
	if (u->asker < 0)
		return;
	LOG(&u->w->log_ctx, LOG_LEVEL_ERROR, "upgrade_failed", "pid=%d", (int)u->pid);
	upgrade_end(u, 0, "the new process has ended before it took over; its log says why");
}

/* He says nothing more. */
static void on_asker(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	struct handoff m;
	int rc = handoff_recv(fd, &m);

	(void)what;
	worker_clock(u->w);
	handoff_drop(&m);
	if (rc > 0 || (rc < 0 && errno == EAGAIN))
		return;
	LOG(&u->w->log_ctx, LOG_LEVEL_WARN, "upgrade_unheard", "reason=\"who asked has gone\"");
	unwatch(u);
	close(u->asker);
	u->asker = -1;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd;
	(void)what;
	worker_clock(u->w);
	LOG(&u->w->log_ctx, LOG_LEVEL_ERROR, "upgrade_failed", "pid=%d", (int)u->pid);
	upgrade_end(u, 0, "the new process has not asked for the sockets; its log says why");
}

static void watch(struct upgrade *u)
{
	struct timeval tv = { KNOCK_S, 0 };

	event_assign(&u->asker_ev, u->w->base, u->asker, EV_READ | EV_PERSIST, on_asker, u);
	evtimer_assign(&u->timer, u->w->base, on_late, u);
	event_add(&u->asker_ev, NULL);
	if (u->pidfd < 0)
		event_add(&u->timer, &tv);
}

/* The environment without what names this process. */
static char **environment(void)
{
	size_t n = 0, k = 0, i;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	for (i = 0; env && i < n; i++)
		if (strncmp(environ[i], "WATCHDOG_PID=", 13) != 0)
			env[k++] = environ[i];
	return env;
}

static char **arguments(char *const *argv, char *reboot)
{
	size_t n = 0;
	char **out;

	while (argv[n])
		n++;
	out = calloc(n + 2, sizeof(*out));
	if (!out)
		return NULL;
	out[0] = argv[0];
	out[1] = reboot;
	if (n > 1 && strcmp(argv[1], reboot) == 0)
		n--, argv++; /* we were started so ourselves */
	memcpy(out + 2, argv + 1, (n - 1) * sizeof(*out));
	return out;
}

/* In the child of a process with threads: nothing but system calls. */
static void run(int fd, char *const *args, char *const *env)
{
	sigset_t none;
	pid_t pid = fork();
	int rc;

	if (pid != 0) {
		rc = pid < 0 ? -errno : (int)pid;
		_exit(write(fd, &rc, sizeof(rc)) == (ssize_t)sizeof(rc) ? 0 : 1);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(args[0], args, env);
	rc = -errno;
	_exit(write(fd, &rc, sizeof(rc)) == (ssize_t)sizeof(rc) ? 127 : 126);
}

/* *pid: of a grandchild, which init, or the service manager, gets for its own: a manager
 * takes a main process for a stranger's that is not, and does not wait for its end. errno. */
static int spawn(pid_t *pid, char *const *argv)
{
	char reboot[] = "-R", **args = arguments(argv, reboot), **env = environment();
	int p[2], rc = 0, failure = 0;
	pid_t child;

	if (!args || !env || pipe2(p, O_CLOEXEC)) {
		free(args);
		free(env);
		return ENOMEM;
	}
	child = fork();
	if (child == 0)
		run(p[1], args, env);
	failure = child < 0 ? errno : 0;
	close(p[1]);
	/* what comes second is why it could not be executed */
	if (child > 0 && (read(p[0], &rc, sizeof(rc)) != (ssize_t)sizeof(rc) || rc < 0))
		failure = rc < 0 ? -rc : ECHILD;
	*pid = rc;
	if (child > 0 && !failure && read(p[0], &rc, sizeof(rc)) == (ssize_t)sizeof(rc))
		failure = -rc;
	close(p[0]);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
	free(args);
	free(env);
	return failure;
}

void upgrade_begin(struct upgrade *u, int asker, char *const *argv, bool forks)
{
	char why[160];
	int rc;

	if (u->asker >= 0 || u->pidfd >= 0) {
		struct upgrade other = { .w = u->w, .asker = asker, .pidfd = -1 };

		upgrade_end(&other, 0, "another upgrade is under way");
		return;
	}
	u->asker = asker;
	rc = spawn(&u->pid, argv);
	if (rc) {
		(void)snprintf(why, sizeof(why), "cannot start %.80s: %s", argv[0], strerror(rc));
		upgrade_end(u, 0, why);
		return;
	}
	LOG(&u->w->log_ctx, LOG_LEVEL_INFO, "upgrade", "pid=%d", (int)u->pid);
	u->pidfd = forks ? -1 : (int)syscall(SYS_pidfd_open, u->pid, 0);
	watch(u);
	if (u->pidfd < 0)
		return; /* only the time tells, should it fail before it knocks */
	event_assign(&u->ev, u->w->base, u->pidfd, EV_READ | EV_PERSIST, on_ended, u);
	event_add(&u->ev, NULL);
}

void upgrade_close(struct upgrade *u)
{
	upgrade_end(u, 0, "the running pgweir has ended");
	if (u->w)
		forget(u);
}
