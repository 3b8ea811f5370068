/* tests/unit/test_scram.c - SCRAM-SHA-256 against RFC 7677 and PostgreSQL's own
 * secrets, both roles against each other, every message broken in every place;
 * MD5 against a known value; base64.
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
#include <cmocka.h>

#include "proxy/wire/b64.h"
#include "proxy/wire/scram.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A server without TLS offers this. */
static const struct scram_channel clear = {.offered = true};
static const uint8_t salt[] = "0123456789abcdef"; /* and a zero */

/* Made by PostgreSQL 15 from "pencil" and from the word with quotes in it. */
static const char pencil_secret[] =
	"SCRAM-SHA-256$4096:qysqNEUvdBiOYSU6ghN19Q==$m7DIBr79yCkx5R3siWGLVgjih2gPxBHVOT25bSSJyYs=:"
	"3q65+IMIM7KBeIH8S7cIj+PMYJaFnTc2lg7xWishKIo=";
static const char strange_secret[] =
	"SCRAM-SHA-256$4096:ONSVjGCiJewEVBVE4E8BSw==$1l5r3EuOlObn7z3ZPCR7DWSuizsCQS1mds9SPougn9o=:"
	"oIQaOKSo0D7gZJAqWgjAxhegjf5vmyJArEG9VAmuJ6M=";
static const char strange_password[] = "sch$n pa'ss, word=";

/* ---- base64 ---- */

static void test_b64(void **state)
{
	static const char *const broken[] = {
		"A",    "AA",       "AAA",   "====", "A===",  "AB==",     "AAB=", "AA=A",
		"AA A", "AAA=AAAA", "AA\n=", "AA-_", "AAAA=", "AA==AA==", " AAA", "AAAAA"};
	uint8_t in[300], back[300];
	char text[B64_LEN(sizeof(in)) + 1];
	size_t i, len;
	int n;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + 3);
	for (len = 0; len < sizeof(in); len++) {
		n = b64_encode(in, len, text, sizeof(text));
		assert_int_equal(n, B64_LEN(len));
		assert_int_equal(strlen(text), n);
		assert_int_equal(b64_decode(text, (size_t)n, back, len), len);
		assert_memory_equal(in, back, len);
		if (len > 0)
			assert_int_equal(b64_decode(text, (size_t)n, back, len - 1), -1);
		assert_int_equal(b64_encode(in, len, text, (size_t)n), -1);
	}
	assert_int_equal(b64_encode((const uint8_t *)"foob", 4, text, sizeof(text)), 8);
	assert_string_equal(text, "Zm9vYg==");
	for (i = 0; i < COUNT(broken); i++)
		assert_int_equal(b64_decode(broken[i], strlen(broken[i]), back, sizeof(back)), -1);
}

/* ---- secrets ---- */

static void test_postgres_secret(void **state)
{
	static const struct {
		const char *text, *password;
	} cases[] = {{pencil_secret, "pencil"}, {strange_secret, strange_password}};
	struct scram_secret s, made;
	char text[512];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(scram_secret_parse(cases[i].text, &s), 0);
		assert_int_equal(s.iterations, 4096);
		assert_int_equal(s.salt_len, 16);
		assert_string_equal(scram_secret_print(&s, text, sizeof(text)), cases[i].text);
		assert_null(scram_secret_print(&s, text, strlen(cases[i].text)));
		assert_int_equal(scram_secret_make(cases[i].password, s.salt, s.salt_len,
						   s.iterations, &made),
				 0);
		assert_string_equal(scram_secret_print(&made, text, sizeof(text)), cases[i].text);
	}
}

