/* tests/unit/test_leaves.c - what a text leaves behind in its session: the bits
 * and the names of the settings, which must not disagree.
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

#include "proxy/wire/lexer.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* s SETTING, A RESET_ALL, l LISTEN, t TEMP, h HOLD, k LOCK, p PREPARE, L LIBRARY,
 * o OBJECT, ? UNKNOWN, e END, q SEQUENCE, x EXECUTE, n NEXTVAL: in the order of
 * their bits */
static const char letters[] = "sAlthkpLo?eqxn";

struct leaves_case {
	const char *sql, *bits, *names; /* names: "a -b": b is reset */
};

/* Names of 63 and 64 bytes. */
#define N63 "a23456789_123456789_123456789_123456789_123456789_123456789_123"
#define N64 N63 "4"

static const struct leaves_case plain_cases[] = {
	{"", "", ""},
	{"select 1", "", ""},
	{"insert into t (a, b) values (1, 'set x = 1')", "", ""},
	{"update t set a = 1 where b = 2", "", ""},
	{"delete from t; commit", "", ""},
	{"begin; select 1; commit", "", ""},
	{"begin isolation level serializable; savepoint a; release a; rollback", "", ""},
	{"copy t from stdin", "", ""},
	{"call f(1); lock t; notify a, 'b'; fetch all c; move c; show x", "", ""},
	{"vacuum; analyze t; create table t (a int)", "", ""},
	{"explain analyze update t set a = 1", "", ""},
	{"alter system set a = 1; alter role r set a = 1; alter database d set a to b", "", ""},
	{"alter table t set (fillfactor = 10); alter function f() reset a", "", ""},
	{"create function f() returns int set search_path = a as $$ set x = 1 $$", "", ""},
	{"create function f() returns void as 'begin set x = 1; end' language plpgsql", "", ""},
	{"prepare transaction 'x'", "", ""},
	{"commit prepared 'x'", "", ""},
	{"select setseed(0.5), nextvals('a'), nextval, setval from t", "", ""},
};

