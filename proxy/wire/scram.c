/* proxy/wire/scram.c - SCRAM-SHA-256, with and without channel binding, both roles.
 *
 * Messages are read by one small cursor (struct in) that can only move forward
 * and never behind the end. Exactly the attributes that PostgreSQL's client and
 * server send are accepted, in their order; the optional extensions of RFC 5802
 * are refused rather than skipped, since nobody sends them and each would be a
 * byte string signed but not understood.
 *
 * Passwords are bytes, and are hashed in the form that saslprep.h gives them.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/scram.h"
#include "proxy/wire/b64.h"
#include "proxy/wire/saslprep.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#define KEY_B64_LEN B64_LEN(SCRAM_KEY_LEN)
#define SALT_B64_MAX B64_LEN(SCRAM_SALT_MAX)
/* client-first-bare , server-first , client-final-without-proof */
#define AUTH_MSG_MAX (3 * SCRAM_MSG_MAX)
#define MOCK_SALT_LEN 16 /* as PostgreSQL's, so that a mock is not told apart by it */

static const char why_crypto[] = "the crypto library failed";
static const char why_long[] = "SCRAM message too long";

static int fail(const char **why, const char *text)
{
	*why = text;
	return -1;
}

/* ---- maths ---- */

/* Bytes of any length with a key of SCRAM_KEY_LEN. */
static int hmac(const uint8_t key[SCRAM_KEY_LEN], const void *data, size_t len,
		uint8_t out[SCRAM_KEY_LEN])
{
	unsigned out_len = 0;

	if (HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, data, len, out, &out_len) == NULL ||
	    out_len != SCRAM_KEY_LEN)
		return -1;
	return 0;
}