static void test_secret_broken(void **state)
{
	static const char *const broken[] = {
		"",
		"pencil",
		"SCRAM-SHA-1$4096:c2FsdA==$a:b",
		"SCRAM-SHA-256$",
		"SCRAM-SHA-256$:c2FsdA==$",
		"SCRAM-SHA-256$4096:c2FsdA==",
		"SCRAM-SHA-256$4096:c2FsdA==$",
		"SCRAM-SHA-256$4096$c2FsdA==:",
	};
	static const char *const counts[] = {
		"0",     "-1",         "+1",   "04096", "4096 ",
		" 4096", "4294967297", "0x10", "",      "99999999999999999999"};
	struct scram_secret s;
	char text[512];
	size_t i, len = strlen(pencil_secret);

	(void)state;
	for (i = 0; i < COUNT(broken); i++)
		assert_int_equal(scram_secret_parse(broken[i], &s), -1);
	for (i = 0; i < COUNT(counts); i++) {
		snprintf(text, sizeof(text), "SCRAM-SHA-256$%s%s", counts[i],
			 strchr(pencil_secret, ':'));
		assert_int_equal(scram_secret_parse(text, &s), -1);
	}
	for (i = 0; i < len; i++) { /* cut, then with one byte changed */
		snprintf(text, sizeof(text), "%.*s", (int)i, pencil_secret);
		assert_int_equal(scram_secret_parse(text, &s), -1);
		snprintf(text, sizeof(text), "%s", pencil_secret);
		text[i] = '!';
		assert_int_equal(scram_secret_parse(text, &s), -1);
	}
	snprintf(text, sizeof(text), "%s=", pencil_secret);
	assert_int_equal(scram_secret_parse(text, &s), -1);
}

static void test_secret_bounds(void **state)
{
	static uint8_t big[SCRAM_SALT_MAX + 1];
	char text[1024], b64[B64_LEN(sizeof(big)) + 1];
	struct scram_secret s;
	size_t len;

	(void)state;
	assert_int_equal(scram_secret_make("a", big, 0, 1, &s), -1);
	assert_int_equal(scram_secret_make("a", big, sizeof(big), 1, &s), -1);
	assert_int_equal(scram_secret_make("a", big, 1, 0, &s), -1);
	assert_int_equal(scram_secret_make("a", big, 1, SCRAM_ITERATIONS_MAX + 1, &s), -1);
	for (len = 0; len <= sizeof(big); len++) {
		assert_true(b64_encode(big, len, b64, sizeof(b64)) >= 0);
		snprintf(text, sizeof(text), "SCRAM-SHA-256$1:%s%s", b64,
			 strchr(pencil_secret + 14, '$'));
		assert_int_equal(scram_secret_parse(text, &s),
				 len > 0 && len <= SCRAM_SALT_MAX ? 0 : -1);
	}
}

