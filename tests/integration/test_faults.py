"""The laboratory of tests/faults in short: a second or so for each fault, and
what holds in each of them. `make faults` measures how long it takes.

What never may happen: an acknowledged write lost or doubled, money made or lost,
a wrong answer, a client disconnected. Which errors may be seen stands with each.

SPDX-License-Identifier: ISC
"""
import os
import shutil
import sys

import pytest

import wire
from conftest import ROOT, SLOW, db, ini, until

sys.path.insert(0, os.path.join(ROOT, 'tests', 'faults'))

import lab as lab_  # noqa: E402
import load as load_  # noqa: E402
import net  # noqa: E402
import scenarios  # noqa: E402,F401
import scenarios_net  # noqa: E402,F401
from cluster import tail  # noqa: E402

pytestmark = pytest.mark.weir_only
FAULTS = {f.name: f for f in lab_.FAULTS}
LOST = {'write': {'40003'}, 'transaction': {'40001', '40003'}}      # what was in flight


@pytest.fixture(scope='module')
def labs(base):
    """labs(class): a cluster for all faults of a kind; each finds it whole."""
    where, made = base + '/faults', {}
    os.mkdir(where)
    shutil.chown(where, os.stat(base).st_uid, os.stat(base).st_gid)
    template = lab_.make_template(where, pgbench=False)

    def make(cls):
        if cls not in made:
            made[cls] = cls(where, template, cls.__name__, seconds=1.5)
            made[cls].open()
        return made[cls].reset()
    yield make
    for x in made.values():
        x.close()


def play(f, lab, after=1.5 * SLOW):
    daemon = lab_.Daemon(lab.base, lab_.config(lab.nodes))
    try:
        v = lab_.play(f, lab, daemon, lab_.Timing(0.5, after, False, lab.seconds))
        v.daemon = v.daemon or daemon.stop()
        v.log = tail(daemon.logfile, 40)
        return v
    finally:
        daemon.stop()


@pytest.fixture(scope='module')
def played(labs):
    """played(name): the verdict; each fault is played once."""
    seen = {}

    def make(name):
        f = FAULTS[name]
        if f.kind == 'net' and (os.geteuid() or not shutil.which('nft') or not shutil.which('ip')):
            pytest.skip('needs root, nftables and iproute2')
        if name not in seen:
            seen[name] = None       # in case it fails: not twice
            seen[name] = play(f, labs(net.NetLab if f.kind == 'net' else lab_.Lab))
        return seen[name] or pytest.skip('could not be played: see above')
    return make


def unexpected(v, allowed):
    """Errors beyond these: what nobody may see."""
    return [(kind, code, n) for (kind, code), n in v.errors.items()
            if code not in allowed.get(kind, ())]


ALL = ['kill-standby', 'kill-primary', 'all-down', 'hang-standby', 'hang-primary',
       'fast-restart-standby', 'fast-restart-primary', 'immediate-restart-standby',
       'immediate-restart-primary', 'rolling-restart', 'blackhole-standby', 'blackhole-primary']


@pytest.mark.parametrize('name', ALL)
def test_promises(played, name):
    v = played(name)
    assert not v.violations(), v.log
    assert not v.hung and v.done > 100


@pytest.mark.parametrize('name', ['hang-standby', 'hang-primary', 'blackhole-standby',
                                  'blackhole-primary'])
def test_no_error_when_it_comes_back(played, name):
    """Shorter than what makes a connection dead: nobody is told anything. (Who
    is told once sessions on hung nodes are cut was in flight.)"""
    assert not unexpected(played(name), LOST)


@pytest.mark.parametrize('name', ['kill-standby', 'fast-restart-standby',
                                  'immediate-restart-standby'])
def test_writers_do_not_see_a_standby_go(played, name):
    assert not unexpected(played(name), {})


@pytest.mark.parametrize('name', ['kill-standby', 'fast-restart-standby',
                                  'immediate-restart-standby', 'all-down', 'rolling-restart'])
def test_readers_do_not_see_a_node_go(played, name):
    assert not [e for e in unexpected(played(name), {}) if e[0] in ('read', 'login')]


@pytest.mark.parametrize('name', ['kill-primary', 'fast-restart-primary',
                                  'immediate-restart-primary', 'all-down', 'rolling-restart'])
