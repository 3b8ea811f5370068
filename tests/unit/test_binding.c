/* tests/unit/test_binding.c - channel binding: the messages of a real client and of a
 * real server, what is chosen, every message of a bound login broken in every place,
 * crossed and replayed; hashes of certificates; logins by keys.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "proxy/wire/b64.h"
#include "proxy/wire/scram.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct scram_binding bound = {{0x16, 0x88, 0xd1, 0x74, 0xe6, 0x5a, 0xeb, 0xf9,
					    0x46, 0x11, 0x4f, 0x3c, 0x27, 0x91, 0xdf, 0xab,
					    0x74, 0x12, 0x9f, 0x80, 0x99, 0xc1, 0x71, 0xc5,
					    0x31, 0xd0, 0x80, 0x04, 0x6d, 0x62, 0xac, 0xcb},
					   32};

/* ---- real messages ---- */

/* Taken from test_scram_plus.py: the role's secret, made by PostgreSQL 15.20 from
 * "pencil"; the messages of libpq 15.20 to our server role, which showed a certificate
 * with the hash above, with the ClientKey that came out (it logged in to that server);
 * and those between our client role and that server, which let it in. */
static const char real_secret[] =
	"SCRAM-SHA-256$4096:SR1ZpbrNsZYw5Q2PQNrPqQ==$lzcTZRqIhileAwU2KOAk7hAIfJuHoKXrQ9o4N2MhPJ8=:"
	"fkDTWbJEq0se9rrpd6BWMFlAkV0XZEfUikIyJN2XQmU=";
#define OURS "fyko+d2lbbFgONRv9qkxdawL"
#define LIBPQ_NONCE "sp0kXkrDkATxmWUBGp8/3ipP"
#define REAL_C "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsFojRdOZa6/lGEU88J5Hfq3QSn4CZwXHFMdCABG1irMs="
static const char libpq_first[] = "p=tls-server-end-point,,n=,r=" LIBPQ_NONCE;
static const char libpq_challenge[] = "r=" LIBPQ_NONCE OURS ",s=SR1ZpbrNsZYw5Q2PQNrPqQ==,i=4096";
static const char libpq_final[] =
	REAL_C ",r=" LIBPQ_NONCE OURS ",p=2kqcC4xGYXVfYp9VRVFqsOU24+4xlauhrGx096XD944=";
static const char libpq_end[] = "v=EbFSahBUPI3KlDhmklWRqVeK+Je5GJrgP+pLiNcxfYw=";
static const uint8_t libpq_key[SCRAM_KEY_LEN] = {0x49, 0x00, 0xa9, 0xf9, 0x3f, 0xa8, 0x2d, 0x2e,
						 0xb8, 0x7a, 0xcc, 0x4a, 0xd0, 0x81, 0x1e, 0xc1,
						 0x6d, 0x0d, 0x1a, 0x74, 0xc4, 0xec, 0x36, 0xe0,
						 0xf0, 0x2e, 0xc3, 0x42, 0x73, 0x95, 0x7d, 0xe8};
#define PG_NONCE OURS "2jVYZSmIcswS2mo6be9rcz3d"
static const char pg_challenge[] = "r=" PG_NONCE ",s=SR1ZpbrNsZYw5Q2PQNrPqQ==,i=4096";
static const char pg_final[] =
	REAL_C ",r=" PG_NONCE ",p=wTz9Ld3BHuGK8zdIg6ZvmlOsPGc2yYy8p2xhdp+kfsc=";
static const char pg_end[] = "v=T4DLvqfhrG0GoQzxu/CEdZ3mOqSKWcA8NDpFyqGdWsY=";

static void test_libpq(void **state)
{
	struct scram_server s = {.plus_offered = true, .binding = bound};
	char out[SCRAM_MSG_MAX];
	const char *why = NULL;

	(void)state;
	assert_int_equal(scram_secret_parse(real_secret, &s.secret), 0);
	assert_int_equal(scram_server_first(&s, SCRAM_MECH_PLUS, libpq_first, strlen(libpq_first),
					    OURS, out, sizeof(out), &why),
			 strlen(libpq_challenge));
	assert_string_equal(out, libpq_challenge);
	assert_false(s.have_client_key);
	assert_int_equal(
		scram_server_final(&s, libpq_final, strlen(libpq_final), out, sizeof(out), &why),
		strlen(libpq_end));
	assert_string_equal(out, libpq_end);
	assert_true(s.have_client_key);
	assert_memory_equal(s.client_key, libpq_key, SCRAM_KEY_LEN);
}