static void test_mock(void **state)
{
	static const uint8_t key[32] = {1}, other_key[32] = {2};
	struct scram_secret a, b;

	(void)state;
	scram_secret_mock("alice", key, 4096, &a);
	scram_secret_mock("alice", key, 4096, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(a.salt_len, 16);
	assert_int_equal(a.iterations, 4096);
	assert_memory_not_equal(a.stored_key, a.server_key, SCRAM_KEY_LEN);
	scram_secret_mock("bob", key, 10000, &b);
	assert_int_equal(b.iterations, 10000);
	assert_memory_not_equal(a.salt, b.salt, 16);
	assert_memory_not_equal(a.stored_key, b.stored_key, SCRAM_KEY_LEN);
	scram_secret_mock("alice", other_key, 4096, &b);
	assert_memory_not_equal(a.salt, b.salt, 16);
	scram_secret_wipe(&a);
	assert_int_equal(a.stored_key[0] | a.salt[0] | (int)a.iterations, 0);
}

/* ---- RFC 7677 section 3 ---- */

#define RFC_CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_BARE "n=user,r=" RFC_CLIENT_NONCE
#define RFC_SERVER_FIRST "r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_CLIENT_FINAL                                                                           \
	"c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE                                              \
	",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void test_rfc_server(void **state)
{
	static const uint8_t rfc_salt[16] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
					     0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
	struct scram_server s = {.doomed = false};
	char out[SCRAM_MSG_MAX];
	const char *why = NULL;

	(void)state;
	assert_int_equal(scram_secret_make("pencil", rfc_salt, 16, 4096, &s.secret), 0);
	assert_int_equal(scram_server_first(&s, SCRAM_MECH, "n,," RFC_BARE, strlen("n,," RFC_BARE),
					    RFC_SERVER_NONCE, out, sizeof(out), &why),
			 strlen(RFC_SERVER_FIRST));
	assert_string_equal(out, RFC_SERVER_FIRST);
	assert_int_equal(scram_server_final(&s, RFC_CLIENT_FINAL, strlen(RFC_CLIENT_FINAL), out,
					    sizeof(out), &why),
			 strlen(RFC_SERVER_FINAL));
	assert_string_equal(out, RFC_SERVER_FINAL);
}

static void test_rfc_client(void **state)
{
	struct scram_client c;
	char out[SCRAM_MSG_MAX];
	const char *why = NULL;

	(void)state;
	assert_true(scram_client_first(&c, &clear, RFC_CLIENT_NONCE, out, sizeof(out), &why) > 0);
	assert_string_equal(out, "n,,n=,r=" RFC_CLIENT_NONCE);
	/* the RFC's client names its user, ours does not */
	snprintf(c.client_first_bare, sizeof(c.client_first_bare), "%s", RFC_BARE);
	assert_int_equal(scram_client_final(&c, RFC_SERVER_FIRST, strlen(RFC_SERVER_FIRST),
					    "pencil", NULL, out, sizeof(out), &why),
			 strlen(RFC_CLIENT_FINAL));
	assert_string_equal(out, RFC_CLIENT_FINAL);
	assert_int_equal(scram_client_check(&c, RFC_SERVER_FINAL, strlen(RFC_SERVER_FINAL), &why),
			 0);
}

/* ---- both roles against each other ---- */

struct talk {
	struct scram_server s;
	struct scram_client c;
	char first[SCRAM_MSG_MAX], challenge[SCRAM_MSG_MAX], final[SCRAM_MSG_MAX],
		outcome[SCRAM_MSG_MAX];
	const char *why;
};

/* The messages are handed over in allocations of their exact size. */
static char *exact(const char *text, size_t len)
{
	char *p = malloc(len > 0 ? len : 1);

	assert_non_null(p);
	if (len > 0)
		memcpy(p, text, len);
	return p;
}

static int server_first(struct talk *t, const char *msg, size_t len)
{
	char *m = exact(msg, len);
	int n = scram_server_first(&t->s, SCRAM_MECH, m, len, "serverNONCE", t->challenge,
				   sizeof(t->challenge), &t->why);

	free(m);
	return n;
}

static int server_final(struct talk *t, const char *msg, size_t len)
{
	struct scram_server copy = t->s; /* each message gets a fresh try */
	char *m = exact(msg, len);
	int n = scram_server_final(&copy, m, len, t->outcome, sizeof(t->outcome), &t->why);

	free(m);
	return n;
}

static int client_final(struct talk *t, const char *msg, size_t len, const char *password)
{
	char *m = exact(msg, len);
	int n = scram_client_final(&t->c, m, len, password, NULL, t->final, sizeof(t->final),
				   &t->why);

	free(m);
	return n;
}

static int client_check(struct talk *t, const char *msg, size_t len)
{
	char *m = exact(msg, len);
	int rc = scram_client_check(&t->c, m, len, &t->why);

	free(m);
	return rc;
}

/* Up to the client's last message. Few rounds: these tests are not about them. */
static void talk_start(struct talk *t, const char *password, const char *tried)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(scram_secret_make(password, salt, sizeof(salt), 2, &t->s.secret), 0);
	assert_true(scram_client_first(&t->c, &clear, "clientNONCE", t->first, sizeof(t->first),
				       &t->why) > 0);
	assert_true(server_first(t, t->first, strlen(t->first)) > 0);
	assert_true(client_final(t, t->challenge, strlen(t->challenge), tried) > 0);
}

