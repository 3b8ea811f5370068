/* tests/scram/tool.c - the SCRAM of proxy/wire, one role at a time and line by line,
 * so that a test can put real clients and servers on the other side of it.
 *
 * One command on each line of the input, one line of output for each: "+", what it
 * gives, words apart by blanks; or "-" and why not. Messages are text without blanks;
 * passwords, keys and certificates are hex, "." is nothing.
 *
 *	prepare PASSWORD                  the prepared form, "." if it is used as it is
 *	make PASSWORD SECRET              a secret with the salt and rounds of SECRET
 *	hash CERTIFICATE                  of DER; what tls-server-end-point binds to
 *	server SECRET OFFERED HASH NONCE  OFFERED: PLUS is, 0 or 1
 *	  first MECHANISM MESSAGE         server-first-message
 *	  final MESSAGE                   server-final-message and the ClientKey
 *	client WANT TLS HASH NAMES NONCE  WANT: prefer, require, disable; NAMES: a,b
 *	                                  mechanism and client-first-message
 *	  password PASSWORD MESSAGE       client-final-message
 *	  keys SECRET KEY MESSAGE         the same
 *	  check MESSAGE
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509.h>

#include "proxy/wire/saslprep.h"
#include "proxy/wire/scram.h"

#define LINE_MAX_BYTES (1 << 17)
#define WORDS_MAX 6

struct tool {
	struct scram_server server;
	struct scram_client client;
	char *word[WORDS_MAX];
	unsigned words;
	char out[SCRAM_MSG_MAX];
	const char *why;
};

static char line[LINE_MAX_BYTES];
static uint8_t bytes[LINE_MAX_BYTES / 2];

static void print_hex(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		printf("%02x", p[i]);
}

/* Into bytes, with a zero behind. */
static size_t read_hex(const char *text)
{
	size_t n = 0;
	unsigned v;

	if (strcmp(text, ".") != 0)
		for (; sscanf(text + 2 * n, "%2x", &v) == 1; n++)
			bytes[n] = (uint8_t)v;
	bytes[n] = 0;
	return n;
}

static int read_binding(const char *text, struct scram_binding *out)
{
	size_t n = read_hex(text);

	if (n > sizeof(out->hash))
		return -1;
	memcpy(out->hash, bytes, n);
	out->len = n;
	return 0;
}

static int say(struct tool *t, int n)
{
	if (n < 0)
		return -1;
	printf("+ %.*s\n", n, t->out);
	return 0;
}

static int prepare(struct tool *t)
{
	char *out;

	(void)read_hex(t->word[1]);
	if (saslprep((const char *)bytes, &out) != 0)
		return -1;
	printf("+ ");
	if (out == NULL)
		printf(".");
	else
		print_hex((const uint8_t *)out, strlen(out));
	printf("\n");
	saslprep_free(out);
	return 0;
}

static int make(struct tool *t)
{
	struct scram_secret like, made;

	(void)read_hex(t->word[1]);
	if (scram_secret_parse(t->word[2], &like) != 0 ||
	    scram_secret_make((const char *)bytes, like.salt, like.salt_len, like.iterations,
			      &made) != 0 ||
	    scram_secret_print(&made, t->out, sizeof(t->out)) == NULL)
		return -1;
	return say(t, (int)strlen(t->out));
}

static int hash(struct tool *t)
{
	const uint8_t *p = bytes;
	long n = (long)read_hex(t->word[1]);
	X509 *cert = d2i_X509(NULL, &p, n);
	struct scram_binding b;
	int rc = cert != NULL ? scram_cert_hash(cert, &b) : -1;

	X509_free(cert);
	if (rc != 0)
		return -1;
	printf("+ ");
	print_hex(b.hash, b.len);
	printf("\n");
	return 0;
}

static int server(struct tool *t)
{
	struct scram_server *s = &t->server;

	memset(s, 0, sizeof(*s));
	s->plus_offered = t->word[2][0] == '1';
	if (scram_secret_parse(t->word[1], &s->secret) != 0 ||
	    read_binding(t->word[3], &s->binding) != 0)
		return -1;
	snprintf(s->nonce, sizeof(s->nonce), "%s", t->word[4]);
	printf("+\n");
	return 0;
}

static int first(struct tool *t)
{
	char nonce[SCRAM_NONCE_MAX];

	snprintf(nonce, sizeof(nonce), "%s", t->server.nonce);
	return say(t, scram_server_first(&t->server, t->word[1], t->word[2], strlen(t->word[2]),
					 nonce, t->out, sizeof(t->out), &t->why));
}

static int final(struct tool *t)
{
	int n = scram_server_final(&t->server, t->word[1], strlen(t->word[1]), t->out,
				   sizeof(t->out), &t->why);

	if (n < 0)
		return -1;
	printf("+ %.*s ", n, t->out);
	print_hex(t->server.client_key, t->server.have_client_key ? SCRAM_KEY_LEN : 0);
	printf("\n");
	return 0;
}

static int client(struct tool *t)
{
	struct scram_channel ch = {.tls = t->word[2][0] == '1'};
	char *name, *rest = t->word[4];
	int n;

	ch.want = t->word[1][0] == 'r'   ? SCRAM_REQUIRE
		  : t->word[1][0] == 'd' ? SCRAM_DISABLE
					 : SCRAM_PREFER;
	if (read_binding(t->word[3], &ch.binding) != 0)
		return -1;
	while ((name = strsep(&rest, ",")) != NULL)
		scram_channel_offer(&ch, name);
	n = scram_client_first(&t->client, &ch, t->word[5], t->out, sizeof(t->out), &t->why);
	if (n < 0)
		return -1;
	printf("+ %s %.*s\n", t->client.choice.mech, n, t->out);
	return 0;
}

static int password(struct tool *t)
{
	(void)read_hex(t->word[1]);
	return say(t,
		   scram_client_final(&t->client, t->word[2], strlen(t->word[2]),
				      (const char *)bytes, NULL, t->out, sizeof(t->out), &t->why));
}

static int keys(struct tool *t)
{
	struct scram_secret secret;

	if (scram_secret_parse(t->word[1], &secret) != 0 || read_hex(t->word[2]) != SCRAM_KEY_LEN)
		return -1;
	return say(t, scram_client_final_keys(&t->client, t->word[3], strlen(t->word[3]), &secret,
					      bytes, t->out, sizeof(t->out), &t->why));
}

static int check(struct tool *t)
{
	if (scram_client_check(&t->client, t->word[1], strlen(t->word[1]), &t->why) != 0)
		return -1;
	printf("+\n");
	return 0;
}

static int command(struct tool *t)
{
	static const struct {
		const char *name;
		unsigned words;
		int (*run)(struct tool *t);
	} commands[] = {
		{"prepare", 2, prepare}, {"make", 3, make},   {"hash", 2, hash},
		{"server", 5, server},   {"first", 3, first}, {"final", 2, final},
		{"client", 6, client},   {"keys", 4, keys},   {"password", 3, password},
		{"check", 2, check},
	};
	char *rest = line;
	size_t i;

	t->why = "it failed";
	t->words = 0;
	line[strcspn(line, "\n")] = 0;
	while (t->words < WORDS_MAX && rest != NULL)
		t->word[t->words++] = strsep(&rest, " ");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(t->word[0], commands[i].name) == 0 && t->words == commands[i].words)
			return commands[i].run(t);
	t->why = "no such command";
	return -1;
}

int main(void)
{
	struct tool t;

	memset(&t, 0, sizeof(t));
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (command(&t) != 0)
			printf("- %s\n", t.why);
		fflush(stdout);
	}
	return 0;
}
