/* health/probe.c - one login and one question per interval, by asynchronous
 * libpq, and before it a word by HTTP if it is wished. See probe.h.
 *
 * libpq owns the socket and may change it from one poll to the next, so the fd
 * event is assigned anew each time, fires once, and is deleted before PQfinish
 * closes the fd. The one timer is the pause while nothing runs and the limit
 * while a probe does.
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event_struct.h>
#include <libpq-fe.h>
#include <linux/filter.h>
#include <openssl/rand.h>

#include "health/gate.h"
#include "health/http.h"
#include "health/login.h"

/* Known to PostgreSQL since 9.0 and to CockroachDB. */
#define QUESTION "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')"
/* PostgreSQL 10 and later. Whoever may log in may see all of it: of the view only
 * whether it has a row, which it has while a receiver streams. */
#define QUESTION_LAG                                                                               \
	QUESTION ", CASE WHEN NOT pg_is_in_recovery() OR "                                         \
		 "(EXISTS (SELECT 1 FROM pg_stat_wal_receiver) AND "                               \
		 "pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn()) THEN 0 "                  \
		 "ELSE (extract(epoch FROM clock_timestamp() - "                                   \
		 "pg_last_xact_replay_timestamp()) * 1000000)::bigint END"
/* So many answers in a row make a standby lagging. */
#define LAG_ROW 2

enum phase { PHASE_IDLE = 0, PHASE_HTTP, PHASE_LOGIN, PHASE_QUERY };

struct probe {
	struct target *target;
	struct event_base *base;
	struct log_ctx *log;
	probe_changed_fn *changed;
	void *arg;
	struct probe_conf conf; /* strings are ours */
	struct event timer;
	struct event io;
	enum phase phase;
	struct http *http;
	PGconn *conn;
	bool answered;        /* the server has asked for an authentication */
	size_t need;          /* bytes of a message that was cut, 0: none was */
	unsigned behind;      /* answers in a row that tell of too much lag */
	struct finding found; /* what the query brought; why NULL: nothing yet */
	int64_t started_us;   /* the login, as probe_us tells of that alone */
	uint64_t random;
	/* what the log was told last */
	bool told;
	enum verdict told_verdict;
	char told_sqlstate[6];
	int told_http;        /* the last status by HTTP, 200 at first */
};

