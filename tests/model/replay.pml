/* tests/model/replay.pml - a transaction of a client that is run again after 40001, as
 * it is designed (there is no code yet): the log of its units, the digest of what was
 * told, the comparison, COMMIT held back until all of it is equal, giving up.
 *
 * SPDX-License-Identifier: ISC
 *
 * A client sends BEGIN, some statements and COMMIT or ROLLBACK; what it asks next
 * follows from what it was told (op). A server answers a statement with a row, whatever
 * others may have made of it meanwhile (0 or 1), and its end; or fails, before the row
 * or behind it. Connections may be cut at any moment: what was sent may still be run by
 * the server, what it has answered may be lost.
 *
 * The proxy may hold a row back or pass it on at once (the buffer was full, or a Flush
 * came). After a loss it may give up or replay on another connection: both are right.
 *
 * BUG_*: one safeguard less each.
 */
#ifndef STMTS
#define STMTS 2
#endif
#ifndef TRIES
#define TRIES 2      /* replays, at most */
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef BY_ITSELF
#define BY_ITSELF 0  /* a statement may commit, as DDL of CockroachDB does */
#endif
#ifndef ON_LOSS
#define ON_LOSS 1    /* replay on another connection, too */
#endif
#define CONNS (LOSSES + 1)

mtype = { BEGIN, STMT, COMMIT, ROLLBACK, BAD, GONE, END };      /* frontend */
mtype = { ROW, DONE, ERR, LOST, CLOSED, UNKNOWN };              /* backend */

/* What an error says. */
#define SERIALIZATION 1          /* 40001, 40P01 */
#define DOUBT 2                  /* 40003 */
#define OTHER 3                  /* whatever the statement did wrong; 25P02 */
#define CANCELLED 4              /* 57014 */

/* Status of ReadyForQuery; CHAIN, DDL and the like are left out (they disarm). */
#define I 0
#define T 1
#define E 2

chan c2p = [4] of { mtype, byte };               /* what, op */
chan p2c = [4] of { mtype, byte, byte };         /* what, value or error, status */
chan p2s[CONNS] = [STMTS + 4] of { mtype, byte };
chan s2p[CONNS] = [2 * STMTS + 8] of { mtype, byte, byte };

bool cut[CONNS];
byte conn;                       /* the proxy's, now */
byte losses = LOSSES;

/* The database. */
byte commits;
byte committed_n;
byte committed_op[STMTS], committed_v[STMTS];
bool by_itself;                  /* a server has committed without being told to */

/* The client. */
mtype = { NOTHING, ACKNOWLEDGED, REFUSED, IN_DOUBT, LEFT };
mtype outcome = NOTHING;
byte stmts;                      /* that it has sent, all of them answered */
byte op[STMTS], seen[STMTS];
bool wants_commit;               /* it has sent COMMIT, in a good block */

/* The proxy. */
bool commit_sent;                /* to a server, for this client, and no definite answer */
bool commit_lost;                /* its connection was lost then */
bool known_gone;
byte tries;

inline answer(what, v, s)
{
	if
	:: !cut[id] -> s2p[id]!what(v, s)
	:: else
	fi
}

/* What was done in this transaction is in the database now. */
inline commit()
{
	commits++;
	committed_n = n;
	for (k : 0 .. STMTS - 1) {
		committed_op[k] = ops[k];
		committed_v[k] = vs[k]
	}
	k = 0
}

inline undo()
{
	st = I;
	n = 0;
	for (k : 0 .. STMTS - 1) {
		ops[k] = 0;
		vs[k] = 0
	}
	k = 0
}

