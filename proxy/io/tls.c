/* proxy/io/tls.c - see tls.h; contexts are made in tls_ctx.c
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most bytes of a handshake that somebody begins with us: OpenSSL would keep 128 KB of a
 * first message that never ends, and who sends it need not have logged in. Theirs is one
 * of some hundred bytes, and certificates where we ask for them. */
#define HANDSHAKE_MAX 32768u

struct tls {
	SSL *ssl;
	struct tls_ctx *ctx;
	struct tls_pipe pipe;
	struct tls_resume resume;
	bool ready;
	bool broken;             /* nothing more can be said */
	enum tls_result over;    /* what came behind the bytes that were read: TLS_EOF or TLS_FAIL */
	bool said_goodbye;
	char why[160];
};

/* ---- birth and end ---- */

static bool is_ip(const char *host)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);

	ASN1_OCTET_STRING_free(ip);
	return ip != NULL;
}

/* 0, or -1: out of memory. */
static int set_peer(struct tls *t, const struct tls_peer *peer)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	bool named = peer->host && *peer->host && *peer->host != '/' && *peer->host != '@';
	bool ip = named && is_ip(peer->host);
	SSL_SESSION *s;

	if (named && !ip && peer->sni && !SSL_set_tlsext_host_name(t->ssl, peer->host))
		return -1;
	if (peer->check_host && ip && !X509_VERIFY_PARAM_set1_ip_asc(param, peer->host))
		return -1;
	if (peer->check_host && !ip) {
		SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		/* a host without a name has no certificate that fits */
		if (!SSL_set1_host(t->ssl, named ? peer->host : "."))
			return -1;
	}
	if (!peer->session || !peer->cache)
		return 0;
	t->resume.name = strdup(peer->session);
	if (!t->resume.name)
		return -1;
	t->resume.ctx = t->ctx->id;
	t->resume.cache = peer->cache;
	s = tls_sessions_find(&t->resume);
	if (s)
		(void)SSL_set_session(t->ssl, s);
	return 0;
}

struct tls *tls_new(struct tls_ctx *c, const struct tls_peer *peer, const struct tls_io *io,
		    void *arg)
{
	struct tls *t = calloc(1, sizeof(*t));
	BIO *b;

	if (!t)
		return NULL;
	t->pipe.io = io;
	t->pipe.arg = arg;
	t->ctx = tls_ctx_hold(c);
	ERR_clear_error();
	t->ssl = SSL_new(c->ctx);
	b = t->ssl ? tls_bio_new(c->bio, &t->pipe) : NULL;
	if (!b) {
		tls_free(t);
		return NULL;
	}
	SSL_set_bio(t->ssl, b, b);
	SSL_set_app_data(t->ssl, &t->resume);
	if (peer) {
		SSL_set_connect_state(t->ssl);
		if (set_peer(t, peer)) {
			tls_free(t);
			return NULL;
		}
	} else {
		SSL_set_accept_state(t->ssl);
		t->pipe.bounded = true;
		t->pipe.left = HANDSHAKE_MAX;
	}
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	tls_ctx_drop(t->ctx);
	free(t->resume.name);
	free(t);
}

/* ---- errors ---- */

/* What is left of something else would be taken for ours. Nearly always there is nothing,
 * and to look is cheaper than to clear. */
static void no_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

static void explain(struct tls *t)
{
	unsigned long e = ERR_peek_last_error();
	long verify = SSL_get_verify_result(t->ssl);
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	if (t->pipe.error && !e) {
		(void)snprintf(t->why, sizeof(t->why), "%s", strerror(t->pipe.error));
		return;
	}
	t->pipe.error = EPROTO;
	if (verify != X509_V_OK && e && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		(void)snprintf(t->why, sizeof(t->why), "certificate verify failed: %s",
			       X509_verify_cert_error_string(verify));
	else
		(void)snprintf(t->why, sizeof(t->why), "%s", reason ? reason : "protocol error");
}

/* What OpenSSL's answer comes to. */
static enum tls_result judge(struct tls *t, int rc)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_NONE:
		return TLS_OK;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE: /* never: send takes all */
		return TLS_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	default:
		explain(t);
		t->broken = true;
		ERR_clear_error();
		return TLS_FAIL;
	}
}

