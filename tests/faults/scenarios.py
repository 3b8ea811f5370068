"""Faults of processes: death, hang, restart, promotion, and at random.

SPDX-License-Identifier: ISC
"""
import random
import signal
import time

from cluster import until
from lab import fault

STANDBY, PRIMARY = 'a standby', 'the primary'


def victim(lab, which):
    return lab.primary if which == PRIMARY else lab.standbys[0]


# ---- death ------------------------------------------------------------------------------

@fault('none', 'nothing happens')
def none(lab):
    yield
    yield lab.seconds
    yield


@fault('kill-standby', 'SIGKILL of all of a standby; it comes back')
def kill_standby(lab):
    node = lab.standbys[0]
    yield
    node.kill()
    yield lab.seconds
    node.start()
    yield


@fault('kill-primary', 'SIGKILL of all of the primary; a standby is promoted at once; '
       'the old one comes back as a standby')
def kill_primary(lab):
    old = lab.primary
    yield
    old.kill()
    lab.promote()
    yield lab.seconds
    old.rebuild(lab.primary)
    yield


@fault('all-down', 'SIGKILL of all three nodes; they come back after 10 s', lasts=10 / 6)
def all_down(lab):
    yield
    for n in lab.nodes:
        n.kill()
    yield lab.seconds * 10 / 6
    for n in lab.nodes:
        n.start(wait=False)
    for n in lab.nodes:
        n.wait_ready()
    yield


# ---- hang -------------------------------------------------------------------------------

def hang(which):
    def steps(lab):
        node = victim(lab, which)
        yield
        node.freeze()
        try:
            yield lab.seconds
        finally:
            node.cont()
        yield
    return steps


fault('hang-standby', 'SIGSTOP of all of a standby, then SIGCONT')(hang(STANDBY))
fault('hang-primary', 'SIGSTOP of all of the primary, then SIGCONT; nobody is promoted')(
    hang(PRIMARY))


# ---- restart ----------------------------------------------------------------------------

def restart(which, how):
    def steps(lab):
        node = victim(lab, which)
        yield
        node.stop(how)
        node.start()
        yield
        yield
    return steps


for _how, _what in ((signal.SIGINT, 'fast'), (signal.SIGQUIT, 'immediate')):
    for _which in (STANDBY, PRIMARY):
        fault('%s-restart-%s' % (_what, _which.split()[1]), '%s restart (%s) of %s' %
              (_what, _how.name, _which), lasts=0.1)(restart(_which, _how))


@fault('rolling-restart', 'fast restart of all nodes, the primary last, each when the one '
       'before it streams again', lasts=0.2)
def rolling_restart(lab):
    yield
    for n in [*lab.standbys, lab.primary]:
        n.stop(signal.SIGINT)
        n.start()
        lab.whole()
    yield
    yield


@fault('terminate', 'all server connections are terminated (pg_terminate_backend), five times',
       lasts=0.5)
def terminate(lab):
    yield
    for _ in range(5):
        for n in lab.nodes:
            terminate_all(n)
        time.sleep(lab.seconds / 10)
    yield
    yield


def terminate_all(node):
    """The sessions of the load; their pids."""
    rows = node.sql("SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'app' AND backend_type = 'client backend'")
    return [r[0] for r in rows]


# ---- promotion --------------------------------------------------------------------------

def fence(node):
    """No writer stays: sessions of now are ended, those to come are read-only."""
    node.sql('ALTER SYSTEM SET default_transaction_read_only = on')
    node.reload()
    until(lambda: node.one('SHOW default_transaction_read_only') == 'on', 10)
    pids = terminate_all(node)
    until(lambda: not pids or node.one(
        'SELECT count(*) FROM pg_stat_activity WHERE pid IN (%s)' % ','.join(pids)) == '0', 20)


@fault('promote-fenced', 'the primary is made read-only, its sessions are ended, a standby is '
       'promoted while it is up; later it comes back as a standby')
def promote_fenced(lab):
    old = lab.primary
    yield
    fence(old)
    lsn = old.one('SELECT pg_current_wal_lsn()')
    until(lambda: any(n.one("SELECT pg_last_wal_receive_lsn() >= '%s'" % lsn) == 't'
                      for n in lab.standbys), 20, why='a standby to have everything')
    lab.promote()
    yield lab.seconds
    old.rebuild(lab.primary)
    yield


# ---- at random --------------------------------------------------------------------------

class Dice:
    """Faults of an instant or a few, one after the other, from a seed."""

    def __init__(self, lab, seed):
        self.lab, self.random = lab, random.Random(seed)
        self.kinds = [self.kill, self.hang, self.restart, self.terminate, self.promote]

    def one(self):
        kind = self.random.choice(self.kinds)
        node = self.random.choice(self.lab.nodes)
        self.lab.says('%s %s' % (kind.__name__, node.name))
        kind(node)
        self.lab.whole()

    def nap(self, longest):
        time.sleep(self.random.uniform(0.1, longest))

    def kill(self, node):
        node.kill()
        self.nap(3)
        node.start()

    def hang(self, node):
        node.freeze()
        try:
            self.nap(4)
        finally:
            node.cont()

    def restart(self, node):
        node.stop(self.random.choice([signal.SIGINT, signal.SIGQUIT]))
        node.start()

    def terminate(self, node):
        terminate_all(node)
        self.nap(0.5)

    def promote(self, _node):
        old = self.lab.primary
        old.kill()
        self.nap(1)
        self.lab.promote()
        self.nap(2)
        old.rebuild(self.lab.primary)

    def network(self, node):
        name = self.random.choice(['blackhole', 'loss', 'refuse', 'deaf', 'mute'])
        self.lab.says(name)
        node.cut(name)
        self.nap(4)
        node.heal()


@fault('random', '30 s of random faults, one after the other', 'best', 5)
def at_random(lab):
    dice = Dice(lab, lab.seed)
    if hasattr(lab.primary, 'cut'):
        dice.kinds += [dice.network, dice.network]
    yield
    end = time.monotonic() + lab.seconds * 5
    while time.monotonic() < end:
        dice.one()
    yield
    yield
