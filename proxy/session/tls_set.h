/* proxy/session/tls_set.h - what one configuration says of TLS, with its files read.
 *
 * Owner:   counted references; made by the control thread at start and at a reload,
 *          and kept by every snapshot of that configuration: a name that gets another
 *          address reads no file anew.
 * Threads: immutable but for the count.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_TLS_SET_H
#define PGWEIR_SESSION_TLS_SET_H

#include <stdatomic.h>

#include "conf/conf.h"
#include "io/tls_ctx.h"

/* Towards the servers of one database. */
struct tls_db {
	struct tls_ctx *ctx;     /* NULL with SSLMODE_DISABLE */
	enum sslmode mode;
	bool direct, sni, verify;
};

struct tls_set {
	_Atomic unsigned refs;
	struct conf *conf;       /* one reference */
	struct tls_ctx *client;  /* NULL: clients have no TLS */
	struct tls_db *dbs;      /* parallel to conf->dbs */
	struct tls_db fallback;
};

/* Reads the files. NULL: *e says which setting is wrong. conf is held. */
struct tls_set *tls_set_make(struct conf *conf, struct err *e);
struct tls_set *tls_set_hold(struct tls_set *s);
void tls_set_drop(struct tls_set *s);            /* NULL is fine */

/* That of an entry of its configuration. */
const struct tls_db *tls_set_db(const struct tls_set *s, const struct conf_db *db);

#endif