static int talk_end(struct talk *t)
{
	if (server_final(t, t->final, strlen(t->final)) < 0)
		return -1;
	return client_check(t, t->outcome, strlen(t->outcome));
}

static void test_login(void **state)
{
	struct talk t;
	char *longest = malloc(100001);

	(void)state;
	assert_non_null(longest);
	memset(longest, 'x', 100000);
	longest[100000] = 0;
	talk_start(&t, "secret", "secret");
	assert_int_equal(talk_end(&t), 0);
	talk_start(&t, "secret", "Secret");
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "password mismatch");
	talk_start(&t, "", "");
	assert_int_equal(talk_end(&t), 0);
	talk_start(&t, "", "x");
	assert_int_equal(talk_end(&t), -1);
	talk_start(&t, longest, longest);
	assert_int_equal(talk_end(&t), 0);
	talk_start(&t, longest, longest + 1);
	assert_int_equal(talk_end(&t), -1);
	talk_start(&t, strange_password, strange_password);
	assert_int_equal(talk_end(&t), 0);
	free(longest);
}

static void test_doomed(void **state)
{
	struct talk t;

	(void)state;
	talk_start(&t, "secret", "secret");
	t.s.doomed = true;
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "password mismatch");
}

/* One try per challenge, and none without one. */
static void test_order(void **state)
{
	struct talk t;
	char out[SCRAM_MSG_MAX];

	(void)state;
	talk_start(&t, "secret", "secret");
	assert_true(scram_server_final(&t.s, t.final, strlen(t.final), out, sizeof(out), &t.why) >
		    0);
	assert_int_equal(
		scram_server_final(&t.s, t.final, strlen(t.final), out, sizeof(out), &t.why), -1);
	memset(&t.s, 0, sizeof(t.s));
	assert_int_equal(scram_server_final(&t.s, "c=biws,r=,p=", 12, out, sizeof(out), &t.why),
			 -1);
	memset(&t.c, 0, sizeof(t.c));
	assert_int_equal(client_check(&t, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 46),
			 -1);
	assert_int_equal(client_final(&t, "r=x,s=AAAA,i=1", 14, "a"), -1);
}

static void test_y_header(void **state)
{
	struct talk t;
	char msg[SCRAM_MSG_MAX];

	(void)state;
	talk_start(&t, "secret", "secret");
	memcpy(msg, t.first, sizeof(msg));
	msg[0] = 'y';
	assert_true(server_first(&t, msg, strlen(msg)) > 0);
	/* the client said y and now says n: somebody changed the header */
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "SCRAM channel binding does not match");
	/* c=eSws is signed, so that the proof for c=biws is wrong under it */
	memcpy(t.final, "c=eSws", 6);
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "password mismatch");
	talk_start(&t, "secret", "secret");
	memcpy(t.final, "c=eSws", 6);
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "SCRAM channel binding does not match");
}

