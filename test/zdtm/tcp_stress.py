#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# N connections within a tree and N across its edge (half of them made by it), with numbered bytes both ways at full
# speed, half-closing, closing and resetting at random (tcp_flow.c), through rounds of dump and restore. After each round
# all that is alive goes on, and new connections are made. Also behind the firewall of a Kubernetes node.
# SEED=N repeats a plan; ROUNDS=N and N=N choose others.
# zdtm: driver
# zdtm: needs iptables
# zdtm: timeout 1800
import os
import random
import subprocess
import time

from driver import check, rounds_wanted, run_all, scenario, text, wait_for
from tcp_peers import kube_firewall, own_network

STRESS = bool(os.environ.get("STRESS"))
SEED = int(os.environ.get("SEED") or (time.time() if STRESS else 1))
PARTIES = ("in", "in-in", "in-out", "out", "out-in")
CONNECTORS = {"in-in": "in", "in-out": "out", "out-in": "in"}


class Flows:
    """The parties of a stress, and what they say of themselves."""

    def __init__(self, s, n):
        self.s, self.n = s, n
        self.random = random.Random(SEED)
        self.say = open(s.path("parties.out"), "w")
        self.gate(True)
        self.outside = [self.start("serve", "out"), self.start("connect", "out-in", "in", n // 2, self.seed())]
        s.proc = self.start("tree", n, self.seed())
        s.pid = s.proc.pid
        self.await_new()

    def seed(self):
        return self.random.randrange(1 << 60)

    def start(self, *args):
        program = os.path.join(os.environ["TESTS"], "tcp_flow")
        return subprocess.Popen([program, *map(str, args)], cwd=self.s.dir, stdin=subprocess.DEVNULL, stdout=self.say,
                                stderr=self.say, start_new_session=True)

    def gate(self, open_it):
        if open_it:
            open(self.s.path("gate"), "w").close()
        else:
            os.unlink(self.s.path("gate"))

    def status(self, name):
        """opened, accepted, ended, live, bytes, gate shut"""
        try:
            words = text(self.s.path("status." + name)).split()
        except FileNotFoundError:
            words = []
        return list(map(int, words)) if len(words) == 6 else [0] * 6

    def all(self):
        return {p: self.status(p) for p in PARTIES}

    def right(self, when):
        said = text(self.s.path("result")).strip() if os.path.exists(self.s.path("result")) else ""
        if said:
            print(text(self.s.path("parties.out"))[:2000])
        check(not said, "seed %d, %s: %s" % (SEED, when, " | ".join(said.splitlines()[:5])))

    def wait(self, condition, when, seconds=60):
        ok = wait_for(lambda: condition(self.all()) or (os.path.exists(self.s.path("result")) and text(self.s.path("result"))), seconds)
        self.right(when)
        check(ok, "seed %d, %s: %s" % (SEED, when, self.all()))

    def matched(self, v):
        """What was connected has been accepted."""
        return all(v[t][1] == sum(v[c][0] for c in CONNECTORS if CONNECTORS[c] == t) for t in set(CONNECTORS.values()))

    def await_new(self, before=None, when="at the beginning"):
        self.wait(lambda v: all(v[c][0] > (before[c][0] if before else 0) and not v[c][5] for c in CONNECTORS),
                  when + ": no new connections")
        self.wait(lambda v: all(v[p][4] > (before[p][4] if before else 0) for p in PARTIES), when + ": nothing flows")

    def quiet(self, when):
        """Nobody is connecting, and nothing waits to be accepted: that would be refused. All else goes on."""
        self.gate(False)
        self.wait(lambda v: all(v[c][5] for c in CONNECTORS) and self.matched(v), when + ": a connection is not accepted")

    def round(self, i):
        when = "round %d" % i
        time.sleep(self.random.random() * 0.15)
        self.quiet(when)
        time.sleep(self.random.random() * self.random.choice((0, 0.02, 0.3)))
        before, started = self.all(), time.time()
        self.s.dump("--tcp-established")
        time.sleep(self.random.random() * self.random.choice((0, 0.05)))
        self.s.restore("--tcp-established")
        took = time.time() - started
        self.right(when)
        self.gate(True)
        self.await_new(before, when)
        # Who closed with bytes on their way gives up when eight times in a row they met the lock.
        time.sleep(took if STRESS else 0)
        if i % 10 == 9:  # of a reset that came meanwhile only keepalive tells, after a second without a restore
            time.sleep(2.5)

    def end(self):
        open(self.s.path("stop"), "w").close()
        self.wait(lambda v: all(not v[p][3] for p in PARTIES), "at the end: connections do not end", 300)
        open(self.s.path("quit"), "w").close()
        for p in self.outside:
            check(p.wait(60) == 0, "a party outside ended with %d" % p.returncode)
        self.s.gone()
        self.right("at the end")
        v = self.all()
        check(self.matched(v), "not all that were opened were accepted: %s" % v)
        print("seed %d: %d connections, %d bytes" % (SEED, sum(v[c][0] for c in CONNECTORS), sum(x[4] for x in v.values())))


def stress(s, rounds):
    f = Flows(s, int(os.environ.get("N") or 20))
    for i in range(rounds_wanted(rounds)):
        f.round(i)
    f.end()


@scenario
def plain(s):
    stress(s, 200 if STRESS else 5)


@scenario
def kubernetes(s):
    kube_firewall()
    stress(s, 200 if STRESS else 3)


own_network()
run_all()
