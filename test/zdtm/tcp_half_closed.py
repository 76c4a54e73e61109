#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Two half-closed peers that talk to each other over loopback (tcp_half_closed.c), restored at once, again and again: the
# FINs that are emulated find nobody there who answers with a reset. Also behind the firewall of a Kubernetes node.
# zdtm: driver
# zdtm: needs iptables
# zdtm: timeout 1800
import os

from driver import check, children, reap, run_all, scenario, state_of, text, wait_for
from tcp_peers import kube_firewall, own_network, tables

RESTORES = int(os.environ.get("RESTORES") or (1000 if os.environ.get("STRESS") else 50))


def ask(s, when):
    """Every pair is in its state, and goes on."""
    open(s.path("ask"), "w").close()
    wait_for(lambda: not os.path.exists(s.path("ask")) or state_of(s.pid) == "gone")
    said = text(s.path("result")).strip() if os.path.exists(s.path("result")) else ""
    check(not said, "%s: %s" % (when, " | ".join(said.splitlines()[:4])))
    check(not os.path.exists(s.path("ask")), "%s: no answer" % when)


def race(s, restores):
    s.victim("tcp_half_closed")
    before = tables()
    s.dump("--tcp-established")
    for i in range(restores):
        s.restore("--tcp-established")
        ask(s, "restore %d" % i)
        if i + 1 < restores:
            s.kill()
            check(wait_for(lambda: reap() or not children(os.getpid())), "not all are gone")
    check(tables() == before, "tables are left: %s" % tables())
    s.verify()


@scenario
def plain(s):
    race(s, RESTORES)


@scenario
def kubernetes(s):
    kube_firewall()
    race(s, RESTORES)


own_network()
run_all()
