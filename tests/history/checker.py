"""Is a history of list-append transactions what an isolation level allows? Pure: lists
of transactions in, a report out.

Every append puts a value that occurs nowhere else at the end of a key's list, so a
list that was read tells who wrote it, and in which order. A transaction is

    Txn(client, begun, ended, fate, ops)

with times of one clock (ended: None when nobody knows), a fate of OK (its COMMIT was
acknowledged), FAIL (certainly not committed) or UNKNOWN, and its operations in order:

    ('a', key, value)    an append
    ('r', key, [...])    a read, own appends included
    ('s',)               SAVEPOINT
    ('u',)               ROLLBACK TO it: appends since are undone

What is looked for:

 1. Per value: an append of a transaction that failed, or that was undone, must be seen
    nowhere (aborted read, aborted append); an acknowledged one must be in the final list
    exactly once (lost, duplicate), in the order of its transaction; of a transaction with
    an unknown fate all appends are there, or none (torn); no value was made up (garbage).
 2. Per read: it must be a beginning of the final list and own appends (not a prefix),
    must not end between two appends of one transaction (intermediate read), and must
    agree with what its own transaction did and read before (internal).
 3. Cycles. Transactions are the nodes of a graph. ww: who wrote a value comes before who
    wrote the next one; wr: the writer of the last value read before the reader; rw: the
    reader before the writer of the first value it did not see; rt: who had ended before
    who began (by way of a chain of instants, one for each end). Strongly connected
    components hold the cycles; each gets the worst class that is found in it:

        G0            ww                          no isolation at all
        G1c           ww, wr                      reads of what is not yet committed
        G-single      one rw                      read skew, lost update
        G-nonadjacent more rw, never two in a row
        G2            two rw in a row             write skew

    and "-realtime" behind it where it needs an rt. SERIALIZABLE on one PostgreSQL server
    allows none of them. REPEATABLE READ is snapshot isolation there and allows G2 and
    G2-realtime: an edge other than rw says that the commit of the one was before the
    snapshot of the other, an rw that the snapshot was before the commit, and only two rw
    in a row can lead back in time.

A read-only transaction with an unknown fate is no node, as it promised nothing.

SPDX-License-Identifier: ISC
"""
import collections

OK, FAIL, UNKNOWN = 'ok', 'fail', 'unknown'
SERIALIZABLE, REPEATABLE_READ = 'serializable', 'repeatable read'
WW, WR, RW, RT = 'ww', 'wr', 'rw', 'rt'
# Worst first, those that snapshot isolation allows last: (name, kinds of edges, rw).
CLASSES = [
    ('G0', (WW,), 'none'),
    ('G1c', (WW, WR), 'none'),
    ('G-single', (WW, WR), 'one'),
    ('G-nonadjacent', (WW, WR), 'apart'),
    ('G0-realtime', (WW, RT), 'none'),
    ('G1c-realtime', (WW, WR, RT), 'none'),
    ('G-single-realtime', (WW, WR, RT), 'one'),
    ('G-nonadjacent-realtime', (WW, WR, RT), 'apart'),
    ('G2', (WW, WR), 'any'),
    ('G2-realtime', (WW, WR, RT), 'any'),
]
ALLOWED = {SERIALIZABLE: (), REPEATABLE_READ: ('G2', 'G2-realtime')}

Txn = collections.namedtuple('Txn', 'client begun ended fate ops')
Cycle = collections.namedtuple('Cycle', 'kind size steps')      # size: of its component
Anomaly = collections.namedtuple('Anomaly', 'kind text')


class Report:
    def __init__(self):
        self.anomalies = []         # cycles that are not allowed are among them
        self.cycles = []            # all of them
        self.nodes = 0
        self.edges = collections.Counter()

    def add(self, kind, text, *args):
        self.anomalies.append(Anomaly(kind, text % args))

    def kinds(self):
        return collections.Counter(a.kind for a in self.anomalies)

    def cycle_kinds(self):
        return collections.Counter(c.kind for c in self.cycles)


# ---- graphs: adjacency as a list of lists of (node, label) ------------------------------

