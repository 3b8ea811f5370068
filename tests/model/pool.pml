/* tests/model/pool.pml - servers and tokens of one pool (or two of one database) shared
 * by workers without a lock: pool/pool.c, pool/limit.h, proxy/session/link.c.
 *
 * SPDX-License-Identifier: ISC
 *
 * A worker is a process. A handler runs in one piece as far as its own worker is
 * concerned; each access to what workers share is a step of its own, in the order of
 * the code, because there they meet. (All of them are sequentially consistent in C.)
 * What is in brackets behind a comment is the C function that a piece stands for.
 *
 * Servers have no identity: they are counted on seats, as in struct pool, and on their
 * way. Letters are counted too, so they may overtake each other: more than the code
 * allows. A client comes, has a server at once or waits, has it for a while or for
 * ever, and goes; one that waits may be impatient. What happens rarely has a budget.
 *
 * When nothing can move any more the monitor looks: nobody may wait for what is there.
 * With UPKEEP it lets link_tick() run in each worker first, so often.
 *
 * SERVER_N: default_pool_size, DB_N: max_db_connections; the map of clients below.
 * MEND_*: changes of the code that make the upkeep unnecessary; what each is for stands
 * in docs/models.md.
 * BUG_*: one safeguard less each.
 */
#ifndef W
#define W 2          /* workers */
#endif
#ifndef P
#define P 1          /* pools, of one database */
#endif
#ifndef C
#define C 3          /* clients */
#endif
#ifndef R
#define R 1          /* how often each of them comes, at most */
#endif
#ifndef SERVER_N
#define SERVER_N 1
#endif
#ifndef DB_N
#define DB_N 2
#endif
#ifndef DEATHS
#define DEATHS 0     /* servers that are closed, wherever they are */
#endif
#ifndef FAILURES
#define FAILURES 0   /* logins that fail */
#endif
#ifndef IMPATIENCE
#define IMPATIENCE 1 /* clients may leave the queue */
#endif
#ifndef LATER
#define LATER 1      /* a server may have to be cleaned for a while */
#endif
#ifndef CW
#define CW(c) ((c) % W)          /* worker of a client */
#endif
#ifndef CP
#define CP(c) (((c) / W) % P)    /* pool of a client */
#endif

#define NONE 255
#define X(w, p) ((w) * P + (p))

/* Clients. */
#define AWAY 0
#define WAITING 1
#define BUSY 2
byte st[C];
byte ticket[C];
byte rounds[C];
bool patient[C];     /* waits for ever */
bool holds[C];       /* keeps its server for ever */
byte clock;          /* the last ticket */

/* Shared: struct hub_side, struct hub, struct hub_db, struct limit. */
byte oldest[W * P];
byte idle[W * P];    /* is pool->n[SEAT_IDLE] too: stored with each move */
short hungry[P];
short hungry_db;
byte used[P];
byte used_db;
byte moving[P];
bool live[W * P];    /* ghost: the ticket shown there has not been claimed */

/* Each worker's own: struct pool, struct shard. */
byte dialling[W * P];
byte cleaning[W * P];
bool asked_spare[W * P];
bool asked_evict[W * P];
bool fails[W * P];

/* Letters. */
byte arriving[W * P];        /* on_server */
byte spare[W * W * P];       /* ASK_SPARE, from whom to whom */
bool tokens[W];              /* ASK_TOKENS: two of them are as one */
byte evict[W];               /* ASK_EVICT */
bool tick[W];

byte deaths, failures, ticks;

/* The longest waiter's ticket, and who it is. [first_waiter] Clients of a shard wait in
 * the order of their tickets. */
inline first(t, f)
{
	t = 0;
	f = NONE;
	for (k : 0 .. C - 1) {
		if
		:: st[k] == WAITING && CW(k) == w && CP(k) == p && (t == 0 || ticket[k] < t) ->
			t = ticket[k];
			f = k
		:: else
		fi
	}
	k = 0
}

inline waiting_n(n)
{
	n = 0;
	for (k : 0 .. C - 1) {
		if
		:: st[k] == WAITING && CW(k) == w && CP(k) == p -> n++
		:: else
		fi
	}
	k = 0
}

/* [publish]: an exchange of the ticket shown, then the counters. What is the worker's
 * own goes with a, in one atomic; b is what comes behind. With MEND_HUNGRY who shows a
 * ticket counts itself before. */
