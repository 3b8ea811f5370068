# tests/lexer/expect.py - what the lexer may say of a text, by PostgreSQL's parse tree.
#
# violations() takes the tree (libpg_query's JSON), the scanner's tokens and what the
# lexer said (facts.c) and returns what is wrong. The lexer may always say less than it
# could: a text that is not sure, not retryable, or leaves something unknown is never
# wrong for that. It must never say more.
#
# SPDX-License-Identifier: ISC
import os
import re
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# enum lex_leaves
SETTING, RESET_ALL, LISTEN, TEMP, HOLD, LOCK, PREPARE, LIBRARY, OBJECT, UNKNOWN, END, SEQUENCE, \
    EXECUTE, NEXTVAL = (1 << i for i in range(14))

CURSOR_OPT_HOLD = 0x20
NAME_MAX = 63

TRANSACTION = {'BEGIN': 'BEGIN', 'START': 'BEGIN', 'COMMIT': 'COMMIT', 'ROLLBACK': 'ROLLBACK',
               'SAVEPOINT': 'SAVEPOINT', 'RELEASE': 'RELEASE', 'ROLLBACK_TO': 'ROLLBACK_TO',
               'PREPARE': 'PREPARE_TRANSACTION', 'COMMIT_PREPARED': 'OTHER',
               'ROLLBACK_PREPARED': 'OTHER'}

# The verbs that a kind of statement may have; all others are OTHER.
VERBS = {
    'SelectStmt': {'SELECT', 'TABLE', 'VALUES', 'WITH'},
    'InsertStmt': {'INSERT', 'WITH'}, 'UpdateStmt': {'UPDATE', 'WITH'},
    'DeleteStmt': {'DELETE', 'WITH'}, 'MergeStmt': {'MERGE', 'WITH'},
    'VariableShowStmt': {'SHOW'}, 'ExplainStmt': {'EXPLAIN'},
    'ConstraintsSetStmt': {'SET_TRANSACTION'}, 'PrepareStmt': {'PREPARE'},
    'ExecuteStmt': {'EXECUTE'}, 'DeallocateStmt': {'DEALLOCATE'}, 'DiscardStmt': {'DISCARD'},
    'DeclareCursorStmt': {'DECLARE'}, 'FetchStmt': {'FETCH', 'MOVE'},
    'ClosePortalStmt': {'CLOSE'}, 'ListenStmt': {'LISTEN'}, 'UnlistenStmt': {'UNLISTEN'},
    'NotifyStmt': {'NOTIFY'}, 'CopyStmt': {'COPY'}, 'CallStmt': {'CALL'}, 'DoStmt': {'DO'},
    'LockStmt': {'LOCK'}, 'LoadStmt': {'LOAD'},
}

LISTED = {'SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'VariableShowStmt',
          'ExplainStmt'}
# Alone in a text, nothing of them is left when the session ends before they are complete.
WHOLE = {'VariableSetStmt', 'PrepareStmt', 'DiscardStmt', 'DeclareCursorStmt', 'DeallocateStmt',
         'FetchStmt', 'ClosePortalStmt', 'ListenStmt', 'UnlistenStmt', 'NotifyStmt', 'LockStmt',
         'ConstraintsSetStmt'}
SESSION = {'VariableShowStmt', 'VariableSetStmt', 'ConstraintsSetStmt', 'PrepareStmt',
           'DiscardStmt', 'DeallocateStmt', 'ClosePortalStmt', 'ListenStmt', 'UnlistenStmt'}
READS = {'SelectStmt', 'VariableShowStmt'}