static const struct leaves_case set_cases[] = {
	{"set x = 1", "s", "x"},
	{"set x=-1", "s", "x"},
	{"SET X TO 'a', b", "s", "x"},
	{"set x to default", "s", "-x"},
	{"set x = DEFAULT", "s", "-x"},
	{"set x = 'default'", "s", "x"},
	{"set x = \"default\"", "s", "x"},
	{"set x from current", "s", "x"},
	{"set role from current; set time from current", "s", "role time"},
	{"set local from current; set schema from current", "s", "local schema"},
	{"set session x = 1", "s", "x"},
	{"set session x to default", "s", "-x"},
	{"set my.x = 1", "s", "my.x"},
	{"set My . \"X\" . z = 1", "s", "my.X.z"},
	{"set \"a\"\"b\".\"c.d\" = 1", "s", "a\"b.c.d"},
	{"set \"Ä\" = 1", "s", "Ä"},
	{"set ä = 1", "?", ""},
	{"set U&\"x\" = 1", "?", ""},
	{"set " N63 " = 1", "s", N63},
	{"set " N64 " = 1", "?", ""},
	{"set " N63 "." N63 "." N63 ".a23456 = 1", "s", N63 "." N63 "." N63 ".a23456"},
	{"set " N63 "." N63 "." N63 ".a234567890 = 1", "?", ""},
	{"set local x = 1", "", ""},
	{"set local.x = 1", "s", "local.x"},
	{"set local to 1", "s", "local"},
	{"set local local.x = 1", "", ""},
	{"set session = 1", "s", "session"},
	{"set session.x = 1", "s", "session.x"},
	{"set session session.x = 1", "s", "session.x"},
	{"set session local = 1", "s", "local"},
	{"set time zone 'UTC'", "s", "timezone"},
	{"set session time zone 'UTC'", "s", "timezone"},
	{"set time zone local", "s", "-timezone"},
	{"set time zone default", "s", "-timezone"},
	{"set local time zone 'UTC'", "", ""},
	{"set time.zone = 1", "s", "time.zone"},
	{"set TimeZone = 'UTC'", "s", "timezone"},
	{"set \"TimeZone\" = 'UTC'", "s", "TimeZone"},
	{"set names 'utf8'", "s", "client_encoding"},
	{"set names default", "s", "-client_encoding"},
	{"set names", "s", "-client_encoding"},
	{"set names.x = 1", "s", "names.x"},
	{"set schema 'a'", "s", "search_path"},
	{"set role a", "s", "role"},
	{"set role none", "s", "role"},
	{"set role local", "s", "role"},
	{"set session role 'a'", "s", "role"},
	{"set role = a", "s", "role"},
	{"set local role a", "", ""},
	{"set session authorization a", "s", "session_authorization"},
	{"set session authorization default", "s", "-session_authorization"},
	{"set session session authorization a", "s", "session_authorization"},
	{"set local session authorization a", "", ""},
	{"set xml option document", "s", "xmloption"},
	{"set xml.option = 1", "s", "xml.option"},
	{"set  /* */ session characteristics as transaction read only", "s",
	 "default_transaction_isolation default_transaction_read_only "
	 "default_transaction_deferrable"},
	{"set session characteristics as transaction priority high", "s",
	 "default_transaction_isolation default_transaction_read_only "
	 "default_transaction_deferrable default_transaction_priority"},
	{"set session characteristics = 1", "s", "characteristics"},
	{"set local session characteristics as transaction read only", "", ""},
	{"set transaction isolation level serializable", "", ""},
	{"set session transaction read only", "", ""},
	{"set transaction snapshot 'a'", "", ""},
	{"set transaction.x = 1", "s", "transaction.x"},
	{"set constraints all deferred", "", ""},
	{"set constraints = 1", "s", "constraints"},
	{"set transaction_isolation = 'serializable'", "", ""},
	{"set transaction_read_only to on", "", ""},
	{"set session \"Transaction_Deferrable\" to on", "", ""},
	{"set transaction_timeout = 1", "s", "transaction_timeout"},
	{"set seed to 0.5", "", ""},
	{"set", "?", ""},
	{"set x", "?", ""},
	{"set x y", "?", ""},
	{"set 1 = 2", "?", ""},
	{"set x. = 2", "?", ""},
	{"set session", "?", ""},
	{"set search_path = pg_temp, public", "st", "search_path"},
	{"set search_path = 'public, PG_TEMP'", "st", "search_path"},
	{"set local search_path to 'pg_temp'", "t", ""},
	/* which may be spelt */
	{"set search_path = E'pg\\x5ftemp'", "st", "search_path"},
	{"set search_path = U&'pg\\005ftemp'", "st", "search_path"},
	{"set search_path = U&'pg!005ftemp' uescape '!'", "st", "search_path"},
	{"set search_path = 'pg_'\n'temp'", "st", "search_path"},
	{"set local search_path = E'pg\\x5ftemp'", "t", ""},
	{"select set_config('search_path', E'pg\\x5ftemp', true)", "t", ""},
	{"set search_path = E'public', 'x'", "s", "search_path"},
	{"select E'pg\\x5ftemp'", "", ""},
	{"select 1; set x = 1; set y to 2; reset z", "s", "x y -z"},
	{"begin; set local a = 1; set b = 2; commit", "s", "b"},
	{"select ';set x = 1' ; -- set y = 1\n set/* z */q = ';'", "s", "q"},
	{"select $$; set x = 1; $$", "", ""},
	{"select \"; set x = 1; \" from t", "", ""},
	{"/* /* */ set x = 1 */ select 1", "", ""},
	{"select 1 as set; update t set set = 1", "", ""},
	{"(set x = 1)", "s?", "x"}, /* and the doubt about CockroachDB's (SET ...) */
	{"-- a\n;;set x = 1;;", "s", "x"},
	/* CockroachDB */
	{"use d", "s", "database"},
	{"use \"D\"", "s", "database"},
	{"set cluster setting a.b = 1", "", ""},
	{"set cluster = 1", "s", "cluster"},
	{"set tracing = on", "?", ""},
	{"set session tracing = off", "?", ""},
	{"set tracing off", "?", ""},
	{"prepare p as set x = 1", "sp", "x"},
	{"explain set x = 1", "s", "x"},
	{"with a as (set x = 1) select 1", "?", ""},
	{"with a as (reset x) select 1", "?", ""},
	{"select * from [use d]", "?", ""},
	{"select * from [explain analyze execute p]", "x", ""},
	/* RESET and DISCARD */
	{"reset x", "s", "-x"},
	{"reset My.\"X\"", "s", "-my.X"},
	{"reset role", "s", "-role"},
	{"reset time zone", "s", "-timezone"},
	{"reset session authorization", "s", "-session_authorization"},
	{"reset session x", "s", "-x"},
	{"reset session", "s", "-session"},
	{"reset session.x", "s", "-session.x"},
	{"reset names", "s", "-client_encoding"},
	{"reset transaction isolation level", "", ""},
	{"reset transaction_isolation", "", ""},
	{"reset cluster setting a", "", ""},
	{"reset all", "A", ""},
	{"reset /* x */ ALL ;", "A", ""},
	{"reset session all", "A", ""},
	{"reset \"all\"", "s", "-all"},
	{"reset all.x", "s", "-all.x"},
	{"reset", "?", ""},
	{"reset x y", "?", ""},
	{"discard all", "Ae", ""},
	{"discard plans", "e", ""},
	{"discard sequences", "e", ""},
	{"discard temp", "te", ""},
};

