/* proxy/session/console_in.c - see console_in.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/console_in.h"

#include <string.h>

#include "session/count.h"
#include "session/ending.h"
#include "session/step.h"
#include "wire/wire.h"

void console_messages(struct client *c)
{
	while (c->state == CL_CONSOLE && stream_have(&c->s)) {
		uint8_t type = 0, *msg = stream_data(&c->s);
		uint32_t len = 0;
		enum wire_status st = wire_header(msg, stream_have(&c->s), &type, &len);

		if (st == WIRE_BAD || (st == WIRE_OK && len > BUF_CAP)) {
			client_end(c, "08P01", "invalid message length", NULL, NULL,
				   "protocol violation");
			return;
		}
		if (st == WIRE_MORE || stream_have(&c->s) < len)
			return;
		if (type == 'X') {
			client_close(c, "client closed the session");
			return;
		}
		if (type == 'Q' && len > WIRE_HEADER) {
			c->queries++;
			COUNT_INC(c, queries);
			COUNT_INC(c, xacts);
			c->h->ops->console(c, (const char *)msg + WIRE_HEADER,
					   strnlen((const char *)msg + WIRE_HEADER,
						   len - WIRE_HEADER));
		} else if (type == 'S') {
			c->skip_to_sync = false;
			say_ready(c, 'I');
		} else if (!c->skip_to_sync) {
			c->skip_to_sync = true;
			say_error(c, "ERROR", "0A000",
				  "the console understands simple queries only", NULL,
				  "Use psql, or your driver's simple query mode.");
		}
		if (c->state == CL_CONSOLE) {
			COUNT_ADD(c, received_bytes, len);
			stream_consume(&c->s, len);
		}
	}
}
