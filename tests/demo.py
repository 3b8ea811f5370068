#!/usr/bin/python3
"""The story of `make demo`. Everything in the table at the end was counted in
this run.

Load, all of it through pgweir, all the time:

    hot counter   8 clients increment 4 rows at SERIALIZABLE, one UPDATE each;
                  PostgreSQL fails many of them with 40001
    transactions  4 clients: BEGIN, two statements, COMMIT, with a token each
    reads         4 clients, on a second pgweir with target_session_attrs=
                  prefer-standby

and pgbench (TPC-B, before the death and after it; select-only, across it),
which cannot measure pauses and gives up at a lost connection: hence the small
clients here. Half-way the primary dies by SIGKILL and a standby is promoted.

SPDX-License-Identifier: ISC
"""
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'integration'))
sys.dont_write_bytecode = True

import psycopg2  # noqa: E402

import wire  # noqa: E402
from cluster import BIN, SETUP, Cluster, Postgres, alive, make_base, tail, until  # noqa: E402

PGWEIR = os.environ.get('PGWEIR') or os.path.join(ROOT, 'build', 'pgweir')
KEEP = os.environ.get('DEMO_KEEP', '') not in ('', '0')
STEADY, AFTER = 8, 8      # seconds of load before the death and after the promotion
T0 = time.monotonic()


def say(text):
    print('%5.1f s  %s' % (time.monotonic() - T0, text), flush=True)


class Pgweir:
    def __init__(self, uri, base, name):
        self.name = name
        self.log = os.path.join(base, name + '.log')
        with open(self.log, 'wb') as err:
            self.proc = subprocess.Popen([PGWEIR, uri, '-p', '0'], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=err, cwd='/', start_new_session=True)
        if not select.select([self.proc.stdout], [], [], 20)[0]:
            raise RuntimeError('pgweir prints nothing')
        self.banner = self.proc.stdout.readline().decode().strip()
        m = re.search(r'port=(\d+)', self.banner)
        if not m:
            with open(self.log, errors='replace') as f:
                raise RuntimeError('pgweir does not start:\n' + f.read())
        self.port = int(m.group(1))

    def console(self, sql):
        with wire.Conn(self.port, database='pgweir') as c:
            names, rows = [], []
            for m in c.ask(wire.query(sql)):
                if m[0] == 'T':
                    names = m[1]
                elif m[0] == 'D':
                    rows.append(dict(zip(names, m[1])))
            return rows

    def absorbed(self):
        """Retries that were made so far."""
        rows = {r['name']: int(r['value']) for r in self.console('SHOW RETRIES')}
        return rows['retried']

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGQUIT)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(10)
        self.proc.stdout.close()


class Client(threading.Thread):
    """One connection in a loop of step(). Counts, and measures the longest time
    from the end of one success to the end of the next."""

    def __init__(self, load, port, dbname):
        super().__init__(daemon=True)
        self.load, self.port, self.dbname = load, port, dbname
        self.done = self.reconnects = 0
        self.errors, self.unknown = [], 0
        self.pause = 0.0
        self.sure, self.maybe = [], []      # tokens
        self.end = False
        self.start()

    def connect(self):
        c = psycopg2.connect(host='127.0.0.1', port=self.port, user='app', dbname=self.dbname,
                             application_name='demo')
        c.autocommit = self.load.autocommit
        return c

    def run(self):
        c, last = None, time.monotonic()
        while not self.end:
            try:
                if c is None or c.closed:
                    c = self.connect()
                    self.reconnects += 1
                self.load.step(self, c)
                self.done += 1
                now = time.monotonic()
                self.pause, last = max(self.pause, now - last), now
            except psycopg2.Error as e:
                self.errors.append((e.pgcode or 'connection lost', str(e).split('\n')[0]))
                try:
                    if c and not c.closed:
                        c.rollback()
                except psycopg2.Error:
                    c = None
        self.pause = max(self.pause, time.monotonic() - last)
        if c and not c.closed:
            c.close()


class Load:
    autocommit = True

    def __init__(self, name, n, port, dbname):
        self.name = name
        self.clients = [Client(self, port, dbname) for _ in range(n)]

    def stop(self):
        for c in self.clients:
            c.end = True
        for c in self.clients:
            c.join(30)
        if any(c.is_alive() for c in self.clients):
            raise RuntimeError('%s: a client hangs' % self.name)

    done = property(lambda self: sum(c.done for c in self.clients))
    errors = property(lambda self: [e for c in self.clients for e in c.errors])
    pause = property(lambda self: max(c.pause for c in self.clients))


class Hot(Load):
    def step(self, client, c):
        with c.cursor() as k:
            k.execute('UPDATE hot SET n = n + 1 WHERE id = %d' % (client.done % 4))


class Transactions(Load):
    autocommit = False

    def step(self, client, c):
        token = '%d-%d' % (client.ident, client.done + len(client.errors))
        with c.cursor() as k:
            k.execute('INSERT INTO tokens VALUES (%s)', (token,))
            k.execute('SELECT count(*) FROM tokens WHERE t = %s', (token,))
            client.maybe.append(token)
            c.commit()
            client.maybe.pop()
            client.sure.append(token)


