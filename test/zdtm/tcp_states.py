#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Connections in every state, with empty, small and full queues, on IPv4, IPv6, mapped and link-local addresses, to a peer in
# another network namespace, which drops what comes until the connections are restored: FINs, bytes and SYNs are on their way.
# Both sides get every byte, the end, and no reset.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip nft ss
# zdtm: timeout 300
import ctypes
import fcntl
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def net():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(ns):
    if libc.setns(ns, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def run(*args, **kw):
    subprocess.run(args, check=True, **kw)


def rules(text):
    run("nft", "-f", "-", input=text, text=True)


def make_nets():
    """Ours, with v0, and the peers', with v1; returns the peers'."""
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    peers = net()
    run("ip", "link", "set", "lo", "up")
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    ours = net()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", "/proc/%d/fd/%d" % (os.getpid(), peers))
    for ns, dev, n in ((ours, "v0", 1), (peers, "v1", 2)):
        enter(ns)
        for a in ("192.0.2.%d/24" % n, "2001:db8::%d/64" % n, "fe80::%d/64" % n):
            run("ip", "addr", "add", a, "dev", dev, *(["nodad"] if ":" in a else []))
        run("ip", "link", "set", dev, "up")
    rules("table inet test { set held { type inet_service; }; chain in { type filter hook input priority 0; "
          "tcp sport @held drop; }; }")
    enter(ours)
    return peers, ours


PEERS, OURS = make_nets()

from driver import check, run_all, scenario, text, wait_for  # noqa: E402


def held(ports, add=True):
    enter(PEERS)
    rules("%s element inet test held { %s }" % ("add" if add else "delete", ", ".join(map(str, ports))))
    enter(OURS)


STATES = dict(ESTABLISHED=1, SYN_SENT=2, FIN_WAIT1=4, FIN_WAIT2=5, CLOSE_WAIT=8, LAST_ACK=9, CLOSING=11)
FAMILIES = dict(
    v4=(socket.AF_INET, "192.0.2.%d"),
    v6=(socket.AF_INET6, "2001:db8::%d"),
    mapped=(socket.AF_INET6, "::ffff:192.0.2.%d"),
    linklocal=(socket.AF_INET6, "fe80::%d"),
)


def state_of(s):
    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def settled(cond, what):
    check(wait_for(cond), what)


def stuff(n, seed):
    return hashlib.shake_128(seed.encode()).digest(n)


def fill(s, seed):
    """Until nothing more goes in; returns what went."""
    data = stuff(4 << 20, seed)
    at = quiet = 0
    while quiet < 10:
        try:
            at += s.send(data[at:at + 65536])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.005)
    return data[:at]


