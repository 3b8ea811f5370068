"""The messages of a take-over (proxy/handoff.h), spoken by a test in the place of either
process.

SPDX-License-Identifier: ISC
"""
import os
import socket
import struct

HELLO, OFFER, NO, READY, GO, STEADY, OVER, CANCEL = range(1, 9)
LISTEN, UNIX, UNIX_LOCK, DOOR, DOOR_LOCK, ASKER = range(1, 7)
MAGIC = 0x57745067
VERSION = 1
FORM = struct.Struct('<IHHIIQIII40s200s32s4x')


class Message:
    def __init__(self, kind, version, taken, key, roles, text, fds, pid):
        self.kind, self.version, self.taken, self.key = kind, version, taken, key
        self.roles, self.text, self.fds, self.pid = roles, text, fds, pid

    def fd(self, role):
        return self.fds[self.roles.index(role)]

    def socket(self, role):
        return socket.socket(fileno=self.fd(role))

    def close(self):
        for f in self.fds:
            os.close(f)


class End:
    """One end of the connection."""

    def __init__(self, sock, timeout=20):
        self.sock = sock
        sock.settimeout(timeout)

    def send(self, kind, version=VERSION, taken=0, key=(0, 0), roles=(), fds=(), text='', magic=MAGIC):
        data = FORM.pack(magic, version, kind, os.getpid(), 0, taken, *key, len(fds),
                         bytes(roles), text.encode(), b'')
        socket.send_fds(self.sock, [data], list(fds))

    def recv(self):
        """None: it has ended the connection."""
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, FORM.size + 1, 40)
        except ConnectionError:
            return None
        if not data:
            return None
        magic, version, kind, pid, _, taken, kp, ks, n, roles, text, _ = FORM.unpack(data)
        assert magic == MAGIC and n == len(fds)
        return Message(kind, version, taken, (kp, ks), list(roles[:n]), text.rstrip(b'\0').decode(),
                       list(fds), pid)

    def expect(self, kind):
        m = self.recv()
        assert m and m.kind == kind, (kind, m and (m.kind, m.text))
        return m

    def close(self):
        self.sock.close()


def knock(directory, timeout=20):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(timeout)
    s.connect(str(directory) + '/takeover')
    return End(s, timeout)


def door(directory):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(str(directory) + '/takeover')
    s.listen(4)
    s.settimeout(20)
    return s
