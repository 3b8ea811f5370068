/* tests/sim/program_hostile.c - clients that break the rules, or leave in the middle.
 *
 * Where it is not certain how many answers are owed they do not wait for them: they
 * pause, and begin a new session.
 *
 * SPDX-License-Identifier: ISC
 */
#include "program_in.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void pause_some(struct program *p)
{
	step_send(p, IN_COPY);
	if (rng_chance(&p->r, 70))
		step_pause(p, rng_between(&p->r, 100, 80000));
}

/* Away, one way or the other. */
static void leave(struct program *p)
{
	pause_some(p);
	step_move(p, p->left ? MOVE_RECONNECT : MOVE_CLOSE);
}

static void append(struct program *p, bool extended)
{
	text_begin(p);
	add_append(p);
	if (extended)
		put_all(p, p->t.s);
	else
		put_query(p);
}

static void raw(struct program *p, char type, const char *body, size_t n)
{
	wire_begin(&p->w, type);
	wire_put_bytes(&p->w, body, n);
	wire_end(&p->w);
}

/* ---- wrong order, of right messages ---- */

static void disorder(struct program *p)
{
	switch (rng_below(&p->r, 14)) {
	case 0:
		put_bind_tmpl(p, "", "nobody", T_READ);
		break;
	case 1:
		put_bind_tmpl(p, "", "", T_READ);
		break;
	case 2:
		put_execute(p, "nowhere", 0);
		break;
	case 3:
		put_execute(p, "", 1);
		break;
	case 4:
		put_describe(p, 'S', "nobody");
		break;
	case 5:
		put_describe(p, 'P', "nowhere");
		break;
	case 6:
		put_close(p, 'S', "nobody");
		break;
	case 7:
		put_close(p, 'P', "");
		break;
	case 8:
		append(p, false);        /* in the middle of a batch */
		break;
	case 9:
		put_all(p, rng_chance(&p->r, 50) ? "BEGIN" : "COMMIT");
		break;
	case 10:
		put_parse_tmpl(p, rng_chance(&p->r, 50) ? "h1" : "", T_READ_3);
		break;
	case 11:
		put_bind_tmpl(p, "", "h1", T_READ_3);
		break;
	case 12:
		wire_put_msg(&p->w, 'H');
		break;
	default:
		append(p, true);
	}
}

void make_order(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 10);

	for (i = 0; i < n; i++) {
		disorder(p);
		if (rng_chance(&p->r, 15)) {
			put_sync(p);
			if (rng_chance(&p->r, 50))
				step_ask(p, 0);
		}
	}
	tail_begin(p, true);
}

void make_syncs(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 5, 600);
	bool block = rng_chance(&p->r, 30);

	if (block)
		put_simple(p, "BEGIN");
	for (i = 0; i < n; i++) {
		put_sync(p);
		if (rng_chance(&p->r, 5))
			wire_put_msg(&p->w, 'H');
		if (rng_chance(&p->r, 2))
			append(p, true);
		if (rng_chance(&p->r, 1))
			step_send(p, 0);
		if (rng_chance(&p->r, 2))
			put_close(p, 'S', "nobody");
	}
	tail_begin(p, true);
}

static void stray(struct program *p)
{
	static const char types[] = "dcf";
	char type = types[rng_below(&p->r, 3)];

	text_begin(p);
	if (type == 'd')
		say_text(p, "1\t%s\n", mark(p));
	raw(p, type, p->t.s, type == 'f' ? 1 : p->t.n);
}

void make_copy_outside(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 6);

	for (i = 0; i < n; i++) {
		stray(p);
		if (rng_chance(&p->r, 40))
			append(p, rng_chance(&p->r, 50));
		if (rng_chance(&p->r, 20))
			step_send(p, 0);
	}
	tail_begin(p, true);
}

void make_function(struct program *p)
{
	unsigned i;

	wire_begin(&p->w, 'F');
	wire_put_u32(&p->w, rng_chance(&p->r, 50) ? 177 : rng_below(&p->r, 5000));
	wire_put_u16(&p->w, 0);
	wire_put_u16(&p->w, rng_chance(&p->r, 80) ? 2 : 3);
	for (i = 0; i < 2; i++) {
		wire_put_u32(&p->w, 1);
		wire_put_u8(&p->w, (uint8_t)('1' + i));
	}
	wire_put_u16(&p->w, 0);
	wire_end(&p->w);
	if (rng_chance(&p->r, 40))
		append(p, false);
	leave(p);
}

