/* proxy/http/web.c - see web.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/web.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/ask.h"
#include "http/metrics.h"
#include "http/page.h"
#include "http/status.h"

#define BACKLOG 64
#define SECOND_US 1000000u

/* One address. */
struct web_door {
	struct evconnlistener *l;      /* NULL: not listening yet */
	bool off;                      /* since accepting failed */
	bool told;                     /* the log knows why it does not listen */
};

struct web_conn {
	struct link link;              /* of web.conns, who was heard of longest ago first */
	struct web *web;
	struct bufferevent *bev;       /* one reference, until evcon is known */
	struct evhttp_connection *evcon;
	uint64_t since_us;             /* it came, or its last request did */
	bool ending;
};

struct web {
	struct worker w;
	struct shared *sh;
	struct snapshot *snap;         /* one reference */
	_Atomic int running;           /* enum running */
	pthread_t thread;
	bool has_thread;
	struct letter stop;
	struct evhttp *http;
	char *list;                    /* http_addr as it was */
	struct addr *addr;
	struct web_door *door;         /* addr_n of them */
	size_t addr_n;
	struct link conns;
	unsigned live_n;               /* of them, those that are not about to end */
	struct event adopt_ev;         /* connections have come whose evcon is not known */
	struct watch tick;
	struct status status;
	int64_t started_s;             /* since 1970 */
	char machine[256];
	char policy[PAGE_POLICY_MAX];
};

/* ---- connections ---- */

static void forget(struct web_conn *c)
{
	list_del(&c->link);
	c->web->live_n -= !c->ending;
	free(c);
}

static void on_closed(struct evhttp_connection *evcon, void *arg)
{
	(void)evcon;
	forget(arg);
}

/* libevent sees an end of file then, and closes it. */
static void end_conn(struct web_conn *c)
{
	if (c->ending || !c->evcon)
		return;
	c->ending = true;
	c->web->live_n--;
	(void)shutdown(bufferevent_getfd(evhttp_connection_get_bufferevent(c->evcon)), SHUT_RDWR);
}

/* Between accepting and this, nothing has been read. The callbacks' argument is libevent's
 * struct of the connection: there is no other way to it before the first request. */
static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;
	struct link *at, *after;
	const struct kernel_tcp tcp = { .keepalive = true };
	struct web_conn *c;
	void *evcon;

	(void)fd;
	(void)what;
	LIST_EACH(at, after, &w->conns) {
		c = LIST_ITEM(at, struct web_conn, link);
		if (c->evcon)
			continue;
		bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
		bufferevent_decref(c->bev);
		c->bev = NULL;
		if (!evcon) { /* no memory for it: it is closed */
			forget(c);
			continue;
		}
		c->evcon = evcon;
		kernel_tcp(bufferevent_getfd(evhttp_connection_get_bufferevent(evcon)), &tcp);
		evhttp_connection_set_closecb(c->evcon, on_closed, c);
	}
	LIST_EACH(at, after, &w->conns) {
		if (w->live_n <= WEB_CONNS)
			break;
		end_conn(LIST_ITEM(at, struct web_conn, link));
	}
}

/* A connection has been accepted. */
static struct bufferevent *on_conn(struct event_base *base, void *arg)
{
	struct web *w = arg;
	struct web_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->web = w;
	c->bev = bufferevent_socket_new(base, -1, 0);
	if (!c->bev) {
		free(c);
		return NULL;
	}
	bufferevent_incref(c->bev);
	c->since_us = clock_mono_us();
	list_push_back(&w->conns, &c->link);
	w->live_n++;
	event_active(&w->adopt_ev, EV_TIMEOUT, 0);
	return c->bev;
}

static struct web_conn *conn_of(struct web *w, struct evhttp_request *req)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(req);
	struct link *at;

	for (at = w->conns.next; at != &w->conns; at = at->next) {
		struct web_conn *c = LIST_ITEM(at, struct web_conn, link);

		if (c->evcon == evcon)
			return c;
	}
	return NULL;
}

/* ---- answers ---- */

/* Takes over o. */
static void reply(struct web *w, struct evhttp_request *req, int code, const char *type,
		  struct out *o)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);
	struct evbuffer *body = evbuffer_new();
	bool html = strncmp(type, "text/html", 9) == 0;
	char len[24];

	if (o->bad || !body) {
		out_free(o);
		if (body)
			evbuffer_free(body);
		evhttp_send_error(req, 503, "out of memory");
		return;
	}
	(void)evhttp_add_header(h, "Content-Type", type);
	(void)evhttp_add_header(h, "Cache-Control", "no-store");
	(void)evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
	(void)evhttp_add_header(h, "X-Frame-Options", "DENY");
	(void)evhttp_add_header(h, "Referrer-Policy", "no-referrer");
	(void)evhttp_add_header(h, "Cross-Origin-Resource-Policy", "same-origin");
	(void)evhttp_add_header(h, "Content-Security-Policy",
				html ? w->policy : "default-src 'none'; frame-ancestors 'none'");
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
		(void)snprintf(len, sizeof(len), "%zu", o->len);
		(void)evhttp_add_header(h, "Content-Length", len);
	} else {
		(void)evbuffer_add(body, o->p, o->len);
	}
	out_free(o);
	evhttp_send_reply(req, code, code == 421 ? "Misdirected Request" : NULL, body);
	evbuffer_free(body);
}

