"""pg_hba.conf and pg_ident.conf as pgweir reads them, against a real PostgreSQL: its views
pg_hba_file_rules and pg_ident_file_mappings say what it reads in the same texts, its
logins which rule holds, and regexp_match() what its expressions match.

HBA_SEED makes other texts. What is refused on purpose is listed in excuse(): each time
it is said why, PostgreSQL's own reading must bear it out. What only PostgreSQL 16 has
(include, expressions for names) is not compared here: tests/unit has it.

SPDX-License-Identifier: ISC
"""
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess

import pytest

from cluster import Postgres, until
from conftest import PGWEIR

pytestmark = pytest.mark.weir_only

SEED = int(os.environ.get('HBA_SEED', '1'))
FACTS = os.path.join(os.path.dirname(PGWEIR), 'hba-facts')


def facts(questions):
    """What pgweir's code answers to each question (tests/hba/facts.c)."""
    assert os.path.exists(FACTS), 'make %s' % FACTS
    text = ''.join('\t'.join(q) + '\n' for q in questions).encode()
    r = subprocess.run([FACTS], input=text, stdout=subprocess.PIPE, timeout=300, check=True)
    out = [json.loads(x) for x in r.stdout.decode('ascii').splitlines()]
    assert len(out) == len(questions)
    return out


@pytest.fixture(scope='module')
def oracle(base, template):
    p = Postgres(base, 'oracle').copy_from(template).start()
    yield p
    p.stop(signal.SIGQUIT)


# ---- texts --------------------------------------------------------------------------

# what PostgreSQL takes, and what is mostly wrong
DBS = (['all', 'sameuser', 'replication', 'app', 'app2', 'b', '"all"', '"sameuser"', '"a b"', '""', '"replication"',
        '"samerole"', 'All', '@db', '"@db"', '@"db"', 'x"y z"w', '"a""b"', '"a#b"', '"a,b"', 'caf\u00e9', '/a',
        '@nested', 'a"ll"', '@'], ['samerole', 'samegroup', 'a#b', '@empty', '@none'])
USERS = (['all', 'u', 'v', 'postgres', '"all"', '"+g"', 'sameuser', '@users', '"u v"', 'samerole', '""', 'u+', '@nested'],
         ['+g', '+', '@"empty"'])
ADDRS = (['all', 'samehost', 'samenet', '127.0.0.1/32', '10.0.0.0/8', '10.1.2.3/8', '0.0.0.0/0', '::1/128', '::/0',
          'fe80::/10', '2001:db8::/32', '10.0.0.0 255.0.0.0', '10.0.0.0 255.0.255.0', '2001:db8:: ffff:ffff::',
          '"10.0.0.0/8"', '@addr', '10.0.0.0/08'],
         ['"all"', '"samenet"', '10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8x', '10/8', '127.1/32',
          '010.0.0.1/32', '10.0.0.256/32', 'db.example.com', '.example.com', 'localhost', 'db.example.com/8',
          '10.0.0.0 ffff::', '::1 255.0.0.0', '10.0.0.0/8,11.0.0.0/8', '::ffff:10.0.0.0/104', 'fe80::1%lo/64',
          '10.0.0.0 trust', '10.0.0.0/+8', 'ALL', '1.2.3.4.5', 'face'])
METHODS = (['trust', 'reject', 'md5', 'scram-sha-256', 'password', '"trust"', '@method'],
           ['cert', 'peer', 'ident', 'ldap', 'gss', 'pam', 'radius', 'sspi', 'bsd', 'foo', 'Trust', 'trust,md5', 'oauth'])
FIT = {'local': ['peer', 'ident'], 'hostssl': ['cert']}
OPTIONS = (['map=m', 'map=', '"map=a b"', 'map=a,map=b', 'map="x y"', 'map=a map=b'],
           ['clientcert=1', 'clientcert=no-verify', 'clientname=cn', 'foo', 'foo=1', 'ldapserver=x', 'include_realm=1',
            '=', 'clientcert', 'clientcert=verify-ca', 'clientname=DN', 'map=m'])
