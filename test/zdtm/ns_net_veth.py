#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Network namespaces that a veth joins with the caller's, with a bridge there, and with each other: devices, addresses and
# routes are as they were; a connection to a client outside, and one between two namespaces of the tree, go on.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter
# zdtm: timeout 300
import os
import sys

from net_host import ECHO, check, echo, ip, look_settled, start, start_echo, subprocess, text, wait_for

from driver import run_all, scenario, tree


def outside(s, bridge):
    client = start_echo(s, bridge)
    before = look_settled(s.pid)
    for n in range(3):
        s.dump("--tcp-established")
        client.sendall(b"meanwhile")
        hook = [] if bridge else ["--action-script", s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" = pre-resume ] || exit 0\n'
                                                              "ip addr add 10.77.0.1/24 dev hv0\n")]
        by = ("--veth-pair", "eth0=hv0") if n == 1 else ("--external", "veth[eth0]:hv0")  # the older option is the same
        s.restore("--tcp-established", by[0], by[1] + ("@br9" if bridge else ""), *hook)
        check(client.recv(100) == b"meanwhile", "no echo")
        echo(client, b"after")
        now = look_settled(s.pid)
        check(now == before, "round %d: %s, was %s" % (n, now, before))
        s.clean_images()
    client.close()
    s.kill()


@scenario
def to_the_host(s):
    outside(s, False)


@scenario
def to_a_bridge(s):
    ip("link add br9 type bridge")
    ip("addr add 10.77.0.1/24 dev br9")
    ip("link set br9 up")
    outside(s, True)
    ip("link del br9")


@scenario
def between_two(s):
    """The second namespace is that of a child; both ends are made by one message."""
    start(s, "unshare", "-n", "sh", "-c", "unshare -n sh -c 'while [ ! -e go ]; do sleep 0.01; done; exec %s -c \"$0\" 10.78.0.2' '%s' & "
          "while [ ! -e ready ]; do sleep 0.01; done; exec %s -c '%s'" % (sys.executable, ECHO, sys.executable, """
import socket, time, os
c = socket.create_connection(("10.78.0.2", 8080))
n = 0
while True:
    c.sendall(b"%8d" % n)
    got = c.recv(8, socket.MSG_WAITALL)
    assert got == b"%8d" % n, got
    n += 1
    with open("count.new", "w") as f:
        f.write(str(n))
    os.rename("count.new", "count")
    time.sleep(0.002)
"""))
    def namespaces():
        seen = {}
        for p in tree(s.pid):
            try:
                seen[p] = os.readlink("/proc/%d/ns/net" % p)
            except OSError:  # it ends meanwhile
                pass
        return seen
    check(wait_for(lambda: len({*namespaces().values(), os.readlink("/proc/self/ns/net")}) == 3), "no namespaces")
    child = next(p for p, ns in namespaces().items() if ns != os.readlink("/proc/%d/ns/net" % s.pid))
    for pid in (s.pid, child):  # no address is tentative
        subprocess.run(["nsenter", "-t", str(pid), "-n", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], check=True)
    ip("link add va type veth peer name vb netns %d" % child, pid=s.pid)
    for pid, words in ((s.pid, ("addr add 10.78.0.1/24 dev va", "link set va up")),
                       (child, ("addr add 10.78.0.2/24 dev vb", "link set vb up", "link set lo up"))):
        for w in words:
            ip(w, pid=pid)
    open(s.path("go"), "w").close()

    def goes_on(when):
        was = text(s.path("count"))
        check(wait_for(lambda: text(s.path("count")) not in ("", was)), "%s: no bytes: %s" % (when, text(s.path("victim.out"))))
    goes_on("before")
    before = look_settled(s.pid, child)
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on("round %d" % n)
        now = look_settled(s.pid, child)
        check(now == before, "round %d: %s, was %s" % (n, now, before))
        s.clean_images()
    s.kill()


HOLDER = """
import ctypes, os, socket, subprocess, time
libc = ctypes.CDLL(None)
here = os.open("/proc/self/ns/net", os.O_RDONLY)
assert not libc.unshare(0x40000000)
held = os.open("/proc/self/ns/net", os.O_RDONLY)
subprocess.run("ip link set lo up; ip link add va type veth peer name vb netns %d; ip addr add 10.79.0.1/24 dev va; ip link set va up" %
               os.getppid(), shell=True, check=True)
there = socket.create_server(("10.79.0.1", 99))
assert not libc.setns(here, 0x40000000)
subprocess.run("ip addr add 10.79.0.2/24 dev vb; ip link set vb up", shell=True, check=True)
mine = socket.create_connection(("10.79.0.1", 99))
other, _ = there.accept()
n = 0
open("ready", "w").close()
while True:
    mine.sendall(b"%8d" % n)
    got = other.recv(8, socket.MSG_WAITALL)
    assert got == b"%8d" % n, got
    n += 1
    if n % 100 == 0:  # the descriptor leads to the namespace of the socket
        assert not libc.setns(held, 0x40000000)
        assert "10.79.0.1" in subprocess.run(["ip", "addr"], capture_output=True, text=True).stdout
        assert not libc.setns(here, 0x40000000)
        assert "10.79.0.2" in subprocess.run(["ip", "addr"], capture_output=True, text=True).stdout
    with open("count.new", "w") as f:
        f.write(str(n))
    os.rename("count.new", "count")
    time.sleep(0.002)
"""


@scenario
def held_by_a_descriptor(s):
    """No task is in the second namespace: a descriptor and sockets of the tree hold it."""
    for name in ("ready", "count"):
        if os.path.exists(s.path(name)):
            os.unlink(s.path(name))
    start(s, "unshare", "-n", "sh", "-c", "ip link set lo up; %s -c '%s'; exit 1" % (sys.executable, HOLDER))
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))

    def number():
        seen = text(s.path("count"))
        return int(seen) if seen.isdigit() else 0

    def goes_on(when, by=1):
        was = number()
        check(wait_for(lambda: number() >= was + by), "%s: no bytes: %s" % (when, text(s.path("victim.out"))))
    for n in range(3):
        goes_on("round %d" % n)
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on("round %d" % n, 120)
        s.clean_images()
    s.kill()


@scenario
def shared(s):
    """Another program lives in the namespace: its devices are not touched when the tree ends."""
    client = start_echo(s, False)
    other = subprocess.Popen(["nsenter", "-t", str(s.pid), "-n", "sleep", "1000"])
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % other.pid) == os.readlink("/proc/%d/ns/net" % s.pid)), "nsenter")
    s.dump("--tcp-established")
    check("state UP" in ip("-o link show eth0", pid=other.pid), ip("link", pid=other.pid))
    other.kill()
    other.wait()
    check(wait_for(lambda: "hv0" not in ip("link")), "the device is left")
    s.restore("--tcp-established", "--external", "veth[eth0]:hv0", "--action-script",
              s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" = pre-resume ] || exit 0\nip addr add 10.77.0.1/24 dev hv0\n'))
    echo(client, b"after")
    client.close()
    s.kill()


@scenario
def unnamed(s):
    """Without --external the kernel names the other end."""
    client = start_echo(s, False)
    client.close()
    s.dump("--tcp-close")
    check(wait_for(lambda: "veth" not in ip("link") and "hv0" not in ip("link")), "the device is left")
    s.restore("--tcp-close")
    check("veth0" in ip("link"), ip("link"))
    s.kill()


run_all()
