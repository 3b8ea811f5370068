#!/usr/bin/python3
"""The lexer against PostgreSQL's own parser (libpg_query, as python3-pglast has it).

    oracle.py --facts BUILD/lexer-facts [--seconds N | --chunks N] [--seed S]
              [--text SQL | --file FILE]

Texts are made from rules.txt, cut and mended and mixed (grammar.py), and taken from
what PostgreSQL brings with it. Of each that the parser takes, what the lexer says is
held against the tree (expect.py). Without --seconds the texts are the same each time;
with it they are new ones for so long, and the seed is printed. What fails is made as
short as it can be. Exit status 1: something failed, or too little was asked.

SPDX-License-Identifier: ISC
"""
import argparse
import collections
import glob
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time

from pglast import parser

import expect
import grammar

PER_CHUNK = 500
DAMAGED = 3          # of each text that parses
CHUNKS = 40
LONGEST = 8000       # of a text, in characters
SHOWN = 12           # failures that are printed, one of each kind

# So often at least each must have been asked in a chunk's thousand texts, or the texts
# are not what they should be.
ENOUGH = {
    'sure': 500, 'reads': 60, 'retryable': 60, 'whole': 100, 'session': 20, 'denied': 1,
    'exit': 20, 'tokens': 10000, 'settings': 10, 'leaves set_config': 2, 'leaves nextval': 1,
    'leaves something temporary': 3, 'leaves WITH HOLD': 0.5, 'leaves EXECUTE': 1,
    'TransactionStmt': 50, 'VariableSetStmt': 20, 'CreateFunctionStmt': 2, 'RuleStmt': 1,
    'goes on behind a comment': 1, 'DoStmt': 1, 'CallStmt': 1, 'CopyStmt': 2, 'ExplainStmt': 10, 'MergeStmt': 2,
    'PrepareStmt': 2, 'ExecuteStmt': 1, 'DeallocateStmt': 1, 'ListenStmt': 0.5,
}

SOURCES = ['/usr/share/postgresql/*/*.sql', '/usr/share/postgresql/*/extension/*.sql',
           os.path.join(expect.ROOT, 'tests/fuzz/corpus/lexer/*')]


# The second: what it says of a text is cut in the middle of a character.
REFUSED = (parser.ParseError, UnicodeError)


class Says:
    """A line of facts.c."""

    def __init__(self, line, raw):
        f = dict(pair.split('=', 1) for pair in line.split(' '))
        self.raw, self.length = raw, len(raw)
        for name in ('sure', 'txn', 'listed', 'chain', 'retryable', 'reads', 'whole', 'session',
                     'exit', 'nextval'):
            setattr(self, name, f[name] == '1')
        self.statements, self.leaves, self.second = int(f['statements']), int(f['leaves']), int(f['second'])
        self.first, self.last = f['first'], f['last']
        *tokens, end = f['tokens'].split(',')
        self.bad = end == '!'
        self.tokens = [(k, int(a), int(b)) for k, a, b in (t.split(':') for t in tokens)]
        self.settings = [(bytes.fromhex(n).decode('utf-8', 'replace'), r == '1') for n, r in
                         (s.split(':') for s in f['settings'].split(',')[:-1])]


def ask_lexer(facts, raws):
    given = b''.join(b'%d\n%s' % (len(r), r) for r in raws)
    out = subprocess.run([facts], input=given, stdout=subprocess.PIPE, check=True).stdout
    lines = out.decode('ascii').splitlines()
    if len(lines) != len(raws):
        raise SystemExit(f'{facts}: {len(lines)} answers to {len(raws)} texts')
    return [Says(line, raw) for line, raw in zip(lines, raws)]


# A string that goes on behind a line comment: quote, comments, a newline, quote.
GOES_ON = re.compile(r"(?<=')((?:[ \t\f\r\n]*--[^\r\n]*\r?\n)+[ \t\f\r\n]*)(?=')")