TLS_OPTIONS = ['clientcert=verify-full', 'clientcert=verify-ca', 'clientname=CN', 'clientname=DN']
TYPES = (['local', 'host', 'hostssl', 'local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc', '"local"',
          '@type'], ['foo', 'local,host', 'Local'])
BESIDE = {'db': 'd1 d2,"d 3"\n# no\nd4\n', 'empty': '# nothing\n', 'nested': 'n1,@db\n@users\n',
          'users': 'u1\nu2\\\nx all\n', 'addr': '10.9.0.0/16', 'method': 'trust', 'type': 'local'}


def pick(rnd, words):
    return rnd.choice(words[rnd.random() < 0.06])


def some(rnd, words, most=3):
    n = 1 if rnd.random() < 0.7 else rnd.randint(1, most)
    comma = rnd.choice([',', ',', ', ', ',\t', ',,'] + [' ,'] * (rnd.random() < 0.1))
    return comma.join(pick(rnd, words) for _ in range(n))


def damage(rnd, text):
    """A character gone, doubled or put in somewhere."""
    at = rnd.randrange(len(text) + 1)
    how = rnd.random()
    if how < 0.4:
        return text[:at] + text[at + 1:]
    if how < 0.5:
        return text[:at] + text[at:at + 1] + text[at:]
    return text[:at] + rnd.choice('" ,#\\\t/@+=\r') + text[at:]


def finished(rnd, parts):
    """Columns to a line, with all that may stand between and around them."""
    blank = [' ', ' ', '  ', '\t', ' \t ', ' \\\n', '\\\n  ', ' \r']
    text = rnd.choice(['', '', '', ' ', '\t', ',']) + parts[0]
    for p in parts[1:]:
        text += rnd.choice(blank) + p
    text += rnd.choice(['', '', '', ' ', ' # comment', '#c "x', '\r', ' ,', ' \\', ' #\\\nlocal x y trust'])
    while rnd.random() < 0.15:
        text = damage(rnd, text)
    return text


def hba_text(rnd):
    kind = pick(rnd, TYPES)
    parts = [kind, some(rnd, DBS), some(rnd, USERS)]
    if kind not in ('local', '"local"', '@type'):
        parts.append(pick(rnd, ADDRS))
    named = kind in FIT and rnd.random() < 0.5
    parts.append(rnd.choice(FIT[kind]) if named else pick(rnd, METHODS))
    while named and rnd.random() < 0.5:
        parts.append(pick(rnd, OPTIONS))
    while kind == 'hostssl' and rnd.random() < 0.3:
        parts.append(rnd.choice(TLS_OPTIONS))
    if rnd.random() < 0.04:
        parts.append(pick(rnd, OPTIONS))
    if rnd.random() < 0.03:
        del parts[rnd.randrange(len(parts))]
    return finished(rnd, parts)


def ident_text(rnd):
    names = ['m', '"m n"', 'M', '""', 'a,b', 'include', '@type', '@empty']
    sys = ['ann', '"a b"', '/^(.*)@x$', '"/^a,b$"', '/(', '/[a-z]+', 'all', '@users', 'a,b', '/\\d', '/a**', '""']
    users = ['u', '\\1', '"all"', 'x\\1y', 'all', '"+g"', '+g', '@type', 'u,v', '/u', '""', '@empty']
    parts = [rnd.choice(names[:3] if rnd.random() < 0.7 else names), rnd.choice(sys), rnd.choice(users)]
    if rnd.random() < 0.1:
        parts.append('more')
    if rnd.random() < 0.1:
        del parts[rnd.randrange(3)]
    return finished(rnd, parts)


def write(pg, name, text):
    path = os.path.join(pg.data, name)
    with open(path, 'w', newline='') as f:
        f.write(text)
    return path