static void test_postgres(void **state)
{
	const struct scram_channel ch = {
		.tls = true, .offered = true, .plus_offered = true, .binding = bound};
	struct scram_secret secret;
	struct scram_client c;
	char out[SCRAM_MSG_MAX];
	const char *why = NULL;

	(void)state;
	assert_true(scram_client_first(&c, &ch, OURS, out, sizeof(out), &why) > 0);
	assert_string_equal(out, "p=tls-server-end-point,,n=,r=" OURS);
	assert_string_equal(c.choice.mech, SCRAM_MECH_PLUS);
	assert_int_equal(scram_client_final(&c, pg_challenge, strlen(pg_challenge), "pencil", NULL,
					    out, sizeof(out), &why),
			 strlen(pg_final));
	assert_string_equal(out, pg_final);
	assert_int_equal(scram_client_check(&c, pg_end, strlen(pg_end), &why), 0);
	/* and by keys: the same bytes */
	assert_int_equal(scram_secret_parse(real_secret, &secret), 0);
	memset(out, 0, sizeof(out));
	c.have_signature = false;
	assert_int_equal(scram_client_final_keys(&c, pg_challenge, strlen(pg_challenge), &secret,
						 libpq_key, out, sizeof(out), &why),
			 strlen(pg_final));
	assert_string_equal(out, pg_final);
	assert_int_equal(scram_client_check(&c, pg_end, strlen(pg_end), &why), 0);
}

/* ---- what is chosen ---- */

/* Every case: want, TLS, both offers, a hash or none; as libpq 15 (pg_SASL_init,
 * build_client_first_message). */
static void test_choose(void **state)
{
	struct scram_channel ch;
	struct scram_choice got;
	const char *why;
	char want, expect;
	unsigned i;
	int rc;

	(void)state;
	for (i = 0; i < 48; i++) {
		memset(&ch, 0, sizeof(ch));
		ch.want = (enum scram_want)(i / 16);
		want = "prd"[i / 16];
		ch.tls = i & 1;
		if (i & 2)
			scram_channel_offer(&ch, "SCRAM-SHA-256");
		if (i & 4)
			scram_channel_offer(&ch, "SCRAM-SHA-256-PLUS");
		scram_channel_offer(&ch, "SCRAM-SHA-1");
		scram_channel_offer(&ch, "scram-sha-256");
		scram_channel_offer(&ch, "");
		if (i & 8)
			ch.binding = bound;
		expect = 0;
		if (ch.tls && (i & 4) && want != 'd')
			expect = i & 8 ? 'p' : 0;
		else if (!ch.tls && (i & 4))
			expect = 0;
		else if ((i & 2) && want != 'r')
			expect = ch.tls && want == 'p' ? 'y' : 'n';
		why = NULL;
		memset(&got, 0, sizeof(got));
		rc = scram_choose(&ch, &got, &why);
		assert_int_equal(rc, expect != 0 ? 0 : -1);
		assert_int_equal(why == NULL, expect != 0);
		assert_int_equal(got.flag, expect);
		if (expect != 0)
			assert_string_equal(got.mech, expect == 'p' ? SCRAM_MECH_PLUS : SCRAM_MECH);
	}
}

/* ---- both roles against each other ---- */

static const uint8_t salt[16] = "0123456789abcde";
static const struct scram_channel plus_channel = {
	.tls = true,
	.offered = true,
	.plus_offered = true,
	.binding = {{0xc0, 0xff, 0xee}, SCRAM_BINDING_MAX}};

struct talk {
	struct scram_server s;
	struct scram_client c;
	char first[SCRAM_MSG_MAX], challenge[SCRAM_MSG_MAX], final[SCRAM_MSG_MAX],
		end[SCRAM_MSG_MAX];
	const char *why;
};

/* The messages are handed over at the end of a page behind which there is nothing,
 * because the sanitizers do not see what assembly reads. */