def goes_on(text, a, b):
    """Does a string that has come to its end at a go on at b?"""
    try:
        for t in parser.scan(text):
            if t.start < a and b <= t.end and t.name.endswith('CONST'):
                piece = parser.scan(text[t.start:a])
                return len(piece) == 1 and piece[0].end == a - t.start - 1
    except REFUSED:
        pass
    return False


def for_parser(text):
    """The text as the parser can be asked of it, or None. libpg_query gives comments
    away as tokens, and so ends a string there that goes on behind one, unlike the
    server: such comments become blanks."""
    clear, at, spans = '', 0, []
    for m in GOES_ON.finditer(text):
        clear += text[at:m.start()]
        start, at = len(clear), m.end()
        clear += ''.join(c if c in '\r\n' else ' ' * len(c.encode()) for c in m.group())
        spans.append((start, len(clear)))
    if not spans:
        return text
    clear += text[at:]
    # what was no string there, but looked like one, is not asked about
    return clear if all(goes_on(clear, a, b) for a, b in spans) else None


def parse(text):
    """The statements of the tree, or None."""
    if text is None or '\0' in text or len(text) > LONGEST:
        return None
    try:
        tree = parser.parse_sql_json(text)
        return json.loads(tree)['stmts'] if '"stmts"' in tree else []
    except REFUSED:
        return None


def scan(text):
    """The scanner's tokens, offsets in bytes."""
    tokens = expect.tokens_of(parser.scan(text), text)
    if text.isascii():
        return tokens
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(k, at[a], None if b is None else at[b]) for k, a, b in tokens]


def check(facts, texts):
    """(counts, [(text, violations)]) of those that the parser takes."""
    asked, failed, taken = collections.Counter(), [], []
    for text in texts:
        clear = for_parser(text)
        stmts = parse(clear)
        if stmts is not None:
            taken.append((text, clear, stmts))
    asked['texts'], asked['taken'] = len(texts), len(taken)
    for (text, clear, stmts), says in zip(taken, ask_lexer(facts, [t[0].encode() for t in taken])):
        v = expect.violations(stmts, scan(clear), says)
        asked += v.asked
        asked['goes on behind a comment'] += clear != text
        if v:
            failed.append((text, list(v)))
    return asked, failed, [t[0] for t in taken]


def chunk(job):
    facts, seed, number = job
    rng = random.Random(f'{seed}/{number}')
    g = grammar.Grammar(rng)
    asked, failed, taken = check(facts, [g.text() for _ in range(PER_CHUNK)])
    damaged = [g.damage(t, rng.choice(taken)) for t in taken for _ in range(DAMAGED)]
    more, also, _ = check(facts, damaged)
    asked['damaged'], asked['damaged and taken'] = more.pop('texts'), more.pop('taken')
    return number, asked + more, failed + also


def pieces(tree, raw):
    """The statements of a text, one by one."""
    for s in tree:
        at = s.get('stmt_location', 0)
        n = s.get('stmt_len', 0) or len(raw) - at
        yield raw[at:at + n].decode('utf-8', 'replace')


def shipped():
    """SQL that was written by people: PostgreSQL's own, and the corpus of the fuzzer."""
    texts = []
    for path in sorted(p for s in SOURCES for p in glob.glob(s)):
        text = open(path, encoding='utf-8', errors='replace', newline='').read()
        text = re.sub(r'(?m)^\\.*$', '', text)  # psql's own
        texts.append(text)
        try:
            tree = json.loads(parser.parse_sql_json(text)).get('stmts', [])
        except REFUSED:
            continue
        texts.extend(pieces(tree, text.encode()))
    return texts


