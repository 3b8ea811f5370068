"""A copy of this machine that is thrown away: an overlay over /, in mount and network
namespaces of its own, so that commands may be run as they are written: as root, with
/etc/pgweir and port 6432.

SPDX-License-Identifier: ISC
"""
import os
import subprocess
import tempfile

import pytest

from cluster import Postgres, tail, until
from conftest import PGWEIR, ROOT, SLOW

# "/" is what is below: dpkg, PostgreSQL's libraries, systemd's tools. /run and /tmp are empty.
SETUP = '''set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir up work root
mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
mkdir root/run/lock
chmod 1777 root/tmp
ip link set lo up
echo ready
read -r end
'''

# In place of systemd, which is not there: what the unit does.
SYSTEMCTL = '''#!/bin/sh
pid=/run/stand-in.pid
stop() {
	[ -e $pid ] || return 0
	kill "$(cat $pid)" || :
	for i in $(seq 600); do readlink /proc/"$(cat $pid)"/exe >/dev/null || break; sleep 0.05; done
	rm -f $pid
}
case "$*" in
daemon-reload) ;;
'start pgweir' | 'restart pgweir' | 'enable --now pgweir')
	stop
	install -d -o pgweir -g pgweir -m 0755 /run/pgweir
	: >/run/ready
	setpriv --reuid pgweir --regid pgweir --init-groups pgweir /etc/pgweir/pgweir.ini >/run/ready 2>>/run/log </dev/null &
	echo $! >$pid
	for i in $(seq 600); do [ -s /run/ready ] && exit 0; sleep 0.05; done
	cat /run/log >&2
	exit 1 ;;
'stop pgweir') stop ;;
'reload pgweir') kill -HUP "$(cat $pid)" ;;
*) echo "no stand-in for systemctl $*" >&2; exit 1 ;;
esac
'''
SUDO = '''#!/bin/sh
[ "$1" = -u ] || exec "$@"
user=$2
shift 2
exec setpriv --reuid "$user" --regid "$user" --init-groups "$@"
'''


class Machine:
    def __init__(self, where):
        self.root = where + '/root'
        self.proc = subprocess.Popen(['unshare', '-m', '-n', '--propagation', 'private', 'sh', '-c', SETUP, 'sh', where],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.proc.stdout.readline() != 'ready\n':
            why = self.proc.communicate()[1]
            pytest.skip('no overlay can be mounted here: %s' % why.strip())
        self.net = ('nsenter', '-t', str(self.proc.pid), '-n', '--')
        self.argv = ['nsenter', '-t', str(self.proc.pid), '-m', '-n', 'chroot', self.root]
        self.servers = []

    def env(self):
        return {**{k: v for k, v in os.environ.items() if not k.startswith('PG')}, 'DEBIAN_FRONTEND': 'noninteractive',
                'LC_ALL': 'C.UTF-8', 'HOME': '/root'}

    def run(self, *argv, check=True, stdin=None, stderr=subprocess.STDOUT):
        out = subprocess.run([*self.argv, *argv], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
                             timeout=60 * SLOW, env=self.env())
        assert not check or out.returncode == 0, '%s:\n%s' % (' '.join(argv), out.stdout)
        return out.stdout

    def sh(self, text, check=True):
        return self.run('sh', '-ec', text, check=check)

    def take(self, path, to=None):
        """A file from outside comes to /tmp, or this place, inside."""
        to = to or '/tmp/' + os.path.basename(path)
        with open(path, 'rb') as f:
            self.run('sh', '-ec', 'rm -f "$0"; cat >"$0"', to, stdin=f)
        return to

    def write(self, path, text, mode='0644'):
        subprocess.run([*self.argv, 'sh', '-ec', 'rm -f "$0"; cat >"$0"; chmod %s "$0"' % mode, path], input=text, text=True, check=True, timeout=60)

    def install(self):
        """As the package does, with the binary under test; and stand-ins for systemctl and sudo."""
        for to in ('/usr/bin/pgweir', os.path.join(ROOT, 'build', 'pgweir')):
            self.sh('mkdir -p %s' % os.path.dirname(to))
            self.take(PGWEIR, to)
            self.sh('chmod 755 ' + to)
        self.sh('rm -f /usr/bin/systemctl /usr/bin/sudo')
        self.write('/usr/bin/systemctl', SYSTEMCTL, '0755')
        self.write('/usr/bin/sudo', SUDO, '0755')
        self.sh('''getent passwd pgweir >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin pgweir
                   rm -rf /etc/pgweir; install -d -m 0750 -g pgweir /etc/pgweir
                   install -m 0640 -g pgweir /dev/null /etc/pgweir/users.txt''')
        with open(os.path.join(ROOT, 'systemd', 'pgweir.ini')) as f:
            self.write('/etc/pgweir/pgweir.ini', f.read(), '0644')

    def address(self, ip, name=None):
        self.run('ip', 'addr', 'add', ip + '/32', 'dev', 'lo')
        if name:
            self.sh('echo "%s %s" >>/etc/hosts' % (ip, name))

    def postgres(self, base, name, ip, source):
        """A server at ip:5432; source: a template, or the primary that it follows."""
        p = Server(tempfile.mkdtemp(prefix='machine-', dir=base), name, 5432)
        os.chown(os.path.dirname(p.data), os.stat(base).st_uid, -1)
        p.host, p.inside = ip, self.net
        if isinstance(source, Server):
            p.backup_of(source)
        else:
            p.copy_from(source)
            p.hba('local all all trust\nhost replication postgres 10.0.0.0/8 trust\nhost all postgres 10.0.0.0/8 trust\n'
                  'host all postgres 127.0.0.1/32 trust\nhost all all 10.0.0.0/8 scram-sha-256\n')
        self.servers.append(p)
        p.start(options=('-c', 'listen_addresses=' + ip, '-c', 'unix_socket_directories='))
        return p

    def stop(self):
        self.sh('[ ! -e /run/stand-in.pid ] || systemctl stop pgweir', check=False)
        for p in reversed(self.servers):
            p.stop()
        self.proc.communicate('end\n')


class Server(Postgres):
    """In the machine's network."""

    def psql(self, text):
        return subprocess.run([*self.inside, 'psql', '-h', self.host, '-p', str(self.port), '-U', 'postgres', '-XAtc', text],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30, check=False)

    def answers(self):
        assert self.proc.poll() is None, 'a server ended:\n' + tail(self.log, 20)
        return self.psql('SELECT 1').returncode == 0

    def streams_to(self, n):
        until(lambda: self.psql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").stdout == '%d\n' % n, 60)
