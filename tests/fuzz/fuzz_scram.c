/* tests/fuzz/fuzz_scram.c - any bytes as SCRAM messages and secrets. The first
 * byte picks the part that is played, a newline cuts the rest in two. s, o, p: our
 * server, without binding, with it offered, with it; c, b: our client, without binding
 * and with it; y: by keys; u: SASLprep; k: secrets; 6: base64; else: both roles.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire/b64.h"
#include "proxy/wire/saslprep.h"
#include "proxy/wire/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Few enough rounds to be quick; a server may ask for at most this here. */
#define ROUNDS_MAX 5000

static const struct scram_binding bound = {"the hash of some certificate, 32", 32};
static const struct scram_channel clear = {.offered = true};
static const uint8_t salt[16] = "pepper and salt";

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* The client knows the password, and its proof for this very challenge, and for the
 * binding that it began with, is the only message that gets in. */
static void play_server(bool offered, const char *mech, const char *a, size_t a_len, const char *b,
			size_t b_len)
{
	struct scram_server s = {.plus_offered = offered, .binding = bound};
	struct scram_client c = {.nonce = ""};
	char first[SCRAM_MSG_MAX], want[SCRAM_MSG_MAX], out[SCRAM_MSG_MAX];
	const char *why = NULL;
	int n, accepted;

	must(scram_secret_make("pencil", salt, sizeof(salt), 2, &s.secret) == 0);
	n = scram_server_first(&s, mech, a, a_len, "SERVERnonce", first, sizeof(first), &why);
	must((n < 0) == (why != NULL) && n < (int)sizeof(first));
	if (n < 0)
		return;
	must((size_t)n == strlen(first) && a_len > 0 && s.gs2_header == a[0]);
	must((s.gs2_header == 'p') == (strcmp(mech, SCRAM_MECH_PLUS) == 0));
	must(s.gs2_header == 'n' || s.gs2_header == (offered ? 'p' : 'y'));
	c.choice.flag = s.gs2_header;
	c.binding = bound;
	memcpy(c.client_first_bare, s.client_first_bare, sizeof(c.client_first_bare));
	memcpy(c.nonce, s.nonce, strlen(s.nonce) - strlen("SERVERnonce"));
	n = scram_client_final(&c, first, strlen(first), "pencil", NULL, want, sizeof(want), &why);
	must(n > 0);
	accepted = scram_server_final(&s, b, b_len, out, sizeof(out), &why);
	must((accepted >= 0) == (b_len == (size_t)n && memcmp(b, want, b_len) == 0));
	must((accepted >= 0) == s.have_client_key);
	if (accepted < 0)
		return;
	must(scram_client_check(&c, out, (size_t)accepted, &why) == 0);
	must(scram_client_final_keys(&c, first, strlen(first), &s.secret, s.client_key, out,
				     sizeof(out), &why) == n);
	must(memcmp(out, want, (size_t)n) == 0);
}

static bool asks_too_much(const char *msg, size_t len)
{
	size_t i, at;
	unsigned long v;

	for (i = 0; i + 1 < len; i++) {
		if (msg[i] != 'i' || msg[i + 1] != '=')
			continue;
		v = 0;
		for (at = i + 2; at < len && msg[at] >= '0' && msg[at] <= '9' && v <= ROUNDS_MAX;
		     at++)
			v = v * 10 + (unsigned long)(msg[at] - '0');
		if (v > ROUNDS_MAX && v <= SCRAM_ITERATIONS_MAX)
			return true;
	}
	return false;
}

static void play_client(bool plus, const char *a, size_t a_len, const char *b, size_t b_len)
{
	const struct scram_channel ch = {
		.tls = plus, .offered = true, .plus_offered = plus, .binding = bound};
	struct scram_client c;
	struct scram_salted cache = {.iterations = 0};
	char out[SCRAM_MSG_MAX], again[SCRAM_MSG_MAX], good[64];
	const char *why = NULL;
	int n;

	if (asks_too_much(a, a_len))
		return;
	must(scram_client_first(&c, &ch, "CLIENTnonce", out, sizeof(out), &why) > 0);
	n = scram_client_final(&c, a, a_len, "pencil", &cache, out, sizeof(out), &why);
	must((n < 0) == (why != NULL) && c.have_signature == (n > 0));
	if (n < 0) {
		must(scram_client_check(&c, b, b_len, &why) == -1);
		return;
	}
	must((size_t)n == strlen(out));
	must(strncmp(out, plus ? "c=cD10bHMtc2Vy" : "c=biws,r=CLIEN", 14) == 0);
	must(scram_client_final(&c, a, a_len, "cached", &cache, again, sizeof(again), &why) == n);
	must(strcmp(out, again) == 0);
	memcpy(good, "v=", 2);
	must(b64_encode(c.server_signature, SCRAM_KEY_LEN, good + 2, sizeof(good) - 2) == 44);
	must((scram_client_check(&c, b, b_len, &why) == 0) ==
	     (b_len == 46 && memcmp(b, good, 46) == 0));
}

