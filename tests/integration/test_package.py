"""The Debian package: built, checked with lintian, installed, run, upgraded, removed and
purged in a copy of this machine (machine.py). There is no systemd in the copy: what the package does to units is done by
deb-systemd-helper, and the daemon is started by hand, as the unit would.

SPDX-License-Identifier: ISC
"""
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from machine import Machine

NEEDS = [x for x in ('dpkg-buildpackage', 'dh', 'lintian', 'unshare', 'nsenter') if not shutil.which(x)]
pytestmark = [pytest.mark.weir_only, pytest.mark.no_san, pytest.mark.timeout(300),
              pytest.mark.skipif(bool(NEEDS), reason='not installed: %s' % ' '.join(NEEDS))]

@pytest.fixture(scope='module')
def deb(tmp_path_factory):
    """`make deb`, which fails when lintian says anything."""
    if os.geteuid():
        pytest.skip('only root can install packages')
    build = str(tmp_path_factory.mktemp('deb'))
    env = {k: v for k, v in os.environ.items() if not k.startswith('MAKE') and k != 'MFLAGS'}
    out = subprocess.run(['make', '-j2', '-C', ROOT, 'deb', 'BUILD=' + build], env={**env, 'DEB_BUILD_OPTIONS': 'noautodbgsym parallel=2'},
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert out.returncode == 0, out.stdout
    found = [x for x in out.stdout.splitlines() if x.endswith('.deb')]
    assert len(found) == 1, out.stdout
    return found[0]


@pytest.fixture
def machine(tmp_path):
    m = Machine(str(tmp_path))
    yield m
    m.stop()


def test_the_version_is_that_of_the_header(deb):
    with open(os.path.join(ROOT, 'conf', 'version.h')) as f:
        version, = re.findall(r'PGWEIR_VERSION "(.*)"', f.read())
    assert subprocess.check_output(['dpkg-deb', '-f', deb, 'Version'], text=True).strip() == version


def test_a_life(deb, machine, tmp_path):
    """Installed, run, upgraded over changes of the administrator's, removed, installed
    again, purged."""
    m = machine
    before = m.sh('find /etc /usr /lib /var/lib/systemd -xdev | sort')
    first = m.take(deb)
    out = m.run('dpkg', '-i', first)
    assert 'rror' not in out and 'arning' not in out, out

    # who owns what: secrets come here
    assert m.sh('stat -c "%a %U %G %n" /etc/pgweir /etc/pgweir/*') == (
        '750 root pgweir /etc/pgweir\n'
        '640 root pgweir /etc/pgweir/pgweir.ini\n'
        '640 root pgweir /etc/pgweir/users.txt\n')
    assert m.sh('getent passwd pgweir').endswith(':/usr/sbin/nologin\n')
    # the service is enabled, the socket is not
    assert m.sh('ls /etc/systemd/system/*.wants | grep pgweir') == 'pgweir.service\n'
    assert m.sh('pgweir --version').startswith('pgweir ')
    m.sh('test -s /usr/share/man/man5/pgweir.ini.5.gz')

    run_it(m)

    # an upgrade keeps what was changed: the text, the owner and the mode
    m.sh('''sed -i 's/^listen_port = 6432$/listen_port = 7432/' /etc/pgweir/pgweir.ini
            echo '"app" "secret"' >/etc/pgweir/users.txt; chmod 0600 /etc/pgweir/pgweir.ini''')
    second = m.take(next_version(deb, tmp_path))
    out = m.run('dpkg', '--force-confold', '-i', second)
    assert 'rror' not in out and 'arning' not in out, out
    assert m.sh('dpkg-query -W -f "\\${Version}" pgweir').endswith('+next')
    assert m.sh('stat -c %a /etc/pgweir/pgweir.ini; grep -c 7432 /etc/pgweir/pgweir.ini; cat /etc/pgweir/users.txt') == \
        '600\n1\n"app" "secret"\n'
    assert m.sh('ls /etc/systemd/system/*.wants | grep pgweir') == 'pgweir.service\n'

    # removed: the program goes, the configuration stays, also for the next time
    m.run('dpkg', '-r', 'pgweir')
    assert m.sh('ls /usr/bin/pgweir /lib/systemd/system/pgweir.service 2>/dev/null || :') == ''
    assert m.sh('ls /etc/pgweir') == 'pgweir.ini\npgweir.ini.dpkg-dist\nusers.txt\n'
    m.run('dpkg', '--force-confold', '-i', first)
    assert m.sh('grep -c 7432 /etc/pgweir/pgweir.ini; cat /etc/pgweir/users.txt') == '1\n"app" "secret"\n'

    # purged: all of it goes; the user stays, as Debian wants it
    m.run('dpkg', '-P', 'pgweir')
    after = m.sh('find /etc /usr /lib /var/lib/systemd -xdev | sort')
    left = set(after.splitlines()) - set(before.splitlines())
    assert {x for x in left if 'passwd' not in x and 'shadow' not in x and 'group' not in x} == set()


def run_it(m):
    """As it is out of the box, by the unit's user: nobody comes in, but for that user on
    the console."""
    m.sh('install -d -o pgweir -g pgweir -m 0755 /run/pgweir')
    assert m.sh('setpriv --reuid pgweir --regid pgweir --init-groups pgweir --check /etc/pgweir/pgweir.ini').endswith('fine\n')
    m.sh('''setpriv --reuid pgweir --regid pgweir --init-groups pgweir -q /etc/pgweir/pgweir.ini >/dev/null 2>/run/log &
            for i in $(seq 200); do [ -S /run/pgweir/.s.PGSQL.6432 ] && break; sleep 0.05; done
            echo $! >/run/pid''')
    try:
        psql = "psql -XAt 'host=/run/pgweir port=6432 user=%s dbname=%s' -c '%s' 2>&1 || :"
        assert m.sh('setpriv --reuid pgweir --regid pgweir --clear-groups ' + psql % ('pgweir', 'pgweir', 'SHOW VERSION')).startswith('pgweir ')
        # root is not that user, and nobody stands in the file
        for user, db in (('pgweir', 'pgweir'), ('postgres', 'postgres')):
            assert 'password' in m.sh(psql % (user, db, 'SELECT 1'))
            assert 'password' in m.sh((psql % (user, db, 'SELECT 1')).replace('/run/pgweir', '127.0.0.1'))
        # and from outside there is no way
        listening = m.sh("ss -Hltn | awk '{ print $4 }'")
        assert listening == '127.0.0.1:6432\n'
    finally:
        m.sh('kill $(cat /run/pid); for i in $(seq 200); do [ -S /run/pgweir/.s.PGSQL.6432 ] || exit 0; sleep 0.05; done; exit 1')
    assert ' level=error' not in m.sh('cat /run/log')


def next_version(deb, tmp_path):
    """The same package as a later version of itself with another pgweir.ini."""
    d = str(tmp_path / 'next')
    subprocess.run(['dpkg-deb', '-R', deb, d], check=True)
    for path, old, new in (('DEBIAN/control', '\nVersion: .*', r'\g<0>+next'), ('etc/pgweir/pgweir.ini', '(?s).*', r'; a later one\n\g<0>')):
        with open(os.path.join(d, path)) as f:
            text = f.read()
        with open(os.path.join(d, path), 'w') as f:
            f.write(re.sub(old, new, text, count=1))
    out = str(tmp_path / 'next.deb')
    subprocess.run(['dpkg-deb', '-b', '--root-owner-group', d, out], check=True, stdout=subprocess.DEVNULL)
    return out
