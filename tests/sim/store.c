/* tests/sim/store.c - see store.h
 *
 * Values only grow, so a snapshot is how long each of them was.
 *
 * SPDX-License-Identifier: ISC
 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

struct item {
	char *value;
	size_t len;
	uint64_t version;
	struct txn *writer;      /* has appended to it, and has not ended */
};

struct write {
	unsigned key;
	char *tag;
};

struct txn {
	struct store *s;
	struct txn *next;        /* in the order in which they began */
	bool snapshot, doomed, woken;
	size_t len[KEYS];
	uint64_t version[KEYS];
	bool was_read[KEYS];
	struct write *writes;
	size_t n_writes, cap_writes;
	size_t *marks;           /* n_writes at each savepoint */
	unsigned n_marks, cap_marks;
	struct txn *waits_for;
	char *value;             /* what the last read gave */
	store_wake_fn *wake;
	void *arg;
};

struct advisory {
	struct advisory *next;
	unsigned number, count;
	const void *owner;
};

struct wish {
	struct wish *next;
	unsigned number;
	const void *owner;
	bool woken;
	store_wake_fn *wake;
	void *arg;
};

struct store {
	enum dialect dialect;
	struct item items[KEYS];
	struct txn *open;
	unsigned n_open;
	struct advisory *locks;
	struct wish *wishes;     /* first come, first served */
	unsigned percent;
	struct rng disturb;
};

/* A test that has no memory says so by ending. */
static void *grow(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p)
		abort();
	return p;
}

struct store *store_new(enum dialect dialect)
{
	struct store *s = calloc(1, sizeof(*s));
	unsigned i;

	if (!s)
		return NULL;
	s->dialect = dialect;
	for (i = 0; i < KEYS; i++) {
		s->items[i].value = grow(NULL, 1);
		s->items[i].value[0] = 0;
	}
	return s;
}

static void free_txn(struct txn *t)
{
	struct txn **at = &t->s->open;
	size_t i;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->s->n_open--;
	for (i = 0; i < t->n_writes; i++)
		free(t->writes[i].tag);
	free(t->writes);
	free(t->marks);
	free(t->value);
	free(t);
}

void store_free(struct store *s)
{
	unsigned i;

	if (!s)
		return;
	while (s->open)
		free_txn(s->open);
	while (s->locks) {
		struct advisory *a = s->locks;

		s->locks = a->next;
		free(a);
	}
	while (s->wishes) {
		struct wish *w = s->wishes;

		s->wishes = w->next;
		free(w);
	}
	for (i = 0; i < KEYS; i++)
		free(s->items[i].value);
	free(s);
}

struct txn *store_begin(struct store *s, store_wake_fn *wake, void *arg)
{
	struct txn *t = calloc(1, sizeof(*t)), **at = &s->open;

	if (!t)
		abort();
	t->s = s;
	t->wake = wake;
	t->arg = arg;
	while (*at)
		at = &(*at)->next;
	*at = t;
	s->n_open++;
	return t;
}

/* ---- what goes wrong ---- */

enum wrong { WRONG_UPDATE, WRONG_READ, WRONG_DEADLOCK };

static enum data doom(struct txn *t, enum wrong wrong, struct engine_error *err)
{
	static const char *const pg[] = {
		[WRONG_UPDATE] = "could not serialize access due to concurrent update",
		[WRONG_READ] = ("could not serialize access due to read/write dependencies among "
				"transactions"),
		[WRONG_DEADLOCK] = "deadlock detected",
	};
	static const char *const crdb[] = {
		[WRONG_UPDATE] = ("restart transaction: TransactionRetryWithProtoRefreshError: "
				  "WriteTooOldError: write too old"),
		[WRONG_READ] = ("restart transaction: TransactionRetryWithProtoRefreshError: "
				"TransactionRetryError: retry txn (RETRY_SERIALIZABLE - failed "
				"preemptive refresh)"),
		[WRONG_DEADLOCK] = ("restart transaction: TransactionRetryWithProtoRefreshError: "
				    "TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED)"),
	};
	bool is_crdb = t->s->dialect == DIALECT_CRDB;

	t->doomed = true;
	t->waits_for = NULL;
	*err = (struct engine_error){ .fatal = false };
	(void)snprintf(err->sqlstate, sizeof(err->sqlstate), "%s",
		       wrong == WRONG_DEADLOCK && !is_crdb ? "40P01" : "40001");
	(void)snprintf(err->message, sizeof(err->message), "%s", is_crdb ? crdb[wrong] : pg[wrong]);
	if (is_crdb)
		err->hint = "See: https://www.cockroachlabs.com/docs/v21.2/"
			    "transaction-retry-error-reference.html";
	else if (wrong == WRONG_READ)
		err->hint = "The transaction might succeed if retried.";
	else if (wrong == WRONG_DEADLOCK)
		err->hint = "See server log for query details.";
	return DATA_ERROR;
}