static const char *exact(const char *text, size_t len)
{
	static char *page;
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);

	if (page == NULL) {
		page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		assert_true(page != MAP_FAILED);
		assert_int_equal(mprotect(page + size, size, PROT_NONE), 0);
	}
	assert_true(len <= size);
	return memcpy(page + size - len, text, len);
}

static int server_first(struct talk *t, const char *mech, const char *msg, size_t len,
			const char *nonce)
{
	const char *m = exact(msg, len);
	int n = scram_server_first(&t->s, mech, m, len, nonce, t->challenge, sizeof(t->challenge),
				   &t->why);

	return n;
}

/* Each message gets a fresh try, and none of those that fail leaves a key. */
static int server_final(struct talk *t, const char *msg, size_t len)
{
	struct scram_server copy = t->s;
	static const uint8_t none[SCRAM_KEY_LEN];
	const char *m = exact(msg, len);
	int n = scram_server_final(&copy, m, len, t->end, sizeof(t->end), &t->why);

	assert_int_equal(copy.have_client_key, n > 0);
	if (n < 0)
		assert_memory_equal(copy.client_key, none, sizeof(none));
	return n;
}

static int client_check(struct talk *t, const char *msg, size_t len)
{
	const char *m = exact(msg, len);
	int rc = scram_client_check(&t->c, m, len, &t->why);

	return rc;
}

static void talk_start(struct talk *t)
{
	memset(t, 0, sizeof(*t));
	t->s.plus_offered = true;
	t->s.binding = plus_channel.binding;
	assert_int_equal(scram_secret_make("secret", salt, sizeof(salt), 2, &t->s.secret), 0);
	assert_true(scram_client_first(&t->c, &plus_channel, "clientNONCE", t->first,
				       sizeof(t->first), &t->why) > 0);
	assert_true(server_first(t, t->c.choice.mech, t->first, strlen(t->first), "serverNONCE") >
		    0);
	assert_true(scram_client_final(&t->c, t->challenge, strlen(t->challenge), "secret", NULL,
				       t->final, sizeof(t->final), &t->why) > 0);
}

static int talk_end(struct talk *t)
{
	if (server_final(t, t->final, strlen(t->final)) < 0)
		return -1;
	return client_check(t, t->end, strlen(t->end));
}

static void test_login(void **state)
{
	struct talk t;
	size_t len;

	(void)state;
	talk_start(&t);
	assert_int_equal(t.s.gs2_header, 'p');
	assert_int_equal(talk_end(&t), 0);
	t.s.doomed = true;
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "password mismatch");
	t.s.doomed = false;
	/* hashes of all lengths, and of other bytes and lengths than the client's */
	for (len = 1; len <= SCRAM_BINDING_MAX; len++) {
		talk_start(&t);
		t.s.binding.len = len;
		assert_int_equal(talk_end(&t), len == SCRAM_BINDING_MAX ? 0 : -1);
		t.s.binding = plus_channel.binding;
		t.s.binding.hash[len - 1] ^= 1;
		assert_int_equal(talk_end(&t), -1);
		assert_string_equal(t.why, "SCRAM channel binding does not match");
	}
	talk_start(&t);
	t.s.binding.len = SCRAM_BINDING_MAX + 1;
	assert_int_equal(talk_end(&t), -1);
	t.s.binding.len = 0;
	assert_int_equal(talk_end(&t), -1);
	/* one try */
	talk_start(&t);
	assert_true(scram_server_final(&t.s, t.final, strlen(t.final), t.end, sizeof(t.end),
				       &t.why) > 0);
	assert_int_equal(
		scram_server_final(&t.s, t.final, strlen(t.final), t.end, sizeof(t.end), &t.why),
		-1);
	assert_string_equal(t.why, "SCRAM message out of order");
}