inline exchange()
{
	first(t, f);
	old = oldest[X(w, p)];
	oldest[X(w, p)] = t;
	live[X(w, p)] = t != 0;
#ifdef MEND_HUNGRY
	adj = (old != 0 -> 2 : 0);
#else
	adj = (old == 0 && t != 0 -> 1 : (old != 0 && t == 0 -> 2 : 0));
#endif
	old = 0;
	t = 0;
	f = 0
}

inline publish_a()
{
#ifdef MEND_HUNGRY
	first(t, f);
	hungry[p] = hungry[p] + (t != 0);
	hungry_db = hungry_db + (t != 0);
	t = 0;
	f = 0
#else
	exchange()
#endif
}

inline publish_b()
{
#ifdef MEND_HUNGRY
	d_step { exchange() }
#endif
	if
	:: adj == 0
	:: d_step { adj == 1 -> hungry[p]++; hungry_db++; adj = 0 }
	:: d_step { adj == 2 -> hungry[p]--; hungry_db--; adj = 0 }
	fi
}

/* [claim] the ticket `best` of worker `who`; ok. */
inline claim()
{
#ifdef BUG_CLAIM_IN_TWO
	ok = oldest[X(who, p)] == best;
	if
	:: d_step { ok ->
			assert(live[X(who, p)]);
			live[X(who, p)] = false;
			oldest[X(who, p)] = 0 }
	:: !ok
	fi;
#else
	d_step {
		ok = oldest[X(who, p)] == best;
		if
		:: ok ->
			assert(live[X(who, p)]);      /* one server is sent for it, not two */
			live[X(who, p)] = false;
			oldest[X(who, p)] = 0
		:: else
		fi
	}
#endif
	if
	:: d_step { ok -> hungry[p]--; hungry_db--; best = 0 }
	:: !ok -> best = 0
	fi
}

/* [someone_elsewhere] who: claimed, or NONE. The slack may be more or less than the
 * time between two tickets. */
inline someone_elsewhere()
{
	who = NONE;
	do
	:: atomic { hungry[p] > 0 ->
			first(best, f);
			f = 0;
			best = (best -> best : NONE);
			ours = best;
			i = 0 }
		do
		:: atomic { i < W && i == w -> i++ }
		:: atomic { i < W && i != w ->
				t = oldest[X(i, p)];
				if
				:: t != 0 && t < best -> best = t; who = i
				:: t != 0 && t < best && best == ours && ours != NONE -> skip
				:: else
				fi;
				t = 0;
				i++ }
		:: atomic { i == W -> i = 0; ours = 0; break }
		od;
		if
		:: who == NONE -> best = 0; break
		:: else
		fi;
		claim();
		if
		:: ok -> ok = false; break
		:: else -> who = NONE
		fi
	:: hungry[p] <= 0 -> break
	od
}

/* [link_tokens] */
inline tell()
{
	d_step {
		for (k : 0 .. W - 1) {
			tokens[k] = true
		}
		k = 0
	}
}

/* [pool_drop] of a server that has left its seat. [server_close] */
inline drop()
{
#ifndef BUG_FORGET_TOKEN
	used[p]--;
#endif
	used_db--;
#ifndef BUG_TELL_NOBODY
	if
	:: atomic { hungry_db > 0 -> tell() }
	:: hungry_db <= 0
	fi
#endif
}

/* [evict_one] for pool p of this worker; ok: one was closed. */
inline evict_one()
{
	d_step {
		who = p;
		ok = false;
		p = 0;
		do
		:: p < P && idle[X(w, p)] == 0 -> p++
		:: else -> break
		od;
		if
		:: p < P -> idle[X(w, p)]--; ok = true
		:: else -> p = 0
		fi
	}
	if
	:: ok -> drop()
	:: !ok
	fi;
	d_step { p = who; who = 0 }
}

/* [ask_others] */
inline ask_others()
{
	if
	:: atomic { asked_spare[X(w, p)] == false -> asked_spare[X(w, p)] = true; i = 0 }
		do
		:: d_step { i < W ->
				if
				:: i != w && idle[X(i, p)] > 0 -> spare[(w * W + i) * P + p]++
				:: else
				fi;
				i++ }
		:: i == W -> i = 0; break
		od
	:: asked_spare[X(w, p)]
	fi
}

