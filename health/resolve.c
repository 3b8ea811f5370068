/* health/resolve.c - see resolve.h
 *
 * evdns calls back once for each question, also for those that are given up, and
 * from the loop only. So a question outlives its name: it knows whether somebody
 * still waits for it, and frees itself.
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <event2/dns.h>
#include <event2/event_struct.h>
#include <openssl/rand.h>

#include "conf/text.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define TELL_US 5000                 /* changes this close together are told as one */
#define TELL_AGAIN_US 1000000
#define END_TURNS 1000               /* of the loop, for questions that are given up */

struct name {
	struct name *next;
	struct resolve *r;
	char *host;
	struct name_known known;
	struct answer answer[IP_FAMILIES];
	struct question *asked[IP_FAMILIES];
	struct event timer;
	int64_t begun_us;
	struct name_pace pace;
	const char *told;              /* the reason the log has, NULL: all is well */
	bool fixed;                    /* of the hosts file: never asked for */
	bool wanted;
};

struct question {
	struct resolve *r;
	struct name *name;             /* NULL: given up */
	enum ip_family family;
};

struct resolve {
	struct event_base *base;
	struct evdns_base *dns;
	struct log_ctx *log;
	resolve_changed_fn *changed;
	void *arg;
	struct name *names;
	struct name_times times;
	struct event tell;
	unsigned questions;            /* not called back yet, those given up too */
};

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void timer_in(struct event *ev, int64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	event_add(ev, &tv);
}

static uint64_t random_bits(void)
{
	uint64_t r = 0;

	/* Only so that poolers do not march in step: without it they do. */
	if (RAND_bytes((unsigned char *)&r, sizeof(r)) != 1)
		r = (uint64_t)now_us();
	return r;
}

static struct name *find(const struct resolve *r, const char *host)
{
	struct name *n;

	for (n = r->names; n; n = n->next)
		if (strcasecmp(n->host, host) == 0)
			return n;
	return NULL;
}

/*
 * What is told.
 */

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct resolve *r = arg;

	(void)fd;
	(void)what;
	if (r->changed(r->arg) < 0)
		timer_in(&r->tell, TELL_AGAIN_US);
}

static void tell(struct resolve *r)
{
	if (!evtimer_pending(&r->tell, NULL))
		timer_in(&r->tell, TELL_US);
}

static const char *print_set(const struct ip_set *s, char *out, size_t cap)
{
	char one[IP_TEXT];
	size_t len = 0;
	unsigned i;

	snprintf(out, cap, "-");
	for (i = 0; i < s->n && len < cap; i++)
		len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? "," : "",
					ip_print(&s->ip[i], one, sizeof(one)));
	return out;
}

static void log_good(struct name *n)
{
	char list[1200], name[300];

	n->told = NULL;
	LOG(n->r->log, LOG_LEVEL_INFO, "name_resolved", "name=%s addresses=%s",
	    log_quote(name, sizeof(name), n->host),
	    print_set(&n->known.set, list, sizeof(list)));
}

static void log_bad(struct name *n, const char *why)
{
	char name[300], text[100];

	if (n->told && strcmp(n->told, why) == 0)
		return;
	n->told = why;
	LOG(n->r->log, LOG_LEVEL_WARN, "name_failed", "name=%s reason=%s kept=%u",
	    log_quote(name, sizeof(name), n->host), log_quote(text, sizeof(text), why),
	    n->known.set.n);
}

/*
 * One lookup.
 */

/* Both families are here. */
static void finish(struct name *n)
{
	bool good = names_good(n->answer);

	if (good) {
		n->pace.fails = 0;
		if (n->told)
			log_good(n);
	} else {
		const char *why = names_why(n->answer);

		n->pace.fails++;
		log_bad(n, why);
		if (!n->known.set.n && n->known.why != why)
			tell(n->r);
		n->known.why = why;
	}
	timer_in(&n->timer, names_pause_us(&n->r->times, n->known.set.n > 0, &n->pace,
					   random_bits()));
}

static void take(struct name *n)
{
	if (names_merge(&n->known.set, n->answer)) {
		n->known.why = NULL;
		n->pace.hurry = 0;
		log_good(n);
		tell(n->r);
	}
	if (n->answer[IP_4].kind != ANSWER_NONE && n->answer[IP_6].kind != ANSWER_NONE)
		finish(n);
}

