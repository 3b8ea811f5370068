/* tests/sim/visitor.c - see visitor.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "visitor.h"

#include <stdlib.h>
#include <string.h>

#define BUF_MAX 200000u
#define TRIES_MAX 4u
#define BODY_KEPT 64u

enum waiting { W_NOTHING = 0, W_SSL, W_LOGIN, W_ANSWERS };

/* A CancelRequest on its way. */
struct asker {
	struct asker *next;
	struct visitor *v;
	struct end *end;
};

struct visitor {
	const struct visitor_world *w;
	struct visitor_conf conf;
	struct program *program;
	struct oracle *oracle;    /* of this session */
	struct end *end;
	struct asker *askers;
	struct rng rng;
	enum waiting waiting;
	uint64_t since_us;
	unsigned tries, bits;
	bool done, copy_in;
	bool leaves;              /* has sent Terminate */
	char status;
	uint8_t startup[600];
	size_t startup_n;
	uint32_t pid, secret;
	/* framing of what comes */
	uint8_t head[5 + BODY_KEPT];
	size_t head_n;
	uint32_t body_left;
	uint8_t buf[BUF_MAX];
	char text[400];
};

static void step(void *arg);

static void later(struct visitor *v)
{
	unsigned us = rng_chance(&v->rng, 60) ? rng_below(&v->rng, 40) : rng_below(&v->rng, 3000);

	sim_at(v->w->s, us, step, v);
}

/* What the checks know too little of: a client that breaks the protocol while servers
 * are lost or memory is short, and the ParameterStatus in front of the FATAL of one whose
 * settings could not be noted for want of memory. */
static bool is_unclear(const struct visitor *v, const char *what)
{
	unsigned may = v->w->may(v->w->arg) | v->bits;

	if (v->conf.program.manners == MANNERS_HOSTILE)
		return (may & (MAY_LOSE | MAY_MEMORY)) != 0;
	return (may & MAY_MEMORY) &&
	       (strstr(what, "should be \"S ") || strstr(what, "and is \"S "));
}

static void on_wrong(void *arg, const char *what)
{
	struct visitor *v = arg;

	if (is_unclear(v, what)) {
		sim_trace(v->w->s, "UNCLEAR client %u: %s", v->conf.program.client, what);
		v->w->s->unclear = true;
		return;
	}
	sim_wrong(v->w->s, "client %u: %s", v->conf.program.client, what);
}

static void finish(struct visitor *v)
{
	if (v->done)
		return;
	v->done = true;
	v->waiting = W_NOTHING;
	sim_trace(v->w->s, "c%u done", v->conf.program.client);
}

/* The session is over. */
static void hang_up(struct visitor *v, bool by_client)
{
	if (v->oracle) {
		oracle_over(v->oracle, by_client, v->w->s->now_us);
		oracle_free(v->oracle);
		v->oracle = NULL;
	}
	if (v->end)
		end_close(v->end);
	v->end = NULL;
	v->waiting = W_NOTHING;
	v->copy_in = false;
	v->pid = v->secret = 0;
	sim_forget(v->w->s, v);
}

/* ---- what comes ---- */

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void error_came(struct visitor *v, const uint8_t *p, size_t n)
{
	char code[6] = "";
	size_t i = 0;

	while (i + 1 < n && p[i]) {
		const char *text = (const char *)p + i + 1;
		size_t len = strnlen(text, n - i - 1);

		if (p[i] == 'C' && len == 5)
			memcpy(code, text, 5);
		i += len + 2;
	}
	sim_trace(v->w->s, "c%u < E %s", v->conf.program.client, code);
	if (v->waiting == W_ANSWERS)
		program_error(v->program, code);
}

static void message(struct visitor *v, uint8_t type, const uint8_t *body, size_t n)
{
	switch (type) {
	case 'Z':
		v->status = n ? (char)*body : '?';
		v->copy_in = false;
		sim_trace(v->w->s, "c%u < Z:%c", v->conf.program.client, v->status);
		break;
	case 'K':
		if (n >= 8) {
			v->pid = u32(body);
			v->secret = u32(body + 4);
		}
		break;
	case 'E':
		v->copy_in = false;
		error_came(v, body, n);
		break;
	case 'G':
		v->copy_in = true;
		break;
	default:
		break;
	}
}

/* Framing only: what is right is the oracle's. */
static void read_along(struct visitor *v, const uint8_t *p, size_t n)
{
	while (n) {
		size_t k;

		if (v->body_left && v->head_n >= 5 + BODY_KEPT) {
			k = n < v->body_left ? n : v->body_left;
			v->body_left -= (uint32_t)k;
		} else {
			size_t want = v->head_n < 5 ? 5 - v->head_n : v->body_left;

			if (v->head_n >= 5 && want > 5 + BODY_KEPT - v->head_n)
				want = 5 + BODY_KEPT - v->head_n;
			k = n < want ? n : want;
			memcpy(v->head + v->head_n, p, k);
			if (v->head_n >= 5)
				v->body_left -= (uint32_t)k;
			v->head_n += k;
			if (v->head_n == 5 && k)
				v->body_left = u32(v->head + 1) - 4;
		}
		p += k;
		n -= k;
		if (v->head_n >= 5 && !v->body_left) {
			message(v, v->head[0], v->head + 5, v->head_n - 5);
			v->head_n = 0;
		}
	}
}

