/* health/login.c - the probe's connection string, and the meaning of a login
 * that failed. See login.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/login.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

/* What the probe says when nobody told it who to be: its login is then most
 * likely refused, which still tells a live server from a dead one. The name
 * explains the line in the server's log. */
#define USER_DEFAULT "pgweir"

/* A path that can never be a file. /dev/null itself would make libpq print a
 * warning ("not a plain file") and an empty one means ~/.pgpass. */
#define NO_FILE "/dev/null/none"

/*
 * The connection string.
 */

struct text {
	char *p;
	size_t len, cap;
	bool full;
};

static void add_char(struct text *t, char c)
{
	if (t->len + 1 >= t->cap) {
		t->full = true;
		return;
	}
	t->p[t->len++] = c;
	t->p[t->len] = '\0';
}

/* keyword='value' with libpq's escapes. */
static void add_pair(struct text *t, const char *key, const char *value)
{
	for (; *key; key++)
		add_char(t, *key);
	add_char(t, '=');
	add_char(t, '\'');
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			add_char(t, '\\');
		add_char(t, *value);
	}
	add_char(t, '\'');
	add_char(t, ' ');
}

/* Every option that libpq would take from the environment gets libpq's own
 * built-in default, so that the environment has no say. PGSERVICE is the one
 * that cannot be outvoted from here: see probe_clean_env(). */
static void add_defaults(struct text *t)
{
	static const char *const ours[] = {"host",     "hostaddr",         "port",
					   "user",     "password",         "dbname",
					   "passfile", "application_name", "client_encoding",
					   "gssencmode", "service"};
	PQconninfoOption *opts = PQconninfoParse("", NULL);

	if (!opts) {
		t->full = true;
		return;
	}
	for (const PQconninfoOption *o = opts; o->keyword; o++) {
		bool skip = !o->envvar;

		for (size_t i = 0; !skip && i < sizeof(ours) / sizeof(ours[0]); i++)
			skip = strcmp(ours[i], o->keyword) == 0;
		if (!skip)
			add_pair(t, o->keyword, o->compiled ? o->compiled : "");
	}
	PQconninfoFree(opts);
}

/* host, hostaddr and port from the socket address, so that the probe goes
 * where the workers go and no resolver is asked. */
static const char *or_else(const char *s, const char *other)
{
	return s && *s ? s : other;
}