def compare(pg, name, kind, texts, columns, view):
    """(text, rows of PostgreSQL, answer of pgweir) for each text: all are in one file for
    PostgreSQL, whose view tells what is wrong with each line; each in one for pgweir."""
    for k, v in BESIDE.items():
        write(pg, k, v)
    whole, starts, line = '', [], 1
    for t in texts:
        starts.append(line)
        # nothing goes on into the next text
        whole += t + '\n\n'
        line += t.count('\n') + 2
    write(pg, name, whole)
    rows = pg.sql('SELECT to_json(x) FROM (SELECT line_number AS line, %s, error FROM %s) x' % (columns, view))
    by_text = {i: [] for i in range(len(texts))}
    i = 0
    for row in sorted((json.loads(r[0]) for r in rows), key=lambda r: r['line']):
        while i + 1 < len(texts) and starts[i + 1] <= row['line']:
            i += 1
        row['line'] -= starts[i] - 1
        by_text[i].append(row)
    write(pg, name, 'local all all trust\nhost all all all trust\n' if kind == 'hba' else '')
    paths = [write(pg, 'text%d' % i, t + '\n\n') for i, t in enumerate(texts)]
    got = facts([(kind, p) for p in paths])
    for p in paths:
        os.unlink(p)
    return zip(texts, by_text.values(), got)


# ---- why pgweir may refuse what PostgreSQL takes ---------------------------------------

KEYWORDS = ('all', 'samehost', 'samenet')


def is_host_name(row):
    return row['address'] and row['netmask'] is None and row['address'] not in KEYWORDS


def excuse(text, rows, say):
    """True when the refusal is on purpose and PostgreSQL's reading shows why."""
    row = rows[0] if rows else {}
    if 'host names are not supported' in say:
        # in quotes no keyword; PostgreSQL takes both for names then
        return is_host_name(row) or row.get('address') in KEYWORDS
    if 'is not supported: who belongs to which role' in say:
        if 'pg_username' in row:
            return row['pg_username'].startswith('+')
        return (set(row['database']) & {'samerole', 'samegroup'} or
                any(u.startswith('+') for u in row['user_name']))
    if 'write all four numbers' in say:
        return is_host_name(row) or re.search(r'10/8|127\.1/|010\.|%lo|\d+/\d|\d\.\d', text)
    if 'the length of the network must be' in say:
        return re.search(r'/[+\s]', text)
    if "an IPv4 address in IPv6's form" in say:
        return row['address'].startswith('::ffff:')
    if 'is not a mask for the address' in say:
        # 255.0.255.00: written otherwise than it is read
        return row['netmask'] and row['netmask'] not in re.split(r'[\s",#]+', text)
    if 'Not a directory' in say or 'it is not a regular file' in say:
        # PostgreSQL takes the slash off the end of @file/, and reads directories as empty
        return re.search(r'@"?\w*"?/', text)
    if "is PostgreSQL's, pgweir does not have it" in say:
        return row['auth_method'] in ('ident', 'ldap', 'gss', 'pam', 'radius', 'sspi', 'bsd', 'oauth')
    if 'a double quote is not closed' in say:
        return text.count('"') % 2
    if 'there is no word in the files' in say:
        return '@' in text and 'empty' in text
    if 'is no option' in say:
        return row['auth_method'] == 'gss'
    if 'there is more behind the database user' in say:
        return True
    if 'the regular expression' in say and 'pg_username' in row:
        # names too can be expressions, since 16
        return row['sys_name'].startswith('/') or row['pg_username'].startswith('/')
    if 'the regular expression' in say:
        return any(x.startswith('/') for x in row['database'] + row['user_name'])
    if 'asks for the first group' in say:
        return '(' not in row['sys_name'] and '\\1' in row['pg_username']
    if 'other' in say and 'include' in text:
        return True
    return False


def wrong_with(row):
    """The error of a row, without what is only said because the server has no TLS."""
    err = row.get('error')
    if 'type' in row and row['type'] is None:
        return err or 'an option'   # for which PostgreSQL 15 gives no sentence
    return None if err == 'hostssl record cannot match because SSL is disabled' else err