static void read_answer(struct answer *a, enum ip_family family, int result, int count,
			const void *addresses)
{
	const uint8_t *b = addresses;
	size_t len = family == IP_4 ? 4 : 16;
	int i;

	a->set.n = 0;
	a->kind = ANSWER_FAIL;
	a->why = evdns_err_to_string(result);
	if (result == DNS_ERR_NONE && count > 0 && b) {
		a->kind = ANSWER_OK;
		for (i = 0; i < count; i++)
			ip_set_add(&a->set, family, b + (size_t)i * len);
	} else if (result == DNS_ERR_NONE || result == DNS_ERR_NODATA) {
		a->kind = ANSWER_EMPTY;
		a->why = evdns_err_to_string(DNS_ERR_NODATA);
	} else if (result == DNS_ERR_NOTEXIST) {
		a->kind = ANSWER_EMPTY;
	}
}

static void on_answer(int result, char type, int count, int ttl, void *addresses, void *arg)
{
	struct question *q = arg;
	struct name *n = q->name;
	enum ip_family family = q->family;

	(void)type; /* evdns lets through only what was asked for */
	(void)ttl;  /* dns_max_ttl says when to ask again */
	q->r->questions--;
	free(q);
	if (!n)
		return;
	n->asked[family] = NULL;
	read_answer(&n->answer[family], family, result, count, addresses);
	take(n);
}

static void ask(struct name *n, enum ip_family family)
{
	struct resolve *r = n->r;
	struct question *q = calloc(1, sizeof(*q));
	int flags = n->host[strlen(n->host) - 1] == '.' ? DNS_QUERY_NO_SEARCH : 0;
	struct evdns_request *req = NULL;

	n->answer[family] = (struct answer){.kind = ANSWER_FAIL, .why = "it could not be asked for"};
	if (!q)
		return;
	q->r = r;
	q->name = n;
	q->family = family;
	if (family == IP_4)
		req = evdns_base_resolve_ipv4(r->dns, n->host, flags, on_answer, q);
	else
		req = evdns_base_resolve_ipv6(r->dns, n->host, flags, on_answer, q);
	if (!req) {
		free(q);
		return;
	}
	r->questions++;
	n->asked[family] = q;
	n->answer[family].kind = ANSWER_NONE;
}

static bool busy(const struct name *n)
{
	return n->asked[IP_4] || n->asked[IP_6];
}

static void begin(struct name *n)
{
	if (n->fixed || busy(n) || !n->r->dns)
		return;
	event_del(&n->timer);
	n->begun_us = now_us();
	ask(n, IP_4);
	ask(n, IP_6);
	if (!busy(n))
		finish(n);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	begin(arg);
}

static void give_up(struct name *n)
{
	unsigned f;

	for (f = 0; f < IP_FAMILIES; f++)
		if (n->asked[f]) {
			n->asked[f]->name = NULL;
			n->asked[f] = NULL;
		}
}

void resolve_now(struct resolve *r, const char *host)
{
	struct name *n = find(r, host);

	if (!n || n->fixed)
		return;
	if (!n->pace.hurry)
		n->pace.hurry = 1;
	if (!busy(n))
		timer_in(&n->timer, names_hurry_us(now_us(), n->begun_us));
}

const struct name_known *resolve_known(const struct resolve *r, const char *host)
{
	const struct name *n = find(r, host);

	return n ? &n->known : NULL;
}

/*
 * The table.
 */

static void name_free(struct name *n)
{
	if (!n)
		return;
	give_up(n);
	event_del(&n->timer);
	free(n->host);
	free(n);
}

/* At the end of the table. */
static int want(struct resolve *r, const char *host)
{
	struct name *n = find(r, host), **at = &r->names;

	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n || evtimer_assign(&n->timer, r->base, on_timer, n) != 0) {
			free(n);
			return -1;
		}
		n->r = r;
		n->host = strdup(host);
		if (!n->host) {
			name_free(n);
			return -1;
		}
		while (*at)
			at = &(*at)->next;
		*at = n;
	}
	n->wanted = true;
	return 0;
}

static int want_db(struct resolve *r, const struct conf_db *db)
{
	size_t i;

	for (i = 0; db && i < db->host_n; i++)
		if (!db->hosts[i].sock_len && want(r, db->hosts[i].host) < 0)
			return -1;
	return 0;
}

