/* tests/hba/facts.c - what conf/ makes of pg_hba.conf, pg_ident.conf and their regular
 * expressions, for tests/integration/test_hba_oracle.py.
 *
 * In: one question a line, its parts separated by tabs. Out: one line of JSON for each.
 *
 *   hba PATH                          the rules of the file
 *   ident PATH                        the lines of the file
 *   find PATH ADDRESS PHYSICAL DB USER  the method and line of the rule that holds; the
 *                                     address - is a unix socket
 *   regexp EXPRESSION NAME            does it match, and what is \1
 *
 * What is refused is {"error": "the sentence"}.
 *
 * SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/regexp.h"

#define PARTS 6

static void string(const char *s, size_t n)
{
	size_t i;

	putchar('"');
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c); /* latin-1: bytes are bytes */
		else
			putchar(c);
	}
	putchar('"');
}

static void pair(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	if (value)
		string(value, strlen(value));
	else
		fputs("null", stdout);
}

static void error(const struct err *e)
{
	fputs("{\"error\": ", stdout);
	string(e->text, strlen(e->text));
	fputs("}\n", stdout);
}

static void names(const char *what, const struct hba_names *list)
{
	size_t i;

	printf(", \"%s\": [", what);
	for (i = 0; i < list->n; i++) {
		fputs(i ? ", " : "", stdout);
		string(list->at[i].text, strlen(list->at[i].text));
	}
	putchar(']');
}

static void rule(const struct hba_rule *r)
{
	static const char *const certs[] = {NULL, "verify-ca", "verify-full"};
	char addr[INET6_ADDRSTRLEN], mask[INET6_ADDRSTRLEN];
	bool is_net = r->conn != HBA_LOCAL && r->address == HBA_NET;

	printf("{\"line\": %d", r->line);
	pair("type", hba_conn_word(r->conn));
	names("database", &r->dbs);
	names("user_name", &r->users);
	pair("address", is_net ? net_print_addr(&r->net, addr, sizeof(addr)) :
		       r->conn == HBA_LOCAL ? NULL : hba_address_word(r->address));
	pair("netmask", is_net ? net_print_mask(&r->net, mask, sizeof(mask)) : NULL);
	pair("auth_method", hba_method_word(r->method));
	pair("map", r->map);
	pair("clientcert", certs[r->clientcert]);
	putchar('}');
}

static void ask_hba(const char *path)
{
	struct hba *h;
	struct err e;
	size_t i;

	if (hba_read(path, &h, &e) < 0) {
		error(&e);
		return;
	}
	fputs("{\"rules\": [", stdout);
	for (i = 0; i < h->n; i++) {
		fputs(i ? ", " : "", stdout);
		rule(&h->rules[i]);
	}
	fputs("]}\n", stdout);
	hba_free(h);
}

static void ask_ident(const char *path)
{
	struct ident *m;
	struct err e;
	size_t i;

	if (ident_read(path, &m, &e) < 0) {
		error(&e);
		return;
	}
	fputs("{\"rules\": [", stdout);
	for (i = 0; i < m->n; i++) {
		printf("%s{\"line\": %d", i ? ", " : "", m->lines[i].line);
		pair("map_name", m->lines[i].map);
		pair("sys_name", m->lines[i].system_user.text);
		pair("pg_username", m->lines[i].db_user.text);
		putchar('}');
	}
	fputs("]}\n", stdout);
	ident_free(m);
}

static void ask_find(char *const part[PARTS])
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct hba_who who = {
		.addr = (struct sockaddr *)&in,
		.is_local = strcmp(part[2], "-") == 0,
		.is_physical = strcmp(part[3], "1") == 0,
		.db = part[4],
		.user = part[5],
	};
	const struct hba_rule *r;
	struct hba *h;
	struct err e;

	if (!who.is_local && inet_pton(AF_INET, part[2], &in.sin_addr) != 1)
		exit(2);
	if (hba_read(part[1], &h, &e) < 0) {
		error(&e);
		return;
	}
	r = hba_find(h, &who);
	printf("{\"line\": %d", r ? r->line : 0);
	pair("method", r ? hba_method_word(r->method) : NULL);
	fputs("}\n", stdout);
	hba_free(h);
}

static void ask_regexp(const char *text, const char *name)
{
	struct regexp_span g = {.from = -1};
	struct regexp *re;
	struct err e;
	bool yes;

	if (regexp_make(text, &re, &e) < 0) {
		error(&e);
		return;
	}
	yes = regexp_try(re, name, &g);
	printf("{\"match\": %s, \"repeated\": %s, \"group\": ", yes ? "true" : "false",
	       regexp_group(re) == REGEXP_GROUP_REPEATED ? "true" : "false");
	if (yes && g.from >= 0)
		string(name + g.from, (size_t)(g.to - g.from));
	else
		fputs("null", stdout);
	fputs("}\n", stdout);
	regexp_free(re);
}

static int ask(char *line)
{
	char *part[PARTS], *save = line;
	int n = 0;

	while (n < PARTS && (part[n] = strsep(&save, "\t")))
		n++;
	if (n == 2 && strcmp(part[0], "hba") == 0)
		ask_hba(part[1]);
	else if (n == 2 && strcmp(part[0], "ident") == 0)
		ask_ident(part[1]);
	else if (n == 6 && strcmp(part[0], "find") == 0)
		ask_find(part);
	else if (n == 3 && strcmp(part[0], "regexp") == 0)
		ask_regexp(part[1], part[2]);
	else
		return -1;
	return 0;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) > 0) {
		line[n - (line[n - 1] == '\n')] = '\0';
		if (ask(line) < 0) {
			fprintf(stderr, "what is this: %s\n", line);
			return 2;
		}
	}
	free(line);
	return 0;
}