static void send_startup(struct visitor *v)
{
	uint8_t b[700] = { 0 };
	size_t n = v->startup_n + 8;

	b[2] = (uint8_t)(n >> 8);
	b[3] = (uint8_t)n;
	b[5] = 3;
	memcpy(b + 8, v->startup, v->startup_n);
	end_send(v->end, b, n);
	v->waiting = W_LOGIN;
}

static bool answered(const struct visitor *v)
{
	switch (v->waiting) {
	case W_LOGIN:
		return v->status != 0;
	case W_ANSWERS:
		return v->copy_in || oracle_owed(v->oracle) == 0;
	case W_NOTHING:
	case W_SSL:
	default:
		return false;
	}
}

static void on_got(void *arg, const uint8_t *p, size_t n)
{
	struct visitor *v = arg;
	char text[1000];

	if (v->waiting == W_SSL) {
		if (*p != 'N')
			sim_wrong(v->w->s, "client %u: SSLRequest was answered with %02x",
				  v->conf.program.client, *p);
		p++;
		n--;
		send_startup(v);
		if (!n)
			return;
	}
	if (v->w->s->trace)
		sim_trace(v->w->s, "c%u <%s", v->conf.program.client,
			  sim_messages(v->w->s, text, sizeof(text), p, n));
	oracle_may(v->oracle, v->w->may(v->w->arg) | v->bits);
	oracle_got(v->oracle, p, n, v->w->s->now_us);
	read_along(v, p, n);
	if (answered(v)) {
		v->waiting = W_NOTHING;
		later(v);
	}
}

static void begin(void *arg);

static void on_over(void *arg, bool reset)
{
	struct visitor *v = arg;

	sim_trace(v->w->s, "c%u lost its connection%s", v->conf.program.client,
		  reset ? " (reset)" : "");
	oracle_may(v->oracle, v->w->may(v->w->arg) | v->bits);
	v->end = NULL; /* it is gone */
	hang_up(v, false);
	program_lost(v->program);
	if (v->leaves || ++v->tries > TRIES_MAX)
		finish(v);
	else
		sim_at(v->w->s, 1000 + rng_below(&v->rng, 20000), begin, v);
}

/* ---- sessions ---- */

static void trace_startup(const struct visitor *v)
{
	char text[700];
	size_t i;

	for (i = 0; i < v->startup_n; i++)
		text[i] = v->startup[i] ? (char)v->startup[i] : '|';
	text[i] = 0;
	sim_trace(v->w->s, "c%u connects: %s", v->conf.program.client, text);
}

static void begin(void *arg)
{
	static const struct end_ops ops = { on_got, on_over };
	struct visitor *v = arg;
	static const uint8_t ssl[8] = { 0, 0, 0, 8, 4, 210, 22, 47 };

	v->end = v->w->dial(v->w->arg);
	if (!v->end) {
		finish(v);
		return;
	}
	end_set(v->end, &ops, v);
	v->oracle = oracle_new(v->conf.program.client, &v->conf.engine, v->w->history, on_wrong, v);
	if (!v->oracle)
		abort();
	v->startup_n = program_startup(v->program, v->startup, sizeof(v->startup));
	oracle_may(v->oracle, v->w->may(v->w->arg) | v->bits);
	oracle_startup(v->oracle, v->startup, v->startup_n);
	v->status = 0;
	v->leaves = false;
	v->head_n = 0;
	v->body_left = 0;
	v->since_us = v->w->s->now_us;
	trace_startup(v);
	if (v->conf.ask_ssl) {
		end_send(v->end, ssl, sizeof(ssl));
		v->waiting = W_SSL;
	} else {
		send_startup(v);
	}
}

static void asker_free(struct asker *a)
{
	struct asker **p;

	for (p = &a->v->askers; *p && *p != a; p = &(*p)->next)
		;
	if (*p)
		*p = a->next;
	sim_forget(a->v->w->s, a);
	free(a);
}

static void asker_got(void *arg, const uint8_t *p, size_t n)
{
	const struct asker *a = arg;

	(void)p;
	sim_wrong(a->v->w->s, "client %u: a cancel request was answered with %zu bytes",
		  a->v->conf.program.client, n);
}

static void asker_over(void *arg, bool reset)
{
	(void)reset;
	asker_free(arg);
}