static int64_t now_us(void)
{
	struct timespec ts;

	/* The loop's cached clock would count the time before this turn, and it
	 * is wall time, which jumps. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* splitmix64: probes of many targets and of many poolers must not march in
 * step; nothing secret hangs on it. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void timer_in(struct probe *p, int64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	event_add(&p->timer, &tv);
}

/* The pause: the interval, a fifth of it while in doubt, give or take a tenth. */
static int64_t pause_us(struct probe *p)
{
	int64_t us = p->conf.interval_us;
	int64_t tenth;

	if (atomic_load_explicit(&p->target->state, memory_order_relaxed) != TARGET_UP ||
	    (p->behind && p->behind < LAG_ROW))
		us /= 5;
	tenth = us / 10;
	return us - tenth + (int64_t)(next_random(&p->random) % ((uint64_t)tenth * 2 + 1));
}

/*
 * The end of a probe.
 */

static void drop_conn(struct probe *p)
{
	if (event_initialized(&p->io))
		event_del(&p->io);
	http_free(p->http);
	p->http = NULL;
	PQfinish(p->conn);
	p->conn = NULL;
	p->phase = PHASE_IDLE;
}

/* One line per change of what a probe finds, not one per probe. */
static void tell(struct probe *p, const struct finding *f)
{
	char name[128], text[512];
	enum log_level level = f->verdict == V_GOOD ? LOG_LEVEL_INFO : LOG_LEVEL_WARN;

	if (p->told && p->told_verdict == f->verdict && strcmp(p->told_sqlstate, f->sqlstate) == 0)
		return;
	if (p->told || f->verdict != V_GOOD)
		LOG(p->log, level, "probe", "target=%s result=%s sqlstate=%s error=%s",
		    log_quote(name, sizeof(name),
			      p->target->addr.name ? p->target->addr.name : "?"),
		    f->why, f->sqlstate[0] ? f->sqlstate : "-",
		    log_quote(text, sizeof(text), f->text[0] ? f->text : "-"));
	p->told = true;
	p->told_verdict = f->verdict;
	memcpy(p->told_sqlstate, f->sqlstate, sizeof(p->told_sqlstate));
}

static bool is_lagging(struct probe *p, const struct finding *f)
{
	bool far = f->role == ROLE_STANDBY && p->conf.max_lag_us &&
		   f->lag_us > p->conf.max_lag_us;

	p->behind = far ? p->behind + (p->behind < LAG_ROW) : 0;
	return p->behind == LAG_ROW;
}

static bool apply(struct probe *p, const struct finding *f, uint64_t took_us)
{
	struct target *t = p->target;
	const struct target_rule *r = &p->conf.rule;

	struct target_facts good = { f->role, f->read_only, false, f->lag_us, took_us,
				     (uint64_t)now_us() };

	switch (f->verdict) {
	case V_ALIVE:
		good.role = (enum target_role)atomic_load(&t->role);
		good.read_only = atomic_load(&t->read_only) != 0;
		good.lagging = atomic_load(&t->lagging) != 0;
		good.lag_us = atomic_load(&t->lag_us);
		return target_probe_good(t, r, &good);
	case V_GOOD:
		good.lagging = is_lagging(p, f);
		return target_probe_good(t, r, &good);
	case V_BAD:
		return target_probe_bad(t, r, BAD_LOST);
	case V_SILENT:
		return target_probe_bad(t, r, BAD_SILENT);
	case V_DRAIN:
		return target_probe_bad(t, r, BAD_DRAIN);
	case V_HARD:
		return target_probe_bad(t, r, BAD_HARD);
	case V_LOCAL:
		break;
	}
	return false;
}

/* Ends the probe that runs. The callback may stop (and free) p, so it comes
 * last, and so must the call of this. */
static void conclude(struct probe *p, const struct finding *f)
{
	struct target *t = p->target;
	enum target_state state;
	char name[128];

	drop_conn(p);
	tell(p, f);
	if (f->verdict != V_GOOD && f->verdict != V_ALIVE)
		target_note(t, f->text[0] ? f->text : f->why, (uint64_t)now_us());
	if (!apply(p, f, (uint64_t)(now_us() - p->started_us))) {
		timer_in(p, pause_us(p));
		return;
	}
	state = (enum target_state)atomic_load(&t->state);
	LOG(p->log, state == TARGET_UP ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "target",
	    "target=%s state=%s role=%s read_only=%d lagging=%d hung=%d",
	    log_quote(name, sizeof(name), t->addr.name ? t->addr.name : "?"),
	    target_state_name(state), target_role_name((enum target_role)atomic_load(&t->role)),
	    atomic_load(&t->read_only), atomic_load(&t->lagging), atomic_load(&t->hung));
	timer_in(p, pause_us(p));
	if (p->changed)
		p->changed(p->arg, t);
}

/*
 * The way through.
 */

static void on_io(evutil_socket_t fd, short what, void *arg);

/* Waits for the socket as it is now. The last act of its caller. */
static void wait_for(struct probe *p, short what)
{
	struct finding f = {.verdict = V_LOCAL, .why = "cannot_wait"};
	int fd = PQsocket(p->conn);

	if (fd < 0 || event_assign(&p->io, p->base, fd, what, on_io, p) != 0 ||
	    event_add(&p->io, NULL) != 0)
		conclude(p, &f);
}

/* NULL: nothing has been replayed yet, which tells nothing. */
static uint64_t read_lag(const PGresult *res)
{
	long long us = PQnfields(res) > 2 ? strtoll(PQgetvalue(res, 0, 2), NULL, 10) : 0;

	return us > 0 ? (uint64_t)us : 0;
}

static void read_answer(struct finding *f, const PGresult *res)
{
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	*f = (struct finding){.verdict = V_ALIVE, .why = "strange_answer"};
	if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 && PQnfields(res) >= 2) {
		f->verdict = V_GOOD;
		f->why = "good";
		f->role = PQgetvalue(res, 0, 0)[0] == 't' ? ROLE_STANDBY : ROLE_PRIMARY;
		f->read_only = strcmp(PQgetvalue(res, 0, 1), "on") == 0;
		f->lag_us = f->role == ROLE_STANDBY ? read_lag(res) : 0;
	} else if (code) {
		snprintf(f->sqlstate, sizeof(f->sqlstate), "%s", code);
		login_keep_text(f, PQresultErrorMessage(res));
		login_judge_sqlstate(f);
	} else if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
		/* made by libpq itself: the connection broke */
		f->verdict = V_BAD;
		f->why = "connection_lost";
		login_keep_text(f, PQresultErrorMessage(res));
	}
}

