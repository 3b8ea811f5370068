/* proxy/session/wait_words.c - see wait_words.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/wait_words.h"

#include "session/shard.h"

static bool node_up(const struct shard *sh)
{
	return pick_best(sh->db->nodes, sh->db->node_n, shard_attrs(sh)) > SUIT_PANIC;
}

/* Is there a node that is up and only its role is not known? Then the checks
 * cannot log in, and no waiting will help. */
static bool role_unknown(const struct shard *sh)
{
	size_t i;

	for (i = 0; i < sh->db->node_n; i++)
		if (atomic_load(&sh->db->nodes[i].t->state) == TARGET_UP &&
		    atomic_load(&sh->db->nodes[i].t->role) == ROLE_UNKNOWN)
			return true;
	return false;
}

static const char *no_node_hint(const struct shard *sh)
{
	if (shard_attrs(sh) != ATTRS_ANY && role_unknown(sh))
		return "A node is up, but the health checks cannot log in to learn its role, which "
		       "target_session_attrs asks for: set health_check_user and "
		       "health_check_password.";
	return "See SHOW NODES on the console.";
}

/* No node, or none that suits: does a host stand for nothing? */
static const char *missing(const struct shard *sh)
{
	return sh->db->missing_n ? sh->db->missing[0].text : NULL;
}

struct wait_words wait_words(const struct shard *sh)
{
	/* what is only on its way is no connection that could have become free */
	bool none = atomic_load(&sh->pool.hub->limit.used) <= sh->pool.n[SEAT_DIALLING];
	bool up = node_up(sh) && !(sh->fails && none);
	bool pinned = atomic_load(&sh->pool.hub->pins.used) > 0;

	if (sh->paused)
		return (struct wait_words){
			"57P03", "the database is paused, and query_wait_timeout is over", NULL,
			"An operator has said PAUSE (or KILL) on the console; RESUME ends it."
		};
	if (!sh->db->node_n)
		return (struct wait_words){
			"57P03",
			"no host name of this database could be resolved within query_wait_timeout",
			missing(sh),
			"Check the names, and that the DNS servers answer: see resolv_conf."
		};
	if (!up)
		return (struct wait_words){ "57P03", "no suitable node was up within query_wait_timeout",
					    *sh->last_error ? sh->last_error : missing(sh),
					    no_node_hint(sh) };
	return (struct wait_words){
		"53300", "no server connection became free within query_wait_timeout",
		pinned ? "Some are bound to clients by what their sessions left behind: see sv_pinned "
			 "in SHOW POOLS." :
			 NULL,
		"All connections of the pool are in use: see default_pool_size, "
		"max_db_connections and max_user_connections."
	};
}