static void test_first_broken(void **state)
{
	static const struct {
		bool offered;
		const char *mech, *gs2, *why;
	} cases[] = {
		{true, SCRAM_MECH_PLUS, "p=tls-server-end-point,,", NULL},
		{true, SCRAM_MECH, "n,,", NULL},
		{false, SCRAM_MECH, "n,,", NULL},
		{false, SCRAM_MECH, "y,,", NULL},
		{true, SCRAM_MECH, "y,,", "believes that SCRAM-SHA-256-PLUS was not offered"},
		{true, SCRAM_MECH, "p=tls-server-end-point,,", "did not choose"},
		{false, SCRAM_MECH, "p=tls-server-end-point,,", "did not choose"},
		{false, SCRAM_MECH_PLUS, "p=tls-server-end-point,,", "not offered"},
		{false, SCRAM_MECH_PLUS, "n,,", "not offered"},
		{true, "", "n,,", "not offered"},
		{true, "SCRAM-SHA-256-plus", "p=tls-server-end-point,,", "not offered"},
		{true, "SCRAM-SHA-256-PLUSS", "p=tls-server-end-point,,", "not offered"},
		{true, SCRAM_MECH_PLUS, "n,,", "sends no channel binding"},
		{true, SCRAM_MECH_PLUS, "y,,", "sends no channel binding"},
		{true, SCRAM_MECH_PLUS, "p=tls-unique,,", "other than tls-server-end-point"},
		{true, SCRAM_MECH_PLUS, "p=tls-server-end-pointx,,", "other than"},
		{true, SCRAM_MECH_PLUS, "p=,,", "other than"},
		{true, SCRAM_MECH_PLUS, "p,,", "other than"},
		{true, SCRAM_MECH_PLUS, "p=tls-server-end-point,a=x,", "authorization identity"},
		{true, SCRAM_MECH_PLUS, "P=tls-server-end-point,,", "channel binding flag"},
		{true, SCRAM_MECH_PLUS, "", "sends no channel binding"},
		{true, SCRAM_MECH, "nn,,", "channel binding flag"},
		{false, SCRAM_MECH, "y=,,", "channel binding flag"},
	};
	char msg[SCRAM_MSG_MAX];
	struct talk t;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		talk_start(&t);
		t.s.plus_offered = cases[i].offered;
		snprintf(msg, sizeof(msg), "%sn=,r=clientNONCE", cases[i].gs2);
		t.why = NULL;
		assert_int_equal(server_first(&t, cases[i].mech, msg, strlen(msg), "serverNONCE") >
					 0,
				 cases[i].why == NULL);
		if (cases[i].why != NULL)
			assert_non_null(strstr(t.why, cases[i].why));
		/* what the client sent for p=tls-server-end-point is right for that alone */
		assert_int_equal(talk_end(&t), i == 0 ? 0 : -1);
	}
	talk_start(&t);
	t.s.binding.len = 0; /* offered without a hash: not done */
	assert_int_equal(server_first(&t, SCRAM_MECH_PLUS, t.first, strlen(t.first), "x"), -1);
	for (i = 0; i < strlen(t.first); i++) {
		talk_start(&t);
		if (server_first(&t, SCRAM_MECH_PLUS, t.first, i, "serverNONCE") > 0)
			assert_int_equal(talk_end(&t), -1); /* a shorter nonce */
		talk_start(&t);
		memcpy(msg, t.first, strlen(t.first));
		msg[i] = (char)(msg[i] ^ 1);
		if (server_first(&t, SCRAM_MECH_PLUS, msg, strlen(t.first), "serverNONCE") > 0)
			assert_int_equal(talk_end(&t), -1); /* another one */
		msg[i] = 0;
		assert_int_equal(server_first(&t, SCRAM_MECH_PLUS, msg, strlen(t.first), "x"), -1);
	}
}

/* # is the value of c=, @ the rest of the message from the proof on. */
static void fill(const struct talk *t, const char *form, char *out)
{
	const char *r = strstr(t->final, ",r="), *p = strstr(t->final, ",p=");

	for (; *form != 0; form++) {
		if (*form == '#')
			out += sprintf(out, "%.*s", (int)(r - t->final - 2), t->final + 2);
		else if (*form == '$')
			out += sprintf(out, "%.*s", (int)(p - r - 3), r + 3);
		else if (*form == '@')
			out += sprintf(out, "%s", p + 3);
		else
			*out++ = *form;
	}
	*out = 0;
}

