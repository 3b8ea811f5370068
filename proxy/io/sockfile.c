/* proxy/io/sockfile.c - see sockfile.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two daemons must not fight for one name, and what one has left that was killed must
 * not keep the next from starting. As with PostgreSQL a lock file stands beside the
 * socket and begins with the process id, so that a PostgreSQL that wants the same name
 * sees that somebody has it. Among ourselves flock() decides and not that number: the
 * kernel lets go of it with the process, whatever its end, and it means the same in
 * containers that share the directory, each with processes 1, 2, 3. A lock file that
 * does not say it is ours counts as long as its process lives. And who answers on the
 * socket is never pushed away, whatever became of its lock file. */

#define LOCK_MARK "pgweir"

static int in_use(const struct sockfile *f, const char *by, long pid, struct err *e)
{
	char who[40] = "";

	if (pid > 0)
		(void)snprintf(who, sizeof(who), ", process %ld", pid);
	return err_set(e, "%s: %s is in use by %s%s; stop that, or choose another %s%s",
		       f->setting, f->path, by, who, f->with_port ? "listen_port or " : "",
		       f->setting);
}

static int sign(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n" LOCK_MARK "\n", (int)getpid());

	return ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n ? -1 : 0;
}

/* 1: fd is the lock file, and locked; 0: it was taken away meanwhile, look again. */
static int lock(const struct sockfile *f, int fd, struct err *e)
{
	struct stat a, b;
	char text[128];
	ssize_t n;
	long pid;

	if (fstat(fd, &a) || !S_ISREG(a.st_mode) || a.st_nlink > 1) /* a link to something else? */
		return err_set(e, "%s: %s is not a lock file; remove it", f->setting, f->lock_path);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	pid = strtol(text, NULL, 10);
	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ?
			       in_use(f, "another pgweir", pid, e) :
			       err_set(e, "%s: cannot lock %s: %s", f->setting, f->lock_path,
				       strerror(errno));
	if (lstat(f->lock_path, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	if (pid > 0 && pid != getpid() && !strstr(text, "\n" LOCK_MARK "\n") &&
	    (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		return in_use(f, "another program", pid, e);
	if (sign(fd))
		return err_set(e, "%s: cannot write %s: %s", f->setting, f->lock_path,
			       strerror(errno));
	return 1;
}

static int take_lock(struct sockfile *f, struct err *e)
{
	int tries, fd, got;

	for (tries = 0; tries < 100; tries++) {
		/* Never one that is a link, and none is cut that was not looked at. */
		fd = open(f->lock_path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			fd = open(f->lock_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_set(e, "%s: cannot open the lock file %s: %s",
				       f->setting, f->lock_path, strerror(errno));
		got = lock(f, fd, e);
		if (got > 0) {
			f->lock = fd;
			return 0;
		}
		close(fd);
		if (got < 0)
			return -1;
	}
	return err_set(e, "%s: the lock file %s does not stay", f->setting, f->lock_path);
}

/* Makes room for ours: an old socket that nobody listens on goes. */
static int clear_path(const struct sockfile *f, const struct sockaddr_un *un, socklen_t len,
		      struct err *e)
{
	struct stat st;
	int fd, error;

	if (lstat(f->path, &st))
		return errno == ENOENT ? 0 :
					 err_set(e, "%s: %s: %s", f->setting, f->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "%s: %s is there and is no socket", f->setting, f->path);
	fd = socket(AF_UNIX, f->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, "%s: %s", f->setting, strerror(errno));
	error = connect(fd, (const struct sockaddr *)un, len) ? errno : 0;
	close(fd);
	if (error == 0 || error == EAGAIN)
		return in_use(f, "another program", 0, e);
	if (error != ECONNREFUSED && error != ENOENT)
		return err_set(e, "%s: who has %s cannot be found out: %s", f->setting, f->path,
			       strerror(error));
	if (unlink(f->path) && errno != ENOENT)
		return err_set(e, "%s: cannot remove the old %s: %s", f->setting, f->path,
			       strerror(errno));
	return 0;
}

static int find_group(const char *group, gid_t *out, struct err *e)
{
	const struct group *gr = getgrnam(group);
	char *end;
	unsigned long gid = strtoul(group, &end, 10);

	if (!gr && (*end || end == group || gid >= UINT32_MAX))
		return err_set(e, "unix_socket_group: there is no group \"%.64s\" on this machine",
			       group);
	*out = gr ? gr->gr_gid : (gid_t)gid;
	return 0;
}

int sockfile_lay_out(struct sockfile *f, unsigned mode, const char *group, struct err *e)
{
	f->mode = (mode_t)mode;
	f->gid = (gid_t)-1;
	if (group && *group && find_group(group, &f->gid, e))
		return -1;
	f->laid_out = true;
	return 0;
}

int sockfile_put_on(struct sockfile *f, struct err *e)
{
	if (!f->laid_out)
		return 0;
	f->laid_out = false;
	if (f->gid != (gid_t)-1 && lchown(f->path, (uid_t)-1, f->gid))
		return err_set(e, "unix_socket_group: cannot give %s to group %u: %s", f->path,
			       (unsigned)f->gid, strerror(errno));
	if (chmod(f->path, f->mode))
		return err_set(e, "unix_socket_mode: %s: %s", f->path, strerror(errno));
	return 0;
}

int sockfile_dress(struct sockfile *f, unsigned mode, const char *group, struct err *e)
{
	struct stat st;

	if (lstat(f->path, &st))
		return err_set(e, "%s: %s: %s", f->setting, f->path, strerror(errno));
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return sockfile_lay_out(f, mode, group, e) || sockfile_put_on(f, e) ? -1 : 0;
}

void sockfile_drop(struct sockfile *f)
{
	struct stat a, b;

	f->laid_out = false;
	if (f->lent) {
		f->ino = 0;
		if (f->lock >= 0)
			close(f->lock);
		f->lock = -1;
		return;
	}
	if (f->ino && lstat(f->path, &a) == 0 && a.st_dev == f->dev && a.st_ino == f->ino)
		(void)unlink(f->path);
	f->ino = 0;
	if (f->lock < 0)
		return;
	if (fstat(f->lock, &a) == 0 && lstat(f->lock_path, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		(void)unlink(f->lock_path);
	close(f->lock); /* behind all else: the next one may begin */
	f->lock = -1;
}

static void name_it(struct sockfile *f, const char *path)
{
	(void)snprintf(f->path, sizeof(f->path), "%s", path);
	(void)snprintf(f->lock_path, sizeof(f->lock_path), "%s.lock", path);
}

int sockfile_take(struct sockfile *f, const struct sockaddr_un *un, socklen_t len, struct err *e)
{
	name_it(f, un->sun_path);
	if (take_lock(f, e) == 0 && clear_path(f, un, len, e) == 0)
		return 0;
	sockfile_drop(f);
	return -1;
}

void sockfile_adopt(struct sockfile *f, const char *path, int lock_fd)
{
	struct stat st;

	name_it(f, path);
	f->lock = lock_fd;
	f->lent = true;
	if (lstat(f->path, &st))
		return;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
}

void sockfile_lend(struct sockfile *f)
{
	f->lent = true;
}

int sockfile_own(struct sockfile *f)
{
	f->lent = false;
	return f->lock >= 0 ? sign(f->lock) : 0;
}