static const struct leaves_case config_cases[] = {
	{"select set_config('a', 'b', false)", "s", "a"},
	{"select set_config('a', 'b', true)", "", ""},
	{"select set_config('a', 'b', TRUE), 1", "", ""},
	{"select SET_CONFIG ( 'a' , 'b' , false )", "s", "a"},
	{"select \"set_config\"('a','b',false)", "s", "a"},
	{"select pg_catalog.set_config('a', 'b', false)", "s", "a"},
	{"select pg_catalog . \"set_config\" /**/ ('a', 'b', true)", "", ""},
	{"select set_config('a', 'b', 'true')", "s", "a"},
	{"select set_config('a', 'b', true::bool)", "s", "a"},
	{"select set_config('a', 'b', not true)", "s", "a"},
	{"select set_config('a', 'b', true and false)", "s", "a"},
	{"select set_config('a', 'b', \"true\")", "s", "a"},
	{"select set_config('a', 'b', $1)", "s", "a"},
	{"select set_config($1, $2, true)", "", ""},
	{"select set_config($1, $2, false)", "?", ""},
	{"select set_config($1, $2, $3)", "?", ""},
	{"select set_config('a', f('x', (1), array[2, 3]), true)", "", ""},
	{"select set_config('a', f('x', true), false)", "s", "a"},
	{"select set_config(f('a', 'b'), true, false)", "?", ""},
	{"select set_config('a'::text, 'b', false)", "s", "a"},
	{"select set_config('a'::name, 'b', false)", "s", "a"},
	{"select set_config('" N64 "'::text, 'b', false)", "s", N64},
	{"select set_config('" N64 "'::name, 'b', false)", "?", ""},
	{"select set_config('a'::char(1), 'b', false)", "?", ""},
	{"select set_config('a'::text::name, 'b', false)", "?", ""},
	{"select set_config(cast('a' as text), 'b', false)", "?", ""},
	{"select set_config(text 'a', 'b', false)", "?", ""},
	{"select set_config('a' || 'b', 'b', false)", "?", ""},
	{"select set_config('a'\n'b', 'b', false)", "t?", ""},
	{"select set_config(e'a', 'b', false)", "s", "a"},
	{"select set_config(e'\\141', 'b', false)", "t?", ""},
	{"select set_config(u&'\\0061', 'b', false)", "t?", ""},
	{"select set_config(n'a', 'b', false)", "?", ""},
	{"select set_config($$a$$, 'b', false)", "s", "a"},
	{"select set_config($x$a''b$x$, 'b', false)", "s", "a''b"},
	{"select set_config('a''b.C', 'b', false)", "s", "a'b.C"},
	{"select set_config('', 'b', false)", "?", ""},
	{"select set_config('" N63 N63 N63 "a2345678901', 'b', false)", "s",
	 N63 N63 N63 "a2345678901"},
	{"select set_config('" N63 N63 N63 "a23456789012', 'b', false)", "?", ""},
	{"select set_config('transaction_read_only', 'on', false)", "", ""},
	{"select set_config('search_path', 'pg_temp', false)", "st", "search_path"},
	{"select set_config('search_path', 'pg_temp', true)", "t", ""},
	{"select set_config(setting_name => 'a', new_value => 'b', is_local => true)", "?", ""},
	{"select set_config(is_local => false, setting_name => 'a', new_value => true)", "?", ""},
	{"select set_config('a', is_local => false, new_value => true)", "s", "a"},
	{"select set_config('a')", "?", ""},
	{"select set_config('a', 'b'), true", "s", "a"},
	{"select set_config('a', set_config('b', 'c', false), true)", "s", "b"},
	{"select set_config('a', set_config('b', 'c', true), false)", "s", "a"},
	{"select 'set_config(''x'')'", "", ""},
	{"select 1 /* set_config('a', 'b', false) */ -- set_config('a', 'b', false)", "", ""},
	{"select set_config, \"set_config\" from t", "", ""},
	{"select set_configs('a', 'b', false), reset_config('a', 'b', false)", "", ""},
	{"insert into set_config (a, b) values (1, 2)", "?", ""},
	{"call set_config('a', 'b', false)", "s", "a"},
	{"copy (select set_config('a', 'b', false)) to stdout", "s", "a"},
	{"with a as (select set_config('a', 'b', false)) update t set x = 1", "s", "a"},
	{"explain analyze select set_config('a', 'b', false)", "s", "a"},
	{"explain (analyze, costs off) select set_config('a', 'b', false)", "s", "a"},
	{"prepare p as select set_config('a', 'b', false)", "sp", "a"},
	{"declare c cursor for select set_config('a', 'b', false)", "s", "a"},
	{"select 1; select set_config('a', 'b', false); set c = 1", "s", "a c"},
	{"select (1::bigint).pg_advisory_lock", "k", ""},
	{"select $1.pg_advisory_lock, (t).a.\"nextval\" from t", "kn", ""},
	{"select t.pg_advisory_lock, (t).a, a[1].b from t", "", ""},
	{"select treat(1::bigint as pg_advisory_lock)", "?", ""},
	{"select setval('a', 1), set_config('a', 'b', false)", "sn", "a"},
	{"select set_config('a', 'b', false", "s?", "a"},
	{"select set_config('a', 'b", "s?", "a"},
};

