#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Somebody listens at the port of connections that are being restored, again and again, with SO_REUSEADDR like theirs
# (tcp_listen.c). Before and after that never fails. Meanwhile it may within one system call of the kernel's: leaving
# TCP_REPAIR takes SO_REUSEADDR away, and there is no call that does both. So: at most once in a while, not whenever a
# queue is filled; how long it then lasts says only how long the tool waited for a processor. And a listener that was there
# before the restore stays, and does not stop it.
# zdtm: driver
# zdtm: exclusive
# zdtm: timeout 600
import os
import socket
import subprocess

from driver import check, children, reap, run_all, scenario, state_of, text, wait_for
from tcp_peers import own_network

RESTORES = 300 if os.environ.get("STRESS") else 30
CONNS = 16
PROGRAM = os.path.join(os.environ["TESTS"], "tcp_listen")


def start(s):
    s.proc = subprocess.Popen([PROGRAM, "closed"], cwd=s.dir, stdin=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready")
    s.port = int(text(s.path("port")))


def ask(s):
    open(s.path("ask"), "w").close()
    wait_for(lambda: not os.path.exists(s.path("ask")) or state_of(s.pid) == "gone")
    said = text(s.path("result")).strip() if os.path.exists(s.path("result")) else ""
    check(not said and not os.path.exists(s.path("ask")), "the victim says %r" % said)


class Race:
    def __init__(self, s):
        self.s = s
        for n in ("racing", "stop-racing", "race"):
            if os.path.exists(s.path(n)):
                os.unlink(s.path(n))
        self.proc = subprocess.Popen([PROGRAM, "race", str(s.port)], cwd=s.dir)
        check(wait_for(lambda: os.path.exists(s.path("racing"))), "the other listener does not start")

    def end(self):
        open(self.s.path("stop-racing"), "w").close()
        check(self.proc.wait(60) == 0, "the other listener ended with %d" % self.proc.returncode)
        return map(int, text(self.s.path("race")).split())


def gone(s, but=()):
    s.kill()
    check(wait_for(lambda: reap() or set(children(os.getpid())) <= set(but)), "not all are gone")


@scenario
def somebody_listens(s):
    start(s)
    tries, failed, _ = Race(s).end()
    check(tries and not failed, "without a dump: %d of %d failed" % (failed, tries))
    s.dump("--tcp-established")
    race = Race(s)
    for i in range(RESTORES):
        s.restore("--tcp-established")
        ask(s)
        if i + 1 < RESTORES:
            gone(s, [race.proc.pid])
    tries, failed, times = race.end()
    print("%d tries, %d failed, %d times; %d connections restored" % (tries, failed, times, RESTORES * CONNS))
    check(times < RESTORES * CONNS / 4, "%d of %d tries failed, %d times" % (failed, tries, times))
    tries, failed, _ = Race(s).end()
    check(tries and not failed, "after the restore: %d of %d failed" % (failed, tries))
    s.verify()


@scenario
def somebody_has_listened(s):
    start(s)
    s.dump("--tcp-established")
    with socket.create_server(("127.0.0.1", s.port)) as other:
        for _ in range(3):
            s.restore("--tcp-established")
            ask(s)
            with socket.create_connection(("127.0.0.1", s.port)) as c:
                other.accept()[0].close()
                check(c.recv(1) == b"", "the other listener is deaf")
            gone(s)
        s.restore("--tcp-established")
        s.verify()


own_network()
run_all()