class Reads(Load):
    def step(self, client, c):
        with c.cursor() as k:
            k.execute('SELECT abalance FROM pgbench_accounts WHERE aid = %d' % (client.done % 1000 + 1))
            k.fetchone()


class Pgbench:
    """pgbench in the background; its log gives the longest latency."""

    def __init__(self, base, name, port, *args):
        self.name = name
        self.prefix = os.path.join(base, 'pgbench-' + name)
        self.proc = subprocess.Popen(
            [os.path.join(BIN, 'pgbench'), '-h', '127.0.0.1', '-p', str(port), '-U', 'app', '-n',
             '--max-tries=1', '--failures-detailed', '-l', '--log-prefix=' + self.prefix, *args, 'app'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=base)

    def result(self):
        out = self.proc.communicate(timeout=60)[0].decode(errors='replace')
        m = re.search(r'actually processed: (\d+)', out)
        f = re.search(r'number of failed transactions: (\d+)', out)
        if not m:
            raise RuntimeError('pgbench %s:\n%s' % (self.name, out))
        self.done, self.failed = int(m.group(1)), int(f.group(1)) if f else 0
        self.failed += len(re.findall(r'client \d+ aborted', out))
        self.text = out
        worst = 0
        for p in os.listdir(os.path.dirname(self.prefix)):
            path = os.path.join(os.path.dirname(self.prefix), p)
            if path.startswith(self.prefix + '.'):
                with open(path) as log:
                    for line in log:
                        v = line.split()
                        if len(v) > 2 and v[2].isdigit():
                            worst = max(worst, int(v[2]))
        self.pause = worst / 1e6
        return self

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()


class Demo:
    def __init__(self):
        self.base = make_base()
        self.daemons = []
        self.cleanup = [lambda: shutil.rmtree(self.base, ignore_errors=True)]

    def explain(self):
        """What there is to see when something went wrong."""
        for w in self.daemons:
            print('---- end of the log of ' + w.name, file=sys.stderr)
            print(tail(w.log, 25), file=sys.stderr)
            for sql in ('SHOW POOLS', 'SHOW NODES', 'SHOW LISTS'):
                try:
                    print('%s: %s' % (sql, w.console(sql)), file=sys.stderr)
                except Exception as e:  # pylint: disable=broad-except
                    print('%s: %s' % (sql, e), file=sys.stderr)

    def close(self):
        for fn in reversed(self.cleanup):
            try:
                fn()
            except Exception as e:  # pylint: disable=broad-except
                print('clean up: %s' % e, file=sys.stderr)

    def cluster(self):
        template = Postgres(self.base, 'template').init().start()
        self.cleanup.append(lambda: template.stop(signal.SIGQUIT))
        with template.connect(database='postgres') as c:
            for line in SETUP.strip().splitlines():
                c.sql(line)
            c.sql('CREATE DATABASE hot OWNER app')
            c.sql("ALTER DATABASE hot SET default_transaction_isolation = 'serializable'")
        template.sql('CREATE TABLE hot (id int PRIMARY KEY, n bigint NOT NULL); '
                     'INSERT INTO hot SELECT i, 0 FROM generate_series(0, 3) i', user='app', database='hot')
        template.sql('CREATE TABLE tokens (t text PRIMARY KEY)', user='app')
        subprocess.run([BIN + '/pgbench', '-i', '-q', '-s', '5', '-h', '127.0.0.1', '-p', str(template.port),
                        '-U', 'app', 'app'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        template.stop()
        cl = Cluster(self.base, 'node', template)
        self.cleanup.append(cl.stop)
        # So that nothing acknowledged is lost with the primary: it waits for the
        # standby that will follow it. Set here and not before the base backups,
        # or the new primary would wait for itself.
        with cl.nodes[0].connect() as c:
            c.sql("ALTER SYSTEM SET synchronous_standby_names = 'heir'")
        with open(cl.nodes[1].data + '/postgresql.auto.conf', 'a') as f:
            f.write("primary_conninfo = 'host=127.0.0.1 port=%d user=postgres application_name=heir'\n" %
                    cl.nodes[0].port)
        cl.nodes[1].reload()
        cl.nodes[0].reload()
        until(lambda: cl.nodes[0].one("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == '1',
              30, why='the heir to be a synchronous standby')
        return cl

    def pgweir(self, uri, name):
        w = Pgweir(uri, self.base, name)
        self.daemons.append(w)
        self.cleanup.append(w.stop)
        return w

    def pgbench(self, name, port, *args):
        b = Pgbench(self.base, name, port, *args)
        self.cleanup.append(b.kill)
        return b

    def run(self):
        say('starting a primary and two streaming standbys (PostgreSQL in %s)' % self.base)
        cl = self.cluster()
        rw_uri = cl.uri(target_session_attrs='read-write')
        say("pgweir '%s'" % rw_uri)
        rw = self.pgweir(rw_uri, 'pgweir-rw')
        print('         ' + rw.banner)
        ro = self.pgweir(cl.uri(target_session_attrs='prefer-standby'), 'pgweir-ro')

        hot, tx, reads = Hot('hot counter', 8, rw.port, 'hot'), Transactions('transactions', 4, rw.port, 'app'), \
            Reads('reads', 4, ro.port, 'app')
        loads = [hot, tx, reads]
        b1 = self.pgbench('read-write', rw.port, '-c', '4', '-T', str(STEADY - 1))
        b2 = self.pgbench('read-only', ro.port, '-S', '-c', '4', '-T', str(STEADY + AFTER))
        say('load is running: hot counter, transactions, reads, pgbench read-write and read-only')
        b1.result()
        say('pgbench read-write: %d transactions, %d failed' % (b1.done, b1.failed))

        died = time.monotonic()
        say('kill -9 of the primary (port %d) and all its processes' % cl.nodes[0].port)
        cl.nodes[0].kill()
        cl.nodes[1].promote()
        say('standby on port %d promoted, %.1f s after the death' % (cl.nodes[1].port, time.monotonic() - died))
        with open(cl.nodes[2].data + '/postgresql.auto.conf', 'a') as f:
            f.write("primary_conninfo = 'host=127.0.0.1 port=%d user=postgres'\n" % cl.nodes[1].port)
        cl.nodes[2].reload()
        before = tx.done
        until(lambda: tx.done > before + 8, 30, 0.005, 'writers to go on')
        say('writers go on, %.1f s after the death' % (time.monotonic() - died))
        b3 = self.pgbench('read-write-after', rw.port, '-c', '4', '-T', str(AFTER - 2))
        b3.result()
        say('pgbench read-write on the new primary: %d transactions, %d failed' % (b3.done, b3.failed))
        b2.result()
        for x in loads:
            x.stop()
        absorbed = rw.absorbed() + ro.absorbed()

        new = cl.nodes[1]
        n = int(new.one('SELECT sum(n) FROM hot', database='hot'))
        tokens = {r[0] for r in new.sql('SELECT t FROM tokens')}
        lost = sum(1 for c in tx.clients for t in c.sure if t not in tokens)
        known = {t for c in tx.clients for t in c.sure + c.maybe}
        extra = len(tokens - known)
        unknown = len(hot.errors)     # an error may hide a commit, never a second one
        lost_hot, twice_hot = max(0, hot.done - n), max(0, n - hot.done - unknown)

        print()
        print('%-44s %12s %8s %14s %18s' % ('', 'transactions', 'errors', '40001 absorbed', 'longest pause, ms'))
        rows = [(b1.name + ' (pgbench, before)', b1.done, b1.failed, '', b1.pause),
                ('read-write (pgbench, after the promotion)', b3.done, b3.failed, '', b3.pause),
                ('read-only (pgbench, across the death)', b2.done, b2.failed, '', b2.pause),
                ('hot counter, SERIALIZABLE (across)', hot.done, len(hot.errors), str(absorbed), hot.pause),
                ('transactions (across)', tx.done, len(tx.errors), '', tx.pause),
                ('reads (across)', reads.done, len(reads.errors), '', reads.pause)]
        for name, done, errs, ab, pause in rows:
            print('%-44s %12d %8d %14s %18d' % (name, done, errs, ab, pause * 1000))
        print('%-44s %12d %8d %14d %18d' % ('all', sum(r[1] for r in rows), sum(r[2] for r in rows), absorbed,
                                            max(r[4] for r in rows) * 1000))
        print('acknowledged writes lost: %d   done twice or never asked for: %d' %
              (lost + lost_hot, extra + twice_hot))
        codes = {}
        for e, _ in hot.errors + tx.errors + reads.errors:
            codes[e] = codes.get(e, 0) + 1
        if codes:
            print('errors: ' + ', '.join('%s x %d' % p for p in sorted(codes.items())))
        print()
        if KEEP:
            print('Still running (DEMO_KEEP=1):')
            print('  writes, to the primary:     ' + rw.banner.split('with: ')[-1])
            print('  reads, to the standbys:     ' + ro.banner.split('with: ')[-1])
            print("  console:                    psql 'host=127.0.0.1 port=%d user=app dbname=pgweir' -c 'SHOW NODES'"
                  % rw.port)
            for i, node in enumerate(cl.nodes):
                print("  node %d, directly:           psql 'host=127.0.0.1 port=%d user=postgres dbname=app'%s" %
                      (i, node.port, '' if alive(node.proc.pid) else '  (dead)'))
            print('  logs:                       %s/*.log' % self.base)
            print('Stop it all with Ctrl-C or: kill %d' % os.getpid(), flush=True)
            while True:
                signal.pause()
        return 0 if not lost + lost_hot + extra + twice_hot else 1


def main():
    def leave(num, _frame):
        raise SystemExit(128 + num if not KEEP else 0)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, leave)
    demo = Demo()
    try:
        status = demo.run()
    except Exception:
        demo.explain()
        raise
    finally:
        # a second Ctrl-C must not leave half of it running
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        demo.close()
    say('everything is stopped and removed')
    return status


if __name__ == '__main__':
    sys.exit(main())