static const struct leaves_case other_cases[] = {
	/* temporary things */
	{"create temp table t (a int)", "t", ""},
	{"create local temporary table t (a int)", "t", ""},
	{"select 1 into TEMP x", "t", ""},
	{"select 1 into temporary x", "t", ""},
	{"create table pg_temp.t (a int)", "t", ""},
	{"create table \"pg_temp\".t (a int)", "t", ""},
	{"create table pg_temp_3.t (a int)", "t", ""},
	{"create table \"pg_temp_31\".t (a int)", "t", ""},
	{"create view PG_TEMP.v as select 1", "t", ""},
	{"select temp from t", "t", ""},
	{"select \"temp\", \"temporary\", 'temp', 'pg_temp' from t", "", ""},
	{"select pg_temp_, pg_temp_x, pg_temp_3x, xpg_temp, pg_tempo, temps, temporar from t",
	 "", ""},
	{"select \"pg_temp_\", \"pg_temp_x\" from t -- temp", "", ""},
	{"select t.temperature, pg_typeof(1), template from t", "", ""},
	/* cursors */
	{"declare c cursor with hold for select 1", "h", ""},
	{"declare c scroll cursor with /**/ hold for select 1", "h", ""},
	{"declare c cursor without hold for select 1", "", ""},
	{"declare c cursor for select 1", "", ""},
	{"declare c cursor for select 1; select 1 from a with hold", "", ""},
	{"select 'declare c cursor with hold'", "", ""},
	{"select 1; declare c cursor with hold for select 1", "h", ""},
	{"close c", "e", ""},
	/* locks */
	{"select pg_advisory_lock(1)", "k", ""},
	{"select pg_advisory_lock_shared(1, 2)", "k", ""},
	{"select pg_catalog.pg_try_advisory_lock(1)", "k", ""},
	{"select \"pg_try_advisory_lock_shared\"(1)", "k", ""},
	{"select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)", "", ""},
	{"select pg_advisory_lock from t", "", ""},
	{"select pg_advisory_unlock(1)", "e", ""},
	{"select pg_advisory_unlock_shared(1)", "e", ""},
	{"select pg_advisory_unlock_all()", "e", ""},
	{"select pg_advisory_lock(1); select pg_advisory_unlock(1)", "ke", ""},
	/* prepared statements, and the rest of the verbs */
	{"prepare p as select 1", "p", ""},
	{"prepare p (int) as update t set a = $1", "p", ""},
	{"prepare p as select pg_advisory_lock(1)", "kp", ""},
	{"prepare transaction as select 1", "p", ""},
	{"execute p(1)", "x", ""},
	{"explain execute p", "x", ""},
	{"explain (analyze, verbose) execute p(1)", "x", ""},
	{"explain analyze verbose execute p(1)", "x", ""},
	{"create table t as execute p(1)", "x", ""},
	{"explain (costs off) select explain execute from t", "", ""},
	{"explain create table t as execute p(1)", "x", ""},
	{"grant execute on function f to r", "", ""},
	{"create trigger x after insert on t for each row execute function f()", "", ""},
	{"deallocate p", "e", ""},
	{"deallocate all; listen a; unlisten *", "le", ""},
	{"load 'x'", "L", ""},
	{"listen a", "l", ""},
	{"drop table t", "e", ""},
	{"select 1; LISTEN a; select 2", "l", ""},
	{"select listen, load, prepare from t", "", ""},
	/* calls */
	{"select currval('a')", "q", ""},
	{"select lastval()", "q", ""},
	{"select pg_catalog.NextVal('a')", "n", ""},
	{"insert into t values (nextval('a')); select \"setval\"('a', 1), currval('a')", "qn", ""},
	{"do $$begin perform nextval('a'); end$$", "n", ""},
	{"insert into t values (CURRVAL('a'))", "q", ""},
	{"select currval, lastval from t", "", ""},
	{"select dblink_connect('a', 'b')", "o", ""},
	{"select dblink_connect_u('a', 'b')", "o", ""},
	{"select dblink_open('a', 'b')", "o", ""},
	{"select dblink('a', 'b'), dblink_exec('a'), dblink_opens('a')", "", ""},
	{"select pg_backup_start('a')", "o", ""},
	{"select pg_start_backup('a')", "o", ""},
	{"select pg_replication_origin_session_setup('a')", "o", ""},
	{"select pg_create_logical_replication_slot('a', 'b', true)", "o", ""},
	{"select pg_create_physical_replication_slot('a')", "o", ""},
	{"select pg_copy_logical_replication_slot('a', 'b')", "o", ""},
	{"select pg_copy_physical_replication_slot('a', 'b')", "o", ""},
	{"select U&\"\\0061\"(1)", "?", ""},
	/* a SET in disguise */
	{"update pg_settings set setting = 'a' where name = 'b'", "?", ""},
	{"UPDATE ONLY (pg_catalog . \"pg_settings\") as s set setting = 1", "?", ""},
	{"with a as (update pg_settings set setting = 1 returning *) select 1", "?", ""},
	{"select 1; update Pg_Settings set setting = 1", "?", ""},
	{"select setting from pg_settings where name = 'a'", "", ""},
	{"select 1 from pg_settings s, t for update of t; select 1 from pg_settings", "", ""},
	{"update t set a = 1; select setting from pg_catalog.pg_settings", "", ""},
	{"update pg_settingz set a = 'pg_settings'", "", ""},
	{"select query_to_xml('select set_config(''a'', ''b'', false)', true, true, '')", "?", ""},
	{"select query_to_xml_and_xmlschema('x', true, true, '')", "?", ""},
	{"select * from ts_stat('x'), pg_catalog.ts_rewrite('a', 'b')", "?", ""},
	{"select ts_headline('x'), ts_rank(a, b), to_tsquery('x')", "", ""},
	/* not understood */
	{"select 'a", "?", ""},
	{"select (1", "?", ""},
	{"set x = 1; select 'a", "s?", "x"},
	{"create function f() returns int begin atomic select 1; end", "?", ""},
	{"select 1 \\ 2", "?", ""},
};

