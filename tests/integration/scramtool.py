"""The SCRAM of proxy/wire in the hands of a test (tests/scram/tool.c), and a client of
its own that makes messages of any form.

    PGWEIR_SCRAM    the tool (default build/scram-tool, which is built when it is not there)

SPDX-License-Identifier: ISC
"""
import base64
import hashlib
import hmac
import os
import subprocess

import wire
from conftest import ROOT

PLAIN, PLUS = 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'


class Refused(Exception):
    """What the tool says of it."""


def find():
    where = os.environ.get('PGWEIR_SCRAM')
    if not where:
        done = subprocess.run(['make', '-C', ROOT, 'build/scram-tool'], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=600, check=False)
        assert not done.returncode, done.stdout.decode(errors='replace')
        where = os.path.join(ROOT, 'build', 'scram-tool')
    return where


class Tool:
    def __init__(self):
        self.proc = subprocess.Popen([find()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self.proc.stdin.close()
        assert self.proc.wait(20) == 0

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()

    def ask(self, *words):
        """The words of the answer; bytes go as hex."""
        words = [(w.hex() or '.') if isinstance(w, bytes) else str(w) for w in words]
        assert not any(' ' in w or '\n' in w for w in words), words
        self.proc.stdin.write(' '.join(words).encode() + b'\n')
        self.proc.stdin.flush()
        answer = self.proc.stdout.readline().decode().rstrip('\n')
        if answer[:1] == '-':
            raise Refused(answer[2:])
        assert answer[:1] == '+', answer
        return answer[2:].split(' ') if len(answer) > 1 else []

    def one(self, *words):
        return self.ask(*words)[0]


class Client(wire.Scram):
    """wire.Scram with any gs2 header, and any text behind c=."""

    def __init__(self, secret, gs2, cbind):
        super().__init__(secret)
        self.gs2, self.cbind = gs2, cbind

    def first(self):
        return self.gs2 + self.bare.encode()

    def final(self, server_first):
        server_first = server_first.decode()
        f = dict(p.split('=', 1) for p in server_first.split(','))
        salted = hashlib.pbkdf2_hmac('sha256', self.secret, base64.b64decode(f['s']), int(f['i']))
        client_key = hmac.digest(salted, b'Client Key', 'sha256')
        bare = 'c=' + base64.b64encode(self.cbind).decode() + ',r=' + f['r']
        auth = ','.join([self.bare, server_first, bare]).encode()
        sig = hmac.digest(hashlib.sha256(client_key).digest(), auth, 'sha256')
        proof = bytes(a ^ b for a, b in zip(client_key, sig))
        return (bare + ',p=' + base64.b64encode(proof).decode()).encode()