static void test_client_first_broken(void **state)
{
	static const char *const broken[] = {
		"",
		"n",
		"n,",
		"n,,",
		",,n=,r=abc",
		"x,,n=,r=abc",
		"N,,n=,r=abc",
		"p=tls-server-end-point,,n=,r=abc",
		"n,a=bob,n=,r=abc",
		"n,,n=",
		"n,,r=abc",
		"n,,r=abc,n=",
		"n,,n=,r=",
		"n,,n=,r=abc,",
		"n,,n=,r=abc,x=y",
		"n,,n=,r=abc,r=abc",
		"n,,n=,n=,r=abc",
		"n,,m=x,n=,r=abc",
		"n,,n=,r=a c",
		"n,,n=,r=a\tc",
		"n,,n=,r=a\x7f",
		"n,,n=,r=a\xc3\xa9",
		" n,,n=,r=abc",
	};
	struct talk t;
	char msg[2 * SCRAM_MSG_MAX];
	size_t i;

	(void)state;
	talk_start(&t, "secret", "secret");
	for (i = 0; i < COUNT(broken); i++)
		assert_int_equal(server_first(&t, broken[i], strlen(broken[i])), -1);
	assert_int_equal(server_first(&t, "n,,n=,r=a\0c", 11), -1);
	assert_int_equal(server_first(&t, "n,,n=a\0,r=c", 11), -1);
	/* and after a refusal there is nothing to finish */
	assert_int_equal(talk_end(&t), -1);
	assert_string_equal(t.why, "SCRAM message out of order");
	assert_true(server_first(&t, "n,,n=bob,r=abc", 14) > 0);
	memset(msg, 'a', sizeof(msg));
	memcpy(msg, "n,,n=,r=", 8);
	for (i = 8; i < sizeof(msg); i++) /* the nonces together are bounded */
		assert_int_equal(server_first(&t, msg, i) > 0,
				 i > 8 && i - 8 + strlen("serverNONCE") < SCRAM_NONCE_MAX);
	memcpy(msg + SCRAM_MSG_MAX - 5, ",r=a", 4);
	msg[6] = 'r';
	msg[7] = 'n';
	memcpy(msg, "n,,n=aa", 7);
	assert_true(server_first(&t, msg, SCRAM_MSG_MAX - 1) > 0);
	assert_int_equal(server_first(&t, msg, SCRAM_MSG_MAX), -1);
}

static void test_our_nonce(void **state)
{
	struct talk t;
	struct scram_client c;
	char out[SCRAM_MSG_MAX], nonce[SCRAM_NONCE_MAX + 1];

	(void)state;
	talk_start(&t, "a", "a");
	memset(nonce, 'a', sizeof(nonce));
	nonce[SCRAM_NONCE_MAX] = 0;
	assert_int_equal(scram_client_first(&c, &clear, nonce, out, sizeof(out), &t.why), -1);
	assert_int_equal(scram_client_first(&c, &clear, "", out, sizeof(out), &t.why), -1);
	assert_int_equal(scram_client_first(&c, &clear, "a,b", out, sizeof(out), &t.why), -1);
	assert_int_equal(scram_client_first(&c, &clear, "abc", out, 11, &t.why), -1);
	assert_int_equal(scram_client_first(&c, &clear, "abc", out, 12, &t.why), 11);
	assert_int_equal(scram_server_first(&t.s, SCRAM_MECH, t.first, strlen(t.first), nonce, out,
					    sizeof(out), &t.why),
			 -1);
	assert_int_equal(scram_server_first(&t.s, SCRAM_MECH, t.first, strlen(t.first), "", out,
					    sizeof(out), &t.why),
			 -1);
	assert_int_equal(scram_server_first(&t.s, SCRAM_MECH, t.first, strlen(t.first), "abc", out,
					    20, &t.why),
			 -1);
}

/* # is the nonce, @ the proof. */
static void fill(const char *form, const char *nonce, const char *proof, char *out)
{
	const char *part;
	size_t n;

	for (; *form != 0; form++) {
		part = *form == '#' ? nonce : *form == '@' ? proof : form;
		n = part == form ? 1 : strlen(part);
		memcpy(out, part, n);
		out += n;
	}
	*out = 0;
}