static int sha256(const uint8_t in[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
{
	return EVP_Digest(in, SCRAM_KEY_LEN, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

static int salt_password(const char *password, const uint8_t *salt, size_t salt_len,
			 uint32_t iterations, uint8_t out[SCRAM_KEY_LEN])
{
	const char *text;
	char *prepared;
	size_t len;
	int rc = -1;

	if (salt_len == 0 || salt_len > SCRAM_SALT_MAX || iterations == 0 ||
	    iterations > SCRAM_ITERATIONS_MAX)
		return -1;
	if (saslprep(password, &prepared) != 0)
		return -1;
	text = prepared != NULL ? prepared : password;
	len = strlen(text);
	if (len <= INT_MAX &&
	    PKCS5_PBKDF2_HMAC(text, (int)len, salt, (int)salt_len, (int)iterations, EVP_sha256(),
			      SCRAM_KEY_LEN, out) == 1)
		rc = 0;
	saslprep_free(prepared);
	return rc;
}

/* client_key may be NULL when only its hash is wanted. */
static int derive(const uint8_t salted[SCRAM_KEY_LEN], uint8_t *client_key,
		  uint8_t stored_key[SCRAM_KEY_LEN], uint8_t server_key[SCRAM_KEY_LEN])
{
	uint8_t key[SCRAM_KEY_LEN];
	int rc = -1;

	if (hmac(salted, "Client Key", 10, key) == 0 && sha256(key, stored_key) == 0 &&
	    hmac(salted, "Server Key", 10, server_key) == 0)
		rc = 0;
	if (rc == 0 && client_key != NULL)
		memcpy(client_key, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	return rc;
}

/* What both sides sign. Returns its length, -1 when it does not fit. */
static int auth_message(const char *client_first_bare, const char *server_first, size_t first_len,
			const char *final, size_t final_len, char out[AUTH_MSG_MAX])
{
	int n;

	if (first_len >= SCRAM_MSG_MAX || final_len >= SCRAM_MSG_MAX)
		return -1;
	n = snprintf(out, AUTH_MSG_MAX, "%s,%.*s,%.*s", client_first_bare, (int)first_len,
		     server_first, (int)final_len, final);
	return n > 0 && n < AUTH_MSG_MAX ? n : -1;
}

/* ---- reading ---- */

struct in {
	const char *at, *end;
};

/* Text that takes part in what is signed must be printable: then it has no
 * zero byte in it, and may be kept as a C string. */
static bool is_nonce(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] < 0x21 || s[i] > 0x7e || s[i] == ',')
			return false;
	return len > 0 && len < SCRAM_NONCE_MAX;
}

static bool take(struct in *in, const char *literal)
{
	size_t n = strlen(literal);

	if ((size_t)(in->end - in->at) < n || memcmp(in->at, literal, n) != 0)
		return false;
	in->at += n;
	return true;
}

/* "x=" and its value up to a comma or the end. */
static bool take_attr(struct in *in, const char *name, const char **value, size_t *len)
{
	const char *comma;

	if (!take(in, name))
		return false;
	comma = memchr(in->at, ',', (size_t)(in->end - in->at));
	*value = in->at;
	in->at = comma != NULL ? comma : in->end;
	*len = (size_t)(in->at - *value);
	return true;
}

/* 1 to max, no sign, no leading zero. 0: it is not. */
static uint32_t read_count(const char *s, size_t len, uint32_t max)
{
	uint64_t v = 0;
	size_t i;

	if (len == 0 || len > 10 || s[0] == '0')
		return 0;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return 0;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	return v <= max ? (uint32_t)v : 0;
}

/* ---- secrets ---- */

static int read_key(struct in *in, uint8_t key[SCRAM_KEY_LEN])
{
	if (in->end - in->at < KEY_B64_LEN)
		return -1;
	if (b64_decode(in->at, KEY_B64_LEN, key, SCRAM_KEY_LEN) != SCRAM_KEY_LEN)
		return -1;
	in->at += KEY_B64_LEN;
	return 0;
}

/* Iterations are not held against SCRAM_ITERATIONS_MAX here: the peer does that
 * work, not we. */
static int read_secret(const char *text, struct scram_secret *out)
{
	struct in in = {text, text + strlen(text)};
	const char *colon, *dollar;
	int n;

	if (!take(&in, "SCRAM-SHA-256$"))
		return -1;
	colon = strchr(in.at, ':');
	dollar = colon != NULL ? strchr(colon, '$') : NULL;
	if (dollar == NULL)
		return -1;
	out->iterations = read_count(in.at, (size_t)(colon - in.at), INT_MAX);
	n = b64_decode(colon + 1, (size_t)(dollar - colon - 1), out->salt, sizeof(out->salt));
	if (out->iterations == 0 || n <= 0)
		return -1;
	out->salt_len = (size_t)n;
	in.at = dollar + 1;
	if (read_key(&in, out->stored_key) != 0 || !take(&in, ":") ||
	    read_key(&in, out->server_key) != 0)
		return -1;
	return in.at == in.end ? 0 : -1;
}

int scram_secret_parse(const char *text, struct scram_secret *out)
{
	memset(out, 0, sizeof(*out));
	if (read_secret(text, out) == 0)
		return 0;
	scram_secret_wipe(out);
	return -1;
}

int scram_secret_make(const char *password, const uint8_t *salt, size_t salt_len,
		      uint32_t iterations, struct scram_secret *out)
{
	uint8_t salted[SCRAM_KEY_LEN];
	int rc = -1;

	memset(out, 0, sizeof(*out));
	if (salt_password(password, salt, salt_len, iterations, salted) == 0)
		rc = derive(salted, NULL, out->stored_key, out->server_key);
	explicit_bzero(salted, sizeof(salted));
	if (rc != 0) {
		scram_secret_wipe(out);
		return -1;
	}
	out->iterations = iterations;
	memcpy(out->salt, salt, salt_len);
	out->salt_len = salt_len;
	return 0;
}

const char *scram_secret_print(const struct scram_secret *s, char *out, size_t cap)
{
	char salt[SALT_B64_MAX + 1], stored[KEY_B64_LEN + 1], server[KEY_B64_LEN + 1];
	int n;

	if (b64_encode(s->salt, s->salt_len, salt, sizeof(salt)) < 0 ||
	    b64_encode(s->stored_key, SCRAM_KEY_LEN, stored, sizeof(stored)) < 0 ||
	    b64_encode(s->server_key, SCRAM_KEY_LEN, server, sizeof(server)) < 0)
		return NULL;
	n = snprintf(out, cap, "SCRAM-SHA-256$%u:%s$%s:%s", s->iterations, salt, stored, server);
	explicit_bzero(server, sizeof(server));
	return n > 0 && (size_t)n < cap ? out : NULL;
}

/* One labelled HMAC per field; when it fails the field stays zero, which is the
 * hash of nothing anybody knows. */
static void mock_field(const char *user, const uint8_t key[32], const char *label,
		       uint8_t out[SCRAM_KEY_LEN])
{
	uint8_t sub[SCRAM_KEY_LEN];

	if (hmac(key, label, strlen(label), sub) != 0 || hmac(sub, user, strlen(user), out) != 0)
		memset(out, 0, SCRAM_KEY_LEN);
	explicit_bzero(sub, sizeof(sub));
}

void scram_secret_mock(const char *user, const uint8_t key[32], uint32_t iterations,
		       struct scram_secret *out)
{
	uint8_t salt[SCRAM_KEY_LEN];

	memset(out, 0, sizeof(*out));
	out->iterations = iterations;
	mock_field(user, key, "mock salt", salt);
	memcpy(out->salt, salt, MOCK_SALT_LEN);
	out->salt_len = MOCK_SALT_LEN;
	mock_field(user, key, "mock stored key", out->stored_key);
	mock_field(user, key, "mock server key", out->server_key);
}

void scram_secret_wipe(struct scram_secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

/* ---- the side that checks ---- */

/* The flag, and its comma. plus: the client took the mechanism with binding. */
static int read_binding_flag(struct in *in, const struct scram_server *s, bool plus, char *flag,
			     const char **why)
{
	if (in->at == in->end || strchr("nyp", *in->at) == NULL || *in->at == 0)
		return fail(why, "malformed SCRAM message: channel binding flag");
	*flag = *in->at;
	if (plus && *flag != 'p')
		return fail(why, "client chose SCRAM-SHA-256-PLUS and sends no channel binding");
	if (!plus && *flag == 'p')
		return fail(why, "client sends channel binding and did not choose "
				 "SCRAM-SHA-256-PLUS");
	if (*flag == 'y' && s->plus_offered)
		return fail(why, "client believes that SCRAM-SHA-256-PLUS was not offered");
	if (*flag != 'p') {
		in->at++;
		return take(in, ",") ? 0
				     : fail(why, "malformed SCRAM message: channel binding flag");
	}
	if (!take(in, "p=tls-server-end-point,"))
		return fail(why, "client wants a SCRAM channel binding other than "
				 "tls-server-end-point");
	return 0;
}

/* Behind the flag: client-first-bare. On success in->at is at the bare part and
 * nonce points to the client's nonce. */
static int read_client_first(struct in *in, const char **nonce, size_t *nonce_len, const char **why)
{
	struct in bare;
	const char *user;
	size_t user_len;

	if (!take(in, ","))
		return fail(why, "client sent a SCRAM authorization identity");
	bare = *in;
	if (!take_attr(&bare, "n=", &user, &user_len) || memchr(user, 0, user_len) != NULL)
		return fail(why, "malformed SCRAM message: user name");
	if (!take(&bare, ",") || !take_attr(&bare, "r=", nonce, nonce_len) || bare.at != bare.end)
		return fail(why, "malformed SCRAM message: nonce");
	if (!is_nonce(*nonce, *nonce_len))
		return fail(why,
			    "malformed SCRAM message: nonce is empty, too long or not printable");
	return 0;
}

static int read_mech(const struct scram_server *s, const char *mech, bool *plus, const char **why)
{
	*plus = strcmp(mech, SCRAM_MECH_PLUS) == 0;
	if (*plus ? s->plus_offered && s->binding.len > 0 : strcmp(mech, SCRAM_MECH) == 0)
		return 0;
	return fail(why, "client chose a SASL mechanism that was not offered");
}

int scram_server_first(struct scram_server *s, const char *mech, const char *msg, size_t len,
		       const char *our_nonce, char *out, size_t cap, const char **why)
{
	struct in in = {msg, msg + len};
	char salt[SALT_B64_MAX + 1];
	const char *nonce;
	size_t nonce_len, bare_len;
	bool plus;
	int n;

	s->gs2_header = 0;
	s->have_client_key = false;
	explicit_bzero(s->client_key, sizeof(s->client_key));
	s->server_first[0] = 0; /* until this succeeds scram_server_final refuses */
	if (len >= SCRAM_MSG_MAX)
		return fail(why, why_long);
	if (read_mech(s, mech, &plus, why) != 0 ||
	    read_binding_flag(&in, s, plus, &s->gs2_header, why) != 0 ||
	    read_client_first(&in, &nonce, &nonce_len, why) != 0)
		return -1;
	if (!is_nonce(our_nonce, strlen(our_nonce)) ||
	    nonce_len + strlen(our_nonce) >= SCRAM_NONCE_MAX)
		return fail(why, "SCRAM nonce too long");
	n = snprintf(s->nonce, sizeof(s->nonce), "%.*s%s", (int)nonce_len, nonce, our_nonce);
	if (n < 0 || b64_encode(s->secret.salt, s->secret.salt_len, salt, sizeof(salt)) < 0)
		return fail(why, why_long);
	bare_len = (size_t)(in.end - in.at);
	memcpy(s->client_first_bare, in.at, bare_len);
	s->client_first_bare[bare_len] = 0;
	n = snprintf(s->server_first, sizeof(s->server_first), "r=%s,s=%s,i=%u", s->nonce, salt,
		     s->secret.iterations);
	if (n < 0 || (size_t)n >= sizeof(s->server_first) || (size_t)n >= cap) {
		s->server_first[0] = 0;
		return fail(why, why_long);
	}
	memcpy(out, s->server_first, (size_t)n + 1);
	return n;
}

/* c=..,r=..,p=..: proof is decoded; signed_len is the length without ",p=..". */
static int read_client_final(const struct scram_server *s, const char *msg, size_t len,
			     uint8_t proof[SCRAM_KEY_LEN], size_t *signed_len, const char **why)
{
	struct in in = {msg, msg + len};
	char c[SCRAM_C_MAX];
	const char *value;
	size_t n;
	int c_len;

	/* the header again, so that nobody between can have changed it, and the
	 * certificate that the client sees */
	c_len = scram_print_c(s->gs2_header, &s->binding, c);
	if (c_len < 0 || len < (size_t)c_len || CRYPTO_memcmp(msg, c, (size_t)c_len) != 0)
		return fail(why, "SCRAM channel binding does not match");
	in.at += c_len;
	if (!take(&in, ","))
		return fail(why, "SCRAM channel binding does not match");
	if (!take_attr(&in, "r=", &value, &n) || n != strlen(s->nonce) ||
	    CRYPTO_memcmp(value, s->nonce, n) != 0)
		return fail(why, "SCRAM nonce does not match");
	*signed_len = (size_t)(in.at - msg);
	if (!take(&in, ",") || !take_attr(&in, "p=", &value, &n) || in.at != in.end ||
	    b64_decode(value, n, proof, SCRAM_KEY_LEN) != SCRAM_KEY_LEN)
		return fail(why, "malformed SCRAM message: proof");
	return 0;
}

/* 0: right, 1: wrong, -1: the crypto library failed. key: what the client has
 * instead of a password, if it is right. */
static int check_proof(const struct scram_secret *secret, const uint8_t proof[SCRAM_KEY_LEN],
		       const char *auth, size_t auth_len, uint8_t key[SCRAM_KEY_LEN])
{
	uint8_t signature[SCRAM_KEY_LEN], hash[SCRAM_KEY_LEN];
	int i, rc = -1;

	if (hmac(secret->stored_key, auth, auth_len, signature) == 0) {
		for (i = 0; i < SCRAM_KEY_LEN; i++)
			key[i] = proof[i] ^ signature[i];
		if (sha256(key, hash) == 0)
			rc = CRYPTO_memcmp(hash, secret->stored_key, SCRAM_KEY_LEN) != 0;
	}
	explicit_bzero(signature, sizeof(signature));
	return rc;
}

int scram_server_final(struct scram_server *s, const char *msg, size_t len, char *out, size_t cap,
		       const char **why)
{
	uint8_t proof[SCRAM_KEY_LEN], signature[SCRAM_KEY_LEN], key[SCRAM_KEY_LEN] = {0};
	char auth[AUTH_MSG_MAX];
	size_t signed_len;
	int auth_len, right;

	if (s->server_first[0] == 0)
		return fail(why, "SCRAM message out of order");
	if (len >= SCRAM_MSG_MAX)
		return fail(why, why_long);
	if (cap < 2 + KEY_B64_LEN + 1)
		return fail(why, why_long);
	if (read_client_final(s, msg, len, proof, &signed_len, why) != 0)
		return -1;
	auth_len = auth_message(s->client_first_bare, s->server_first, strlen(s->server_first), msg,
				signed_len, auth);
	if (auth_len < 0)
		return fail(why, why_long);
	/* A doomed login does all the work first: its time tells nothing. */
	right = check_proof(&s->secret, proof, auth, (size_t)auth_len, key);
	explicit_bzero(proof, sizeof(proof));
	s->have_client_key = right == 0 && !s->doomed;
	if (s->have_client_key)
		memcpy(s->client_key, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	if (right < 0 || hmac(s->secret.server_key, auth, (size_t)auth_len, signature) != 0)
		return fail(why, why_crypto);
	s->server_first[0] = 0; /* one try */
	if (right != 0 || s->doomed)
		return fail(why, "password mismatch");
	memcpy(out, "v=", 2);
	return 2 + b64_encode(signature, sizeof(signature), out + 2, cap - 2);
}

void scram_server_wipe(struct scram_server *s)
{
	explicit_bzero(s, sizeof(*s));
}

/* ---- the side that shows ---- */

int scram_client_first(struct scram_client *c, const struct scram_channel *ch,
		       const char *our_nonce, char *out, size_t cap, const char **why)
{
	char gs2[] = {0, ',', ',', 0};
	int n;

	memset(c, 0, sizeof(*c));
	if (!is_nonce(our_nonce, strlen(our_nonce)))
		return fail(why, "SCRAM nonce too long");
	if (scram_choose(ch, &c->choice, why) != 0)
		return -1;
	c->binding = ch->binding;
	gs2[0] = c->choice.flag;
	/* the user is in the startup message; the server ignores this one */
	n = snprintf(c->client_first_bare, sizeof(c->client_first_bare), "n=,r=%s", our_nonce);
	if (n < 0 || (size_t)n >= sizeof(c->client_first_bare))
		return fail(why, why_long);
	n = snprintf(out, cap, "%s%s", c->choice.flag == 'p' ? SCRAM_GS2_PLUS : gs2,
		     c->client_first_bare);
	if (n < 0 || (size_t)n >= cap)
		return fail(why, why_long);
	memcpy(c->nonce, our_nonce, strlen(our_nonce) + 1);
	return n;
}

struct server_first {
	const char *nonce;
	size_t nonce_len;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint32_t iterations;
};

/* iterations_max: where we do that work it has a bound of its own. */
static int read_server_first(const struct scram_client *c, const char *msg, size_t len,
			     uint32_t iterations_max, struct server_first *out, const char **why)
{
	struct in in = {msg, msg + len};
	const char *value;
	size_t n, ours = strlen(c->nonce);
	int salt_len;

	if (!take_attr(&in, "r=", &out->nonce, &out->nonce_len) ||
	    !is_nonce(out->nonce, out->nonce_len))
		return fail(why, "malformed SCRAM message from the server: nonce");
	/* the server must add something of its own, or an old proof could be replayed */
	if (ours == 0 || out->nonce_len <= ours || memcmp(out->nonce, c->nonce, ours) != 0)
		return fail(why, "the server's SCRAM nonce does not extend ours");
	if (!take(&in, ",") || !take_attr(&in, "s=", &value, &n))
		return fail(why, "malformed SCRAM message from the server: salt");
	salt_len = b64_decode(value, n, out->salt, sizeof(out->salt));
	if (salt_len <= 0)
		return fail(why, "malformed SCRAM message from the server: salt");
	out->salt_len = (size_t)salt_len;
	if (!take(&in, ",") || !take_attr(&in, "i=", &value, &n) || in.at != in.end)
		return fail(why, "malformed SCRAM message from the server: iterations");
	out->iterations = read_count(value, n, iterations_max);
	if (out->iterations == 0)
		return fail(why, "the server's SCRAM iteration count is not from 1 to 1000000");
	return 0;
}

static int salted_for(const struct server_first *first, const char *password,
		      struct scram_salted *cache, uint8_t salted[SCRAM_KEY_LEN])
{
	if (cache != NULL && cache->iterations == first->iterations &&
	    cache->salt_len == first->salt_len &&
	    memcmp(cache->salt, first->salt, first->salt_len) == 0) {
		memcpy(salted, cache->key, SCRAM_KEY_LEN);
		return 0;
	}
	if (salt_password(password, first->salt, first->salt_len, first->iterations, salted) != 0)
		return -1;
	if (cache != NULL) {
		memcpy(cache->key, salted, SCRAM_KEY_LEN);
		memcpy(cache->salt, first->salt, first->salt_len);
		cache->salt_len = first->salt_len;
		cache->iterations = first->iterations;
	}
	return 0;
}

/* What signs: the client's key, its hash, and what the server must know. */
struct signers {
	uint8_t client[SCRAM_KEY_LEN], stored[SCRAM_KEY_LEN], server[SCRAM_KEY_LEN];
};

/* Writes client-final-message, remembers what the server must show. */
static int prove(struct scram_client *c, const struct server_first *first, const char *msg,
		 size_t len, const struct signers *k, char *out, size_t cap, const char **why)
{
	uint8_t proof[SCRAM_KEY_LEN];
	char auth[AUTH_MSG_MAX], cbind[SCRAM_C_MAX];
	int auth_len, n, i;

	if (scram_print_c(c->choice.flag, &c->binding, cbind) < 0)
		return fail(why, "SCRAM message out of order");
	n = snprintf(out, cap, "%s,r=%.*s", cbind, (int)first->nonce_len, first->nonce);
	if (n < 0 || (size_t)n + 3 + KEY_B64_LEN >= cap)
		return fail(why, why_long);
	auth_len = auth_message(c->client_first_bare, msg, len, out, (size_t)n, auth);
	if (auth_len < 0)
		return fail(why, why_long);
	if (hmac(k->stored, auth, (size_t)auth_len, proof) != 0 ||
	    hmac(k->server, auth, (size_t)auth_len, c->server_signature) != 0)
		return fail(why, why_crypto);
	for (i = 0; i < SCRAM_KEY_LEN; i++)
		proof[i] ^= k->client[i];
	memcpy(out + n, ",p=", 3);
	c->have_signature = true;
	return n + 3 + b64_encode(proof, sizeof(proof), out + n + 3, cap - (size_t)n - 3);
}

int scram_client_final(struct scram_client *c, const char *msg, size_t len, const char *password,
		       struct scram_salted *cache, char *out, size_t cap, const char **why)
{
	struct server_first first;
	struct signers k;
	uint8_t salted[SCRAM_KEY_LEN];
	int rc;

	c->have_signature = false;
	if (len >= SCRAM_MSG_MAX)
		return fail(why, why_long);
	if (read_server_first(c, msg, len, SCRAM_ITERATIONS_MAX, &first, why) != 0)
		return -1;
	if (salted_for(&first, password, cache, salted) != 0)
		return fail(why, "the password is too long, or there is no memory for it");
	rc = derive(salted, k.client, k.stored, k.server);
	explicit_bzero(salted, sizeof(salted));
	rc = rc == 0 ? prove(c, &first, msg, len, &k, out, cap, why) : fail(why, why_crypto);
	explicit_bzero(&k, sizeof(k));
	return rc;
}

int scram_client_final_keys(struct scram_client *c, const char *msg, size_t len,
			    const struct scram_secret *secret,
			    const uint8_t client_key[SCRAM_KEY_LEN], char *out, size_t cap,
			    const char **why)
{
	struct server_first first;
	struct signers k;
	int rc;

	c->have_signature = false;
	if (len >= SCRAM_MSG_MAX)
		return fail(why, why_long);
	if (read_server_first(c, msg, len, INT_MAX, &first, why) != 0)
		return -1;
	if (first.iterations != secret->iterations || first.salt_len != secret->salt_len ||
	    memcmp(first.salt, secret->salt, first.salt_len) != 0)
		return fail(why, "the server's SCRAM secret for this user is not the one that is "
				 "known here (another salt or iteration count)");
	memcpy(k.client, client_key, SCRAM_KEY_LEN);
	memcpy(k.server, secret->server_key, SCRAM_KEY_LEN);
	if (sha256(k.client, k.stored) != 0)
		rc = fail(why, why_crypto);
	else if (CRYPTO_memcmp(k.stored, secret->stored_key, SCRAM_KEY_LEN) != 0)
		rc = fail(why, "the SCRAM key is not that of the secret");
	else
		rc = prove(c, &first, msg, len, &k, out, cap, why);
	explicit_bzero(&k, sizeof(k));
	return rc;
}

int scram_client_check(const struct scram_client *c, const char *msg, size_t len, const char **why)
{
	struct in in = {msg, msg + len};
	uint8_t signature[SCRAM_KEY_LEN];

	if (!c->have_signature)
		return fail(why, "SCRAM message out of order");
	if (take(&in, "e="))
		return fail(why, "the server refused the SCRAM login");
	if (!take(&in, "v=") || b64_decode(in.at, (size_t)(in.end - in.at), signature,
					   sizeof(signature)) != SCRAM_KEY_LEN)
		return fail(why, "malformed SCRAM message from the server: signature");
	if (CRYPTO_memcmp(signature, c->server_signature, SCRAM_KEY_LEN) != 0)
		return fail(why, "the server does not know the password (wrong SCRAM signature)");
	return 0;
}

void scram_client_wipe(struct scram_client *c)
{
	explicit_bzero(c, sizeof(*c));
}