static void reply_text(struct web *w, struct evhttp_request *req, int code, const char *text)
{
	struct out o = { 0 };

	out_text(&o, text);
	out_text(&o, "\n");
	reply(w, req, code, "text/plain; charset=utf-8", &o);
}

#define JSON "application/json"

static void give_page(struct web *w, struct evhttp_request *req, struct facts *f)
{
	struct out o = { 0 };
	size_t len;
	const char *p = page_html(&len);

	(void)f;
	out_bytes(&o, p, len);
	reply(w, req, 200, "text/html; charset=utf-8", &o);
}

static void give_health(struct web *w, struct evhttp_request *req, struct facts *f)
{
	uint64_t slow_us = (uint64_t)w->snap->conf->g.health_slow;
	bool bad = health_word_of(f, slow_us, NULL, NULL) == UNHEALTHY;
	struct out o = { 0 };

	health_json(&o, f, (enum running)atomic_load(&w->running), slow_us);
	reply(w, req, bad ? 503 : 200, JSON, &o);
}

static void give_ready(struct web *w, struct evhttp_request *req, struct facts *f)
{
	enum running r = (enum running)atomic_load(&w->running);
	struct out o = { 0 };

	health_ready_json(&o, f, r);
	reply(w, req, health_not_ready(f, r) ? 503 : 200, JSON, &o);
}

static void give_status(struct web *w, struct evhttp_request *req, struct facts *f)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
	uint64_t after = 0;
	struct totals t;
	struct out o = { 0 };

	if (query && strncmp(query, "after=", 6) == 0)
		after = strtoull(query + 6, NULL, 10);
	totals_read(&t, w->sh);
	status_json(&o, &w->status, f, &t, (enum running)atomic_load(&w->running),
		    (uint64_t)w->snap->conf->g.health_slow, after);
	reply(w, req, 200, JSON, &o);
}

static void give_metrics(struct web *w, struct evhttp_request *req, struct facts *f)
{
	bool open = ask_openmetrics(
		evhttp_find_header(evhttp_request_get_input_headers(req), "Accept"));
	struct metrics m = { .openmetrics = open, .f = f, .started_s = w->started_s };
	struct measured of[METER_KINDS] = { { 0 } };
	struct totals t;
	struct out o = { 0 };
	unsigned k;

	totals_read(&t, w->sh);
	for (k = 0; k < METER_KINDS; k++) {
		if (measured_read(&of[k], &w->sh->meters, (enum meter_kind)k, w->w.now_us))
			o.bad = true;
		m.of[k] = &of[k];
	}
	m.t = &t;
	m.running = (enum running)atomic_load(&w->running);
	m.health = health_word_of(f, (uint64_t)w->snap->conf->g.health_slow, NULL, NULL);
	m.workers = w->sh->hall_n;
	if (!o.bad)
		metrics_write(&o, &m);
	for (k = 0; k < METER_KINDS; k++)
		measured_free(&of[k]);
	reply(w, req, 200,
	      open ? "application/openmetrics-text; version=1.0.0; charset=utf-8" :
		     "text/plain; version=0.0.4; charset=utf-8",
	      &o);
}

typedef void give_fn(struct web *w, struct evhttp_request *req, struct facts *f);

