"""Faults of a cluster that Patroni manages (ha.py).

SPDX-License-Identifier: ISC
"""
from ha import TTL
from lab import fault


@fault('patroni-switchover', 'patronictl switchover', 'patroni')
def switchover(lab):
    old = lab.primary
    yield
    lab.ctl('switchover', '--master', old.name, '--force', 'weir')
    lab.led_by_other(old)
    yield lab.seconds
    yield


@fault('patroni-kill', 'SIGKILL of Patroni and all of the primary (ttl %d s); it comes back '
       'after the new one is there' % TTL, 'patroni')
def kill_leader(lab):
    old = lab.primary
    yield
    old.kill()
    lab.led_by_other(old)
    yield lab.seconds
    old.start(wait=False)
    lab.whole()
    yield
