# SPDX-License-Identifier: GPL-2.0-only
"""TCP victims and their peers outside, and network namespaces, for drivers.

A victim answers every byte with itself plus one. With clients inside, a child of its keeps talking to it over loopback,
and says so in files: inside (how many exchanges), inside.wrong.
"""
import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

from driver import check, text, wait_for

ECHO = r"""
import os, select, socket, sys, time
host, clients = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
l = socket.create_server((host, 0), family=family, backlog=200)
plus = bytes((i + 1) % 256 for i in range(256))

def client():
    cs = [socket.create_connection(l.getsockname()[:2]) for _ in range(clients)]
    l.close()
    # Always the same file: one that is renamed would be missing when the same images are restored again.
    said = os.open("inside", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    at = rounds = 0
    while True:
        for c in cs:
            n = 1 + at * 7 % 5000
            data = bytes((at + i) % 256 for i in range(n))
            c.sendall(data)
            got = b""
            while len(got) < n:
                more = c.recv(65536)
                if not more:
                    raise Exception("the end after %d bytes" % at)
                got += more
            if got != data.translate(plus):
                raise Exception("other bytes after %d" % at)
            at += n
        rounds += 1
        os.pwrite(said, b"%12d" % rounds, 0)
        time.sleep(0.002)

if clients and not os.fork():
    try:
        client()
    except BaseException as e:
        open("inside.wrong", "a").write("%r\n" % e)
    os._exit(1)
open("port", "w").write(str(l.getsockname()[1]))
l.setblocking(False)
conns = {}
open("ready", "w").close()
while True:
    reads = [l, *[c for c in conns if not conns[c][1]]]
    r, w, _ = select.select(reads, [c for c in conns if conns[c][0] or conns[c][1]], [], 1)
    for s in r:
        if s is l:
            c, _ = l.accept()
            c.setblocking(False)
            conns[c] = [b"", False]
            continue
        data = s.recv(65536)
        if data:
            conns[s][0] += data.translate(plus)
        else:
            conns[s][1] = True
    for s in w:
        if conns[s][0]:
            conns[s][0] = conns[s][0][s.send(conns[s][0]):]
        if conns[s][1] and not conns[s][0]:
            s.close()
            del conns[s]
"""


