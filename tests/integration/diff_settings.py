"""Differential scripts: settings, in every way of setting and unsetting them.

SPDX-License-Identifier: ISC
"""
from diff import Script, anew, q, say, x
from wire import bind, execute, extended, flush, parse, query, sync

# name: (a value, another, a value that is refused, what shows its effect)
PARAMETERS = {
    'DateStyle': ('German', 'SQL, DMY', 'nonsense', "SELECT '2021-03-04'::date"),
    'TimeZone': ('Asia/Tokyo', 'America/New_York', 'Nowhere/None', "SELECT '2021-03-04 05:06:07+00'::timestamptz"),
    'IntervalStyle': ('iso_8601', 'sql_standard', 'none', "SELECT '1 day 2 hours'::interval"),
    'client_encoding': ('LATIN1', 'SQL_ASCII', 'EBCDIC', "SELECT 'x'"),
    'application_name': ('me', 'you', None, 'SHOW application_name'),
    'standard_conforming_strings': ('off', 'on', 'maybe', "SELECT 'a\\\\b'"),
    'default_transaction_read_only': ('on', 'off', 'maybe', 'SHOW transaction_read_only'),
    'search_path': ('app, pg_catalog', 'pg_catalog', None, 'SELECT current_schemas(false)'),
    'extra_float_digits': ('-3', '0', '99', 'SELECT 1::float8 / 3'),
    'bytea_output': ('escape', 'hex', 'octal', "SELECT '\\x0102'::bytea"),
    'work_mem': ('77kB', '99kB', 'lots', 'SHOW work_mem'),
    'statement_timeout': ('7s', '8s', '-2', 'SHOW statement_timeout'),
    'lock_timeout': ('7s', '8s', 'x', 'SHOW lock_timeout'),
    'enable_seqscan': ('off', 'on', 'x', 'EXPLAIN (COSTS off) SELECT * FROM ten WHERE i = 1'),
    'default_transaction_isolation': ('serializable', 'repeatable read', 'x', 'SHOW transaction_isolation'),
    'client_min_messages': ('error', 'debug1', 'x', "DO $$BEGIN RAISE NOTICE 'n'; END$$"),
    'my.var': ('mine', 'it''s', None, "SELECT nullif(current_setting('my.var', true), '')"),
    'role': ('diff_role', 'none', 'nosuchrole', 'SELECT current_user, session_user'),
    'plan_cache_mode': ('force_generic_plan', 'force_custom_plan', 'x', 'SHOW plan_cache_mode'),
    'xmloption': ('document', 'content', 'x', 'SHOW xmloption'),
    'synchronous_commit': ('off', 'local', 'x', 'SHOW synchronous_commit'),
    'array_nulls': ('off', 'on', 'x', "SELECT '{NULL}'::text[]"),
    'idle_in_transaction_session_timeout': ('9s', '0', 'x', 'SHOW idle_in_transaction_session_timeout'),
}


def assign(p, value, word='SET'):
    return "%s %s = %s" % (word, p, value if p == 'search_path' else "'%s'" % value.replace("'", "''"))


