# SPDX-License-Identifier: GPL-2.0-only
"""Two hosts and a client, each in a network of its own: a server moves from one host to the other by scripts/criu-migrate."""
import os
import subprocess

from case import Failed
from driver import check, text, wait_for
from other_host import OtherHost

COMMAND = os.path.join(os.environ["ZDTM"], "../../scripts/criu-migrate")


class ThreeNetworks:
    """Three networks: the client's with a bridge, and the two hosts'. server and client are commands; the server says that it is
    ready by a file of that name, the client writes into the file "asked" how many answers it has."""

    def __init__(self, s, server, client):
        self.s, self.procs, self.server, self.questions = s, [], server, client
        self.there = OtherHost(s, "--net", "--ipc")
        self.client, self.here = self.space(), self.space()
        self.ip(self.client, "link add br0 type bridge", "addr add 10.77.0.1/24 dev br0", "link set br0 up", "link set lo up")
        for pid, address in ((self.here, "10.77.0.2"), (self.there.root, "10.77.0.3")):
            name = "v%d" % pid
            self.ip(self.client, "link add %s type veth peer name eth0 netns %d" % (name, pid), "link set %s master br0 up" % name)
            self.ip(pid, "addr add %s/24 dev eth0" % address, "link set eth0 up", "link set lo up")

    def space(self):
        p = subprocess.Popen(["unshare", "--net", "--ipc", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE, start_new_session=True)
        check(p.stdout.readline() == b"\n", "unshare")
        self.procs.append(p)
        return p.pid

    def ip(self, pid, *commands):
        for c in commands:
            p = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", *c.split()], stderr=subprocess.PIPE, text=True)
            check(p.returncode == 0, "ip %s: %s" % (c, p.stderr))

    def inside(self, pid, *command, **kw):
        return subprocess.Popen(["nsenter", "-t", str(pid), "-n", "-i", *command], cwd=self.s.dir, stdin=subprocess.DEVNULL, **kw)

    def begin(self):
        """The server here, and its client. (nsenter becomes the command: the pid stays.)"""
        s = self.s
        with open(s.path("victim.out"), "a") as out:
            s.proc = self.inside(self.here, *self.server, stdout=out, stderr=out, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "the server: %s" % text(s.path("victim.out")))
        self.asker = self.inside(self.client, *self.questions, stderr=subprocess.PIPE, text=True)
        self.goes_on("at first")

    def asked(self):
        return int(text(self.s.path("asked"))) if os.path.exists(self.s.path("asked")) else 0

    def goes_on(self, when):
        before = self.asked()
        if not wait_for(lambda: self.asked() > before + 10 or self.asker.poll() is not None, 30) or self.asker.poll() is not None:
            raise Failed("%s: the client hears nothing: %s" % (when, self.asker.stderr.read() if self.asker.poll() is not None else before))

    def address(self):
        """It is there before anybody sends to it; then the client looks for it anew."""
        here, there, client = ("nsenter -n -t %d ip " % pid for pid in (self.here, self.there.root, self.client))
        which, anew = " 10.77.0.2/24 dev eth0", client + "neigh flush dev br0"
        return ["--before-restore", there + "addr add" + which, "--after-restore", here + "addr del" + which + " && " + anew,
                "--after-failure", "(%s; %s; %s) 2>/dev/null; true" % (there + "addr del" + which, here + "addr add" + which, anew)]

    def command(self, *opts):
        s, t = self.s, self.there
        return ["nsenter", "-t", str(self.here), "-n", "-i", COMMAND, "-t", str(s.pid), "-D", s.imgs, "--target-dir", t.imgs, "--criu", s.criu,
                "--target-criu", s.criu, "--via", " ".join(t.enter) + " sh -c", "--target-address", "10.77.0.3",
                "--criu-options=--tcp-established", *self.address(), *opts]

    def migrate(self, *opts, ok=True):
        p = subprocess.run(self.command(*opts), cwd=self.s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=120)
        check((p.returncode == 0) == ok, "criu-migrate: %d: %s" % (p.returncode, p.stdout))
        return p.stdout

    def done(self):
        self.asker.kill()
        self.asker.wait()
        self.asker.stderr.close()
        self.there.done()
        for p in self.procs:
            p.kill()
            p.wait()
            p.stdout.close()
