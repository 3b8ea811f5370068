/* tests/unit/test_round.c - errands to all workers (session/round.h) and whether clients are
 * taken (accepting.h), with letters delivered by hand, in any order.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accepting.h"
#include "conf/addr.h"
#include "session/round.h"

#define N 3u

struct world {
	struct hall halls[N];
	struct shared sh;
	struct worker home;
	unsigned visits[N], over;
	uint64_t sum;
	struct listener listener;
	struct accepting a;
	unsigned changes;
	enum accept_mode last;
};

static const struct log quiet = { .fd = -1 };

static void start(struct worker *w, unsigned id, void *owner)
{
	struct err e;

	assert_int_equal(worker_init(w, id, &quiet, owner, NULL, &e), 0);
}

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof(*w));
	unsigned i;

	w->sh.halls = w->halls;
	w->sh.hall_n = N;
	for (i = 0; i < N; i++)
		start(&w->halls[i].w, i, &w->halls[i]);
	start(&w->home, 9, w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	unsigned i;

	for (i = 0; i < N; i++)
		worker_free(&w->halls[i].w);
	worker_free(&w->home);
	test_free(w);
	return 0;
}

/* How many there were. */
static unsigned deliver(struct worker *w)
{
	struct letter *l, *next;
	unsigned n = 0;

	for (l = mbox_take(&w->mbox); l; l = next, n++) {
		next = l->next;
		l->deliver(w, l);
	}
	return n;
}

static void visit(struct hall *h, struct round *r)
{
	struct world *w = r->arg;

	w->visits[h->w.id]++;
	atomic_fetch_add(&r->sum, h->w.id + 1);
}

static void over(struct round *r)
{
	struct world *w = r->arg;

	w->over++;
	w->sum = atomic_load(&r->sum);
}

static void test_round(void **state)
{
	static const unsigned order[] = { 2, 0, 1 };
	struct world *w = *state;
	struct round *r = round_new(&w->sh, &w->home, visit, over, w);
	unsigned i;

	round_send(r);
	for (i = 0; i < N; i++) {
		assert_int_equal(deliver(&w->home), 0); /* not before the last one */
		assert_int_equal(deliver(&w->halls[order[i]].w), 1);
		assert_int_equal(w->visits[order[i]], 1);
	}
	assert_int_equal(w->over, 0); /* not in a worker */
	assert_int_equal(deliver(&w->home), 1);
	assert_int_equal(w->over, 1);
	assert_int_equal(w->sum, 6);
}

static void test_round_without_home(void **state)
{
	struct world *w = *state;
	unsigned i;

	round_send(round_new(&w->sh, NULL, visit, over, w));
	for (i = 0; i < N; i++) {
		assert_int_equal(w->over, 0);
		assert_int_equal(deliver(&w->halls[i].w), 1);
	}
	assert_int_equal(w->over, 1);
	assert_int_equal(deliver(&w->home), 0);
}

static void test_rounds_in_order(void **state)
{
	struct world *w = *state;
	unsigned i;

	round_free(NULL);
	round_free(round_new(&w->sh, &w->home, visit, over, w));
	round_send(round_new(&w->sh, &w->home, visit, over, w));
	round_send(round_new(&w->sh, &w->home, visit, over, w));
	for (i = 0; i < N; i++)
		assert_int_equal(deliver(&w->halls[i].w), 2);
	assert_int_equal(deliver(&w->home), 2);
	assert_int_equal(w->over, 2);
}

/* ---- accepting ---- */

static void changed(void *arg, enum accept_mode now)
{
	struct world *w = arg;

	w->changes++;
	w->last = now;
}

static void accepted(void *arg, int fd, const struct listen_from *from, bool spoken)
{
	struct world *w = arg;

	(void)from;
	(void)spoken;
	close(fd);
	w->visits[0]++;
}

/* Returns the port. */
static int open_door(struct world *w)
{
	struct addr *a;
	struct err e;
	size_t n;
	int port = 0;

	listen_init(&w->listener, &w->home.log_ctx);
	assert_int_equal(addr_listen_list("127.0.0.1", 0, &a, &n, &e), 0);
	assert_int_equal(listen_on(&w->listener, &a[0], 5, &port, &e), 0);
	addr_list_free(a, n);
	listen_tcp(&w->listener, false, 0);
	listen_start(&w->listener, &w->halls[0].w, accepted, w);
	accepting_init(&w->a, &w->listener, &w->home, &w->halls[0].w, changed, w);
	return port;
}

static int knock(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void turn(struct world *w)
{
	(void)event_base_loop(w->halls[0].w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void test_accepting(void **state)
{
	struct world *w = *state;
	int port = open_door(w), a, b;

	accepting_set(&w->a, ACCEPT_ON); /* it is */
	assert_int_equal(deliver(&w->halls[0].w), 0);
	accepting_set(&w->a, ACCEPT_OFF);
	assert_int_equal(w->changes, 0);
	deliver(&w->halls[0].w);
	deliver(&w->home);
	assert_int_equal(w->changes, 1);
	assert_int_equal(w->last, ACCEPT_OFF);
	a = knock(port); /* the backlog takes it */
	assert_true(a >= 0);
	turn(w);
	assert_int_equal(w->visits[0], 0);
	accepting_set(&w->a, ACCEPT_ON);
	deliver(&w->halls[0].w);
	deliver(&w->home);
	turn(w);
	assert_int_equal(w->visits[0], 1);
	accepting_set(&w->a, ACCEPT_CLOSED);
	deliver(&w->halls[0].w);
	deliver(&w->home);
	assert_int_equal(w->last, ACCEPT_CLOSED);
	b = knock(port);
	assert_int_equal(b, -1);
	accepting_set(&w->a, ACCEPT_ON); /* too late */
	assert_int_equal(deliver(&w->halls[0].w), 0);
	close(a);
}

/* Other wishes while the letter is on its way. */
static void test_accepting_anew(void **state)
{
	struct world *w = *state;
	int port = open_door(w), a;

	accepting_set(&w->a, ACCEPT_OFF);
	accepting_set(&w->a, ACCEPT_ON);
	deliver(&w->halls[0].w);
	deliver(&w->home); /* OFF is done, and ON is sent */
	assert_int_equal(w->last, ACCEPT_OFF);
	accepting_set(&w->a, ACCEPT_CLOSED);
	accepting_set(&w->a, ACCEPT_OFF); /* for good is for good */
	deliver(&w->halls[0].w);
	a = knock(port);
	turn(w);
	assert_int_equal(w->visits[0], 1);
	deliver(&w->home);
	assert_int_equal(w->last, ACCEPT_ON);
	deliver(&w->halls[0].w);
	deliver(&w->home);
	assert_int_equal(w->last, ACCEPT_CLOSED);
	assert_int_equal(w->changes, 3);
	assert_int_equal(knock(port), -1);
	assert_int_equal(deliver(&w->halls[0].w) + deliver(&w->home), 0);
	close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_round_without_home, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rounds_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accepting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accepting_anew, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
