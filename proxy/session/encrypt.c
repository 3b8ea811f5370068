/* proxy/session/encrypt.c - see encrypt.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/encrypt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

/* The host as its database has it written. */
static const char *host_of(const struct snapshot_db *db, const struct target *t)
{
	size_t i;

	for (i = 0; i < db->node_n && db->nodes[i].t != t; i++)
		;
	if (i == db->node_n)
		return t->addr.host; /* it has left the entry since */
	i = db->nodes[i].host;
	return db->conf->host_conf[i].name ? db->conf->host_conf[i].name : db->conf->hosts[i].host;
}

static bool is_unix(const struct server *s)
{
	return s->target->addr.sock.sa.sa_family == AF_UNIX;
}

int encrypt_take(struct server *s)
{
	const struct tls_db *k = s->shard->db->tls;

	if (!k || !k->ctx || is_unix(s))
		return 0;
	s->tls_host = strdup(host_of(s->shard->db, s->target));
	if (!s->tls_host)
		return -1;
	s->tls = *k;
	tls_ctx_hold(s->tls.ctx);
	return 0;
}

void encrypt_drop(struct server *s)
{
	tls_ctx_drop(s->tls.ctx);
	s->tls.ctx = NULL;
	free(s->tls_host);
	s->tls_host = NULL;
}

const struct tls_db *encrypt_settings(const struct server *s)
{
	return s->tls.ctx ? &s->tls : NULL;
}

bool encrypt_suits(const struct server *s, const struct snapshot_db *db)
{
	const struct tls_db *now = db->tls;

	if (!now || now->mode < SSLMODE_REQUIRE || is_unix(s))
		return true;
	if (s->state == SV_CONNECT && !s->second)
		return true; /* it has asked for nothing yet */
	if (server_state_dials(s->state) ? s->tls.mode < SSLMODE_REQUIRE : !stream_is_tls(&s->s))
		return false;
	if (now->mode == SSLMODE_VERIFY_FULL)
		return s->tls.mode == SSLMODE_VERIFY_FULL &&
		       strcmp(s->tls_host, host_of(db, s->target)) == 0;
	return s->tls.verify || !now->verify;
}

enum encrypt encrypt_how(const struct tls_db *k, bool second)
{
	if (!k || (k->mode == SSLMODE_ALLOW && !second) || (k->mode == SSLMODE_PREFER && second))
		return ENCRYPT_CLEAR;
	return k->direct ? ENCRYPT_DIRECT : ENCRYPT_ASK;
}

bool encrypt_has_second(const struct tls_db *k)
{
	return k && (k->mode == SSLMODE_ALLOW || k->mode == SSLMODE_PREFER);
}

bool encrypt_must(const struct tls_db *k)
{
	return k && k->mode >= SSLMODE_REQUIRE;
}

int encrypt_ask(struct stream *st)
{
	uint8_t b[8];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 0);
	wire_put_u32(&w, WIRE_SSL_CODE);
	wire_end(&w);
	return stream_send(st, b, w.len) == IO_FAIL ? -1 : 0;
}

enum encrypt_answer encrypt_answered(struct stream *st, const char **why)
{
	enum io io = stream_fill(st, 0);

	*why = "the server speaks no PostgreSQL protocol";
	if (io == IO_AGAIN)
		return ENCRYPT_MORE;
	if (io != IO_OK) {
		*why = io == IO_EOF ? "the server closed the connection when asked for TLS" :
				      stream_why(st);
		return ENCRYPT_LOST;
	}
	switch (*stream_data(st)) {
	case 'S':
	case 'N':
		break;
	case 'E':
		return ENCRYPT_ERROR;
	default:
		return ENCRYPT_BAD;
	}
	/* whoever sits between us might have put them there */
	if (stream_have(st) > 1) {
		*why = "the server sent bytes in clear behind its answer to an SSLRequest";
		return ENCRYPT_BAD;
	}
	if (*stream_data(st) == 'N') {
		*why = "the server has no TLS";
		stream_consume(st, 1);
		return ENCRYPT_NO;
	}
	stream_consume(st, 1);
	return ENCRYPT_YES;
}

int encrypt_start(struct stream *st, const struct tls_db *k, const char *host,
		  const struct target *t)
{
	/* a session that is resumed shows no certificate again: with all that it was looked at for */
	char session[700];
	const struct tls_peer peer = {
		.host = host,
		.check_host = k->mode == SSLMODE_VERIFY_FULL,
		.sni = k->sni,
		.session = session,
		.cache = &st->w->tls_sessions,
	};

	(void)snprintf(session, sizeof(session), "%d %d %.255s %.400s", peer.check_host, peer.sni,
		       host, t->addr.name);
	return stream_tls(st, k->ctx, &peer);
}
