/* proxy/session/client_state.h - the stages of a client, as a pure table.
 *
 * A state is called after what will end it. A zero cell cannot happen.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_CLIENT_STATE_H
#define PGWEIR_SESSION_CLIENT_STATE_H

#define CLIENT_STATES(X)                                                       \
	X(CL_NONE, "none")                                                     \
	X(CL_STARTUP, "startup")     /* its startup packet */                  \
	X(CL_TLS, "tls")             /* the end of the handshake */            \
	X(CL_PASSWORD, "password")   /* its next authentication message */     \
	X(CL_AUTH, "auth")           /* word from elsewhere of who it is */    \
	X(CL_WELCOME, "welcome")     /* the first server of its pool */        \
	X(CL_READY, "ready")         /* its next message; no server */         \
	X(CL_WAITING, "waiting")     /* a server */                            \
	X(CL_LINKED, "linked")       /* the end of its transaction */          \
	X(CL_BACKOFF, "backoff")     /* the time of the next attempt; has a server */ \
	X(CL_REPLAY, "replay")       /* its transaction to come out as before; has a server */ \
	X(CL_CONSOLE, "console")     /* its next console command */            \
	X(CL_LINGER, "linger")       /* the last bytes to it */                \
	X(CL_CLOSED, "closed")

#define CLIENT_EVENTS(X)                                                       \
	X(CE_TLS, "shaking hands")                                             \
	X(CE_SECURED, "has TLS")                                               \
	X(CE_ASK, "asked for its password")                                    \
	X(CE_LOOK, "looked up")                                                \
	X(CE_LOGIN, "login accepted")                                          \
	X(CE_CONSOLE, "login to the console accepted")                         \
	X(CE_WELCOMED, "told it is logged in")                                 \
	X(CE_WAIT, "no server free")                                           \
	X(CE_LINK, "got a server")                                             \
	X(CE_UNLINK, "server gone or given back")                              \
	X(CE_FAIL40001, "to be tried again")                                   \
	X(CE_REPLAY, "replayed")                                               \
	X(CE_AGAIN, "tried again")                                             \
	X(CE_LAST, "nothing more to say")                                      \
	X(CE_CLOSE, "closed")

enum client_state {
#define X(id, name) id,
	CLIENT_STATES(X)
#undef X
	CL_N
};

enum client_event {
#define X(id, name) id,
	CLIENT_EVENTS(X)
#undef X
	CE_N
};

/* CL_NONE: impossible. */
enum client_state client_next(enum client_state s, enum client_event e);
const char *client_state_name(enum client_state s);
const char *client_event_name(enum client_event e);

#endif
