# tests/lexer/grammar.py - texts of SQL from rules.txt, and damage to them.
#
# The rules make words; the makers here make what is hard for a lexer: strings of all
# kinds that look like something else inside, identifiers, operators, and what may stand
# between two words. Most of it parses; what does not is left out by who asks.
#
# SPDX-License-Identifier: ISC
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
DEPTH = 9

# What a lexer may trip over, wherever it stands.
TRAPS = ["'", "''", '"', '""', ';', '--', '/*', '*/', '/**/', '$$', '$a$', '$1', '\\', "\\'",
         'commit;', '; commit', 'begin atomic', 'for update', ' into x ', '(', ')', '[', ']',
         'e\\\'', "U&'", "n'", ':=', '::', '..', 'é', '漢字', '\U0001f418', '\t', '\n', '\r\n',
         '\r', '{', '}', ',', '?', '@-', '%', 'setval(', 'E', '--\n', '-- \n;']

PLAIN_WORDS = """a b c t t1 x y foo bar order_id Tbl begin commit abort set show copy call listen lock
    prepare execute reset declare temp local session transaction atomic values work
    discard savepoint release rollback start explain insert update delete merge truncate notify
    unlisten load close move deallocate vacuum hold temporary share of sql language
    cascade no chain prepared upsert use cluster constraints role names schema zone level
    e n u b x _ _x x1 a$1 a$$ a$b$ é 漢字 étÉ name text setting options owner key data value
    off until window_ alter drop materialized grouping rows by path isolation security label
    currval nextval setval pg_catalog crdb_internal now count lower pg_temp_3x atomic1""".split()

HARMFUL = """nextval setval currval lastval set_config pg_advisory_lock pg_advisory_lock_shared
    pg_try_advisory_lock pg_advisory_unlock pg_advisory_unlock_all pg_advisory_xact_lock
    pg_terminate_backend pg_cancel_backend dblink dblink_exec dblink_connect dblink_open lo_unlink
    lo_import lo_export lo_create pg_switch_wal pg_notify query_to_xml query_to_xml_and_xmlschema
    pg_logical_emit_message pg_create_logical_replication_slot pg_drop_replication_slot
    pg_export_snapshot pg_reload_conf pg_rotate_logfile pg_backup_start pg_start_backup pg_promote
    pg_stat_reset pg_file_write ts_stat ts_rewrite http_get txid_current
    pg_replication_origin_session_setup SetVal NEXTVAL PG_Advisory_Lock "setval" "set_config"
    "pg_advisory_lock" U&"set\\0076al" U&"\\006eextval" U&"set!005fconfig"UESCAPE'!' "nextval" "dblink"
    "pg_terminate_backend" 漢字 "lower" mine cluster_logical_replication_slot""".split()

HARMLESS = """lower upper count sum max min now random abs length coalesce array_agg
    current_setting date_trunc to_char generate_series md5 left right round LOWER Now version
    row_number jsonb_agg unnest concat""".split()

LABELS = """a b c begin commit end into for update select insert set from where group copy call
    user order limit values table with""".split()

OPS = """+ - * / % ^ < > = <= >= <> != || -> ->> #> #>> @> <@ ? ?| ?& && ~ ~* !~ !~~* @@ @- *@-
    <-> |/ - -|- &< &> <<= >>= @@@ ` ! # ~~ <^ %> =- <+ +-@ @/ |& ?- ?-|""".split()
OPS1 = ['-', '+', '@', '~', '|/', '||/', '!!', '@-@', '@@', '#', '?-', '!', '- -', '-(1)-']


def read_rules(path):
    rules, name = {}, None
    for line in open(path, encoding='utf-8'):
        line = line.rstrip('\n')
        if line.startswith('\t'):
            rules[name].append(line.split())
        elif line and not line.startswith('#'):
            name = line.rstrip(':')
            rules[name] = []
    return rules


RULES = read_rules(os.path.join(HERE, 'rules.txt'))
PART = re.compile(r'^<(\w+)([?*+]?)>$')


