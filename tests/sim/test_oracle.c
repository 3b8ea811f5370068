/* tests/sim/test_oracle.c - oracle.c, script by script: what pgweir says when a server is
 * lost or cannot be had is allowed where it may be, and nowhere else; and each kind of
 * damage to the answers is found.
 *
 * SPDX-License-Identifier: ISC
 */
#include "oracle_bench.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- scripts: one client, word by word ----
 *
 * A client's message: "Q sql", "P name|sql", "B portal|statement", "D Sname", "E portal",
 * "C Sname", "S", "H", "d data", "c", "f why", "X". Then:
 *   "!Q sql" and so on: the server never hears of it
 *   "."      the server's answers are heard        "-"   they are not
 *   "> E 40001 text", "> Z T", "> C TAG", "> D text", "> 1" ...   this is heard instead
 *   "lose"   the server is another one now, and what was open is rolled back
 *   "other N tag"    somebody else appends to key N
 *   "may N", "over", "left"   allowed; the connection ends, by itself or by the client
 */

static const char lost_block[] = "> E 40001 the connection to the server was lost inside a transaction";
static const char lost_commit[] =
	"> E 40003 the connection to the server was lost while COMMIT was in flight";
static const char lost_flight[] =
	"> E 40003 the connection to the server was lost while a statement was in flight";
static const char in_limbo[] = "> E 25P02 current transaction is aborted, commands ignored until end of "
			       "transaction block";
#define LOST_BLOCK lost_block, "> Z E"
#define LOST_COMMIT lost_commit, "> Z I"
#define LOST_FLIGHT lost_flight, "> Z I"
#define LIMBO in_limbo, "> Z E"
#define LEAVE "!Q ROLLBACK", "> C ROLLBACK", "> Z I"

static const uint8_t params[] = "user\0app\0database\0db\0application_name\0me\0";

static void put_client(struct wire_put *w, const char *word)
{
	const char *rest = word[1] ? word + 2 : "", *bar = strchr(rest, '|');

	wire_begin(w, *word);
	switch (*word) {
	case 'P':
		wire_put_bytes(w, rest, (size_t)(bar - rest));
		wire_put_u8(w, 0);
		wire_put_str(w, bar + 1);
		wire_put_u16(w, 0);
		break;
	case 'B':
		wire_put_bytes(w, rest, (size_t)(bar - rest));
		wire_put_u8(w, 0);
		wire_put_str(w, bar + 1);
		wire_put_u16(w, 0);
		wire_put_u16(w, 0);
		wire_put_u16(w, 0);
		break;
	case 'E':
		wire_put_str(w, rest);
		wire_put_u32(w, 0);
		break;
	case 'd':
		wire_put_bytes(w, rest, strlen(rest));
		wire_put_u8(w, '\n');
		break;
	case 'Q':
	case 'D':
	case 'C':
	case 'f':
		wire_put_str(w, rest);
		break;
	default:
		break;
	}
	wire_end(w);
}

static void put_error(struct wire_put *w, const char *rest, const char *severity)
{
	char code[6];
	struct wire_error e = { severity, code, rest + 6, "some detail", "a hint", NULL };

	memcpy(code, rest, 5);
	code[5] = 0;
	wire_put_error(w, 'E', &e);
}

static void put_server(struct wire_put *w, const char *word)
{
	const char *rest = word[1] ? word + 2 : "";

	switch (*word) {
	case 'E':
		put_error(w, rest, "ERROR");
		return;
	case 'F':
		put_error(w, rest, "FATAL");
		return;
	case 'D':
		wire_begin(w, 'D');
		wire_put_u16(w, 1);
		wire_put_u32(w, (uint32_t)strlen(rest));
		wire_put_bytes(w, rest, strlen(rest));
		break;
	case 'Z':
		wire_put_ready(w, *rest);
		return;
	case 'C':
		wire_put_msg_str(w, 'C', rest);
		return;
	default:
		wire_begin(w, *word);
	}
	wire_end(w);
}

static void other_appends(struct world *w, const char *word)
{
	unsigned t = history_begin(w->h, 9, w->now), key = (unsigned)(word[0] - '0');
	struct txn *x = store_begin(w->s, wake, NULL);
	struct engine_error err;

	assert_int_equal(store_append(x, key, word + 2, &err), DATA_OK);
	assert_int_equal(store_commit(x, &err), DATA_OK);
	history_append(w->h, t, key, word + 2);
	history_end(w->h, t, FATE_COMMITTED, w->now);
}

