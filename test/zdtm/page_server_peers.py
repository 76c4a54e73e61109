#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A page server whose peer lies, stalls or ends, and a dump whose page server does: an error that names it, in time; the tree goes on,
# and nothing comes into either directory that a restore would take for a checkpoint.
# zdtm: driver
# zdtm: timeout 300
import ctypes
import os
import socket
import struct
import time

from driver import check, run_all, scenario, state_of, text, wait_for
from page_wire import (ADD_F, CLOSE, GET, IN_PARENT, LAZY, OBJECT, OPEN2, PARENT, PRESENT, Checker, Server, nothing_hidden, pages, request,
                       task)

ME = task(77)
BEGIN = request(OPEN2, who=ME)
MANY = 1 << 52
TOP = 0x7ffffffff000  # the end of a task's addresses

# What is sent, and what the server's log says then.
LIES = (
    ("an unknown command", request(99), "command 0x63"),
    ("an unknown command behind pages", BEGIN + pages(ME, 0x1000, 1) + b"\xff" * 32, "command 0xffff"),
    ("a question for pages", request(GET, 1, 0x1000, 77), "asks for pages"),
    ("pages of nothing", pages(ME, 0x1000, 1), "has not begun"),
    ("pages of another task", BEGIN + pages(task(78), 0x1000, 1), "has not begun"),
    ("a task twice", BEGIN + pages(ME, 0x1000, 1) + request(OPEN2, who=task(78)) + BEGIN, "a second time"),
    ("a task twice, by an older number", BEGIN + request(OPEN2, who=77 << 8 | 16), "a second time"),
    ("no number", request(OPEN2, who=1), "no task and no shared memory"),
    ("a type that is none", request(OPEN2, who=77 << 8 | 3), "no task and no shared memory"),
    ("a pid that none can have", request(OPEN2, who=task(1 << 23)), "no task and no shared memory"),
    ("a question about nothing", request(PARENT, who=0xffffffffffffffff), "no task and no shared memory"),
    ("an odd address", BEGIN + pages(ME, 0x1001, 1), "out of order or place"),
    ("pages twice", BEGIN + pages(ME, 0x1000, 2) + pages(ME, 0x1000, 2), "out of order or place"),
    ("pages that overlap", BEGIN + pages(ME, 0x1000, 3) + pages(ME, 0x3000, 1), "out of order or place"),
    ("pages that go back", BEGIN + pages(ME, 0x9000, 1) + pages(ME, 0x1000, 1), "out of order or place"),
    ("pages that wrap", BEGIN + request(ADD_F, 3, (1 << 64) - 8192, ME, PRESENT), "out of order or place"),
    ("pages above all", BEGIN + request(ADD_F, 1, TOP, ME, PRESENT), "out of order or place"),
    ("pages that end above all", BEGIN + request(ADD_F, 3, TOP - 8192, ME, PRESENT), "out of order or place"),
    ("too many pages", BEGIN + request(ADD_F, MANY, 0x1000, ME, PRESENT), "out of order or place"),
    ("too many lazy pages", BEGIN + request(ADD_F, (1 << 64) - 1, 0x1000, ME, LAZY), "out of order or place"),
    ("no pages", BEGIN + request(ADD_F, 0, 0x1000, ME, PRESENT), "out of order or place"),
    ("shared memory that wraps", request(OPEN2, who=5 << 8 | OBJECT) + request(ADD_F, MANY, 1 << 62, 5 << 8 | OBJECT, PRESENT),
     "out of order or place"),
    ("no flags", BEGIN + request(ADD_F, 1, 0x1000, ME), "flags 0x0"),
    ("unknown flags", BEGIN + request(ADD_F, 1, 0x1000, ME, 12), "flags 0xc"),
    ("pages in two places", BEGIN + request(ADD_F, 1, 0x1000, ME, IN_PARENT | PRESENT), "flags 0x5"),
    ("a parent that is not there", BEGIN + request(ADD_F, 1, 0x1000, ME, IN_PARENT), "in a parent checkpoint"),
    ("the end at once", b"", "has ended the connection"),
    ("the end in a request", BEGIN + b"\6\0\0", "has ended the connection"),
    ("the end in pages", BEGIN + request(ADD_F, 100, 0x1000, ME, PRESENT) + bytes(5000), "has ended the connection"),
    ("the end before CLOSE", BEGIN + pages(ME, 0x1000, 100), "has ended the connection"),
)


