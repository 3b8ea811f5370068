/* proxy/session/session.h - types only: the two ends of a conversation, and
 * what session/ keeps in one worker and in common.
 *
 * Owners:  struct shared: struct daemon. struct hall: one per worker, in
 *          struct shared. struct client and struct server: their hall, from
 *          accept or dial to the grave.
 * Threads: a hall and all in it: its worker's. struct shared: as its fields say.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SESSION_H
#define PGWEIR_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "health/meter.h"
#include "health/mismatches.h"
#include "health/queries.h"
#include "health/stats.h"
#include "health/target.h"
#include "io/stream.h"
#include "io/uids.h"
#include "io/worker.h"
#include "pool/hub.h"
#include "pool/limit.h"
#include "pool/logins.h"
#include "pool/pool.h"
#include "session/client_state.h"
#include "session/door.h"
#include "session/gates.h"
#include "session/hold.h"
#include "session/known.h"
#include "session/order.h"
#include "session/proofs.h"
#include "session/refusal.h"
#include "session/server_state.h"
#include "session/snapshot.h"
#include "wire/owed.h"
#include "wire/params.h"
#include "wire/scram.h"
#include "wire/stmt.h"

/* Kinds of deadlines, one list each (io/worker.h). */
enum {
	DL_LOGIN,        /* client: client_login_timeout */
	DL_WAIT,         /* client: query_wait_timeout */
	DL_IDLE,         /* client: client_idle_timeout */
	DL_IDLE_TX,      /* client: idle_transaction_timeout */
	DL_BACKOFF,      /* client: before a retry */
	DL_HOLD,         /* client: retry_hold_time */
	DL_CONNECT,      /* server: server_connect_timeout */
	DL_SLOW,         /* server: before another node is dialled beside it */
	DL_CLEAN,        /* server: rollback or reset under way */
	DL_CANCEL,       /* cancel request */
	DL_DIAL,         /* shard: server_login_retry */
	DL_TICK,         /* hall: upkeep */
	DL_LINGER,       /* client: closing after its last message */
	DL_KINDS
};
_Static_assert(DL_KINDS <= DEADLINE_KINDS, "more kinds than lists");

/* What of a client must be kept to run its unit again (retry.md). */
enum unit_state {
	UNIT_NONE = 0,   /* between units */
	UNIT_ARMED,      /* all of it is in the log, nothing has been passed on */
	UNIT_PASS        /* passes through: cannot be retried */
};

/* An error that says something of a prepared statement of ours. */
enum stmt_trouble {
	STMT_FINE = 0,
	STMT_STALE,      /* 0A000: its plan's result type is another now */
	STMT_GONE        /* 26000: somebody has deallocated it */
};

/* Records of messages that may be sent again. Each may need a Close and a Parse in front of
 * it, and all must find room among what is owed. */
#define UNIT_RECORDS_MAX (OWED_MAX / 4)

struct unit {
	enum unit_state state;
	bool closed;             /* its Query or Sync has been sent */
	bool explicit_txn;       /* began inside a transaction block */
	bool complete_seen;      /* a CommandComplete or PortalSuspended has come */
	bool commit_seen;        /* ... with the tag COMMIT */
	bool other_error;        /* another error besides a retryable one */
	bool failed;             /* a retryable error has come */
	bool bound_only;         /* armed only until its first BindComplete: to be run again
				    when the server's statement is not what it was, and for
				    nothing else; `refused` says why */
	bool reprepare;          /* that is so: it is due to be run again */
	bool reprepared;         /* ... and was */
	bool rows_known;         /* those of the last Bind's statement: no need to look */
	bool described;          /* the portal of its first Bind was described before the second */
	bool noted_before;       /* the transaction before had left something, not asked for yet */
	bool names_lost;         /* the error undid a name that was given in the unit */
	bool answered;           /* its ReadyForQuery is in `back`: a retry is due */
	bool resending;          /* ... and not all of it has been sent again */
	char status;             /* ... with this status */
	uint8_t refused;         /* enum retry_verdict: why it is UNIT_PASS */
	uint8_t error;           /* meter_class() + 1 of what the server said, 0: nothing */
	uint16_t attempts;
	uint16_t statements;     /* believed by the lexer */
	bool resets_all;         /* RESET ALL or DISCARD ALL is among it */
	bool switch_refused;     /* client.switches.no is of this unit */
	uint32_t records;        /* of its log */
	uint32_t binds;
	uint32_t named;          /* names that its Parses have given for good */
	uint32_t completes;      /* CommandComplete messages */
	bool movable;            /* `raw` is all of it, and it can all be taken back (move.h) */
	bool fresh;              /* nothing of it has been answered */
	bool uncertain;          /* part of it may last although it was broken off */
	bool opens, commits;     /* its first text begins a transaction, its last commits it */
	bool commits_alone;      /* ... and does nothing else */
	bool outside;            /* it does something outside its session */
	bool rollback;           /* all it does is to end its transaction */
	bool ended;              /* a ROLLBACK is in it: what follows is another transaction */
	bool cancelled;          /* its client has asked for an end of it */
	bool wrong_role;         /* it failed because the server is no primary any more */
	uint64_t first_fail_us;
	uint64_t begun_us;
	uint64_t query_us;       /* when what is answered next was sent, wherever it began */
	struct hold log;         /* frontend records, see unit.h */
	struct hold back;        /* backend bytes held back */
	struct hold raw;         /* its messages as the client sent them */
};