def test_only_what_was_in_flight_is_told(played, name):
    """One error at most for each client: 40001 when it is known that nothing
    was committed, 40003 when it is not."""
    v = played(name)
    assert not unexpected(v, LOST)
    # a transaction is told once, and its ROLLBACK is honoured
    nodes = 3 if name in ('all-down', 'rolling-restart') else 1
    assert sum(n for (kind, _), n in v.errors.items() if kind != 'read') <= 8 * nodes


@pytest.mark.parametrize('name', ['kill-primary', 'fast-restart-primary',
                                  'immediate-restart-primary', 'rolling-restart'])
def test_only_a_commit_is_unknown(played, name):
    assert not [s for s in played(name).samples
                if s[0] == 'transaction' and s[1] == '40003' and s[2] != 'COMMIT']


# ---- seen in the laboratory, and made to happen here -----------------------------------

def test_a_fence_does_not_stay_with_the_clients(weir, new_cluster):
    """default_transaction_read_only set on the old primary is told to its sessions
    in ParameterStatus; on the new primary nobody has asked for it."""
    c = new_cluster
    w = weir(ini({'app': db(*c.nodes, target_session_attrs='read-write')},
                 health_check_interval='0.2', health_check_timeout='0.5', server_login_retry='0.2'))
    update = 'UPDATE kv SET v = v + 1 WHERE k = 1'
    with w.connect() as x:
        x.sql(update)
        c.caught_up()
        c.primary.sql('ALTER SYSTEM SET default_transaction_read_only = on')
        c.primary.reload()
        until(lambda: c.primary.one('SHOW default_transaction_read_only') == 'on')
        x.send(wire.query(update))  # waits for a primary that may be written to
        assert x.quiet(0.3)
        c.primary.kill()
        c.nodes[1].promote()
        assert wire.shape(x.until()) == 'C:UPDATE 1 Z:I'
        assert x.one('SELECT pg_is_in_recovery()') == 'f'
        assert x.one('SHOW default_transaction_read_only') == 'off'
        x.sql(update)


def ends_at(last):
    """A server that answers until it gets this, and closes."""
    def script(c):
        while True:
            text = c.expect_query()
            if text == last:
                return
            begun = text == 'BEGIN' or text.startswith('UPDATE')
            c.send(wire.complete(text.split()[0]), wire.ready('T' if begun else 'I'))
    return script


def test_a_rollback_in_flight_gets_what_it_asks_for(fake):
    w, _ = fake(ends_at('ROLLBACK'))
    with w.connect() as c:
        c.sql('BEGIN')
        c.sql('UPDATE t SET a = 1')
        assert wire.shape(c.ask(wire.query('ROLLBACK'))) == 'C:ROLLBACK Z:I'


def test_a_begin_in_flight_is_not_unknown(fake):
    w, _ = fake(ends_at('BEGIN'), lazy_begin=0, query_wait_timeout=1)
    with w.connect() as c:
        errs = [m[1]['C'] for m in c.ask(wire.query('BEGIN')) if m[0] == 'E']
        assert '40003' not in errs


# ---- the judge itself ------------------------------------------------------------------

DAMAGE = {
    'lost': 'DELETE FROM tokens WHERE t IN (SELECT t FROM tokens LIMIT 1)',
    'doubled': 'INSERT INTO tokens SELECT t FROM tokens LIMIT 1',
    'lost transfer': 'DELETE FROM transfers WHERE t IN (SELECT t FROM transfers LIMIT 1)',
    'money': 'UPDATE bank SET balance = balance + 1 WHERE id = 3',
}


@pytest.mark.parametrize('what', [None, *DAMAGE])
def test_damage_is_noticed(labs, what):
    """Something is changed behind the back of the clients."""
    lab = labs(lab_.Lab)

    def steps(lab):
        yield
        yield 0.3
        yield
        if what:
            lab.primary.sql(DAMAGE[what])
    v = play(lab_.Fault('damage', '', steps, 'plain', 1), lab, 0.1)
    assert bool(v.violations()) == bool(what)
    assert v.lost == (what in ('lost', 'lost transfer'))
    assert v.doubled == (what == 'doubled')
    assert (v.total == load_.ACCOUNTS * load_.BALANCE) == (what != 'money')
