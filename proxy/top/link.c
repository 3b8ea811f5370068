/* proxy/top/link.c - see link.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/link.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* The first line, or all of them after one another. */
static void keep_error(struct link *l, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 < sizeof(l->error); text++) {
		if (*text == '\n' && !text[1])
			break;
		l->error[n++] = (char)(*text == '\n' || *text == '\t' ? ' ' : *text);
	}
	l->error[n] = 0;
}

void link_close(struct link *l)
{
	PQfinish(l->pg);
	l->pg = NULL;
	l->state = LINK_CLOSED;
	sample_free(&l->sample);
}

static enum link_news lost(struct link *l, const char *why)
{
	const char *told = l->pg ? PQerrorMessage(l->pg) : "";

	keep_error(l, *told ? told : why);
	l->needs_password = l->pg && PQconnectionNeedsPassword(l->pg);
	link_close(l);
	return NEWS_LOST;
}

void link_open(struct link *l, const char *const *keys, const char *const *values)
{
	link_close(l);
	l->version_asked = l->needs_password = false;
	l->unknown = 0;
	l->version[0] = 0;
	l->pg = PQconnectStartParams(keys, values, 1);
	l->state = LINK_CONNECTING;
	l->wants = PGRES_POLLING_WRITING;
}

int link_fd(const struct link *l, short *events)
{
	if (l->state == LINK_CLOSED || !l->pg)
		return -1;
	*events = POLLIN;
	if (l->state == LINK_CONNECTING && l->wants == PGRES_POLLING_WRITING)
		*events = POLLOUT;
	return PQsocket(l->pg);
}

static enum link_news send_ask(struct link *l)
{
	const char *sql = l->version_asked ? top_ask_sql(l->ask) : "SHOW VERSION";

	if (!PQsendQuery(l->pg, sql))
		return lost(l, "the question could not be sent");
	return NEWS_NONE;
}

/* The next question that has an answer here, or the sample is whole. */
static enum link_news next_ask(struct link *l, uint64_t now_us)
{
	while (l->ask < TOP_ASK_N && (l->unknown & 1u << l->ask))
		l->ask++;
	if (l->ask < TOP_ASK_N)
		return send_ask(l);
	l->sample.at_us = now_us;
	l->state = LINK_IDLE;
	return NEWS_SAMPLE;
}

void link_ask(struct link *l)
{
	sample_clear(&l->sample);
	l->ask = 0;
	l->state = LINK_ASKING;
	if (l->version_asked)
		while (l->ask < TOP_ASK_N && (l->unknown & 1u << l->ask))
			l->ask++;
	/* what cannot be sent is told by the next turn */
	if (l->ask < TOP_ASK_N && !PQsendQuery(l->pg, l->version_asked ? top_ask_sql(l->ask) : "SHOW VERSION"))
		l->state = LINK_ASKING;
}

/* -1: out of memory. */
static int take(struct link *l, const PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		if (l->version_asked)
			l->unknown |= 1u << l->ask;
		return 0;
	}
	if (!l->version_asked) {
		if (PQntuples(r) > 0 && PQnfields(r) > 0)
			(void)snprintf(l->version, sizeof(l->version), "%s", PQgetvalue(r, 0, 0));
		return 0;
	}
	return sample_take(&l->sample, l->ask, r);
}

static enum link_news answers(struct link *l, uint64_t now_us)
{
	enum link_news n = NEWS_NONE;
	PGresult *r;
	int bad;

	if (!PQconsumeInput(l->pg))
		return lost(l, "the connection was lost");
	if (PQflush(l->pg) < 0)
		return lost(l, "the connection was lost");
	while (l->state == LINK_ASKING && n == NEWS_NONE && !PQisBusy(l->pg)) {
		r = PQgetResult(l->pg);
		if (r) {
			bad = take(l, r);
			PQclear(r);
			if (bad)
				return lost(l, "out of memory");
			continue;
		}
		if (PQstatus(l->pg) != CONNECTION_OK)
			return lost(l, "the connection was lost");
		if (l->version_asked)
			l->ask++;
		l->version_asked = true;
		n = next_ask(l, now_us);
	}
	if (l->state == LINK_IDLE && n == NEWS_NONE && PQstatus(l->pg) != CONNECTION_OK)
		return lost(l, "the connection was lost");
	return n;
}

enum link_news link_turn(struct link *l, uint64_t now_us)
{
	if (l->state == LINK_CLOSED)
		return NEWS_NONE;
	if (!l->pg || PQstatus(l->pg) == CONNECTION_BAD)
		return lost(l, "out of memory");
	if (l->state != LINK_CONNECTING)
		return answers(l, now_us);
	l->wants = PQconnectPoll(l->pg);
	if (l->wants == PGRES_POLLING_FAILED)
		return lost(l, "the connection was refused");
	if (l->wants != PGRES_POLLING_OK)
		return NEWS_NONE;
	l->state = LINK_IDLE;
	return NEWS_CONNECTED;
}