static bool disturbed(struct store *s)
{
	return s->percent && rng_chance(&s->disturb, s->percent);
}

void store_disturb(struct store *s, unsigned percent, uint64_t seed)
{
	s->percent = percent;
	s->disturb = rng_make(seed, 0x57);
}

/* ---- waking ---- */

/* At the very end of whatever made it possible: who is woken may do anything. */
static void wake_all(struct store *s)
{
	struct txn *t = s->open;

	while (t) {
		if (!t->woken) {
			t = t->next;
			continue;
		}
		t->woken = false;
		t->wake(t->arg);
		t = s->open;
	}
}

static void let_in(struct store *s, const struct txn *gone)
{
	struct txn *t;

	for (t = s->open; t; t = t->next)
		if (t->waits_for == gone) {
			t->waits_for = NULL;
			t->woken = true;
		}
}

void store_unwait(struct txn *t)
{
	t->waits_for = NULL;
	t->woken = false;
}

/* ---- reading and writing ---- */

static void snapshot(struct txn *t)
{
	unsigned i;

	if (t->snapshot)
		return;
	t->snapshot = true;
	for (i = 0; i < KEYS; i++) {
		t->len[i] = t->s->items[i].len;
		t->version[i] = t->s->items[i].version;
	}
}

static void add_text(char **text, size_t *len, const char *more)
{
	size_t n = strlen(more);

	*text = grow(*text, *len + n + 2);
	memcpy(*text + *len, more, n);
	*len += n;
	(*text)[(*len)++] = ',';
	(*text)[*len] = 0;
}

enum data store_read(struct txn *t, unsigned key, const char **value, struct engine_error *err)
{
	struct store *s = t->s;
	size_t i, len;

	snapshot(t);
	if (t->doomed || disturbed(s))
		return doom(t, WRONG_READ, err);
	t->was_read[key] = true;
	len = t->len[key];
	t->value = grow(t->value, len + 1);
	memcpy(t->value, s->items[key].value, len);
	t->value[len] = 0;
	for (i = 0; i < t->n_writes; i++)
		if (t->writes[i].key == key)
			add_text(&t->value, &len, t->writes[i].tag);
	*value = t->value;
	return DATA_OK;
}

/* Would t wait for itself? */
static bool is_circle(const struct txn *t, const struct txn *holder)
{
	for (; holder; holder = holder->waits_for)
		if (holder == t)
			return true;
	return false;
}

enum data store_append(struct txn *t, unsigned key, const char *tag, struct engine_error *err)
{
	struct store *s = t->s;
	struct item *it = &s->items[key];
	size_t n = strlen(tag) + 1;

	snapshot(t);
	store_unwait(t);
	if (t->doomed || disturbed(s))
		return doom(t, WRONG_UPDATE, err);
	if (it->writer && it->writer != t) {
		if (is_circle(t, it->writer))
			return doom(t, WRONG_DEADLOCK, err);
		t->waits_for = it->writer;
		return DATA_WAIT;
	}
	if (it->version != t->version[key])
		return doom(t, WRONG_UPDATE, err);
	it->writer = t;
	if (t->n_writes == t->cap_writes) {
		t->cap_writes = t->cap_writes ? t->cap_writes * 2 : 8;
		t->writes = grow(t->writes, t->cap_writes * sizeof(*t->writes));
	}
	t->writes[t->n_writes].key = key;
	t->writes[t->n_writes].tag = grow(NULL, n);
	memcpy(t->writes[t->n_writes++].tag, tag, n);
	return DATA_OK;
}

/* Gives up the keys that none of the first n writes is of, and lets in who waited. */
static void unlock_from(struct txn *t, size_t n)
{
	bool keep[KEYS] = { false };
	size_t i;
	bool any = false;

	for (i = 0; i < n; i++)
		keep[t->writes[i].key] = true;
	for (i = 0; i < KEYS; i++)
		if (t->s->items[i].writer == t && !keep[i]) {
			t->s->items[i].writer = NULL;
			any = true;
		}
	if (any)
		let_in(t->s, t);
}