/* The connection broke, or the time is up: that is the finding, unless there
 * is one already (a server that sends its error and goes). */
static void conclude_early(struct probe *p, enum verdict verdict, const char *why,
			   const char *text)
{
	struct finding f = p->found;

	if (!f.why) {
		f.verdict = verdict;
		f.why = why;
		login_keep_text(&f, text);
	}
	conclude(p, &f);
}

static void conclude_lost(struct probe *p)
{
	conclude_early(p, V_BAD, "connection_lost", PQerrorMessage(p->conn));
}

static void query_step(struct probe *p, bool readable)
{
	struct finding f;
	PGresult *res;
	int left;

	if (readable && PQconsumeInput(p->conn) == 0) {
		conclude_lost(p);
		return;
	}
	left = PQflush(p->conn);
	if (left < 0) {
		conclude_lost(p);
		return;
	}
	/* To the end, although the first result is all that is wanted: closing
	 * on what the server has still to say would look like a crash to it. */
	while (!PQisBusy(p->conn)) {
		res = PQgetResult(p->conn);
		if (!res) {
			f = p->found;
			conclude(p, &f);
			return;
		}
		if (!p->found.why)
			read_answer(&p->found, res);
		PQclear(res);
	}
	wait_for(p, left > 0 ? EV_READ | EV_WRITE : EV_READ);
}

static bool asks_lag(const struct probe *p)
{
	return p->conf.max_lag_us && !PQparameterStatus(p->conn, "crdb_version") &&
	       PQserverVersion(p->conn) >= 100000;
}

static void query_start(struct probe *p)
{
	p->phase = PHASE_QUERY;
	/* before the first byte, so that neither the query nor PQfinish's
	 * Terminate can ever wait for the peer */
	if (PQsetnonblocking(p->conn, 1) != 0 ||
	    PQsendQuery(p->conn, asks_lag(p) ? QUESTION_LAG : QUESTION) == 0) {
		conclude_lost(p);
		return;
	}
	query_step(p, false);
}

/* libpq does not say how far the server came before it failed us, so look at
 * what waits in the socket: a request for authentication is a sign of life,
 * the end of the stream takes it back. */
static void peek(struct probe *p)
{
	char c = 0;
	ssize_t n = recv(PQsocket(p->conn), &c, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == 1 && c == 'R')
		p->answered = true;
	else if (n == 0)
		p->answered = false;
}

/* What comes from now on is dropped, and sent again in a moment: what was looked at is what
 * libpq reads. */
static void hold_back(int fd, bool on)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog all = {.len = 1, .filter = &drop};

	if (on)
		(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all));
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int));
}

static enum gate look(struct probe *p, int fd, bool asked)
{
	uint8_t b[GATE_MAX];
	ssize_t n = recv(fd, b, sizeof(b), MSG_PEEK | MSG_DONTWAIT);
	size_t had = p->need;
	int need;

	p->need = 0;
	if (n <= 0)
		return GATE_PASS; /* libpq tells */
	switch (gate_look(b, (size_t)n, asked, &p->need)) {
	case GATE_PASS:
		p->need = 0;
		return GATE_PASS;
	case GATE_MORE:
		if ((size_t)n < had)
			return GATE_BAD; /* the end, as it was not to wake us before */
		need = (int)p->need;
		return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &need, sizeof(need)) ? GATE_BAD : GATE_MORE;
	case GATE_CLEAR:
		return GATE_CLEAR;
	case GATE_BAD:
	default:
		return GATE_BAD;
	}
}

/* Keeps a request for the password as it is from libpq. false: not libpq's turn, and the
 * probe may be over. */