def ways(p, a, b, bad, look):
    """name: (startup, steps)"""
    # a server forgets no name of this kind: to it, never set and set to '' are two things
    show = q(look if p == 'my.var' else 'SHOW %s' % p, look)
    seta, setb, reset = q(assign(p, a)), q(assign(p, b)), q('RESET %s' % p)
    yield 'set, reset', {}, [seta, show, setb, show, reset, show]
    yield 'set to default', {}, [seta, q('SET %s TO DEFAULT' % p), show]
    yield 'in one write', {}, [say(seta.data, show.data, setb.data, show.data, reset.data, show.data)]
    yield 'in one query', {}, [q('%s; %s; %s; %s' % (assign(p, a), look, assign(p, b), look)), show]
    yield 'local', {}, [q('BEGIN', assign(p, a, 'SET LOCAL')), show, q('COMMIT'), show]
    yield 'committed', {}, [q('BEGIN', assign(p, a)), show, q('COMMIT'), show]
    yield 'rolled back', {}, [setb, q('BEGIN', assign(p, a)), show, q('ROLLBACK'), show]
    yield 'rolled back by an error', {}, [q('BEGIN', assign(p, a), 'SELECT 1/0', 'COMMIT'), show]
    yield 'rolled back to a savepoint', {}, [q('BEGIN', assign(p, a), 'SAVEPOINT s', assign(p, b)), show,
                                             q('ROLLBACK TO s'), show,
                                             q('COMMIT'), show]
    yield 'implicitly rolled back', {}, [setb, q('%s; SELECT 1/0' % assign(p, a)), show]
    yield 'reset rolled back', {}, [seta, q('BEGIN', 'RESET ALL', 'ROLLBACK'), show]
    yield 'reset all', {}, [seta, q('RESET ALL'), show]
    yield 'discard all', {}, [seta, q('DISCARD ALL'), show]
    text = a.replace("'", "''")
    yield 'set_config', {}, [q("SELECT set_config('%s', '%s', false)" % (p, text)), show,
                             q("SELECT set_config('%s', NULL, false)" % p), show]
    yield 'set_config, local', {}, [q('BEGIN', "SELECT set_config('%s', '%s', true)" % (p, text)), show, q('COMMIT'),
                                    show]
    yield 'set_config by a parameter', {}, [x(parse('SELECT set_config($1, $2, false)'), bind([p, a]), execute()), show]
    yield 'extended', {}, [x(extended(assign(p, a))), x(extended(look)), x(extended('RESET %s' % p)), x(extended(look))]
    yield 'extended, one batch', {}, [x(extended(assign(p, a)), extended('SHOW %s' % p), extended(look)), show]
    yield 'extended, then an error', {}, [x(extended(assign(p, a)), extended('SELECT 1/0')), show]
    yield 'prepared', {}, [x(parse(assign(p, a), 's1'), parse('RESET %s' % p, 's2')), x(bind([], 's1'), execute()),
                           show,
                           x(bind([], 's2'), execute()), show]
    if bad:
        yield 'refused', {}, [seta, q(assign(p, bad)), show]
    if p == 'role':
        return
    start = {p: a}
    yield 'at startup', start, [show, setb, show, reset, show, setb, q('RESET ALL'), show, setb, q('DISCARD ALL'), show]
    yield 'at startup, rolled back', start, [q('BEGIN', assign(p, b), 'ROLLBACK'), show]
    yield 'by options', {'options': '-c %s=%s' % (p, a.replace(' ', '\\ '))}, [show, setb, show, q('RESET %s' % p),
            show]


def function_body(p, a, look):
    """Where no text of the client's says it: only for what the server reports."""
    return Script('%s: set inside DO' % p, q("DO $$BEGIN PERFORM set_config('%s', '%s', false); END$$" % (p, a)),
                  q(look), q('RESET ' + p))


# Each way for one of each kind; for the rest, what differs by the parameter.
EACH_WAY = ('DateStyle', 'application_name', 'default_transaction_read_only', 'search_path', 'work_mem', 'my.var',
            'role')
SOME_WAYS = ('set, reset', 'rolled back', 'refused', 'at startup')

SCRIPTS = []
for p, v in PARAMETERS.items():
    setup = '' if p == 'search_path' else None
    for way, startup, steps in ways(p, *v):
        if p not in EACH_WAY and way not in SOME_WAYS:
            continue
        SCRIPTS.append(Script('%s: %s' % (p, way), *steps, startup=startup, setup=setup))
for p in ('DateStyle', 'TimeZone', 'application_name', 'default_transaction_read_only'):
    SCRIPTS.append(function_body(p, PARAMETERS[p][0], PARAMETERS[p][3]))