/* [ask_evict] */
inline ask_evict()
{
	evict_one();
	d_step {
		if
		:: !ok && !asked_evict[X(w, p)] ->
			asked_evict[X(w, p)] = true;
			for (k : 0 .. W - 1) {
				if
				:: k != w -> evict[k]++
				:: else
				fi
			}
			k = 0
		:: else
		fi;
		ok = false
	}
}

/* Are there more waiters than servers on their way? [pool_wants_dial] After a failure
 * one at a time. n: waiters. */
#define WANTS (n > dialling[X(w, p)] + cleaning[X(w, p)] && \
	       !(fails[X(w, p)] && dialling[X(w, p)] > 0))

inline wants()
{
	waiting_n(n);
	n = WANTS;
	k = 0
}

/* [link_dial], [dial_one], [pool_seat_new]. grant: 0, 1 full, 2 the database is full */
inline link_dial()
{
	do
	:: n == 0 -> break
	:: n != 0 ->
#ifdef BUG_TAKE_IN_TWO
		grant = (used[p] < SERVER_N -> 0 : 1);
		if
		:: grant == 0 -> used[p]++
		:: grant == 1
		fi;
#else
		d_step {
			grant = (used[p] < SERVER_N -> 0 : 1);
			used[p] = used[p] + (grant == 0)
		}
#endif
		if
		:: grant == 1 -> ask_others(); break
		:: d_step { grant == 0 ->
				assert(used[p] <= SERVER_N);
				if
				:: used_db < DB_N -> used_db++; dialling[X(w, p)]++
				:: else -> grant = 2
				fi;
				wants() }
		fi;
		if
		:: grant == 0
		:: grant == 2 ->
			used[p]--;
#ifdef MEND_GIVE
			/* a token that came back meanwhile may have been missed by another
			 * because of the one that was held here */
			grant = (used_db < DB_N -> 0 : 2);
#endif
			if
			:: grant == 0            /* once more */
			:: grant == 2 ->
				ask_others();
#ifndef BUG_NO_EVICT
				ask_evict();
#endif
				break
			fi
		fi
	od;
	n = 0;
	grant = 0
}

/* c is the client that has a server now; holds: for ever. */
inline marry(c)
{
	st[c] = BUSY;
	ticket[c] = 0;
	patient[c] = false;
	if
	:: holds[c] = true
	:: skip
	fi
}

inline look_again()
{
	asked_spare[X(w, p)] = false;
	asked_evict[X(w, p)] = false;
	todo[p] = true
}

/* With waiters left only. */
inline look_if()
{
	waiting_n(n);
	if
	:: n > 0 -> look_again()
	:: else
	fi;
	n = 0
}

/* [link_put], [pool_put] of a server on a cleaning seat */
inline link_put()
{
	if
	:: atomic { deaths > 0 -> deaths--; cleaning[X(w, p)]--; todo[p] = true }
		drop()                                    /* [outlived] */
	:: true ->
		someone_elsewhere();
		if
		:: atomic { who != NONE ->
				moving[p]++;
				cleaning[X(w, p)]--;
				waiting_n(n);
				if
				:: n > 0 -> look_again(); publish_a(); n = 1
				:: else
				fi }
			if
			:: n == 1 -> n = 0; publish_b()
			:: n == 0
			fi;
			arriving[X(who, p)]++
		:: atomic { who == NONE ->
				first(t, f);
				t = 0;
				cleaning[X(w, p)]--;
				if
				:: f != NONE ->
					marry(f);
					publish_a();
#ifdef MEND_MARRIED
					look_if();
#endif
					ok = true
				:: else -> idle[X(w, p)]++
				fi;
				f = 0 }
			if
			:: ok -> ok = false; publish_b()
			:: !ok ->
#ifndef BUG_NO_SECOND_LOOK
				someone_elsewhere();
				if
				:: d_step { who != NONE ->
						moving[p]++;
						idle[X(w, p)]--;
						arriving[X(who, p)]++ }
				:: who == NONE
				fi;
#endif
#ifdef MEND_IDLE
				if
				:: atomic { who == NONE && hungry_db > 0 && used_db >= DB_N ->
						tell() }
				:: else
				fi
#else
				skip
#endif
			fi
		fi;
		who = 0
	fi
}