def components(adj):
    """Tarjan's strongly connected components that have more than one node."""
    number = [0] * len(adj)
    low = [0] * len(adj)
    on = [False] * len(adj)
    stack, out, count = [], [], 0
    for root in range(len(adj)):
        if number[root]:
            continue
        work = [(root, 0)]
        while work:
            n, at = work.pop()
            if not at:
                count += 1
                number[n] = low[n] = count
                stack.append(n)
                on[n] = True
            else:                   # back from there
                low[n] = min(low[n], low[adj[n][at - 1][0]])
            edges = adj[n]
            while at < len(edges):
                m = edges[at][0]
                at += 1
                if not number[m]:
                    work += [(n, at), (m, 0)]
                    break
                if on[m]:
                    low[n] = min(low[n], number[m])
            else:
                if low[n] == number[n]:
                    part = []
                    while not part or part[-1] != n:
                        part.append(stack.pop())
                        on[part[-1]] = False
                    if len(part) > 1:
                        out.append(part)
    return out


def path(adj, begin, end):
    """A shortest way: [(label, node), ...] that ends with end, or None."""
    came, line = {begin: None}, collections.deque([begin])
    while line:
        n = line.popleft()
        for m, label in adj[n]:
            if m == end:
                steps = [(label, m)]
                while came[n]:
                    label, before = came[n]
                    steps.append((label, n))
                    n = before
                return steps[::-1]
            if m not in came:
                came[m] = (label, n)
                line.append(m)
    return None


def around(adj, nodes, tries=40):
    """A short cycle, by the nodes of a component: [(label, node), ...]."""
    best = None
    for n in sorted(nodes)[:tries]:
        steps = path(adj, n, n)
        if steps and (not best or len(steps) < len(best)):
            best = steps
            if len(best) == 2:
                break
    return best


def only(adj, nodes, kinds):
    """The part of a graph between these nodes, numbered anew, with these edges."""
    to = {n: i for i, n in enumerate(nodes)}
    return [[(to[m], k) for m, k in adj[n] if k in kinds and m in to] for n in nodes]


def apart(part):
    """Ways without two rw in a row: node 2n + 1 is n when one led there."""
    out = []
    for edges in part:
        plain = [(2 * m, k) for m, k in edges if k != RW]
        out += [plain + [(2 * m + 1, k) for m, k in edges if k == RW], plain]
    return out


def by_one(part, nodes):
    """A cycle with exactly one rw, by way of these nodes; part has all edges."""
    plain = [[(m, k) for m, k in edges if k != RW] for edges in part]
    best = None
    for n in nodes:
        for m, k in part[n]:
            if k == RW:
                steps = path(plain, m, n)
                if steps and (not best or len(steps) + 1 < len(best)):
                    best = [(RW, m)] + steps
                    if len(best) == 2:
                        return best
    return best


