"""The README's configuration is taken as it stands there.

SPDX-License-Identifier: ISC
"""
import os
import re
import subprocess

import pytest

import certs
from conftest import PGWEIR, ROOT


def blocks():
    with open(os.path.join(ROOT, 'README.md')) as f:
        return re.findall(r'```ini\n(.*?)```', f.read(), re.S)


@pytest.mark.weir_only
def test_the_configuration_is_right(tmp_path):
    assert blocks()
    (tmp_path / 'users.txt').write_text('"app" "secret"\n')
    for text in blocks():
        text = text.replace('/etc/pgweir/users.txt', str(tmp_path / 'users.txt'))
        (tmp_path / 'x.ini').write_text(text)
        out = subprocess.run([PGWEIR, '--check', str(tmp_path / 'x.ini')], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr


@pytest.mark.weir_only
def test_the_safe_configuration_is_right(tmp_path):
    """docs/security.md."""
    with open(os.path.join(ROOT, 'docs', 'security.md')) as f:
        text, = re.findall(r'```ini\n(.*?)```', f.read(), re.S)
    ca = certs.Authority(str(tmp_path), 'ca')
    server = ca.server()
    for there, what in (('users.txt', '"app" "secret"\n'), ('hba', 'hostssl all all all scram-sha-256\n'), ('app', 'x\n')):
        (tmp_path / there).write_text(what)
    for old, new in (('/etc/pgweir/servers-ca.crt', ca.ca), ('/etc/pgweir/clients-ca.crt', ca.ca), ('/etc/pgweir/server.crt', server.cert),
                     ('/etc/pgweir/server.key', server.key), ('/etc/pgweir', str(tmp_path))):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / 'x.ini').write_text(text)
    out = subprocess.run([PGWEIR, '--check', str(tmp_path / 'x.ini')], capture_output=True, text=True,
                         env={**os.environ, 'CREDENTIALS_DIRECTORY': str(tmp_path)})
    assert out.returncode == 0, out.stderr


@pytest.mark.weir_only
def test_the_uri_is_right():
    with open(os.path.join(ROOT, 'README.md')) as f:
        uris = re.findall(r"build/pgweir '(postgresql://[^']+)'", f.read())
    assert uris
    for uri in uris:
        assert subprocess.run([PGWEIR, '--check', uri]).returncode == 0


@pytest.mark.weir_only
def test_the_manual_names_every_setting():
    page = subprocess.run([PGWEIR, '--manual'], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(ROOT, 'conf', 'keys.def')) as f:
        names = re.findall(r'^KEY\(\w+,\s*\w+,\s*(\w+),', f.read(), re.M)
    assert len(names) > 50
    for n in names:
        assert n.replace('_', r'_') in page.replace(r'\_', '_'), n