/* The right message only: any byte changed, cut, added, moved is refused. */
static void test_client_final_broken(void **state)
{
	static const char *const forms[] = {
		"r=#,c=biws,p=@",
		"c=biws,p=@,r=#",
		"c=biws,r=#,r=#,p=@",
		"c=biws,r=#",
		"c=biws,p=@",
		"r=#,p=@",
		"c=,r=#,p=@",
		"c=bixs,r=#,p=@",
		"c=biws,r=#x,p=@",
		"c=biws,r=x,p=@",
		"c=biws,r=#,p=@,p=@",
		"c=biws,r=#,x=y,p=@",
		"c=biws,r=#,p=@,",
		"c=biws,,r=#,p=@",
		"c=biws,r=#,p=@=",
		"c=biws,r=#,p=",
		"c=biws,c=biws,r=#,p=@",
		" c=biws,r=#,p=@",
		"c=biws,r=#,p= @",
		"c=biws,r=#,v=@",
		"c=eSws,r=#,p=@",
	};
	struct talk t;
	char msg[2 * SCRAM_MSG_MAX];
	size_t i, len;
	const char *proof;

	(void)state;
	talk_start(&t, "secret", "secret");
	assert_int_equal(talk_end(&t), 0);
	proof = strstr(t.final, ",p=") + 3;
	fill("c=biws,r=#,p=@", t.s.nonce, proof, msg);
	assert_string_equal(msg, t.final);
	for (i = 0; i < COUNT(forms); i++) {
		fill(forms[i], t.s.nonce, proof, msg);
		assert_int_equal(server_final(&t, msg, strlen(msg)), -1);
	}
	fill("c=biws,r=clientNONCE,p=@", "", proof, msg);
	assert_int_equal(server_final(&t, msg, strlen(msg)), -1);
	assert_string_equal(t.why, "SCRAM nonce does not match");
	len = strlen(t.final);
	for (i = 0; i < len; i++) {
		assert_int_equal(server_final(&t, t.final, i), -1);
		memcpy(msg, t.final, len);
		msg[i] = (char)(msg[i] ^ 1);
		assert_int_equal(server_final(&t, msg, len), -1);
		msg[i] = 0;
		assert_int_equal(server_final(&t, msg, len), -1);
	}
	assert_int_equal(server_final(&t, t.final, len + 1), -1); /* with its zero */
	memset(msg, 'a', sizeof(msg));
	assert_int_equal(server_final(&t, msg, sizeof(msg)), -1);
	assert_int_equal(scram_server_final(&t.s, t.final, len, msg, 46, &t.why), -1);
	assert_int_equal(scram_server_final(&t.s, t.final, len, msg, 47, &t.why), 46);
}