static give_fn *giver(const char *path)
{
	static const struct {
		const char *path;
		give_fn *give;
	} row[] = {
		{ "/", give_page },	  { "/metrics", give_metrics }, { "/health", give_health },
		{ "/ready", give_ready }, { "/status", give_status },
	};
	size_t i;

	for (i = 0; path && i < sizeof(row) / sizeof(*row); i++)
		if (strcmp(path, row[i].path) == 0)
			return row[i].give;
	return NULL;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct web *w = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	enum evhttp_cmd_type verb = evhttp_request_get_command(req);
	const struct conf_global *g = &w->snap->conf->g;
	struct web_conn *c = conn_of(w, req);
	give_fn *give = giver(uri ? evhttp_uri_get_path(uri) : NULL);
	struct facts f;

	worker_clock(&w->w);
	if (c) {
		c->since_us = w->w.now_us;
		list_del(&c->link);
		list_push_back(&w->conns, &c->link);
	}
	if (!ask_host_fits(evhttp_find_header(evhttp_request_get_input_headers(req), "Host"),
			   w->machine, g->http_addr, g->http_hosts)) {
		reply_text(w, req, 421, "pgweir is not called so: use an address, or add the name "
					"to the setting http_hosts");
		return;
	}
	if (!give) {
		reply_text(w, req, 404, "there are /, /metrics, /health, /ready and /status");
		return;
	}
	if (verb != EVHTTP_REQ_GET && verb != EVHTTP_REQ_HEAD) {
		(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
		reply_text(w, req, 405, "GET and HEAD only");
		return;
	}
	if (facts_read(&f, w->sh, w->snap)) {
		evhttp_send_error(req, 503, "out of memory");
		return;
	}
	give(w, req, &f);
	facts_free(&f);
}

/* ---- addresses ---- */

static int listen_at(const struct addr *a, int *port)
{
	struct sockaddr_storage got;
	socklen_t len = sizeof(got);
	int fd = socket(a->sock.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (a->sock.sa.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    bind(fd, &a->sock.sa, a->sock_len) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&got, &len)) {
		on = errno;
		close(fd);
		errno = on;
		return -1;
	}
	*port = ntohs(got.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&got)->sin6_port :
						  ((struct sockaddr_in *)(void *)&got)->sin_port);
	return fd;
}

/* Out of descriptors, most likely. */
static void on_accept_failed(struct evconnlistener *l, void *arg)
{
	struct web *w = arg;
	size_t i;

	(void)evconnlistener_disable(l);
	for (i = 0; i < w->addr_n; i++)
		if (w->door[i].l == l)
			w->door[i].off = true;
	LOG(&w->w.log_ctx, LOG_LEVEL_WARN, "http_accept_failed", "errno=%d", errno);
}

static void open_door(struct web *w, size_t i)
{
	struct web_door *d = &w->door[i];
	int port = 0, fd = listen_at(&w->addr[i], &port);
	char at[120], q[200];

	(void)addr_print(&w->addr[i].sock.sa, w->addr[i].sock_len, at, sizeof(at));
	if (fd < 0) {
		if (!d->told)
			LOG(&w->w.log_ctx, LOG_LEVEL_WARN, "http_listen_failed",
			    "addr=%s reason=%s hint=\"tried again each second\"", at,
			    log_quote(q, sizeof(q), strerror(errno)));
		d->told = true;
		return;
	}
	/* the port 0 of the list is another one each time that it is tried */
	d->l = evconnlistener_new(w->w.base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
				  0, fd);
	if (!d->l) {
		close(fd);
		return;
	}
	if (!evhttp_bind_listener(w->http, d->l)) {
		evconnlistener_free(d->l);
		d->l = NULL;
		return;
	}
	evconnlistener_set_error_cb(d->l, on_accept_failed);
	LOG(&w->w.log_ctx, LOG_LEVEL_INFO, "http_listening", "addr=%s port=%d", at, port);
}

static void open_doors(struct web *w)
{
	size_t i;

	for (i = 0; i < w->addr_n; i++) {
		if (!w->door[i].l)
			open_door(w, i);
		else if (w->door[i].off && evconnlistener_enable(w->door[i].l) == 0)
			w->door[i].off = false;
	}
}

/* ---- each second ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;
	uint64_t limit = (uint64_t)w->snap->conf->g.http_timeout;
	struct link *at, *after;

	(void)fd;
	(void)what;
	worker_clock(&w->w);
	alarm_on(&w->tick, SECOND_US - w->w.now_us % SECOND_US);
	LIST_EACH(at, after, &w->conns) {
		struct web_conn *c = LIST_ITEM(at, struct web_conn, link);

		if (w->w.now_us < c->since_us + limit)
			break;
		end_conn(c);
	}
	open_doors(w);
	status_tick(&w->status, w->sh, w->w.now_us);
}

/* ---- birth and end ---- */

static void web_free(struct web *w)
{
	struct letter *l, *after;
	struct link *at;

	if (w->http)
		evhttp_free(w->http); /* its connections and listeners too */
	while ((at = list_pop(&w->conns))) {
		struct web_conn *c = LIST_ITEM(at, struct web_conn, link);

		if (c->bev)
			bufferevent_decref(c->bev);
		free(c);
	}
	for (l = w->w.base ? mbox_take(&w->w.mbox) : NULL; l; l = after) {
		after = l->next;
		l->deliver(&w->w, l);
	}
	if (w->w.base) {
		watch_drop(&w->tick);
		if (event_initialized(&w->adopt_ev))
			event_del(&w->adopt_ev);
	}
	worker_free(&w->w);
	snapshot_drop(w->snap);
	addr_list_free(w->addr, w->addr_n);
	free(w->list);
	free(w->door);
	free(w);
}

