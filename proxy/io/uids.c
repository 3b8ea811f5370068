/* proxy/io/uids.c - see uids.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/uids.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/kernel.h"
#include "io/worker.h"

#define CACHE_N 64u
#define LINE_FIRST 1024u             /* bytes for one user's line */
#define LINE_MAX_BYTES (1u << 20)
#define PATIENCE_US 1000000u         /* for a lookup, at the end */

struct uid_known {
	uint64_t until_us;           /* 0: an empty place */
	uint32_t uid;
	int error;                   /* 0: name is one */
	char name[UID_NAME_MAX];
};

/* The cache is the thread's own; lock is for all the rest, and held for moments only. */
struct uids {
	pthread_mutex_t lock;
	pthread_cond_t more, over;   /* a question, or the end; the thread has ended */
	struct letter *head, *last;
	unsigned waiting;
	bool started, closing, ended;
	bool left;                   /* nobody waits: the thread frees it all */
	pthread_t thread;
	uids_lookup_fn *lookup;
	uint64_t life_us;
	struct uid_known known[CACHE_N];
};

static int ask_system(uint32_t uid, char *name, size_t cap)
{
	size_t size = LINE_FIRST;
	int error = ERANGE;

	for (; error == ERANGE && size <= LINE_MAX_BYTES; size *= 4) {
		struct passwd pw, *found = NULL;
		char *line = malloc(size);

		if (!line)
			return ENOMEM;
		error = getpwuid_r((uid_t)uid, &pw, line, size, &found);
		if (!error && !found)
			error = ENOENT;
		if (!error && strlen(pw.pw_name) >= cap)
			error = ENAMETOOLONG;
		if (!error)
			memcpy(name, pw.pw_name, strlen(pw.pw_name) + 1);
		free(line);
	}
	return error;
}

/* What is known of uid, looked up when it is not or is too old. */
static const struct uid_known *find(struct uids *u, uint32_t uid)
{
	uint64_t now = clock_mono_us();
	struct uid_known *k, *oldest = u->known;
	unsigned i;

	for (i = 0; i < CACHE_N; i++) {
		k = &u->known[i];
		if (k->uid == uid && k->until_us > now)
			return k;
		if (k->uid == uid && k->until_us) {
			oldest = k; /* too old, and its place */
			break;
		}
		if (k->until_us < oldest->until_us)
			oldest = k;
	}
	oldest->uid = uid;
	oldest->name[0] = 0;
	oldest->error = u->lookup(uid, oldest->name, sizeof(oldest->name));
	oldest->until_us = clock_mono_us() + (oldest->error ? u->life_us / 10 : u->life_us);
	return oldest;
}

static void answer(const struct uid_known *k, struct uid_letter *l)
{
	l->known = !k->error;
	l->error = k->error == ENOENT ? 0 : k->error;
	memcpy(l->name, k->name, sizeof(l->name));
	if (!l->known)
		l->name[0] = 0;
}

static void destroy(struct uids *u)
{
	pthread_cond_destroy(&u->more);
	pthread_cond_destroy(&u->over);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static struct letter *take(struct uids *u)
{
	struct letter *l = u->head;

	if (l)
		u->head = l->next;
	return l;
}

static void *thread_main(void *arg)
{
	struct uids *u = arg;
	bool left;

	pthread_setname_np(pthread_self(), UIDS_THREAD);
	pthread_mutex_lock(&u->lock);
	while (!u->closing) {
		struct uid_letter *l = (struct uid_letter *)(void *)take(u);
		const struct uid_known *k;

		if (!l) {
			pthread_cond_wait(&u->more, &u->lock);
			continue;
		}
		pthread_mutex_unlock(&u->lock);
		k = find(u, l->uid);
		pthread_mutex_lock(&u->lock);
		u->waiting--;
		if (u->closing) { /* who asked may not be there any more */
			free(l);
			break;
		}
		answer(k, l);
		worker_post(l->to, &l->l);
	}
	u->ended = true;
	left = u->left;
	pthread_cond_signal(&u->over);
	pthread_mutex_unlock(&u->lock);
	if (left)
		destroy(u);
	return NULL;
}

struct uids *uids_new(uids_lookup_fn *lookup, uint64_t life_us)
{
	struct uids *u = calloc(1, sizeof(*u));
	pthread_condattr_t attr;

	if (!u)
		return NULL;
	u->lookup = lookup ? lookup : ask_system;
	u->life_us = life_us;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->more, NULL);
	pthread_cond_init(&u->over, &attr);
	pthread_condattr_destroy(&attr);
	return u;
}

bool uids_ask(struct uids *u, struct uid_letter *l)
{
	bool ok;

	pthread_mutex_lock(&u->lock);
	if (!u->started && !u->closing)
		u->started = pthread_create(&u->thread, NULL, thread_main, u) == 0;
	ok = u->started && !u->closing && u->waiting < UIDS_WAITING_MAX;
	if (ok) {
		l->l.next = NULL;
		if (u->head)
			u->last->next = &l->l;
		else
			u->head = &l->l;
		u->last = &l->l;
		u->waiting++;
		pthread_cond_signal(&u->more);
	}
	pthread_mutex_unlock(&u->lock);
	return ok;
}

/* With the lock. true: the thread has ended. */
static bool wait_for_thread(struct uids *u)
{
	uint64_t until = clock_mono_us() + PATIENCE_US;
	struct timespec ts = { (time_t)(until / 1000000), (long)(until % 1000000) * 1000 };

	while (!u->ended)
		if (pthread_cond_timedwait(&u->over, &u->lock, &ts) == ETIMEDOUT)
			break;
	return u->ended;
}

void uids_free(struct uids *u)
{
	struct letter *l;
	bool ended, started;

	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->closing = true;
	while ((l = take(u)))
		free(l);
	pthread_cond_signal(&u->more);
	started = u->started;
	ended = !started || wait_for_thread(u);
	u->left = !ended;
	if (!ended)
		pthread_detach(u->thread);
	pthread_mutex_unlock(&u->lock);
	if (!ended)
		return; /* it frees u when its lookup comes back */
	if (started)
		pthread_join(u->thread, NULL);
	destroy(u);
}
