#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Packets through devices of a tree's own namespaces, three rounds: TCP over a vxlan between two of them, a second vxlan that was
# made in one and moved to the other, the numbers of the namespaces for each other; TCP by a macvlan on a device outside; a tap
# device with three queues, each of which gets packets.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter
# zdtm: timeout 300
import os
import re
import subprocess
import sys

from net_host import ECHO, check, echo, ip, socket, start, text, wait_for

from driver import run_all, scenario, tree

TALK = """
import os, socket, sys, time
c = socket.create_connection((sys.argv[1], 8080))
n = 0
while True:
    c.sendall(b"%8d" % n)
    got = c.recv(8, socket.MSG_WAITALL)
    assert got == b"%8d" % n, got
    n += 1
    open("count.new", "w").write(str(n)); os.rename("count.new", "count")
    time.sleep(0.005)
"""


def goes_on(s, when, name="count"):
    def number():
        seen = text(s.path(name))
        return int(seen) if seen.isdigit() else 0
    was = number()
    check(wait_for(lambda: number() > was + 5), "%s: no bytes: %s" % (when, text(s.path("victim.out"))))


def clear(s, *names):
    for n in names:
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))


def namespace_of(pid):
    return os.readlink("/proc/%d/ns/net" % pid)


def namespaces(s):
    """By task; one that ends meanwhile is in none."""
    seen = {}
    for p in tree(s.pid):
        try:
            seen[p] = namespace_of(p)
        except OSError:
            pass
    return seen


def links(pid):
    return [re.sub(r"tso_max_\w+ \d+ ?", "", x) for x in ip("-d -o link", pid=pid).splitlines()] + [ip("netns list-id", pid=pid)]


