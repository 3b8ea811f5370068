/* tests/fuzz/fuzz_conf.c - whatever the operator may write.
 *
 * The first byte chooses: 'u' a connection string, 'a' an auth_file, 'p' a passfile
 * whose first line is a host that is looked for, anything else an ini file (the byte is 'i' in the corpus). Nothing is looked up on the
 * network. Beside crashes and leaks, a configuration that was accepted must
 * keep what its header promises, and a refused one must say why.
 *
 * SPDX-License-Identifier: ISC
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "broken: %s\n", #what);                                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void take_row(void *arg, const char *key, const char *value, const char *def,
		     bool reloadable)
{
	const char **last = arg;

	CLAIM(key && value && def);
	CLAIM(!*last || strcmp(*last, key) < 0);
	CLAIM(reloadable == true || reloadable == false);
	*last = key;
}

static void check_db(const struct conf *c, const struct conf_db *d)
{
	size_t i;

	CLAIM(d->name && *d->name);
	CLAIM(d->host_n > 0);
	for (i = 0; i < d->host_n; i++) {
		CLAIM(d->hosts[i].sock_len > 0 || isalnum((unsigned char)*d->hosts[i].host) ||
		      *d->hosts[i].host == '_');
		CLAIM(d->hosts[i].port >= 1 && d->hosts[i].port <= 65535);
	}
	CLAIM(conf_find_db(c, d->name) == d || d == c->fallback);
}

static void check_conf(const struct conf *c)
{
	const char *last = NULL;
	size_t i;

	CLAIM(c->db_n > 0 || c->fallback);
	for (i = 0; i < c->db_n; i++) {
		CLAIM(i == 0 || strcmp(c->dbs[i - 1].name, c->dbs[i].name) < 0);
		CLAIM(strcmp(c->dbs[i].name, "*") != 0);
		check_db(c, &c->dbs[i]);
	}
	if (c->fallback)
		check_db(c, c->fallback);
	for (i = 0; i < c->user_n; i++) {
		CLAIM(i == 0 || strcmp(c->users[i - 1].name, c->users[i].name) < 0);
		CLAIM(conf_find_user(c, c->users[i].name) == &c->users[i]);
	}
	CLAIM(c->g.listen_port >= 0 && c->g.listen_port <= 65535);
	CLAIM(c->g.retry_backoff_base <= c->g.retry_backoff_max);
	conf_each(c, take_row, &last);
}

static int take_user(void *arg, const char *name, const char *secret, enum secret_kind kind,
		     struct err *e)
{
	(void)arg;
	(void)e;
	CLAIM(*name);
	CLAIM((kind == SECRET_NONE) == (*secret == '\0'));
	return 0;
}

static void check_passfile(const char *text, size_t len)
{
	const char *rest = memchr(text, '\n', len);
	size_t host_len = rest ? (size_t)(rest - text) : 0;
	char *host = strndup(text, host_len);
	const char *password;
	struct secret s;
	struct err e = {.text = ""};

	CLAIM(host);
	if (secret_parse("passfile", rest ? rest : text, len - host_len, &s, &e) < 0)
		CLAIM(e.text[0] && !s.lines && !s.password);
	else
		CLAIM(s.line_n <= len);
	password = secret_match(&s, host, 5, "d:b", "u");
	CLAIM(!password || (*password && strlen(password) <= SECRET_MAX));
	CLAIM(!secret_match(&s, host, 5, "", "u") && !secret_match(&s, host, 5, "d", NULL));
	secret_clear(&s);
	free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_over over = {.listen_port = -1, .numeric_hosts = true};
	struct conf *c = NULL;
	struct err e = {.text = ""};
	char *text;
	int ret;

	if (size == 0)
		return 0;
	if (data[0] == 'p') {
		check_passfile((const char *)data + 1, size - 1);
		return 0;
	}
	/* A copy with a terminator for the string forms; the file forms are told
	 * its length and must not need one. */
	text = malloc(size);
	CLAIM(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 'u') {
		(void)conf_is_uri(text);
		ret = conf_load_uri(text, &over, &c, &e);
	} else if (data[0] == 'a') {
		ret = users_read("users.txt", (const char *)data + 1, size - 1, take_user, NULL,
				 &e);
	} else {
		ret = conf_load_mem("t.ini", (const char *)data + 1, size - 1, &over, &c, &e);
	}
	free(text);
	if (ret < 0)
		CLAIM(!c && e.text[0]);
	else if (data[0] != 'a')
		check_conf(c);
	conf_drop(c);
	return 0;
}