SPELLINGS = [
    'SET TIME ZONE \'Asia/Tokyo\'', 'SET TIME ZONE LOCAL', 'SET TIME ZONE DEFAULT',
    "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    'SET TIME ZONE -7', "SET SESSION TIME ZONE 'UTC'", "SET NAMES 'LATIN1'", 'SET NAMES DEFAULT',
    "SET SCHEMA 'pg_catalog'",
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE', 'SET SESSION ROLE diff_role',
    'SET LOCAL ROLE diff_role',
    'SET ROLE "diff_role"', "SET ROLE 'diff_role'", 'SET ROLE nosuch', 'SET SESSION AUTHORIZATION app',
    'SET SESSION AUTHORIZATION DEFAULT',
    'SET SESSION AUTHORIZATION other', 'SET XML OPTION DOCUMENT', "SET SESSION work_mem TO '99kB'",
    'set WORK_MEM to 100', 'SET work_mem = 64.5',
    "SET search_path TO app, \"Odd name\", 'pg_catalog'", "SET search_path = ''", 'SET search_path = "$user"',
    'SET datestyle TO iso, dmy',
    "SET DateStyle = 'ISO'; SET DateStyle = 'DMY'", "/* c */ SET -- c\n work_mem /* c */ = /* c */ '88kB' -- c",
    'SET work_mem',
    "SET my.a = 'x'; SET my.b = 'y'; SET MY.A = 'z'", 'SET my."quoted Name" = 1', 'SET a.b.c = 1', 'SET "my.var" = 1',
    'SET my.list = a, b',
    "SET my.empty = ''", "SET my.backslash = 'a\\b''c'", "SET my.unicode = 'Grüße'", "SET my.e = E'tab\\there'",
    'SET my.d = $$dollar$$',
    "SET my.long = '%s'" % ('v' * 5000), 'SET server_version = 1', 'SET shared_buffers = 1',
    'SET log_connections = on', 'SET nosuch.thing = 1',
    'RESET work_mem', 'RESET TIME ZONE', 'RESET SESSION AUTHORIZATION', 'RESET ROLE', 'RESET server_version',
    'RESET my.never', 'SET enable_seqscan TO off; SET enable_seqscan TO on', 'SET "TimeZone" = \'Asia/Tokyo\'',
    "SELECT set_config('work_mem', '66kB', false), set_config('my.x', 'y', false)",
    "SELECT set_config('nosuch', '1', false)",
    "SELECT set_config('work_mem', i || 'MB', false) FROM ten",
    "WITH a AS (SELECT set_config('my.cte', 'in', false) v) SELECT v FROM a",
    "SELECT pg_catalog.set_config('my.q', 'q', false)", 'SELECT "set_config"(\'my.q\', \'r\', false)',
    "UPDATE pg_settings SET setting = '55' WHERE name = 'work_mem'", "SELECT set_config('my.' || 'made', 'up', false)",
    "EXPLAIN SELECT set_config('my.ex', 'x', false) WHERE false", "SET LOCAL my.l = 'x'; SHOW my.l", "SET seed TO 0.5",
    "BEGIN; SET LOCAL work_mem = '70kB'; SET work_mem = '71kB'; COMMIT",
    "BEGIN; SET work_mem = '71kB'; SET LOCAL work_mem = '70kB'; COMMIT",
    "BEGIN; SET work_mem = '71kB'; COMMIT; SELECT 1/0", "SET work_mem = '71kB'; BEGIN; SELECT 1/0",
    "SET work_mem = '71kB'; COMMIT; SELECT 1/0",
    "BEGIN; SET work_mem = '71kB'; COMMIT AND CHAIN; SET work_mem = '72kB'; ROLLBACK",
    "BEGIN; SET work_mem = '71kB'; SAVEPOINT a; SET work_mem = '72kB'; RELEASE a; COMMIT",
    "BEGIN; SET work_mem = '71kB'; SAVEPOINT a; SELECT 1/0; ROLLBACK TO a; COMMIT",
]
ALL = ('SELECT name, setting FROM pg_settings WHERE name IN (\'TimeZone\', \'DateStyle\', \'work_mem\', \'search_path\', \'role\', '
       '\'client_encoding\', \'xmloption\', \'enable_seqscan\', \'default_transaction_read_only\', \'default_transaction_isolation\', '
       '\'default_transaction_deferrable\', \'session_authorization\') ORDER BY name')
