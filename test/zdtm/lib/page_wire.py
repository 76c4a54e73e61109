# SPDX-License-Identifier: GPL-2.0-only
"""The protocol of page servers: our server with a peer that a test makes, and a server that checks what a dump sends."""
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

from case import Failed, wait_for
from driver import check, text
from image_edit import fields, packed

PAGE = 4096
ADD, HOLE, OPEN, OPEN2, PARENT, ADD_F, GET, CLOSE, FORCE_CLOSE = 1, 2, 3, 4, 5, 6, 7, 0x1023, 0x1024
IN_PARENT, LAZY, PRESENT = 1, 2, 4
TASK, OBJECT = 1, 2


def request(command, n=0, at=0, who=0, flags=0):
    return struct.pack("<IIQQQ", command | flags << 16, 0, n, at, who)


def task(pid):
    return pid << 8 | TASK


def pages(who, at, n, flags=PRESENT, byte=b"x"):
    return request(ADD_F, n, at, who, flags) + (byte * PAGE * n if flags & PRESENT else b"")


def entries(path):
    """(address, pages, flags) of each entry of a pagemap, and the number of its pages file."""
    with open(path, "rb") as f:
        raw = f.read()
    at, out = 8, []
    while at < len(raw):
        size = struct.unpack("<I", raw[at:at + 4])[0]
        out.append({n: v for n, _, v in fields(raw[at + 4:at + 4 + size])})
        at += 4 + size
    return [(e[1], e[5], e[4]) for e in out[1:]], out[0][1]


def pagemap_of(who):
    return "pagemap-%s%d.img" % ("" if who & 0xff == TASK else "shmem-", who >> 8)


def is_mark(who):
    """Of a run, as ours sends it in a chain: a number that no object has."""
    return who & 0xff == OBJECT and who >> 56 == 1


def write_pagemap(path, pages_id, listed):
    """As CRIU's server writes one: an entry for each request."""
    def message(*values):
        body = b"".join(packed(n, 0, v) for n, v in values)
        return struct.pack("<I", len(body)) + body
    with open(path, "wb") as f:
        f.write(MAGICS)
        f.write(message((1, pages_id)))
        for at, n, flags in listed:
            f.write(message((1, at), (2, 0), (4, flags), (5, n)))


MAGICS = struct.pack("<II", 0x54564319, 0x56084025)


class Server:
    """criu page-server, with a directory of its own."""

    def __init__(self, s, *opts, name="srv", address="127.0.0.1", log="ps.log", **kw):
        self.dir, self.log = s.path(name), log
        os.makedirs(self.dir, exist_ok=True)
        where = ["--address", address] if address else []
        self.proc = subprocess.Popen([s.criu, "page-server", "-D", self.dir, "-v4", "-o", log, *where, *map(str, opts)], cwd=s.dir,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **kw)
        said = self.proc.stdout.readline() if not {"--port", "--ps-socket"} & set(opts) else ""
        self.port = int(said.split()[1]) if said.startswith("port ") else 0
        self.address = address or "127.0.0.1"

    def connect(self):
        c = socket.create_connection((self.address, self.port), 60)
        c.settimeout(60)
        return c

    def ends(self, status, why=""):
        try:
            rc = self.proc.wait(60)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise Failed("%s: the page server does not end" % why)
        finally:
            self.proc.stdout.close()
        check(rc == status, "%s: the page server ends with %d: %s" % (why, rc, self.said()))

    def said(self):
        return text(os.path.join(self.dir, self.log)).strip()

    def images(self):
        """Nothing hidden counts as an image."""
        return sorted(n for n in os.listdir(self.dir) if n.endswith((".img", ".sums")) or n.startswith(".checkpoint"))


def take(c, n):
    out = bytearray()  # bytes would be copied with each piece, for longer than a dump with --timeout 1 waits
    while len(out) < n:
        more = c.recv(n - len(out))
        if not more:
            raise EOFError("the dump has ended the connection")
        out += more
    return bytes(out)


