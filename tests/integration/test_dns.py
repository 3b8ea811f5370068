"""Nodes found by name: what DNS says now, however it says it.

One PostgreSQL listens on several loopback addresses, each of which is a node to
the daemon; inet_server_addr() tells which was reached. What DNS says comes from
fakedns.py.

SPDX-License-Identifier: ISC
"""
import signal
import socket
import subprocess
import threading
import time

import pytest

import conftest
import wire
from cluster import HBA, Postgres
from conftest import SAN, Spawned, db, free_port, ini, run_threads, until
from fakedns import AAAA, FakeDns

pytestmark = pytest.mark.weir_only

ONE, TWO, THREE, FOUR, NOBODY = ('127.0.0.%d' % i for i in (1, 2, 3, 4, 99))
FAST = {'dns_max_ttl': '0.1', 'dns_nxdomain_ttl': '0.1', 'health_check_interval': '0.2',
        'server_login_retry': '0.2', 'verbose': 2}
SLOWLY = {**FAST, 'dns_max_ttl': 3600, 'dns_nxdomain_ttl': 3600}


@pytest.fixture(scope='module')
def many(base, template):
    p = Postgres(base, 'many').copy_from(template)
    p.hba(HBA.replace('127.0.0.1/32', '127.0.0.0/8'))
    p.settings("listen_addresses = '%s, ::1'" % ', '.join((ONE, TWO, THREE, FOUR)))
    p.start()
    yield p
    p.stop(signal.SIGQUIT)


@pytest.fixture
def dns():
    d = FakeDns()
    yield d
    d.close()


@pytest.fixture
def start(weir, many, dns, tmp_path):
    """start(host='db.test', ..., settings) - a daemon that asks dns."""
    def make(host='db.test', databases=None, wait=True, options='timeout:1 attempts:2', **kw):
        text = {'app': db(many, host=host, port=many.port), **(databases or {})}
        w = weir(ini(text, resolv_conf=dns.resolv_conf(tmp_path, options), **{**FAST, **kw}),
                 wait=wait)
        return w
    return make


WHO = 'SELECT host(inet_server_addr()), pg_backend_pid()'


def held(w, n, **kw):
    """n clients, each with a server of its own until its COMMIT."""
    cs = [w.connect(**kw) for _ in range(n)]
    for c in cs:
        c.sql('BEGIN')
        c.who = tuple(c.sql(WHO)[0])
    return cs


def let_go(cs):
    for c in cs:
        c.sql('COMMIT')
        c.close()


def reached(w, n=12, **kw):
    """The addresses that n clients at once get to."""
    cs = held(w, n, **kw)
    let_go(cs)
    return sorted({c.who[0] for c in cs})


def nodes(w):
    return {r['node']: r['state'] for r in w.console('SHOW NODES')}


def addresses(w):
    """SHOW NODES by address: what a name stands for."""
    return sorted(n.split('/')[1] for n in nodes(w) if '/' in n)


def wait_for(w, *want):
    until(lambda: addresses(w) == sorted(want), why='the nodes to be %s' % (want,))


