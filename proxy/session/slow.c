/* proxy/session/slow.c - see slow.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/slow.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "session/count.h"

/* Clients choose the names: nobody may choose one whose key is that of others. */
static uint64_t key_of(const struct client *c, uint64_t where)
{
	uint8_t text[512], mac[EVP_MAX_MD_SIZE] = { 0 };
	size_t n = strlen(c->user);
	unsigned len = 0;
	uint64_t key;

	memcpy(text, &where, sizeof(where));
	if (n > sizeof(text) - sizeof(where))
		n = sizeof(text) - sizeof(where);
	memcpy(text + sizeof(where), c->user, n);
	/* should it fail, all of them wait for each other */
	(void)HMAC(EVP_sha256(), c->h->sh->mock_key, sizeof(c->h->sh->mock_key), text,
		   sizeof(where) + n, mac, &len);
	memcpy(&key, mac, sizeof(key));
	return key;
}

struct login_source slow_source(const struct client *c)
{
	struct login_source s;

	if (!c->local && throttle_key(&c->from.a.sa, &s.all)) {
		s.part = key_of(c, s.all);
		return s;
	}
	/* a uid is no key of an address (throttle.c) */
	s.all = s.part = key_of(c, c->local ? c->peer_uid : UINT64_MAX);
	return s;
}

static enum startup told(struct client *c, uint64_t wait_us, struct startup_no *no)
{
	const struct conf_global *g = &c->h->snap->conf->g;

	COUNT_INC(c, client_logins_throttled);
	LOG(&c->log, LOG_LEVEL_WARN, "login_throttled", "retry_us=%llu",
	    (unsigned long long)wait_us);
	(void)snprintf(no->hint_text, sizeof(no->hint_text),
		       "Logins from there have failed. The next attempt is allowed in %.3f s; "
		       "the pause is %g s at most (login_throttle_max).",
		       (double)(wait_us + 999) / 1e6, (double)g->login_throttle_max / 1e6);
	/* no 28000: that would say that what it knows is wrong, and it may be right */
	return refusal(no, "53300", "failed logins before", no->hint_text,
		       "connection attempt throttled");
}

enum startup slow_look(struct client *c, struct login_source s, bool attempt,
		       struct startup_no *no)
{
	uint64_t wait = logins_wait(&c->h->sh->logins, s, attempt, clock_mono_us());

	return wait ? told(c, wait, no) : STARTUP_MORE;
}

bool slow_waits(const struct client *c, struct login_source s)
{
	return logins_wait(&c->h->sh->logins, s, false, clock_mono_us()) != 0;
}

void slow_failed(struct client *c, struct login_source s)
{
	logins_failed(&c->h->sh->logins, s, clock_mono_us());
}

void slow_ok(struct client *c, struct login_source s)
{
	logins_ok(&c->h->sh->logins, s, clock_mono_us());
}