static int want_peer(struct resolve *r, const struct conf_peer *p)
{
	struct addr *list;
	size_t n;
	int rc;

	if (!p->k.host || addr_list(p->k.host, NULL, (int)p->k.port, &list, &n, NULL))
		return 0; /* no name to look up */
	rc = n && !list[0].sock_len ? want(r, list[0].host) : 0;
	addr_list_free(list, n);
	return rc;
}

/* Marks what c names, adding what is new. */
static int want_all(struct resolve *r, const struct conf *c)
{
	struct name *n;
	size_t i;

	for (n = r->names; n; n = n->next)
		n->wanted = false;
	for (i = 0; i < c->db_n; i++)
		if (want_db(r, &c->dbs[i]) < 0)
			return -1;
	for (i = 0; i < c->peer_n; i++)
		if (want_peer(r, &c->peers[i]) < 0)
			return -1;
	return want_db(r, c->fallback);
}

static void drop_unwanted(struct resolve *r)
{
	struct name **at = &r->names, *n;

	while ((n = *at)) {
		if (n->wanted) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		name_free(n);
	}
}

static bool look_at_hosts(struct name *n, const struct text_buf *hosts)
{
	struct ip_set set = {.n = 0};
	static const uint8_t loopback[4] = {127, 0, 0, 1};

	if (!names_in_hosts(hosts->data ? hosts->data : "", hosts->len, n->host, &set) &&
	    addr_is_localhost(n->host))
		ip_set_add(&set, IP_4, loopback); /* nobody asks DNS for that (RFC 6761) */
	n->fixed = set.n > 0;
	if (!n->fixed)
		return false;
	event_del(&n->timer);
	n->known = (struct name_known){.set = set};
	n->told = NULL;
	n->pace = (struct name_pace){0};
	return true;
}

static void no_log(int is_warning, const char *msg)
{
	(void)is_warning;
	(void)msg;
}

static struct evdns_base *open_dns(struct resolve *r, const char *path)
{
	struct evdns_base *dns;
	char quoted[300];
	int rc;

	/* What it would print on stderr is said here, in the log's own words. */
	evdns_set_log_fn(no_log);
	/* Inactive, it holds no event in the loop, so that a loop can end. */
	dns = evdns_base_new(r->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!dns)
		return NULL;
	if (!path || !*path)
		path = RESOLV_CONF;
	/* Options in the file come later and win. */
	(void)evdns_base_set_option(dns, "timeout:", "2");
	rc = evdns_base_resolv_conf_parse(dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS |
					  DNS_OPTION_MISC, path);
	if (rc)
		LOG(r->log, LOG_LEVEL_WARN, "resolv_conf", "file=%s problem=%s",
		    log_quote(quoted, sizeof(quoted), path),
		    rc == 6 ? "\"no nameserver in it, asking 127.0.0.1\"" :
			      "\"cannot be read, asking 127.0.0.1\"");
	return dns;
}

int resolve_conf(struct resolve *r, const struct conf *c)
{
	struct text_buf hosts = {0};
	struct evdns_base *dns;
	struct name *n;

	if (want_all(r, c) < 0)
		return -1;
	dns = open_dns(r, c->g.resolv_conf);
	if (!dns)
		return -1;
	if (text_slurp(HOSTS, &hosts, NULL) < 0)
		text_clear(&hosts); /* none is fine */
	r->times = (struct name_times){c->g.dns_max_ttl, c->g.dns_nxdomain_ttl};
	for (n = r->names; n; n = n->next)
		give_up(n);
	if (r->dns)
		evdns_base_free(r->dns, 1);
	r->dns = dns;
	drop_unwanted(r);
	for (n = r->names; n; n = n->next)
		if (!look_at_hosts(n, &hosts))
			begin(n);
	text_free(&hosts);
	return 0;
}

struct resolve *resolve_new(struct event_base *base, struct log_ctx *log,
			    resolve_changed_fn *changed, void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));

	if (!r || evtimer_assign(&r->tell, base, on_tell, r) != 0) {
		free(r);
		return NULL;
	}
	r->base = base;
	r->log = log;
	r->changed = changed;
	r->arg = arg;
	return r;
}

void resolve_free(struct resolve *r)
{
	struct name *n, *next;
	int i;

	if (!r)
		return;
	for (n = r->names; n; n = next) {
		next = n->next;
		name_free(n);
	}
	event_del(&r->tell);
	if (r->dns)
		evdns_base_free(r->dns, 1);
	for (i = 0; r->questions && i < END_TURNS; i++)
		event_base_loop(r->base, EVLOOP_NONBLOCK);
	free(r);
}