class Grammar:
    """Texts that follow from rng alone."""

    def __init__(self, rng):
        self.rng = rng

    # ---- makers -------------------------------------------------------------

    def inside(self, n=4):
        """What stands between two quotes, not yet escaped."""
        r = self.rng
        return ''.join(r.choice(TRAPS) if r.random() < 0.6 else r.choice(PLAIN_WORDS) + ' '
                       for _ in range(r.randrange(n)))

    def string(self):
        r = self.rng
        make = r.choice([self.quoted, self.quoted, self.quoted, self.escaped, self.escaped,
                         self.dollar, self.dollar, self.unicode, self.unicode, self.continued])
        if r.random() < 0.05:
            make = r.choice([self.bits, self.national])  # few rules take them
        return make()

    def quoted(self):
        return "'" + self.inside().replace("'", "''") + "'"

    def national(self):
        return self.rng.choice('nN') + self.quoted()

    def escaped_body(self):
        r = self.rng
        out = ''
        for _ in range(r.randrange(5)):
            out += r.choice(["\\'", "''", '\\\\', '\\n', '\\x41', '\\101', '\\u00e9', ';', '--', '/*',
                             '"', '$$', '\\$', ' ', 'é', 'commit', '\\\n', '\\;', "\\\\''"])
        return out

    def escaped(self):
        return self.rng.choice('eE') + "'" + self.escaped_body() + "'"

    def unicode_body(self, quote):
        r = self.rng
        out = ''
        for _ in range(1 + r.randrange(4)):
            out += r.choice(['\\0061', '\\+000061', '\\\\', quote * 2, ';', '--', '/*', 'é', 'a',
                             'commit', '$$', '\\0073et'])
        return out

    def unicode(self):
        r = self.rng
        s = r.choice('uU') + "&'" + self.unicode_body("'") + "'"
        if r.random() < 0.3:
            s = s.replace('\\', '!') + r.choice([' ', '\n', ' /* x */ ']) + "UESCAPE '!'"
        return s

    def bits(self):
        r = self.rng
        if r.random() < 0.5:
            return r.choice('bB') + "'" + r.choice(['', '0', '0101']) + "'"
        return r.choice('xX') + "'" + r.choice(['', 'f', '1F']) + "'"

    def dollar(self):
        r = self.rng
        tag = '$' + r.choice(['', '', 'a', '_x', 'é', 'a1', 'body', 'A']) + '$'
        body = self.inside(6) + r.choice(['', '$', '$a', ' $b$ ', ' $a$b', '$A$', '$ $', 'a$$b'])
        if (body + tag).find(tag) != len(body):
            body = body.replace('$', '')
        return tag + body + tag

    def continued(self):
        r = self.rng
        gap = r.choice(['\n', ' \n ', '\r\n', ' -- a\n', '\n--\'\n\t', '\n \n', '\f\n', ' --\r\n',
                        '--x\n--y\n'])
        kind = r.choice(['', '', 'E', 'e', "U&", 'X', 'B', 'N'])
        if kind in 'XB' and kind:
            return kind + "'01'" + gap + "'10'"
        if kind in 'Ee' and kind:
            parts = [self.escaped_body() for _ in range(r.randrange(2, 4))]
        else:
            parts = [self.inside(3).replace("'", "''") for _ in range(r.randrange(2, 4))]
        if kind == 'U&':
            parts = [p.replace('\\', '') for p in parts]
        return kind + gap.join("'" + p + "'" for p in parts)

    def torn_temp(self):
        return "'pg_'\n  'temp'"

    def plain(self):
        return self.rng.choice(PLAIN_WORDS)

    def ident(self):
        r = self.rng
        x = r.random()
        if x < 0.75:
            s = r.choice(PLAIN_WORDS)
            return s.upper() if r.random() < 0.1 else s
        if x < 0.95:
            body = (self.inside(3) or 'q').replace('"', '""')
            return '"' + body + '"'
        s = r.choice('uU') + '&"' + self.unicode_body('"') + '"'
        if r.random() < 0.2:
            s = s.replace('\\', '!') + " UESCAPE '!'"
        return s

    def number(self):
        return self.rng.choice(['0', '1', '10', '1.', '.5', '1.5', '1e3', '1.5E-3', '2e+1', '007',
                                '1.e1', '99999999999999999999', '.1e5'])

    def param(self):
        return '$' + str(self.rng.randrange(1, 12))

    def op(self):
        return self.rng.choice(OPS)

    def op1(self):
        return self.rng.choice(OPS1)

    def label(self):
        return self.rng.choice(LABELS) if self.rng.random() < 0.5 else self.ident()

    def harmful(self):
        return self.rng.choice(HARMFUL)

    def harmless(self):
        return self.rng.choice(HARMLESS)

    # ---- rules --------------------------------------------------------------

    def words(self, name, depth, out):
        if name not in RULES:
            out.append(getattr(self, name)())
            return
        r = self.rng
        ways = RULES[name]
        way = ways[0] if depth <= 0 else r.choice(ways)
        for word in way:
            m = PART.match(word)
            if m is None:
                out.append(word)
                continue
            part, many = m.groups()
            if many == '?':
                if depth > 0 and r.random() < 0.4:
                    self.words(part, depth - 1, out)
                continue
            n = 1 if many == '' or depth <= 0 else r.choice([1, 1, 1, 2, 3])
            for i in range(n):
                if i and many == '*':
                    out.append(',')
                self.words(part, depth - 1, out)

    def gap(self):
        """Blanks or comments."""
        r = self.rng
        x = r.random()
        if x < 0.85:
            return ' '
        if x < 0.93:
            return r.choice(['\n', '\t', '\r\n', '  ', '\f', ' \r'])
        body = self.inside(4).replace('*/', '').replace('/*', '')
        body = body.replace('*', '').replace('/', '')
        return r.choice([' /*' + body + '*/ ', '/*' + body + '/* ' + body + ' */*/', '/**/',
                         ' --' + body.replace('\n', ' ').replace('\r', ' ') + '\n',
                         ' -- ;\r\n', '/*/**/*/', '/***/', '/*;*/', '--\n', '/*\'*/', '/*"*/',
                         '/*$$*/', "--'\n", '/*--*/', '--/*\n', ' /* a\n-- */ '])

    def render(self, words):
        r = self.rng
        out = self.gap() if r.random() < 0.1 else ''
        for i, word in enumerate(words):
            if i:
                tight = (word[0] in '(),;[]' or words[i - 1][-1] in '(),;[]')
                if not (tight and r.random() < 0.6) and not r.random() < 0.005:
                    out += self.gap()
            if word.isalpha() and word.isascii():
                x = r.random()
                if word.isupper() and x < 0.5:
                    word = word.lower()
                elif x > 0.95:
                    word = word.title()
            out += word
        return out

    def statement(self, rule):
        words = []
        self.words(rule, self.rng.randrange(2, DEPTH), words)
        return words

    def text(self):
        """One statement, or some with empty ones among them."""
        r = self.rng
        n = r.choice([1, 1, 1, 1, 1, 2, 2, 3, 4])
        rule = 'reading' if r.random() < 0.2 else 'statement'
        words = []
        for i in range(n):
            if i or r.random() < 0.05:
                words += [';'] * r.choice([1, 1, 1, 2, 3])
            words += self.statement(rule)
        words += [';'] * r.choice([0, 0, 1, 2])
        if r.random() < 0.02:
            words = [w for w in words if w == ';']
        return self.render(words) + (self.gap() if r.random() < 0.1 else '')

    # ---- damage -------------------------------------------------------------

    def damage(self, text, other):
        """text with something changed; other: a text to take pieces from."""
        r = self.rng
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            at = r.randrange(len(text) + 1)
            end = min(len(text), at + r.choice([1, 1, 2, 5, 20]))
            how = r.randrange(8)
            if how == 0:
                text = text[:at] + text[end:]
            elif how in (1, 2):
                text = text[:at] + r.choice(TRAPS) + text[at:]
            elif how == 3:
                text = text[:at] + chr(r.choice([r.randrange(1, 128), r.randrange(32, 127), 0xe9])) + text[at + 1:]
            elif how == 4:
                text = text[:at] + text[at:end] + text[at:]
            elif how == 5:
                start = r.randrange(len(other) + 1)
                text = text[:at] + other[start:start + r.choice([1, 5, 20, 60])] + text[at:]
            elif how == 6:
                text = text[:at] + r.choice(PLAIN_WORDS) + ' ' + text[at:]
            else:
                text = text[:at] + text[at:end].swapcase() + text[end:]
        return text
