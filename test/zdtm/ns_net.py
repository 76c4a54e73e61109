#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A tree in a network namespace of its own with a loopback device: sockets of all kinds, in that namespace, and bytes that go
# on over its TCP connections; names and ports that the host has as well.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare
# zdtm: timeout 120
import os
import socket
import subprocess
import sys

from case import Skipped, wait_for
from driver import HERE, check, need, run_all, scenario, text

PROGRAM = os.path.join(HERE, "lib", "net_victim.py")


def start(s, *unshare):
    need("unshare", "ip")
    for n in ("ready", "verify", "result", "count", "bad"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["unshare", *unshare, sys.executable, PROGRAM], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: " + text(s.path("victim.out")))


def inside(s, *command):
    p = subprocess.run(["nsenter", "-t", str(s.pid), "-n", *command], capture_output=True, text=True)
    check(not p.returncode, "%s: %s" % (" ".join(command), p.stderr))
    return p.stdout


def look(s):
    return [inside(s, "ip", "-j", *c.split()) for c in ("addr", "route show table all", "-6 route show table all", "rule")]


def goes_on(s, when):
    before = text(s.path("count"))
    check(wait_for(lambda: text(s.path("count")) not in ("", before)), "%s: bytes do not go on: %s" % (when, text(s.path("bad"))))
    check(not os.path.exists(s.path("bad")), "%s: %s" % (when, text(s.path("bad"))))


def verify(s):
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: not os.path.exists(s.path("verify"))), "the victim does not answer")
    said = text(s.path("result"))
    check(said == "PASS\n", "the victim says %r" % said)


@scenario
def three_rounds(s):
    # The host has the same name and the same port.
    taken = socket.socket(socket.AF_UNIX)
    taken.bind("\0criu-test-net-ns")
    start(s, "-n")
    before = look(s)
    tcp = ("--tcp-established",)
    for n in range(3):
        s.dump(*tcp)
        s.restore(*tcp)
        goes_on(s, "round %d" % n)
        check(os.readlink("/proc/%d/ns/net" % s.pid) != os.readlink("/proc/self/ns/net"), "in the host's namespace")
        check(look(s) == before, "round %d: %s, was %s" % (n, look(s), before))
        check(inside(s, "nft", "list", "tables") == "", "round %d: a lock is left" % n)
        s.clean_images()
    verify(s)
    s.kill()
    taken.close()


@scenario
def in_a_user_namespace(s):
    start(s, "-Urn")
    s.dump("--tcp-established", "-R", ok=False)
    if s.rc and "namespaces that are not criu's" in s.errors("dump.log"):
        s.kill()
        raise Skipped("user namespaces are not supported yet")
    s.clean_images()
    for n in range(2):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on(s, "round %d" % n)
        s.clean_images()
    verify(s)
    s.kill()


@scenario
def leave_running(s):
    start(s, "-n")
    s.dump("--tcp-established", "-R")
    goes_on(s, "after the dump")
    check(inside(s, "nft", "list", "tables") == "", "a lock is left")
    verify(s)
    s.kill()


@scenario
def lo_is_down(s):
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["unshare", "-n", "sleep", "1000"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: text("/proc/%d/comm" % s.pid) == "sleep\n"), "no victim")
    before = look(s)
    s.dump()
    s.restore()
    check(look(s) == before, "%s, was %s" % (look(s), before))
    s.kill()


run_all()