enum data store_commit(struct txn *t, struct engine_error *err)
{
	struct store *s = t->s;
	bool bad = t->doomed || (t->snapshot && disturbed(s)); /* one that looked at no data cannot fail */
	size_t i;

	store_unwait(t);
	for (i = 0; i < KEYS; i++)
		bad |= t->was_read[i] && s->items[i].version != t->version[i];
	for (i = 0; !bad && i < t->n_writes; i++) {
		struct item *it = &s->items[t->writes[i].key];

		add_text(&it->value, &it->len, t->writes[i].tag);
	}
	for (i = 0; !bad && i < KEYS; i++)
		s->items[i].version += s->items[i].writer == t;
	if (bad)
		(void)doom(t, WRONG_READ, err);
	unlock_from(t, 0);
	free_txn(t);
	wake_all(s);
	return bad ? DATA_ERROR : DATA_OK;
}

void store_rollback(struct txn *t)
{
	struct store *s = t->s;

	unlock_from(t, 0);
	free_txn(t);
	wake_all(s);
}

void store_savepoint(struct txn *t, unsigned depth)
{
	if (depth > t->cap_marks) {
		t->cap_marks = depth * 2 + 4;
		t->marks = grow(t->marks, t->cap_marks * sizeof(*t->marks));
	}
	for (; t->n_marks < depth; t->n_marks++)
		t->marks[t->n_marks] = t->n_writes;
	t->marks[depth - 1] = t->n_writes;
	t->n_marks = depth;
}

void store_rollback_to(struct txn *t, unsigned depth)
{
	struct store *s = t->s;

	store_unwait(t);
	if (!depth || depth > t->n_marks)
		return;
	t->n_marks = depth;
	unlock_from(t, t->marks[depth - 1]);
	while (t->n_writes > t->marks[depth - 1])
		free(t->writes[--t->n_writes].tag);
	wake_all(s);
}

const char *store_value(const struct store *s, unsigned key)
{
	return s->items[key].value;
}

unsigned store_open(const struct store *s)
{
	return s->n_open;
}

/* ---- advisory locks ---- */

static struct advisory *find_lock(const struct store *s, unsigned number)
{
	struct advisory *a;

	for (a = s->locks; a && a->number != number; a = a->next)
		;
	return a;
}

void store_lock_forget(struct store *s, const void *owner)
{
	struct wish **at = &s->wishes, *w;

	while ((w = *at) != NULL) {
		if (w->owner != owner) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

static void wish(struct store *s, unsigned number, const void *owner, store_wake_fn *wake, void *arg)
{
	struct wish **at = &s->wishes, *w;

	for (; *at; at = &(*at)->next)
		if ((*at)->owner == owner && (*at)->number == number)
			return;
	w = grow(NULL, sizeof(*w));
	*w = (struct wish){ NULL, number, owner, false, wake, arg };
	*at = w;
}

bool store_lock(struct store *s, unsigned number, const void *owner, store_wake_fn *wake, void *arg)
{
	struct advisory *a = find_lock(s, number);

	if (a && a->owner != owner) {
		if (wake)
			wish(s, number, owner, wake, arg);
		return false;
	}
	if (!a) {
		a = grow(NULL, sizeof(*a));
		*a = (struct advisory){ s->locks, number, 0, owner };
		s->locks = a;
	}
	a->count++;
	store_lock_forget(s, owner);
	return true;
}

/* All who wish it, in the order in which they came: the first will have it. */
static void wake_wishes(struct store *s)
{
	struct wish *w = s->wishes;

	while (w) {
		if (!w->woken) {
			w = w->next;
			continue;
		}
		w->woken = false;
		w->wake(w->arg);
		w = s->wishes;
	}
}

static void drop_lock(struct store *s, struct advisory *a)
{
	struct advisory **at = &s->locks;
	struct wish *w;

	for (w = s->wishes; w; w = w->next)
		w->woken |= w->number == a->number;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	free(a);
}

bool store_unlock(struct store *s, unsigned number, const void *owner)
{
	struct advisory *a = find_lock(s, number);

	if (!a || a->owner != owner)
		return false;
	if (--a->count == 0) {
		drop_lock(s, a);
		wake_wishes(s);
	}
	return true;
}

void store_unlock_all(struct store *s, const void *owner)
{
	struct advisory *a = s->locks, *next;

	for (; a; a = next) {
		next = a->next;
		if (a->owner == owner)
			drop_lock(s, a);
	}
	store_lock_forget(s, owner);
	wake_wishes(s);
}

bool store_locked(const struct store *s, unsigned number)
{
	return find_lock(s, number) != NULL;
}
