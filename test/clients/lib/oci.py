# SPDX-License-Identifier: GPL-2.0-only
"""A container of runc's or crun's: its bundle, its calls, its standard input and output."""
import array
import json
import os
import select
import shutil
import socket
import subprocess
import time

from area import WORK
from case import CASES, Failed, case, check, count_of, counts, facts_of, make_rootfs, pid_alive, run, same, text, wait_for

CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_NET_RAW"]


class Stdio:
    """The ends of a container's standard input and output that are ours. kind: pipe, null, tty"""

    def __init__(self, kind):
        self.kind, self.seen = kind, ""
        self.theirs, self.master = [], None
        if kind == "pipe":
            r, self.input = os.pipe()
            self.output, w = os.pipe()
            self.theirs = [r, w]

    def popen(self):
        if self.kind == "pipe":
            return {"stdin": self.theirs[0], "stdout": self.theirs[1], "stderr": self.theirs[1]}
        return {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def started(self):
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def take_console(self, listener):
        s = listener.accept()[0]
        fds = array.array("i")
        for _, _, data in s.recvmsg(4096, socket.CMSG_SPACE(4))[1]:
            fds.frombytes(data)
        check(len(fds) == 1, "the console socket brought %d descriptors", len(fds))
        self.input = self.output = self.master = fds[0]

    def tell(self, line):
        os.write(self.input, line.encode() + b"\n")

    def hear(self, word, limit=60):
        """Waits for a line with this word in it; returns the line."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            for line in self.seen.splitlines(True):
                if line.endswith("\n") and line.startswith(word):
                    self.seen = self.seen.replace(line, "", 1)
                    return line.strip()
            if select.select([self.output], [], [], 0.1)[0]:
                try:
                    got = os.read(self.output, 4096)
                except OSError:
                    got = b""
                check(got, "the container's output ended; it said %r", self.seen)
                self.seen += got.decode().replace("\r\n", "\n")
        raise Failed("the container did not say %r, but %r" % (word, self.seen))

    def ask(self, line):
        if self.kind == "tty":
            self.tell(line)
            self.hear(line)  # the terminal's echo: without a count behind it
        else:
            self.tell(line)
        return self.hear(line)


class Container:
    def __init__(self, name="box", runtime="runc", stdio="null", args=(), change=None, rootfs=None):
        self.runtime = os.environ[runtime.upper()]
        self.kind, self.name, self.stdio_kind = runtime, name, stdio
        self.dir = "%s/%s" % (WORK, name)
        self.root = rootfs or self.dir + "/rootfs"
        self.args = ["/bin/inmate", *map(str, args)]
        os.makedirs(self.dir)
        if not rootfs:
            make_rootfs(self.root)
        run(self.runtime, "spec", "--bundle", self.dir, quiet=True) if runtime == "runc" else run(self.runtime, "spec", "-b", self.dir, quiet=True)
        self.config = json.loads(text(self.dir + "/config.json"))
        self.configure()
        if change:
            change(self.config)
        self.write_config()
        self.stdio = None
        self.pid = 0

    def configure(self):
        c = self.config
        c["root"] = {"path": self.root, "readonly": False}
        c["process"].update(args=self.args, terminal=self.stdio_kind == "tty", cwd="/", env=["PATH=/bin", "WORD=word", "TERM=dumb"])
        c["process"]["capabilities"] = {k: CAPS for k in ("bounding", "effective", "permitted")}
        c["process"].pop("rlimits", None)
        c["hostname"] = "inside"
        c["linux"]["cgroupsPath"] = "/" + self.name

    def write_config(self):
        with open(self.dir + "/config.json", "w") as f:
            json.dump(self.config, f)

    def call(self, command, *words, **more):
        state = ["--root", WORK + "/state-runc"] if self.kind == "runc" else []  # crun 1.28 forgets a --root at its checkpoint
        return run(self.runtime, *state, *(["--log", self.dir + "/runtime.log"] if self.kind == "runc" else []), command, *words, **more)

    def _detached(self, command, *words, ok=True):
        """Runs a command that gives the container its standard input and output."""
        self.stdio = s = Stdio(self.stdio_kind)
        listener = None
        words = ["-d" if self.kind == "runc" or command == "restore" else "--detach", "--bundle", self.dir, "--pid-file", self.dir + "/pid", *words]
        if self.stdio_kind == "tty":
            path = "%s/console-%d" % (WORK, time.monotonic_ns())
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(30)
            words += ["--console-socket", path]
        status = self.call(command, *words, self.name, ok=None, **s.popen())[0]
        s.started()
        if ok:
            if status:
                raise Failed("%s: status %d: %s" % (command, status, self.why()))
            if listener:
                s.take_console(listener)
            self.pid = int(text(self.dir + "/pid"))
        return status

    def why(self):
        """What the runtime has said: its output is the container's."""
        said = text(self.dir + "/runtime.log")[-1500:]
        if self.stdio_kind == "pipe":
            while select.select([self.stdio.output], [], [], 0.1)[0]:
                more = os.read(self.stdio.output, 4096)
                if not more:
                    break
                said += more.decode()
        return said

    def start(self):
        self._detached("run")
        counts(self.inner())
        return self

    def inner(self):
        return "/proc/%d/root" % self.pid

    def counts(self):
        return counts(self.inner())

    def images(self, to):
        d = "%s/%s" % (self.dir, to)
        os.makedirs(d + "/work", exist_ok=True)
        return ["--image-path", d, "--work-path", d + "/work"]

    def checkpoint(self, to="cp", *words, **more):
        return self.call("checkpoint", *self.images(to), *words, self.name, **more)

    def restore(self, name="cp", *words, ok=True):
        status = self._detached("restore", *self.images(name), *words, ok=ok)
        if ok:
            self.counts()
        return status

    def state(self):
        status, out = self.call("state", self.name, ok=None, quiet=True)
        return "gone" if status else json.loads(out)["status"]

    def delete(self):
        if self.state() != "gone":
            self.call("delete", "-f", self.name)
        wait_for(lambda: not self.pid or not pid_alive(self.pid), "the container lives on after delete -f")

    def gone(self):
        wait_for(lambda: not pid_alive(self.pid), "the container's process has not ended")
        wait_for(lambda: self.state() in ("gone", "stopped"), "the container is %s" % self.state())

    def cgroup(self, controller="freezer"):
        for line in text("/proc/%d/cgroup" % self.pid).splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                return path
        return None


def both(function):
    """Registers a case with each runc."""
    case(needs="runc")(function)

    def with_1_3():
        function()
    CASES.append(("runc.%s_1_3" % function.__name__, with_1_3, {"needs": "runc", "sid": True}))
    return function


def through(c, *words, rounds=2, but=()):
    """Rounds of checkpoint and restore: the container is what it was, and its program counts on."""
    before = facts_of(c.pid)
    for n in range(rounds):
        counted = c.counts()
        c.checkpoint("cp%d" % n, *words)
        c.gone()
        check(c.state() == "gone", "after the checkpoint the container is %s", c.state())
        c.restore("cp%d" % n, *words)
        check(c.counts() > counted, "round %d: the inmate counts %d, after %d", n, count_of(c.inner()), counted)
        check(c.state() == "running", "round %d: the restored container is %s", n, c.state())
        same(before, facts_of(c.pid), "round %d" % n, but)
    return c