static void test_server_first_broken(void **state)
{
	static const char *const broken[] = {
		"",
		"r=",
		"e=other-error",
		"r=clientNONCE,s=AAAA,i=1", /* nothing added */
		"r=clientNONC,s=AAAA,i=1",
		"r=xclientNONCE,s=AAAA,i=1",
		"r=ClientNONCEx,s=AAAA,i=1",
		"r=clientNONCEx",
		"r=clientNONCEx,s=AAAA",
		"r=clientNONCEx,s=AAAA,i=",
		"r=clientNONCEx,s=AAAA,i=0",
		"r=clientNONCEx,s=AAAA,i=-1",
		"r=clientNONCEx,s=AAAA,i=01",
		"r=clientNONCEx,s=AAAA,i=1 ",
		"r=clientNONCEx,s=AAAA,i=1000001",
		"r=clientNONCEx,s=AAAA,i=2147483648",
		"r=clientNONCEx,s=AAAA,i=4294967297",
		"r=clientNONCEx,s=AAAA,i=18446744073709551617",
		"r=clientNONCEx,s=AAAA,i=1,",
		"r=clientNONCEx,s=AAAA,i=1,i=1",
		"r=clientNONCEx,s=AAAA,i=1,x=y",
		"r=clientNONCEx,s=,i=1",
		"r=clientNONCEx,s=AAA,i=1",
		"r=clientNONCEx,s=A AA,i=1",
		"r=clientNONCEx,i=1,s=AAAA",
		"r=clientNONCEx,r=clientNONCEx,s=AAAA,i=1",
		"s=AAAA,r=clientNONCEx,i=1",
		"m=x,r=clientNONCEx,s=AAAA,i=1",
		"r=clientNONCE x,s=AAAA,i=1",
		"r=clientNONCE\xff,s=AAAA,i=1",
	};
	static const char good[] = "r=clientNONCEx,s=AAAA,i=1";
	struct talk t;
	char msg[2 * SCRAM_MSG_MAX];
	size_t i;

	(void)state;
	talk_start(&t, "secret", "secret");
	assert_true(client_final(&t, good, strlen(good), "secret") > 0);
	assert_true(t.c.have_signature);
	for (i = 0; i < COUNT(broken); i++) {
		assert_int_equal(client_final(&t, broken[i], strlen(broken[i]), "secret"), -1);
		assert_false(t.c.have_signature);
	}
	assert_int_equal(client_final(&t, "r=clientNONCEx,s=AAAA,i=1000001", 31, "secret"), -1);
	assert_string_equal(t.why, "the server's SCRAM iteration count is not from 1 to 1000000");
	for (i = 0; i < strlen(good); i++)
		assert_int_equal(client_final(&t, good, i, "secret"), -1);
	assert_int_equal(client_final(&t, good, strlen(good) + 1, "secret"), -1);
	memset(msg, 'A', sizeof(msg));
	memcpy(msg, "r=clientNONCEx,s=", 17);
	for (i = 17; i + 4 <= sizeof(msg); i++) { /* salts up to SCRAM_SALT_MAX */
		memcpy(msg + i, ",i=1", 4);
		assert_int_equal(client_final(&t, msg, i + 4, "a") > 0,
				 i > 17 && (i - 17) % 4 == 0 && (i - 17) / 4 * 3 <= SCRAM_SALT_MAX);
		memset(msg + i, 'A', 4);
	}
	memset(msg + 13, 'A', sizeof(msg) - 13);
	for (i = 13; i + 11 <= sizeof(msg); i++) { /* nonces up to SCRAM_NONCE_MAX */
		memcpy(msg + i, ",s=AAAA,i=1", 11);
		assert_int_equal(client_final(&t, msg, i + 11, "a") > 0,
				 i > 13 && i - 2 < SCRAM_NONCE_MAX);
		memset(msg + i, 'A', 11);
	}
}

static void test_small_buffers(void **state)
{
	struct talk t;
	char out[SCRAM_MSG_MAX];
	size_t cap, len;

	(void)state;
	talk_start(&t, "secret", "secret");
	len = strlen(t.final);
	for (cap = 0; cap <= len + 1; cap++)
		assert_int_equal(scram_client_final(&t.c, t.challenge, strlen(t.challenge),
						    "secret", NULL, out, cap, &t.why),
				 cap > len ? (int)len : -1);
}

static void test_server_final_broken(void **state)
{
	struct talk t;
	char msg[2 * SCRAM_MSG_MAX];
	size_t i, len;

	(void)state;
	talk_start(&t, "secret", "secret");
	assert_int_equal(talk_end(&t), 0);
	len = strlen(t.outcome);
	for (i = 0; i < len; i++) {
		assert_int_equal(client_check(&t, t.outcome, i), -1);
		memcpy(msg, t.outcome, len);
		msg[i] = (char)(msg[i] ^ 1);
		assert_int_equal(client_check(&t, msg, len), -1);
	}
	assert_int_equal(client_check(&t, t.outcome, len + 1), -1);
	snprintf(msg, sizeof(msg), "%.*s,x=y", (int)len, t.outcome);
	assert_int_equal(client_check(&t, msg, strlen(msg)), -1);
	assert_int_equal(client_check(&t, "e=other-error", 13), -1);
	assert_string_equal(t.why, "the server refused the SCRAM login");
	assert_int_equal(client_check(&t, "v=", 2), -1);
}