/* [link_need] of client c; n: it waits. Then b, and link_dial(). */
inline link_need_a()
{
	waiting_n(n);
	if
	:: n == 0 && idle[X(w, p)] > 0 ->
		idle[X(w, p)]--;
		marry(c);
		n = 0
	:: else ->
		n = 1;
		clock++;
		st[c] = WAITING;
		ticket[c] = clock;
		if
		:: patient[c] = true
		:: IMPATIENCE > 0
		fi;
#ifdef BUG_LOOK_FIRST
		asked_spare[X(w, p)] = false;
#else
		look_again();
		publish_a()
#endif
	fi;
	c = 0
}

inline link_need_b()
{
	if
	:: n == 0
	:: n == 1 ->
		n = 0;
#ifdef BUG_LOOK_FIRST
		/* looks for a server elsewhere, and shows only then that it waits */
		ask_others();
		atomic { asked_evict[X(w, p)] = false; todo[p] = true; publish_a() }
#endif
		publish_b()
	fi
}

#define EV_NEED 1
#define EV_UNWAIT 2
#define EV_PUT 3
#define EV_DROP 4
#define EV_ARRIVE 5
#define EV_SPARE 6
#define EV_LOOK 7
#define EV_EVICT 8

/* What a client does, and what becomes of its server: it is clean at once, or later
 * [pool_clean], or closed [client_lost]. */
#define CLIENT(cc) \
	:: atomic { CW(cc) == w && st[cc] == AWAY && rounds[cc] > 0 -> \
		rounds[cc]--; c = cc; p = CP(cc); link_need_a(); ev = EV_NEED } \
	:: atomic { CW(cc) == w && st[cc] == WAITING && !patient[cc] -> \
		st[cc] = AWAY; ticket[cc] = 0; p = CP(cc); publish_a(); ev = EV_UNWAIT } \
	:: atomic { CW(cc) == w && st[cc] == BUSY && !holds[cc] -> \
		st[cc] = AWAY; p = CP(cc); cleaning[X(w, p)]++; ev = EV_PUT } \
	:: atomic { CW(cc) == w && st[cc] == BUSY && !holds[cc] && LATER -> \
		st[cc] = AWAY; cleaning[X(w, CP(cc))]++; goto end } \
	:: atomic { CW(cc) == w && st[cc] == BUSY && deaths > 0 -> \
		deaths--; st[cc] = AWAY; holds[cc] = false; p = CP(cc); todo[p] = true; \
		ev = EV_DROP }

/* [pool_spare]: another worker asks */
#define ASKED(pp, from) \
	:: atomic { spare[(from * W + w) * P + pp] > 0 -> \
		spare[(from * W + w) * P + pp]--; p = pp; who = from; \
		best = oldest[X(who, p)]; ev = EV_SPARE }
#if W > 2
#define ASKED_2(pp) ASKED(pp, 2)
#else
#define ASKED_2(pp)
#endif
/* What happens to a shard: a server is clean, is lost while idle, is logged in
 * [serve_live], cannot log in [link_failed], comes from another worker [on_server,
 * pool_adopt]. */
#define SHARD(pp) \
	:: atomic { cleaning[X(w, pp)] > 0 -> p = pp; ev = EV_PUT } \
	:: atomic { idle[X(w, pp)] > 0 && deaths > 0 -> \
		deaths--; idle[X(w, pp)]--; p = pp; todo[p] = true; ev = EV_DROP } \
	:: atomic { dialling[X(w, pp)] > 0 -> p = pp; todo[p] = true; \
		dialling[X(w, p)]--; cleaning[X(w, p)]++; fails[X(w, p)] = false; ev = EV_PUT } \
	:: atomic { dialling[X(w, pp)] > 0 && failures > 0 -> p = pp; todo[p] = true; \
		failures--; dialling[X(w, p)]--; fails[X(w, p)] = true; ev = EV_DROP } \
	:: atomic { arriving[X(w, pp)] > 0 -> p = pp; \
		arriving[X(w, p)]--; cleaning[X(w, p)]++; moving[p]--; ADOPT; ev = EV_ARRIVE } \
	ASKED(pp, 0) \
	ASKED(pp, 1) \
	ASKED_2(pp)
#ifdef BUG_ADOPT_SILENTLY
#define ADOPT
#else
#define ADOPT publish_a()
#endif

/* [link_look] */
inline link_look()
{
	for (k : 0 .. P - 1) {
		p = k;
		look_again()
	}
	k = 0;
	p = 0
}