/* What the client has left behind on its server, see session/residue.h. */
struct residue {
	uint16_t leaves;         /* may be there: noted since the server was asked */
	uint16_t pinned;         /* is there, and binds the client to its server */
	uint16_t found;          /* the same, by the answer so far */
	bool unsure;             /* noted from a text that was not understood */
	bool asked_unsure;
	bool asking, answered, failed;
	bool scrub;              /* settings of unknown names may be there */
	bool undone;             /* an error or a ROLLBACK since */
	bool reset_anew;         /* a RESET, and nothing undone since */
	bool procedural;         /* noted from a DO or CALL: what was run is not known */
	bool confirmed;          /* the client was told that what was noted is done */
	bool never;              /* its server is not for others again */
	bool evict;              /* no room to bind it, and it must be bound */
	uint32_t resets_noted, resets_seen;
	bool token;              /* counts among the pool's pins */
	bool nextval;            /* this transaction may have called nextval() */
	struct noted *noted;     /* settings; NULL until the first */
};

/* Names of settings that were noted. */
struct noted {
	struct params names;     /* name: "set" or "reset", the latest */
	struct params asked;     /* ... that the question in flight is about, in its order */
	struct params before;    /* what the server was thought to have then (asked_unsure only) */
	struct params seen;      /* what the server says was changed (asked_unsure only) */
};

/* Reported settings as they were before the transaction (session/undo.h). */
struct undo {
	struct params before;
	struct params told;      /* what the client must still be told of */
	bool noted;              /* before is that of this transaction */
};

/* Why a client's session ends. sqlstate and message are for the client when not
 * NULL; number, unless -1, ends the message. */
struct up_why {
	const char *why;
	const char *sqlstate;
	const char *message;
	int number;
};

/* What of retry a session may set for itself (session/switches.h). */
enum switch_id { SWITCH_RETRY = 0, SWITCH_RETRY_UNKNOWN, SWITCH_N };

struct switches {
	uint8_t start[SWITCH_N]; /* RESET goes back there */
	uint8_t asked[SWITCH_N]; /* the startup packet's wish + 1, 0: none */
	bool prepared;           /* it has prepared such a statement */
	struct switch_portal *portal; /* bound to one, NULL: none */
	char *no;                /* the error of the unit's message that must fail */
	const char *no_state;    /* ... its SQLSTATE */
	char *no_hint;
};

/* What a client counts against once it has logged in (session/quota.h). */
struct quota {
	struct count *of[COUNT_KINDS]; /* its database's clients and its user's */
	bool client;             /* max_client_conn */
	bool console;
};

