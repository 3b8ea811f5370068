"""The manual pages and the shells' completions, which are made from tables.

SPDX-License-Identifier: ISC
"""
import re
import subprocess

import pytest

from conftest import PGWEIR

pytestmark = pytest.mark.weir_only


def made(*args, rc=0):
    r = subprocess.run([PGWEIR, *args], capture_output=True, text=True, timeout=30)
    assert r.returncode == rc, r.stderr
    return r.stdout if rc == 0 else r.stderr


def options():
    """By --help: (letter or None, name)."""
    return re.findall(r'^  (?:-(\w), |    )--([\w-]+)', made('--help'), re.M)


def test_the_options_are_known():
    opts = options()
    assert len(opts) > 10 and ('h', 'help') in opts and ('', 'check') in opts


@pytest.mark.parametrize('page, name', [('1', 'PGWEIR'), ('5', 'PGWEIR.INI')])
def test_pages_are_clean(tmp_path, page, name):
    text = made('--manual=' + page)
    path = tmp_path / ('page.' + page)
    path.write_text(text)
    assert text.startswith('.TH %s %s ' % (name, page))
    for argv in (['mandoc', '-Tlint', '-Wwarning'], ['groff', '-man', '-Tutf8', '-ww', '-z']):
        r = subprocess.run([*argv, str(path)], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0 and not r.stdout and not r.stderr, r.stdout + r.stderr


def test_page_1_has_every_option():
    text = made('--manual=1').replace('\\', '')
    for letter, name in options():
        assert re.search(r'^\.B %s--%s' % ('-%s, ' % letter if letter else '', name), text, re.M), name


def test_no_such_page():
    assert 'no such page' in made('--manual=2', rc=1)
    assert 'no completion' in made('--completion', 'csh', rc=1)


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completions_name_every_option(tmp_path, shell):
    text = made('--completion', shell)
    path = tmp_path / 'completion'
    path.write_text(text)
    r = subprocess.run([shell, '-n', str(path)], capture_output=True, text=True, timeout=30)
    assert r.returncode == 0 and not r.stderr, r.stderr
    for letter, name in options():
        assert (' -l %s ' % name if shell == 'fish' else '--%s' % name) in text, name


def test_bash_completes(tmp_path):
    (tmp_path / 'completion').write_text(made('--completion', 'bash'))
    (tmp_path / 'a.ini').write_text('')
    (tmp_path / 'a.txt').write_text('')

    def completed(*words):
        script = ('source ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pgweir; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        r = subprocess.run(['bash', '-c', script, 'bash', *words], capture_output=True, text=True, timeout=30,
                           cwd=tmp_path)
        assert r.returncode == 0 and not r.stderr, r.stderr
        return r.stdout.split()

    assert completed('pgweir', '--che') == ['--check']
    assert set(completed('pgweir', '-')) >= {'-p', '--port', '--manual', '-V'}
    assert completed('pgweir', '--completion', 'f') == ['fish']
    assert completed('pgweir', 'a.') == ['a.ini']
    assert 'root' in completed('pgweir', '-u', 'roo')
    assert completed('pgweir', '--port', '') == []