class Conn:
    """One connection: our end, which the victim gets, and its peer's. sent[0] is what ours has sent."""

    def __init__(self, family, state, queues, refused=False):
        self.name = "%s %s, %s" % (state + (", refused" if refused else ""), family, "%s queues" % queues)
        self.state, self.queues, self.refused = state, queues, refused
        self.sent = [b"", b""]
        self.peer = None
        af, address = FAMILIES[family]
        dev = socket.if_nametoindex("v0") if family == "linklocal" else 0
        enter(PEERS)
        self.listener = socket.socket(af, socket.SOCK_STREAM)
        scope = socket.if_nametoindex("v1") if family == "linklocal" else 0
        self.listener.bind((address % 2, 0) + ((0, scope) if af == socket.AF_INET6 else ()))
        if queues == "full":
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50000)
        if not refused:
            self.listener.listen(1)
        self.to = self.listener.getsockname()[:2] + ((0, dev) if af == socket.AF_INET6 else ())
        enter(OURS)
        self.ours = socket.socket(af, socket.SOCK_STREAM)
        self.ours.bind((address % 1, 0) + ((0, dev) if af == socket.AF_INET6 else ()))
        if queues == "full":
            self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
            self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50000)
        self.port = self.ours.getsockname()[1]
        self.ours.setblocking(False)

    def connect(self):
        try:
            self.ours.connect(self.to)
        except BlockingIOError:
            pass
        if self.state == "SYN_SENT":
            return
        self.peer = self.listener.accept()[0]
        self.peer.setblocking(False)
        settled(lambda: state_of(self.ours) == 1 and state_of(self.peer) == 1, "%s: not connected" % self.name)

    def put(self, side, more=""):
        """Into the queues: nothing, some bytes, or as much as they hold."""
        s = (self.ours, self.peer)[side]
        seed = "%s %d%s" % (self.name, side, more)
        if self.queues == "small":
            self.sent[side] += stuff(100, seed)
            s.sendall(self.sent[side][-100:])
        elif self.queues == "full":
            self.sent[side] += fill(s, seed)

    def before(self):
        """What is to arrive before packets are dropped."""
        fin_first = self.state in ("CLOSE_WAIT", "LAST_ACK")
        if self.state == "SYN_SENT":
            return
        if fin_first and self.queues == "full":  # a FIN behind more than the window would not arrive
            self.sent[1] = stuff(30000, self.name)
            self.peer.sendall(self.sent[1])
        else:
            if self.state == "CLOSING" and self.queues == "full":
                self.sent[1] = stuff(30000, self.name)
                self.peer.sendall(self.sent[1])
            else:
                self.put(1)
        if fin_first:
            self.peer.shutdown(socket.SHUT_WR)
            settled(lambda: state_of(self.ours) == 8, "%s: no FIN came" % self.name)
        if self.state == "FIN_WAIT2":
            self.put(0, "early") if self.queues != "full" else None
            self.ours.shutdown(socket.SHUT_WR)
            settled(lambda: state_of(self.ours) == 5, "%s: our FIN is not acknowledged" % self.name)

    def behind(self):
        """What nobody gets."""
        if self.state == "SYN_SENT":
            self.connect()
        elif self.state != "FIN_WAIT2":
            self.put(0)
        if self.state in ("FIN_WAIT1", "CLOSING", "LAST_ACK"):
            self.ours.shutdown(socket.SHUT_WR)
        if self.state == "CLOSING":
            self.peer.shutdown(socket.SHUT_WR)
        settled(lambda: state_of(self.ours) == STATES[self.state], "%s: state %d" % (self.name, state_of(self.ours)))

    def plan(self):
        return dict(fd=self.ours.fileno(), name=self.name, state=STATES[self.state], refused=self.refused,
                    tail=self.state in ("ESTABLISHED", "CLOSE_WAIT", "SYN_SENT") and not self.refused)

    def finish(self, poll):
        """The peer: its tail, where it has not said the end, and then it reads to ours."""
        if self.refused:
            return
        if self.peer is None:
            self.listener.settimeout(60)
            self.peer = self.listener.accept()[0]
            self.peer.setblocking(False)
        self.got = b""
        self.rest = b""
        if self.state not in ("CLOSE_WAIT", "LAST_ACK", "CLOSING"):
            self.rest = b"the peer's tail"
            self.sent[1] += self.rest
        else:
            self.rest = None
        poll[self.peer] = self

    def step(self, poll):
        try:
            if self.rest:
                self.rest = self.rest[self.peer.send(self.rest):]
            if self.rest == b"":
                self.peer.shutdown(socket.SHUT_WR)
                self.rest = None
        except BlockingIOError:
            pass
        try:
            more = self.peer.recv(1 << 20)
            self.got += more
            if not more and self.rest is None:
                del poll[self.peer]
        except BlockingIOError:
            pass
        except OSError as e:
            check(False, "%s: its peer: %s after %d bytes" % (self.name, e, len(self.got)))


# Says what states its sockets are in; then reads all and says what it was.
VICTIM = r"""
import errno, hashlib, json, os, select, socket, time
plan = json.load(open("plan"))
socks = {socket.socket(fileno=p["fd"]): p for p in plan}
open("ready", "w").close()
while not os.path.exists("look"):
    time.sleep(0.01)
states = {p["name"]: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for s, p in socks.items()}
json.dump(states, open("states.new", "w"))
os.rename("states.new", "states")
while not os.path.exists("verify"):
    time.sleep(0.01)
result = {}
data = {s: b"" for s in socks}
tails = {s: b"our tail" if p["tail"] else None for s, p in socks.items()}
until = time.monotonic() + 60
while socks and time.monotonic() < until:
    r, w, _ = select.select(socks, [s for s in socks if tails[s] is not None], [], 1)
    for s in w:
        try:
            if tails[s]:
                tails[s] = tails[s][s.send(tails[s]):]
            if tails[s] == b"":
                s.shutdown(socket.SHUT_WR)
                tails[s] = None
        except BlockingIOError:
            pass
        except OSError as e:
            tails[s] = None
            result[socks[s]["name"]] = "sending: " + errno.errorcode[e.errno]
    for s in r:
        try:
            more = s.recv(1 << 20)
        except BlockingIOError:
            continue
        except OSError as e:
            result.setdefault(socks[s]["name"], errno.errorcode[e.errno])
            more = b""
        data[s] += more
        if not more and tails[s] is None:
            result.setdefault(socks[s]["name"], [len(data[s]), hashlib.sha256(data[s]).hexdigest()])
            del socks[s]
for s in socks:
    result[socks[s]["name"]] = "no end after %d bytes" % len(data[s])
json.dump(result, open("result.new", "w"))
os.rename("result.new", "result")
"""