static void test_final_broken(void **state)
{
	static const char *const forms[] = {
		"c=biws,r=$,p=@",
		"c=eSws,r=$,p=@",
		"c=,r=$,p=@",
		"c=#=,r=$,p=@",
		"c=#A,r=$,p=@",
		"c=A#,r=$,p=@",
		"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=$,p=@", /* the header alone */
		"r=$,p=@",
		"r=$,c=#,p=@",
		"c=#,p=@,r=$",
		"c=#,c=#,r=$,p=@",
		"c=#,r=$",
		"c=#,r=$,p=@,p=@",
		"c=#,r=$,p=@,",
		"c=#,r=$,x=y,p=@",
		"c=#,r=serverNONCE,p=@",
		"c=#,r=clientNONCE,p=@",
		" c=#,r=$,p=@",
		"C=#,r=$,p=@",
		"c=#r=$,p=@",
	};
	char msg[2 * SCRAM_MSG_MAX];
	struct talk t;
	size_t i, len;

	(void)state;
	talk_start(&t);
	assert_int_equal(talk_end(&t), 0);
	fill(&t, "c=#,r=$,p=@", msg);
	assert_string_equal(msg, t.final);
	for (i = 0; i < COUNT(forms); i++) {
		fill(&t, forms[i], msg);
		assert_int_equal(server_final(&t, msg, strlen(msg)), -1);
	}
	len = strlen(t.final);
	for (i = 0; i < len; i++) {
		assert_int_equal(server_final(&t, t.final, i), -1);
		memcpy(msg, t.final, len);
		msg[i] = (char)(msg[i] ^ 1);
		assert_int_equal(server_final(&t, msg, len), -1);
		msg[i] = 0;
		assert_int_equal(server_final(&t, msg, len), -1);
	}
	assert_int_equal(server_final(&t, t.final, len + 1), -1);
	assert_int_equal(server_final(&t, t.first, strlen(t.first)), -1);
	assert_int_equal(server_final(&t, t.challenge, strlen(t.challenge)), -1);
	memset(msg, 'a', sizeof(msg));
	assert_int_equal(server_final(&t, msg, sizeof(msg)), -1);
	/* and what the server answers */
	assert_int_equal(talk_end(&t), 0);
	len = strlen(t.end);
	for (i = 0; i < len; i++) {
		assert_int_equal(client_check(&t, t.end, i), -1);
		memcpy(msg, t.end, len);
		msg[i] = (char)(msg[i] ^ 1);
		assert_int_equal(client_check(&t, msg, len), -1);
	}
	assert_int_equal(client_check(&t, t.challenge, strlen(t.challenge)), -1);
}

/* A login that was seen on the wire gets nobody in again, on either side. */
static void test_replay(void **state)
{
	struct talk old, t;

	(void)state;
	talk_start(&old);
	assert_int_equal(talk_end(&old), 0);
	talk_start(&t);
	assert_true(server_first(&t, SCRAM_MECH_PLUS, old.first, strlen(old.first), "othernonce") >
		    0);
	assert_int_equal(server_final(&t, old.final, strlen(old.final)), -1);
	assert_string_equal(t.why, "SCRAM nonce does not match");
	/* the proof with the new nonce in front */
	snprintf(t.final, sizeof(t.final), "%.*s,r=clientNONCEothernonce,p=%s",
		 (int)(strstr(old.final, ",r=") - old.final), old.final,
		 strstr(old.final, ",p=") + 3);
	assert_int_equal(server_final(&t, t.final, strlen(t.final)), -1);
	assert_string_equal(t.why, "password mismatch");
	/* the server's: its challenge to another nonce, its signature for another challenge */
	assert_true(scram_client_first(&t.c, &plus_channel, "otherNONCE1", t.first, sizeof(t.first),
				       &t.why) > 0);
	assert_int_equal(client_check(&t, old.end, strlen(old.end)), -1);
	assert_string_equal(t.why, "SCRAM message out of order");
	assert_int_equal(scram_client_final(&t.c, old.challenge, strlen(old.challenge), "secret",
					    NULL, t.final, sizeof(t.final), &t.why),
			 -1);
	assert_true(scram_client_final(&t.c, "r=otherNONCE1x,s=MDEyMzQ1Njc4OWFiY2RlAA==,i=2", 45,
				       "secret", NULL, t.final, sizeof(t.final), &t.why) > 0);
	assert_int_equal(client_check(&t, old.end, strlen(old.end)), -1);
}