def older(directory):
    """A checkpoint that is there already: it stays."""
    os.makedirs(directory, exist_ok=True)
    for n in ("inventory.img", "pagemap-77.img", "pages-65537.img", "core-77.img"):
        with open(os.path.join(directory, n), "wb") as f:
            f.write(b"older " + n.encode())


def is_older(directory, why):
    nothing_hidden(directory)
    found = {n: open(os.path.join(directory, n), "rb").read() for n in os.listdir(directory) if n.endswith((".img", ".sums"))}
    check(len(found) == 4 and all(v == b"older " + n.encode() for n, v in found.items()), "%s: %r" % (why, sorted(found)))


@scenario
def lies(s):
    for i, (why, data, words) in enumerate(LIES):
        name = "srv%d" % i
        if i % 2:
            older(s.path(name))
        server = Server(s, name=name)
        with server.connect() as c:
            try:
                c.sendall(data)
                c.shutdown(socket.SHUT_WR)
            except OSError:  # the server has had enough already
                pass
            server.ends(1, why)
        check(words in server.said(), "%s: %s" % (why, server.said()))
        if i % 2:
            is_older(server.dir, why)
        else:
            check(not server.images(), "%s: %r" % (why, server.images()))


@scenario
def reset(s):
    """What is not read yet goes with the connection."""
    server = Server(s)
    c = server.connect()
    c.sendall(BEGIN + pages(ME, 0x1000, 3000))
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    server.ends(1)
    check(not server.images(), "%r" % server.images())


@scenario
def stalls(s):
    for why, data, least, most in (("in a request", BEGIN + b"\6\0", 0.9, 5), ("in pages", BEGIN + pages(ME, 0x1000, 64)[:-1], 0.9, 5),
                                   ("before one", BEGIN + pages(ME, 0x1000, 64), 5.9, 30)):
        server = Server(s, "--timeout", 1)
        began = time.monotonic()
        with server.connect() as c:
            c.sendall(data)
            server.ends(1, why)
        check(least < time.monotonic() - began < most, "%s: after %.1f s" % (why, time.monotonic() - began))
        check("the peer does nothing" in server.said() and not server.images(), "%s: %r, %s" % (why, server.images(), server.said()))


@scenario
def slow(s):
    """Not a stall: something comes each time."""
    server = Server(s, "--timeout", 1)
    with server.connect() as c:
        data = BEGIN + pages(ME, 0x1000, 48) + request(CLOSE)
        for at in range(0, len(data), 65536):
            time.sleep(0.6)
            c.sendall(data[at:at + 65536])
        check(c.recv(1) == b"\0" and c.recv(4) == bytes(4), "no answers")
        server.ends(0)


@scenario
def closes_at_once(s):
    """All that there is, is sent: nothing. An older checkpoint stays."""
    older(s.path("srv"))
    server = Server(s)
    with server.connect() as c:
        c.sendall(request(CLOSE))
        check(c.recv(4) == bytes(4), "no answer")
    server.ends(0)
    is_older(server.dir, "CLOSE")


@scenario
def beside_another(s):
    """CRIU's dump takes no lock, and writes its images where an older checkpoint is, and the page server: they are not taken for old."""
    older(s.path("srv"))
    server = Server(s)
    with server.connect() as c:
        c.sendall(BEGIN + pages(ME, 0x1000, 1))
        check(c.recv(1) == b"\0", "no answer")
        time.sleep(0.05)
        with open(os.path.join(server.dir, "core-77.img"), "wb") as f:
            f.write(b"newer")
        c.sendall(request(CLOSE))
        check(struct.unpack("<i", c.recv(4))[0] < 0, "the server says that all is well")
    server.ends(1)
    nothing_hidden(server.dir)
    check(open(os.path.join(server.dir, "core-77.img")).read() == "newer" and "another dump" in server.said(), server.said())


