#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu restore as the first process of a new pid namespace (unshare -pf): what was criu is the init, for as long as the tree lives.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare nsenter
import contextlib
import os
import signal
import subprocess

from driver import check, children, reap, run_all, scenario, state_of, status_of, text, tree, wait_for

NEW = ("unshare", "-pf", "--mount-proc")

# A child whose parent has ended, which ends when it is told; words on signals.
PROGRAM = """
import contextlib, os, signal, sys, time
def said(word):
    with open("said.new", "w") as f:
        f.write(word)
    os.rename("said.new", "said")
def asked(sig, frame):
    said("signal %d" % sig)
    if sig == signal.SIGTERM:
        os._exit(7)
for sig in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
    signal.signal(sig, asked)
n = 0
open("ready", "w")
while True:
    if os.path.exists("orphan"):
        os.unlink("orphan")
        if not os.fork():
            if not os.fork():
                time.sleep(0.05)
                said("orphan %d" % os.getpid())
                os._exit(3)
            os._exit(0)
        os.wait()
    n += 1
    # No file that a second restore of the same images could miss.
    with contextlib.suppress(FileNotFoundError):
        os.unlink("n")
    with contextlib.suppress(FileExistsError):
        os.symlink("%d %d" % (n, os.getpid()), "n")
    time.sleep(0.01)
"""


def says(s):
    """What it says now, or in a moment, when it is about to say the next."""
    said = []

    def now():
        with contextlib.suppress(FileNotFoundError):
            said[:] = os.readlink(s.path("n")).split()
        return said
    wait_for(now)
    return said