static void do_word(struct world *w, const char *word)
{
	struct peer *v = &w->v[0];
	struct engine_conf conf = { w->dialect, false, 150004 };
	uint8_t b[2048];
	struct wire_put p = wire_put_to(b, sizeof(b));

	w->now += 10;
	if (strcmp(word, ".") == 0) {
		hear(v, v->out_n);
	} else if (strcmp(word, "-") == 0) {
		v->out_at = v->out_n;
	} else if (*word == '>') {
		put_server(&p, word + 2);
		oracle_got(v->o, b, p.len, w->now);
	} else if (strcmp(word, "lose") == 0) {
		engine_free(v->e);
		v->e = engine_new(&conf, &v->env);
		assert_non_null(v->e);
		engine_login(v->e, params, sizeof(params));
		v->out_at = v->out_n;
	} else if (strncmp(word, "other ", 6) == 0) {
		other_appends(w, word + 6);
	} else if (strncmp(word, "may ", 4) == 0) {
		oracle_may(v->o, (unsigned)strtoul(word + 4, NULL, 0));
	} else if (strcmp(word, "over") == 0 || strcmp(word, "left") == 0) {
		oracle_over(v->o, *word == 'l', w->now);
	} else if (*word == '!') {
		put_client(&p, word + 1);
		oracle_sent(v->o, b, p.len, w->now);
	} else {
		put_client(&p, word);
		send(v, b, p.len);
	}
}

/* want: NULL: nothing is wrong; else a part of what must be said. */
static void check_script(const char *const *words, const char *want)
{
	static struct world w;
	unsigned i, owed;
	char all[2000] = "";

	world_make(&w, DIALECT_PG, 1, 1);
	connect_as(&w.v[0], params, sizeof(params));
	hear(&w.v[0], w.v[0].out_n);
	for (i = 0; words[i]; i++) {
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "[%s] ", words[i]);
		do_word(&w, words[i]);
	}
	owed = oracle_owed(w.v[0].o);
	world_end(&w);
	if (!*w.wrong && owed)
		(void)snprintf(w.wrong, sizeof(w.wrong), "%u owed", owed);
	if (want ? !strstr(w.wrong, want) : *w.wrong != 0)
		fail_msg("%s\n  wanted \"%s\", got \"%s\"", all, want ? want : "nothing wrong", w.wrong);
	assert_true(!want || *w.wrong);
}

#define RIGHT(...) check_script((const char *const[]){ __VA_ARGS__, NULL }, NULL)
#define WRONG(want, ...) check_script((const char *const[]){ __VA_ARGS__, NULL }, want)
#define MAY_ALL "may 0x7f"

