/* health/names.c - see names.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define SECOND_US 1000000

/* ---- sets ---- */

static size_t ip_len(enum ip_family family)
{
	return family == IP_4 ? 4 : 16;
}

void ip_set_add(struct ip_set *s, enum ip_family family, const void *bytes)
{
	struct ip ip = {.family = (uint8_t)family};
	int order = 1;
	unsigned i;

	memcpy(ip.b, bytes, ip_len(family));
	for (i = 0; i < s->n; i++) {
		order = memcmp(&s->ip[i], &ip, sizeof(ip));
		if (order >= 0)
			break;
	}
	if (order == 0 || s->n == IP_SET_MAX)
		return;
	memmove(&s->ip[i + 1], &s->ip[i], (s->n - i) * sizeof(ip));
	s->ip[i] = ip;
	s->n++;
}

bool ip_set_same(const struct ip_set *a, const struct ip_set *b)
{
	return a->n == b->n && memcmp(a->ip, b->ip, a->n * sizeof(a->ip[0])) == 0;
}

const char *ip_print(const struct ip *ip, char *out, size_t cap)
{
	if (!inet_ntop(ip->family == IP_4 ? AF_INET : AF_INET6, ip->b, out, (socklen_t)cap) && cap)
		out[0] = '\0';
	return out;
}

void ip_sock(const struct ip *ip, struct addr *a)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)a->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)a->port)};

	memset(&a->sock, 0, sizeof(a->sock));
	if (ip->family == IP_4) {
		memcpy(&in4.sin_addr, ip->b, sizeof(in4.sin_addr));
		memcpy(&a->sock, &in4, sizeof(in4));
		a->sock_len = (socklen_t)sizeof(in4);
	} else {
		memcpy(&in6.sin6_addr, ip->b, sizeof(in6.sin6_addr));
		memcpy(&a->sock, &in6, sizeof(in6));
		a->sock_len = (socklen_t)sizeof(in6);
	}
}

/* ---- answers ---- */

static void add_family(struct ip_set *to, const struct ip_set *from, enum ip_family family)
{
	unsigned i;

	for (i = 0; i < from->n; i++)
		if (from->ip[i].family == family)
			ip_set_add(to, family, from->ip[i].b);
}

bool names_merge(struct ip_set *known, const struct answer a[IP_FAMILIES])
{
	struct ip_set next = {.n = 0};
	unsigned f;
	bool same;

	for (f = 0; f < IP_FAMILIES; f++) {
		if (a[f].kind == ANSWER_OK)
			add_family(&next, &a[f].set, (enum ip_family)f);
		else if (a[f].kind != ANSWER_EMPTY || !names_good(a))
			add_family(&next, known, (enum ip_family)f);
	}
	same = ip_set_same(known, &next);
	*known = next;
	return !same;
}

bool names_good(const struct answer a[IP_FAMILIES])
{
	return a[IP_4].kind == ANSWER_OK || a[IP_6].kind == ANSWER_OK;
}

const char *names_why(const struct answer a[IP_FAMILIES])
{
	unsigned f;

	/* trouble says more than that one family has no records */
	for (f = 0; f < IP_FAMILIES; f++)
		if (a[f].kind == ANSWER_FAIL)
			return a[f].why;
	return a[IP_4].why;
}

/* ---- when ---- */

static int64_t jitter(int64_t us, uint64_t random)
{
	int64_t tenth = us / 10;

	return us - tenth + (int64_t)(random % ((uint64_t)tenth * 2 + 1));
}

/* 1, 2, 4, 8 ... seconds, but no more than us. step counts from 1. */
static int64_t doubling(unsigned step, int64_t us)
{
	int64_t quick = (int64_t)SECOND_US << (step < 20 ? step - 1 : 19);

	return quick < us ? quick : us;
}

int64_t names_pause_us(const struct name_times *t, bool known, struct name_pace *p,
		       uint64_t random)
{
	int64_t us = p->fails ? t->nxdomain_ttl_us : t->max_ttl_us, usual = us;

	if (p->fails && !known)
		us = doubling(p->fails, us);
	if (p->hurry) {
		us = doubling(p->hurry, us);
		p->hurry = us < usual ? p->hurry + 1 : 0;
	}
	return jitter(us, random);
}

int64_t names_hurry_us(int64_t now_us, int64_t begun_us)
{
	int64_t wait = begun_us + SECOND_US - now_us;

	return wait > 0 ? wait : 0;
}

/* ---- the hosts file ---- */

/* The next word of the line, cut off at cap; 0 at its end. */
static size_t next_word(const char **p, const char *end, char *out, size_t cap)
{
	size_t n = 0;

	while (*p < end && (**p == ' ' || **p == '\t' || **p == '\r'))
		(*p)++;
	for (; *p < end && **p != ' ' && **p != '\t' && **p != '\r' && **p != '#'; (*p)++)
		if (n + 1 < cap)
			out[n++] = **p;
	out[n] = '\0';
	return n;
}

static bool same_name(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	la -= la && a[la - 1] == '.';
	lb -= lb && b[lb - 1] == '.';
	return la == lb && strncasecmp(a, b, la) == 0;
}

/* One line, without its end. */
static bool hosts_line(const char *p, const char *end, const char *name, struct ip_set *out)
{
	char text[IP_TEXT], word[300];
	uint8_t b[16];
	enum ip_family family;

	if (!next_word(&p, end, text, sizeof(text)))
		return false;
	if (inet_pton(AF_INET, text, b) == 1)
		family = IP_4;
	else if (inet_pton(AF_INET6, text, b) == 1)
		family = IP_6;
	else
		return false;
	while (next_word(&p, end, word, sizeof(word))) {
		if (same_name(word, name)) {
			ip_set_add(out, family, b);
			return true;
		}
	}
	return false;
}

bool names_in_hosts(const char *text, size_t len, const char *name, struct ip_set *out)
{
	const char *p = text, *end = text + len;
	bool found = false;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end;

		found |= hosts_line(p, stop, name, out);
		p = stop + 1;
	}
	return found;
}