static const struct leaves_case do_cases[] = {
	{"do $$begin update pg_settings set setting = 1; end$$", "s?", "setting"},
	{"do $$begin execute 'update pg_catalog.pg_settings set setting = 1'; end$$",
	 "s?", "setting"},
	{"do $$begin perform setting from pg_settings; end$$", "", ""},
	{"do $$begin null; end$$", "", ""},
	{"do language plpgsql $$begin null; end$$", "", ""},
	{"do $$begin null; end$$ language 'plpgsql'", "", ""},
	{"do $$begin null; end$$ language plpython3u", "?", ""},
	{"do", "?", ""},
	{"do x", "?", ""},
	{"do $1", "?", ""},
	{"do e'begin \\n end'", "?", ""},
	{"do e'begin null; end'", "", ""},
	{"do u&'begin null; end'", "?", ""},
	{"do 'begin '\n'set x = 1; end'", "?", ""},
	{"do $$begin set x = 1; end$$", "s", "x"},
	{"do 'begin set x = 1; end'", "s", "x"},
	{"select 1; do $$begin set x = 1; end$$; set y = 1", "s", "x y"},
	{"do $$begin if a then set x = 1; else reset y; end if; end$$", "s", "x -y"},
	{"do $$begin set local x = 1; perform set_config('y', 'a', true); end$$", "", ""},
	{"do $$begin perform set_config('y', 'a', false); end$$", "s", "y"},
	{"do $$begin perform set_config(y, 'a', false); end$$", "?", ""},
	{"do $$begin perform (1::bigint).pg_advisory_lock; end$$", "k", ""},
	{"do $$begin perform (t).\"a\".\"pg_advisory_lock\"; end$$", "k", ""},
	{"do 'begin perform set_config(''y'', ''a'', false); end'", "s", "y"},
	{"do 'begin execute ''set x = ''''--''''''; perform ''--''; set y = 1; end'", "s", "x y"},
	{"do $$begin execute 'set x = 1'; end$$", "s", "x"},
	{"do $$begin execute 'set x to ''a'''; end$$", "s", "x"},
	{"do $$begin execute format('set x = %L', a); end$$", "s", "x"},
	{"do $$begin execute 'set x = ' || quote_literal(a); end$$", "s", "x"},
	{"do $$begin execute 'set ' || a || ' = 1'; end$$", "?", ""},
	{"do $$begin execute 'set my' || a || ' = 1'; end$$", "?", ""},
	{"do $$begin execute format('set %I = 1', a); end$$", "?", ""},
	{"do $$begin execute format('%s', a); end$$", "?", ""},
	{"do $$begin execute 'se' || 't x = 1'; end$$", "?", ""},
	{"do $$begin execute format('list%s', 'en a'); end$$", "?", ""},
	{"do $$begin execute 'select set_con' || 'fig(''a'', ''b'', false)'; end$$", "?", ""},
	{"do $$begin execute format('select s%s', 'et_config(1)'); end$$", "?", ""},
	{"do $$begin execute 'select pg_' || 'advisory_lock(1)'; end$$", "?", ""},
	{"do $$begin execute 'create te' || 'mp table t()'; end$$", "?", ""},
	{"do $$begin execute 'create table a_' || b || '_c (d int)'; end$$", "", ""},
	{"do $$begin execute a; end$$", "?", ""},
	{"do $$begin execute 'reset x'; end$$", "s", "-x"},
	{"do $$begin execute 'reset my' || '.x'; end$$", "?", ""},
	{"do $$begin execute 'reset all'; end$$", "A", ""},
	{"do $$begin execute 'set local' || '.x = 1'; end$$", "?", ""},
	{"do $$begin execute 'set role ' || a; end$$", "s?", "role"},
	{"do $$begin execute 'set role a'; end$$", "s", "role"},
	{"do $$begin execute 'alter table ' || a || ' add b int'; end$$", "", ""},
	{"do $$begin execute 'select ' || a; end$$", "", ""},
	{"do $$begin execute 'execute p'; end$$", "?x", ""},
	{"do $$begin execute 'prepare p as select 1'; end$$", "p", ""},
	{"do $$begin execute 'listen a'; load 'b'; execute 'discard all'; end$$", "AlLe", ""},
	{"do $$begin create temp table t (a int); drop table t; end$$", "te", ""},
	{"do $$begin perform pg_advisory_lock(1); perform currval('a'); end$$", "kq", ""},
	{"do $$begin perform dblink_connect('a'); end$$", "o", ""},
	{"do $$begin update t set a = 1; end$$", "s", "a"},
	{"do $$begin update t set (a, b) = (1, 2); alter table t alter a set not null; end$$",
	 "", ""},
	{"do $$begin raise notice 'it''s 12a done'; end$$", "", ""},
	{"do $$begin raise notice 'don''t set it'; end$$", "?", ""},
	{"do $$begin perform '6ba7b810-9dad-11d1'; end$$", "", ""},
	{"do $$begin perform e'a\\n'; end$$", "?", ""},
	{"do $$begin grant execute on function f to r; end$$", "", ""},
	{"do $$begin create trigger a before insert on b for each row execute function f.g(); end$$",
	 "", ""},
	{"do $$begin execute function using (a); end$$", "?", ""},
	{"do $$begin create function f() returns int language sql as 'select 1'; end$$", "", ""},
	{"do $$begin execute 'do language plperl $x$ a $x$'; end$$", "?", ""},
	{"do $$begin execute 'do $x$begin set y = 1; end$x$'; end$$", "s", "y"},
	{"do $a$begin execute $b$do $c$begin execute $d$select 1$d$; end$c$;$b$; end$a$", "?x", ""},
	{"do $$begin -- set x = 1\n /* set y = 1 */ null; end$$", "", ""},
	{"do $$ <<set>> begin set x = 1; end$$", "s?", "x"},
	{"do $$begin 'a; end$$", "?", ""},
	{"do $$declare c cursor for select 1; begin open c; close c; end$$", "e", ""},
	{"do $$begin execute 'declare c cursor with hold for select 1'; end$$", "h", ""},
	{"do $$begin set U&\"\\0061\" = 1; end$$", "?", ""},
	{"select $$begin set x = 1; end$$", "", ""},
};