def start(s, conns):
    for n in ("ready", "look", "states", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    with open(s.path("plan"), "w") as f:
        json.dump([c.plan() for c in conns], f)
    s.proc = subprocess.Popen([sys.executable, "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True,
                              pass_fds=[c.ours.fileno() for c in conns])
    s.pid = s.proc.pid
    settled(lambda: os.path.exists(s.path("ready")), "the victim is not ready: %s" % text(s.path("victim.err")))
    for c in conns:
        c.ours.close()


def make(families, states, queues):
    conns = [Conn(f, st, q) for f in families for st in states for q in queues if st != "SYN_SENT" or q == "empty"]
    if "SYN_SENT" in states:
        conns += [Conn(f, "SYN_SENT", "empty", True) for f in families]
    for c in conns:
        if c.state != "SYN_SENT":
            c.connect()
        c.before()
    held([c.port for c in conns])
    for c in conns:
        c.behind()
    return conns


def look(s, conns):
    open(s.path("look"), "w").close()
    settled(lambda: os.path.exists(s.path("states")), "the victim does not look: %s" % text(s.path("victim.err")))
    with open(s.path("states")) as f:
        states = json.load(f)
    wrong = ["%s: state %d" % (c.name, states[c.name]) for c in conns if states[c.name] != STATES[c.state]]
    check(not wrong, "; ".join(wrong))


def verify(s, conns):
    """Now the peers get what was sent, and both sides go on to the end."""
    held([c.port for c in conns], False)
    open(s.path("verify"), "w").close()
    poll = {}
    for c in conns:
        c.finish(poll)
    end = time.monotonic() + 60
    while poll and time.monotonic() < end:
        r, w, _ = select.select(poll, [p for p, c in poll.items() if c.rest is not None], [], 1)
        for p in {*r, *w}:
            if p in poll:
                poll[p].step(poll)
    check(not poll, "no end for the peers of: %s" % "; ".join(c.name for c in poll.values()))
    settled(lambda: os.path.exists(s.path("result")), "the victim does not end: %s" % text(s.path("victim.err")))
    with open(s.path("result")) as f:
        result = json.load(f)
    for c in conns:
        got = result[c.name]
        if c.refused:
            check(got == "ECONNREFUSED", "%s: %s" % (c.name, got))
            continue
        tail = b"our tail" if c.plan_tail else b""
        check(got == [len(c.sent[1]), hashlib.sha256(c.sent[1]).hexdigest()], "%s: %s, not %d bytes and the end" %
              (c.name, got, len(c.sent[1])))
        check(c.got == c.sent[0] + tail, "%s: its peer has %d bytes, not the %d" %
              (c.name, len(c.got), len(c.sent[0] + tail)))


def go(s, families, states=tuple(STATES), queues=("empty", "small", "full"), rounds=2, dry=False):
    conns = make(families, states, queues)
    for c in conns:
        c.plan_tail = c.plan()["tail"]
    start(s, conns)
    for _ in range(0 if dry else rounds):
        s.clean_images()
        s.dump("--tcp-established")
        s.restore("--tcp-established")
    look(s, conns)
    verify(s, conns)
    for c in conns:
        for x in (c.peer, c.listener):
            if x:
                x.close()


def unsent_of(pid, number):
    """Bytes in the send queue of a task's socket that were not sent yet."""
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(438, pidfd, number, 0)  # pidfd_getfd
    os.close(pidfd)
    check(fd >= 0, "pidfd_getfd: %s" % os.strerror(ctypes.get_errno()))
    n = struct.unpack("i", fcntl.ioctl(fd, 0x894B, b"\0" * 4))[0]  # SIOCOUTQNSD
    os.close(fd)
    return n


DRY = "STATES_DRY" in os.environ


@scenario
def ipv4(s):
    go(s, ["v4"], dry=DRY)


@scenario
def ipv6(s):
    go(s, ["v6"], dry=DRY)


@scenario
def mapped(s):
    go(s, ["mapped"], dry=DRY)


@scenario
def linklocal(s):
    go(s, ["linklocal"], dry=DRY)


LISTENER = r"""
import os, socket, sys, time
l = socket.socket(fileno=int(sys.argv[1]))
l.listen(5)
memory = b"\1" * (int(sys.argv[2]) << 20)
open("ready", "w").close()
c, _ = l.accept()
c.sendall(b"hello")
time.sleep(100)
"""


def handshake(s, family, mib=0):
    """A client whose SYN has come, and who did not get the answer; after that one who does."""
    af, address = FAMILIES[family]
    dev = socket.if_nametoindex("v0") if family == "linklocal" else 0
    with socket.socket(af) as l:
        l.bind((address % 1, 0) + ((0, dev) if af == socket.AF_INET6 else ()) if family != "mapped" else ("::", 0))
        port = l.getsockname()[1]
        s.proc = subprocess.Popen([sys.executable, "-c", LISTENER, str(l.fileno()), str(mib)], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, start_new_session=True, pass_fds=[l.fileno()])
    s.pid = s.proc.pid
    settled(lambda: os.path.exists(s.path("ready")), "not ready")
    held([port])
    enter(PEERS)
    scope = socket.if_nametoindex("v1") if family == "linklocal" else 0
    to = (address % 1, port) + ((0, scope) if af == socket.AF_INET6 else ())
    client = socket.socket(af)
    client.setblocking(False)
    client.connect_ex(to)
    name = client.getsockname()
    enter(OURS)
    settled(lambda: "SYN-RECV" in subprocess.run(["ss", "-tan"], capture_output=True, text=True, check=True).stdout,
            "the SYN did not come")
    s.dump(ok=False)
    said = s.errors("dump.log")
    check(s.rc and "1 in their handshake, from " in said and ":%d" % name[1] in said and "--skip-in-flight" in said, said)
    s.dump("--action-script", s.script("stage", "echo $CRTOOLS_SCRIPT_ACTION >> %s\n" % s.path("stages")), ok=False)
    stages = text(s.path("stages"))
    check(s.rc and "1 in their handshake" in s.errors("dump.log") and "pre-dump" in stages and "post-dump" not in stages,
          "a script was told that the dump is done: " + stages)
    s.dump("--skip-in-flight")
    log = text(os.path.join(s.imgs, "dump.log"))
    check("1 in their handshake" in log and ":%d" % name[1] in log, "nothing is said of who was dropped")
    client.close()
    held([port], False)
    s.restore()
    enter(PEERS)
    client = socket.socket(af)
    client.settimeout(60)
    client.connect(to)
    enter(OURS)
    check(client.recv(5) == b"hello", "no hello")
    s.kill()


@scenario
def handshakes(s):
    """One of more than 64 MiB is asked about before its memory is written."""
    for family, mib in [(f, 0) for f in FAMILIES] + [("v4", 80)]:
        os.path.exists(s.path("ready")) and os.unlink(s.path("ready"))
        s.clean_images()
        handshake(s, family, mib)


def listener_beside(s, both):
    """A program outside of the tree has a handshake at a port of IPv4, where the tree's listens for IPv6 (both: and for IPv4)."""
    theirs = socket.socket()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    theirs.bind((FAMILIES["v4"][1] % 1, 0))
    theirs.listen(5)
    port = theirs.getsockname()[1]
    with socket.socket(socket.AF_INET6) as l:
        l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        l.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        l.bind(("::", port))
        s.proc = subprocess.Popen([sys.executable, "-c", LISTENER, str(l.fileno()), "0"], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, start_new_session=True, pass_fds=[l.fileno()])
    s.pid = s.proc.pid
    settled(lambda: os.path.exists(s.path("ready")), "not ready")
    held([port])
    enter(PEERS)
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((FAMILIES["v4"][1] % 1, port))
    enter(OURS)
    settled(lambda: "SYN-RECV" in subprocess.run(["ss", "-tan"], capture_output=True, text=True, check=True).stdout,
            "the SYN did not come")
    s.dump()
    held([port], False)
    s.restore()
    s.kill()


@scenario
def handshake_of_another(s):
    listener_beside(s, False)


@scenario
def handshake_of_another_there(s):
    listener_beside(s, True)


@scenario
def unsent(s):
    """What had not left this host goes when the restore ends, and does not wait for a timer."""
    c = Conn("v4", "ESTABLISHED", "small")
    c.plan_tail = True
    c.connect()
    rules("table ip t { chain o { type filter hook output priority 0; tcp sport %d drop; }; }" % c.port)
    c.put(0)
    c.put(1)
    number = c.ours.fileno()
    start(s, [c])
    check(unsent_of(s.pid, number) == 100, "it was sent")
    s.dump("--tcp-established")
    rules("delete table ip t")
    s.restore("--tcp-established")
    check(unsent_of(s.pid, number) == 0, "it was not sent")
    look(s, [c])
    held([c.port])
    verify(s, [c])


run_all()