@scenario
def vxlan(s):
    py = sys.executable
    clear(s, "go", "ready", "count")
    start(s, "unshare", "-n", "sh", "-c", "unshare -n sh -c 'while [ ! -e go ]; do sleep 0.01; done; exec %s -c \"$0\" 10.99.0.2' '%s' & "
          "while [ ! -e ready ]; do sleep 0.01; done; exec %s -c '%s' 10.99.0.2" % (py, ECHO, py, TALK))
    check(wait_for(lambda: len({*namespaces(s).values(), os.readlink("/proc/self/ns/net")}) == 3), "no namespaces")
    child = next(p for p, ns in namespaces(s).items() if ns != namespace_of(s.pid))
    for pid in (s.pid, child):
        subprocess.run(["nsenter", "-t", str(pid), "-n", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"], check=True)
    ip("link add vxm index 5 address 02:00:00:00:00:05 type vxlan id 43 remote 10.78.0.2 dstport 4790", pid=s.pid)
    ip("link set vxm netns %d" % child, pid=s.pid)
    ip("link add va index 50 address 02:00:00:00:00:50 type veth peer name vb index 60 address 02:00:00:00:00:60 netns %d" % child, pid=s.pid)
    ip("link add vxa index 40 address 02:00:00:00:00:40 type vxlan id 42 dev va remote 10.78.0.2 dstport 4789", pid=s.pid)
    ip("link add vxb index 41 address 02:00:00:00:00:41 type vxlan id 42 dev vb remote 10.78.0.1 dstport 4789", pid=child)
    for pid, words in ((s.pid, ("addr add 10.78.0.1/24 dev va", "link set va up", "addr add 10.99.0.1/24 dev vxa", "link set vxa up", "link set lo up")),
                       (child, ("addr add 10.78.0.2/24 dev vb", "link set vb up", "addr add 10.99.0.2/24 dev vxb", "link set vxb up", "link set vxm up"))):
        for w in words:
            ip(w, pid=pid)
    open(s.path("go"), "w").close()
    goes_on(s, "before")
    before = links(s.pid), links(child)
    check("link-netnsid" in str([x for x in before[1] if "vxm" in x]), before[1])
    for n in range(3):
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        goes_on(s, "round %d" % n)
        now = links(s.pid), links(child)
        check(now == before, "round %d: %s, was %s" % (n, now, before))
        s.clean_images()
    s.kill()


@scenario
def vxlan_of_outside(s):
    """Its packets go by a namespace outside: refused, unless it is left out."""
    start(s, "unshare", "-n", "sleep", "1000")
    check(wait_for(lambda: text("/proc/%d/comm" % s.pid) == "sleep\n"), "no victim")
    ip("link add vxo type vxlan id 44 remote 10.78.0.2 dstport 4791")
    ip("link set vxo netns %d" % s.pid)
    s.dump("-R", ok=False)
    check(s.rc and "device vxo (vxlan): was made in a network namespace outside" in s.errors("dump.log"), s.errors("dump.log"))
    s.dump("-R", "--external", "netdev[vxo]")
    s.kill()


@scenario
def macvlan_on_a_device_outside(s):
    """The client is on another macvlan of the same device."""
    ip("link add out0 type veth peer name out1")
    ip("link set out0 up")
    ip("link set out1 up")
    ip("link add mvh link out0 type macvlan mode bridge")
    ip("addr add 10.80.0.1/24 dev mvh")
    ip("link set mvh up")
    clear(s, "go", "ready")
    start(s, "unshare", "-n", "sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exec %s -c '%s' 10.80.0.2" % (sys.executable, ECHO))
    check(wait_for(lambda: namespace_of(s.pid) != os.readlink("/proc/self/ns/net")), "no namespace")
    ip("link add mv0 link out0 netns %d type macvlan mode bridge" % s.pid)
    ip("addr add 10.80.0.2/24 dev mv0", pid=s.pid)
    ip("link set mv0 up", pid=s.pid)
    open(s.path("go"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    client = socket.create_connection(("10.80.0.2", 8080), 20)
    client.settimeout(60)
    echo(client, b"before")
    for n in range(3):
        s.dump("--tcp-established")
        client.sendall(b"meanwhile")
        s.restore("--tcp-established", "--external", "macvlan[mv0]:out0")
        check(client.recv(100) == b"meanwhile", "round %d: no echo" % n)
        echo(client, b"round")
        s.clean_images()
    client.close()
    s.kill()
    ip("link del out0")


TAP = """
import fcntl, os, socket, struct, subprocess, sys, time
fds = []
for i in range(3):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"tap7", 0x1102))
    fds.append(fd)
fcntl.ioctl(fds[0], 0x400454cc, 1234)
fcntl.ioctl(fds[0], 0x400454ce, 4321)
subprocess.run("ip addr add 10.81.0.1/24 dev tap7; ip link set tap7 up; ip neigh add 10.81.0.2 lladdr 02:00:00:00:00:02 dev tap7 nud permanent", shell=True, check=True)
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
for k in socks:
    k.bind(("10.81.0.1", 0))
n, seen = 0, [0, 0, 0]
while True:
    for k in socks:
        k.sendto(b"some bytes", ("10.81.0.2", 99))
    time.sleep(0.01)
    for i, fd in enumerate(fds):
        try:
            while True:
                seen[i] += b"some bytes" in os.read(fd, 2000)
        except BlockingIOError:
            pass
    n = min(seen)
    open("count.new", "w").write(str(n)); os.rename("count.new", "count")
"""


@scenario
def tap_with_three_queues(s):
    with open(s.path("tap.py"), "w") as f:
        f.write(TAP)
    clear(s, "count")
    start(s, "unshare", "-n", sys.executable, s.path("tap.py"))
    goes_on(s, "before")
    check(wait_for(lambda: "tentative" not in ip("addr", pid=s.pid)), "addresses do not settle")

    def look():
        return [re.sub(r"state [A-Z]+ ", "", ip(w, pid=s.pid)) for w in ("-d -o link show tap7", "-o addr show tap7")]
    before = look()
    check("multi_queue" in before[0] and "user 1234" in before[0] and "group 4321" in before[0], before)
    for n in range(3):
        s.dump()
        s.restore()
        goes_on(s, "round %d" % n)
        check(wait_for(lambda: "tentative" not in ip("addr", pid=s.pid)), "addresses do not settle")
        now = look()
        check(now == before, "round %d: %s, was %s" % (n, now, before))
        s.clean_images()
    s.kill()


run_all()
