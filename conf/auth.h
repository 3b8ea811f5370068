/* conf/auth.h - the ways in which a client shows who it is. Types only.
 *
 * The words are PgBouncer's (auth_type) and PostgreSQL's (pg_hba.conf); peer and
 * passthrough may stand in both.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_AUTH_H
#define PGWEIR_CONF_AUTH_H

enum auth_type {
	AUTH_TRUST = 0,                /* no question asked */
	AUTH_SCRAM,                    /* SCRAM-SHA-256, with channel binding on TLS */
	AUTH_ANY,                      /* trust, and the user's name means nothing */
	AUTH_PLAIN,                    /* the password as it is ("password" in pg_hba.conf) */
	AUTH_MD5,                      /* MD5, or SCRAM when the secret is one of SCRAM */
	AUTH_CERT,                     /* a client certificate */
	AUTH_PEER,                     /* the Unix user at the other end of a local socket */
	AUTH_HBA,                      /* whatever the first matching rule says (conf/hba.h) */
	AUTH_PASSTHROUGH,              /* the password as it is, proven by the server's login */
	AUTH_REJECT                    /* in pg_hba.conf only */
};

#endif
