/* proxy/io/tls_ctx.c - contexts of tls.h, from files
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/tls_ctx.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/kernel.h"
#include "io/tls_bio.h"
#include "io/tls_sessions.h"

static const unsigned char alpn[] = { 10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l' };

/* How the settings of one context are called. */
struct names {
	const char *key, *cert, *ca, *crl;
};

static const struct names client_names = { "client_tls_key_file", "client_tls_cert_file",
					   "client_tls_ca_file", "client_tls_crl_file" };
static const struct names server_names = { "server_tls_key_file", "server_tls_cert_file",
					   "server_tls_ca_file", "server_tls_crl_file" };
static const struct names libpq_names = { "sslkey", "sslcert", "sslrootcert", "sslcrl" };

static bool given(const char *s)
{
	return s && *s;
}

static int bad_file(struct err *e, const char *setting, const char *file)
{
	unsigned long first = ERR_peek_error();
	unsigned long code = first && ERR_SYSTEM_ERROR(first) ? first : ERR_peek_last_error();
	const char *why = code && ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) :
			  code ? ERR_reason_error_string(code) : NULL;

	if (code && ERR_GET_LIB(code) == ERR_LIB_PEM)
		why = "no PEM text of what is wanted in it";
	(void)err_set(e, "%s = %s: %s", setting, file, why ? why : "cannot be used");
	ERR_clear_error();
	return -1;
}

/* A passphrase cannot be asked for. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

/* ---- certificates ---- */

static int load_own(struct tls_ctx *c, const struct tls_settings *s, const struct names *n,
		    struct err *e)
{
	if (!given(s->cert) && !given(s->key))
		return s->server ? err_set(e, "%s and %s are needed for TLS", n->cert, n->key) : 0;
	if (!given(s->cert) || !given(s->key))
		return err_set(e, "%s is given and %s is not", given(s->cert) ? n->cert : n->key,
			       given(s->cert) ? n->key : n->cert);
	SSL_CTX_set_default_passwd_cb(c->ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(c->ctx, s->cert) != 1)
		return bad_file(e, n->cert, s->cert);
	if (SSL_CTX_use_PrivateKey_file(c->ctx, s->key, SSL_FILETYPE_PEM) == 1)
		return 0;
	if (ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH)
		return bad_file(e, n->key, s->key);
	ERR_clear_error();
	return err_set(e, "%s = %s does not belong to %s = %s", n->key, s->key, n->cert, s->cert);
}

static int load_crl(struct tls_ctx *c, const char *file)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c->ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

	if (!lookup || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) < 1)
		return -1;
	return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) ? 0 :
												-1;
}

static int load_ca(struct tls_ctx *c, const struct tls_settings *s, const struct names *n,
		   struct err *e)
{
	STACK_OF(X509_NAME) *list;

	if (!given(s->ca)) {
		if (given(s->crl))
			return err_set(e, "%s is given and %s is not", n->crl, n->ca);
		return s->verify ? err_set(e, "%s is needed to verify certificates", n->ca) : 0;
	}
	if (strcmp(s->ca, "system") == 0) {
		if (SSL_CTX_set_default_verify_paths(c->ctx) != 1)
			return bad_file(e, n->ca, s->ca);
	} else if (SSL_CTX_load_verify_file(c->ctx, s->ca) != 1) {
		return bad_file(e, n->ca, s->ca);
	}
	if (given(s->crl) && load_crl(c, s->crl))
		return bad_file(e, n->crl, s->crl);
	c->checks = true;
	if (!s->server)
		return 0;
	list = strcmp(s->ca, "system") == 0 ? NULL : SSL_load_client_CA_file(s->ca);
	SSL_CTX_set_client_CA_list(c->ctx, list);
	ERR_clear_error();
	return 0;
}

/* ---- how ---- */

