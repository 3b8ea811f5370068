/* proxy/top/place.c - see place.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/dialect.h"

#define SOCKET_DIR "/run/pgweir"
#define PORT "6432"

/* ---- a file ---- */

struct reading {
	struct place *p;
	bool main;               /* in [pgweir] or [pgbouncer] */
	char *addr, *dir, *admins, *stats;
};

static int section(void *arg, const struct dialect_pos *pos, const char *name, struct err *e)
{
	struct reading *r = arg;

	(void)pos;
	(void)e;
	r->main = strcasecmp(name, "pgweir") == 0 || strcasecmp(name, "pgbouncer") == 0;
	return 0;
}

static int setting(void *arg, const struct dialect_pos *pos, const char *name, const char *value,
		   struct err *e)
{
	struct reading *r = arg;
	char **to = strcasecmp(name, "listen_addr") == 0     ? &r->addr :
		    strcasecmp(name, "listen_port") == 0     ? &r->p->file_port :
		    strcasecmp(name, "unix_socket_dir") == 0 ? &r->dir :
		    strcasecmp(name, "admin_users") == 0     ? &r->admins :
		    strcasecmp(name, "stats_users") == 0     ? &r->stats :
							       NULL;

	(void)pos;
	if (!r->main || !to)
		return 0;
	free(*to);
	*to = strdup(value);
	return *to ? 0 : err_set(e, "out of memory");
}

/* The first of a list, "" if there is none. */
static void first(char *list)
{
	size_t skip = strspn(list, " \t,");

	memmove(list, list + skip, strlen(list + skip) + 1);
	list[strcspn(list, " \t,")] = 0;
}

static int read_file(struct place *p, const char *path, struct err *e)
{
	struct reading r = { .p = p };
	struct dialect_sink sink = { &r, section, setting };
	char **users = NULL;
	int bad = dialect_read_file(path, &sink, e);

	if (r.addr)
		first(r.addr);
	if (r.stats && *r.stats)
		users = &r.stats;
	else if (r.admins && *r.admins)
		users = &r.admins;
	if (!bad && users) {
		first(*users);
		p->file_user = *users;
		*users = NULL;
	}
	if (!bad && r.dir && *r.dir) {
		p->file_host = r.dir;
		r.dir = NULL;
	} else if (!bad && r.addr && *r.addr && strcmp(r.addr, "*") != 0 && strcmp(r.addr, "0.0.0.0") != 0 &&
		   strcmp(r.addr, "::") != 0) {
		p->file_host = r.addr;
		r.addr = NULL;
	} else if (!bad) {
		p->file_host = strdup("127.0.0.1");
		bad = p->file_host ? 0 : err_set(e, "out of memory");
	}
	free(r.addr);
	free(r.dir);
	free(r.admins);
	free(r.stats);
	return bad;
}

/* ---- all of it ---- */

static const char *given(const char *option, const char *env, const char *file, const char *otherwise)
{
	const char *v = getenv(env);

	return option ? option : file ? file : v && *v ? v : otherwise;
}

static void add(struct place *p, size_t *n, const char *key, const char *value)
{
	if (!value)
		return;
	p->keys[*n] = key;
	p->values[*n] = value;
	++*n;
}

int place_find(struct place *p, const char *source, struct err *e)
{
	bool string = source && conf_is_uri(source);
	const char *host, *port, *user;
	size_t n = 0;

	if (source && !string && read_file(p, source, e))
		return -1;
	add(p, &n, "application_name", "pgweir top");
	add(p, &n, "connect_timeout", "10");
	/* a string goes first, so that options have the last word */
	if (string) {
		add(p, &n, "dbname", source);
		add(p, &n, "host", p->host);
		add(p, &n, "port", p->port);
		add(p, &n, "user", p->user);
		(void)snprintf(p->shown, sizeof(p->shown), "%s%s%s", p->host ? p->host : "",
			       p->host && p->port ? ":" : "", p->port ? p->port : "");
		return 0;
	}
	port = given(p->port, "PGPORT", p->file_port, PORT);
	host = given(p->host, "PGHOST", p->file_host,
		     access(SOCKET_DIR "/.s.PGSQL." PORT, F_OK) == 0 ? SOCKET_DIR : "localhost");
	user = p->user || getenv("PGUSER") ? p->user : p->file_user;
	add(p, &n, "host", host);
	add(p, &n, "port", port);
	add(p, &n, "user", user);
	add(p, &n, "dbname", p->dbname ? p->dbname : "pgweir");
	(void)snprintf(p->shown, sizeof(p->shown), "%s:%s", host, port);
	return 0;
}

void place_password(struct place *p, char *password)
{
	size_t n = 0;

	p->password = password;
	while (p->keys[n] && strcmp(p->keys[n], "password") != 0)
		n++;
	if (n + 1 < PLACE_KEYS) {
		p->keys[n] = "password";
		p->values[n] = password;
	}
}

void place_free(struct place *p)
{
	if (p->password)
		explicit_bzero(p->password, strlen(p->password));
	free(p->password);
	free(p->file_host);
	free(p->file_port);
	free(p->file_user);
}
