"""The README's connection string, and the manual page; test_docs.py has the rest.

SPDX-License-Identifier: ISC
"""
import os
import re
import subprocess

import pytest

from conftest import PGWEIR, ROOT


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