/* Two bits: TLS 1.2, TLS 1.3. */
static int take_protocols(const char *text, unsigned *out)
{
	static const struct {
		const char *name;
		unsigned bits;
	} known[] = { { "secure", 3 },	{ "default", 3 }, { "all", 3 },	    { "legacy", 3 },
		      { "tlsv1.0", 0 }, { "tlsv1.1", 0 }, { "tlsv1.2", 1 }, { "tlsv1.3", 2 } };
	const char *p = text;
	unsigned bits = 0;
	size_t i;

	while (*p) {
		size_t n;

		p += strspn(p, ", :");
		n = strcspn(p, ", :");
		if (!n)
			break;
		for (i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (strlen(known[i].name) == n && strncasecmp(known[i].name, p, n) == 0)
				break;
		if (i == sizeof(known) / sizeof(*known))
			return -1;
		bits |= known[i].bits;
		p += n;
	}
	*out = bits;
	return bits ? 0 : -1;
}

static int version_of(const char *name)
{
	if (strcasecmp(name, "TLSv1.2") == 0)
		return TLS1_2_VERSION;
	return strcasecmp(name, "TLSv1.3") == 0 ? TLS1_3_VERSION : 0;
}

static int set_versions(struct tls_ctx *c, const struct tls_settings *s, const char *side,
			struct err *e)
{
	unsigned bits = 3;
	int min, max;

	if (given(s->protocols) && take_protocols(s->protocols, &bits))
		return err_set(e, "%s_tls_protocols = %s: allowed are secure, all, tlsv1.2 and tlsv1.3, "
				  "comma separated", side, s->protocols);
	min = bits & 1 ? TLS1_2_VERSION : TLS1_3_VERSION;
	max = bits & 2 ? TLS1_3_VERSION : TLS1_2_VERSION;
	if (given(s->min) && version_of(s->min) > min)
		min = version_of(s->min);
	if (given(s->max) && version_of(s->max) && version_of(s->max) < max)
		max = version_of(s->max);
	if (min > max)
		return err_set(e, "%s: no TLS version is left by ssl_min_protocol_version, "
				  "ssl_max_protocol_version and %s_tls_protocols", side, side);
	if (SSL_CTX_set_min_proto_version(c->ctx, min) != 1 ||
	    SSL_CTX_set_max_proto_version(c->ctx, max) != 1)
		return err_set(e, "%s_tls_protocols: OpenSSL refuses these versions", side);
	return 0;
}

/* PgBouncer's words for a list, else OpenSSL's own. */
static const char *cipher_list(const char *s)
{
	static const char *const ours[] = { "default", "secure", "normal", "fast", "compat" };
	size_t i;

	for (i = 0; given(s) && i < sizeof(ours) / sizeof(*ours); i++)
		if (strcasecmp(s, ours[i]) == 0)
			s = NULL;
	if (given(s) && strcasecmp(s, "all") == 0)
		return "ALL:!aNULL:!eNULL";
	return given(s) ? s : "HIGH:!aNULL";
}

static int set_ciphers(struct tls_ctx *c, const struct tls_settings *s, const char *side,
		       struct err *e)
{
	int rc = 0;

	if (SSL_CTX_set_cipher_list(c->ctx, cipher_list(s->ciphers)) != 1)
		rc = err_set(e, "%s_tls_ciphers = %s: no cipher that is known", side, s->ciphers);
	else if (given(s->ciphers13) && SSL_CTX_set_ciphersuites(c->ctx, s->ciphers13) != 1)
		rc = err_set(e, "%s_tls13_ciphers = %s: no cipher that is known", side, s->ciphers13);
	else if (given(s->curve) && strcasecmp(s->curve, "auto") != 0 &&
		 strcasecmp(s->curve, "none") != 0 &&
		 SSL_CTX_set1_curves_list(c->ctx, s->curve) != 1)
		rc = err_set(e, "%s_tls_ecdhcurve = %s: no curve that is known", side, s->curve);
	ERR_clear_error();
	if (rc == 0 && s->server && (!given(s->dh) || strcasecmp(s->dh, "none") != 0))
		(void)SSL_CTX_set_dh_auto(c->ctx, 1);
	return rc;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned in_len, void *arg)
{
	unsigned char *p;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&p, out_len, alpn, sizeof(alpn), in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = p;
	return SSL_TLSEXT_ERR_OK;
}

static int set_modes(struct tls_ctx *c, const struct tls_settings *s)
{
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					    SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_read_ahead(c->ctx, 1);
	if (!s->server) {
		tls_sessions_hook(c->ctx);
		SSL_CTX_set_verify(c->ctx, s->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
		return SSL_CTX_set_alpn_protos(c->ctx, alpn, sizeof(alpn)) == 0 ? 0 : -1;
	}
	/* no client of the protocol resumes; a ticket's key would have to be looked after */
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_alpn_select_cb(c->ctx, choose_alpn, NULL);
	/* without a certificate it is told in the protocol's words, not by an alert */
	SSL_CTX_set_verify(c->ctx, c->checks ? SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE :
					       SSL_VERIFY_NONE, NULL);
	return SSL_CTX_set_num_tickets(c->ctx, 0) == 1 ? 0 : -1;
}

struct tls_ctx *tls_ctx_new(const struct tls_settings *s, struct err *e)
{
	const struct names *n = s->libpq ? &libpq_names : s->server ? &client_names : &server_names;
	const char *side = s->server ? "client" : "server";
	struct tls_ctx *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)err_set(e, "out of memory");
		return NULL;
	}
	atomic_init(&c->refs, 1);
	c->server = s->server;
	ERR_clear_error();
	c->ctx = SSL_CTX_new(s->server ? TLS_server_method() : TLS_client_method());
	c->bio = tls_bio_method();
	if (!c->ctx || !c->bio || random_secret(&c->id, sizeof(c->id))) {
		(void)err_set(e, "TLS is not available: out of memory");
		goto fail;
	}
	if (load_own(c, s, n, e) || load_ca(c, s, n, e) || set_versions(c, s, side, e) ||
	    set_ciphers(c, s, side, e))
		goto fail;
	if (set_modes(c, s)) {
		(void)err_set(e, "TLS is not available: out of memory");
		goto fail;
	}
	return c;
fail:
	tls_ctx_drop(c);
	return NULL;
}

struct tls_ctx *tls_ctx_hold(struct tls_ctx *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void tls_ctx_drop(struct tls_ctx *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	SSL_CTX_free(c->ctx);
	BIO_meth_free(c->bio);
	free(c);
}

bool tls_ctx_checks(const struct tls_ctx *c)
{
	return c->checks;
}
