# SPDX-License-Identifier: GPL-2.0-only
"""
For tests of network namespaces whose "host" is a namespace of the test's own: importing this makes it. An echo server in a
namespace of the tree, and a client here.
"""
import ctypes
import os
import re
import socket
import subprocess
import sys

ctypes.CDLL(None).unshare(0x40000000)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

from case import wait_for  # noqa: E402
from driver import check, text  # noqa: E402

ECHO = """
import socket, sys
s = socket.create_server((sys.argv[1], 8080))
open("ready", "w").close()
while True:
    c, _ = s.accept()
    while True:
        data = c.recv(1000)
        if not data:
            break
        c.sendall(data)
"""


def ip(*args, pid=None):
    where = ["nsenter", "-t", str(pid), "-n"] if pid else []
    p = subprocess.run(where + ["ip", *" ".join(args).split()], capture_output=True, text=True)
    check(not p.returncode, "ip %s: %s" % (" ".join(args), p.stderr))
    return p.stdout


def look(pid):
    """Without what the kernel counts, and without the number of the other end outside."""
    words = ("-d addr", "route show table all", "-6 route show table all", "rule", "-6 rule", "neigh show nud permanent")
    return [sorted(re.sub(r"@if\d+", "", line) for line in ip(w, pid=pid).splitlines() if "tso_max" not in line) for w in words]


def look_settled(*pids):
    """When all have link-local addresses and a carrier, and the kernel has nothing left to do for them."""
    def settled():
        seen = [look(p) for p in pids]
        return all(str(one).count("inet6 fe80") == 1 and "NO-CARRIER" not in str(one) and "tentative" not in str(one) and
                   "state UNKNOWN" not in str(one).replace("lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN", "")
                   for one in seen)
    check(wait_for(settled), "devices do not settle: %s" % [look(p) for p in pids])
    return [look(p) for p in pids]


def start(s, *command):
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(command, cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid


def set_host(bridge):
    ip("link set hv0 master br9" if bridge else "addr add 10.77.0.1/24 dev hv0")
    ip("link set hv0 up")


def start_echo(s, bridge, unshare=("unshare", "-n")):
    """A tree with the server at the other end of hv0; returns a connection to it."""
    start(s, *unshare, "sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exec %s -c '%s' 10.77.0.2" % (sys.executable, ECHO))
    check(wait_for(lambda: os.readlink("/proc/%d/ns/net" % s.pid) != os.readlink("/proc/self/ns/net")), "no namespace")
    subprocess.run(["nsenter", "-t", str(s.pid), "-n", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], check=True)
    subprocess.run(["ip", "link", "del", "hv0"], capture_output=True)  # of a namespace before, which takes a while to its end
    ip("link add hv0 type veth peer name eth0 address 02:00:00:00:77:02 netns %d" % s.pid)
    set_host(bridge)
    for words in ("link set lo up", "addr add 10.77.0.2/24 dev eth0", "link set eth0 up mtu 1400", "route add default via 10.77.0.1"):
        ip(words, pid=s.pid)
    open(s.path("go"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("ready"))), text(s.path("victim.out")))
    os.unlink(s.path("ready"))
    os.unlink(s.path("go"))
    client = socket.create_connection(("10.77.0.2", 8080), 10)
    client.settimeout(20)
    echo(client, b"before")
    return client


def echo(client, words):
    client.sendall(words)
    got = client.recv(100)
    check(got == words, "the echo of %r is %r" % (words, got))
