/* proxy/session/server_state.h - the stages of a server connection, as a pure
 * table. State is the stage of the protocol, seat (pool/pool.h) the place in
 * the pool; neither repeats the other.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SERVER_STATE_H
#define PGWEIR_SESSION_SERVER_STATE_H

#include <stdbool.h>

#define SERVER_STATES(X)                                                       \
	X(SV_NONE, "none")                                                     \
	X(SV_CONNECT, "connect")     /* the TCP connection */                  \
	X(SV_TLS_ASK, "tls answer")  /* the answer to an SSLRequest */         \
	X(SV_TLS, "tls")             /* the end of the handshake */            \
	X(SV_LOGIN, "login")         /* the first ReadyForQuery */             \
	X(SV_LIVE, "live")           /* its end: idle or relaying */           \
	X(SV_CLEAN, "clean")         /* ReadyForQuery after ROLLBACK or reset */ \
	X(SV_CLOSED, "closed")

#define SERVER_EVENTS(X)                                                       \
	X(SE_DIAL, "dialling")                                                 \
	X(SE_CONNECTED, "connected")                                           \
	X(SE_TLS_ASK, "asked for TLS")                                         \
	X(SE_TLS, "shaking hands")                                             \
	X(SE_READY, "ready for queries")                                       \
	X(SE_DIRTY, "left in need of cleaning")                                \
	X(SE_FAIL, "failed or closed")

enum server_state {
#define X(id, name) id,
	SERVER_STATES(X)
#undef X
	SV_N
};

enum server_event {
#define X(id, name) id,
	SERVER_EVENTS(X)
#undef X
	SE_N
};

/* On its way to its first ReadyForQuery. */
static inline bool server_state_dials(enum server_state s)
{
	return s == SV_CONNECT || s == SV_TLS_ASK || s == SV_TLS || s == SV_LOGIN;
}

/* SV_NONE: impossible. */
enum server_state server_next(enum server_state s, enum server_event e);
const char *server_state_name(enum server_state s);
const char *server_event_name(enum server_event e);

#endif