def shorter(facts, text, kind):
    """The shortest text found that the parser takes and that fails in the same way."""
    def fails(t):
        return any(w.split(':')[0] == kind for _, ws in check(facts, [t])[1] for w in ws)

    step = max(1, len(text) // 2)
    while step:
        at = 0
        while at < len(text):
            cut = text[:at] + text[at + step:]
            if fails(cut):
                text = cut
            else:
                at += step
        step //= 2
    return text


class Run:
    def __init__(self, facts):
        self.facts, self.asked, self.failures = facts, collections.Counter(), 0
        self.first, self.kinds = {}, collections.Counter()

    def take(self, where, asked, failed):
        self.asked += asked
        self.failures += len(failed)
        for text, ws in failed:
            # one of each kind, by what stands before the numbers
            kind = re.sub(r'[\d(].*', '', ws[0])[:60]
            self.kinds[kind] += 1
            if kind not in self.first or len(text) < len(self.first[kind][1]):
                self.first[kind] = (where, text, ws)

    def show(self):
        for kind, (where, text, ws) in list(self.first.items())[:SHOWN]:
            name = ws[0].split(':')[0]
            text = shorter(self.facts, text, name)
            ws = [w for _, all_ in check(self.facts, [text])[1] for w in all_]
            print(f'lexer oracle: {where}, {self.kinds[kind]} such: {text!r}')
            for w in ws:
                print(f'    {w}')

    def too_few(self):
        thousands = self.asked['texts'] / 1000
        return [f'{name}: {self.asked[name]}' for name, n in ENOUGH.items()
                if self.asked[name] < n * thousands]


def jobs(facts, args, seed, until):
    number = 0
    while number < args.chunks if until is None else time.monotonic() < until:
        yield facts, seed, number
        number += 1


def limited(pool, make, ahead):
    """imap_unordered, but for no more jobs than `ahead` at a time."""
    waiting = collections.deque()
    for job in make:
        waiting.append(pool.apply_async(chunk, (job,)))
        if len(waiting) >= ahead:
            yield waiting.popleft().get()
    while waiting:
        yield waiting.popleft().get()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--facts', required=True)
    p.add_argument('--seconds', type=float)
    p.add_argument('--chunks', type=int, default=CHUNKS)
    p.add_argument('--seed')
    p.add_argument('--text')
    p.add_argument('--file')
    p.add_argument('--counts', action='store_true')
    args = p.parse_args()
    facts = os.path.abspath(args.facts)
    run = Run(facts)
    if args.text is not None or args.file:
        text = args.text if args.text is not None else open(args.file, newline='').read()
        asked, failed, taken = check(facts, [text])
        if not taken:
            raise SystemExit('the parser does not take it')
        run.take('the text', asked, failed)
        run.show()
        return 1 if failed else 0
    seed = args.seed or ('fixed' if args.seconds is None else str(random.SystemRandom().randrange(10 ** 9)))
    until = None if args.seconds is None else time.monotonic() + args.seconds
    asked, failed, taken = check(facts, shipped())
    print(f'lexer oracle: seed {seed}; {len(taken)} of PostgreSQL\'s own texts')
    run.take('shipped', collections.Counter({'shipped': len(taken)}), failed)
    with multiprocessing.Pool(2) as pool:
        for number, asked, failed in limited(pool, jobs(facts, args, seed, until), 4):
            run.take(f'--seed {seed}, chunk {number}', asked, failed)
    run.show()
    few = run.too_few()
    if few:
        print('lexer oracle: too few of these were made: ' + ', '.join(few))
    a = run.asked
    if args.counts:
        for name, n in sorted(a.items()):
            print(f'    {name} {n}')
    print(f'lexer oracle: {a["taken"] + a["damaged and taken"]} texts ({a["damaged and taken"]} of them '
          f'damaged) and {a["tokens"]} tokens, {a["sure"]} texts sure, {a["retryable"]} retryable, '
          f'{a["reads"]} that only read: {run.failures} failed')
    return 1 if run.failures or few or len(taken) < 1000 else 0


if __name__ == '__main__':
    sys.exit(main())