/* ---- checks ---- */

static void print_bits(uint16_t leaves, char *out)
{
	size_t i, n = 0;

	for (i = 0; i < sizeof(letters) - 1; i++)
		if (leaves >> i & 1)
			out[n++] = letters[i];
	out[n] = 0;
}

static void note(void *arg, const char *name, bool reset)
{
	char *out = arg;
	size_t n = strlen(out);

	assert_true(*name != 0);
	snprintf(out + n, 1024 - n, "%s%s%s", n > 0 ? " " : "", reset ? "-" : "", name);
}

static void check(const struct leaves_case *c, const struct lex_lists *lists)
{
	size_t len = strlen(c->sql);
	char *sql = malloc(len > 0 ? len : 1), bits[32], names[1024] = "";
	struct lex_class k;

	assert_non_null(sql);
	memcpy(sql, c->sql, len); /* ends where its allocation ends */
	lex_classify(sql, len, lists, &k);
	lex_settings(sql, len, note, names);
	free(sql);
	print_bits(k.leaves, bits);
	if (strcmp(bits, c->bits) != 0 || strcmp(names, c->names) != 0)
		print_error("text: %s\nbits %s want %s, names %s want %s\n", c->sql, bits, c->bits,
			    names, c->names);
	assert_string_equal(bits, c->bits);
	assert_string_equal(names, c->names);
	assert_true(k.sure || (k.leaves & LEAVES_UNKNOWN));
}

