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
import time

from driver import check, run_all, scenario, text, wait_for
from tcp_peers import Streams, connect, end, exchange, start


def idle(s, family):
    start(s, "::1" if family == "6" else "127.0.0.1")
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


@scenario
def full_speed(s):
    start(s)
    streams = Streams(s, 8)
    for _ in range(5):
        time.sleep(0.2)
        before = streams.bytes
        s.dump("--tcp-established")
        s.restore("--tcp-established")
        check(wait_for(lambda: streams.bytes > before + 100000 or streams.wrong), "nothing flows")
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


MANY = r"""
import os, socket, time
l = socket.create_server(("127.0.0.1", 0), backlog=500)
open("port.new", "w").write(str(l.getsockname()[1]))
os.rename("port.new", "port")
for k in range(4):
    cs = [l.accept()[0] for _ in range(100)]
    if not os.fork():
        time.sleep(1000)
    for c in cs:
        c.close()
l.close()
open("ready", "w").close()
time.sleep(1000)
"""


@scenario
def few_descriptors(s):
    """More connections than the tool may have files open, in several tasks: dumped, and refused before anything is started."""
    for n in ("ready", "port"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", MANY], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("victim.err"), "w"), start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("port")), 20), text(s.path("victim.err")))
    cs = [socket.create_connection(("127.0.0.1", int(text(s.path("port"))))) for _ in range(400)]
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), text(s.path("victim.err")))
    tool = s.criu
    s.criu = s.script("few", 'ulimit -n 250; exec %s "$@"' % tool)
    s.dump("--tcp-established")
    s.restore("--tcp-established", ok=False)
    said = s.errors("restore.log")
    if s.rc:  # else it may raise the limit (CAP_SYS_RESOURCE)
        check("ulimit -Hn" in said and "nothing was started" in said, said)
        s.criu = tool
        s.restore("--tcp-established")
    for c in cs:
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
