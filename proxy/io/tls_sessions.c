/* proxy/io/tls_sessions.c - see tls_sessions.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/tls_sessions.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct tls_session {
	struct tls_session *next;
	SSL_SESSION *s;
	uint64_t ctx;
	char name[];
};

#define SESSIONS_MAX 128u

static void session_free(struct tls_session *x)
{
	SSL_SESSION_free(x->s);
	free(x);
}

static bool fits(const struct tls_session *x, const struct tls_resume *r)
{
	return x->ctx == r->ctx && strcmp(x->name, r->name) == 0;
}

/* A certificate that is not shown again cannot be found to have expired either. */
static bool has_expired(SSL_SESSION *s)
{
	const X509 *cert = SSL_SESSION_get0_peer(s);

	return cert && X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0;
}

SSL_SESSION *tls_sessions_find(const struct tls_resume *r)
{
	const struct tls_session *x;

	for (x = r->cache->head; x && !fits(x, r); x = x->next)
		;
	if (!x)
		return NULL;
	if (!has_expired(x->s))
		return x->s;
	tls_sessions_drop(r);
	return NULL;
}

void tls_sessions_drop(const struct tls_resume *r)
{
	struct tls_session **p, *x;

	for (p = &r->cache->head; (x = *p); p = &x->next)
		if (fits(x, r)) {
			*p = x->next;
			r->cache->n--;
			session_free(x);
			return;
		}
}

/* The newest first, the oldest goes. */
static int keep(const struct tls_resume *r, SSL_SESSION *s)
{
	size_t n = strlen(r->name) + 1;
	struct tls_session *x = calloc(1, sizeof(*x) + n), **p;

	if (!x)
		return -1;
	tls_sessions_drop(r);
	memcpy(x->name, r->name, n);
	x->ctx = r->ctx;
	x->s = s;
	x->next = r->cache->head;
	r->cache->head = x;
	if (++r->cache->n <= SESSIONS_MAX)
		return 0;
	for (p = &r->cache->head; (*p)->next; p = &(*p)->next)
		;
	session_free(*p);
	*p = NULL;
	r->cache->n--;
	return 0;
}

/* 1: s is ours. */
static int on_session(SSL *ssl, SSL_SESSION *s)
{
	const struct tls_resume *r = SSL_get_app_data(ssl);

	return r && r->cache && keep(r, s) == 0;
}

void tls_sessions_hook(SSL_CTX *c)
{
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c, on_session);
}

void tls_sessions_clear(struct tls_sessions *c)
{
	struct tls_session *x, *next;

	for (x = c->head; x; x = next) {
		next = x->next;
		session_free(x);
	}
	c->head = NULL;
	c->n = 0;
}