/* One mechanism's messages to the other, with proofs that are right for what they
 * say: only the binding is wrong. */
static void test_crossed(void **state)
{
	struct scram_channel ch = plus_channel;
	struct talk t;

	(void)state;
	/* PLUS was taken from the list: y */
	ch.plus_offered = false;
	talk_start(&t);
	assert_true(scram_client_first(&t.c, &ch, "clientNONCE", t.first, sizeof(t.first), &t.why) >
		    0);
	assert_int_equal(t.first[0], 'y');
	assert_int_equal(server_first(&t, t.c.choice.mech, t.first, strlen(t.first), "x"), -1);
	/* somebody makes an n of it: then c= says y */
	t.first[0] = 'n';
	assert_true(server_first(&t, SCRAM_MECH, t.first, strlen(t.first), "x") > 0);
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret", NULL,
				       t.final, sizeof(t.final), &t.why) > 0);
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "SCRAM channel binding does not match");
	/* a client without binding, to whom somebody gives the name of PLUS, and the
	 * other way round */
	ch.want = SCRAM_DISABLE;
	assert_true(scram_client_first(&t.c, &ch, "clientNONCE", t.first, sizeof(t.first), &t.why) >
		    0);
	assert_int_equal(server_first(&t, SCRAM_MECH_PLUS, t.first, strlen(t.first), "x"), -1);
	assert_true(server_first(&t, SCRAM_MECH, t.first, strlen(t.first), "x") > 0);
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret", NULL,
				       t.final, sizeof(t.final), &t.why) > 0);
	assert_int_equal(talk_end(&t), 0);
	t.s.gs2_header = 'p';
	assert_int_equal(talk_end(&t), -1);
	talk_start(&t);
	t.s.gs2_header = 'n';
	assert_int_equal(talk_end(&t), -1);
}

/* ---- certificates ---- */

static X509 *make_cert(const char *type, const EVP_MD *md)
{
	EVP_PKEY *key = strcmp(type, "EC") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
						: EVP_PKEY_Q_keygen(NULL, NULL, type);
	X509 *cert = X509_new();

	assert_non_null(key);
	assert_non_null(cert);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_true(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7));
	assert_true(X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL);
	assert_true(X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL);
	assert_true(X509_sign(cert, key, md) > 0);
	EVP_PKEY_free(key);
	return cert;
}

static void test_cert_hash(void **state)
{
	const struct {
		const char *type;
		const EVP_MD *md, *expect;
	} cases[] = {
		{"EC", EVP_sha1(), EVP_sha256()},
		{"EC", EVP_sha256(), EVP_sha256()},
		{"EC", EVP_sha384(), EVP_sha384()},
		{"EC", EVP_sha512(), EVP_sha512()},
		{"EC", EVP_sha224(), EVP_sha224()},
		{"ED25519", NULL, NULL},
		{"ED448", NULL, NULL},
	};
	static const struct scram_binding none;
	struct scram_binding b;
	uint8_t want[EVP_MAX_MD_SIZE], *der;
	unsigned want_len;
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		X509 *cert = make_cert(cases[i].type, cases[i].md);

		memset(&b, 1, sizeof(b));
		assert_int_equal(scram_cert_hash(cert, &b), cases[i].expect != NULL ? 0 : -1);
		if (cases[i].expect != NULL) {
			der = NULL;
			n = i2d_X509(cert, &der);
			assert_true(n > 0);
			assert_int_equal(
				EVP_Digest(der, (size_t)n, want, &want_len, cases[i].expect, NULL),
				1);
			OPENSSL_free(der);
			assert_int_equal(b.len, want_len);
			assert_memory_equal(b.hash, want, want_len);
		} else {
			assert_memory_equal(&b, &none, sizeof(b));
		}
		X509_free(cert);
	}
}

/* ---- by keys ---- */

static int by_keys(struct talk *t, const struct scram_secret *secret, const uint8_t *key)
{
	int n = scram_client_final_keys(&t->c, t->challenge, strlen(t->challenge), secret, key,
					t->final, sizeof(t->final), &t->why);

	assert_int_equal(t->c.have_signature, n > 0);
	return n;
}

