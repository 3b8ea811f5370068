#!/usr/bin/python3
"""Between pgweir and its server: connections that are lost at the worst moments.

    relay.py --to PORT --cut P

Prints its port, and ends with standard input. Of P of the transactions the connection
is closed when the server has said COMMIT and nobody else has read it yet; of as many
when the server is about to be told of it, and never is; and of as many in the middle.

SPDX-License-Identifier: ISC
"""
import argparse
import os
import random
import socket
import sys
import threading


class Link:
    """One connection: two threads that pass on what comes."""

    def __init__(self, client, server, cut, rng):
        self.ends, self.cut, self.rng = (client, server), cut, rng
        for s in self.ends:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for args in ((client, server, (b'COMMIT\0',)), (server, client, (b'COMMIT\0', b'UPDATE 1\0'))):
            threading.Thread(target=self.pump, args=args, daemon=True).start()

    def pump(self, come, go, marks):
        try:
            while True:
                data = come.recv(65536)
                if not data or any(m in data for m in marks) and self.rng.random() < self.cut:
                    break
                go.sendall(data)
        except OSError:
            pass
        for s in self.ends:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    p.add_argument('--to', type=int, required=True)
    p.add_argument('--cut', type=float, required=True)
    opts = p.parse_args()
    rng = random.Random()
    door = socket.create_server(('127.0.0.1', 0))
    print(door.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    links = []
    while True:
        client, _ = door.accept()
        try:
            server = socket.create_connection(('127.0.0.1', opts.to))
        except OSError:
            client.close()
            continue
        links.append(Link(client, server, opts.cut, rng))


if __name__ == '__main__':
    main()
