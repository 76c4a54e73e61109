# SPDX-License-Identifier: GPL-2.0-only
"""For tests that run the tool by themselves: a victim that sleeps, commands, and words for what is wrong.

    @scenario
    def pidfile(s): ...        # s: a Scenario with a running victim s.pid
    run_all()
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

from case import Failed, Skipped, wait_for
from snapshot import Allowed, Snapshot, children, differences, state_of, status_of, text, tree  # noqa: F401

HERE = os.environ["ZDTM"]
TOP = os.getcwd()
_scenarios = []


def scenario(fn):
    _scenarios.append(fn)
    return fn


class Scenario:
    """A directory, a victim in it (the program `sleeping`), and the tool."""

    def __init__(self, name):
        self.dir = os.path.join(TOP, name)
        self.imgs = os.path.join(self.dir, "imgs")
        os.makedirs(self.imgs)
        os.chmod(self.dir, 0o777)  # a victim may give up being root
        self.criu = os.environ["CRIU"]
        self.proc = None
        self.pid = None
        self.rc = None
        self.out = ""

    def path(self, name):
        return os.path.join(self.dir, name)

    def victim(self, program="sleeping", args=(), **kw):
        for n in ("ready", "verify", "result", "ask"):
            if os.path.exists(self.path(n)):
                os.unlink(self.path(n))
        with open(self.path("victim.out"), "a") as out:
            kw.setdefault("stdin", subprocess.DEVNULL)
            kw.setdefault("stdout", out)
            kw.setdefault("stderr", out)
            kw.setdefault("start_new_session", True)
            self.proc = subprocess.Popen([os.path.join(os.environ["TESTS"], program), *args], cwd=self.dir, **kw)
        self.pid = self.proc.pid
        if not wait_for(lambda: os.path.exists(self.path("ready"))):
            raise Failed("the victim is not ready")
        time.sleep(0.03)  # until everybody sleeps
        return self.pid

    def tool(self, *args, env=None, timeout=120, **kw):
        """Runs the tool; self.rc and self.out (both streams) are what came of it."""
        e = dict(os.environ, **(env or {}))
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("cwd", self.dir)
        try:
            p = subprocess.run([self.criu, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=e,
                               timeout=timeout, text=True, errors="replace", **kw)
        except subprocess.TimeoutExpired:
            raise Failed("criu %s hangs" % " ".join(map(str, args)))
        self.rc, self.out = p.returncode, p.stdout
        return self.rc

    def dump(self, *opts, ok=True, **kw):
        self.tool("dump", "-t", self.pid, "-D", self.imgs, "-v4", "-o", "dump.log", *opts, **kw)
        if ok and self.rc:
            raise Failed("dump %s failed (%d): %s" % (" ".join(map(str, opts)), self.rc, self.errors("dump.log")))
        if ok and not any(o in opts for o in ("-R", "--leave-running", "-s", "--leave-stopped")):
            self.gone()
        return self.rc

    def restore(self, *opts, ok=True, **kw):
        self.tool("restore", "-d", "-D", self.imgs, "-v4", "-o", "restore.log", *opts, **kw)
        if ok and self.rc:
            raise Failed("restore %s failed (%d): %s" % (" ".join(map(str, opts)), self.rc, self.errors("restore.log")))
        if self.rc == 0:
            self.proc = None
        return self.rc

    def errors(self, log, work=None):
        lines = text(os.path.join(work or self.imgs, log)).splitlines() + self.out.splitlines()
        return " | ".join([s for s in lines if "Error" in s][-6:] or lines[-4:])

    def gone(self, pid=None):
        pid = pid or self.pid

        def is_gone():
            reap()
            if self.proc:
                self.proc.poll()
            return state_of(pid) == "gone"
        if not wait_for(is_gone):
            raise Failed("pid %d is still there (%s)" % (pid, state_of(pid)))

    def kill(self):
        """All of the tree; no number of it is taken afterwards, as far as it is for us to reap."""
        pids = tree(self.pid)
        for p in reversed(pids):
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        self.gone()

        def have_ended():
            reap()
            ours = children(os.getpid())
            return all(state_of(p) == "gone" or (state_of(p) == "Z" and p not in ours) for p in pids if p != self.pid)
        if not wait_for(have_ended):
            raise Failed("of the tree that was killed there are still %s" % [(p, state_of(p)) for p in pids])

    def verify(self):
        """The victim looks at itself, says PASS and ends."""
        open(self.path("verify"), "w").close()
        self.gone()
        said = text(self.path("result")).strip().splitlines()
        if not said or said[-1] != "PASS" or any(w.startswith("FAIL") for w in said):
            raise Failed("the victim says %r" % said)
        for n in ("verify", "result"):
            os.unlink(self.path(n))

    def same(self, before, when, extra=()):
        d = differences(before, Snapshot(self.pid), Allowed(os.path.join(HERE, "allowed-differences"), extra))
        if d:
            raise Failed("%s: %s" % (when, "; ".join(d[:6])))

    def clean_images(self):
        shutil.rmtree(self.imgs)
        os.mkdir(self.imgs)

    def images(self):
        return sorted(n for n in os.listdir(self.imgs) if n.endswith(".img") or n == "checkpoint.sums")

    def script(self, name, body):
        with open(self.path(name), "w") as f:
            f.write("#!/bin/sh\n" + body)
        os.chmod(self.path(name), 0o755)
        return self.path(name)


def check(cond, words):
    if not cond:
        raise Failed(words)


def reap():
    for pid in children(os.getpid()):
        if state_of(pid) == "Z" and not any(s.proc and s.proc.pid == pid for s in _live):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


_live = []


def passed_over(what, why):
    """A part that cannot be tested on this machine: the runner lists it."""
    with open(os.path.join(TOP, "result"), "a") as result:
        result.write("PASSED OVER %s: %s\n" % (what, why))


def rounds_wanted(n):
    """--rounds, or so many."""
    return int(os.environ.get("ROUNDS") or n)


def need(*programs):
    """For a scenario: these are installed."""
    for n in programs:
        if not shutil.which(n):
            raise Skipped("needs " + n)


def run_all():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # restored tasks come to us
    only = sys.argv[1:]
    with open(os.path.join(TOP, "result"), "a", buffering=1) as result:
        for fn in _scenarios:
            if only and fn.__name__ not in only:
                continue
            s = Scenario(fn.__name__)
            _live[:] = [s]
            began = time.monotonic()
            try:
                fn(s)
                print("ok %s  %.2f s" % (fn.__name__, time.monotonic() - began), flush=True)
            except Skipped as e:
                passed_over(fn.__name__, e)
            except Failed as e:
                result.write("FAIL %s: %s\n" % (fn.__name__, e))
            except Exception:
                result.write("FAIL %s: %s\n" % (fn.__name__, traceback.format_exc().replace("\n", " | ")))
            for p in [p for c in children(os.getpid()) for p in tree(c)]:
                try:
                    os.kill(p, signal.SIGKILL)
                except OSError:
                    pass
            s.proc = None
            wait_for(lambda: reap() or not children(os.getpid()))
        result.write("PASS\n")