def start(s, host="127.0.0.1", inside=0):
    for n in ("ready", "port", "inside", "inside.wrong"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", ECHO, host, str(inside)], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("victim.err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready: %s" % text(s.path("victim.err")))
    s.address = (host, int(text(s.path("port"))))
    if inside:  # accepted, all of them
        inside_flows(s, "at the start")


def connect(s):
    c = socket.create_connection(s.address, timeout=60)
    c.settimeout(60)
    return c


def exchange(c, n=1000, start=0):
    data = bytes((start + i) % 256 for i in range(n))
    c.sendall(data)
    got = b""
    while len(got) < n:
        more = c.recv(65536)
        check(more, "the connection ended after %d of %d bytes" % (len(got), n))
        got += more
    check(got == bytes((x + 1) % 256 for x in data), "the bytes are not what they should be")


def end(c):
    c.shutdown(socket.SHUT_WR)
    check(c.recv(10) == b"", "more than the end")
    c.close()


class Streams:
    """Connections with a thread each that keep sending numbered bytes and check what comes back."""

    def __init__(self, s, n, most=30000, pause=0.0, connector=connect):
        self.stop = False
        self.wrong = []
        self.bytes = 0
        self.most, self.pause = most, pause
        self.sockets = [connector(s) for _ in range(n)]
        self.threads = [threading.Thread(target=self.run, args=(c, i)) for i, c in enumerate(self.sockets)]
        for t in self.threads:
            t.start()

    def run(self, c, seed):
        at = 0
        try:
            while not self.stop:
                n = 1 + (at * 7 + seed * 131) % self.most
                exchange(c, n, at)
                at += n
                self.bytes += n
                time.sleep(self.pause)
            end(c)
        except Exception as e:
            self.wrong.append("connection %d after %d bytes: %r" % (seed, at, e))

    def flows(self, why=""):
        """Every byte so far was right, and more come."""
        before = self.bytes
        wait_for(lambda: self.bytes > before + 3 * self.most or self.wrong)
        check(not self.wrong, "%s: %s" % (why, "; ".join(self.wrong[:3])))
        check(self.bytes > before, "%s: nothing flows to the outside" % why)

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join(60)
            check(not t.is_alive(), "a connection hangs")
        check(not self.wrong, "; ".join(self.wrong[:3]))


    def abandon(self):
        """Nobody answers any more."""
        self.stop = True
        for c in self.sockets:
            with contextlib.suppress(OSError):
                c.shutdown(socket.SHUT_RDWR)
        for t in self.threads:
            t.join(60)


def inside_flows(s, why=""):
    """The same of the connections inside."""
    before = text(s.path("inside")) if os.path.exists(s.path("inside")) else ""
    wait_for(lambda: (os.path.exists(s.path("inside")) and text(s.path("inside")) != before) or os.path.exists(s.path("inside.wrong")))
    check(not os.path.exists(s.path("inside.wrong")), "%s: inside: %s" % (why, text(s.path("inside.wrong"))))
    check(os.path.exists(s.path("inside")) and text(s.path("inside")) != before, "%s: nothing flows inside" % why)


TCP_REPAIR = 19


def sockets_of(pid):
    """(number, TCP_REPAIR, SO_REUSEADDR) of every TCP socket of a task, looked at through a duplicate."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    out = []
    for n in sorted(map(int, os.listdir("/proc/%d/fd" % pid))):
        try:
            if not os.readlink("/proc/%d/fd/%d" % (pid, n)).startswith("socket:"):
                continue
        except FileNotFoundError:  # closed meanwhile
            continue
        fd = libc.syscall(438, pidfd, n, 0)  # pidfd_getfd
        if fd < 0:
            continue
        with socket.socket(fileno=fd) as k:
            if k.family in (socket.AF_INET, socket.AF_INET6) and k.type == socket.SOCK_STREAM:
                out.append((n, k.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR), k.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)))
    os.close(pidfd)
    return out


def ruleset():
    """What nft lists, without counters."""
    out = subprocess.run(["nft", "-n", "list", "ruleset"], capture_output=True, text=True, timeout=60)
    check(out.returncode == 0, "nft: %s" % out.stderr)
    return re.sub(r"counter packets \d+ bytes \d+", "counter", out.stdout)


def tables():
    return [line.split()[1:3] for line in ruleset().splitlines() if line.startswith("table")]


def shell(line):
    p = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    check(p.returncode == 0, "%s: %s" % (line, p.stdout + p.stderr))
    return p.stdout


def run_id(s):
    """dump_criu_run_id of the images."""
    raw = open(os.path.join(s.imgs, "inventory.img"), "rb").read()
    return re.search(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", raw)[0].decode()


def table_name(s):
    """The lock that the dump left."""
    return "CRIU-" + run_id(s)[:21]


def table_of_crius(s):
    """Instead of ours, as CRIU leaves it: behind all of ours, at priority 0, with another mark. The images do not say whose they are."""
    name = table_name(s)
    ours = re.findall(r"\S+ \. (\d+) \. \S+ \. (\d+)", shell("nft -n list table inet " + name))
    check(ours, "no connections in the table")
    drops = "; ".join("tcp sport %s tcp dport %s drop" % p for a, b in ours for p in ((a, b), (b, a)))
    chain = "type filter hook %s priority 0; meta mark 0xc114 accept; " + drops
    shell("nft 'delete table inet %s; table inet %s { chain output { %s; }; chain input { %s; }; }'" %
          (name, name, chain % "output", chain % "input"))
    strip_our_fields(s)


def varint(raw, i):
    v = shift = 0
    while True:
        b = raw[i]
        v |= (b & 127) << shift
        shift, i = shift + 7, i + 1
        if not b & 128:
            return v, i


def change_inventory(s, change):
    """change(number, bytes of the field with its tag): the bytes that it is to be."""
    path = os.path.join(s.imgs, "inventory.img")
    raw = open(path, "rb").read()
    magic, body = raw[:4], raw[8:]
    out, i = b"", 0
    while i < len(body):
        begin = i
        tag, i = varint(body, i)
        if tag & 7 == 0:
            _, i = varint(body, i)
        elif tag & 7 == 2:
            n, i = varint(body, i)
            i += n
        else:
            i += 8 if tag & 7 == 1 else 4
        out += change(tag >> 3, body[begin:i])
    open(path, "wb").write(magic + len(out).to_bytes(4, "little") + out)


def strip_our_fields(s):
    """The inventory without fields from 1000 on, as CRIU writes it."""
    change_inventory(s, lambda number, field: field if number < 1000 else b"")


LOCK_METHOD, CRIUS_NUMBERS = 11, 1002


def as_older(s):
    """The inventory and the lock's table as our versions before 29 November 2026 wrote and named them."""
    def change(number, field):
        if number == LOCK_METHOD:
            return field[:-1] + bytes([{1: 2, 0: 1, 2: 3}[field[-1]]])
        return b"" if number == CRIUS_NUMBERS else field
    change_inventory(s, change)
    rules = shell("nft -n list table inet " + table_name(s)) if ["inet", table_name(s)] in tables() else ""
    if rules:
        with open(s.path("older"), "w") as f:
            f.write("delete table inet %s\n%s" % (table_name(s), rules.replace(table_name(s), "CRIU-" + run_id(s), 1)))
        shell("nft -f " + s.path("older"))


def own_network():
    """This process and what it starts in a network namespace of its own, with loopback up."""
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.unshare(0x40000000) == 0, "unshare: %s" % os.strerror(ctypes.get_errno()))
    shell("ip link set lo up")


def kube_firewall():
    """What kubelet and kube-proxy put on a node: marked packets are dropped resp. masqueraded, invalid ones dropped."""
    iptables = shutil.which("iptables-nft") or "iptables"
    for rule in ("-N KUBE-FIREWALL", "-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP", "-A OUTPUT -j KUBE-FIREWALL",
                 "-A INPUT -j KUBE-FIREWALL", "-N KUBE-FORWARD", "-A FORWARD -j KUBE-FORWARD",
                 "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
                 "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"):
        shell("%s -w %s" % (iptables, rule))