static void check_all(const struct leaves_case *c, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		check(&c[i], NULL);
}

static void test_plain(void **state)
{
	(void)state;
	check_all(plain_cases, COUNT(plain_cases));
}

static void test_set(void **state)
{
	(void)state;
	check_all(set_cases, COUNT(set_cases));
}

static void test_config(void **state)
{
	(void)state;
	check_all(config_cases, COUNT(config_cases));
}

static void test_other(void **state)
{
	(void)state;
	check_all(other_cases, COUNT(other_cases));
}

static void test_do(void **state)
{
	(void)state;
	check_all(do_cases, COUNT(do_cases));
}

static void test_lists(void **state)
{
	static const char *const leave[] = {"my_state", "ext_*", N63, NULL};
	static const struct leaves_case cases[] = {
		{"select my_state(1)", "o", ""},
		{"select x.MY_STATE (1)", "o", ""},
		{"call \"my_state\"(1)", "o", ""},
		{"select my_states(1), ext(1), my_state, 'my_state(1)'", "", ""},
		{"select ext_(1)", "o", ""},
		{"select ext_anything(1)", "o", ""},
		{"select " N63 "(1)", "o", ""},
		{"select " N64 "(1)", "o", ""}, /* cut by the server */
		{"select dblink_open(1)", "o", ""},
		{"do $$begin perform my_state(1); end$$", "o", ""},
		{"do $$begin raise notice 'it''s my_state 1a'; end$$", "?", ""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		check(&cases[i], &(struct lex_lists){.leave = leave});
}

static uint16_t leaves_of(const char *a, const char *b)
{
	struct lex_class k;
	char text[2048];
	int n = snprintf(text, sizeof(text), "%s\n;%s", a, b);

	lex_classify(text, (size_t)n, NULL, &k);
	return k.leaves;
}

/* One text behind the other leaves what both leave. */
static void check_pairs(const struct leaves_case *c, size_t n)
{
	static const char *const others[] = {"select 1", "listen a", "explain execute p",
					     "drop table t", "declare c cursor for select 1"};
	uint16_t both;
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < COUNT(others); j++) {
			if (strchr(c[i].bits, '?') != NULL) /* it may swallow the other */
				continue;
			both = leaves_of(c[i].sql, "") | leaves_of(others[j], "");
			if (both != leaves_of(others[j], c[i].sql))
				print_error("text: %s\n", c[i].sql);
			assert_int_equal(leaves_of(others[j], c[i].sql), both);
			assert_int_equal(leaves_of(c[i].sql, others[j]), both);
		}
}

static void test_pairs(void **state)
{
	(void)state;
	check_pairs(plain_cases, COUNT(plain_cases));
	check_pairs(set_cases, COUNT(set_cases));
	check_pairs(config_cases, COUNT(config_cases));
	check_pairs(other_cases, COUNT(other_cases));
	check_pairs(do_cases, COUNT(do_cases));
}

static void count(void *arg, const char *name, bool reset)
{
	(void)reset;
	assert_true(*name != 0 && strlen(name) <= 200);
	++*(size_t *)arg;
}

/* A text cut anywhere: bits and names agree. */
static void check_prefixes(const struct leaves_case *c)
{
	size_t n, names, len = strlen(c->sql);
	struct lex_class k;
	char *sql;

	for (n = 0; n <= len; n++) {
		sql = malloc(n > 0 ? n : 1);
		assert_non_null(sql);
		memcpy(sql, c->sql, n);
		names = 0;
		lex_classify(sql, n, NULL, &k);
		lex_settings(sql, n, count, &names);
		free(sql);
		if (names == 0)
			assert_true(!(k.leaves & LEAVES_SETTING) || (k.leaves & LEAVES_UNKNOWN));
		else
			assert_true(k.leaves & LEAVES_SETTING);
	}
}

static void test_prefixes(void **state)
{
	static const struct {
		const struct leaves_case *c;
		size_t n;
	} all[] = {{plain_cases, COUNT(plain_cases)},
		   {set_cases, COUNT(set_cases)},
		   {config_cases, COUNT(config_cases)},
		   {other_cases, COUNT(other_cases)},
		   {do_cases, COUNT(do_cases)}};
	size_t i, j;

	(void)state;
	for (i = 0; i < COUNT(all); i++)
		for (j = 0; j < all[i].n; j++)
			check_prefixes(&all[i].c[j]);
}

/* Megabytes that ask for the same look ahead again and again. */
static void test_depth(void **state)
{
	static const char *const units[] = {
		"set_config(", "set ",     "set.",      "set a.set.", "declare ",  "execute ",
		"execute(",    "explain ", "explain (", "reset ",     "''",        "'a'",
		"$a$b$a$",     "do ",      "language ", "prepare as ", "set_config(/* */'a'::",
		"'",           "\"a\"",    "pg_temp_1", "with hold ", "set session ", "; set"};
	static const char *const before[] = {"", "set ", "do $$", "do '", "prepare p as ",
					     "do $$ execute 'do $x$"};
	const size_t len = 1 << 18;
	char *sql = malloc(len);
	size_t i, j, n, b, at, names;
	struct lex_class k;

	(void)state;
	assert_non_null(sql);
	for (i = 0; i < COUNT(units); i++)
		for (j = 0; j < COUNT(before); j++) {
			b = strlen(before[j]);
			n = strlen(units[i]);
			memcpy(sql, before[j], b);
			for (at = b; at < len; at++)
				sql[at] = units[i][(at - b) % n];
			if (j > 1) /* closed, so that it is read at all */
				memcpy(sql + len - 8, j == 3 ? "'       " : "$x$'; $$", 8);
			names = 0;
			lex_classify(sql, len, NULL, &k);
			lex_settings(sql, len, count, &names);
		}
	free(sql);
}

/* Gone with its transaction, when it is alone in its text. */
static void test_on_commit_drop(void **state)
{
	static const struct {
		const char *sql;
		unsigned leaves;
	} cases[] = {
		{"CREATE TEMP TABLE t (x int) ON COMMIT DROP", 0},
		{"create temporary table t on /* */ commit drop as select 1;", 0},
		{"CREATE TEMP TABLE t (x int) ON COMMIT DELETE ROWS", LEAVES_TEMP},
		{"CREATE TEMP TABLE t AS SELECT 'ON COMMIT DROP'", LEAVES_TEMP},
		{"CREATE TEMP TABLE t (x int) ON COMMIT DROP; SELECT 1", LEAVES_TEMP},
		{"SELECT 1 AS temp ON COMMIT DROP", LEAVES_TEMP},
	};
	struct lex_class c;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		lex_classify(cases[i].sql, strlen(cases[i].sql), NULL, &c);
		if (c.leaves != cases[i].leaves)
			fail_msg("%s: %x", cases[i].sql, c.leaves);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain), cmocka_unit_test(test_set),
		cmocka_unit_test(test_config), cmocka_unit_test(test_other),
		cmocka_unit_test(test_do), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_pairs), cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_on_commit_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
