/* conf/hosts.c - see hosts.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/hosts.h"

#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 100
#define HTTP_PATH "/health?ready=1"

struct item {
	const char *at;
	size_t len;
};

static size_t count(const char *list)
{
	size_t n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* Entry i of the list, or its only one; without blanks around it. */
static struct item entry(const char *list, size_t i)
{
	struct item it;

	if (count(list) == 1)
		i = 0;
	for (; i; i--)
		list += strcspn(list, ",") + 1;
	list += strspn(list, " \t");
	it.at = list;
	it.len = strcspn(list, ",");
	while (it.len && strchr(" \t", it.at[it.len - 1]))
		it.len--;
	return it;
}

static int check_count(const char *name, const char *list, size_t n, struct err *e)
{
	if (!list || count(list) == 1 || count(list) == n)
		return 0;
	return err_set(e, "%zu entries in %s for %zu hosts: give one for all or one for each",
		       count(list), name, n);
}

/* Digits from `at` on, at most max; *end behind them. -1: none, or more. */
static int number(struct item it, int max, size_t *end)
{
	int v = 0;
	size_t i;

	for (i = 0; i < it.len && it.at[i] >= '0' && it.at[i] <= '9'; i++) {
		v = v * 10 + (it.at[i] - '0');
		if (v > max)
			return -1;
	}
	*end = i;
	return i ? v : -1;
}

static int take_weight(struct item it, struct conf_host *h, struct err *e)
{
	size_t end;
	int v = number(it, WEIGHT_MAX, &end);

	if (v < 1 || end < it.len)
		return err_set(e, "weight \"%.*s\" is not a number from 1 to %d",
			       it.len > 40 ? 40 : (int)it.len, it.at, WEIGHT_MAX);
	h->weight = (unsigned)v;
	return 0;
}

static bool starts(struct item *it, const char *with)
{
	size_t n = strlen(with);

	if (it->len < n || strncmp(it->at, with, n) != 0)
		return false;
	it->at += n;
	it->len -= n;
	return true;
}

/* Nothing that would end the request's line, from `at` on. */
static bool is_path(struct item it, size_t at)
{
	for (; at < it.len; at++)
		if (it.at[at] <= ' ' || it.at[at] > '~')
			return false;
	return true;
}

/* [http://|https://]PORT[/PATH] */
static int take_http(struct item it, struct conf_host *h, struct err *e)
{
	struct item all = it;
	size_t end;

	if (!it.len)
		return 0;
	h->https = starts(&it, "https://");
	if (!h->https)
		(void)starts(&it, "http://");
	h->http_port = number(it, 65535, &end);
	if (h->http_port < 1 || (end < it.len && it.at[end] != '/') || !is_path(it, end))
		return err_set(e, "health_check_http \"%.*s\" is not [https://]PORT[/PATH]",
			       all.len > 40 ? 40 : (int)all.len, all.at);
	h->http_path = end < it.len ? strndup(it.at + end, it.len - end) : strdup(HTTP_PATH);
	return h->http_path ? 0 : err_set(e, "out of memory");
}

static int take_name(struct item it, struct conf_host *h, struct err *e)
{
	if (!it.len)
		return 0;
	h->name = strndup(it.at, it.len);
	return h->name ? 0 : err_set(e, "out of memory");
}

static int take_zone(struct item it, struct conf_host *h, struct err *e)
{
	h->zone = it.len ? strndup(it.at, it.len) : NULL;
	return h->zone || !it.len ? 0 : err_set(e, "out of memory");
}

static bool is_near(const char *zones, size_t i, const char *own)
{
	struct item it;

	if (!zones || !own || !*own)
		return true;
	it = entry(zones, i);
	return it.len == strlen(own) && strncmp(it.at, own, it.len) == 0;
}

int hosts_make(const struct host_lists *l, size_t n, struct conf_host **out, struct err *e)
{
	struct conf_host *h;
	size_t i;

	*out = NULL;
	if (n > CONF_HOSTS_MAX)
		return err_set(e, "%zu hosts: at most %u are allowed", n, CONF_HOSTS_MAX);
	if (l->names && count(l->names) != n)
		return err_set(e, "%zu names in host, but %zu in hostaddr", count(l->names), n);
	if (check_count("weight", l->weight, n, e) || check_count("zones", l->zones, n, e) ||
	    check_count("health_check_http", l->http, n, e))
		return -1;
	h = calloc(n ? n : 1, sizeof(*h));
	if (!h)
		return err_set(e, "out of memory");
	for (i = 0; i < n; i++) {
		h[i].weight = 1;
		h[i].near = is_near(l->zones, i, l->zone);
		if ((l->names && take_name(entry(l->names, i), &h[i], e)) ||
		    (l->zones && take_zone(entry(l->zones, i), &h[i], e)) ||
		    (l->weight && take_weight(entry(l->weight, i), &h[i], e)) ||
		    (l->http && take_http(entry(l->http, i), &h[i], e))) {
			hosts_free(h, n);
			return -1;
		}
	}
	*out = h;
	return 0;
}

void hosts_free(struct conf_host *h, size_t n)
{
	size_t i;

	for (i = 0; h && i < n; i++) {
		free(h[i].name);
		free(h[i].zone);
		free(h[i].http_path);
	}
	free(h);
}
