/* tests/fuzz/fuzz_hba.c - pg_hba.conf, pg_ident.conf and the names that clients send.
 *
 * The first byte chooses: 'h' an hba file, 'i' an ident file, 'r' a regular expression.
 * The rest of the first line is a client's name, what follows is the file (or the
 * expression). Beside crashes and leaks: what was accepted must keep what its header
 * promises, what was refused must say where and why, and what is asked twice must be
 * answered twice in the same way.
 *
 * SPDX-License-Identifier: ISC
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/hba.h"
#include "conf/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "broken: %s\n", #what);                                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_names(const struct hba_names *names)
{
	size_t i;

	CLAIM(names->n > 0);
	for (i = 0; i < names->n; i++) {
		CLAIM(names->at[i].text);
		CLAIM((names->at[i].word == HBA_WORD_REGEXP) == (names->at[i].re != NULL));
	}
}

static void check_rule(const struct hba_rule *r, const char *file)
{
	bool is_local = r->conn == HBA_LOCAL;

	CLAIM(strcmp(r->file, file) == 0 && r->line > 0);
	check_names(&r->dbs);
	check_names(&r->users);
	CLAIM(r->method != AUTH_ANY && r->method != AUTH_HBA);
	CLAIM(r->method != AUTH_PEER || is_local);
	CLAIM(r->method != AUTH_CERT || (r->conn == HBA_HOSTSSL && r->clientcert == HBA_CERT_FULL));
	CLAIM(!r->map || r->method == AUTH_PEER || r->method == AUTH_CERT);
	CLAIM(!r->map || *r->map);
	CLAIM(r->clientcert == HBA_CERT_NO || r->conn == HBA_HOSTSSL);
	CLAIM(is_local || r->address != HBA_NET || r->net.family == AF_INET ||
	      r->net.family == AF_INET6);
}

/* Every client that differs in what rules ask for. */
static void check_find(const struct hba *h, const char *name)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a010203)}};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	unsigned i;

	for (i = 0; i < 24; i++) {
		struct hba_who who = {
			.addr = i % 3 == 0 ? (struct sockaddr *)&in4 :
				i % 3 == 1 ? (struct sockaddr *)&in6 : NULL,
			.is_local = i % 3 == 2,
			.is_tls = i / 3 % 2,
			.is_physical = i / 6 % 2,
			.db = name,
			.user = i / 12 ? "app" : name,
		};
		const struct hba_rule *r = hba_find(h, &who);

		CLAIM(r == hba_find(h, &who));
		if (!r)
			continue;
		CLAIM(r >= h->rules && r < h->rules + h->n);
		CLAIM((r->conn == HBA_LOCAL) == who.is_local);
		CLAIM(r->conn != HBA_HOSTGSSENC);
		CLAIM(r->conn != HBA_HOSTSSL || who.is_tls);
		CLAIM(r->conn != HBA_HOSTNOSSL || !who.is_tls);
		CLAIM(strlen(name) <= HBA_NAME_MAX);
	}
}

static void try_hba(const char *name, const char *text, size_t len)
{
	struct err e = {.text = ""};
	struct net own;
	struct hba *h;
	size_t i;

	CLAIM(net_parse("10.1.2.3/16", NULL, &own, &e) == 0);
	if (hba_read_mem("f", text, len, &own, 1, &h, &e) < 0) {
		CLAIM(!h && strncmp(e.text, "f:", 2) == 0);
		return;
	}
	CLAIM(h->n > 0);
	for (i = 0; i < h->n; i++) {
		check_rule(&h->rules[i], "f");
		CLAIM(i == 0 || h->rules[i].line > h->rules[i - 1].line);
	}
	check_find(h, name);
	if (h->rules[0].users.at[0].word == HBA_WORD_NAME)
		check_find(h, h->rules[0].users.at[0].text);
	hba_free(h);
}

static void try_ident(const char *name, const char *text, size_t len)
{
	struct err e = {.text = ""};
	struct ident *m;
	bool yes;
	size_t i;

	if (ident_read_mem("f", text, len, &m, &e) < 0) {
		CLAIM(!m && strncmp(e.text, "f:", 2) == 0);
		return;
	}
	for (i = 0; i < m->n; i++) {
		const struct ident_line *l = &m->lines[i];

		yes = ident_allows(m, l->map, name, name);
		CLAIM(yes == ident_allows(m, l->map, name, name));
		/* A line of plain names is what it says. */
		if (*l->map && !l->system_user.re && !l->db_user.re && i == 0 &&
		    strlen(l->system_user.text) <= IDENT_NAME_MAX &&
		    strlen(l->db_user.text) <= IDENT_NAME_MAX)
			CLAIM(ident_allows(m, l->map, l->system_user.text, l->db_user.text));
	}
	CLAIM(ident_allows(m, NULL, name, name));
	ident_free(m);
}

static void try_regexp(const char *name, const char *text)
{
	struct regexp_span g;
	struct err e = {.text = ""};
	struct regexp *re;
	bool yes;

	if (regexp_make(text, &re, &e) < 0) {
		CLAIM(!re && e.text[0]);
		return;
	}
	yes = regexp_try(re, name, &g);
	CLAIM(yes == regexp_try(re, name, NULL));
	CLAIM(g.from == -1 ? g.to == -1 :
			     yes && regexp_group(re) != REGEXP_NO_GROUP && g.from >= 0 &&
				     g.to >= g.from && (size_t)g.to <= strlen(name));
	regexp_free(re);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *eol = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
	char *name, *text;
	size_t len;

	if (!eol)
		return 0;
	name = strndup((const char *)data + 1, (size_t)(eol - data) - 1);
	len = size - (size_t)(eol - data) - 1;
	/* Of its exact size, and for the expression with a terminator. */
	text = malloc(len + (data[0] == 'r') + (len == 0));
	CLAIM(name && text);
	memcpy(text, eol + 1, len);
	if (data[0] == 'h')
		try_hba(name, text, len);
	else if (data[0] == 'i')
		try_ident(name, text, len);
	else if (data[0] == 'r') {
		text[len] = '\0';
		try_regexp(name, text);
	}
	free(name);
	free(text);
	return 0;
}
