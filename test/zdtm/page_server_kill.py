#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# kill -9 of a dump, of its page server, at each fault point and at any instant: the tree goes on or the checkpoint is whole, nothing else
# is taken for one, and the next dump and server find nothing in their way.
# zdtm: driver
# zdtm: timeout 600
import os
import random
import shutil
import signal
import subprocess
import time

from case import guardians, runs
from driver import check, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from page_wire import Server, fault_points, nothing_hidden, together

ROUNDS = 12


def dump(s, server, *opts):
    s.pids = tree(s.pid)
    return subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "--page-server", "--port",
                             str(server.port), *map(str, opts)], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def wait(p, why):
    try:
        return p.wait(60)
    except subprocess.TimeoutExpired:
        p.kill()
        check(False, "%s: hangs" % why)


def calm(s, why):
    """Both have ended, and what a killed dump has left behind, its guardian, too."""
    check(wait_for(lambda: not guardians()), "%s: a guardian lives on" % why)


def goes_on(s, why):
    """The tree is as before, and neither directory is a checkpoint; together neither."""
    check(runs(s.pid), "%s: the victim is gone" % why)
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: not os.path.exists(s.path("ask"))), "%s: no answer" % why)
    check("FAIL" not in text(s.path("result")), "%s: %s" % (why, text(s.path("result"))))
    s.tool("restore", "-d", "-D", s.path("srv"))
    check(s.rc == 1 and ("inventory.img" in s.out or "is missing" in s.out), "%s: %d: %s" % (why, s.rc, s.out))
    check(not [n for n in os.listdir(s.imgs) if n == "checkpoint.sums" or n == "inventory.img"], "%s: %r" % (why, os.listdir(s.imgs)))


def start_over(s):
    shutil.rmtree(s.imgs, ignore_errors=True)
    shutil.rmtree(s.imgs + ".dump", ignore_errors=True)
    os.mkdir(s.imgs)


def settled(s, server, status, why):
    """What there is now: the tree or its checkpoint. Whether it is the tree."""
    calm(s, why)
    if os.path.exists(os.path.join(s.imgs, "inventory.img")) and not runs(s.pid):
        # A server may be killed when it has answered; the restore looks for the pages.
        check(wait(server.proc, why) in (0, -signal.SIGKILL), "%s: a checkpoint whose page server has failed" % why)
        s.gone()
        check(wait_for(lambda: reap() or all(state_of(p) == "gone" for p in s.pids)), "%s: not all of the tree has ended" % why)
        together(s, server.dir)
        s.restore()
        start_over(s)
        return False
    check(status != 0, "%s: the dump says that it has done it" % why)
    wait(server.proc, why)
    goes_on(s, why)
    return True


def points(s, of_server):
    server = Server(s, "--test-kill-at", 100000)
    check(wait(dump(s, server, "-R", "--test-kill-at", 100000), "dump") == 0, text(s.path("imgs/dump.log"))[-500:])
    server.ends(0)
    n = fault_points(server.said() if of_server else text(s.path("imgs/dump.log")))
    start_over(s)
    shutil.rmtree(server.dir)
    return n


@scenario
def server_points(s):
    s.victim()
    n = points(s, True)
    check(n >= 6, "%d fault points" % n)
    for i in range(1, n + 1):
        why = "server, point %d" % i
        server = Server(s, "--test-kill-at", i)
        status = wait(dump(s, server), why)
        check(wait(server.proc, why) == -signal.SIGKILL, "%s: not killed: %s" % (why, server.said()))
        server.proc.stdout.close()
        check(status == 1, "%s: the dump ends with %d" % (why, status))
        goes_on(s, why)
    server = Server(s)
    s.dump("--page-server", "--port", server.port)
    server.ends(0)
    nothing_hidden(server.dir)
    together(s, server.dir)
    s.restore()
    s.verify()


@scenario
def dump_points(s):
    s.victim()
    n = points(s, False)
    check(n >= 15, "%d fault points" % n)
    alive = 0
    for i in range(1, n + 1):
        why = "dump, point %d" % i
        server = Server(s)
        p = dump(s, server, "--test-kill-at", i)
        status = wait(p, why)
        if not connected(server):
            server.connect().close()
        alive += settled(s, server, status, why)
        server.proc.stdout.close()
        shutil.rmtree(server.dir, ignore_errors=True)
        start_over(s)
    check(0 < alive < n, "%d of %d" % (alive, n))
    s.verify()


def connected(server):
    """Whether somebody has come to it: it does not listen any more."""
    return not any(line.split()[1].endswith(":%04X" % server.port) and line.split()[3] == "0A"
                   for line in text("/proc/net/tcp").splitlines()[1:])


def at_random(s, of_server):
    s.victim("page_tree")
    server = Server(s)
    began = time.monotonic()
    check(wait(dump(s, server, "-R"), "dump") == 0, "the dump fails")
    server.ends(0)
    most, hits = time.monotonic() - began, 0
    start_over(s)
    shutil.rmtree(server.dir)
    for i in range(rounds_wanted(ROUNDS)):
        server = Server(s)
        p = dump(s, server)
        after = random.uniform(0, most * 1.1)
        why = "%s killed after %.3f s" % ("server" if of_server else "dump", after)
        time.sleep(after)
        (server.proc if of_server else p).kill()
        status = wait(p, why)
        if not of_server and not connected(server):
            server.connect().close()
        hits += settled(s, server, status, why)
        server.proc.stdout.close()
        start_over(s)
        if i % 2:  # else the next server finds what this one has left
            shutil.rmtree(server.dir, ignore_errors=True)
    print("%d of the dumps were hit" % hits)
    s.verify()


@scenario
def server_at_random(s):
    at_random(s, True)


@scenario
def dump_at_random(s):
    at_random(s, False)


run_all()
