# SPDX-License-Identifier: ISC
"""What crdbnode.py must know of a statement: which of CockroachDB's answers it gets
that are not PostgreSQL's. "wire X" is explained there.
"""
import functools
import re


class Stmt:
    """One statement: what kind, the text for PostgreSQL, what it is refused with at
    its Parse, settings it names."""

    __slots__ = ('kind', 'word', 'text', 'sql', 'err', 'names', 'restart')

    def __init__(self, kind, word, text, sql=None, err=None, names=(), restart=False):
        self.kind, self.word, self.text, self.err, self.names = kind, word, text, err, names
        self.sql = text if sql is None else sql
        self.restart = restart


SPACE = rb'(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)'
FIRST = re.compile(rb'(?:' + SPACE + rb'|;)*([A-Za-z]*)', re.S)
ISOLATION = re.compile(rb'(isolation\s+level\s+)'
                       rb'(?:read\s+(?:un)?committed|repeatable\s+read|snapshot)', re.I)
PRIORITY = re.compile(rb',?\s*priority\s+(?:high|normal|low)', re.I)
SET = re.compile(rb'\s*set\s+(?:session\s+(?!authorization|characteristics))?'
                 rb'(local\s+)?"?([\w.]+)"?', re.I)
TIME_ZONE = re.compile(rb'\s*(?:re)?set\s+(?:session\s+)?time\s+zone\b', re.I)
SET_CONFIG = re.compile(rb"set_config\s*\(\s*'(\w+)'\s*,\s*'(?:[^']|'')*'\s*,\s*(\w+)", re.I)
FORCE_ERROR = re.compile(rb"\s*select\s+crdb_internal\.force_error"
                         rb"\(\s*'(\w+)'\s*,\s*'([^']*)'\s*\)\s*;?\s*$", re.I)
NO_FUNCTION = re.compile(rb'\b(pg_advisory_(?:xact_)?lock|pg_advisory_unlock_all|pg_notify|'
                         rb'txid_current|pg_cancel_backend|pg_terminate_backend)\s*\(', re.I)
SHOWS = re.compile(rb'\s*show\s+(node_id|session_id|crdb_version|locality|transaction\s+status)'
                   rb'\s*;?\s*$', re.I)
SPLIT = re.compile(rb"""[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" |
                        --[^\n]* | /\*.*?\*/ | \$([A-Za-z_]*)\$.*?\$\1\$ |
                        \w+ | [^'"$;/\w-]+ | .""", re.S | re.X)
NEVER = frozenset(b'LISTEN NOTIFY UNLISTEN LOCK VACUUM CLUSTER CHECKPOINT LOAD MERGE'.split())
UNIMPLEMENTED = ('0A000', 'unimplemented: this syntax')
CONTROL = frozenset(b'BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE'.split())
NOT_OLD = frozenset(b'CALL DO FETCH MOVE'.split())


def split(text):
    """The statements of a Query (wire B8)."""
    if b';' not in text.rstrip(b'; \t\r\n'):
        return [text]
    out, at = [], 0
    for t in SPLIT.finditer(text):
        if t.group() == b';':
            out.append(text[at:t.start()])
            at = t.end()
    out.append(text[at:])
    return [s for s in out if s[FIRST.match(s).end():] or FIRST.match(s).group(1)]


def syntax(text, word):
    return ('42601', 'at or near "%s": syntax error' % (word or text[:10]).decode().lower())


def set_statement(text, word, old):
    """SET (wire C2, C4, C6)."""
    if re.match(rb'\s*set\s+(session\s+characteristics|transaction)\b', text, re.I):
        snapshot = re.search(rb'transaction\s+snapshot', text, re.I)
        err = syntax(text, b'snapshot') if snapshot else None
        sql = PRIORITY.sub(b'', ISOLATION.sub(rb'\1serializable', text))
        if re.search(rb'\btransaction\s*;?\s*$', sql, re.I):
            sql += b' ISOLATION LEVEL SERIALIZABLE'
        return Stmt('settx', word, text, sql, err)
    if TIME_ZONE.match(text):
        return Stmt('set', word, text, names=('timezone',))
    m = SET.match(text)
    name = m.group(2).decode().lower() if m else ''
    if old and m and m.group(1):
        return Stmt('set', word, text, err=(
            '0A000', 'at or near "%s": syntax error: unimplemented: this syntax' % name))
    if old and name == 'role':
        return Stmt('set', word, text, err=syntax(text, b'role'))
    if old and '.' in name:
        return Stmt('refused', word, text,
                    names=('unrecognized configuration parameter "%s"' % name,))
    if name in ('default_transaction_isolation', 'transaction_isolation'):
        return Stmt('set', word, text, b"SET %s = 'serializable'" % name.encode(), names=(name,))
    return Stmt('local' if m and m.group(1) else 'set', word, text, names=(name,))