static void test_scripts(void **state)
{
	(void)state;
	RIGHT("Q SELECT 1", ".", "Q ", ".", "Q nonsense", ".");
	RIGHT("P |SELECT 'x'", "B |", "D P", "E ", "S", ".");
	RIGHT("Q BEGIN", "Q UPDATE kv SET v = v || 'a' WHERE k = 1", "Q COMMIT", ".",
	      "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT("Q COPY kv FROM STDIN", ".", "d 1\tx", "d 2\ty", "c", ".");
	RIGHT("Q SET TimeZone = 'Asia/Tokyo'", ".", "Q SHOW TimeZone", ".");
	RIGHT("X", "over");
	WRONG("should be", "Q SELECT 1", "> C SELECT 1", "> Z I");
	WRONG("unasked", "> Z I");
	WRONG("owed", "Q SELECT 1");
	WRONG("without a reason", "over");
	WRONG("without a reason", "Q SELECT 1", "over");
	RIGHT("left");
	/* another's row */
	WRONG("should be", "Q SELECT 'mine' AS a", "> D yours", "> C SELECT 1", "> Z I");
}

static void test_lost_block(void **state)
{
#define BLOCK MAY_ALL, "Q BEGIN", ".", "Q UPDATE kv SET v = v || 'a' WHERE k = 1", ".", "lose"
	(void)state;
	RIGHT(BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q SELECT 1", "-", LIMBO, "Q ROLLBACK TO s", "-", LIMBO,
	      LEAVE, "-", "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT(BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q nonsense", "-", LIMBO, "Q COMMIT", "-", "> C ROLLBACK",
	      "> Z I", "Q SELECT 1", ".");
	/* nothing was in flight: the next one hears of it */
	RIGHT(BLOCK, "Q COMMIT", "-", lost_block, "> Z I", "Q SELECT v FROM kv WHERE k = 1", ".");
	RIGHT(BLOCK, LEAVE, "-", "Q SELECT 1", ".");
	/* in the extended protocol, each message */
	RIGHT(BLOCK, "P |SELECT 1", "B |", "S", "-", LOST_BLOCK, "P |ROLLBACK", "B |", "E ", "S", "-", "> 1",
	      "> 2", "> C ROLLBACK", "> Z I", "P |SELECT 1", "B |", "E ", "S", ".");
	RIGHT(BLOCK, "C Snone", "-", "> 3", lost_block, "D Snone", "S", "-", "> Z E", LEAVE);
	RIGHT(BLOCK, "P |COMMIT", "B |", "E ", "S", "-", "> 1", "> 2", lost_block, "> Z I");
	/* with units in flight */
	RIGHT(BLOCK, "Q SELECT 1", "Q SELECT 2", "Q ROLLBACK", "-", LOST_BLOCK, LOST_BLOCK, LOST_BLOCK, LEAVE);
	/* a batch that had ended the block already */
	RIGHT(BLOCK, "P |ROLLBACK", "B |", "E ", "P |SELECT 1", "S", "-", "> 1", "> 2", "> C ROLLBACK",
	      LOST_BLOCK, "Q SELECT 1", "-", LIMBO, LEAVE);
	/* between the messages of a batch */
	RIGHT(MAY_ALL, "P |BEGIN", "B |", "E ", "H", ".", "lose", lost_block, "!S", "> Z E", "!Q SELECT 1",
	      LIMBO, LEAVE, "Q SELECT 1", ".");
	RIGHT(BLOCK, "P |SELECT 1", "B |", "E ", "H", "-", "> 1", "> 2", "> D 1", "> C SELECT 1", lost_block, "!S",
	      "> Z E", LEAVE);
	WRONG("40001", MAY_ALL, "Q SELECT 1", "-", LOST_BLOCK);
	WRONG("Z I", BLOCK, "Q SELECT 1", "-", lost_block, "> Z I");
	WRONG("40001", "Q BEGIN", ".", "Q SELECT 1", "-", LOST_BLOCK);
	WRONG("25P02", BLOCK, "Q SELECT 1", "-", LOST_BLOCK, LEAVE, "Q SELECT 1", "-", LIMBO);
	WRONG("COMMIT", BLOCK, "Q SELECT 1", "-", LOST_BLOCK, "Q COMMIT", "-", "> C COMMIT", "> Z I");
}

static void test_lost_unknown(void **state)
{
#define A "Q UPDATE kv SET v = v || 'a' WHERE k = 1"
#define B "Q UPDATE kv SET v = v || 'b' WHERE k = 2"
#define SEE "Q SELECT k, v FROM kv WHERE k IN (1, 2)", "."
	(void)state;
	/* done, and not done */
	RIGHT(MAY_ALL, A, "-", LOST_FLIGHT, "lose", SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, ".", B, ".", "Q COMMIT", "-", LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, ".", B, ".", "lose", "Q COMMIT", "-", LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", ".", A, B, "Q COMMIT", "-", LOST_COMMIT, LOST_COMMIT, LOST_COMMIT, SEE);
	RIGHT(MAY_ALL, "Q BEGIN", A, B, "Q COMMIT", "-", LOST_FLIGHT, LOST_FLIGHT, LOST_FLIGHT, LOST_FLIGHT,
	      SEE);
	RIGHT(MAY_ALL, "P |UPDATE kv SET v = v || 'a' WHERE k = 1", "B |", "E ", "S", "-", "> 1", "> 2",
	      "> C UPDATE 1", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q UPDATE kv SET v = v || 'a' WHERE k = 1; UPDATE kv SET v = v || 'b' WHERE k = 2", "-",
	      "> C UPDATE 1", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "d 1\ta", "c", "-", LOST_FLIGHT, SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "d 1\ta", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", SEE);
	RIGHT(MAY_ALL, "Q COPY kv FROM STDIN", ".", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", SEE);
	RIGHT(MAY_ALL, "P |COPY kv FROM STDIN", "B |", "E ", "S", ".", "lose", "-", LOST_FLIGHT, "d 1\tb", "c", "S",
	      ".", SEE);
	RIGHT(MAY_ALL, "P |UPDATE kv SET v = v || 'a' WHERE k = 1", "B |", "E ", "H", ".", "lose", lost_flight, "!S",
	      "> Z I", SEE);
	/* it was told: then it must be there */
	WRONG("missing", MAY_ALL, "Q BEGIN", ".", A, ".", "lose", "Q COMMIT", "-", "> C COMMIT", "> Z I", SEE);
	/* half of it */
	WRONG("half", MAY_ALL, "Q BEGIN", ".", A, ".", "lose", B, "-", "> C UPDATE 1", "> Z T", "Q COMMIT", "-",
	      LOST_COMMIT, SEE);
	/* statements that were not acknowledged are not there */
	RIGHT(MAY_ALL, "P s|SELECT 1", "B |s", "E ", "S", "-", LOST_FLIGHT, "lose", "P s|SELECT 2", "B |s", "E ",
	      "S", ".");
	WRONG("40003", A, "-", LOST_FLIGHT);
	WRONG("Z T", MAY_ALL, A, "-", lost_flight, "> Z T");
}

static void test_settings(void **state)
{
#define SETS "Q BEGIN", ".", "Q SET search_path = here", ".", "Q SET app.x = 'here'", "."
#define SHOWS(a, b) "Q SHOW search_path", "-", "> T", "> D " a, "> C SHOW", "> Z I", "Q SHOW app.x", "-", \
		    "> D " b, "> C SHOW", "> Z I"
	(void)state;
	/* one or the other, each for itself; the T of the hand-made answer is wrong, though */
	WRONG("is \"T\"", MAY_ALL, SETS, "Q COMMIT", "-", LOST_COMMIT, SHOWS("here", "here"));
	RIGHT(MAY_ALL, SETS, "Q COMMIT", "-", LOST_COMMIT, "Q SHOW search_path", ".", "Q SHOW app.x", ".");
	RIGHT(MAY_ALL, SETS, "lose", "Q COMMIT", "-", LOST_COMMIT, "Q SHOW search_path", ".");
	RIGHT(MAY_ALL, SETS, "Q COMMIT", "-", LOST_COMMIT, "Q SET search_path = there", ".", "Q SHOW search_path",
	      ".");
	/* once known it stays */
	WRONG("should be", MAY_ALL, SETS, "Q COMMIT", "-", LOST_COMMIT, "Q SHOW search_path", ".", "lose",
	      "Q SHOW search_path", ".");
	/* rolled back for certain */
	WRONG("should be", MAY_ALL, SETS, "Q SELECT 1", "-", LOST_BLOCK, LEAVE, "Q SHOW search_path", ".");
	RIGHT(MAY_ALL, SETS, "lose", "Q SELECT 1", "-", LOST_BLOCK, LEAVE, "Q SHOW search_path", ".");
}

static void test_bound(void **state)
{
#define FATAL_LOST "> F 57P01 the server connection of this session was lost"
	(void)state;
	WRONG("goes on", MAY_ALL, "Q LISTEN x", ".", "lose", "Q SELECT 1", "-", LOST_FLIGHT, "Q SELECT 1", ".");
	WRONG("goes on", MAY_ALL, "Q PREPARE p AS SELECT 1", ".", "Q BEGIN", ".", "lose", "Q SELECT 1", "-",
	      LOST_BLOCK, LEAVE, "Q SELECT 1", ".");
	RIGHT(MAY_ALL, "Q LISTEN x", ".", "lose", "Q SELECT 1", "-", LOST_FLIGHT, FATAL_LOST, "over");
	RIGHT(MAY_ALL, "Q LISTEN x", ".", FATAL_LOST, "over");
	/* it had not come to that */
	RIGHT(MAY_ALL, "Q LISTEN x", "lose", "-", LOST_FLIGHT, "Q SELECT 1", ".");
	RIGHT(MAY_ALL, "Q BEGIN", ".", "Q LISTEN x", ".", "lose", "Q SELECT 1", "-", LOST_BLOCK, LEAVE,
	      "Q SELECT 1", ".");
	WRONG("unasked", "may 2", "Q LISTEN x", ".", FATAL_LOST, "over");
	WRONG("behind the last word", MAY_ALL, FATAL_LOST, "> Z I");
}

static void test_refused(void **state)
{
#define NO_NODE "> E 57P03 no suitable node was up within query_wait_timeout"
#define CANCEL "> E 57014 canceling statement due to user request"
	(void)state;
	RIGHT(MAY_ALL, "!" A, NO_NODE, "> Z I", SEE);
	WRONG("57P03", "may 2", "!" A, NO_NODE, "> Z I");
	WRONG("missing", MAY_ALL, "!" A, NO_NODE, "> Z I", "!" A, "> C UPDATE 1", "> Z I");
	RIGHT("may 8", "!P s|SELECT 1", "!B |s", "!E ", "!S", NO_NODE, "> Z I", "P s|SELECT 1", "S", ".");
	/* behind a BEGIN that no server has seen */
	RIGHT("may 8", "Q BEGIN", ".", "lose", "!Q SELECT 1", NO_NODE, "> Z E", "!Q ROLLBACK TO s", LIMBO, LEAVE,
	      "Q SELECT 1", ".");
	RIGHT("may 4", "!Q SELECT pg_sleep(9)", CANCEL, "> Z I");
	WRONG("57014", "!Q SELECT pg_sleep(9)", CANCEL, "> Z I");
	RIGHT("may 32", "!Q SELECT 1; LISTEN x",
	      "> E 53300 too many clients of this pool are bound to their server", "> Z I");
	/* told that it was not done, and it is there */
	WRONG("nobody", "may 8", A, "-", NO_NODE, "> Z I");
	RIGHT("may 1", "Q BEGIN", ".", "Q SELECT v FROM kv WHERE k = 1", ".", "other 1 z", A, ".", "Q ROLLBACK", ".",
	      SEE);
	RIGHT("may 1", "Q BEGIN", ".", "Q SELECT v FROM kv WHERE k = 1", ".", "other 1 z", B, ".", "Q COMMIT", ".",
	      SEE);
}

static void test_ends(void **state)
{
	(void)state;
	RIGHT(A, "-", "left");
	RIGHT(A, "lose", "left");
	RIGHT("Q BEGIN", ".", A, "-", "left");
	RIGHT("Q BEGIN", ".", A, B, "Q COMMIT", "-", "left");
	RIGHT("Q BEGIN", ".", A, B, "lose", "Q COMMIT", "-", "left");
	RIGHT("Q BEGIN", A, B, "Q COMMIT", "-", "left");
	RIGHT("P |UPDATE kv SET v = v || 'a' WHERE k = 1", "B |", "E ", "S", "-", "> 1", "left");
	WRONG("should be", "P |UPDATE kv SET v = v || 'a' WHERE k = 1", "B |", "E ", "S", "-", "> 2", "left");
	WRONG("without a reason", A, "-", "over");
	RIGHT("may 16", A, "-", "over");
	/* a row of somebody else's, and then the end */
	WRONG("should be", "P |SELECT 'mine'", "B |", "E ", "S", "-", "> 1", "> 2", "> D yours", "left");
}

/* ---- damage ---- */

enum damage { CHANGE, SWAP, LOSE, DOUBLE, OTHER_STATUS, OTHER_ERROR, OTHER_ROW, DAMAGES };

/* Every kind of answer; the first is the login's. */
static const char *const busy[] = {
	"Q SELECT 'mine' AS a, 7", "Q SELECT g FROM generate_series(1, 3) g", "Q nonsense", "Q ",
	"Q UPDATE kv SET v = v || 'a' WHERE k = 1", "Q SET TimeZone = 'Asia/Tokyo'", "Q BEGIN", "Q BEGIN",
	"Q INSERT INTO kv VALUES (1, 'b'), (2, 'c') RETURNING v", "Q SELECT 1/0", "Q SELECT 1", "Q COMMIT",
	"P s|SELECT v FROM kv WHERE k = 1", "D Ss", "B |s", "D P", "E ", "S", "P s|SELECT 1", "S",
	"P |UPDATE kv SET v = v || 'd' WHERE k = 3", "B |", "E ", "C Ss", "S", "Q COPY kv FROM STDIN", "d 4\te",
	"c", "Q COPY kv TO STDOUT", "Q SHOW TimeZone", "Q SELECT v FROM kv WHERE k = 1",
	"Q PREPARE q AS SELECT 'again'", "Q EXECUTE q", "Q EXECUTE q; SELECT 2; DISCARD ALL", "Q EXECUTE q",
};

struct spoilt {
	enum damage how;
	unsigned at, byte;         /* which message, which byte of it */
	unsigned n;                /* messages there were */
	bool done;                 /* it could be done, and matters */
};

static size_t whole(const uint8_t *p)
{
	return 1 + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
}

/* Would a client be told something else by another byte there? */
static bool matters(const uint8_t *p, size_t byte)
{
	size_t at = 5;

	if (*p == 'K' && byte >= 5)
		return false;
	if ((*p != 'E' && *p != 'N') || byte < 5)
		return *p != 'S' || byte < 5 || strncmp((const char *)p + 5, "in_hot_standby", 14) != 0;
	while (at < byte && at + strlen((const char *)p + at) < byte)
		at += strlen((const char *)p + at) + 1;
	return strchr("SVCM", p[at]) && byte > at && p[byte];
}

/* What the client hears of a whole answer. */
static size_t spoil(struct spoilt *x, const uint8_t *p, size_t n, uint8_t *out)
{
	static const uint8_t row[] = { 'D', 0, 0, 0, 15, 0, 1, 0, 0, 0, 5, 'y', 'o', 'u', 'r', 's' };
	uint8_t other[512];
	struct wire_put w = wire_put_to(other, sizeof(other));
	size_t i = 0, o = 0, len, next;

	for (; i < n; i += len) {
		bool here = x->n++ == x->at;

		len = whole(p + i);
		next = i + len < n ? whole(p + i + len) : 0;
		memcpy(out + o, p + i, len);
		o += len;
		if (!here)
			continue;
		switch (x->how) {
		case CHANGE:
			x->done = x->byte < len && matters(p + i, x->byte);
			out[o - len + (x->byte < len ? x->byte : 0)] ^= x->done ? 1 : 0;
			break;
		case SWAP:
			x->done = next && (p[i] != 'S' || p[i + len] != 'S') &&
				  (next != len || memcmp(p + i, p + i + len, len) != 0);
			if (!x->done)
				break;
			memcpy(out + o - len, p + i + len, next);
			memcpy(out + o - len + next, p + i, len);
			o += next;
			len += next;
			x->n++;
			break;
		case LOSE:
			x->done = true;
			o -= len;
			break;
		case DOUBLE:
			x->done = true;
			memcpy(out + o, p + i, len);
			o += len;
			break;
		case OTHER_STATUS:
			x->done = p[i] == 'Z';
			out[o - 1] = x->done ? (uint8_t)(out[o - 1] == 'T' ? 'I' : 'T') : out[o - 1];
			break;
		case OTHER_ERROR:
			x->done = p[i] == 'E';
			if (!x->done)
				break;
			put_error(&w, "40001 could not serialize access due to concurrent update", "ERROR");
			o -= len;
			memcpy(out + o, other, w.len);
			o += w.len;
			break;
		case OTHER_ROW:
		case DAMAGES:
		default:
			x->done = p[i] == 'D';
			o -= x->done ? len : 0;
			memcpy(out + o, row, x->done ? sizeof(row) : 0);
			o += x->done ? sizeof(row) : 0;
		}
	}
	return o;
}

/* true: it was noticed. */
static bool notices(struct spoilt *x)
{
	static struct world w;
	struct peer *v = &w.v[0];
	static uint8_t out[1 << 16];
	unsigned i, owed;
	size_t n;

	x->n = 0;
	x->done = false;
	world_make(&w, DIALECT_PG, 1, 1);
	connect_as(v, params, sizeof(params));
	for (i = 0; i <= COUNT(busy) && !*w.wrong; i++) {
		if (i)
			do_word(&w, busy[i - 1]);
		n = spoil(x, v->out + v->out_at, v->out_n - v->out_at, out);
		v->out_at = v->out_n;
		oracle_got(v->o, out, n, w.now);
	}
	owed = oracle_owed(v->o);
	world_end(&w);
	return owed || *w.wrong;
}

static void test_damage(void **state)
{
	static const unsigned bytes[] = { 0, 1, 4, 5, 6, 7, 9, 11, 12, 15, 18, 22, 30, 40 };
	struct spoilt x = { .how = DAMAGES, .at = UINT32_MAX };
	unsigned done[DAMAGES] = { 0 }, messages, i, how;

	(void)state;
	assert_false(notices(&x));
	messages = x.n;
	for (how = CHANGE; how < DAMAGES; how++)
		for (x.at = 0; x.at < messages; x.at++)
			for (i = 0; i < (how == CHANGE ? COUNT(bytes) : 1); i++) {
				bool noticed;

				x.how = (enum damage)how;
				x.byte = bytes[i];
				noticed = notices(&x);
				if (x.done && !noticed)
					fail_msg("damage %u to message %u (byte %u) was not noticed", how, x.at,
						 x.byte);
				done[how] += x.done;
			}
	for (how = CHANGE; how < DAMAGES; how++)
		assert_true(done[how] > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),	     cmocka_unit_test(test_lost_block),
		cmocka_unit_test(test_lost_unknown), cmocka_unit_test(test_settings),
		cmocka_unit_test(test_bound),	     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ends),	     cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
