"""A DNS server over UDP that answers what a test says.

SPDX-License-Identifier: ISC
"""
import os
import socket
import struct
import threading
import time

from cluster import SLOW

A, AAAA = 1, 28
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


class FakeDns:
    """set(name, addresses...) or set(name, how=...):

        'nxdomain' 'servfail' 'refused' 'silent' 'garbage' 'cut' 'truncated'

    and for the second of a name's families alone: how6=... A name that was
    never set does not exist. Every question is kept in seen as (name, type).
    """

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(('127.0.0.1', 0))
        self.port = self.sock.getsockname()[1]
        self.names, self.seen = {}, []
        self.cond = threading.Condition()
        threading.Thread(target=self.run, daemon=True).start()

    def set(self, name, *addresses, how=None, how6=None):
        """From the next answer on; an answer that is being made is waited for."""
        with self.cond:
            self.names[name] = (list(addresses), how, how6)

    def asked(self, name, kind=A):
        with self.cond:
            return self.seen.count((name, kind))

    def wait_asked(self, name, more=1, since=None, timeout=20, kind=A):
        """Until it was asked for so many times more (than since)."""
        end = time.monotonic() + timeout * SLOW
        with self.cond:
            want = (self.seen.count((name, kind)) if since is None else since) + more
            while self.seen.count((name, kind)) < want:
                left = end - time.monotonic()
                assert left > 0, '%s was not asked for within %g s' % (name, timeout * SLOW)
                self.cond.wait(left)

    def resolv_conf(self, path, options='timeout:1 attempts:2'):
        path = os.path.join(str(path), 'resolv.conf')
        with open(path, 'w') as f:
            f.write('nameserver 127.0.0.1:%d\noptions %s\n' % (self.port, options))
        os.chmod(os.path.dirname(path), 0o755)
        return path

    def close(self):
        self.sock.close()

    # ---- the wire ----

    def run(self):
        while True:
            try:
                packet, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            with self.cond:
                answer = self.answer(packet)
                if answer:
                    try:
                        self.sock.sendto(answer, peer)
                    except OSError:
                        return
                self.cond.notify_all()

    def answer(self, packet):
        ident, labels, at = packet[:2], [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        kind = struct.unpack('!H', packet[at + 1:at + 3])[0]
        question = packet[12:at + 5]
        name = '.'.join(labels).lower()
        addresses, how, how6 = self.names.get(name, ([], 'nxdomain', None))
        if kind == AAAA and how6:
            how = how6
        self.seen.append((name, kind))

        def head(flags, n):
            return ident + struct.pack('!HHHHH', flags, 1, n, 0, 0) + question
        if how == 'silent':
            return None
        if how == 'garbage':
            return ident + bytes(range(1, 90))
        if how in ('nxdomain', 'servfail', 'refused'):
            return head(0x8180 | {'nxdomain': NXDOMAIN, 'servfail': SERVFAIL,
                                  'refused': REFUSED}[how], 0)
        found = [a for a in addresses if (':' in a) == (kind == AAAA)]
        body = b''.join(
            b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 1, 16 if kind == AAAA else 4) +
            socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, a) for a in found)
        if how == 'truncated':
            return head(0x8180 | 0x0200, len(found)) + body
        if how == 'cut':
            return (head(0x8180, len(found) + 1) + body)[:-1]
        return head(0x8180, len(found)) + body