static bool gate(struct probe *p, int fd, bool *held)
{
	struct finding f = {.verdict = V_ALIVE, .why = "cannot_authenticate"};
	ConnStatusType at = PQstatus(p->conn);
	enum gate g;

	*held = false;
	if (!p->conf.no_clear || PQsslInUse(p->conn) ||
	    (at != CONNECTION_SSL_STARTUP && at != CONNECTION_AWAITING_RESPONSE)) {
		p->need = 0;
		return true;
	}
	hold_back(fd, true);
	g = look(p, fd, at == CONNECTION_SSL_STARTUP);
	*held = g == GATE_PASS;
	if (!*held)
		hold_back(fd, false);
	switch (g) {
	case GATE_PASS:
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){1}, sizeof(int));
		return true;
	case GATE_MORE:
		wait_for(p, EV_READ);
		return false;
	case GATE_CLEAR:
		login_keep_text(&f, "the server wants the password as it is, which it does not get "
				    "without TLS: see sslmode and server_cleartext");
		break;
	case GATE_BAD:
	default:
		f.verdict = V_BAD;
		f.why = "connection_lost";
		login_keep_text(&f, "what the server says is no login, or ends in the middle of one");
	}
	conclude(p, &f);
	return false;
}

static void login_step(struct probe *p)
{
	struct login_fail fail = {.connecting = PQstatus(p->conn) == CONNECTION_STARTED};
	struct finding f = {0};
	PostgresPollingStatusType next;
	int fd = PQsocket(p->conn);
	bool held;

	if (!fail.connecting)
		peek(p);
	if (!gate(p, fd, &held))
		return;
	next = PQconnectPoll(p->conn);
	if (held && PQsocket(p->conn) == fd)
		hold_back(fd, false);
	switch (next) {
	case PGRES_POLLING_READING:
		wait_for(p, EV_READ);
		return;
	case PGRES_POLLING_ACTIVE: /* not used any more, says libpq-fe.h */
	case PGRES_POLLING_WRITING:
		wait_for(p, EV_WRITE);
		return;
	case PGRES_POLLING_OK:
		query_start(p);
		return;
	case PGRES_POLLING_FAILED:
		break;
	}
	fail.text = PQerrorMessage(p->conn);
	/* in TLS only libpq sees what was asked for */
	fail.answered = p->answered || PQconnectionNeedsPassword(p->conn);
	login_judge(&fail, &f);
	conclude(p, &f);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	switch (p->phase) {
	case PHASE_LOGIN:
		login_step(p);
		break;
	case PHASE_QUERY:
		query_step(p, (what & EV_READ) != 0);
		break;
	case PHASE_HTTP:
	case PHASE_IDLE:
		break;
	}
}