static void ask_cancel(struct visitor *v)
{
	static const struct end_ops ops = { asker_got, asker_over };
	uint8_t b[16] = { 0, 0, 0, 16, 4, 210, 22, 46 };
	struct asker *a;
	int i;

	a = calloc(1, sizeof(*a));
	if (!a)
		abort();
	a->v = v;
	a->end = v->w->dial(v->w->arg);
	if (!a->end) {
		free(a);
		return;
	}
	for (i = 0; i < 4; i++) {
		b[8 + i] = (uint8_t)(v->pid >> (24 - 8 * i));
		b[12 + i] = (uint8_t)(v->secret >> (24 - 8 * i));
	}
	end_set(a->end, &ops, a);
	a->next = v->askers;
	v->askers = a;
	sim_trace(v->w->s, "c%u cancels", v->conf.program.client);
	v->bits |= MAY_CANCEL;
	oracle_may(v->oracle, MAY_CANCEL);
	end_send(a->end, b, sizeof(b));
}

static void unpause(void *arg)
{
	struct visitor *v = arg;

	if (v->end)
		end_pause(v->end, false);
}

/* Is there a Terminate among well formed messages? */
static bool terminates(const uint8_t *p, size_t n)
{
	while (n >= 5 && *p != 'X') {
		uint32_t len = u32(p + 1);

		if (len < 4 || len >= n)
			return false;
		p += 1 + len;
		n -= 1 + len;
	}
	return n >= 5 && *p == 'X' && u32(p + 1) == 4;
}

/* Sends n bytes of buf, now. */
static void send_all(struct visitor *v, size_t n)
{
	char text[1000];

	sim_trace(v->w->s, "c%u > %zu bytes (%s)%s", v->conf.program.client, n,
		  program_says(v->program),
		  sim_messages(v->w->s, text, sizeof(text), v->buf, n));
	v->copy_in = false;
	v->leaves |= terminates(v->buf, n);
	oracle_sent(v->oracle, v->buf, n, v->w->s->now_us);
	end_send(v->end, v->buf, n);
	if (rng_chance(&v->rng, v->w->slow_readers)) {
		end_pause(v->end, true);
		sim_at(v->w->s, rng_below(&v->rng, 30000), unpause, v);
	}
}

static void step(void *arg)
{
	struct visitor *v = arg;
	enum move m;
	size_t n = 0;
	uint64_t us = 0;

	if (v->done || !v->end || v->waiting != W_NOTHING)
		return;
	m = program_next(v->program, v->status, v->copy_in, v->buf, sizeof(v->buf), &n, &us);
	switch (m) {
	case MOVE_SEND:
		send_all(v, n);
		later(v);
		break;
	case MOVE_WAIT:
		v->waiting = W_ANSWERS;
		v->since_us = v->w->s->now_us;
		if (answered(v)) {
			v->waiting = W_NOTHING;
			later(v);
		}
		break;
	case MOVE_PAUSE:
		sim_at(v->w->s, us, step, v);
		break;
	case MOVE_CANCEL:
		ask_cancel(v);
		later(v);
		break;
	case MOVE_CLOSE:
	case MOVE_RECONNECT:
		sim_trace(v->w->s, "c%u %s", v->conf.program.client,
			  m == MOVE_CLOSE ? "hangs up" : "begins anew");
		hang_up(v, true);
		if (m == MOVE_RECONNECT)
			sim_at(v->w->s, 100, begin, v);
		else
			finish(v);
		break;
	case MOVE_DONE:
	default:
		hang_up(v, true);
		finish(v);
		break;
	}
}

struct visitor *visitor_new(const struct visitor_world *w, const struct visitor_conf *conf)
{
	struct visitor *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	v->w = w;
	v->conf = *conf;
	v->rng = rng_make(w->s->seed, 1000 + conf->program.client);
	v->program = program_new(&conf->program, rng_make(w->s->seed, 2000 + conf->program.client));
	if (!v->program)
		abort();
	return v;
}

void visitor_free(struct visitor *v)
{
	if (!v)
		return;
	hang_up(v, true);
	while (v->askers) {
		end_close(v->askers->end);
		asker_free(v->askers);
	}
	program_free(v->program);
	free(v);
}

void visitor_start(struct visitor *v)
{
	sim_at(v->w->s, rng_below(&v->rng, 5000), begin, v);
}

void visitor_may(struct visitor *v, unsigned bits)
{
	v->bits |= bits;
	if (v->oracle)
		oracle_may(v->oracle, bits);
}

bool visitor_done(const struct visitor *v)
{
	return v->done;
}

uint64_t visitor_waits_us(const struct visitor *v)
{
	return v->waiting == W_NOTHING ? 0 : v->w->s->now_us - v->since_us;
}

const char *visitor_says(const struct visitor *v)
{
	static const char *const what[] = { "nothing", "the answer to SSLRequest",
					    "the end of its login", "answers" };
	struct visitor *w = (struct visitor *)(uintptr_t)v;

	(void)snprintf(w->text, sizeof(w->text), "client %u waits for %s%s (%u owed), status %c, at: %s",
		       v->conf.program.client, what[v->waiting], v->copy_in ? " in COPY" : "",
		       v->oracle ? oracle_owed(v->oracle) : 0, v->status ? v->status : '-',
		       program_says(v->program));
	return w->text;
}