CUSTOM = "SELECT n, nullif(current_setting('my.' || n, true), '') FROM unnest(ARRAY['a','b','quoted Name','list','empty','backslash','unicode','e','d'," \
         "'long','x','cte','q','made','ex','l','never']) n"
CHECK = q(ALL, CUSTOM, 'SELECT current_user, session_user')
SCRIPTS += [Script('setting: %s' % s[:70].replace('\n', ' '), q(s, 'ROLLBACK') if 'BEGIN' in s else q(s), CHECK,
                   x(extended('SHOW work_mem')),
                   q('RESET ALL', 'RESET ROLE'), CHECK) for s in SPELLINGS]

MANY = q(*["SET my.p%d = '%s'" % (i, 'v%d' % i) for i in range(100)])
SCRIPTS += [
    Script('settings: a hundred', MANY, q(*["SHOW my.p%d" % i for i in range(100)])),
    Script('settings: a hundred in one query', q('; '.join("SET my.p%d = 'w'" % i for i in range(100))),
           q(*["SHOW my.p%d" % i for i in range(100)])),
    Script('settings: a value of 100 kB', q("SET my.big = '%s'" % ('b' * 100000)),
           q("SELECT length(current_setting('my.big'))"), q('SELECT 1')),
    Script('settings: a timeout that strikes', q("SET statement_timeout = '20ms'"), q('SELECT pg_sleep(5)'),
           q('SELECT 1'),
           q('BEGIN', 'SELECT pg_sleep(5)', 'ROLLBACK'), q('RESET statement_timeout'), q('SELECT pg_sleep(0.03)')),
    Script('settings: a timeout that strikes, extended', x(extended("SET statement_timeout = '20ms'")),
           x(extended('SELECT pg_sleep(5)'),
               extended('SELECT 2')), q('SELECT 1')),
    Script('settings: a timeout at startup', q('SELECT pg_sleep(5)'),
           q('SET statement_timeout = 0', 'SELECT pg_sleep(0.03)', 'RESET ALL',
               'SELECT pg_sleep(5)'),
               startup={'options': '-c statement_timeout=20ms'}),
    Script('settings: a local timeout', q('BEGIN', "SET LOCAL statement_timeout = '20ms'", 'SELECT pg_sleep(5)',
                                          'ROLLBACK', 'SELECT pg_sleep(0.03)')),
    Script('settings: idle_session_timeout', q("SET idle_session_timeout = '10min'", 'SHOW idle_session_timeout')),
    Script('settings: role and rights', q('SET ROLE diff_role', 'CREATE TABLE app.no (i int)', 'RESET ROLE',
                                          'CREATE TABLE app.yes (i int)'), setup=''),
    Script('settings: role in a block that fails', q('BEGIN', 'SET ROLE diff_role', 'SELECT 1/0', 'ROLLBACK',
                                                     'SELECT current_user')),
    Script('settings: role, then discard all', q('SET ROLE diff_role', 'DISCARD ALL', 'SELECT current_user')),
    Script('settings: role, then reset all', q('SET ROLE diff_role', 'RESET ALL', 'SELECT current_user', 'RESET ROLE',
                                               'SELECT current_user')),
    Script('settings: role none', q('SET ROLE diff_role', 'SET ROLE NONE', 'SELECT current_user')),
    Script('settings: role at startup', q('SELECT current_user', 'RESET ROLE', 'SELECT current_user', 'SET ROLE NONE',
                                          'SELECT current_user', 'RESET ALL',
                                          'SELECT current_user', 'DISCARD ALL', 'SELECT current_user'),
                                          startup={'role': 'diff_role'}),
    Script('settings: authorization in a block', q('BEGIN', 'SET LOCAL SESSION AUTHORIZATION app', 'COMMIT')),
    Script('settings: search path finds another table', q('CREATE TABLE ten (mine text)', 'TABLE ten',
                                                          'SET search_path = public', 'TABLE ten LIMIT 1',
                                                          'RESET search_path', 'TABLE ten', 'SET search_path = nosuch',
                                                          'TABLE ten'), setup=''),
    Script('settings: search path and a prepared statement', q('CREATE TABLE ten (mine text)',
                                                               'SET search_path = public'),
           x(parse('TABLE ten', 's1')), x(bind([], 's1'), execute('', 1)), q('SET search_path = app'),
           anew('TABLE ten', x(bind([], 's1'), execute('', 1))), setup=''),
    Script('settings: search path at startup', q('SELECT current_schemas(false)'),
           x(parse('TABLE ten', 's1'), bind([], 's1'), execute('', 2)),
           startup={'search_path': 'public'}),
    Script('settings: between Parse and Bind', say(parse("SELECT '2021-03-04'::date::text"), flush(), wait='1'),
           x(extended("SET DateStyle = 'German'"),
               extended("SELECT '2021-03-04'::date"))),
    Script('settings: two in turn', *[q("SET DateStyle = '%s'" % s, "SELECT '2021-03-04'::date") for s in ('German',
            'ISO') * 10]),
    Script('settings: sixty units in one write', say(*[(query("SET DateStyle = 'German'"),
                                                        query("SELECT '2021-03-04'::date"),
                                                         extended('RESET DateStyle') + sync())[i % 3] for i in range(60)])),
    Script('settings: blocks in one write',
           say(*[query('BEGIN') + query("SET %s TimeZone = 'Asia/Tokyo'" % ('LOCAL' if i % 2 else 'SESSION'))
                                                   + query(('COMMIT',
                                                            'ROLLBACK')[i % 3 == 0]) + query('SHOW TimeZone') for i in range(20)])),
    Script('settings: reset all in one write', q("SET my.a = 1", 'SET work_mem = 100', 'RESET ALL', 'SHOW work_mem',
                                                 'SET work_mem = 200', 'DISCARD ALL',
                                                 'SHOW work_mem')),
    Script('settings: function with a SET clause',
           q("CREATE FUNCTION f() RETURNS text LANGUAGE sql SET work_mem = '123kB' AS "
                                                     "$$SELECT current_setting('work_mem')$$", 'SELECT f()',
                                                     'SHOW work_mem'), setup=''),
    Script('settings: of two clients', q("SET work_mem = '61kB'"), q("SET work_mem = '62kB'", conn='b'),
           q('SHOW work_mem'), q('SHOW work_mem', conn='b'),
           q('RESET ALL'), q('SHOW work_mem', conn='b'), q('SHOW work_mem'), q('SET my.v = 1', conn='b'),
           q("SELECT nullif(current_setting('my.v', true), '')"), q('SHOW my.v', conn='b')),
    Script('settings: reported, of two clients', q("SET TimeZone = 'Asia/Tokyo'"),
           q("SET DateStyle = 'German'", conn='b'), q('SHOW TimeZone'),
           q('SHOW TimeZone', 'SHOW DateStyle', conn='b'), q('SHOW DateStyle'), q('DISCARD ALL', conn='b'),
           q('SHOW TimeZone')),
    Script('settings: blocks of two clients', q('BEGIN', "SET work_mem = '61kB'"),
           q("SET work_mem = '62kB'", 'BEGIN', 'SHOW work_mem', conn='b'),
           q('ROLLBACK', 'SHOW work_mem'), q('COMMIT', 'SHOW work_mem', conn='b'), needs=2),
]