/* libpq's own receiver prints to stderr. */
static void no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static void login_start(struct probe *p)
{
	struct finding f = {.verdict = V_LOCAL, .why = "no_memory"};
	size_t cap = 0;
	char *info =
		login_info(&p->target->addr, p->conf.user, p->conf.password, p->conf.dbname,
			   &p->conf.ssl, &cap);

	p->started_us = now_us();
	if (info) {
		p->conn = PQconnectStart(info);
		explicit_bzero(info, cap);
		free(info);
	}
	if (!p->conn) {
		conclude(p, &f);
		return;
	}
	p->phase = PHASE_LOGIN;
	/* Nothing has been read yet, so these hold for the login's errors too. */
	PQsetErrorVerbosity(p->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(p->conn, no_notice, NULL);
	if (PQstatus(p->conn) == CONNECTION_BAD) {
		struct login_fail fail = {
			.text = PQerrorMessage(p->conn), .at_once = true, .connecting = true};

		login_judge(&fail, &f);
		conclude(p, &f);
		return;
	}
	wait_for(p, EV_WRITE);
}

/* Once per change, and at first only what is not well. Of 503 tell() tells. */
static void tell_http(struct probe *p, const struct http_said *said)
{
	char name[128], text[512];

	if (p->told_http == said->status)
		return;
	p->told_http = said->status;
	if (said->status == 503)
		return;
	LOG(p->log, said->status == 200 ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "probe_http",
	    "target=%s status=%d result=%s error=%s",
	    log_quote(name, sizeof(name), p->target->addr.name ? p->target->addr.name : "?"),
	    said->status, said->why,
	    log_quote(text, sizeof(text), said->text[0] && said->status != 200 ? said->text : "-"));
}

static void on_http(void *arg, const struct http_said *said)
{
	struct probe *p = arg;
	struct finding f = {.verdict = V_DRAIN, .why = "draining"};
	bool leaving = said->status == 503;

	tell_http(p, said);
	login_keep_text(&f, said->text);
	http_free(p->http);
	p->http = NULL;
	if (leaving)
		conclude(p, &f);
	else
		login_start(p);
}

static void begin(struct probe *p)
{
	const struct http_ask ask = {.addr = &p->target->addr,
				     .port = p->conf.http_port,
				     .tls = p->conf.https,
				     .path = p->conf.http_path,
				     .timeout_us = p->conf.timeout_us / 2};

	p->started_us = now_us();
	p->answered = false;
	p->need = 0;
	p->found = (struct finding){0};
	timer_in(p, p->conf.timeout_us);
	if (p->conf.http_port)
		p->http = http_get(p->base, &ask, on_http, p);
	if (p->http)
		p->phase = PHASE_HTTP;
	else
		login_start(p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	if (p->phase == PHASE_IDLE)
		begin(p);
	else
		conclude_early(p, V_SILENT, "timeout", "");
}

/*
 * Birth and end.
 */

static void free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void conf_free(struct probe_conf *pc)
{
	free((char *)pc->user);
	free_secret((char *)pc->password);
	free((char *)pc->dbname);
	free((char *)pc->http_path);
	free((char *)pc->ssl.mode);
	free((char *)pc->ssl.host);
	free((char *)pc->ssl.rootcert);
	free((char *)pc->ssl.cert);
	free((char *)pc->ssl.key);
	free((char *)pc->ssl.crl);
	free((char *)pc->ssl.min);
	free((char *)pc->ssl.max);
	*pc = (struct probe_conf){0};
}

static int copy_str(const char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -1 : 0;
}

static int ssl_copy(struct login_ssl *to, const struct login_ssl *from)
{
	*to = (struct login_ssl){ .sni = from->sni, .binding = from->binding };
	return copy_str(&to->mode, from->mode) || copy_str(&to->host, from->host) ||
			       copy_str(&to->rootcert, from->rootcert) ||
			       copy_str(&to->cert, from->cert) || copy_str(&to->key, from->key) ||
			       copy_str(&to->crl, from->crl) || copy_str(&to->min, from->min) ||
			       copy_str(&to->max, from->max) ?
		       -1 :
		       0;
}

static int conf_copy(struct probe_conf *to, const struct probe_conf *from)
{
	*to = *from;
	to->user = to->password = to->dbname = to->http_path = NULL;
	if (ssl_copy(&to->ssl, &from->ssl) != 0 || copy_str(&to->user, from->user) != 0 || copy_str(&to->password, from->password) != 0 ||
	    copy_str(&to->dbname, from->dbname) != 0 ||
	    copy_str(&to->http_path, from->http_path) != 0) {
		conf_free(to);
		return -1;
	}
	return 0;
}

int probe_start(struct target *t, struct event_base *base, const struct probe_conf *pc,
		struct log_ctx *log, probe_changed_fn *changed, void *arg)
{
	struct probe *p;

	if (t->probe) {
		probe_reconf(t, pc);
		return 0;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -1;
	p->target = t;
	p->base = base;
	p->log = log;
	p->changed = changed;
	p->arg = arg;
	p->told_http = 200;
	if (conf_copy(&p->conf, pc) != 0 ||
	    event_assign(&p->timer, base, -1, 0, on_timer, p) != 0) {
		conf_free(&p->conf);
		free(p);
		return -1;
	}
	if (RAND_bytes((unsigned char *)&p->random, sizeof(p->random)) != 1)
		p->random = (uint64_t)now_us() ^ (uintptr_t)p;
	t->probe = p;
	timer_in(p, 0);
	return 0;
}

void probe_reconf(struct target *t, const struct probe_conf *pc)
{
	struct probe_conf copy;

	/* Out of memory: the old numbers hold, which is better than none. */
	if (!t->probe || conf_copy(&copy, pc) != 0)
		return;
	conf_free(&t->probe->conf);
	t->probe->conf = copy;
}

void probe_now(struct target *t)
{
	if (t->probe && t->probe->phase == PHASE_IDLE)
		timer_in(t->probe, 0);
}

void probe_stop(struct target *t)
{
	struct probe *p = t->probe;

	if (!p)
		return;
	t->probe = NULL;
	drop_conn(p);
	event_del(&p->timer);
	conf_free(&p->conf);
	free(p);
}

void probe_clean_env(void)
{
	static const char *const names[] = {"PGSERVICE", "PGSERVICEFILE", "PGDATESTYLE", "PGTZ",
					    "PGGEQO"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}
