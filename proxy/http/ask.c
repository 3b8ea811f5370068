/* proxy/http/ask.c - see ask.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/ask.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* ---- Accept ---- */

struct span {
	const char *at;
	size_t len;
};

static struct span trim(const char *at, const char *end)
{
	while (at < end && isspace((unsigned char)*at))
		at++;
	while (end > at && isspace((unsigned char)end[-1]))
		end--;
	return (struct span){ at, (size_t)(end - at) };
}

/* The part before `mark`; *at goes behind it, to NULL at the end. */
static struct span part(const char **at, const char *end, char mark)
{
	const char *from = *at, *to = memchr(from, mark, (size_t)(end - from));

	*at = to ? to + 1 : NULL;
	return trim(from, to ? to : end);
}

static bool is(struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

/* "q=0.75" in thousandths; -1: something else. */
static int quality(struct span s)
{
	int q = 0, unit = 1000;
	size_t i;

	if (s.len < 3 || (s.at[0] | 32) != 'q' || s.at[1] != '=' || !isdigit((unsigned char)s.at[2]))
		return -1;
	q = (s.at[2] - '0') * 1000;
	for (i = 4; i < s.len && s.at[3] == '.' && isdigit((unsigned char)s.at[i]) && unit > 1; i++) {
		unit /= 10;
		q += (s.at[i] - '0') * unit;
	}
	return q > 1000 ? 1000 : q;
}

bool ask_openmetrics(const char *accept)
{
	int open = 0, text = -1, any = 0, q, is_q;
	const char *at = accept, *end, *in;
	struct span item, type, param;
	bool fits;

	if (!accept)
		return false;
	end = accept + strlen(accept);
	while (at) {
		item = part(&at, end, ',');
		in = item.at;
		type = part(&in, item.at + item.len, ';');
		for (q = 1000, fits = true; in;) {
			param = part(&in, item.at + item.len, ';');
			is_q = quality(param);
			if (is_q >= 0)
				q = is_q;
			else if (param.len > 8 && strncasecmp(param.at, "version=", 8) == 0)
				fits = is(param, "version=1.0.0");
		}
		if (is(type, "application/openmetrics-text") && fits && q > open)
			open = q;
		else if (is(type, "text/plain") && q > text)
			text = q;
		else if ((is(type, "*/*") || is(type, "text/*")) && q > any)
			any = q;
	}
	return open > 0 && open >= (text >= 0 ? text : any);
}

/* ---- Host ---- */

static bool is_address(const char *s)
{
	unsigned char b[16];

	return inet_pton(AF_INET, s, b) == 1 || inet_pton(AF_INET6, s, b) == 1;
}

static bool same_name(const char *a, size_t n, const char *b, size_t m)
{
	return n && n == m && strncasecmp(a, b, n) == 0;
}

/* In a list of names, maybe with ports behind them. */
static bool is_listed(const char *list, const char *name)
{
	const char *at = list, *end, *colon;
	struct span s;

	if (!list)
		return false;
	end = list + strlen(list);
	while (at) {
		s = part(&at, end, ',');
		colon = memchr(s.at, ':', s.len);
		if (colon)
			s.len = (size_t)(colon - s.at);
		if (same_name(s.at, s.len, name, strlen(name)))
			return true;
	}
	return false;
}

bool ask_host_fits(const char *host, const char *machine, const char *http_addr,
		   const char *http_hosts)
{
	char name[256];
	size_t n;

	if (!host || !*host)
		return true;
	if (*host == '[') {
		n = strcspn(++host, "]");
	} else {
		n = strcspn(host, ":");
	}
	if (n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = 0;
	if (n && name[n - 1] == '.')
		name[--n] = 0;
	if (is_address(name) || strcasecmp(name, "localhost") == 0)
		return true;
	if (machine && (same_name(machine, strlen(machine), name, n) ||
			same_name(machine, strcspn(machine, "."), name, n)))
		return true;
	return is_listed(http_addr, name) || is_listed(http_hosts, name) ||
	       (http_hosts && is_listed(http_hosts, "*"));
}