struct client {
	struct pool_client pc;
	struct stream s;
	struct hall *h;
	struct shard *shard;
	struct link all, ready;
	struct knock *knock;     /* until it has logged in */
	struct quota quota;
	struct corpse corpse;
	struct deadline dl, idle_dl;
	enum client_state state;
	uint32_t key_pid, key_secret;
	struct client *key_next;
	/* stream position */
	uint32_t body_left;      /* of a message that is longer than the buffer */
	bool body_drop;          /* ... and goes nowhere */
	/* what it expects */
	bool skip_to_sync;       /* after an error of ours in the extended protocol */
	bool limbo;              /* its transaction was lost: 25P02 until it ends it */
	bool batch_lost;         /* a batch without its Sync was, with every answer here: the next
				    message is told */
	bool limbo_told;         /* ... and it knows */
	bool limbo_exit;         /* ... and has bound a ROLLBACK or COMMIT */
	bool limbo_commit;       /* ... a COMMIT */
	bool commit_sent;        /* a COMMIT may be among what is in flight */
	bool opens_sent;         /* ... and a BEGIN, whose block is open behind it: */
	uint32_t opens_behind;   /* ... and so many units in front of it */
	bool at_start;           /* the next message begins a unit */
	bool dressing;           /* its settings are on their way to the server */
	bool dress_await;        /* ... and nothing may follow before they are accepted */
	bool beginning;          /* its BEGIN is on its way */
	bool begin_failed;
	bool temp_path;          /* its search_path may name pg_temp */
	uint16_t raw_leaves;     /* max_prepared_statements = 0: of all its texts */
	bool ending;             /* it is over once its server has answered what it owes: */
	struct up_why end;
	bool cancel_due;         /* asked for while only our own was in flight */
	uint8_t dress_fails;     /* servers lost over that in a row */
	bool moving;             /* the unit at the head of its buffer comes from another server */
	uint8_t moves;           /* ... so often in a row */
	bool barrier;            /* nothing more before what was sent is answered */
	bool undressed;          /* the server has not been given its settings yet */
	bool dressed_only;       /* ... it has, and nothing else since */
	bool wait_told;          /* query_wait_notify: of this wait */
	bool retry_off;          /* the lexer was wrong once: never again for this client */
	bool console_admin;
	bool inner;              /* is pgweir itself (session/asker.h) */
	bool local;              /* on a unix socket: never TLS, and these are known: */
	uint32_t peer_uid, peer_pid; /* as kernel_peer_uid gives them */
	struct listen_from from;
	uint8_t negotiations;    /* NEGOTIATED_*: each once */
	uint8_t pool_mode, retry, pin, retry_unknown;
	bool retry_terminated;
	bool statement_only;     /* pool_mode = statement: no transaction blocks */
	uint8_t auth_method;     /* enum auth_type: how it has logged in */
	uint8_t replication;     /* enum replication (session/raw.h) */
	uint8_t replay_why;      /* enum retry_verdict: why `replay` was disarmed */
	bool crdb;               /* its servers are CockroachDB, by what it was told at its login */
	uint64_t id;             /* never used again in this worker; the worker is in it */
	int64_t wait_timeout_us, idle_timeout_us, idle_tx_timeout_us;
	uint64_t wait_since;
	uint64_t born_us;
	uint64_t xact_us;        /* when its transaction began */
	struct params params;    /* what the session has */
	struct switches switches;
	struct params startup;   /* what it asked for at its start: RESET goes back there */
	struct stmt_names names;
	struct stmt *unnamed;
	uint64_t unnamed_serial;
	struct pending_name *pending, **pending_end;
	struct pending_name *leaving; /* by DEALLOCATEs of the Query in flight */
	unsigned undo_n;         /* of them: dropped by the error being handled */
	struct residue residue;
	struct undo *undo;       /* NULL until the first */
	struct unit unit;
	struct replay *replay;   /* of its transaction (session/replay.h), or NULL */
	struct login *login;     /* until logged in */
	struct trial *trial;     /* its password is tried (session/pass.h) */
	struct console *console; /* of the console, once it has asked (console/admin.c) */
	char *user, *db;
	char *begun;             /* a BEGIN that was answered and not sent */
	uint64_t queries, in_bytes, out_bytes;
	struct log_ctx log;
};

/* A name given by a Parse, or taken away by a Close, whose answer has not come. The
 * unnamed statement is such a name, which a Parse takes from the one before it and a
 * Query takes away. */
struct pending_name {
	struct pending_name *next;
	struct stmt *taken;      /* what it stood for, one reference; NULL: nothing */
	uint64_t serial;         /* ... of the unnamed one */
	bool is_close;
	bool failed;             /* it was this that failed, not something before it */
	char name[];
};

/* What a trial tells whoever has begun it. */
struct trial_calls {
	/* STARTUP_IN or STARTUP_REFUSED; the trial is gone */
	void (*over)(struct client *c, enum startup r, struct startup_no *no);
	/* A server is about to be asked. true: not now, *no says why; it is over. */
	bool (*must_wait)(struct client *c, struct startup_no *no);
};

