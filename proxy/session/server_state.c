/* proxy/session/server_state.c - see server_state.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/server_state.h"

enum server_state server_next(enum server_state s, enum server_event e)
{
	static const enum server_state next[SV_N][SE_N] = {
		[SV_NONE] = { [SE_DIAL] = SV_CONNECT, [SE_FAIL] = SV_CLOSED },
		[SV_CONNECT] = { [SE_CONNECTED] = SV_LOGIN,
				 [SE_TLS_ASK] = SV_TLS_ASK,
				 [SE_TLS] = SV_TLS,
				 [SE_FAIL] = SV_CLOSED },
		[SV_TLS_ASK] = { [SE_CONNECTED] = SV_LOGIN,
				 [SE_TLS] = SV_TLS,
				 [SE_DIAL] = SV_CONNECT,
				 [SE_FAIL] = SV_CLOSED },
		[SV_TLS] = { [SE_CONNECTED] = SV_LOGIN, [SE_DIAL] = SV_CONNECT, [SE_FAIL] = SV_CLOSED },
		[SV_LOGIN] = { [SE_READY] = SV_LIVE, [SE_DIAL] = SV_CONNECT, [SE_FAIL] = SV_CLOSED },
		[SV_LIVE] = { [SE_READY] = SV_LIVE, [SE_DIRTY] = SV_CLEAN, [SE_FAIL] = SV_CLOSED },
		[SV_CLEAN] = { [SE_READY] = SV_LIVE, [SE_DIRTY] = SV_CLEAN, [SE_FAIL] = SV_CLOSED },
		[SV_CLOSED] = { [SE_FAIL] = SV_CLOSED },
	};

	return next[s][e];
}

const char *server_state_name(enum server_state s)
{
	static const char *const name[SV_N] = {
#define X(id, text) [id] = text,
		SERVER_STATES(X)
#undef X
	};

	return name[s];
}

const char *server_event_name(enum server_event e)
{
	static const char *const name[SE_N] = {
#define X(id, text) [id] = text,
		SERVER_EVENTS(X)
#undef X
	};

	return name[e];
}
