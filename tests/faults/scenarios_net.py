"""Faults of the network (net.py), of a standby and of the primary.

SPDX-License-Identifier: ISC
"""
import signal

from lab import fault
from scenarios import PRIMARY, STANDBY, victim

TEXTS = {
    'blackhole': 'every packet to and from %s is dropped',
    'loss': '30 %% of the packets to and from %s are dropped',
    'refuse': '%s answers every TCP packet with a reset',
    'deaf': 'packets to %s are dropped, those from it pass',
    'mute': 'packets from %s are dropped, those to it pass',
}


def cut(how, which):
    def steps(lab):
        node = victim(lab, which)
        yield
        node.cut(how)
        yield lab.seconds
        node.heal()
        yield
    return steps


for _how, _text in TEXTS.items():
    for _which in (STANDBY, PRIMARY):
        fault('%s-%s' % (_how, _which.split()[1]), _text % _which, 'net')(cut(_how, _which))


def slow(which, number):
    def steps(lab):
        relay = lab.network.relays[number]
        yield
        relay.delay = 0.2
        yield lab.seconds
        relay.delay = 0.0
        yield
    return steps


fault('slow-standby', 'what a standby sends comes 200 ms later', 'slow')(slow(STANDBY, 1))
fault('slow-primary', 'what the primary sends comes 200 ms later', 'slow')(slow(PRIMARY, 0))


@fault('blackhole-promote', 'every packet to and from the primary is dropped; a standby is '
       'promoted; the old one is ended, its network heals, it comes back as a standby', 'net')
def blackhole_promote(lab):
    old = lab.primary
    yield
    old.cut('blackhole')
    lab.promote()
    yield lab.seconds
    old.stop(signal.SIGQUIT)
    old.heal()
    old.rebuild(lab.primary)
    yield