/* A client's password that is proven by a login to a server. */
struct trial {
	struct link link;        /* of its shard: first come, first served */
	struct client *c;
	struct shard *sh;
	struct server *s;        /* logs in with it; NULL: it waits for a place */
	uint64_t since_us;
	uint64_t tried;          /* nodes that could not tell, a bit each */
	uint64_t after_us;       /* none is asked before that */
	bool trouble;            /* some node could not */
	bool fresh;              /* it has only just been let through */
	struct proof_key key;
	const struct trial_calls *calls;
	char *password;
};

/* How the login of a server has failed. */
struct login_end {
	struct target *t;
	const char *sqlstate, *message;
	bool hard;
	bool said;               /* by the server */
	bool let_in;             /* ... which had taken the password */
};

#define WELCOME_MAX 8192u

/* What only a server login needs. */
struct server_login {
	struct scram_client scram;
	bool asked;                    /* it has said how it is to be convinced */
	bool scram_begun, scram_done, ok;
	bool showed;                   /* a password, or what proves one */
	bool said;                     /* its end is the server's own word */
	uint64_t learned;              /* shard.learned_serial, if that was it */
	uint8_t welcome[WELCOME_MAX];  /* the ParameterStatus messages */
	size_t welcome_len;
};

struct server {
	struct pool_server ps;
	struct stream s;
	struct hall *h;
	struct shard *shard;
	struct link all;
	struct corpse corpse;
	struct deadline dl;
	uint64_t id;             /* never used again; the worker that dialled it is in it */
	uint64_t place;          /* hall.servers is in the order of these */
	enum server_state state;
	struct target *target;
	struct meter *node;      /* one reference, */
	struct meter_side *meter; /* and this worker's side of it */
	struct trial *trial;     /* its login proves a client's password */
	bool dialling;           /* counts among the logins under way there */
	struct tls_db tls;       /* how it is reached, from the dial on, whatever a reload says:
				    ctx one reference, NULL: in clear */
	char *tls_host;          /* whose certificate it must be */
	bool second;             /* dialled again: with TLS where it was without, or the other way */
	uint64_t connect_by_us;  /* ... which must be done by then */
	uint64_t clean_by_us;    /* it must have come clean by then */
	uint64_t cancel_gap_us;  /* before what its gone client left is cancelled again, 0: never */
	char tx;                 /* status of the last ReadyForQuery */
	bool block;              /* a transaction block is open by what was completed since */
	bool close_needed;       /* not to be used again */
	bool greeted;            /* connect_query is on its way */
	bool odd_sql;            /* standard_conforming_strings off, or an encoding that hides quotes */
	uint8_t stmt_trouble;    /* enum stmt_trouble: the error being handled */
	bool once, used;         /* server_lifetime = 0: good for one use; has been used */
	bool crdb;
	bool fence_due;          /* its read-only default changed in a block: whose wish it was shows
				    at the end */
	bool turned;             /* it has become read-only since its login, by no client's wish */
	bool sync_failed;
	bool body_swallow;
	uint32_t body_left;
	uint32_t pid, secret;    /* for cancels, never shown */
	unsigned cancels;        /* under way: not to be reused before they end */
	bool parked;             /* free but for them */
	struct owed owed;
	struct prints *prints;     /* session/prints.h */
	struct params params;    /* what we or clients have set on it */
	struct params base;      /* what it reported at login */
	struct stmt_cache cache;
	uint64_t stale;          /* a statement that is there and must be closed before it is
				    prepared again, 0: none */
	uint64_t parsed;         /* the statement prepared on it last */
	uint64_t refreshed;      /* prepared anew because its rows were not as told, 0: none */
	uint64_t describing;     /* it was asked for the rows of this one, 0: none */
	uint64_t bound;          /* statement of the last Bind */
	uint64_t unnamed_serial; /* whose unnamed statement it holds, 0: none, or: */
#define UNNAMED_UNKNOWN UINT64_MAX
	uint64_t born_us, expires_us, idle_us;
	uint64_t sequence_client; /* id of the client that may have called nextval() on it last */
	char sync_error[6];
	char sync_message[160];
	struct server_login *login;
	struct letter letter;    /* for a hand-over */
	struct log_ctx log;
	char who[LOG_WHO_MAX];   /* for its lines */
};