proctype worker(byte w)
{
	byte ev, p, c, i, k, t, f, n, adj, old, ours, best, who, grant;
	bool ok, todo[P];

	/* ---- something happens: one handler each ---- */
end:
	if
	CLIENT(0)
#if C > 1
	CLIENT(1)
#endif
#if C > 2
	CLIENT(2)
#endif
#if C > 3
	CLIENT(3)
#endif
	SHARD(0)
#if P > 1
	SHARD(1)
#endif
	:: atomic { tokens[w] -> tokens[w] = false; link_look(); ev = EV_LOOK }
	:: atomic { tick[w] -> tick[w] = false; link_look(); ev = EV_LOOK }
	:: atomic { evict[w] > 0 -> evict[w]--; ev = EV_EVICT }
	fi;
	if
	:: ev == EV_NEED -> link_need_b()
	:: ev == EV_UNWAIT -> publish_b()
	:: ev == EV_PUT
	:: ev == EV_DROP -> drop()
	:: ev == EV_ARRIVE ->
#ifndef BUG_ADOPT_SILENTLY
		publish_b();
#endif
		ev = EV_PUT
	:: ev == EV_SPARE ->
		if
		:: best != 0 && idle[X(w, p)] > 0 ->
			claim();
			if
			:: d_step { ok -> moving[p]++; idle[X(w, p)]--; arriving[X(who, p)]++ }
			:: !ok
			fi
		:: else
		fi;
		d_step { best = 0; ok = false; who = 0 }
	:: ev == EV_LOOK
	:: ev == EV_EVICT -> evict_one(); ok = false
	fi;
	if
	:: ev == EV_PUT -> link_put()
	:: ev != EV_PUT
	fi;
	/* link_dial() is the last thing a handler does */
	d_step { ev = 0; p = 0 }
	do
	:: p < P ->
		if
		:: atomic { todo[p] -> todo[p] = false; wants() }
			link_dial()
		:: !todo[p]
		fi;
		p++
	:: p == P -> break
	od;
	p = 0;
	goto end
}

#define FREE(p) (used[p] < SERVER_N && used_db < DB_N)

/* Nothing moves: who waits, for what? */
proctype monitor()
{
	byte c, i, p, n;
	bool stuck;

	do
	:: timeout ->
		d_step {
			stuck = false;
			for (p : 0 .. P - 1) {
				n = 0;
				for (i : 0 .. W - 1) {
					n = n + idle[X(i, p)];
					assert(dialling[X(i, p)] == 0 && cleaning[X(i, p)] == 0);
					assert(arriving[X(i, p)] == 0);
				}
				for (c : 0 .. C - 1) {
					if
					:: st[c] == BUSY && CP(c) == p -> n++
					:: else
					fi
				}
				/* no server is lost, no token */
				assert(moving[p] == 0 && n == used[p])
			}
			for (c : 0 .. C - 1) {
				if
				:: st[c] == WAITING ->
					p = CP(c);
					if
					:: FREE(p) -> stuck = true
					:: else
					fi;
					for (i : 0 .. W - 1) {
						if
						:: idle[X(i, p)] > 0 -> stuck = true
						:: P > 1 && used[p] < SERVER_N &&
						   idle[i * P] + idle[i * P + P - 1] > 0 -> stuck = true
						:: else
						fi
					}
				:: else
				fi
			}
			c = 0;
			i = 0;
			p = 0;
			n = 0
		}
		if
		:: !stuck -> break
		:: else ->
#ifdef UPKEEP
			assert(ticks < UPKEEP);
			d_step {
				stuck = false;
				ticks++;
				for (i : 0 .. W - 1) {
					tick[i] = true
				}
				i = 0
			}
#else
			assert(false)
#endif
		fi
	od
}

init
{
	byte c;

	atomic {
		for (c : 0 .. C - 1) {
			if
			:: rounds[c] = 1
			:: R > 1 -> rounds[c] = R
			fi
		}
		c = 0;
		if
		:: DEATHS > 0 -> deaths = DEATHS
		:: skip
		fi;
		if
		:: FAILURES > 0 -> failures = FAILURES
		:: skip
		fi;
		for (c : 0 .. W - 1) {
			run worker(c)
		}
		c = 0;
		run monitor()
	}
}
