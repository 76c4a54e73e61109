# SPDX-License-Identifier: GPL-2.0-only
"""For drivers: a program that serves over TCP, which is given work, dumped, restored, and asked for what it was given."""
import ctypes
import http.client
import os
import socket
import subprocess
import sys

from driver import check, need, rounds_wanted, run_all, text, tree, wait_for

ROUNDS = rounds_wanted(3)
PORT = 7000


def connect():
    return socket.create_connection(("127.0.0.1", PORT), 60)


def established():
    """Connections that the program has not closed yet."""
    lines = [x.split() for f in ("tcp", "tcp6") for x in text("/proc/net/" + f).splitlines()[1:]]
    return [x for x in lines if x[3] not in ("0A", "06")]  # LISTEN, TIME_WAIT


class Program:
    """Started in its scenario's directory; a subclass says how, and how to talk to it."""
    needs = ()
    files = {}

    def __init__(self, s):
        need(*self.needs)
        self.s = s
        for name, words in self.files.items():
            with open(s.path(name), "w") as f:
                f.write(words.replace("@PORT@", str(PORT)).replace("@DIR@", s.dir))
        self.prepare()
        with open(s.path("program.out"), "w") as out:
            s.proc = subprocess.Popen([a.replace("@PORT@", str(PORT)).replace("@DIR@", s.dir) for a in self.command],
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=s.dir, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(self.listens), "it does not listen: " + text(s.path("program.out"))[-500:])

    def prepare(self):
        pass

    def listens(self):
        try:
            connect().close()
            return True
        except OSError:
            return False

    def quiet(self):
        check(wait_for(lambda: not established()), "connections stay open: %r" % established())

    def rounds(self):
        s = self.s
        self.work(0)
        for i in range(1, ROUNDS + 1):
            self.quiet()
            tasks = len(tree(s.pid))
            s.clean_images()
            if not os.environ.get("DRY"):
                s.dump(timeout=120)
                s.restore(timeout=120)
            check(len(tree(s.pid)) == tasks, "round %d: %d tasks, not %d" % (i, len(tree(s.pid)), tasks))
            self.look(i)
            self.work(i)
        self.look(ROUNDS + 1)
        s.kill()

    def work(self, i):
        """Something new is given to it."""

    def look(self, i):
        """All that rounds 0 to i - 1 gave is there."""


class Http(Program):
    def get(self, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        c.request("POST" if body else "GET", path, body, {"Connection": "close"})
        r = c.getresponse()
        words = r.read()
        c.close()
        return r.status, words


class Server(Http):
    """One that keeps what it is sent, and counts by a timer."""

    def work(self, i):
        for k in range(50):
            check(self.get("/item/%d/%d" % (i, k), b"body %d %d" % (i, k))[0] == 200, "a new item")

    def ticks(self):
        return int(self.get("/ticks")[1])

    def look(self, i):
        for n in range(i):
            for k in (0, 49):
                got = self.get("/item/%d/%d" % (n, k))
                check(got == (200, b"body %d %d" % (n, k)), "item %d/%d is %r" % (n, k, got))
        now = self.ticks()
        check(wait_for(lambda: self.ticks() > now), "its timer has stopped at %d" % now)


def run_in_own_network():
    """All scenarios, in a network namespace of the test's own: they have one port."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        with open("result", "w") as out:
            out.write("SKIP no network namespace: %s\n" % os.strerror(ctypes.get_errno()))
        sys.exit(77)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    run_all()