proctype server(byte id)
{
	byte st = I, n, k, v, o;
	byte ops[STMTS], vs[STMTS];

end:
	do
	:: atomic { p2s[id]?BEGIN(_) ->
			if
			:: st == E -> answer(ERR, OTHER, E)
			:: else -> st = T; answer(DONE, 0, T)
			fi }
	:: atomic { p2s[id]?STMT(o) ->
			if
			:: st == E -> answer(ERR, OTHER, E)
			:: st == T -> st = E; answer(ERR, SERIALIZATION, E)
			:: st == T -> st = E; answer(ERR, OTHER, E)
			:: st == T && BY_ITSELF && !by_itself ->
				commit();
				undo();
				by_itself = true;
				answer(ERR, SERIALIZATION, I)
			:: st == T -> v = 0; answer(ROW, 0, 0); goto row
			:: st == T -> v = 1; answer(ROW, 1, 0); goto row
			:: st == I -> assert(by_itself); answer(DONE, 0, I)
			fi;
			o = 0 }
	:: atomic { p2s[id]?COMMIT(_) ->
			if
			:: st == T -> commit(); answer(DONE, 1, I)
			:: st == T -> commit(); answer(ERR, DOUBT, I)
			:: st == T -> answer(ERR, DOUBT, I)
			:: st == T -> answer(ERR, SERIALIZATION, I)
			:: st == T -> answer(ERR, OTHER, I)
			:: st != T -> answer(DONE, 0, I)         /* the tag is ROLLBACK */
			fi;
			undo() }
	:: atomic { p2s[id]?ROLLBACK(_) -> undo(); answer(DONE, 0, I) }
	:: atomic { p2s[id]?BAD(_) ->                    /* to a savepoint that is not there */
			if
			:: st == I -> answer(ERR, OTHER, I)
			:: else -> st = E; answer(ERR, OTHER, E)
			fi }
	:: p2s[id]?END(_) -> break
	:: cut[id] -> break                              /* what is still queued is lost */
	od;
	goto over;
row:
	/* the row is out, the end of the answer is not: time passes */
	atomic {
		true ->
		if
		:: st = E; answer(ERR, SERIALIZATION, E)
		:: ops[n] = o; vs[n] = v; n++; answer(DONE, 0, T)
		fi;
		v = 0;
		o = 0;
		goto end
	}
over:
	atomic {
		undo();
		do
		:: p2s[id]?_(_)
		:: empty(p2s[id]) -> break
		od
	}
}

/* The network: the proxy hears of it behind what has come already, or instead of it. */
proctype network()
{
	byte a, b;
	mtype m;

end:
	do
	:: atomic { losses > 0 && !cut[conn] ->
			losses--;
			cut[conn] = true;
			if
			:: true
			:: true ->
				do
				:: s2p[conn]?m(a, b)
				:: empty(s2p[conn]) -> break
				od
			fi;
			a = 0;
			b = 0;
			s2p[conn]!LOST(0, 0) }
	:: losses == 0 -> break
	od
}

/* ---- the client ---- */

proctype client()
{
	byte i, v, s;
	mtype m = BEGIN;

	c2p!BEGIN(0);
	do
	:: atomic { p2c?ROW(v, _) -> seen[i] = v; v = 0 }
	:: atomic { p2c?DONE(v, s) ->
			if
			:: m == COMMIT && v == 1 -> outcome = ACKNOWLEDGED; break
			:: m == COMMIT && v == 0 -> outcome = REFUSED; break
			:: m == ROLLBACK -> outcome = REFUSED; break
			:: else
			fi;
			if
			:: m == STMT -> i++; stmts = i
			:: else
			fi;
			if
			:: i < STMTS ->
				m = STMT;
				op[i] = (i -> seen[i - 1] : 0);
				c2p!STMT(op[i])
			:: true -> m = COMMIT; wants_commit = true; c2p!COMMIT(0)
			:: true -> m = ROLLBACK; c2p!ROLLBACK(0)
			fi;
			v = 0;
			s = 0 }
	:: atomic { p2c?ERR(v, s) ->
			if
			:: v == DOUBT -> outcome = IN_DOUBT; break
			:: v != DOUBT && s == I -> outcome = REFUSED; break
			:: v != DOUBT && s == E -> m = ROLLBACK; c2p!ROLLBACK(0)
			:: v != DOUBT && s == E -> m = COMMIT; c2p!COMMIT(0)     /* its mistake */
			fi;
			v = 0;
			s = 0 }
	:: p2c?CLOSED(_, _) -> outcome = REFUSED; break
	:: p2c?UNKNOWN(_, _) -> outcome = IN_DOUBT; break
	:: outcome = LEFT -> break                       /* at any time */
	od;
	c2p!GONE(0);
	/* nobody reads any more what still comes */
end:
	do
	:: p2c?_(_, _)
	od
}

/* ---- the proxy ---- */

#define NONE 9           /* no row */

inline look()
{
	if
	:: c2p?[GONE(_)] -> known_gone = true
	:: else
	fi
}

