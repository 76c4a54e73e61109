#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# TCP connections across the edge of the tree: numbered bytes both ways, half-closed either way, full queues; the peer
# outside sees neither a reset nor a gap. IPv4 and IPv6, over loopback.
# zdtm: driver
import os
import select
import socket
import subprocess
import sys
import threading
import time

from driver import check, run_all, scenario, text, wait_for

# Answers every byte with itself plus one, goes on after the peer's FIN until all is answered, then closes.
ECHO = r"""
import os, select, socket, sys
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
l = socket.create_server(("::1" if sys.argv[1] == "6" else "127.0.0.1", 0), family=family, backlog=200)
open("port", "w").write(str(l.getsockname()[1]))
l.setblocking(False)
conns = {}
plus = bytes((i + 1) % 256 for i in range(256))
open("ready", "w").close()
while True:
    r, w, _ = select.select([l, *[c for c in conns if not conns[c][1]]], [c for c in conns if conns[c][0] or conns[c][1]], [], 1)
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


def start(s, family="4"):
    for n in ("ready", "port"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", ECHO, family], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "the victim is not ready: %s" % text(s.path("victim.err")))
    s.address = ("::1" if family == "6" else "127.0.0.1", int(text(s.path("port"))))


def connect(s):
    c = socket.create_connection(s.address, timeout=20)
    c.settimeout(30)
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


def idle(s, family):
    start(s, family)
    cs = [connect(s) for _ in range(10)]
    for c in cs:
        exchange(c)
    for _ in range(3):
        s.dump("--tcp-established")
        time.sleep(0.05)
        s.restore("--tcp-established")
        for c in cs:
            exchange(c)
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "--tcp-established", "-R")
    check(s.rc == 0, s.out)
    for c in cs:
        exchange(c)
        end(c)
    new = connect(s)
    exchange(new)
    end(new)
    s.kill()


@scenario
def ipv4(s):
    idle(s, "4")


@scenario
def ipv6(s):
    idle(s, "6")


class Streams:
    """Connections with a thread each that keep sending numbered bytes and check what comes back."""

    def __init__(self, s, n):
        self.stop = False
        self.wrong = []
        self.bytes = 0
        self.threads = [threading.Thread(target=self.run, args=(connect(s), i)) for i in range(n)]
        for t in self.threads:
            t.start()

    def run(self, c, seed):
        at = 0
        try:
            while not self.stop:
                n = 1 + (at * 7 + seed * 131) % 30000
                exchange(c, n, at)
                at += n
                self.bytes += n
            end(c)
        except Exception as e:
            self.wrong.append("connection %d after %d bytes: %r" % (seed, at, e))

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join(60)
            check(not t.is_alive(), "a connection hangs")
        check(not self.wrong, "; ".join(self.wrong[:3]))


@scenario
def full_speed(s):
    start(s)
    streams = Streams(s, 8)
    for _ in range(5):
        time.sleep(0.2)
        before = streams.bytes
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        check(wait_for(lambda: streams.bytes > before + 100000 or streams.wrong, 30), "nothing flows")
    streams.finish()
    s.kill()


@scenario
def full_queues(s):
    start(s)
    c = connect(s)
    exchange(c)
    os.kill(s.pid, 19)  # SIGSTOP: what is sent stays in the queues
    data = bytes(i * 13 % 256 for i in range(8 << 20))
    c.setblocking(False)
    sent = 0
    quiet = 0
    while quiet < 20:
        try:
            sent += c.send(data[sent:])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.01)
    s.dump("--tcp-established")
    s.restore("--tcp-established")
    os.kill(s.pid, 18)
    got = b""
    while len(got) < sent:
        select.select([c], [], [], 30)
        more = c.recv(1 << 20)
        check(more, "the connection ended after %d of %d bytes" % (len(got), sent))
        got += more
    check(got == bytes((x + 1) % 256 for x in data[:sent]), "the bytes are not what they should be")
    c.setblocking(True)
    exchange(c)
    end(c)
    s.kill()


@scenario
def half_closed(s):
    start(s)
    for with_data in (False, True):
        cs = [connect(s) for _ in range(5)]
        for c in cs:
            exchange(c)
        os.kill(s.pid, 19)
        for c in cs:
            if with_data:
                c.sendall(b"last")
            c.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        os.kill(s.pid, 18)
        for c in cs:
            want = b"mbtu" if with_data else b""
            got = b""
            while True:
                more = c.recv(100)
                if not more:
                    break
                got += more
            check(got == want, "%r instead of %r" % (got, want))
            c.close()
    s.kill()


@scenario
def refused_without(s):
    start(s)
    c = connect(s)
    exchange(c)
    s.dump(ok=False)
    said = s.out + text(os.path.join(s.imgs, "dump.log"))
    check(s.rc != 0 and "--tcp-established" in said and str(s.address[1]) in said, said)
    exchange(c)
    s.dump("--tcp-established")
    s.restore(ok=False)
    said = s.out + text(os.path.join(s.imgs, "restore.log"))
    check(s.rc != 0 and "--tcp-established" in said, said)
    s.restore("--tcp-established")
    exchange(c)
    end(c)
    s.kill()


run_all()