static void test_keys(void **state)
{
	struct scram_secret other;
	struct scram_server front;
	struct talk t;
	size_t cap, len;
	char out[SCRAM_MSG_MAX];

	(void)state;
	/* what a client proved to us */
	talk_start(&t);
	assert_true(scram_server_final(&t.s, t.final, strlen(t.final), t.end, sizeof(t.end),
				       &t.why) > 0);
	front = t.s;
	assert_true(front.have_client_key);
	/* logs in where the secret is the same */
	talk_start(&t);
	assert_true(by_keys(&t, &front.secret, front.client_key) > 0);
	assert_int_equal(talk_end(&t), 0);
	len = strlen(t.final);
	for (cap = 0; cap <= len + 1; cap++)
		assert_int_equal(scram_client_final_keys(&t.c, t.challenge, strlen(t.challenge),
							 &front.secret, front.client_key, out, cap,
							 &t.why),
				 cap > len ? (int)len : -1);
	/* and says what is wrong where it is not */
	other = front.secret;
	other.iterations++;
	assert_int_equal(by_keys(&t, &other, front.client_key), -1);
	assert_non_null(strstr(t.why, "another salt or iteration count"));
	other = front.secret;
	other.salt[0] ^= 1;
	assert_int_equal(by_keys(&t, &other, front.client_key), -1);
	assert_non_null(strstr(t.why, "another salt or iteration count"));
	other = front.secret;
	other.salt_len--;
	assert_int_equal(by_keys(&t, &other, front.client_key), -1);
	assert_non_null(strstr(t.why, "another salt or iteration count"));
	other = front.secret;
	other.stored_key[31] ^= 1;
	assert_int_equal(by_keys(&t, &other, front.client_key), -1);
	assert_string_equal(t.why, "the SCRAM key is not that of the secret");
	/* a server that has the salt and not the key is found out */
	assert_true(by_keys(&t, &front.secret, front.client_key) > 0);
	t.s.secret.server_key[0] ^= 1;
	assert_true(server_final(&t, t.final, strlen(t.final)) > 0);
	assert_int_equal(client_check(&t, t.end, strlen(t.end)), -1);
	/* more rounds than we would do ourselves cost us nothing here */
	other = front.secret;
	other.iterations = SCRAM_ITERATIONS_MAX + 1;
	t.s.secret = other;
	assert_true(server_first(&t, SCRAM_MECH_PLUS, t.first, strlen(t.first), "serverNONCE") > 0);
	assert_true(by_keys(&t, &other, front.client_key) > 0);
	assert_int_equal(talk_end(&t), 0);
	assert_int_equal(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret", NULL,
					    out, sizeof(out), &t.why),
			 -1);
	/* garbage in the challenge is refused as with a password */
	assert_int_equal(scram_client_final_keys(&t.c, t.challenge, strlen(t.challenge) - 1,
						 &front.secret, front.client_key, out, sizeof(out),
						 &t.why),
			 -1);
}

/* No key for who failed, none left by a login before, none after wiping. */
static void test_key_is_kept_from_others(void **state)
{
	static const struct scram_server none;
	struct talk t;

	(void)state;
	talk_start(&t);
	t.s.doomed = true;
	assert_int_equal(talk_end(&t), -1); /* server_final() looks for a key */
	t.s.doomed = false;
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "wrong", NULL,
				       t.final, sizeof(t.final), &t.why) > 0);
	assert_int_equal(talk_end(&t), -1);
	talk_start(&t);
	assert_true(scram_server_final(&t.s, t.final, strlen(t.final), t.end, sizeof(t.end),
				       &t.why) > 0);
	assert_true(t.s.have_client_key);
	assert_true(server_first(&t, SCRAM_MECH_PLUS, t.first, strlen(t.first), "serverNONCE") > 0);
	assert_false(t.s.have_client_key);
	assert_memory_equal(t.s.client_key, none.client_key, SCRAM_KEY_LEN);
	scram_server_wipe(&t.s);
	assert_memory_equal(&t.s, &none, sizeof(none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_libpq),
		cmocka_unit_test(test_postgres),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_first_broken),
		cmocka_unit_test(test_final_broken),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_crossed),
		cmocka_unit_test(test_cert_hash),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_key_is_kept_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