def start(s):
    """The program, with numbers that are low, as those of criu will be."""
    with open(s.path("program.py"), "w") as f:
        f.write(PROGRAM)
    s.proc = subprocess.Popen(["python3", "program.py"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the program does not start")
    s.number = s.pid
    s.dump()
    s.proc = None


class Restored:
    """unshare, the init, criu below it, and the tree."""

    def __init__(self, s, *opts, committed=True, **kw):
        self.s = s
        s.log = s.path("imgs/restore.log")
        for f in s.log, s.path("n"), s.path("said"), s.path("imgs/stats-restore"):
            if os.path.lexists(f):
                with contextlib.suppress(FileNotFoundError):  # the program's own, in the middle of the next
                    os.unlink(f)
        self.p = subprocess.Popen([*NEW, s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log", *opts], cwd=s.dir,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  start_new_session=True, **kw)
        if committed:
            check(wait_for(lambda: os.path.lexists(s.path("n")) or self.p.poll() is not None) and self.p.poll() is None,
                  "status %s: %s" % (self.p.poll(), s.errors("restore.log")))
            self.find()
            check(wait_for(lambda: children(self.criu) == [self.root] and os.path.getsize(s.path("imgs/stats-restore"))
                           if os.path.exists(s.path("imgs/stats-restore")) else False), "criu is not done")

    def find(self):
        self.init = children(self.p.pid)[0]
        self.criu = [c for c in children(self.init) if text("/proc/%d/comm" % c) == "criu\n"][0]
        self.root = [c for c in children(self.criu) if self.number(c) == self.s.number][0]

    def number(self, pid):
        return int(status_of("/proc/%d/status" % pid)["NSpid"].split()[-1])

    def ends(self, status):
        pids = tree(self.p.pid)
        check(wait_for(lambda: self.p.poll() is not None), "unshare does not end: %s" % [(p, state_of(p)) for p in pids])
        check(self.p.returncode == status, "status %d, not %d" % (self.p.returncode, status))
        for p in pids:
            self.s.gone(p)


@scenario
def rounds(s):
    """The tree has its numbers, criu another one; dumped in there, restored in the next namespace."""
    start(s)
    for n in range(3):
        r = Restored(s)
        check(r.number(r.init) == 1 and r.number(r.root) == s.number, "init %d, root %d, not %d" % (r.number(r.init), r.number(r.root), s.number))
        check(r.number(r.criu) not in (1, s.number), "criu has %d" % r.number(r.criu))
        check(says(s)[1] == str(s.number), "it says %s" % says(s))
        check(children(r.init) == [r.criu], "the init has %s" % children(r.init))
        if n == 2:
            break
        s.clean_images()
        p = subprocess.run(["nsenter", "-t", str(r.init), "-p", "-m", s.criu, "dump", "-t", str(s.number), "-D", s.imgs, "-v4", "-o", "dump.log",
                            "-R"], capture_output=True, text=True)  # without -R the namespace, and this criu, would end with the tree
        check(p.returncode == 0, "dump: %d: %s" % (p.returncode, s.errors("dump.log")))
        os.kill(r.root, signal.SIGKILL)
        r.ends(0)
    os.kill(r.root, signal.SIGKILL)
    r.ends(0)


@scenario
def signals(s):
    """What is sent to the init reaches the program, also by way of criu's own restore; its end is the end of all."""
    start(s)
    r = Restored(s)
    for sig in signal.SIGHUP, signal.SIGINT:
        os.kill(r.init, sig)
        check(wait_for(lambda: text(s.path("said")) == "signal %d" % sig), "signal %d did not come: %r" % (sig, text(s.path("said"))))
    os.kill(r.init, signal.SIGUSR1)
    check(state_of(r.init) in "RSD", "SIGUSR1 ends the init")
    os.kill(r.init, signal.SIGTERM)
    r.ends(0)
    check(text(s.path("said")) == "signal 15", "it says %s" % text(s.path("said")))


@scenario
def orphans(s):
    """Of processes whose parents are gone the init has the ends."""
    start(s)
    r = Restored(s)
    for _ in range(20):
        open(s.path("orphan"), "w").close()
        check(wait_for(lambda: text(s.path("said")).startswith("orphan")), "no orphan")
        os.unlink(s.path("said"))
        check(wait_for(lambda: children(r.init) == [r.criu]), "the init has %s" % [(p, state_of(p)) for p in children(r.init)])
    os.kill(r.root, signal.SIGKILL)
    r.ends(0)


@scenario
def job_status(s):
    """--shell-job: the exit status of the program, or that of a signal."""
    start(s)
    r = Restored(s, "--shell-job")
    os.kill(r.root, signal.SIGTERM)
    r.ends(7)
    r = Restored(s, "--shell-job")
    os.kill(r.root, signal.SIGKILL)
    r.ends(128 + 9)


@scenario
def criu_is_killed(s):
    """After the commit the tree lives on below the init; before it nothing is left, and the images can be restored again."""
    start(s)
    r = Restored(s)
    os.kill(r.criu, signal.SIGKILL)
    check(wait_for(lambda: children(r.init) == [r.root]), "the init has %s" % children(r.init))
    n = int(says(s)[0])
    check(wait_for(lambda: int(says(s)[0]) > n + 3), "the program does not go on")
    os.kill(r.root, signal.SIGKILL)
    r.ends(128 + 9)
    for point in 1, 5, 8, 12:
        Restored(s, "--test-kill-at", str(point), committed=False).ends(128 + 9)
    s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ] || { echo > stands; exec sleep 100; }\n')
    for to_init in True, False:
        r = Restored(s, "--action-script", s.path("hook"), committed=False)
        check(wait_for(lambda: os.path.exists(s.path("imgs/stands")) or os.path.exists(s.path("stands"))), "the script was not run: " + s.errors("restore.log"))
        for f in "imgs/stands", "stands":
            if os.path.exists(s.path(f)):
                os.unlink(s.path(f))
        r.find()
        os.kill(r.init if to_init else r.criu, signal.SIGTERM)
        r.ends(128 + 15)
        check("SIGTERM: criu ends, and everything is taken back" in text(s.log), s.errors("restore.log"))
    r = Restored(s)
    os.kill(r.root, signal.SIGKILL)
    r.ends(0)


@scenario
def refused(s):
    """What would end with criu, or be other processes."""
    start(s)

    def no(words, *command):
        p = subprocess.run([*command, "-D", s.imgs, "-v4", "-o", "restore.log"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        check(p.returncode == 1 and words in s.errors("restore.log"), "status %d: %s" % (p.returncode, s.errors("restore.log")))
    no("--restore-detached: criu is the first process", *NEW, s.criu, "restore", "-d")
    no("as after unshare -p without -f", "unshare", "-p", s.criu, "restore", "-d")
    no("/proc is not that of criu's pid namespace", "unshare", "-pf", s.criu, "restore")
    r = Restored(s)
    with_criu = "nsenter", "-t", str(r.init), "-p", s.criu
    p = subprocess.run([*with_criu, "dump", "-t", str(s.number), "-D", s.path("."), "-o", "dump.log"], capture_output=True, text=True)
    check(p.returncode == 1 and "/proc is not that of criu's pid namespace" in text(s.path("dump.log")), text(s.path("dump.log")))
    reap()
    check(state_of(r.root) in "RSD", "the tree is %s" % state_of(r.root))
    os.kill(r.root, signal.SIGKILL)
    r.ends(0)


run_all()
