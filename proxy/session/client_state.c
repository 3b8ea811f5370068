/* proxy/session/client_state.c - see client_state.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/client_state.h"

enum client_state client_next(enum client_state s, enum client_event e)
{
	static const enum client_state next[CL_N][CE_N] = {
		[CL_STARTUP] = { [CE_TLS] = CL_TLS,
				 [CE_ASK] = CL_PASSWORD,
				 [CE_LOOK] = CL_AUTH,
				 [CE_LOGIN] = CL_WELCOME,
				 [CE_CONSOLE] = CL_CONSOLE,
				 [CE_LAST] = CL_LINGER,
				 [CE_CLOSE] = CL_CLOSED },
		[CL_TLS] = { [CE_SECURED] = CL_STARTUP,
			     [CE_LAST] = CL_LINGER,
			     [CE_CLOSE] = CL_CLOSED },
		[CL_PASSWORD] = { [CE_ASK] = CL_PASSWORD,
				  [CE_LOOK] = CL_AUTH,
				  [CE_LOGIN] = CL_WELCOME,
				  [CE_CONSOLE] = CL_CONSOLE,
				  [CE_LAST] = CL_LINGER,
				  [CE_CLOSE] = CL_CLOSED },
		[CL_AUTH] = { [CE_ASK] = CL_PASSWORD,
			      [CE_LOOK] = CL_AUTH,
			      [CE_LOGIN] = CL_WELCOME,
			      [CE_CONSOLE] = CL_CONSOLE,
			      [CE_LAST] = CL_LINGER,
			      [CE_CLOSE] = CL_CLOSED },
		[CL_WELCOME] = { [CE_WELCOMED] = CL_READY,
				 [CE_LAST] = CL_LINGER,
				 [CE_CLOSE] = CL_CLOSED },
		[CL_READY] = { [CE_WAIT] = CL_WAITING,
			       [CE_LINK] = CL_LINKED,
			       [CE_LAST] = CL_LINGER,
			       [CE_CLOSE] = CL_CLOSED },
		[CL_WAITING] = { [CE_LINK] = CL_LINKED,
				 [CE_UNLINK] = CL_READY,
				 [CE_LAST] = CL_LINGER,
				 [CE_CLOSE] = CL_CLOSED },
		[CL_LINKED] = { [CE_UNLINK] = CL_READY,
				[CE_FAIL40001] = CL_BACKOFF,
				[CE_REPLAY] = CL_REPLAY,
				[CE_LAST] = CL_LINGER,
				[CE_CLOSE] = CL_CLOSED },
		[CL_BACKOFF] = { [CE_AGAIN] = CL_LINKED,
				 [CE_REPLAY] = CL_REPLAY,
				 [CE_UNLINK] = CL_READY,
				 [CE_LAST] = CL_LINGER,
				 [CE_CLOSE] = CL_CLOSED },
		[CL_REPLAY] = { [CE_AGAIN] = CL_LINKED,
				[CE_FAIL40001] = CL_BACKOFF,
				[CE_UNLINK] = CL_READY,
				 [CE_LAST] = CL_LINGER,
				 [CE_CLOSE] = CL_CLOSED },
		[CL_CONSOLE] = { [CE_LAST] = CL_LINGER, [CE_CLOSE] = CL_CLOSED },
		[CL_LINGER] = { [CE_LAST] = CL_LINGER, [CE_CLOSE] = CL_CLOSED },
	};

	return next[s][e];
}

const char *client_state_name(enum client_state s)
{
	static const char *const name[CL_N] = {
#define X(id, text) [id] = text,
		CLIENT_STATES(X)
#undef X
	};

	return name[s];
}

const char *client_event_name(enum client_event e)
{
	static const char *const name[CE_N] = {
#define X(id, text) [id] = text,
		CLIENT_EVENTS(X)
#undef X
	};

	return name[e];
}