def reset_statement(text, word, old):
    """RESET: its tag is SET (wire C4)."""
    what = text.split(None, 1)[1].strip(b' ;"\n').decode().lower() if len(text.split()) > 1 else ''
    if old and what == 'all':
        return Stmt('refused', word, text, names=('unrecognized configuration parameter "all"',))
    if old and what.split()[:1] in (['role'], ['session']):
        return Stmt('reset', word, text, err=syntax(text, what.split()[0].encode()))
    return Stmt('reset', word, text, names=('timezone',) if TIME_ZONE.match(text) else (what,))


def transaction_statement(text, word):
    up = text.upper()
    if word in (b'BEGIN', b'START'):
        sql = PRIORITY.sub(b'', ISOLATION.sub(rb'\1serializable', text))
        return Stmt('begin', word, text, sql)
    chain = re.search(rb'\bAND\s+(NO\s+)?CHAIN\b|\bPREPARED\b', up)
    if chain:                               # wire D6
        return Stmt('commit', word, text, err=syntax(text, chain.group().split()[0]))
    restart = re.search(rb'\bCOCKROACH_RESTART\b', up) is not None
    if word in (b'COMMIT', b'END'):
        return Stmt('commit', word, text)
    if word in (b'SAVEPOINT', b'RELEASE'):
        return Stmt(word.decode().lower(), word, text, restart=restart)
    if re.search(rb'\bTO\b', up):
        return Stmt('rollback_to', word, text, restart=restart)
    return Stmt('rollback', word, text)


@functools.lru_cache(8192)
def classify(text, old):
    """What to do with a statement; `old`: v21.2's dialect."""
    word = FIRST.match(text).group(1).upper()
    if word in CONTROL:
        return transaction_statement(text, word)
    if word == b'SET':
        return set_statement(text, word, old)
    if word == b'RESET':
        return reset_statement(text, word, old)
    if word == b'DISCARD':                  # wire C5
        every = b'ALL' in text.upper()
        return Stmt('discard', word, text, err=None if every else UNIMPLEMENTED)
    if word == b'CLOSE' and text.upper().split()[1:2] in ([b'ALL'], [b'ALL;']):
        return Stmt('nothing', word, text)  # wire C5: EmptyQueryResponse
    two_phase = word == b'PREPARE' and re.match(rb'\s*prepare\s+transaction\b', text, re.I)
    if word in NEVER or (old and word in NOT_OLD) or two_phase:
        return Stmt('other', word, text, err=syntax(text, word))
    if old and word in (b'DECLARE', b'CLOSE'):
        return Stmt('other', word, text, err=UNIMPLEMENTED)
    if word == b'COPY':                     # wire E3
        out = re.search(rb'\bto\s+stdout\b', text, re.I)
        return Stmt('copy', word, text, err=syntax(text, b'to') if out and old else None)
    if word == b'SHOW' and SHOWS.match(text):
        return Stmt('show', word, text, names=(SHOWS.match(text).group(1).decode().lower(),))
    m = FORCE_ERROR.match(text)             # wire B11
    if m:
        start = 'restart transaction: ' if m.group(1) == b'40001' else ''
        return Stmt('force', word, text, b'SELECT 0 AS "crdb_internal.force_error"',
                    names=(m.group(1).decode(), start + m.group(2).decode()))
    m = NO_FUNCTION.search(text) if b'(' in text else None
    if m:
        return Stmt('other', word, text,
                    err=('42883', 'unknown function: %s()' % m.group(1).decode().lower()))
    found = SET_CONFIG.findall(text) if b'set_config' in text else ()
    if found and old and any(how.lower() in (b'true', b't') for _, how in found):
        return Stmt('other', word, text,
                    err=('0A000', 'unimplemented: transaction-scoped settings'))
    if found:
        return Stmt('set_config', word, text, names=tuple(n.decode().lower() for n, _ in found))
    return Stmt('other', word, text)


OTHER = Stmt('other', b'', b'')