static void *thread_main(void *arg)
{
	worker_run(&((struct web *)arg)->w);
	return NULL;
}

/* Of connections that come; on_tick sees to all. */
static void set_timeout(struct web *w)
{
	int64_t us = w->snap->conf->g.http_timeout;
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evhttp_set_timeout_tv(w->http, &tv);
}

static int web_init(struct web *w, const struct log_ctx *log, struct err *e)
{
	const struct conf_global *g = &w->snap->conf->g;

	if (worker_init(&w->w, 0, log->log, w, NULL, e))
		return -1;
	w->list = strdup(g->http_addr);
	if (addr_http_list(ADDR_RESOLVE, g->http_addr, &w->addr, &w->addr_n, e))
		return -1;
	if (gethostname(w->machine, sizeof(w->machine) - 1))
		w->machine[0] = 0;
	w->door = calloc(w->addr_n + 1, sizeof(*w->door));
	w->http = evhttp_new(w->w.base);
	if (!w->list || !w->door || !w->http || page_policy(w->policy))
		return err_set(e, "out of memory");
	status_init(&w->status, w->sh, w->w.now_us);
	w->started_s = clock_wall_us(NULL) / 1000000;
	evhttp_set_max_headers_size(w->http, WEB_HEADERS);
	evhttp_set_max_body_size(w->http, 0);
	set_timeout(w);
	evhttp_set_allowed_methods(w->http, 0xffff);
	evhttp_set_bevcb(w->http, on_conn, w);
	evhttp_set_gencb(w->http, on_request, w);
	event_assign(&w->adopt_ev, w->w.base, -1, 0, on_adopt, w);
	alarm_init(&w->tick, w->w.base, on_tick, w);
	return 0;
}

/* Takes over the reference. NULL: *e says why. */
static struct web *web_new(struct shared *sh, struct snapshot *snap, const struct log_ctx *log,
			   struct err *e)
{
	struct web *w = calloc(1, sizeof(*w));

	if (!w) {
		snapshot_drop(snap);
		(void)err_set(e, "out of memory");
		return NULL;
	}
	w->sh = sh;
	w->snap = snap;
	list_init(&w->conns);
	if (web_init(w, log, e) == 0)
		return w;
	web_free(w);
	return NULL;
}

static void on_stop(struct worker *w, struct letter *l)
{
	(void)l;
	w->done = true;
}

void web_stop(struct web *w)
{
	if (!w)
		return;
	w->stop.deliver = on_stop;
	worker_post(&w->w, &w->stop);
	if (w->has_thread)
		pthread_join(w->thread, NULL);
	web_free(w);
}

struct conf_letter {
	struct letter l;
	struct snapshot *snap;
};

static void on_conf(struct worker *worker, struct letter *l)
{
	struct web *w = worker->owner;
	struct conf_letter *b = (struct conf_letter *)(void *)l;

	snapshot_drop(w->snap);
	w->snap = b->snap;
	set_timeout(w);
	free(b);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static void cannot(const struct log_ctx *log, const struct err *e)
{
	char q[400];

	LOG(log, LOG_LEVEL_ERROR, "http_failed", "reason=%s", log_quote(q, sizeof(q), e->text));
}

void web_prepare(struct web **w, struct shared *sh, struct snapshot *snap,
		 const struct log_ctx *log)
{
	struct err e;

	if (!snap->conf->g.http_addr) {
		snapshot_drop(snap);
		return;
	}
	*w = web_new(sh, snap, log, &e);
	if (!*w)
		cannot(log, &e);
}

void web_start(struct web **w, const struct log_ctx *log)
{
	struct err e;
	int rc;

	if (!*w)
		return;
	alarm_on(&(*w)->tick, SECOND_US);
	open_doors(*w);
	rc = pthread_create(&(*w)->thread, NULL, thread_main, *w);
	(*w)->has_thread = rc == 0;
	if (rc == 0)
		return;
	(void)err_set(&e, "cannot start its thread: %s", strerror(rc));
	cannot(log, &e);
	web_free(*w);
	*w = NULL;
}

void web_use(struct web **w, struct shared *sh, struct snapshot *snap, const struct log_ctx *log)
{
	const char *list = snap->conf->g.http_addr;
	struct conf_letter *b;

	if (*w && !same_text(list, (*w)->list)) {
		web_stop(*w);
		*w = NULL;
	}
	if (!*w) {
		web_prepare(w, sh, snap, log);
		web_start(w, log);
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!b) { /* it goes on with the configuration before */
		snapshot_drop(snap);
		return;
	}
	b->l.deliver = on_conf;
	b->snap = snap;
	worker_post(&(*w)->w, &b->l);
}

void web_tell_running(struct web *w, enum running r)
{
	if (w)
		atomic_store(&w->running, (int)r);
}