/* By the keys of one secret: its own salt and rounds, or no login. */
static void play_keys(const char *a, size_t a_len)
{
	struct scram_server s = {.doomed = false};
	struct scram_client c, again;
	char out[SCRAM_MSG_MAX], want[SCRAM_MSG_MAX];
	const char *why = NULL;
	int n;

	if (asks_too_much(a, a_len))
		return;
	must(scram_secret_make("pencil", salt, sizeof(salt), 2, &s.secret) == 0);
	must(scram_client_first(&c, &clear, "k", out, sizeof(out), &why) > 0);
	must((n = scram_server_first(&s, SCRAM_MECH, out, strlen(out), "s", want, sizeof(want),
				     &why)) > 0);
	again = c;
	must((n = scram_client_final(&again, want, (size_t)n, "pencil", NULL, out, sizeof(out),
				     &why)) > 0);
	must(scram_server_final(&s, out, (size_t)n, want, sizeof(want), &why) > 0);
	n = scram_client_final_keys(&c, a, a_len, &s.secret, s.client_key, out, sizeof(out), &why);
	must(c.have_signature == (n > 0));
	if (n < 0)
		return;
	must(scram_client_final(&again, a, a_len, "pencil", NULL, want, sizeof(want), &why) == n);
	must(strcmp(out, want) == 0);
	must(memcmp(c.server_signature, again.server_signature, SCRAM_KEY_LEN) == 0);
}

static void play_saslprep(const char *text)
{
	char *out, *again;
	size_t i, len = strlen(text);
	bool ascii = true;

	for (i = 0; i < len; i++)
		ascii &= (uint8_t)text[i] < 0x80;
	if (saslprep(text, &out) != 0) {
		must(out == NULL && !ascii && len > SASLPREP_MAX);
		return;
	}
	must(!ascii || out == NULL);
	if (out != NULL) {
		/* U+FDFA: 33 bytes of three */
		must(out[0] != 0 && strlen(out) <= 11 * len);
		must(saslprep(out, &again) == 0 || strlen(out) > SASLPREP_MAX);
		saslprep_free(again);
	}
	saslprep_free(out);
}

static void play_secret(const char *text)
{
	struct scram_secret s, again;
	char out[512];

	if (scram_secret_parse(text, &s) != 0)
		return;
	must(s.iterations > 0 && s.salt_len > 0 && s.salt_len <= SCRAM_SALT_MAX);
	must(scram_secret_print(&s, out, sizeof(out)) != NULL && strcmp(out, text) == 0);
	must(scram_secret_parse(out, &again) == 0 && memcmp(&s, &again, sizeof(s)) == 0);
}

/* Passwords that are one when they are prepared. */
static bool same(const char *text, const char *other)
{
	char *a, *b;
	bool is;

	must(saslprep(text, &a) == 0);
	must(saslprep(other, &b) == 0);
	is = strcmp(a ? a : text, b ? b : other) == 0;
	saslprep_free(a);
	saslprep_free(b);
	return is;
}

/* text: a password, other: another one. */
static void play_both(const char *text, const char *other)
{
	struct scram_server s = {.doomed = false};
	struct scram_client c;
	char a[SCRAM_MSG_MAX], b[SCRAM_MSG_MAX];
	const char *why = NULL;
	int n;

	if (strlen(text) > SASLPREP_MAX || strlen(other) > SASLPREP_MAX)
		return;
	must(scram_secret_make(text, salt, sizeof(salt), 1, &s.secret) == 0);
	must((n = scram_client_first(&c, &clear, "CLIENTnonce", a, sizeof(a), &why)) > 0);
	must((n = scram_server_first(&s, SCRAM_MECH, a, (size_t)n, "SERVERnonce", b, sizeof(b),
				     &why)) > 0);
	must((n = scram_client_final(&c, b, (size_t)n, other, NULL, a, sizeof(a), &why)) > 0);
	n = scram_server_final(&s, a, (size_t)n, b, sizeof(b), &why);
	must(n > 0 || strcmp(text, other) != 0);
	must(n < 0 || same(text, other));
	must(n < 0 || scram_client_check(&c, b, (size_t)n, &why) == 0);
}

static void play_b64(const char *a, size_t len)
{
	uint8_t bytes[1024];
	char text[B64_LEN(sizeof(bytes)) + 1];
	int n = b64_decode(a, len, bytes, sizeof(bytes));

	if (n < 0)
		return;
	must(b64_encode(bytes, (size_t)n, text, sizeof(text)) == (int)len);
	must(memcmp(text, a, len) == 0);
}

static char *copy(const char *p, size_t len)
{
	char *s = malloc(len + 1);

	must(s != NULL);
	memcpy(s, p, len);
	s[len] = 0;
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t md5_salt[4] = {1, 2, 3, 4};
	const char *a, *b;
	size_t a_len, b_len = 0;
	char *text, *other, md5[36];

	if (size < 1)
		return 0;
	a = (const char *)data + 1;
	b = memchr(a, '\n', size - 1);
	a_len = b != NULL ? (size_t)(b - a) : size - 1;
	b = b != NULL ? b + 1 : a + a_len;
	b_len = (size_t)((const char *)data + size - b);
	text = copy(a, a_len);
	other = copy(b, b_len);
	switch (data[0]) {
	case 's':
		play_server(false, SCRAM_MECH, a, a_len, b, b_len);
		break;
	case 'o':
		play_server(true, SCRAM_MECH, a, a_len, b, b_len);
		break;
	case 'p':
		play_server(true, SCRAM_MECH_PLUS, a, a_len, b, b_len);
		break;
	case 'c':
		play_client(false, a, a_len, b, b_len);
		break;
	case 'b':
		play_client(true, a, a_len, b, b_len);
		break;
	case 'y':
		play_keys(a, a_len);
		break;
	case 'u':
		play_saslprep(text);
		break;
	case 'k':
		play_secret(text);
		break;
	case '6':
		play_b64(a, a_len);
		break;
	default:
		play_both(text, other);
		play_both(text, text);
		must(md5_response(other, text, md5_salt, md5) != 0 || strlen(md5) == 35);
		break;
	}
	free(text);
	free(other);
	return 0;
}