static void test_cache(void **state)
{
	struct scram_salted cache = {.iterations = 0};
	struct talk t;
	char out[SCRAM_MSG_MAX];

	(void)state;
	talk_start(&t, "secret", "secret");
	assert_int_equal(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret",
					    &cache, out, sizeof(out), &t.why),
			 strlen(t.final));
	assert_string_equal(out, t.final);
	assert_int_equal(cache.iterations, 2);
	assert_memory_equal(cache.salt, salt, sizeof(salt));
	/* the cached key is used, or the wrong password would show */
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "other", &cache, out,
				       sizeof(out), &t.why) > 0);
	assert_string_equal(out, t.final);
	/* and not when salt or iterations differ */
	cache.iterations = 3;
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "other", &cache, out,
				       sizeof(out), &t.why) > 0);
	assert_string_not_equal(out, t.final);
	assert_int_equal(cache.iterations, 2);
	cache.salt[0] ^= 1;
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret", &cache,
				       out, sizeof(out), &t.why) > 0);
	assert_string_equal(out, t.final);
	cache.salt_len--;
	cache.key[0] ^= 1;
	assert_true(scram_client_final(&t.c, t.challenge, strlen(t.challenge), "secret", &cache,
				       out, sizeof(out), &t.why) > 0);
	assert_string_equal(out, t.final);
}

static void test_wipe(void **state)
{
	struct talk t;
	static const struct scram_server no_server;
	static const struct scram_client no_client;

	(void)state;
	talk_start(&t, "secret", "secret");
	scram_server_wipe(&t.s);
	scram_client_wipe(&t.c);
	assert_memory_equal(&t.s, &no_server, sizeof(t.s));
	assert_memory_equal(&t.c, &no_client, sizeof(t.c));
}

/* ---- MD5 ---- */

static void test_md5(void **state)
{
	/* PostgreSQL 15's for user a, password pencil */
	static const char stored[] = "md5bb1dccc87adfd1e744f9ac0f7c2ffb77";
	static const uint8_t md5_salt[4] = {0, 1, 0xfe, 0xff};
	char from_password[36], from_stored[36], other[36];

	(void)state;
	if (md5_response("a", "pencil", md5_salt, from_password) != 0)
		skip(); /* no MD5 in this crypto library's mode */
	assert_int_equal(md5_response("a", stored, md5_salt, from_stored), 0);
	assert_string_equal(from_password, from_stored);
	/* md5sum of the stored hex and the four bytes */
	assert_string_equal(from_password, "md53e57d9157dcf938e7b267c93004ef56e");
	assert_int_equal(md5_response("b", "pencil", md5_salt, other), 0);
	assert_string_not_equal(other, from_password);
	assert_int_equal(md5_response("a", "", md5_salt, other), 0);
	assert_int_equal(strlen(other), 35);
	/* what only looks like a hash is a password */
	assert_int_equal(md5_response("a", "md5BB1DCCC87ADFD1E744F9AC0F7C2FFB77", md5_salt, other),
			 0);
	assert_string_equal(other, "md561364dbb46e52a158bd83bea0a82d0e0");
	assert_int_equal(md5_response("a", "md5bb1dccc87adfd1e744f9ac0f7c2ffb7", md5_salt, other),
			 0);
	assert_string_not_equal(other, from_password);
	/* of a password as it comes from a client nothing is a hash */
	assert_int_equal(md5_stored("a", "pencil", other), 0);
	assert_string_equal(other, stored);
	assert_int_equal(md5_stored("a", stored, other), 0);
	assert_string_not_equal(other, stored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_b64),
		cmocka_unit_test(test_postgres_secret),
		cmocka_unit_test(test_secret_broken),
		cmocka_unit_test(test_secret_bounds),
		cmocka_unit_test(test_mock),
		cmocka_unit_test(test_rfc_server),
		cmocka_unit_test(test_rfc_client),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_doomed),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_y_header),
		cmocka_unit_test(test_client_first_broken),
		cmocka_unit_test(test_our_nonce),
		cmocka_unit_test(test_client_final_broken),
		cmocka_unit_test(test_server_first_broken),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_server_final_broken),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_md5),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