class Checker(threading.Thread):
    """
    A page server that takes nothing for granted, and writes what CRIU's would. behave(self, c, command) is asked before each
    request is answered; what it returns, True, ends the connection. prev: the directory of the checkpoint before, in which CRIU's
    looks for pagemaps, and for the pages that are said to be there.
    """

    def __init__(self, directory, behave=None, sock=None, prev=None):
        super().__init__(daemon=True)
        self.dir, self.behave, self.prev = directory, behave, prev
        self.listener = None if sock else socket.create_server(("127.0.0.1", 0))
        self.port = 0 if sock else self.listener.getsockname()[1]
        self.sock, self.commands, self.wrong, self.last_id = sock, [], None, 65536
        self.start()

    def run(self):
        try:
            c = self.sock or self.listener.accept()[0]
            c.settimeout(60)
            with c:
                self.serve(c)
        except Exception as e:
            self.wrong = repr(e)
        finally:
            if self.listener:
                self.listener.close()

    def serve(self, c):
        self.who, seen = None, set()
        while True:
            word, unused, n, at, who = struct.unpack("<IIQQQ", take(c, 32))
            command, flags = word & 0xffff, word >> 16
            self.commands.append(command)
            if self.behave and self.behave(self, c, command):
                return
            check(unused == 0, "padding of %x" % command)
            if command == OPEN2:
                check(who not in seen and who & 0xff in (TASK, OBJECT) and not (n or at or flags), "OPEN2 of %x" % who)
                seen.add(who)
                self.finish()
                self.begin(who)
                c.sendall(bytes([self.has(who)]))
            elif command == PARENT:
                check(who & 0xff in (TASK, OBJECT) and not (n or at or flags), "PARENT of %x" % who)
                c.sendall(struct.pack("<i", self.has(who)))
            elif command == ADD_F:
                allowed = LAZY if is_mark(who) else PRESENT if flags == PRESENT else IN_PARENT
                check(who == self.who and flags == allowed and n > 0 and at % PAGE == 0 and at >= self.end,
                      "ADD_F %d of %x at %x, %d pages" % (flags, who, at, n))
                self.end = at + n * PAGE
                self.listed.append((at, n, flags))
                if flags == PRESENT:
                    self.file.write(take(c, n * PAGE))
                for page in range(at, at + n * PAGE, PAGE) if flags == IN_PARENT else ():
                    check(page in self.theirs, "%x of %x is not in the parent" % (page, who))
            else:
                check(command in (CLOSE, FORCE_CLOSE) and not (n or at or who or flags), "command %x" % command)
                self.finish()
                c.sendall(struct.pack("<i", 0))
                check(c.recv(1) == b"", "more after CLOSE")
                return

    def begin(self, who):
        self.who, self.end, self.listed, self.last_id = who, 0, [], self.last_id + 1
        listed = entries(os.path.join(self.prev, pagemap_of(who)))[0] if self.has(who) else []
        self.theirs = {page for at, n, _ in listed for page in range(at, at + n * PAGE, PAGE)}
        self.file = open(os.path.join(self.dir, "pages-%d.img" % self.last_id), "wb")

    def finish(self):
        if self.who is None:
            return
        self.file.close()
        write_pagemap(os.path.join(self.dir, pagemap_of(self.who)), self.last_id, self.listed)
        self.who = None

    def has(self, who):
        return int(bool(self.prev) and os.path.exists(os.path.join(self.prev, pagemap_of(who))))

    def done(self):
        self.join(60)
        check(not self.is_alive() and not self.wrong, "the server of the test: %s" % (self.wrong or "hangs"))


def together(s, directory):
    """As users do: the files of the dump into the page server's directory, which is the one to restore from then."""
    for n in os.listdir(s.imgs):
        if not n.endswith(".log"):
            shutil.copy(os.path.join(s.imgs, n), directory)
    os.rename(s.imgs, s.imgs + ".dump")
    os.rename(directory, s.imgs)


def fault_points(log):
    """How many of them the command whose log this is has gone through."""
    return max([int(n) for n in re.findall(r"fault point (\d+):", log)], default=0)


def nothing_hidden(directory):
    check(wait_for(lambda: not [n for n in os.listdir(directory) if n.startswith(".")]), "left: %r" % os.listdir(directory))
