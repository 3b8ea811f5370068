/* proxy/session/lost.h - what a client is told when its server is gone, and its
 * life until it has ended the transaction that went with it.
 *
 * The client's connection stays. Outside a transaction, with nothing in
 * flight, it notices nothing. Inside a transaction whose COMMIT was not sent
 * the work is certainly rolled back: 40001, and then 25P02 to everything until
 * its ROLLBACK, as after any error in a block. With a COMMIT or an implicit
 * transaction in flight the outcome is not known: 40003. A batch that has not had
 * its Sync is in flight even with every answer here: its next message is told.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_LOST_H
#define PGWEIR_SESSION_LOST_H

#include "session/relay_down.h"
#include "session/session.h"

/* Answers what s still owed to c, and leaves c without a server in state ready.
 * s is closed. false: c cannot be helped (cut off in the middle of a message)
 * and must be closed. */
MUST_CHECK bool lost_server(struct client *c, struct server *s, const struct down_why *w);

/* An error of ours in answer to the whole unit at the head of the client's
 * buffer; the connection stays usable. */
void refuse_unit(struct client *c, const char *sqlstate, const char *message, const char *detail,
		 const char *hint);

/* c is in limbo and a message is at the head of its buffer: answers it. false:
 * limbo is over and the message is for a server. */
bool limbo_message(struct client *c);

#endif