int tls_error(const struct tls *t)
{
	return t->pipe.error;
}

const char *tls_why(const struct tls *t)
{
	return t->why;
}

/* ---- talk ---- */

enum tls_result tls_handshake(struct tls *t)
{
	enum tls_result r;
	int rc;

	ERR_clear_error();
	t->pipe.dry = false;
	t->pipe.turns = UINT_MAX;
	t->pipe.error = 0;
	rc = SSL_do_handshake(t->ssl);
	r = rc == 1 ? TLS_OK : judge(t, rc);
	t->ready = r == TLS_OK;
	t->pipe.bounded &= !t->ready;
	if (r == TLS_EOF) {
		t->pipe.error = ECONNRESET;
		(void)snprintf(t->why, sizeof(t->why), "the connection was closed in the handshake");
		return TLS_FAIL;
	}
	/* a session that does no good must not be tried for ever */
	if (r == TLS_FAIL && t->resume.cache)
		tls_sessions_drop(&t->resume);
	return r;
}

bool tls_ready(const struct tls *t)
{
	return t->ready;
}

enum tls_result tls_read(struct tls *t, void *p, size_t n, size_t *got)
{
	uint8_t *to = p;
	size_t more;
	int rc = 1;

	enum tls_result r;

	*got = 0;
	if (t->over)
		return t->over;
	no_errors();
	t->pipe.dry = false;
	/* OpenSSL would go on for as long as what comes is nothing for us, new keys say */
	t->pipe.turns = 1 + (unsigned)(n / SSL3_RT_MAX_PLAIN_LENGTH);
	t->pipe.error = 0;
	while (*got < n && rc == 1) {
		rc = SSL_read_ex(t->ssl, to + *got, n - *got, &more);
		if (rc == 1)
			*got += more;
		if (t->pipe.dry && !SSL_has_pending(t->ssl))
			break; /* all there is, and another call would only find that out */
	}
	r = rc == 1 ? TLS_OK : judge(t, rc);
	if (!*got)
		return r;
	if (r == TLS_EOF || r == TLS_FAIL)
		t->over = r;
	return TLS_OK;
}

void tls_wipe(struct tls *t, bool on)
{
	if (on)
		(void)SSL_set_options(t->ssl, SSL_OP_CLEANSE_PLAINTEXT);
	else
		(void)SSL_clear_options(t->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

bool tls_buffered(const struct tls *t)
{
	return SSL_has_pending(t->ssl) == 1;
}

bool tls_over(const struct tls *t)
{
	return t->over != TLS_OK;
}

void tls_moved(struct tls *t, struct tls_sessions *cache)
{
	if (t->resume.cache)
		t->resume.cache = cache;
}

enum tls_result tls_write(struct tls *t, const void *p, size_t n)
{
	size_t gone;

	if (t->broken)
		return TLS_FAIL;
	no_errors();
	t->pipe.error = 0;
	if (SSL_write_ex(t->ssl, p, n, &gone) == 1 && gone == n)
		return TLS_OK;
	(void)judge(t, -1);
	t->broken = true;
	if (!t->pipe.error)
		t->pipe.error = EPROTO;
	return TLS_FAIL;
}

void tls_goodbye(struct tls *t)
{
	if (t->said_goodbye || t->broken || !t->ready)
		return;
	t->said_goodbye = true;
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

/* ---- facts ---- */

X509 *tls_peer_cert(const struct tls *t)
{
	return SSL_get1_peer_certificate(t->ssl);
}

X509 *tls_own_cert(const struct tls *t)
{
	return SSL_get_certificate(t->ssl);
}

bool tls_has_alpn(const struct tls *t)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	SSL_get0_alpn_selected(t->ssl, &p, &n);
	return n > 0;
}

bool tls_resumed(const struct tls *t)
{
	return SSL_session_reused(t->ssl) == 1;
}

const char *tls_version(const struct tls *t)
{
	return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
	return SSL_get_cipher_name(t->ssl);
}