static void add_address(struct text *t, const struct addr *a, const struct login_ssl *ssl)
{
	char host[NI_MAXHOST + sizeof(a->sock.un.sun_path)] = "";
	char port[NI_MAXSERV] = "";

	if (a->sock.sa.sa_family == AF_UNIX) {
		char *slash;

		/* an abstract name begins with a zero, which libpq writes @ */
		snprintf(host, sizeof(host), "%s%.*s", a->sock.un.sun_path[0] ? "" : "@",
			 (int)sizeof(a->sock.un.sun_path) - 1,
			 a->sock.un.sun_path + (a->sock.un.sun_path[0] ? 0 : 1));
		slash = strrchr(host, '/');
		if (slash && slash > host)
			*slash = '\0';
		else if (slash)
			slash[1] = '\0';
		snprintf(port, sizeof(port), "%d", a->port);
		add_pair(t, "host", host);
		add_pair(t, "hostaddr", "");
		add_pair(t, "port", port);
		return;
	}
	if (getnameinfo(&a->sock.sa, a->sock_len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		t->full = true;
	/* host too, or PGHOST would be it; its certificate is for the name */
	add_pair(t, "host", or_else(ssl ? ssl->host : NULL, or_else(a->host, host)));
	add_pair(t, "hostaddr", host);
	add_pair(t, "port", port);
}

/* Behind the defaults: the last one of a name holds. Without a file of its own libpq would
 * look for one in the home directory. */
static void add_ssl(struct text *t, const struct login_ssl *k)
{
	add_pair(t, "sslmode", k ? or_else(k->mode, "disable") : "disable");
	add_pair(t, "sslrootcert", k ? or_else(k->rootcert, NO_FILE) : NO_FILE);
	add_pair(t, "sslcert", k ? or_else(k->cert, NO_FILE) : NO_FILE);
	add_pair(t, "sslkey", k ? or_else(k->key, NO_FILE) : NO_FILE);
	add_pair(t, "sslcrl", k ? or_else(k->crl, NO_FILE) : NO_FILE);
	if (!k)
		return;
	add_pair(t, "channel_binding", or_else(k->binding, "prefer"));
	add_pair(t, "sslsni", k->sni ? "1" : "0");
	add_pair(t, "ssl_min_protocol_version", or_else(k->min, "TLSv1.2"));
	if (k->max && *k->max)
		add_pair(t, "ssl_max_protocol_version", k->max);
}

static size_t ssl_len(const struct login_ssl *k)
{
	const char *const all[] = { k->mode, k->host, k->rootcert, k->cert, k->key, k->crl, k->min, k->max };
	size_t n = 0, i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		n += all[i] ? strlen(all[i]) : 0;
	return n;
}

char *login_info(const struct addr *a, const char *user, const char *password, const char *dbname,
		 const struct login_ssl *ssl, size_t *cap)
{
	struct text t = {0};

	user = or_else(user, USER_DEFAULT);
	password = or_else(password, "");
	dbname = or_else(dbname, LOGIN_DBNAME);
	/* at once big enough, so that no realloc leaves the password behind */
	t.cap = 8192 + 2 * (strlen(user) + strlen(password) + strlen(dbname) +
			    (a->host ? strlen(a->host) : 0) + (ssl ? ssl_len(ssl) : 0));
	t.p = calloc(1, t.cap);
	if (!t.p)
		return NULL;
	*cap = t.cap;
	add_address(&t, a, ssl);
	add_pair(&t, "user", user);
	add_pair(&t, "password", password);
	add_pair(&t, "dbname", dbname);
	add_pair(&t, "passfile", NO_FILE);
	add_pair(&t, "application_name", "pgweir-health");
	add_pair(&t, "client_encoding", "");
	add_pair(&t, "gssencmode", "disable");
	add_defaults(&t);
	add_ssl(&t, ssl);
	if (t.full) {
		explicit_bzero(t.p, t.cap);
		free(t.p);
		return NULL;
	}
	return t.p;
}

/*
 * What a failure means.
 */

static bool is_code_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

/* Finds the code in "... FATAL:  28P01: text", as PQERRORS_VERBOSE has it. The
 * severity may be in the server's language; the shape behind it is not. */
static bool find_sqlstate(const char *text, char out[6])
{
	for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  ")) {
		size_t n = 0;

		while (n < 5 && is_code_char(at[3 + n]))
			n++;
		if (n == 5 && at[8] == ':') {
			memcpy(out, at + 3, 5);
			out[5] = '\0';
			return true;
		}
	}
	return false;
}

/* An ErrorResponse is a sign of life, unless it says that life is ending. */
void login_judge_sqlstate(struct finding *f)
{
	f->verdict = V_ALIVE;
	f->why = "error_response";
	if (strcmp(f->sqlstate, "57P01") == 0 && strstr(f->text, "server is ")) {
		/* CockroachDB's words; PostgreSQL's are of one session */
		f->verdict = V_DRAIN;
		f->why = "draining";
	} else if (strcmp(f->sqlstate, "57P01") == 0 || strcmp(f->sqlstate, "57P02") == 0) {
		f->verdict = V_BAD;
		f->why = "going_down";
	} else if (strcmp(f->sqlstate, "57P03") == 0) {
		/* starting, stopping or recovering: it says itself that it
		 * takes no logins */
		f->verdict = V_HARD;
		f->why = "takes_no_logins";
	}
}

/* errnos of connect() that libpq passes on in words. */
static bool judge_errno(struct finding *f, const char *text)
{
	static const struct {
		int err;
		enum verdict verdict;
		const char *why;
	} rows[] = {
		{ECONNREFUSED, V_HARD, "refused"},    {EHOSTUNREACH, V_HARD, "unreachable"},
		{ENETUNREACH, V_HARD, "unreachable"}, {EHOSTDOWN, V_HARD, "unreachable"},
		{ENETDOWN, V_HARD, "unreachable"},    {ENOENT, V_HARD, "no_socket"},
		{ETIMEDOUT, V_BAD, "timeout"},        {ECONNRESET, V_BAD, "reset"},
		{EAGAIN, V_BAD, "backlog_full"},      {EACCES, V_BAD, "not_permitted"},
		{EPERM, V_BAD, "not_permitted"},      {EMFILE, V_LOCAL, "no_descriptor"},
		{ENFILE, V_LOCAL, "no_descriptor"},   {ENOBUFS, V_LOCAL, "no_memory"},
		{ENOMEM, V_LOCAL, "no_memory"},       {EADDRNOTAVAIL, V_LOCAL, "no_local_port"},
	};
	char buf[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strstr(text, strerror_r(rows[i].err, buf, sizeof(buf)))) {
			f->verdict = rows[i].verdict;
			f->why = rows[i].why;
			return true;
		}
	}
	return false;
}

/* The first line is what a person wants; the second names a C file of the
 * server. */
void login_keep_text(struct finding *f, const char *text)
{
	snprintf(f->text, sizeof(f->text), "%.*s", (int)strcspn(text, "\n"), text);
}

void login_judge(const struct login_fail *fail, struct finding *f)
{
	login_keep_text(f, fail->text);
	if (find_sqlstate(fail->text, f->sqlstate)) {
		login_judge_sqlstate(f);
	} else if (fail->answered) {
		/* It asks for a password we have not, or for a method libpq has
		 * not: our trouble, its life. */
		f->verdict = V_ALIVE;
		f->why = "cannot_authenticate";
	} else if (fail->connecting && judge_errno(f, fail->text)) {
		return;
	} else if (fail->at_once) {
		f->verdict = V_LOCAL;
		f->why = "cannot_start";
	} else {
		f->verdict = V_BAD;
		f->why = "connection_lost";
	}
}