def normal(row):
    """Both sides' rows in the same words."""
    out = {k: v for k, v in row.items() if k not in ('options', 'error', 'map', 'clientcert')}
    if 'type' in row:
        opts = dict(o.split('=', 1) for o in row.get('options') or [])
        out['map'] = row.get('map') or opts.get('map') or None
        out['clientcert'] = row.get('clientcert') or opts.get('clientcert')
    return out


def utf8(x):
    if isinstance(x, str):
        return x.encode('latin-1').decode('utf-8')
    if isinstance(x, list):
        return [utf8(y) for y in x]
    return x


def judge(text, rows, got, count):
    """None, or what is wrong."""
    if 'rules' not in got:
        if not rows and 'no rule in it' in got['error']:
            count['empty'] += 1
        elif any(wrong_with(r) for r in rows):
            count['refused'] += 1
        elif excuse(text, rows, got['error']):
            count['on purpose'] += 1
        else:
            return 'refused: %s' % got['error']
        return None
    for r in rows:
        if wrong_with(r):
            return 'taken, but PostgreSQL says: %s' % wrong_with(r)
    want = [normal(r) for r in rows]
    have = [normal({k: utf8(v) for k, v in r.items()}) for r in got['rules']]
    if want != have:
        return 'read as %r' % have
    count['same' if have else 'empty'] += 1
    return None


def check(pg, name, kind, texts, columns, view, least):
    count = dict.fromkeys(('same', 'refused', 'on purpose', 'empty'), 0)
    bad = []
    for text, rows, got in compare(pg, name, kind, texts, columns, view):
        wrong = judge(text, rows, got, count)
        if wrong:
            bad.append('%r\n  %s\n  PostgreSQL: %r' % (text, wrong, rows))
    print('HBA_SEED=%d %s: %r' % (SEED, kind, count))
    assert not bad, '%d of %d (HBA_SEED=%d), the first:\n%s' % (len(bad), len(texts), SEED, '\n'.join(bad[:8]))
    # the texts must not have become all of one sort
    assert all(count[k] >= n for k, n in least.items()), count


HBA_COLUMNS = 'type, database, user_name, address, netmask, auth_method, options'


def test_hba_lines(oracle):
    rnd = random.Random(SEED)
    check(oracle, 'pg_hba.conf', 'hba', [hba_text(rnd) for _ in range(4000)], HBA_COLUMNS,
          'pg_hba_file_rules', {'same': 1200, 'refused': 500, 'on purpose': 200})


def test_ident_lines(oracle):
    rnd = random.Random(SEED)
    check(oracle, 'pg_ident.conf', 'ident', [ident_text(rnd) for _ in range(2000)],
          'map_name, sys_name, pg_username', 'pg_ident_file_mappings',
          {'same': 300, 'refused': 200, 'on purpose': 100})


def test_the_judge(oracle):
    """Readings that differ are noticed, and so is a refusal without a reason."""
    count = dict.fromkeys(('same', 'refused', 'on purpose', 'empty'), 0)
    text = 'hostssl a,b "u v" 10.0.0.0/8 cert map=m'
    (_, rows, got), = compare(oracle, 'pg_hba.conf', 'hba', [text], HBA_COLUMNS, 'pg_hba_file_rules')
    assert judge(text, rows, got, count) is None and count['same'] == 1
    for key in ('type', 'database', 'user_name', 'address', 'netmask', 'auth_method', 'map', 'clientcert', 'line'):
        other = {'rules': [dict(got['rules'][0], **{key: 'other'})]}
        assert 'read as' in judge(text, rows, other, count), key
    assert 'read as' in judge(text, rows, {'rules': []}, count)
    assert 'refused' in judge(text, rows, {'error': 'f:1: host names are not supported'}, count)
    assert 'refused' in judge(text, rows, {'error': 'f:1: no reason'}, count)
    assert 'taken' in judge(text, [dict(rows[0], error='no')], got, count)


# ---- which rule holds, by logging in -----------------------------------------------------