/* With these a server that has the same secret lets us in as its user. */
struct scram_keys {
	struct scram_secret secret;
	uint8_t client_key[SCRAM_KEY_LEN];
};

/* A shard and what session/ adds to it. */
struct shard {
	struct pool pool;
	struct shard *next;
	struct hall *h;
	struct snapshot *snap;       /* one reference */
	const struct snapshot_db *db;
	const struct conf_user *user_conf;   /* may be NULL */
	struct meter *db_meter;      /* one reference, */
	struct meter_side *meter;    /* and this worker's side of it */
	char *server_db;
	char *server_user;
	bool alone;                  /* of one client: one server, which knows whose it is */
	uint8_t replication;         /* ... for a replication connection */
	struct params login_params;  /* ... what it is told of its client when it logs in */
	char *password;              /* of auth_file, for nodes that the entry has none for; NULL */
	enum secret_kind secret_kind;
	char *learned;               /* a client's, which a server has taken; before that one */
	uint64_t learned_serial;     /* how often that was another one */
	struct scram_keys *keys;     /* what a client has left here that logged in by SCRAM */
	struct scram_salted salted;  /* the expensive part of a login, kept, */
	const char *salted_of;       /* ... of this password, the entry's, one of the above or `found` */
	struct link trials;
	uint64_t place_since;        /* who waits since then, here or elsewhere, gets the place of
					the next server that comes free, if no client waits longer; */
	uint64_t place_until;        /* ... until then */
	unsigned clients;            /* clients that use it */
	unsigned servers;
	unsigned cancels;            /* on their way to servers of it */
	unsigned fails;              /* dials failed in a row */
	uint64_t tried;              /* nodes that failed since the last success, a bit each */
	uint64_t avoid;              /* ... that are dialled only if no other will do */
	uint64_t dial_after_us;
	struct deadline dial_dl;
	struct pick_turn turn;
	bool asks;                   /* for auth_query: its user is not that of a client */
	char *found;                 /* the user's secret by auth_query, NULL: none */
	enum secret_kind found_kind;
	bool gone;                   /* its database left the configuration */
	bool paused;                 /* ... is paused: no server for anybody */
	uint64_t renew_us;           /* servers born before that are not used again */
	bool asked_spare;            /* the other workers have been asked for a spare server */
	bool asked_evict;            /* ... to make room in the database */
	bool asked_place;            /* ... in the pool, for a trial */
	uint64_t unused_us;          /* since when it has had no clients, 0: has */
	uint64_t idle_us;            /* since when it has had neither clients nor servers, 0: has */
	char last_error[256];        /* of the last failed dial, for people */
	char last_sqlstate[6];
	struct log_ctx log;
};

/* What the lower modules of session/ tell the upper ones. */
struct server_up {
	void (*connected)(struct server *s, int error);  /* errno or 0 */
	void (*secured)(struct server *s, int error);
	void (*live)(struct server *s);          /* logged in, sits on no client's seat */
	void (*readable)(struct server *s);
	void (*drained)(struct server *s);
	/* Dial or login failed; s is closed already. refused: the server said
	 * so itself (sqlstate), and another host would say the same. */
	void (*failed)(struct shard *sh, struct target *t, const char *sqlstate,
		       const char *message, bool hard);
	/* The same when it was to prove a password. */
	void (*tried)(struct trial *t, const struct login_end *e);
	void (*tokens)(struct hall *h);          /* somebody somewhere waits for a token */
	void (*late)(struct server *s);          /* has not logged in or come clean in time */
	void (*dial)(struct shard *sh);          /* it is time to dial again */
	/* Word has come of a client in state auth. */
	void (*auth_done)(struct client *c, enum startup r, const struct startup_no *no);
	/* A client of our own comes, on fd, which is given away. */
	void (*inner)(struct hall *h, int fd, const char *db, const char *user);
	void (*cancelled)(struct client *c);     /* in backoff or waiting: there is no query to cancel */
};

/* What session/ does not know: handed over at birth by who stands above. */
struct hall_ops {
	/* A client of the console: bytes have come, or all it was sent has gone. May
	 * close c. */
	void (*console)(struct client *c);
	/* It is over: frees c->console. */
	void (*console_gone)(struct client *c);
	/* It has asked for an end of what is under way. */
	void (*console_cancel)(struct client *c);
};