def is_unharmed(s, why):
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: not os.path.exists(s.path("ask"))), "%s: the victim does not answer (%s)" % (why, state_of(s.pid)))
    check("FAIL" not in text(s.path("result")), "%s: %s" % (why, text(s.path("result"))))


def ends(_, c, command):
    return True


def says_nothing(checker, c, command):
    checker.held = c.dup()
    return True


def says_no(checker, c, command):
    c.sendall(struct.pack("<i", -28))
    return True


def says_half(checker, c, command):
    c.sendall(b"\0\0")
    return True


def at(wanted, fn, n=1):
    """fn at the n-th request of a command."""
    def behave(checker, c, command):
        return checker.commands.count(wanted) == n and command == wanted and fn(checker, c, command)
    return behave


# What the server of a dump does, what the dump says of it, and the least and most seconds that the dump takes.
SERVERS = (
    ("ends at once", at(OPEN2, ends), "has ended the connection", 0, 20),
    ("ends in pages", at(ADD_F, ends, 3), "has ended the connection", 0, 20),
    ("ends at the second task", at(OPEN2, ends, 2), "has ended the connection", 0, 20),
    ("ends when all is sent", at(CLOSE, ends), "has ended the connection", 0, 20),
    ("could not write", at(CLOSE, says_no), "could not write its images (-28)", 0, 20),
    ("answers by half", at(CLOSE, says_half), "has ended the connection", 0, 20),
    ("takes nothing", at(ADD_F, says_nothing, 3), "timed out", 0.9, 20),
    ("does not answer", at(OPEN2, says_nothing, 2), "timed out", 5.9, 30),
    ("does not answer at the end", at(CLOSE, says_nothing), "timed out", 5.9, 30),
)


@scenario
def servers(s):
    s.victim("page_tree")
    before = {}
    for again in range(2):
        for why, behave, words, least, most in SERVERS:
            os.makedirs(s.path("theirs"), exist_ok=True)
            server = Checker(s.path("theirs"), behave)
            began = time.monotonic()
            s.dump("--page-server", "--port", server.port, "--timeout", 1, *(["-R"] if again else []), ok=False)
            took, said = time.monotonic() - began, s.errors("dump.log")
            check(s.rc == 1 and words in said.lower(), "%s: %d: %s" % (why, s.rc, said))
            check(least < took < most, "%s: after %.1f s" % (why, took))
            is_unharmed(s, why)
            nothing_hidden(s.imgs)
            now = {n: os.stat(os.path.join(s.imgs, n)).st_ino for n in s.images()}
            check(now == before, "%s: %r instead of %r" % (why, sorted(now), sorted(before)))
            if again and least > 1:
                break
        if not again:
            s.dump("-R")  # an older checkpoint, which stays
            before = {n: os.stat(os.path.join(s.imgs, n)).st_ino for n in s.images()}
    s.dump()
    s.restore()
    s.verify()


@scenario
def not_accepted(s):
    """Nobody answers: the queue of the socket is full, so that the kernel drops what comes."""
    s.victim()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for c in waiting:
            c.setblocking(False)
            c.connect_ex(listener.getsockname())
        began = time.monotonic()
        s.dump("--page-server", "--port", listener.getsockname()[1], "--timeout", 1, ok=False)
        took = time.monotonic() - began
        for c in waiting:
            c.close()
    check(s.rc == 1 and "connect to the page server" in s.errors("dump.log") and 0.9 < took < 20, "%.1f s: %s" % (took, s.errors("dump.log")))
    is_unharmed(s, "not accepted")
    s.verify()


@scenario
def no_room(s):
    """The server's file system is full: both ends fail, and say so."""
    s.victim("page_tree")
    os.mkdir(s.path("small"))
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.mount(b"none", s.path("small").encode(), b"tmpfs", 0, b"size=20m") == 0, "mount: %s" % os.strerror(ctypes.get_errno()))
    try:
        server = Server(s, name="small")
        s.dump("--page-server", "--port", server.port, ok=False)
        server.ends(1)
        check(s.rc == 1 and "No space left" in server.said() and not server.images(), "%d: %s" % (s.rc, server.said()))
        is_unharmed(s, "no room")
        check(not s.images(), "%r" % s.images())
    finally:
        libc.umount2(s.path("small").encode(), 2)
    s.verify()


run_all()