def backends(many):
    """The pids of the servers that clients use."""
    return {r[0] for r in many.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")}


# ---- what a name stands for --------------------------------------------------------------

def test_several_addresses_spread_load(start, dns, many):
    dns.set('db.test', THREE, ONE, TWO)
    w = start()
    wait_for(w, ONE, TWO, THREE)
    cs = held(w, 12)
    let_go(cs)
    got = [c.who[0] for c in cs]
    assert [got.count(a) for a in (ONE, TWO, THREE)] == [4, 4, 4]
    assert list(nodes(w)) == ['db.test:%d/%s' % (many.port, a) for a in (ONE, TWO, THREE)]


def test_numeric_names_stay_as_they_are(start, dns, many):
    dns.set('db.test', TWO)
    w = start(host='127.0.0.1,db.test,localhost')
    wait_for(w, TWO)
    # localhost is 127.0.0.1, which is there already
    assert list(nodes(w)) == ['127.0.0.1:%d' % many.port, 'db.test:%d/%s' % (many.port, TWO)]
    assert not dns.asked('localhost')


def test_localhost_is_one_node(start, dns, many):
    w = start(host='localhost')
    assert w.one('SELECT 1') == '1'
    assert list(nodes(w)) == ['localhost:%d' % many.port]
    assert not dns.seen


def test_several_names_of_one_host(start, dns):
    """An address counts once, whoever names it, and goes with its last name."""
    dns.set('a.test', ONE, TWO)
    dns.set('b.test', TWO, THREE)
    w = start(host='a.test,b.test')
    wait_for(w, ONE, TWO, THREE)
    cs = held(w, 9)
    assert sorted([c.who[0] for c in cs].count(a) for a in (ONE, TWO, THREE)) == [3, 3, 3]
    dns.set('b.test', THREE)
    w.wait_log('name_resolved', 'name=b.test', 'addresses=%s' % THREE)
    assert addresses(w) == [ONE, TWO, THREE]
    dns.set('a.test', ONE)
    wait_for(w, ONE, THREE)
    let_go(cs)


def test_order_of_answers_does_not_matter(start, dns):
    dns.set('db.test', ONE, TWO, THREE)
    w = start()
    wait_for(w, ONE, TWO, THREE)
    for order in ((TWO, THREE, ONE), (THREE, TWO, ONE, ONE)):
        dns.set('db.test', *order)
        dns.wait_asked('db.test', 2)
    assert len(w.log_lines('name_resolved')) == 1


# ---- changes -----------------------------------------------------------------------------

@pytest.mark.parametrize('workers', [1, 2])
def test_removed_address(start, dns, many, workers):
    """Its connections go, idle ones at once and others after their transaction;
    those of the others stay."""
    dns.set('db.test', ONE, TWO, THREE)
    w = start(workers=workers)
    wait_for(w, ONE, TWO, THREE)
    cs = held(w, 12)
    idle, busy = cs[:6], cs[6:]
    for c in idle:
        c.sql('COMMIT')
    before = backends(many)
    gone_idle = {c.who[1] for c in idle if c.who[0] == TWO}
    gone_busy = {c.who[1] for c in busy if c.who[0] == TWO}
    assert gone_idle and gone_busy and before == {c.who[1] for c in cs}
    dns.set('db.test', ONE, THREE)
    wait_for(w, ONE, THREE)
    until(lambda: not gone_idle & backends(many), why='the idle ones to be gone')
    assert backends(many) == before - gone_idle
    for c in busy:
        assert tuple(c.sql(WHO)[0]) == c.who    # in its transaction nothing has changed
        c.sql('COMMIT')
    until(lambda: not gone_busy & backends(many), why='the others to be gone')
    assert backends(many) == before - gone_idle - gone_busy
    assert TWO not in reached(w)
    for c in cs:
        c.close()
    w.wait_log('node_forgotten', TWO, timeout=20)


def test_added_address(start, dns):
    dns.set('db.test', ONE)
    w = start()
    wait_for(w, ONE)
    first = held(w, 2)
    assert {c.who[0] for c in first} == {ONE}
    dns.set('db.test', ONE, TWO)
    wait_for(w, ONE, TWO)
    more = held(w, 2)
    assert {c.who[0] for c in more} == {TWO}
    assert [tuple(c.sql(WHO)[0]) for c in first] == [c.who for c in first]
    let_go(first + more)


def test_moved_to_another_address(start, dns, many):
    dns.set('db.test', ONE)
    w = start()
    with w.connect() as c:
        pid = c.sql(WHO)[0][1]
        dns.set('db.test', TWO)
        until(lambda: pid not in backends(many), why='the old server to be gone')
        assert c.sql(WHO)[0][0] == TWO
    assert addresses(w) == [TWO]


def test_address_that_comes_back_while_it_is_in_use(start, dns, many):
    dns.set('db.test', ONE, TWO)
    w = start()
    wait_for(w, ONE, TWO)
    cs = held(w, 4)
    for _ in range(3):
        dns.set('db.test', ONE)
        wait_for(w, ONE)
        dns.set('db.test', ONE, TWO)
        wait_for(w, ONE, TWO)
    assert [tuple(c.sql(WHO)[0]) for c in cs] == [c.who for c in cs]
    let_go(cs)
    until(lambda: all(s == 'up' for s in nodes(w).values()))
    assert reached(w) == [ONE, TWO]


# ---- failures ----------------------------------------------------------------------------

# libevent asks again after SERVFAIL, and calls it a timeout in the end
FAILURES = {'nxdomain': 'does not exist', 'servfail': '', 'silent': 'timed out',
            'garbage': '', 'cut': '', 'truncated': 'truncated', 'refused': '',
            'empty': 'no records'}


@pytest.mark.parametrize('how', FAILURES)
def test_failure_keeps_what_was_known(start, dns, many, how):
    dns.set('db.test', ONE, TWO)
    w = start()
    wait_for(w, ONE, TWO)
    cs = held(w, 4)
    before = backends(many)
    dns.set('db.test', how=how)
    line = w.wait_log('name_failed', 'name=db.test', 'kept=2', FAILURES[how])[0]
    dns.wait_asked('db.test', 4)
    assert addresses(w) == [ONE, TWO]
    assert [tuple(c.sql(WHO)[0]) for c in cs] == [c.who for c in cs]
    let_go(cs)
    assert backends(many) == before
    assert len(w.log_lines('name_failed')) == 1, line      # once, not at each lookup
    dns.set('db.test', TWO, THREE)
    wait_for(w, TWO, THREE)


def test_recovery_is_logged_once(start, dns):
    dns.set('db.test', ONE)
    w = start()
    wait_for(w, ONE)
    dns.set('db.test', how='servfail')
    w.wait_log('name_failed')
    dns.set('db.test', ONE)
    w.wait_log('name_resolved', n=2)
    dns.wait_asked('db.test', 3)
    assert len(w.log_lines('name_resolved')) == 2


@pytest.mark.parametrize('how', ['nxdomain', 'silent', 'servfail', 'garbage'])
def test_unknown_at_start_then_known(start, dns, how):
    """Starting waits for nothing, and a client waits for the name."""
    dns.set('db.test', how=how)
    began = time.monotonic()
    w = start(dns_nxdomain_ttl=15)
    assert time.monotonic() - began < 5 * conftest.SLOW
    dns.wait_asked('db.test', since=0)
    client = Spawned(lambda: w.one('SELECT 1'))
    until(lambda: w.pool_waiting() == 1)
    dns.set('db.test', ONE)
    assert client.result() == '1'


@pytest.mark.parametrize('how, why', [('nxdomain', 'does not exist'), ('silent', 'timed out')])
def test_unknown_for_good(start, dns, many, how, why):
    dns.set('db.test', how=how)
    w = start(query_wait_timeout=1, dns_nxdomain_ttl=15)
    w.wait_log('name_failed', timeout=20)
    with pytest.raises(wire.PgError) as e:
        w.one('SELECT 1')
    assert e.value.code == '57P03'
    assert 'could be resolved' in e.value.fields['M']
    assert '"db.test"' in e.value.fields['D'] and why in e.value.fields['D']
    assert nodes(w) == {'db.test:%d' % many.port: 'unresolved'}


def test_one_of_two_names_is_unknown(start, dns):
    dns.set('good.test', TWO)
    w = start(host='bad.test,good.test')
    assert reached(w, 4) == [TWO]
    assert 'unresolved' in nodes(w).values()


def test_silent_server_blocks_nobody(start, dns, many):
    dns.set('db.test', how='silent')
    w = start(databases={'direct': db(many, host=THREE, port=many.port, dbname='app')})
    dns.wait_asked('db.test', since=0)
    waiting = Spawned(lambda: w.one('SELECT 1'))
    slowest = 0
    for _ in range(30):
        began = time.monotonic()
        assert w.one('SELECT 1', database='direct') == '1'
        w.console('SHOW NODES')
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1 * conftest.SLOW
    dns.set('db.test', ONE)
    assert waiting.result() == '1'


def test_no_such_resolv_conf(weir, many):
    w = weir(ini({'app': db(many, host='db.test'), 'direct': db(many, dbname='app')},
                 resolv_conf='/nonexistent/resolv.conf', **FAST))
    assert w.one('SELECT 1', database='direct') == '1'
    w.wait_log('resolv_conf', 'cannot be read')


# ---- two families --------------------------------------------------------------------------

@pytest.fixture
def ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(('::1', 0))
    except OSError:
        pytest.skip('no IPv6 here')


def test_ipv6(start, dns, many, ipv6):
    dns.set('db.test', '::1')
    w = start()
    assert reached(w, 2) == ['::1']
    assert list(nodes(w)) == ['db.test:%d/::1' % many.port]


def test_families_fail_alone(start, dns, ipv6):
    """No answer for one family says nothing; that it has none says that."""
    dns.set('db.test', ONE, '::1')
    w = start()
    wait_for(w, ONE, '::1')
    assert reached(w, 4) == sorted([ONE, '::1'])
    dns.set('db.test', TWO, how6='servfail')
    wait_for(w, TWO, '::1')
    dns.wait_asked('db.test', 3, kind=AAAA)
    assert addresses(w) == sorted([TWO, '::1'])
    dns.set('db.test', TWO)
    wait_for(w, TWO)
    dns.set('db.test', '::1')
    wait_for(w, '::1')


def test_one_family_is_used_at_once(start, dns):
    """A server that never answers for AAAA delays nothing."""
    dns.set('db.test', ONE, how6='silent')
    w = start(options='timeout:10 attempts:3')
    assert Spawned(lambda: w.one('SELECT 1')).result(5) == '1'


# ---- when ------------------------------------------------------------------------------------

def test_dial_error_looks_again(start, dns):
    """Who cannot connect asks DNS anew, however long the TTL, and goes on asking
    for a while: the new address comes later than the trouble."""
    dns.set('db.test', NOBODY)
    w = start(**SLOWLY)
    client = Spawned(lambda: w.one('SELECT 1'))
    until(lambda: 'down' in nodes(w).values())
    dns.wait_asked('db.test', 1)
    dns.set('db.test', TWO)
    assert client.result() == '1'
    n = dns.asked('db.test')
    assert n < 10, 'asked %d times' % n


def test_ttl_is_waited_for(start, dns):
    dns.set('db.test', ONE)
    w = start(**SLOWLY)
    assert w.one('SELECT 1') == '1'
    run_threads(4, lambda i: [w.one('SELECT 1') for _ in range(50)])
    assert dns.asked('db.test') == 1


def test_no_storm_of_lookups(start, dns):
    """However often a node is in trouble, its name is asked for once a second."""
    def script(conn):
        if conn.read_startup():
            if conn.startup['user'] == 'postgres':
                conn.welcome()
                f.is_probe(conn)
            else:
                conn.send(wire.error('57P03', 'starting up', 'FATAL'))
    f = wire.FakeServer(script, login=False)
    dns.set('fake.test', ONE)
    w = start(databases={'fake': 'host=fake.test port=%d' % f.port}, query_wait_timeout=4,
              health_check_rise=1, **{**SLOWLY, 'health_check_interval': '0.05'})
    began = time.monotonic()
    with pytest.raises(wire.PgError):
        w.one('SELECT 1', database='fake')
    assert len(w.log_lines('server_login_failed')) > 10
    assert 1 < dns.asked('fake.test') <= time.monotonic() - began + 2
    f.close(check=False)


# ---- reload, stop, check ------------------------------------------------------------------------

def test_reload_during_a_lookup(start, dns, many):
    dns.set('db.test', how='silent')
    dns.set('new.test', TWO)
    w = start(options='timeout:5 attempts:3')
    dns.wait_asked('db.test', since=0)
    for n in range(5):
        w.hup()
        w.wait_log('reloaded', n=n + 1)
    client = Spawned(lambda: w.one('SELECT 1'))
    until(lambda: w.pool_waiting() == 1)
    with open(w.path) as f:
        text = f.read()
    w.rewrite(text.replace('db.test', 'new.test'))
    w.hup()
    assert client.result() == '1'
    assert addresses(w) == [TWO]


def test_reload_keeps_what_is_known(start, dns, many):
    dns.set('db.test', ONE, TWO)
    w = start(**SLOWLY)
    wait_for(w, ONE, TWO)
    cs = held(w, 4)
    before = backends(many)
    dns.set('db.test', how='silent')
    for n in (1, 2, 3):
        w.hup()
        w.wait_log('reloaded', n=n)
        dns.wait_asked('db.test', since=n)
    assert addresses(w) == [ONE, TWO]
    assert not w.log_lines('name_failed')   # a lookup that was given up has not failed
    let_go(cs)
    assert backends(many) == before


@pytest.mark.parametrize('name', [signal.SIGTERM, signal.SIGQUIT])
def test_stop_during_a_lookup(start, dns, name):
    dns.set('db.test', how='silent')
    w = start(options='timeout:1 attempts:1')
    # three timeouts in a row make libevent probe the server: stop in that as well
    for n in (1, 6):
        dns.wait_asked('db.test', since=n - 1, timeout=40)
    w.proc.send_signal(name)
    assert w.wait(5) == 0


@pytest.mark.no_san
def test_check_asks_nobody(dns, tmp_path):
    dns.set('db.test', how='silent')
    path = tmp_path / 'x.ini'
    path.write_text(ini({'app': 'host=db.test'}, resolv_conf=dns.resolv_conf(tmp_path)))
    trace = tmp_path / 'trace'
    subprocess.run(['strace', '-f', '-o', trace, '-e', 'trace=network', conftest.PGWEIR, '--check',
                    path], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert 'exited with 0' in trace.read_text()
    assert 'htons(53)' not in trace.read_text()
    assert not dns.seen


# ---- for long -----------------------------------------------------------------------------------

CHANGES = 200


def test_changes_under_load(start, dns, many):
    """The set changes 200 times under load: no statement fails, and nothing is
    left of the nodes that went."""
    pools = [(ONE,), (ONE, TWO), (TWO, THREE), (ONE, TWO, THREE, FOUR), (FOUR,), (THREE, ONE)]
    dns.set('db.test', *pools[0])
    w = start(workers=2, dns_max_ttl='0.02', default_pool_size=8, max_client_conn=50)
    wait_for(w, ONE)
    stop, counts = threading.Event(), []

    def load(_):
        n = 0
        with w.connect() as c:
            while not stop.is_set():
                assert c.one('SELECT %d' % n) == str(n)
                n += 1
        counts.append(n)
    w.one('SELECT 1')
    fds, rss = w.fds(), int(w.status('VmRSS'))
    clients = [Spawned(load, i) for i in range(6)]
    seen = len(w.log_lines('name_resolved'))
    for i in range(1, CHANGES + 1):
        dns.set('db.test', *pools[i % len(pools)])
        w.wait_log('name_resolved', n=seen + i, timeout=20)
    stop.set()
    for c in clients:
        c.result()
    assert sum(counts) > CHANGES
    dns.set('db.test', ONE)
    wait_for(w, ONE)
    until(lambda: many.backends() <= 8, why='the servers of the others to be gone')
    until(lambda: w.fds() <= fds + 10, why='descriptors to be closed')
    # each address that is not there any more was freed
    w.wait_log('node_forgotten', FOUR, timeout=30)
    for a in (TWO, THREE):
        w.wait_log('node_forgotten', a, timeout=30)
    if not SAN:
        assert int(w.status('VmRSS')) < rss + 6000
    assert not w.log_lines('node_still_held')
