"""HTTP of a daemon under test, and Prometheus' two formats read strictly.

SPDX-License-Identifier: ISC
"""
import json
import re
import socket
import urllib.error
import urllib.request

from conftest import SLOW, until


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    text = property(lambda self: self.body.decode())
    json = property(lambda self: json.loads(self.body))


def web_port(w, n=1):
    """Of the n-th address that was listened on."""
    return int(re.search(r'port=(\d+)', w.wait_log('event=http_listening', n=n)[n - 1]).group(1))


def get(port, path='/', method='GET', data=None, **headers):
    req = urllib.request.Request('http://127.0.0.1:%d%s' % (port, path), data=data, method=method,
                                 headers={k.replace('_', '-'): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(req, timeout=20 * SLOW) as r:
            return Answer(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        with e:
            return Answer(e.code, e.headers, e.read())


def raw(port, text=b'', family=socket.AF_INET, host='127.0.0.1'):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(20 * SLOW)
    s.connect((host, port))
    if text:
        s.sendall(text)
    return s


def rest(s):
    """Until the other side ends it."""
    out = b''
    try:
        while True:
            more = s.recv(65536)
            if not more:
                return out
            out += more
    except ConnectionResetError:
        return out


OPENMETRICS = 'application/openmetrics-text; version=1.0.0'


def samples(text):
    """{(name, frozenset of labels): value} of either format; no pair comes twice."""
    out = {}
    for line in text.splitlines():
        if line.startswith('#'):
            continue
        m = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)', line)
        assert m, line
        labels = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)', m.group(2) or '')
        assert ','.join('%s="%s"' % x for x in labels) == (m.group(2) or ''), line
        key = m.group(1), frozenset((k, re.sub(r'\\(.)', lambda x: {'n': '\n'}.get(x[1], x[1]), v))
                                    for k, v in labels)
        assert key not in out, 'twice: ' + line
        out[key] = float(m.group(3))
    return out


class Metrics(dict):
    """m('queries_total', database='app')"""

    def __call__(self, name, **labels):
        return self['pgweir_' + name, frozenset(labels.items())]

    def sum(self, name, **labels):
        return sum(v for (n, have), v in self.items()
                   if n == 'pgweir_' + name and have >= frozenset(labels.items()))


def metrics(port, **headers):
    return Metrics(samples(get(port, '/metrics', **headers).text))


def wait_health(port, status, timeout=20):
    return until(lambda: (a := get(port, '/health').json)['status'] == status and a, timeout,
                 why='/health: ' + status)