def worst(adj, nodes):
    """(class, [(label, node), ...]) of a component; nodes are sorted."""
    for name, kinds, rw in CLASSES:
        part = only(adj, nodes, kinds if rw == 'none' else kinds + (RW,))
        if rw in ('none', 'any'):
            found = components(part)
            steps = found and around(part, found[0])
        else:
            double = apart(part)
            found = components(double)
            if rw == 'one':
                steps = found and by_one(part, sorted({n // 2 for f in found for n in f}))
            else:
                steps = found and around(double, found[0])
                steps = steps and [(k, n // 2) for k, n in steps]
        if steps:
            return name, [(k, nodes[n]) for k, n in steps]
    raise AssertionError('a component without a cycle')


# ---- what a transaction did ---------------------------------------------------------------

class Deeds:
    """The operations of one transaction, worked out."""

    def __init__(self, txn):
        self.appends = {}           # key: values that stay
        self.undone = set()
        self.tried = {}             # value: key, also what was undone
        self.base = {}              # key: what others had written, when it was first read
        self.bases = []             # (key, that), for every read
        self.odd = []               # reads that contradict the transaction itself
        mark = {}
        for op in txn.ops:
            if op[0] == 'a':
                self.tried[op[2]] = op[1]
                self.appends.setdefault(op[1], []).append(op[2])
            elif op[0] == 's':
                mark = {k: len(v) for k, v in self.appends.items()}
            elif op[0] == 'u':
                for k, v in self.appends.items():
                    self.undone.update(v[mark.get(k, 0):])
                    del v[mark.get(k, 0):]
            elif op[0] == 'r':
                self.read(op[1], list(op[2]))
        self.appends = {k: v for k, v in self.appends.items() if v}

    def read(self, key, seen):
        own = self.appends.get(key, [])
        keep = len(seen) - len(own)
        base = seen[:max(keep, 0)]
        if keep < 0 or seen[keep:] != own:
            self.odd.append((key, seen, 'without its own %s at the end' % own))
            base = [v for v in seen if v not in self.tried]
        elif any(v in self.tried for v in base):
            self.odd.append((key, seen, 'with its own appends elsewhere than at the end'))
            base = [v for v in base if v not in self.tried]
        if self.base.setdefault(key, base) != base:
            self.odd.append((key, seen, 'after it had read %s' % self.base[key]))
        self.bases.append((key, base))


class Check:
    def __init__(self, txns, final, level):
        self.txns, self.level = txns, level
        self.deeds = [Deeds(t) for t in txns]
        self.report = Report()
        self.owner = {}             # value: (transaction, key)
        for i, d in enumerate(self.deeds):
            for v, k in d.tried.items():
                assert v not in self.owner, 'value %r is appended twice' % (v,)
                self.owner[v] = (i, k)
        self.final = final
        self.order = self.versions()
        self.place = {}             # value: its place in the list
        for values in self.order.values():
            for i, v in enumerate(values):
                self.place.setdefault(v, i)
        self.there = [self.stands(i) for i in range(len(txns))]

    def name(self, i):
        t = self.txns[i]
        return 'T%d (client %s, %s)' % (i, t.client, t.fate)

    def versions(self):
        """Each key's list as it grew: the final one, or the longest that was read."""
        if self.final is not None:
            return {k: list(v) for k, v in self.final.items()}
        out = {}
        for i, d in enumerate(self.deeds):
            for key, base in d.bases:
                seen = base + (d.appends.get(key, []) if self.txns[i].fate == OK else [])
                if len(seen) > len(out.get(key, ())):
                    out[key] = seen
        return out

    def stands(self, i):
        """Has the transaction taken effect?"""
        if self.txns[i].fate != UNKNOWN:
            return self.txns[i].fate == OK
        return any(v in self.place for vs in self.deeds[i].appends.values() for v in vs)

    def void(self, value):
        """Why nobody may see it, or ''."""
        i, _ = self.owner[value]
        if self.txns[i].fate == FAIL:
            return 'which failed'
        return 'which undid it' if value in self.deeds[i].undone else ''

    # 1

    def values(self):
        add = self.report.add
        for key, values in self.order.items():
            for v, n in collections.Counter(values).items():
                if n > 1:
                    add('duplicate append', 'key %s holds %s %d times', key, v, n)
                if self.owner.get(v, (0, None))[1] != key:
                    add('garbage', 'key %s holds %s, which nobody appended to it', key, v)
                elif self.final is not None and self.void(v):
                    add('aborted append', 'key %s holds %s of %s, %s', key, v,
                        self.name(self.owner[v][0]), self.void(v))
        if self.final is None:
            return
        for i, d in enumerate(self.deeds):
            for key, values in d.appends.items():
                for v in values:
                    if self.there[i] and v not in self.place:
                        add('lost append' if self.txns[i].fate == OK else 'torn transaction',
                            'key %s has not %s of %s', key, v, self.name(i))
                places = [self.place[v] for v in values if v in self.place]
                if places != sorted(places):
                    add('append order', 'key %s has the appends %s of %s in another order', key,
                        values, self.name(i))

    # 2

    def reads(self):
        add = self.report.add
        for i, d in enumerate(self.deeds):
            for key, seen, why in d.odd:
                add('internal', '%s read %s of key %s %s', self.name(i), seen, key, why)
            done = set()
            for key, base in d.bases:
                if (key, tuple(base)) not in done:
                    done.add((key, tuple(base)))
                    self.one_read(i, key, base)

    def one_read(self, i, key, base):
        add = self.report.add
        order = self.order.get(key, [])
        if base != order[:len(base)]:
            n = next((n for n, v in enumerate(base) if order[n:n + 1] != [v]), 0)
            add('not a prefix', '%s read key %s as %s: from place %d on it is %s', self.name(i),
                key, base, n, order[n:n + 5])
        for v in base:
            if self.owner.get(v, (0, None))[1] != key:
                add('garbage', '%s read %s in key %s, which nobody appended to it',
                    self.name(i), v, key)
            elif v in self.deeds[i].tried:
                add('internal', '%s read %s in key %s before it appended it', self.name(i), v, key)
            elif self.void(v):
                add('aborted read', '%s read %s in key %s, of %s, %s', self.name(i), v, key,
                    self.name(self.owner[v][0]), self.void(v))
        if base and base[-1] in self.owner:
            w, _ = self.owner[base[-1]]
            whole = self.deeds[w].appends.get(key, [])
            if base[-1] in whole[:-1]:
                add('intermediate read', '%s read key %s up to %s, in the middle of %s of %s',
                    self.name(i), key, base[-1], whole, self.name(w))

    # 3

    def graph(self):
        """Nodes are the transactions, and behind them the instants of their ends."""
        adj = [[] for _ in self.txns]

        def edge(a, b, kind):
            if a != b and (b, kind) not in adj[a]:
                adj[a].append((b, kind))
                self.report.edges[kind] += 1

        def writer(v):
            i = self.owner.get(v, (None,))[0]
            return i if i is not None and self.there[i] else None

        for values in self.order.values():
            ws = [w for w in (writer(v) for v in values) if w is not None]
            for a, b in zip(ws, ws[1:]):
                edge(a, b, WW)
        for i, d in enumerate(self.deeds):
            if not self.there[i]:
                continue
            for key, base in d.base.items():
                w = writer(base[-1]) if base else None
                if w is not None:
                    edge(w, i, WR)
                # what comes behind the last value that is in the list
                at = next((self.place[v] + 1 for v in base[::-1] if v in self.place), 0)
                order = self.order.get(key, [])
                w = next((w for w in map(writer, order[at:]) if w is not None), None)
                if w is not None:
                    edge(i, w, RW)
        self.instants(adj)
        return adj

    def instants(self, adj):
        ends = sorted((t.ended, i) for i, t in enumerate(self.txns)
                      if self.there[i] and t.fate == OK)
        begins = sorted((t.begun, i) for i, t in enumerate(self.txns) if self.there[i])
        n = len(adj)
        adj += [[] for _ in ends]
        for at, (_, i) in enumerate(ends):
            adj[i].append((n + at, RT))
            if at:
                adj[n + at - 1].append((n + at, RT))
        at = 0
        for begun, i in begins:
            while at < len(ends) and ends[at][0] < begun:
                at += 1
            if at:
                adj[n + at - 1].append((i, RT))

    def cycles(self):
        adj = self.graph()
        r = self.report
        r.nodes = sum(self.there)
        for part in components(adj):
            kind, steps = worst(adj, sorted(part))
            size = sum(n < len(self.txns) for n in part)
            r.cycles.append(Cycle(kind, size, steps))
            if kind not in ALLOWED[self.level]:
                r.add(kind, 'a cycle in a component of %d transactions: %s', size,
                      self.tell(steps))

    def tell(self, steps):
        """The cycle in words, without the instants."""
        n = len(self.txns)
        while steps[-1][1] >= n:            # begin at a transaction
            steps = steps[-1:] + steps[:-1]
        out, last = [self.name(steps[-1][1])], None
        for kind, node in steps:
            if node < n:
                out.append('-%s-> %s' % (kind, self.name(node)))
                last = node
        text = ' '.join(out)
        for i in sorted({m for _, m in steps if m < n}):
            t = self.txns[i]
            text += '\n        T%d %.6f .. %s: %s' % (
                i, t.begun, '?' if t.ended is None else '%.6f' % t.ended, shown(t.ops))
        assert last is not None
        return text


def shown(ops):
    out = []
    for op in ops:
        if op[0] == 'r':
            seen = ' '.join(str(v) for v in op[2][-4:])
            out.append('r%s=[%s%s]' % (op[1], '.. ' if len(op[2]) > 4 else '', seen))
        elif op[0] == 'a':
            out.append('a%s+=%s' % (op[1], op[2]))
        else:
            out.append({'s': 'savepoint', 'u': 'rollback to it'}[op[0]])
    return ', '.join(out)


def check(txns, final=None, level=SERIALIZABLE):
    """final: {key: list}, as it was when all was over; without it only reads are
    judged."""
    c = Check(list(txns), final, level)
    c.values()
    c.reads()
    c.cycles()
    return c.report