inline to_server(what, o)
{
	if
	:: what == COMMIT ->
		assert(!commit_lost);            /* never again after a loss */
		assert(!(known_gone && tries));  /* nor for nobody */
		commit_sent = true
	:: else
	fi;
	if
	:: !cut[conn] -> p2s[conn]!what(o)
	:: else                                  /* LOST is on its way */
	fi
}

/* All that is owed is read, whatever it is. Z: how many ReadyForQuery. m: LOST? */
inline drain(z)
{
	m = DONE;
	do
	:: z == 0 -> break
	:: z > 0 ->
		s2p[conn]?m(v, s);
		if
		:: m == ROW
		:: m == DONE || m == ERR -> z--
		:: m == LOST -> z = 0
		fi
	od
}

inline forget()
{
	log_n = 0;
	armed = false;
	begun = false;
	started = false;
	held = NONE;
	tries = 0;
	for (i : 0 .. STMTS - 1) {
		log_op[i] = 0;
		told[i] = 0
	}
	i = 0
}

#ifdef BUG_NO_LIMIT
#define ENOUGH (tries > 100)
#else
#define ENOUGH (tries == TRIES)
#endif

proctype proxy()
{
	mtype m, what;                   /* of the server's answers; the unit at hand */
	byte v, s, i, z, o, error, st = I;
	bool armed, begun, started, differs, wait;
	byte held = NONE, prefix;
	byte log_n, log_op[STMTS], told[STMTS];

	/* In one piece from one receive to the next. */
	atomic {
	skip;
idle:
	/* ---- the next unit of the client ---- */
	c2p?what(o);
	if
	:: what == GONE -> goto gone
	:: else
	fi;
	if
	:: what == BEGIN && st == I -> armed = true; begun = false
	:: else
	fi;
	started = false;
	held = NONE;
	tries = 0;
	to_server(what, o);

answers:
	/* ---- the unit at hand is with the server ---- */
	s2p[conn]?m(v, s);
	if
	:: m == ROW ->
#ifndef BUG_SKIP_PREFIX
		if
		:: started && v != prefix ->     /* of what it was given already */
			z = 1;
			drain(z);
			if
			:: m == LOST -> goto lost
			:: else -> st = E; goto give_up
			fi
		:: else
		fi;
#endif
		if
		:: started -> held = v
		:: !started -> held = v
		:: !started -> started = true; prefix = v; held = v; p2c!ROW(v, 0)
		fi;
		goto answers
	:: m == DONE ->
		if
		:: held != NONE && !started -> p2c!ROW(held, 0)
		:: else
		fi;
		if
		:: what == COMMIT -> commit_sent = false
		:: else
		fi;
		st = s;
		if
		:: st == T && what == STMT && armed ->
			d_step {
				log_op[log_n] = o;
				told[log_n] = held;
				log_n++
			}
		:: st == T && what == BEGIN -> begun = true
		:: st == I -> forget()
		:: else
		fi;
		p2c!DONE(v, s);
		goto idle
	:: m == ERR ->
		st = s;
		error = v;
		if
		:: what == COMMIT && v != DOUBT -> commit_sent = false
		:: else
		fi;
		if
		:: v == SERIALIZATION && armed && begun &&
#ifdef BUG_IGNORE_STATUS
		   true
#else
		   s == (what == COMMIT -> I : E)
#endif
		   -> goto recover
		:: else ->                       /* not ours: pass it on */
			armed = false;
			if
			:: st == I -> forget()
			:: else
			fi;
			p2c!ERR(v, s);
			goto idle
		fi
	:: m == LOST -> error = SERIALIZATION; goto lost
	fi;

recover:
	/* ---- the attempt is over for certain ---- */
	look();
	if
	:: known_gone -> goto quit
	:: !known_gone && ENOUGH -> goto give_up
	:: !known_gone && !ENOUGH -> tries++
	:: !known_gone -> error = CANCELLED; goto give_up        /* a CancelRequest came */
	fi;
	assert(tries <= TRIES);
	if
	:: st != I ->
		to_server(ROLLBACK, 0);
		z = 1;
		drain(z);
		st = I;
		if
		:: m == LOST -> goto lost
		:: else
		fi
	:: else
	fi;

replay:
	/* ---- the log, in one write; its answers must be what was told ---- */
	differs = false;
	held = NONE;
	wait = false;
	to_server(BEGIN, 0);
	i = 0;
	do
	:: i < log_n -> to_server(STMT, log_op[i]); i++
	:: i == log_n -> break
	od;
#ifdef BUG_PIPELINE_COMMIT
	if
	:: what == COMMIT -> to_server(COMMIT, 0)
	:: else
	fi;
#endif
	i = 0;
	z = log_n + 1;
	do
	:: z == 0 -> break
	:: z > 0 ->
		s2p[conn]?m(v, s);
		if
		:: m == ROW && i > 0 && !wait && !differs ->
#ifndef BUG_SKIP_DIGEST
			differs = v != told[i - 1]
#else
			skip
#endif
		:: m == ROW && (wait || differs)
		:: m == DONE -> z--; i++; st = s; differs = differs || s != T
		:: m == ERR && (wait || differs) -> z--; st = s
		:: m == ERR && !wait && !differs ->
			z--;
			st = s;
			if
			:: v == SERIALIZATION && s == E -> wait = true
			:: else -> differs = true
			fi
		:: m == LOST -> i = 0; goto lost
		fi
	od;
	i = 0;
	if
	:: wait -> goto recover
	:: differs -> goto give_up
	:: else
	fi;

	/* ---- all is equal: the unit that was interrupted, and only now ---- */
	look();
	if
#ifndef BUG_COMMIT_FOR_NOBODY
	:: known_gone -> goto quit
#endif
	:: else -> skip
	fi;
#ifdef BUG_PIPELINE_COMMIT
	if
	:: what != COMMIT -> to_server(what, o)
	:: else
	fi;
#else
	to_server(what, o);
#endif
	goto answers;

lost:
	/* ---- the connection is gone ---- */
	st = I;
	if
	:: commit_sent -> commit_lost = true
	:: else
	fi;
	if
	:: commit_sent -> p2c!UNKNOWN(0, 0); goto over
	:: !commit_sent -> p2c!CLOSED(0, 0); goto over   /* as a server that is lost does it */
	::
#ifndef BUG_REPLAY_COMMIT
	   !commit_sent &&
#endif
	   ON_LOSS && armed && begun && tries < TRIES && !known_gone ->
		tries++;
		conn++;
		run server(conn);
		goto replay
	fi;

give_up:
	/* ---- the first error is the answer; a real server is in the state that goes with it */
	if
	:: what == COMMIT ->
		if
		:: st != I ->
			to_server(ROLLBACK, 0);
			z = 1;
			drain(z);
			st = I;
			if
			:: m == LOST -> goto lost
			:: else
			fi
		:: else
		fi;
		forget();
		p2c!ERR(error, I);
		goto idle
	:: what != COMMIT ->
#ifndef BUG_LEAVE_HALF
		to_server(ROLLBACK, 0);
		to_server(BEGIN, 0);
		to_server(BAD, 0);
		z = 3;
		drain(z);
		if
		:: m == LOST -> goto lost
		:: else
		fi;
#endif
		st = E;
		forget();
		p2c!ERR(error, E);
		goto idle
	fi;

quit:
	/* ---- nobody is there any more ---- */
	if
	:: st != I -> to_server(ROLLBACK, 0)
	:: else
	fi;
	goto over;
gone:
	known_gone = true;
	if
	:: st != I -> to_server(ROLLBACK, 0)
	:: else
	fi;
over:
	to_server(END, 0);
	forget();
	}
end:
	do
	:: c2p?_(_)
	od
}

/* ---- what must be true in the end ---- */

/* What is in the database is what the client asked for and was told. */
inline same()
{
	assert(committed_n == stmts);
	for (k : 0 .. STMTS - 1) {
		if
		:: k < stmts -> assert(committed_op[k] == op[k] && committed_v[k] == seen[k])
		:: else
		fi
	}
}

proctype monitor()
{
	byte k;

	timeout -> d_step {
		assert(outcome != NOTHING);
		assert(commits <= 1);
		if
		:: outcome == ACKNOWLEDGED -> assert(commits == 1); same()
		:: outcome == REFUSED -> assert(commits == 0 || by_itself)
		:: outcome == IN_DOUBT ->
			assert(commit_sent || by_itself);
			if
			:: commits == 1 && !by_itself -> same()
			:: else
			fi
		:: outcome == LEFT -> assert(commits == 0 || wants_commit || by_itself)
		fi
	}
}

init
{
	atomic {
		run server(0);
		run network();
		run client();
		run proxy();
		run monitor()
	}
}
