/* tests/unit/test_uids.c - names of users by letter: the asker never waits, questions
 * are bounded, names are kept for a while, and the end comes whatever a lookup does.
 *
 * The lookup is the test's own where it must be slow or fail. The test that leaves one
 * hanging is the last.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <semaphore.h>
#include <unistd.h>

#include "proxy/io/uids.h"
#include "proxy/io/worker.h"

#define HOUR_US 3600000000u

static const struct log quiet = {.fd = -1};

/* ---- who asks ---- */

struct got {
	struct uid_letter l;
	unsigned n;
};

struct asker {
	struct worker w;
	pthread_t thread;
	unsigned wanted, n;
	struct got got[UIDS_WAITING_MAX + 8];
};

static void on_answer(struct worker *w, struct letter *l)
{
	struct asker *a = w->owner;

	assert_true(pthread_equal(pthread_self(), a->thread));
	memcpy(&a->got[a->n++].l, l, sizeof(struct uid_letter));
	w->done = a->n >= a->wanted;
	free(l);
}

static struct asker *asker_new(void)
{
	struct asker *a = calloc(1, sizeof(*a));
	struct err e;

	assert_non_null(a);
	if (worker_init(&a->w, 0, &quiet, a, NULL, &e))
		fail_msg("%s", e.text);
	a->thread = pthread_self();
	return a;
}

static void asker_free(struct asker *a)
{
	worker_free(&a->w);
	free(a);
}

static bool ask(struct uids *u, struct asker *a, uint32_t uid, uint64_t about)
{
	struct uid_letter *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->l.deliver = on_answer;
	l->to = &a->w;
	l->uid = uid;
	l->about = about;
	if (uids_ask(u, l))
		return true;
	free(l);
	return false;
}

/* Runs the loop until n answers have come in all. */
static void wait_for(struct asker *a, unsigned n)
{
	a->wanted = n;
	a->w.done = a->n >= n;
	worker_run(&a->w);
	assert_int_equal(a->n, n);
}

/* ---- lookups ---- */

static sem_t begun, go;
static _Atomic unsigned lookups;

static int slow(uint32_t uid, char *name, size_t cap)
{
	atomic_fetch_add(&lookups, 1);
	sem_post(&begun);
	while (sem_wait(&go))
		;
	snprintf(name, cap, "user%u", uid);
	return 0;
}

static int quick(uint32_t uid, char *name, size_t cap)
{
	unsigned n = atomic_fetch_add(&lookups, 1);

	snprintf(name, cap, "user%u.%u", uid, n);
	return uid == 13 ? EIO : uid == 14 ? ENOENT : 0;
}

/* Threads that look up. */
static unsigned threads(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && strcmp(name, UIDS_THREAD "\n") == 0;
		fclose(f);
	}
	closedir(d);
	return n;
}

/* One that was joined is gone for the kernel a moment later. */
static void wait_for_none(void)
{
	unsigned i;

	for (i = 0; threads(); i++) {
		if (i == 2000)
			fail_msg("a thread is left");
		usleep(1000);
	}
}

static int reset(void **state)
{
	(void)state;
	wait_for_none();
	atomic_store(&lookups, 0);
	return sem_init(&begun, 0, 0) || sem_init(&go, 0, 0);
}

/* ---- tests ---- */

static void test_system(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(NULL, HOUR_US);
	const struct passwd *pw = getpwuid(0);

	(void)state;
	assert_true(ask(u, a, 0, 7));
	assert_true(ask(u, a, 4242424, 8)); /* nobody has that */
	wait_for(a, 2);
	assert_non_null(pw);
	assert_true(a->got[0].l.known);
	assert_string_equal(a->got[0].l.name, pw->pw_name);
	assert_int_equal(a->got[0].l.about, 7);
	assert_int_equal(a->got[0].l.uid, 0);
	assert_false(a->got[1].l.known);
	assert_int_equal(a->got[1].l.error, 0);
	assert_string_equal(a->got[1].l.name, "");
	assert_int_equal(a->got[1].l.about, 8);
	uids_free(u);
	asker_free(a);
}

static void test_thread_begins_with_the_first_question(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(quick, HOUR_US);

	(void)state;
	assert_int_equal(threads(), 0);
	assert_true(ask(u, a, 1, 0));
	wait_for(a, 1);
	assert_int_equal(threads(), 1);
	uids_free(u);
	wait_for_none();
	u = uids_new(quick, HOUR_US); /* nobody ever asked */
	uids_free(u);
	uids_free(NULL);
	asker_free(a);
}

/* The asker goes on while a lookup hangs, and the answers come in order. */
static void test_slow(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(slow, HOUR_US);
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_true(ask(u, a, 100 + i, i));
	assert_int_equal(sem_wait(&begun), 0);
	assert_null(mbox_take(&a->w.mbox));
	assert_int_equal(atomic_load(&lookups), 1); /* one after the other */
	for (i = 0; i < 3; i++)
		sem_post(&go);
	wait_for(a, 3);
	for (i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%u", 100 + i);
		assert_string_equal(a->got[i].l.name, name);
		assert_int_equal(a->got[i].l.about, i);
	}
	uids_free(u);
	asker_free(a);
}

