#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The zoo: one process (and the few children that some kinds need) which holds one of each kind of descriptor, checked
# from inside after each round of dump and restore; and from outside nothing may grow from round to round: descriptors,
# mappings, memory, processes, mounts, files, sockets. 3 rounds, with --stress 100. The kinds are in lib/zoo_*.py.
#
# ZOO=Udp,Tcp: only these; ZOO=-Udp: all but these; ZOO_DRY=1: without the tool; ZOO_ROUNDS=N.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
# zdtm: timeout 900
import ctypes
import glob
import json
import os
import signal
import subprocess
import sys
import time
import traceback

from zoo_base import ANIMALS, Absent
import zoo_files  # noqa: F401
import zoo_mixed  # noqa: F401
import zoo_hostile  # noqa: F401
import zoo_sockets  # noqa: F401

# Of what cannot be saved (yet).
NOT_YET = ("UnixPendingData",)  # refused: nobody can read it before it is accepted
MANY = 50  # rounds, for what can only be seen over many


def wanted(name):
    words = [w for w in os.environ.get("ZOO", "").split(",") if w]
    if any(not w.startswith("-") for w in words):
        return name in words
    return (name not in NOT_YET or bool(os.environ.get("ZOO_DRY"))) and "-" + name not in words


class Zoo:
    """The process that is dumped."""

    def __init__(self):
        self.kids, self.absent, self.animals = [], [], []
        for cls in ANIMALS:
            if not wanted(cls.__name__):
                continue
            a = cls(self)
            try:
                a.setup()
                self.animals.append(a)
            except Absent as e:
                self.absent.append((cls.__name__, str(e)))

    def each(self, what):
        fails = []
        for a in self.animals:
            try:
                getattr(a, what)()
            except Exception as e:
                where = traceback.extract_tb(e.__traceback__)[-1]
                fails.append("%s.%s: %s (%s:%d)" % (type(a).__name__, what, e, os.path.basename(where.filename), where.lineno))
        return fails

    def live(self):
        fails = self.each("fill")
        self.say("ready", {"fails": fails, "absent": self.absent, "animals": len(self.animals)})
        while not os.path.exists("verify"):
            if os.path.exists("ask"):
                fails = self.each("check")
                fails += self.each("fill")
                os.unlink("ask")
                self.say("answer", {"fails": fails})
            time.sleep(0.005)
        for pid in self.kids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with open("result", "a") as f:
            f.write("PASS\n")

    def say(self, name, what):
        with open(name + ".tmp", "w") as f:
            json.dump(what, f)
        os.rename(name + ".tmp", name)


if "ROLE" in os.environ:
    Zoo().live()
    sys.exit(0)

from driver import check, passed_over, rounds_wanted, run_all, scenario, state_of, status_of, text, tree, wait_for  # noqa: E402
from left import Made  # noqa: E402


def count(path):
    return len(text(path).splitlines())


def kilobytes(pid, key):
    return int(status_of("/proc/%d/status" % pid).get(key, "0").split()[0])


def measure(pid, look):
    """What may not grow. Several looks: something may just be on its way out."""
    return {k: min(v) for k, v in merged([look(pid) for _ in range(3) if not time.sleep(0.02)]).items()}


def merged(looks):
    return {k: [x[k] for x in looks] for k in looks[0]}


def look(root):
    out = {"processes": sum(n.isdigit() for n in os.listdir("/proc")), "mounts": count("/proc/self/mountinfo"),
           "mounts of the tree": count("/proc/%d/mountinfo" % root),
           "segments": count("/proc/sysvipc/shm"),
           "files of the zoo": len(os.listdir("/proc/%d/cwd/" % root)),
           "descriptors of ours": len(os.listdir("/proc/self/fd")), "devices": count("/proc/net/dev"),
           "sockets": int(text("/proc/net/sockstat").split()[2])}
    for n in ("unix", "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "packet", "netlink"):
        out["sockets in /proc/net/" + n] = count("/proc/net/" + n)
    for i, pid in enumerate(tree(root)):
        if state_of(pid) == "Z":
            continue
        out["descriptors of task %d" % i] = len(os.listdir("/proc/%d/fd" % pid))
    out["tasks"] = i + 1
    return out


def memory(root):
    """Of tasks that sleep: what an interpreter takes while it works is its own affair."""
    out = {}
    for i, pid in enumerate(p for p in tree(root) if state_of(p) != "Z"):
        out["mappings of task %d" % i] = count("/proc/%d/maps" % pid)
        for k in ("VmSize", "VmRSS", "RssAnon"):
            out["%s of task %d" % (k, i)] = kilobytes(pid, k)
    return out


def growth(before, now, when):
    out = []
    for k in sorted(set(before) | set(now)):
        a, b = before.get(k, 0), now.get(k, 0)
        if b > a + (512 if k.startswith(("VmRSS", "RssAnon")) else 0):
            out.append("%s: %d %s, %d now" % (k, a, when, b))
    return out


def files_left(made):
    return set(made.left() + glob.glob("/dev/shm/*"))


def open_files():
    return min(int(text("/proc/sys/fs/file-nr").split()[0]) for _ in range(5) if not time.sleep(0.02))


def ask(s, when):
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("answer"))), "%s: the zoo does not answer" % when)
    said = json.loads(text(s.path("answer")))
    os.unlink(s.path("answer"))
    check(not said["fails"], "%s: %s" % (when, "; ".join(said["fails"])))


def one_round(s, when):
    s.clean_images()
    before = measure(s.pid, memory)
    s.dump("--file-locks")
    s.restore("--file-locks")
    grown = growth(before, measure(s.pid, memory), "before the dump")
    check(not grown, "%s: %s" % (when, "; ".join(grown)))


def many_rounds(s, numbers, first):
    """Returns how many files of the machine were open after the first of them, and what there was (or `first`)."""
    files = None
    for i in numbers:
        when = "round %d" % (i + 1)
        if not os.environ.get("ZOO_DRY"):
            one_round(s, when)
        ask(s, when)
        now = measure(s.pid, look)
        grown = growth(first or now, now, "after the first round")
        check(not grown, "%s: %s" % (when, "; ".join(grown)))
        first = first or now
        files = files or open_files()
    return files, first


@scenario
def rounds(s):
    n = int(os.environ.get("ZOO_ROUNDS") or rounds_wanted(100 if os.environ.get("STRESS") else 3))
    made = Made()
    s.victim(os.path.abspath(__file__), env=dict(os.environ, ROLE="zoo"))
    said = json.loads(text(s.path("ready")))
    check(not said["fails"], "setting up: " + "; ".join(said["fails"]))
    for what, why in said["absent"]:
        passed_over(what, why)
    ask(s, "before the first dump")
    names = files_left(made)
    files, first = many_rounds(s, range(n), None)
    # A file lost in each round stays. Others may use the machine: if they have opened as many, they do not so again.
    if n >= MANY and not wait_for(lambda: open_files() - files < n):
        files, _ = many_rounds(s, range(n, 2 * n), first)
        check(wait_for(lambda: open_files() - files < n),
              "the machine has %d more open files after %d rounds" % (open_files() - files, n))
    check(wait_for(lambda: not files_left(made) - names), "left: %r" % (files_left(made) - names))
    s.verify()


if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
    with open("result", "w") as out:
        out.write("SKIP no network namespace: %s\n" % os.strerror(ctypes.get_errno()))
    sys.exit(77)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
run_all()