def outcome(pg, address, physical, db, user):
    """trust, reject or None (no rule), by what PostgreSQL answers to a startup packet."""
    if address == '-':
        s = socket.socket(socket.AF_UNIX)
    else:
        s = socket.socket()
        s.bind((address, 0))
    with s:
        s.settimeout(30)
        s.connect('%s/.s.PGSQL.%d' % (pg.data, pg.port) if address == '-' else ('127.0.0.1', pg.port))
        pairs = ['user', user, 'database', db] + (['replication', 'true'] if physical else [])
        body = struct.pack('!i', 196608) + b''.join(x.encode() + b'\0' for x in pairs) + b'\0'
        s.sendall(struct.pack('!i', len(body) + 4) + body)
        got = b''
        while len(got) < 5 or len(got) < 1 + struct.unpack('!i', got[1:5])[0]:
            more = s.recv(4096)
            if not more:
                break
            got += more
    if got[:1] == b'R':
        assert got[5:9] == b'\0\0\0\0', got
        return 'trust'
    text = got.decode(errors='replace')
    if 'pg_hba.conf rejects' in text:
        return 'reject'
    return None if 'no pg_hba.conf entry' in text else 'trust'    # it was let in to something that is not there


NAMES = ['app', 'all', 'sameuser', 'replication', 'u', 'v', 'u v', '+g', 'A', 'a,b']
PLACES = ['-', '127.0.0.1', '127.0.0.2', '127.0.1.1', '127.1.0.1']


def rule(rnd):
    def names(words):
        out = []
        for _ in range(rnd.choice([1, 1, 2, 3])):
            w = rnd.choice(words)
            out.append(w if w in ('all', 'sameuser', 'replication') and rnd.random() < 0.6 else '"%s"' % w)
        return ','.join(out)
    where = rnd.choice(['local', 'host', 'host', 'hostnossl', 'hostnogssenc', 'hostssl', 'hostgssenc'])
    parts = [where, names(NAMES + ['all', 'replication']),
             names([n for n in NAMES if n not in ('sameuser', 'replication')] + ['all'] * 3)]
    if where != 'local':
        parts.append(rnd.choice(['all', 'samehost', 'samenet', '127.0.0.1/32', '127.0.0.0/24', '127.0.0.2/16',
                                 '127.0.0.1 255.255.0.255', '127.1.0.0/16', '0.0.0.0/0', '10.0.0.0/8']))
    return ' '.join(parts + [rnd.choice(['trust', 'reject'])])


def test_which_rule_holds(oracle):
    rnd = random.Random(SEED)
    seen, bad = {'trust': 0, 'reject': 0, None: 0}, []
    for n in range(12):
        lines = [rule(rnd) for _ in range(rnd.randint(2, 25))]
        path = write(oracle, 'pg_hba.conf', '\n'.join(['local sentinel%d all reject' % n] + lines) + '\n')
        oracle.reload()
        # the postmaster has read the file when it knows the line at its top
        until(lambda n=n: outcome(oracle, '-', False, 'sentinel%d' % n, 'x') == 'reject', why='the reload')
        asks = [(rnd.choice(PLACES), rnd.random() < 0.15, rnd.choice(NAMES), rnd.choice(NAMES)) for _ in range(60)]
        got = facts([('find', path, a[0], str(int(a[1])), a[2], a[3]) for a in asks])
        for a, g in zip(asks, got):
            want = outcome(oracle, *a)
            seen[want] += 1
            if g['method'] != want:
                bad.append('%r: %r, PostgreSQL %r\n%s' % (a, g, want, '\n'.join(lines)))
    print('HBA_SEED=%d logins: %r' % (SEED, seen))
    write(oracle, 'pg_hba.conf', 'local all all trust\nhost all all all trust\n')
    oracle.reload()
    until(lambda: outcome(oracle, '-', False, 'postgres', 'postgres') == 'trust' and oracle.answers(),
          why='the reload')
    assert not bad, '%d (HBA_SEED=%d), the first:\n%s' % (len(bad), SEED, bad[0])
    assert min(seen.values()) > 30, seen


# ---- regular expressions ---------------------------------------------------------------------

