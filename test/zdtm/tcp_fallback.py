#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Connections that cannot come back, since their address is gone or somebody else has them: the restore says so before it
# starts anything, or makes closed sockets of them (--tcp-fallback close), as if the peer had reset them. --tcp-close at dump and
# at restore: recv() says 0. In a network namespace of its own.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip nft
import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TCP_REPAIR = 19


def new_net():
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for words in ("link set lo up", "addr add 192.0.2.99/32 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)


new_net()

from case import Skipped  # noqa: E402
from driver import check, children, reap, run_all, scenario, text, wait_for  # noqa: E402

# What each of its sockets says, one call after the other, and whether select() finds it readable at once.
VICTIM = r"""
import errno, json, os, select, socket, time
plan = json.load(open("plan"))
socks = [(name, socket.socket(fileno=fd)) for name, fd in plan]
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
result = {}
for name, s in socks:
    s.setblocking(False)
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLOUT)
    said = ["HUP" if p.poll(0) and p.poll(0)[0][1] & select.POLLHUP else "open"]
    while len(said) < 5:
        try:
            data = s.recv(100)
            said.append(data.decode() or "end")
            if not data:
                break
        except OSError as e:
            said.append(errno.errorcode[e.errno])
            if e.errno == errno.EAGAIN:
                break
    try:
        s.send(b"x", socket.MSG_NOSIGNAL)
        said.append("sent")
    except OSError as e:
        said.append(errno.errorcode[e.errno])
    result[name] = said
json.dump(result, open("result.new", "w"))
os.rename("result.new", "result")
"""

ENDED = ["HUP", "ECONNRESET", "end", "EPIPE"]


def pair(address="127.0.0.1"):
    """A connection: the end that is to be the victim's, and its peer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as l:
        c = socket.create_connection(l.getsockname()[:2])
        return l.accept()[0], c


def start(s, socks, prefix=()):
    for n in ("ready", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    with open(s.path("plan"), "w") as f:
        json.dump([(name, sock.fileno()) for name, sock in socks.items()], f)
    s.proc = subprocess.Popen([*prefix, sys.executable, "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True,
                              pass_fds=[x.fileno() for x in socks.values()])
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready: %s" % text(s.path("victim.err")))
    for x in socks.values():
        x.close()


def result(s):
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("result"))), "no result: %s" % text(s.path("victim.err")))
    with open(s.path("result")) as f:
        return json.load(f)


def says(s, want):
    got = result(s)
    for name, said in want.items():
        check(got[name] == said, "%s: %s, not %s" % (name, got[name], said))
    s.gone()


def fails(s, *words):
    s.restore("--tcp-established", ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same")
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check("nothing was started" in said, said)
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")


def fallback(s, *words):
    s.restore("--tcp-established", "--tcp-fallback", "close")
    log = text(os.path.join(s.imgs, "restore.log"))
    for w in ("Warn", "--tcp-fallback close", *words):
        check(w in log, "no warning says %r" % w)
    check("Error" not in log, s.errors("restore.log"))


def gone_from(peer):
    """The peer hears of it when it speaks."""
    peer.settimeout(60)
    try:
        while True:
            peer.send(b"?")
            if not peer.recv(1):
                return
    except (ConnectionResetError, BrokenPipeError):
        pass


@scenario
def address_gone(s):
    a, peer_a = pair("192.0.2.99")
    b, peer_b = pair()
    start(s, dict(gone=a, stays=b))
    s.dump("--tcp-established")
    subprocess.run("ip addr del 192.0.2.99/32 dev lo".split(), check=True)
    fails(s, "192.0.2.99:%d - 192.0.2.99:%d" % (peer_a.getpeername()[1], peer_a.getsockname()[1]), "is not on this host",
          "--tcp-fallback close")
    fallback(s, "192.0.2.99")
    peer_b.send(b"hello")
    says(s, dict(gone=ENDED, stays=["open", "hello", "EAGAIN", "sent"]))
    subprocess.run("ip addr add 192.0.2.99/32 dev lo".split(), check=True)


def rules():
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


@scenario
def all_gone(s):
    """No connection comes back: the lock that the dump left goes all the same, and not before."""
    a, peer = pair("192.0.2.99")
    start(s, dict(gone=a))
    s.dump("--tcp-established")
    subprocess.run("ip addr del 192.0.2.99/32 dev lo".split(), check=True)
    fails(s, "is not on this host")
    check("CRIU-" in rules(), "a restore that fails has unlocked")
    fallback(s, "192.0.2.99")
    says(s, dict(gone=ENDED))
    check(not rules(), "left: %s" % rules())
    subprocess.run("ip addr add 192.0.2.99/32 dev lo".split(), check=True)
    peer.close()


@scenario
def comes_back_later(s):
    """The address is there again: the same images, and the connection goes on."""
    a, peer = pair("192.0.2.99")
    start(s, dict(a=a))
    s.dump("--tcp-established")
    subprocess.run("ip addr del 192.0.2.99/32 dev lo".split(), check=True)
    fails(s, "is not on this host")
    subprocess.run("ip addr add 192.0.2.99/32 dev lo".split(), check=True)
    s.restore("--tcp-established", "--tcp-fallback", "close")
    peer.send(b"hello")
    says(s, dict(a=["open", "hello", "EAGAIN", "sent"]))


def taken_by_somebody(local, remote):
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    x = socket.socket(family)
    x.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    x.bind(local)
    x.connect(remote)
    return x


def taken(s, address):
    a, peer_a = pair(address)
    b, peer_b = pair(address)
    local, remote = peer_a.getpeername(), peer_a.getsockname()
    start(s, dict(taken=a, stays=b))
    s.dump("--tcp-established")
    with taken_by_somebody(local, remote) as x:
        fails(s, "%d - " % local[1], "%d is in use by pid %d (" % (remote[1], os.getpid()))
        fallback(s, "is in use by pid %d (" % os.getpid())
        check(x.getpeername() == remote, "what was in the way has changed")
        peer_b.send(b"hello")
        says(s, dict(taken=ENDED, stays=["open", "hello", "EAGAIN", "sent"]))


@scenario
def taken_v4(s):
    taken(s, "127.0.0.1")


@scenario
def taken_v6(s):
    taken(s, "::1")


def connections():
    """Ours with their peers, in four states."""
    socks, peers = {}, []
    for name in ("established", "unread", "fin", "shut"):
        a, peer = pair()
        if name in ("unread", "fin"):
            peer.send(b"data")
        if name == "fin":
            peer.shutdown(socket.SHUT_WR)
        if name == "shut":
            a.shutdown(socket.SHUT_WR)
        socks[name] = a
        peers.append(peer)
    return socks, peers


# Bytes that were not read are no longer there; the end that was seen already stays what is seen.
SHUT = ["HUP", "end", "EPIPE"]
CLOSED = dict(established=SHUT, unread=SHUT, shut=SHUT, fin=SHUT)


@scenario
def close_at_dump(s):
    socks, peers = connections()
    start(s, socks)
    s.dump("--tcp-close")
    s.restore()
    says(s, CLOSED)
    for p in peers:
        gone_from(p)


@scenario
def close_at_dump_leave_running(s):
    """Nothing of it is felt by who runs on."""
    a, peer = pair()
    start(s, dict(a=a))
    s.dump("--tcp-close", "-R")
    peer.send(b"hello")
    says(s, dict(a=["open", "hello", "EAGAIN", "sent"]))


@scenario
def close_at_restore(s):
    socks, peers = connections()
    start(s, socks)
    s.dump("--tcp-established")
    s.restore("--tcp-close")
    says(s, CLOSED)
    for p in peers:
        gone_from(p)
    check(not rules(), "left: %s" % rules())


@scenario
def close_without_net_admin(s):
    """Nobody may look for the dump's lock here: it stays, and criu unlock is named."""
    if not shutil.which("setpriv"):
        raise Skipped("needs setpriv")
    drop = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin", "--"]
    a, peer = pair()
    start(s, dict(a=a), drop)
    s.dump("--tcp-established")
    tool, s.criu = s.criu, s.script("less", 'exec %s %s "$@"' % (" ".join(drop), s.criu))
    s.restore("--tcp-close")
    log = text(os.path.join(s.imgs, "restore.log"))
    check("Warn" in log and "criu unlock" in log and "Error" not in log, log[-500:])
    s.criu = tool
    check(s.tool("unlock", "-D", s.imgs) == 0 and "is removed" in s.out, s.out)
    says(s, dict(a=SHUT))
    gone_from(peer)


@scenario
def in_progress(s):
    """A connect() that nobody has answered yet is refused then."""
    subprocess.run(["nft", "-f", "-"], input="table ip t { chain o { type filter hook output priority 0; tcp dport 9 drop; }; }",
                   text=True, check=True)
    for at_dump in (True, False):
        a = socket.socket()
        a.setblocking(False)
        check(a.connect_ex(("192.0.2.99", 9)) == 115, "connect")
        start(s, dict(a=a))
        s.dump("--tcp-close" if at_dump else "--tcp-established")
        s.restore(*([] if at_dump else ["--tcp-close"]))
        says(s, dict(a=["HUP", "ECONNREFUSED", "end", "EPIPE"]))
        s.clean_images()
    subprocess.run(["nft", "delete", "table", "ip", "t"], check=True)


@scenario
def without_loopback(s):
    """What cannot come back as it was is a plain socket that is shut."""
    a, peer = pair()
    reset, other = pair()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    start(s, dict(a=a, reset=reset))
    s.dump("--tcp-established")
    subprocess.run("ip link set lo down".split(), check=True)
    s.restore("--tcp-close")
    log = text(os.path.join(s.imgs, "restore.log"))
    check(log.count("restored shut down") == 1 and "is lo up" in log, log[-500:])
    says(s, dict(a=SHUT, reset=SHUT))
    subprocess.run("ip link set lo up".split(), check=True)


run_all()
