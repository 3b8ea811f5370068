"""A network of its own for a cluster: a namespace for each node, joined by a
bridge on which pgweir stands; and what can go wrong on such a network.

    namespace weir<pid>-0   198.18.n.2 eth0 --+
    namespace weir<pid>-1   198.18.n.3 eth0 --+-- bridge 198.18.n.1 (pgweir, clients)
    namespace weir<pid>-2   198.18.n.4 eth0 --+

Rules of nftables are made inside a node's namespace and go with it. Delay is
made by a relay of Ethernet frames here, because not every kernel has netem.

SPDX-License-Identifier: ISC
"""
import collections
import contextlib
import fcntl
import os
import select
import struct
import subprocess
import threading
import time

from lab import Lab, Node

# What is dropped, in (to the node) and out (from it). Replication suffers too.
RULES = {
    'blackhole': ('drop', 'drop'),
    'loss': ('numgen random mod 100 < 30 drop', 'numgen random mod 100 < 30 drop'),
    'refuse': ('meta l4proto tcp reject with tcp reset', ''),
    'deaf': ('drop', ''),
    'mute': ('', 'drop'),
}
TABLE = '''table inet fault {
    chain i {
        type filter hook input priority 0
        iifname "lo" accept
        %s
    }
    chain o {
        type filter hook output priority 0
        oifname "lo" accept
        %s
    }
}
'''


def run(*argv, text=None):
    r = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=20, encoding='utf-8', check=False)
    if r.returncode:
        raise RuntimeError('%s: %s' % (' '.join(argv), r.stdout))


class NetNode(Node):
    """A server in a namespace."""

    def __init__(self, base, name, network, number):
        self.host = network.address(number)
        # a port of its own: a base backup has the lock file of its origin's socket
        super().__init__(base, name, 5432 + number)
        self.network, self.number = network, number
        self.inside = network.inside(number)

    def cut(self, how):
        run(*self.inside, 'nft', '-f', '-', text=TABLE % RULES[how])

    def heal(self):
        run(*self.inside, 'nft', 'delete', 'table', 'inet', 'fault')


class Network:
    """Namespaces and their links, with this process's id in the names."""

    numbers = iter(range(1000))

    def __init__(self, n, relayed=()):
        pid, k = os.getpid(), next(self.numbers)
        self.net = '198.%d.%d' % (18 + pid // 256 % 2, (pid + k * 37) % 256)
        self.name = 'weir%d-%d' % (pid, k)
        self.bridge = 'w%d.%d' % (pid, k)
        self.relays = {}
        self.made = contextlib.ExitStack()
        try:
            run('ip', 'link', 'add', self.bridge, 'type', 'bridge')
            self.made.callback(run, 'ip', 'link', 'del', self.bridge)
            run('ip', 'addr', 'add', self.net + '.1/24', 'dev', self.bridge)
            run('ip', 'link', 'set', self.bridge, 'up')
            for i in range(n):
                self.join(i, i in relayed)
        except BaseException:
            self.close()
            raise

    def address(self, i):
        return '%s.%d' % (self.net, i + 2)

    def space(self, i):
        return '%s-%d' % (self.name, i)

    def inside(self, i):
        return ['ip', 'netns', 'exec', self.space(i)]

    def join(self, i, relayed):
        ns, near, far = self.space(i), '%s.%d' % (self.bridge, i), 'f%s.%d' % (self.bridge[1:], i)
        run('ip', 'netns', 'add', ns)
        self.made.callback(run, 'ip', 'netns', 'del', ns)
        if relayed:
            self.relays[i] = Relay(near, far)
            self.made.callback(self.relays[i].close)
        else:
            run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far)
            # at once: a namespace is taken apart some time after its end
            self.made.callback(run, 'ip', 'link', 'del', near)
        run('ip', 'link', 'set', far, 'netns', ns)
        run('ip', 'link', 'set', near, 'master', self.bridge, 'up')
        run('ip', '-n', ns, 'link', 'set', far, 'name', 'eth0')
        run('ip', '-n', ns, 'addr', 'add', self.address(i) + '/24', 'dev', 'eth0')
        run('ip', '-n', ns, 'link', 'set', 'eth0', 'up')
        run('ip', '-n', ns, 'link', 'set', 'lo', 'up')

    def close(self):
        self.made.close()


class Relay(threading.Thread):
    """Carries frames between two tap devices; those from the far one can be
    made late."""

    TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000

    def __init__(self, near, far):
        super().__init__(daemon=True)
        self.near, self.far = self.tap(near), self.tap(far)
        self.delay, self.late, self.end = 0.0, collections.deque(), False
        self.start()

    def tap(self, name):
        fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, self.TUNSETIFF,
                    struct.pack('16sH', name.encode(), self.IFF_TAP | self.IFF_NO_PI))
        return fd

    def run(self):
        while not self.end:
            wait = 0.1
            if self.late:
                wait = max(0.0, min(wait, self.late[0][0] - time.monotonic()))
            for fd in select.select([self.near, self.far], [], [], wait)[0]:
                self.read(fd)
            while self.late and self.late[0][0] <= time.monotonic():
                self.write(self.near, self.late.popleft()[1])

    def read(self, fd):
        with contextlib.suppress(OSError):      # nothing there, or not up yet
            for _ in range(64):
                frame = os.read(fd, 65536)
                if fd == self.near:
                    self.write(self.far, frame)
                else:
                    self.late.append((time.monotonic() + self.delay, frame))

    @staticmethod
    def write(fd, frame):
        with contextlib.suppress(OSError):      # full or down: a frame is lost
            os.write(fd, frame)

    def close(self):
        self.end = True
        self.join(5)
        os.close(self.near)
        os.close(self.far)


class NetLab(Lab):
    """A cluster on a network of its own. `relayed`: numbers of the nodes that
    can be made slow."""

    def __init__(self, *args, relayed=(), **kw):
        super().__init__(*args, **kw)
        self.network = Network(self.n, relayed)

    def make_node(self, i):
        return NetNode(self.base, 'node%d' % i, self.network, i)

    def close(self):
        try:
            super().close()
        finally:
            self.network.close()