#define KEY_BUCKETS 1024u

struct hall {
	struct worker w;
	struct shared *sh;
	const struct hall_ops *ops;
	const struct server_up *up;
	struct snapshot *snap;
	struct stats stats;
	struct meter_side *lobby;    /* of clients without a database (session/count.h) */
	struct meter *console_meter;
	struct meter_side *console;  /* of those of the console */
	struct mismatches mismatches;
	struct queries queries;      /* query_stats */
	struct link clients, servers, ready, resume;
	uint64_t client_ids, server_ids, server_places;
	struct shard *shards;
	struct client *keys[KEY_BUCKETS];
	struct cancel *cancels;
	struct forward *forwards;    /* session/peers.h */
	unsigned forwards_waiting;
	struct stmts stmts;
	struct holds holds;
	struct proofs proofs;
	uint64_t serial;             /* of unnamed statements; worker in the high bits */
	struct asker *askers;        /* session/asker.h */
	uint64_t asker_ids;
	struct known known;          /* what they have heard */
	struct deadline tick;
	uint64_t rebalance_us;       /* when shares are looked at next */
	struct gates *gates;         /* one reference */
	bool shutting;               /* ... by them: who needs a server is told to go */
	bool draining, stopping;
	bool closing;                /* another process has taken over, and wants its places */
	_Atomic bool ended;          /* its loop turns no more; any thread */
};

/* Requests to one of [peers], of all workers; id 0: not used yet. */
#define PEERS_MAX 256u
struct peer_use {
	_Atomic int id;
	_Atomic unsigned waiting, connecting, active;
	_Atomic unsigned places;       /* taken: of those that connect or are active */
};

/* Is it about to end? Nothing new is begun then. */
static inline bool hall_leaves(const struct hall *h)
{
	return h->draining || h->shutting;
}

enum node_order { ORDER_EXCLUDE = 0, ORDER_INCLUDE, ORDER_PROBE };

struct shared {
	struct hubs hubs;
	struct meters meters;        /* before the halls, and behind them (health/meter.h) */
	struct hall *halls;
	unsigned hall_n;
	struct limit clients;        /* max_client_conn */
	struct limit consoles;
	struct door door;            /* max_client_logins */
	struct logins logins;        /* that failed */
	int peer_id;                 /* 0: there are no peers */
	struct peer_use peers[PEERS_MAX];
	_Atomic int64_t held_bytes;         /* session/hold.h */
	uint8_t mock_key[32];
	_Atomic unsigned asked_kinds;    /* 1 << enum secret_kind: that auth_query has found */
	_Atomic uint32_t asked_iterations; /* of the first of SCRAM, 0: none */
	/* Any thread: tells the control loop what a worker saw of a target. */
	void (*target_seen)(struct shared *sh, struct target *t, enum target_seen what);
	/* Any thread: what an operator wishes for a node (console). false: out of
	 * memory. */
	bool (*node_order)(struct shared *sh, struct target *t, enum node_order what);
	/* Any thread: an order for the control loop, which is its until o->answer. */
	void (*order)(struct shared *sh, struct order *o);
	_Atomic uint64_t order_ids;
	uint32_t uid;            /* of this process */
	/* Any thread: what is the user of l->uid called? The answer is delivered to l->to.
	 * false: too many ask already, or out of memory; l stays the caller's. */
	bool (*uid_name)(struct shared *sh, struct uid_letter *l);
	/* Any thread: a cancel whose key is nobody's here, for the process that this one took
	 * over from. true: fd is owned; false: there is none. NULL: never. */
	bool (*cancel_elsewhere)(struct shared *sh, int fd, uint32_t pid, uint32_t secret);
	/* Any thread: the hall's loop has ended. */
	void (*hall_stopped)(struct shared *sh, struct hall *h);
};

static inline struct client *client_of(struct pool_client *pc)
{
	return (struct client *)(void *)pc;
}
static inline struct server *server_of(struct pool_server *ps)
{
	return (struct server *)(void *)ps;
}
static inline struct server *server_for(const struct client *c)
{
	return (struct server *)(void *)c->pc.server;
}
static inline struct client *client_for(const struct server *s)
{
	return (struct client *)(void *)s->ps.client;
}
static inline struct hall *hall_of(struct worker *w)
{
	return w->owner;
}

#endif
