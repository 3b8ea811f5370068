/* proxy/session/lost_words.c - see lost_words.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/lost_words.h"

#include "session/step.h"

const char lost_in_block[] = "the connection to the server was lost inside a transaction";
const char lost_in_block_hint[] =
	"Nothing of it was committed: roll back and run the transaction again.";
const char lost_undone[] = "the connection to the server was lost before anything was done";
const char lost_unknown[] = "the connection to the server was lost while a statement was in flight";
const char lost_commit[] = "the connection to the server was lost while COMMIT was in flight";
const char lost_unknown_hint[] =
	"It is not known whether it took effect: look before you run it again.";

void lost_batch(struct client *c)
{
	c->batch_lost = false;
	c->limbo_told = true;
	if (c->limbo)
		say_error(c, "ERROR", "40001", lost_in_block, NULL, lost_in_block_hint);
	else
		say_error(c, "ERROR", "40003", lost_unknown, NULL, lost_unknown_hint);
}