ATOMS = ['a', 'b', 'x', '.', '[ab]', '[^a]', '[a-c]', '\\d', '\\w', '\\s', '\\D', '\\W', '\\S', '\\.', '@', '_',
         '[\\w.]', '[^\\d]', '[-_a]', '[[:alpha:]]', '[]b]', '\\-', '\\<', '\u00e9', '^', '$', '[\\d-]', '}', ']']
RARE = ['\\y', '\\m', '(?:a)', '(?=a)', '\\1', '[[.a.]]', '[[:<:]]', '\\x41', '[\\D]', 'a*?', '{', '(?i)', '[\u00e9]',
        '[a', '(', ')', '*', '\\', '[z-a]', '[a-\\d]', '[\\]]', '***', '{2}', 'a{3,1}', '[a-c-e]', '[%--]', '()']
REPEATS = ['', '', '', '', '*', '+', '?', '{2}', '{1,}', '{0,2}', '{1,3}']


def expression(rnd, depth=0):
    out = ''
    for _ in range(rnd.choice([1, 2, 2, 3])):
        if rnd.random() < 0.25 and depth < 3:
            out += '(' + expression(rnd, depth + 1) + ')'
        else:
            out += rnd.choice(ATOMS) if rnd.random() < 0.98 else rnd.choice(RARE)
        out += rnd.choice(REPEATS)
    if rnd.random() < 0.15:
        out += '|' + expression(rnd, depth + 1)
    if depth == 0 and rnd.random() < 0.5:
        out = '^' + out + '$'
    return out


def quoted(s):
    return "'" + s.replace("'", "''") + "'"


def regexp_of(pg, asks):
    """PostgreSQL's answer to each (expression, name): (match, \\1), or None."""
    rows = pg.sql('''CREATE OR REPLACE FUNCTION pg_temp.ask(re text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE got text[]; n int;
BEGIN
    n := array_length(regexp_match('', '(?:' || re || ')|'), 1);  -- of an expression that is none: raises
    got := regexp_match(name COLLATE "C", '(' || re || ')');
    IF got IS NULL THEN RETURN '[false, null]'; END IF;
    RETURN json_build_array(true, got[2]);
EXCEPTION WHEN invalid_regular_expression THEN
    RETURN NULL;
END $$; SELECT pg_temp.ask(re, name) FROM (VALUES %s) v (n, re, name) ORDER BY n''' % ', '.join(
        '(%d, %s, %s)' % (i, quoted(r), quoted(n)) for i, (r, n) in enumerate(asks)))
    return [r[0] and tuple(json.loads(r[0])) for r in rows]


def test_regular_expressions(oracle):
    rnd = random.Random(SEED)
    asks = []
    for _ in range(3000):
        r = expression(rnd)
        for _ in range(3):
            asks.append((r, ''.join(rnd.choice('aabbxc1_@.- <}]') for _ in range(rnd.choice([0, 1, 2, 3, 5, 9])))))
    count = {'match': 0, 'none': 0, 'refused by both': 0, 'by pgweir alone': 0, 'group longer': 0}
    bad = []
    for (r, n), want, got in zip(asks, regexp_of(oracle, asks), facts([('regexp', r, n) for r, n in asks])):
        if 'error' in got:
            count['refused by both' if want is None else 'by pgweir alone'] += 1
        elif want is None or want[0] != got['match']:
            bad.append('%r on %r: %r, PostgreSQL %r' % (r, n, got, want))
        elif got['match'] and not got['repeated'] and want[1] != got['group']:
            # as regexp.h says: several ways, and PostgreSQL takes the longest
            if None not in (want[1], got['group']) and want[1].startswith(got['group']):
                count['group longer'] += 1
                continue
            bad.append('GROUP %r on %r: %r, PostgreSQL %r' % (r, n, got, want))
        else:
            count['match' if want[0] else 'none'] += 1
    print('HBA_SEED=%d regular expressions: %r' % (SEED, count))
    assert not bad, '%d (HBA_SEED=%d), the first:\n%s' % (len(bad), SEED, '\n'.join(bad[:20]))
    assert count['group longer'] <= 10, count
    assert count['match'] > 1000 and count['none'] > 1000 and count['refused by both'] > 20, count
