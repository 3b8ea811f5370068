/* proxy/birth.c - see birth.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "birth.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include "http/web.h"
#include "session/hall.h"
#include "session/quota.h"

void birth_limits(const struct conf_global *g, const struct log_ctx *log)
{
	struct rlimit rl;
	rlim_t need = (rlim_t)g->max_client_conn + quota_strangers_max(g) + ARRIVALS_MAX +
		      CONSOLES_MAX + (g->http_addr ? WEB_FILES : 0) + 64;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < need)
		LOG(log, LOG_LEVEL_WARN, "few_descriptors",
		    "limit=%llu needed=%llu hint=\"raise LimitNOFILE or lower max_client_conn and max_client_logins\"",
		    (unsigned long long)rl.rlim_cur, (unsigned long long)need);
}

uid_t birth_uid(const char *user)
{
	const struct passwd *pw = user && *user ? getpwnam(user) : NULL;

	return pw ? pw->pw_uid : geteuid();
}

int birth_become(const char *user, struct err *e)
{
	struct passwd *pw;

	if (!user || !*user)
		return 0;
	pw = getpwnam(user);
	if (!pw)
		return err_set(e, "user: there is no user \"%s\" on this machine", user);
	if (geteuid() == pw->pw_uid)
		return 0;
	if (initgroups(user, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return err_set(e, "user: cannot become \"%s\": %s", user, strerror(errno));
	return 0;
}

unsigned birth_workers(const struct conf_global *g)
{
	cpu_set_t set;

	if (g->workers)
		return (unsigned)g->workers;
	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

/* What another process has written there stays until nothing can fail any more. */
int birth_open_pidfile(const char *path, int *fd, struct err *e)
{
	if (!path || !*path)
		return 0;
	*fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	return *fd < 0 ? err_set(e, "pidfile %s: %s", path, strerror(errno)) : 0;
}

int birth_write_pidfile(const char *path, int fd, struct err *e)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (fd < 0)
		return 0;
	/* in this order: nobody finds it empty who reads it meanwhile */
	return pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) ?
		       err_set(e, "pidfile %s: %s", path, strerror(errno)) :
		       0;
}

void birth_drop_pidfile(const char *path)
{
	FILE *f = path && *path ? fopen(path, "re") : NULL;
	int pid = 0;

	if (!f)
		return;
	/* another process may have begun meanwhile */
	if (fscanf(f, "%9d", &pid) == 1 && pid == (int)getpid())
		(void)unlink(path);
	fclose(f);
}

int birth_open_log(const char *path, int *fd, struct err *e)
{
	/* a number of its own, under which another file can be put at a reload */
	*fd = path && *path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640) :
			      fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return *fd < 0 ? err_set(e, "logfile %s: %s", path ? path : "", strerror(errno)) : 0;
}

void birth_use_log(int fd, int as)
{
	if (fd < 0)
		return;
	if (as >= 0)
		(void)dup3(fd, as, O_CLOEXEC);
	close(fd);
}

/* Goes on in a child. The parent stays until the child has started, and ends
 * with its success. */
int birth_background(const struct conf_global *g, int *started_fd, struct err *e)
{
	int p[2];
	char c;
	pid_t pid;

	if (!g->pidfile || !g->logfile)
		return err_set(e, "--daemon needs the settings pidfile and logfile");
	if (pipe2(p, O_CLOEXEC) || (pid = fork()) < 0)
		return err_set(e, "cannot go into the background: %s", strerror(errno));
	if (pid > 0) {
		close(p[1]);
		_exit(read(p[0], &c, 1) == 1 ? 0 : 1);
	}
	close(p[0]);
	(void)setsid();
	*started_fd = p[1];
	return 0;
}

/* Started: lets the parent go, and the terminal. */
void birth_background_done(int started_fd)
{
	int null = open("/dev/null", O_RDWR);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (write(started_fd, "", 1) < 0)
		return;
	close(started_fd);
}