static void test_bounded(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(slow, HOUR_US);
	unsigned n = 0;

	(void)state;
	assert_true(ask(u, a, 5, n++));
	assert_int_equal(sem_wait(&begun), 0); /* on its way counts too */
	while (n < UIDS_WAITING_MAX)
		assert_true(ask(u, a, 5, n++));
	assert_false(ask(u, a, 5, n));
	assert_false(ask(u, a, 6, n));
	sem_post(&go);
	wait_for(a, UIDS_WAITING_MAX);
	assert_int_equal(atomic_load(&lookups), 1); /* the others had it from the first */
	assert_int_equal(a->got[UIDS_WAITING_MAX - 1].l.about, UIDS_WAITING_MAX - 1);
	assert_true(ask(u, a, 5, 0)); /* and there is room again */
	wait_for(a, UIDS_WAITING_MAX + 1);
	uids_free(u);
	asker_free(a);
}

static void test_kept(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(quick, HOUR_US);
	unsigned i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_true(ask(u, a, i % 2, 0));
	assert_true(ask(u, a, 13, 0));
	assert_true(ask(u, a, 13, 0));
	assert_true(ask(u, a, 14, 0));
	wait_for(a, 7);
	assert_int_equal(atomic_load(&lookups), 4);
	assert_string_equal(a->got[0].l.name, "user0.0");
	assert_string_equal(a->got[1].l.name, "user1.1");
	assert_string_equal(a->got[2].l.name, "user0.0");
	assert_string_equal(a->got[3].l.name, "user1.1");
	/* a lookup that failed is no user, and says why */
	for (i = 4; i < 7; i++) {
		assert_false(a->got[i].l.known);
		assert_int_equal(a->got[i].l.error, i < 6 ? EIO : 0);
		assert_string_equal(a->got[i].l.name, "");
	}
	/* more than there is room for: the oldest is asked for again */
	for (i = 0; i < 64; i++)
		assert_true(ask(u, a, 1000 + i, 0));
	assert_true(ask(u, a, 0, 0));
	wait_for(a, 7 + 65);
	assert_int_equal(atomic_load(&lookups), 4 + 65);
	uids_free(u);
	asker_free(a);
}

static void test_not_kept_for_ever(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(quick, 0);

	(void)state;
	assert_true(ask(u, a, 3, 0));
	wait_for(a, 1);
	assert_true(ask(u, a, 3, 0));
	wait_for(a, 2);
	assert_string_equal(a->got[0].l.name, "user3.0");
	assert_string_equal(a->got[1].l.name, "user3.1");
	uids_free(u);
	asker_free(a);
}

struct many {
	struct uids *u;
	pthread_t thread;
	uint32_t uid;
	unsigned wrong;
};

static void *ask_often(void *arg)
{
	struct many *m = arg;
	struct asker *a = asker_new();
	unsigned i;

	for (i = 0; i < 200; i++) {
		char name[16];

		if (!ask(m->u, a, m->uid, i))
			m->wrong++;
		a->wanted = a->n + 1;
		a->w.done = false;
		worker_run(&a->w);
		snprintf(name, sizeof(name), "user%u.", m->uid);
		m->wrong += strncmp(a->got[a->n - 1].l.name, name, strlen(name)) != 0 ||
			    a->got[a->n - 1].l.about != i;
	}
	asker_free(a);
	return NULL;
}

static void test_many_askers(void **state)
{
	struct many m[4];
	struct uids *u = uids_new(quick, 0);
	unsigned i;

	(void)state;
	for (i = 0; i < 4; i++) {
		m[i] = (struct many){.u = u, .uid = 20 + i};
		assert_int_equal(pthread_create(&m[i].thread, NULL, ask_often, &m[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(m[i].thread, NULL);
		assert_int_equal(m[i].wrong, 0);
	}
	uids_free(u);
}

static void *let_go(void *arg)
{
	(void)arg;
	usleep(20000);
	sem_post(&go);
	return NULL;
}

/* The end while a lookup is under way and others wait: it is waited for, and nobody is
 * answered who may not be there any more. */
static void test_end_while_busy(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(slow, HOUR_US);
	unsigned i;
	pthread_t t;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_true(ask(u, a, i, 0));
	assert_int_equal(sem_wait(&begun), 0);
	assert_int_equal(pthread_create(&t, NULL, let_go, NULL), 0);
	uids_free(u);
	pthread_join(t, NULL);
	wait_for_none();
	assert_null(mbox_take(&a->w.mbox));
	assert_int_equal(atomic_load(&lookups), 1);
	asker_free(a);
}

/* ... and one that never comes back is not waited for. */
static void test_end_while_hung(void **state)
{
	struct asker *a = asker_new();
	struct uids *u = uids_new(slow, HOUR_US);

	(void)state;
	assert_true(ask(u, a, 1, 0));
	assert_true(ask(u, a, 2, 0));
	assert_int_equal(sem_wait(&begun), 0);
	uids_free(u);
	asker_free(a);
	assert_int_equal(threads(), 1);
	sem_post(&go); /* long after: there is nobody to answer, and all is freed */
	wait_for_none();
	assert_int_equal(atomic_load(&lookups), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_system, reset),
		cmocka_unit_test_setup(test_thread_begins_with_the_first_question, reset),
		cmocka_unit_test_setup(test_slow, reset),
		cmocka_unit_test_setup(test_bounded, reset),
		cmocka_unit_test_setup(test_kept, reset),
		cmocka_unit_test_setup(test_not_kept_for_ever, reset),
		cmocka_unit_test_setup(test_many_askers, reset),
		cmocka_unit_test_setup(test_end_while_busy, reset),
		cmocka_unit_test_setup(test_end_while_hung, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
