/* proxy/session/auth_cert.h - what a client's certificate says of who it is.
 *
 * Source: PostgreSQL manual 21.12 (Certificate Authentication).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_AUTH_CERT_H
#define PGWEIR_SESSION_AUTH_CERT_H

#include "conf/hba.h"
#include "conf/ident.h"
#include "session/refusal.h"
#include "session/session.h"

struct auth_cert {
	enum hba_cert want;          /* of the rule, or of auth_type = cert */
	enum hba_cert_name name;     /* what of it names the user */
	const char *map;             /* NULL: the name is the user's */
	const struct ident *ident;   /* may be NULL */
};

/* STARTUP_MORE: it has shown what is wanted, or nothing is; else STARTUP_REFUSED. */
enum startup auth_cert(struct client *c, const struct auth_cert *k, struct startup_no *no);

#endif
