/* proxy/session/auth.h - how a client shows who it is: by auth_type, or as the first
 * rule of auth_hba_file that fits it says.
 *
 * Source: PostgreSQL manual 55.2.1 (Start-up), 55.3 (SASL), chapter 21.
 *
 * Who is not known is asked like who is, and refused with the same words after the same
 * work: which users there are cannot be told from here.
 *
 * Until the login is done a client costs one buffer and struct login, and no more
 * however long its messages claim to be.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_AUTH_H
#define PGWEIR_SESSION_AUTH_H

#include "conf/auth.h"
#include "session/asker.h"
#include "session/refusal.h"
#include "session/session.h"

struct hba_rule;

/* What an attempt to log in needs and a session does not. */
struct login {
	struct snapshot *snap;       /* by which it began; one reference */
	enum auth_type method;
	const struct hba_rule *rule; /* NULL: auth_type itself */
	enum secret_kind kind;       /* what there is to compare with; NONE: it is refused in
					the end */
	const char *secret;          /* of snap's configuration, or: */
	char *found;                 /* a copy of what auth_query has said */
	bool asked;                  /* it is auth_query that says, by: */
	struct ask_how how;
	bool kept;                   /* what it has said before was taken: it may be old */
	bool questioned;             /* the client has been asked for its password */
	struct ask_wait wait;
	struct client *c;
	struct login_source source;  /* where a secret is asked for */
	bool tried;                  /* a secret of it has been compared, or is */
	bool told;                   /* ... that it failed */
	bool only;                   /* ... as the one attempt that a source with failures has */
	bool doomed;                 /* such a user is not known: kind is only made to look so */
	uint8_t salt[4];             /* of the MD5 question */
	bool scram_begun;
	struct scram_server scram;
};

/* It has said who it wants to be. Asks, or lets in, or refuses. */
enum startup auth_begin(struct client *c, struct startup_no *no);
/* A message of a client in state password. */
enum startup auth_message(struct client *c, struct startup_no *no);
/* Wipes and frees what only the login needed. */
void auth_end(struct client *c);

#endif
