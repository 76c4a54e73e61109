#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# 32-bit programs (data/compat/compat.c, built here with -m32): alone through three rounds, above and below 64-bit ones, let go
# after a dump, and with criu killed at each of its fault points.
# zdtm: driver
# zdtm: needs cc
# zdtm: timeout 300
import os
import re
import signal
import subprocess
import sys

from case import Skipped, guardians
from driver import check, children, reap, run_all, scenario, state_of, text, wait_for

STRESS = os.environ.get("STRESS") == "1"
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data/compat/compat.c")
WORK = os.environ["WORK"]


def build(bits):
    out = os.path.join(WORK, "compat%d" % bits)
    if not os.path.exists(out):
        p = subprocess.run(["cc", "-m%d" % bits, "-msse2", "-O1", "-o", out, SOURCE, "-lpthread", "-lrt"], capture_output=True, text=True)
        if p.returncode:
            raise Skipped("cc -m%d does not work (gcc-multilib?): %s" % (bits, p.stderr.strip().splitlines()[:1]))
        need_to_run(out, bits)
    return out


def need_to_run(program, bits):
    """Some virtual machines run no 32-bit programs, whatever their kernel was built with."""
    probe = program + "-probe"
    subprocess.run(["cc", "-m%d" % bits, "-o", probe, "-x", "c", "-"], input="int main(void) { return 0; }", text=True, check=True)
    try:
        subprocess.run([probe], check=True)
    except OSError as e:
        os.unlink(program)
        raise Skipped("no %d-bit programs run here: execve: %s" % (bits, e.strerror))


def start(s, *args):
    """argv, where {32} and {64} are the programs."""
    args = [a.replace("{32}", build(32)).replace("{64}", build(64)) for a in args]
    for n in ("verify", "result", "ready", "c-ready", "c-result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen(args, cwd=s.dir, stdin=subprocess.DEVNULL, stdout=open(s.path("victim.out"), "a"),
                              stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid
    wanted = ["ready"] + ["c-ready"] * ("c-" in args)
    check(wait_for(lambda: all(os.path.exists(s.path(n)) for n in wanted)), "the program is not ready: %s" % text(s.path("victim.out")))


def verify(s):
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: reap() or os.path.exists(s.path("result"))), "no answer: %s" % text(s.path("victim.out")))
    check(text(s.path("result")).strip() == "PASS", text(s.path("victim.out")))
    s.gone()


def maps(pid):
    """Without the numbers of the files' inodes that are new (shared memory)."""
    return [l.split()[:2] + l.split()[5:6] for l in text("/proc/%d/maps" % pid).splitlines()]


def shown(pid):
    return {n: text("/proc/%d/%s" % (pid, n)) for n in ("personality", "auxv", "limits", "coredump_filter", "timerslack_ns")}


def rounds(s, n):
    before = {p: (maps(p), shown(p)) for p in [s.pid, *children(s.pid)]}
    for again in range(n):
        s.dump()
        s.restore()
        for p, (m, other) in before.items():
            check(maps(p) == m, "round %d, pid %d: the mappings were\n%s\nand are\n%s" % (again, p, m, maps(p)))
            for k, v in shown(p).items():
                check(v == other[k], "round %d, pid %d: %s: %r is now %r" % (again, p, k, other[k], v))
        s.clean_images()


@scenario
def alone(s):
    start(s, "{32}")
    rounds(s, 20 if STRESS else 3)
    verify(s)


@scenario
def restored_twice(s):
    start(s, "{32}")
    s.dump()
    s.restore()
    s.kill()
    s.restore()
    verify(s)


@scenario
def let_go(s):
    start(s, "{32}")
    for _ in range(5):
        s.dump("-R")
        s.clean_images()
    verify(s)


@scenario
def snapshots(s):
    """A copy of its memory, a child, is waited for by a call that a 32-bit program makes: criu's, or the guardian's."""
    start(s, "{32}")
    s.dump("-R", "--snapshot", "always", "--test-kill-at", 100000)
    names = re.findall(r"fault point \d+: (.*)", text(os.path.join(s.imgs, "dump.log")))
    check("the tree runs" in names and not children(s.pid), "a copy is left: %s" % children(s.pid))
    for at in range(names.index("a copy is made") + 1, len(names) + 1):
        s.dump("-R", "--snapshot", "always", "--test-kill-at", at, ok=False)
        check(wait_for(lambda: not guardians()), "the guardian does not end")
        check(wait_for(lambda: not children(s.pid)), "killed at %d: a copy is left: %s" % (at, s.errors("dump.log")))
    s.dump("-R", "--snapshot", "always")
    s.kill()
    s.restore()
    verify(s)


@scenario
def below_a_64_bit_program(s):
    start(s, "{64}", "", "{32}", "c-")
    rounds(s, 2)
    verify(s)


@scenario
def above_a_64_bit_program(s):
    start(s, "{32}", "", "{64}", "c-")
    rounds(s, 2)
    verify(s)


def sleeps(pid):
    """How often its main thread has slept."""
    return [l for l in text("/proc/%d/status" % pid).splitlines() if l.startswith("voluntary")]


@scenario
def killed(s):
    """At each fault point of the dump the program runs on as it was; no restore leaves anything."""
    start(s, "{32}")
    before = maps(s.pid)
    at = 0
    while True:
        at += 1
        s.dump("-R", "--test-kill-at", at, ok=False)
        check(wait_for(lambda: not guardians()), "the guardian does not end")
        check(state_of(s.pid) in "SR", "killed at %d: the program is %s: %s" % (at, state_of(s.pid), s.errors("dump.log")))
        # On a busy machine it may still stand where the kill has left it.
        then = sleeps(s.pid)
        check(wait_for(lambda: sleeps(s.pid) != then), "killed at %d: it does not run on" % at)
        check(wait_for(lambda: maps(s.pid) == before), "killed at %d: the mappings were\n%s\nand are\n%s" % (at, before, maps(s.pid)))
        if s.rc == 0:
            break
        s.clean_images()
    check(at > 10, "%d fault points" % at)
    s.clean_images()
    s.dump()
    s.proc = None  # whatever has its pid now is another
    for at in range(1, 100):
        s.restore("--test-kill-at", at, ok=False)
        check(wait_for(lambda: not guardians()), "the guardian does not end")
        reap()
        if s.rc == 0:
            break
        if "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            break  # too late to take anything back
        check(wait_for(lambda: reap() or state_of(s.pid) == "gone"), "killed at %d: pid %d is %s" % (at, s.pid, state_of(s.pid)))
    check(at > 10, "%d fault points" % at)
    verify(s)


run_all()