# They end with their transaction whatever sets them (lexer.h), nobody keeps a seed.
FLEETING = {'transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'seed'}

# docs/retry.md: effects that a rollback does not undo. As the parser sees the names.
DENIED = re.compile(r'''^(setval|pg_advisory_(un)?lock.*|pg_try_advisory_lock.*|
    pg_logical_emit_message|pg_logical_slot_.*|pg_replication_origin_.*|pg_export_snapshot|
    pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile.*|pg_switch_wal|
    pg_create_restore_point|pg_promote|pg_backup_.*|pg_start_backup|pg_stop_backup|
    pg_wal_replay_.*|pg_stat_reset.*|pg_file_.*|pg_log_.*|dblink.*|lo_import|lo_export|http.*|
    query_to_xml.*|pg_.*replication_slot.*)$''', re.X)

CALLS = [('pg_advisory_lock', LOCK), ('pg_advisory_lock_shared', LOCK),
         ('pg_try_advisory_lock', LOCK), ('pg_try_advisory_lock_shared', LOCK),
         ('pg_advisory_unlock', END), ('pg_advisory_unlock_all', END),
         ('nextval', NEXTVAL), ('setval', NEXTVAL), ('currval', SEQUENCE), ('lastval', SEQUENCE),
         ('dblink_connect', OBJECT), ('dblink_open', OBJECT), ('pg_backup_start', OBJECT),
         ('query_to_xml', UNKNOWN), ('ts_stat', UNKNOWN), ('ts_rewrite', UNKNOWN)]
CALLS = dict(CALLS)

# What the grammar itself calls for LIKE ... ESCAPE, AT TIME ZONE and the like.
SYNTAX = {'like_escape', 'similar_to_escape', 'timezone'}


def harmless_names():
    """reads.c's list: whether it is right is not asked here, but that nothing else passes."""
    text = open(os.path.join(ROOT, 'proxy/wire/reads.c'), encoding='utf-8').read()
    body = re.search(r'harmless\[\] = \{(.*?)\};', text, re.S).group(1)
    names = set(re.findall(r'"(\w+)"', body))
    assert len(names) > 100
    return names


HARMLESS = harmless_names()


class Found:
    """What is in a tree, wherever it stands."""

    def __init__(self):
        self.statements = set()
        self.calls = []          # (names, node)
        self.fields = []         # (x).f may be f(x)
        self.locking = self.into = self.temp = False
        self.sample = self.settings_update = False

    def call(self, node):
        names = [n['String']['sval'] for n in node.get('funcname', []) if 'String' in n]
        self.calls.append((names, node))

    def node(self, key, value):
        if key.endswith('Stmt') and key[0].isupper():
            self.statements.add(key)
        if key in ('FuncCall', 'funccall'):
            self.call(value)
        elif key == 'lockingClause':
            self.locking = True
        elif key == 'intoClause' or key == 'into':
            self.into = True
        elif key == 'relpersistence' and value == 't':
            self.temp = True
        elif key == 'schemaname' and is_temp(value):
            self.temp = True
        elif key == 'RangeTableSample':
            self.sample = True
        elif key == 'A_Indirection':
            self.fields += [n['String']['sval'] for n in value['indirection'] if 'String' in n]
        elif key == 'UpdateStmt' and value.get('relation', {}).get('relname') == 'pg_settings':
            self.settings_update = True
        elif key in ('funcname', 'typeName', 'objname', 'domainname', 'defnames'):
            names = value.get('names', []) if isinstance(value, dict) else value
            if any(is_temp(n.get('String', {}).get('sval', '')) for n in names):
                self.temp = True

    def walk(self, tree):
        todo = [tree]
        while todo:
            x = todo.pop()
            if isinstance(x, dict):
                for key, value in x.items():
                    self.node(key, value)
                    if isinstance(value, (dict, list)):
                        todo.append(value)
            else:
                todo.extend(v for v in x if isinstance(v, (dict, list)))
        return self


def is_temp(name):
    return re.match(r'^pg_temp(_\d+)?$', name) is not None


def head(stmt):
    """(kind, fields) of one of the tree's statements."""
    (kind, fields), = stmt['stmt'].items()
    return kind, fields


def verbs_of(kind, f):
    if kind == 'TransactionStmt':
        return {TRANSACTION[f['kind'][len('TRANS_STMT_'):]]}
    if kind == 'VariableSetStmt':
        what, name = f['kind'], f.get('name', '')
        if what in ('VAR_RESET', 'VAR_RESET_ALL'):
            # RESET CLUSTER SETTING is CockroachDB's; PostgreSQL has no setting of that name
            return {'RESET', 'OTHER'} if name == 'cluster' else {'RESET'}
        if what == 'VAR_SET_MULTI':
            return {'OTHER'} if name == 'SESSION CHARACTERISTICS' else {'SET_TRANSACTION'}
        return {'SET_LOCAL'} if f.get('is_local') else {'SET'}
    return VERBS.get(kind, {'OTHER'})


def is_control(kind, f):
    return kind == 'TransactionStmt' and not f['kind'].endswith('_PREPARED')


def is_listed(kind, f):
    if kind == 'ExplainStmt':
        inner, = f['query']
        return inner in LISTED
    return kind in LISTED


# ---- what is left behind ----------------------------------------------------

def is_true(node):
    return node.get('A_Const', {}).get('boolval', {}).get('boolval') is True


def config_is_local(node):
    args = node.get('args', [])
    named = {a['NamedArgExpr']['name']: a['NamedArgExpr']['arg'] for a in args
             if 'NamedArgExpr' in a and 'arg' in a['NamedArgExpr']}
    if 'is_local' in named:
        return is_true(named['is_local'])
    return len(args) == 3 and is_true(args[2])


def settings_of(kind, f):
    """The settings that lex_settings() must name for a statement, in order."""
    if kind != 'VariableSetStmt' or f.get('is_local') and f['kind'] != 'VAR_SET_MULTI':
        return []
    what, name = f['kind'], f.get('name', '')
    if what == 'VAR_RESET_ALL':
        return []
    if what == 'VAR_SET_MULTI':
        if name != 'SESSION CHARACTERISTICS' or f.get('is_local'):
            return []
        return [('default_transaction_' + n, False) for n in ('isolation', 'read_only', 'deferrable')]
    if name.lower() in FLEETING:
        return []
    if what == 'VAR_RESET' and name == 'names':  # CockroachDB's; PostgreSQL has none
        name = 'client_encoding'
    return [(name, what in ('VAR_RESET', 'VAR_SET_DEFAULT'))]


def values_of(f):
    """The words and strings of SET x = ..."""
    for a in f.get('args', []):
        if 'A_Const' in a and 'sval' in a['A_Const']:
            yield a['A_Const']['sval'].get('sval', '')


def leaves_of(kind, f, found):
    """(bits that must be there or UNKNOWN, and why)."""
    if kind == 'ListenStmt':
        yield LISTEN, kind
    if kind == 'PrepareStmt':
        yield PREPARE, kind
    if kind == 'LoadStmt':
        yield LIBRARY, kind
    if kind in ('UnlistenStmt', 'DeallocateStmt', 'ClosePortalStmt', 'DropStmt', 'DiscardStmt'):
        yield END, kind
    if kind == 'DiscardStmt' and f['target'] == 'DISCARD_ALL' or \
            kind == 'VariableSetStmt' and f['kind'] == 'VAR_RESET_ALL':
        yield RESET_ALL, 'all settings are reset'
    if settings_of(kind, f):
        yield SETTING, 'a setting'
    if kind == 'VariableSetStmt' and f['kind'] == 'VAR_SET_VALUE' and any('pg_temp' in v for v in values_of(f)):
        yield TEMP, 'pg_temp in a setting'
    if kind == 'DeclareCursorStmt' and f['options'] & CURSOR_OPT_HOLD:
        yield HOLD, 'WITH HOLD'
    if 'ExecuteStmt' in found.statements:
        yield EXECUTE, 'EXECUTE'
    if found.temp:
        yield TEMP, 'something temporary'
    if found.settings_update:
        yield UNKNOWN, 'UPDATE pg_settings'
    for names, node in found.calls:
        if names[-1] == 'set_config' and not config_is_local(node):
            yield SETTING, 'set_config'
    for name in [names[-1] for names, _ in found.calls] + found.fields:
        if name in CALLS:
            yield CALLS[name], name


def drops_itself(stmts):
    if len(stmts) != 1:
        return False
    kind, f = head(stmts[0])
    return f.get('oncommit') == 'ONCOMMIT_DROP' or \
        f.get('into', {}).get('onCommit') == 'ONCOMMIT_DROP'


def check_leaves(v, stmts, says):
    if says.leaves & UNKNOWN:
        return
    if not says.sure:
        v.append('leaves: not sure, and not unknown')
    for s in stmts:
        kind, f = head(s)
        for bit, why in leaves_of(kind, f, Found().walk(s)):
            v.asked['leaves ' + why] += 1
            if bit == TEMP and drops_itself(stmts):
                continue
            if not says.leaves & bit:
                v.append(f'leaves: {why}, and {says.leaves:#x}')


def check_settings(v, stmts, whole, says):
    """The names, one by one."""
    if says.leaves & UNKNOWN or 'DoStmt' in whole.statements or \
            any(names[-1] == 'set_config' for names, _ in whole.calls):
        return
    want = [x for s in stmts for x in settings_of(*head(s))]
    v.asked['settings'] += len(want)
    # more than these costs a look at the server, and a word of CockroachDB's may be meant
    said = iter(says.settings)
    if not all(x in said for x in want) or len(stmts) == 1 and want and want != says.settings:
        v.append(f'settings: {want}, and {says.settings}')


# ---- what may be done -------------------------------------------------------

def check_reads(v, whole, says):
    if not says.reads:
        return
    v.asked['reads'] += 1
    other = whole.statements - READS
    if other:
        v.append(f'reads: {sorted(other)}')
    for what in ('locking', 'into', 'fields', 'sample'):
        if getattr(whole, what):
            v.append(f'reads: {what}')
    for names, node in whole.calls:
        syntax = node.get('funcformat') == 'COERCE_SQL_SYNTAX' or names[-1] in SYNTAX
        schema = names[:-1]
        if schema not in ([], ['pg_catalog']) or not (syntax or names[-1] in HARMLESS):
            v.append(f'reads: calls {".".join(names)}')


def check_may(v, stmts, whole, says):
    names = [n[-1] for n, _ in whole.calls] + whole.fields
    denied = [n for n in names if DENIED.match(n)]
    heads = [head(s) for s in stmts]
    listed = all(is_listed(*h) for h in heads)
    one = heads[0] if len(heads) == 1 else (None, None)
    if says.retryable:
        v.asked['retryable'] += 1
        if not listed or not stmts:
            v.append('retryable: ' + ' '.join(k for k, _ in heads))
    v.asked['denied'] += len(denied)
    if says.retryable or says.whole or says.session:
        if denied:
            v.append('may be done: and calls ' + ' '.join(denied))
    if says.whole:
        v.asked['whole'] += 1
        begin = one[0] == 'TransactionStmt' and verbs_of(*one) == {'BEGIN'}
        if not (listed or one[0] in WHOLE or begin):
            v.append('whole: ' + ' '.join(k for k, _ in heads))
    if says.session:
        v.asked['session'] += 1
        begin = one[0] == 'TransactionStmt' and verbs_of(*one) == {'BEGIN'}
        if not (not heads or one[0] in SESSION or begin):
            v.append('session: ' + ' '.join(k for k, _ in heads))


def check_class(v, stmts, says):
    """Exact, for what the lexer is sure of."""
    heads = [head(s) for s in stmts]
    control = [h for h in heads if is_control(*h)]
    want = {
        'statements': {len(stmts)},
        'first': verbs_of(*heads[0]) if heads else {'EMPTY'},
        'last': verbs_of(*heads[-1]) if heads else {'EMPTY'},
        'txn': {bool(control)},
        'chain': {any(f.get('chain', False) for _, f in control)},
    }
    for name, values in want.items():
        if getattr(says, name) not in values:
            v.append(f'{name}: {sorted(map(str, values))}, and {getattr(says, name)}')


def check_exit(v, stmts, says):
    """Asked of texts that are not sure, too."""
    if not stmts:
        return
    kind, f = head(stmts[0])
    ends = kind == 'TransactionStmt' and verbs_of(kind, f) & \
        {'COMMIT', 'ROLLBACK', 'ROLLBACK_TO', 'PREPARE_TRANSACTION'}
    v.asked['exit'] += bool(ends)
    if ends and not says.exit:
        v.append(f'exit: {kind} {f}')
    # without a nextval of its own, what follows may call it by a default or a trigger
    writes = kind in ('InsertStmt', 'UpdateStmt', 'MergeStmt', 'ExecuteStmt', 'CopyStmt',
                      'CallStmt', 'DoStmt')
    if writes and not says.nextval:
        v.append(f'nextval: {kind}')


# ---- tokens -----------------------------------------------------------------

def kind_of(token, text):
    name, c = token.name, text[token.start]
    if name in ('SQL_COMMENT', 'C_COMMENT'):
        return None
    if name in ('SCONST', 'BCONST', 'XCONST', 'USCONST'):
        return 'S'
    if name == 'UIDENT' or c == '"':
        return 'Q'
    if name in ('ICONST', 'FCONST'):
        return 'N'
    if name == 'PARAM':
        return 'P'
    return 'W' if c.isalpha() or c == '_' or ord(c) > 127 else 'O'


def tokens_of(scanned, text):
    """As facts.c says them: (kind, start, end), end None where the scanner does not say."""
    out = []
    for t in scanned:
        kind = kind_of(t, text)
        if kind is None:
            continue
        start, end = t.start, t.end + 1
        if t.name in ('UIDENT', 'USCONST'):
            end = None
        # N'...' is two tokens for the scanner
        if t.name == 'SCONST' and out and out[-1] == ('n', start - 1):
            out.pop()
            start -= 1
        if t.name == 'NCHAR' and t.end == t.start:
            out.append(('n', start))
        else:
            out.append((kind, start, end))
    return [('W', t[1], t[1] + 1) if t[0] == 'n' else t for t in out]


def check_tokens(v, want, says):
    """All of them, or those up to where the lexer gave up."""
    n = len(says.tokens)
    if says.bad:
        want = want[:n]
    for w, s in zip(want, says.tokens):
        v.asked['tokens'] += 1
        if w[:2] != s[:2] or w[2] not in (None, s[2]):
            v.append(f'token: {w}, and {s}')
            return
    if len(want) != n:
        v.append(f'tokens: {len(want)}, and {n}')


def check_second(v, stmts, want, says):
    if len(stmts) < 2:
        if says.second != says.length:
            v.append(f'second: none, and {says.second}')
        return
    at = stmts[1].get('stmt_location', 0)
    starts = [t[1] for t in want if t[1] >= at and says.raw[t[1]:t[1] + 1] != b';']
    if starts[0] != says.second:
        v.append(f'second: {starts[0]}, and {says.second}')


class Violations(list):
    def __init__(self):
        super().__init__()
        self.asked = Counter()


def violations(stmts, want_tokens, says):
    """stmts: the tree's list; want_tokens: offsets in bytes."""
    v = Violations()
    whole = Found().walk(stmts)
    check_tokens(v, want_tokens, says)
    if says.sure:
        v.asked['sure'] += 1
        check_class(v, stmts, says)
        check_second(v, stmts, want_tokens, says)
    elif says.retryable or says.whole or says.session:
        v.append('may be done: and not sure')
    check_may(v, stmts, whole, says)
    check_reads(v, whole, says)
    check_exit(v, stmts, says)
    check_leaves(v, stmts, says)
    check_settings(v, stmts, whole, says)
    for kind in whole.statements:
        v.asked[kind] += 1
    return v