/* What no client may do while the server waits for data. */
void make_copy_wrong(struct program *p)
{
	bool extended = rng_chance(&p->r, 30);

	if (extended) {
		put_all(p, "COPY kv FROM STDIN");
		wire_put_msg(&p->w, 'H');
		step_send(p, 0);
		step_pause(p, rng_between(&p->r, 1000, 30000));
	} else {
		put_simple(p, "COPY kv FROM STDIN");
		step_ask(p, 0);
	}
	if (rng_chance(&p->r, 50))
		put_copy_data(p, "1\thalf a r", 10);
	disorder(p);
	append(p, rng_chance(&p->r, 50));
	if (rng_chance(&p->r, 50))
		put_sync(p);
	leave(p);
}

/* ---- malformed ---- */

#define BODY(type, text) { type, text, sizeof(text) - 1 }

void make_malformed(struct program *p)
{
	static const struct {
		char type;
		const char *body;
		size_t n;
	} wrong[] = {
		BODY('Q', ""), BODY('Q', "SELECT 1"), BODY('Q', "SELECT 1\0SELECT 2\0"),
		BODY('P', ""), BODY('P', "s"), BODY('P', "s\0SELECT 1"), BODY('P', "s\0SELECT 1\0"),
		BODY('P', "s\0SELECT 1\0\0\1"), BODY('P', "s\0SELECT 1\0\xff\xff"),
		BODY('P', "s\0SELECT 1\0\0\0more"), BODY('P', "\0SELECT $1\0\x7f\xff\0\0\0\27"),
		BODY('B', ""), BODY('B', "\0"), BODY('B', "\0\0"), BODY('B', "\0\0\0\0\0\1"),
		BODY('B', "\0\0\0\0\0\1\0\0\0\5ab\0\0"), BODY('B', "\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
		BODY('B', "\0\0\0\1\0\7\0\0\0\0"), BODY('B', "\0\0\xff\xff\0\0\0\0"),
		BODY('B', "\0\0\0\0\xff\xff\0\0"), BODY('B', "\0\0\0\0\0\0\0\0more"),
		BODY('D', ""), BODY('D', "S"), BODY('D', "X\0"), BODY('D', "Sno zero"),
		BODY('D', "S\0more"), BODY('C', ""), BODY('C', "?s\0"), BODY('C', "S"),
		BODY('E', ""), BODY('E', "\0"), BODY('E', "\0\0\0"), BODY('E', "no zero"),
		BODY('E', "\0\xff\xff\xff\xff"), BODY('E', "\0\0\0\0\0more"), BODY('S', "body"),
		BODY('H', "body"), BODY('F', ""), BODY('F', "\0\0\0\261\0\0\0\2\0\0\0\1"),
		BODY('f', "no zero"), BODY('c', "body"), BODY('p', "password\0"), BODY('X', "body"),
	};
	unsigned i, n = rng_between(&p->r, 1, 3), k;

	if (rng_chance(&p->r, 30))
		put_simple(p, "BEGIN");
	if (rng_chance(&p->r, 40))
		append(p, rng_chance(&p->r, 50));
	for (i = 0; i < n; i++) {
		k = rng_below(&p->r, COUNT(wrong));
		raw(p, wrong[k].type, wrong[k].body, wrong[k].n);
		if (rng_chance(&p->r, 40))
			put_sync(p);
	}
	pause_some(p);
	if (rng_chance(&p->r, 60)) {
		put_sync(p);
		append(p, false);
	}
	leave(p);
}

void make_type(struct program *p)
{
	static const char types[] = { 'z', 'a', '\0', (char)0xff, 'p', 'R', 'T', 'N', ' ', '1' };
	char type = types[rng_below(&p->r, COUNT(types))];

	if (rng_chance(&p->r, 50))
		append(p, rng_chance(&p->r, 50));
	wire_put_u8(&p->w, (uint8_t)type);
	wire_put_u32(&p->w, 8);
	wire_put_bytes(&p->w, "body", 4);
	if (rng_chance(&p->r, 50)) {
		put_sync(p);
		append(p, false);
	}
	leave(p);
}

void make_length(struct program *p)
{
	static const uint32_t lengths[] = {
		0, 1, 3, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xffffffff, 100000, 10000000,
	};
	static const char types[] = "QPBDECSHFdcfX";

	if (rng_chance(&p->r, 50))
		append(p, rng_chance(&p->r, 50));
	wire_put_u8(&p->w, (uint8_t)types[rng_below(&p->r, sizeof(types) - 1)]);
	wire_put_u32(&p->w, lengths[rng_below(&p->r, COUNT(lengths))]);
	if (rng_chance(&p->r, 60))
		append(p, false);
	leave(p);
}

/* ---- half of something ---- */

void make_half(struct program *p)
{
	size_t from, whole;
	unsigned n = rng_below(&p->r, 3);

	if (rng_chance(&p->r, 30))
		put_simple(p, "BEGIN");
	while (n--)
		append(p, rng_chance(&p->r, 50));
	from = p->w.len;
	append(p, rng_chance(&p->r, 50));
	whole = p->w.len - from;
	p->w.len = from + rng_between(&p->r, 1, (unsigned)whole - 1);
	leave(p);
}

void make_leave_block(struct program *p)
{
	unsigned n = rng_between(&p->r, 0, 3);

	put_simple(p, "BEGIN");
	if (rng_chance(&p->r, 60))
		step_ask(p, 0);
	while (n--) {
		append(p, false);
		if (rng_chance(&p->r, 50))
			step_ask(p, 0);
	}
	if (rng_chance(&p->r, 20)) {
		put_simple(p, "SELECT 1/0");
		step_ask(p, 0);
	} else if (rng_chance(&p->r, 30)) {
		put_simple(p, "COMMIT"); /* and does not hear of it */
	}
	leave(p);
}

void make_leave_copy(struct program *p)
{
	bool extended = rng_chance(&p->r, 30);
	unsigned n = rng_between(&p->r, 0, 3);

	if (extended)
		put_all(p, "COPY kv FROM STDIN");
	else
		put_simple(p, "COPY kv FROM STDIN");
	if (!extended && rng_chance(&p->r, 70))
		step_ask(p, 0);
	while (n--)
		put_copy_data(p, "2\tpart of a row", 15);
	if (rng_chance(&p->r, 20))
		wire_put_u8(&p->w, 'd');
	leave(p);
}

void make_leave_batch(struct program *p)
{
	unsigned n = rng_between(&p->r, 1, 4);

	if (rng_chance(&p->r, 30))
		put_all(p, "BEGIN");
	while (n--)
		append(p, true);
	if (rng_chance(&p->r, 30))
		wire_put_msg(&p->w, 'H');
	else if (rng_chance(&p->r, 20))
		put_sync(p);
	leave(p);
}

void make_terminate(struct program *p)
{
	unsigned n = rng_between(&p->r, 1, 3);

	if (rng_chance(&p->r, 30))
		put_simple(p, "BEGIN");
	while (n--)
		append(p, rng_chance(&p->r, 60));
	if (rng_chance(&p->r, 40))
		put_sync(p);
	if (rng_chance(&p->r, 30))
		put_simple(p, "SELECT pg_sleep(0.2)");
	wire_put_msg(&p->w, 'X');
	if (rng_chance(&p->r, 20))
		append(p, false);        /* nobody reads it */
	pause_some(p);
	step_move(p, MOVE_RECONNECT);
}

void make_odd_cancel(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 5);

	if (rng_chance(&p->r, 40))
		step_move(p, MOVE_CANCEL);
	if (rng_chance(&p->r, 30)) {
		put_simple(p, "BEGIN");
		step_send(p, 0);
	}
	for (i = 0; i < n; i++) {
		if (rng_chance(&p->r, 30)) {
			put_simple(p, "SELECT pg_sleep(0.1)");
		} else {
			append(p, rng_chance(&p->r, 50));
			put_sync(p);
		}
		step_send(p, 0);
		if (rng_chance(&p->r, 40))
			step_pause(p, rng_between(&p->r, 10, 30000));
		if (rng_chance(&p->r, 60))
			step_move(p, MOVE_CANCEL);
		if (rng_chance(&p->r, 40))
			step_wait(p, 0);
	}
	if (rng_chance(&p->r, 20))
		leave(p);
}

void make_reconnect(struct program *p)
{
	if (rng_chance(&p->r, 50))
		wire_put_msg(&p->w, 'X');
	else if (p->c.manners == MANNERS_HOSTILE && rng_chance(&p->r, 50))
		append(p, false);
	step_send(p, 0);
	step_move(p, MOVE_RECONNECT);
}
