#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Several time namespaces in one tree: tasks in others than the root task, some that only a descriptor or the children to come
# have, one whose processes left the tree below the task that made it. After each of three rounds, under tools whose own clocks
# are elsewhere, each is in the one where it was, with the clocks where they were, and timers expire in time.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare
import ctypes
import json
import os
import re
import subprocess

from driver import Skipped, check, need, rounds_wanted, run_all, scenario, text, tree, wait_for

ROUNDS, AHEAD, SLACK = rounds_wanted(3), 900000, 60

# The root task, and below it processes that each say where they are when the file "ask" counts on.
VICTIM = r"""
import ctypes, json, os, select, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
NEWTIME = 0x80
def unshare(seconds):
    if libc.unshare(NEWTIME): raise OSError(ctypes.get_errno(), "unshare")
    if seconds is not None: offsets(seconds)
def offsets(seconds):
    with open("/proc/self/timens_offsets", "w") as f: f.write("monotonic %d 500\nboottime %d 0\n" % (seconds, 2 * seconds))
def inode(pid, name): return os.stat("/proc/%s/ns/%s" % (pid, name)).st_ino
def may_write():
    if inode("self", "time") == inode("self", "time_for_children"): return False
    try:
        with open("/proc/self/timens_offsets", "w") as f: f.write("monotonic 4444 500\n")
    except OSError: return False
    return True
class Timer:
    # Expires a second after it was looked at, at a time of the namespace's clock.
    def arm(self):
        self.at = time.clock_gettime(time.CLOCK_MONOTONIC) + 1
        self.fd = libc.timerfd_create(1, 0o4000)
        spec = (ctypes.c_long * 4)(0, 0, int(self.at), int(self.at % 1 * 1e9))
        assert libc.timerfd_settime(self.fd, 1, spec, None) == 0
    def state(self):
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        try: n = int.from_bytes(os.read(self.fd, 8), "little")
        except BlockingIOError: n = 0
        if n: os.close(self.fd); late = now - self.at; self.arm(); return late
        return -1 if now < self.at + 5 else 1000
def live(name, fd=-1):
    timer, asked = Timer(), None
    timer.arm()
    late = []
    while True:
        now = open("ask").read()
        state = timer.state()
        if state >= 0: late.append(state)
        if now != asked:
            asked = now
            said = {"own": inode("self", "time"), "children": inode("self", "time_for_children"), "late": max(late, default=0),
                    "mono": time.clock_gettime(time.CLOCK_MONOTONIC), "boot": time.clock_gettime(time.CLOCK_BOOTTIME), "real": time.time(),
                    "fd": os.fstat(fd).st_ino if fd >= 0 else 0, "offsets": open("/proc/self/timens_offsets").read(), "ppid": os.getppid(),
                    "writes": may_write() if now == "last" else None}
            late = []
            with open("said.%s.new" % name, "w") as f: json.dump(said, f)
            os.rename("said.%s.new" % name, "said.%s.%s" % (name, now))
        time.sleep(0.02)
def child(name, fn):
    if os.fork() == 0:
        try: fn(name)
        except BaseException as e: open("error." + name, "w").write(repr(e))
        os._exit(1)
def moved(seconds):
    def fn(name):
        unshare(seconds)
        live(name) if os.fork() == 0 else live(name + ".waits")
    return fn
def back(name):
    # Below one that is elsewhere, in the root task's again.
    own = os.open("/proc/self/ns/time", os.O_RDONLY)
    unshare(2000)
    if os.fork(): live(name + ".waits")
    if libc.setns(own, NEWTIME): raise OSError("setns")
    os.close(own)
    live(name)
def inside(name):
    # In one of its own, and its children in a third.
    unshare(3000)
    if os.fork(): os._exit(0)
    unshare(3500)
    live(name)
def empty(name):
    unshare(4000)
    live(name)
def far(name):
    # Two below the root task, whose children left: a daemon.
    unshare(5000)
    if os.fork() == 0:
        if os.fork(): os._exit(0)
        os.setsid()
        while os.getppid() != root: time.sleep(0.001)
        child(name + ".child", live)
        live(name + ".daemon")
    live(name)
def held(name):
    pid = os.fork()
    if pid == 0:
        unshare(6000)
        signal.pause()
    while inode(pid, "time_for_children") == inode(pid, "time"): time.sleep(0.001)
    fd = os.open("/proc/%d/ns/time_for_children" % pid, os.O_RDONLY)
    while "6000" not in open("/proc/%d/timens_offsets" % pid).read(): time.sleep(0.001)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    live(name, fd)
root = os.getpid()
libc.prctl(36, 1)
signal.signal(signal.SIGCHLD, signal.SIG_IGN) if "reaps" in sys.argv else None
parts = {"first": moved(1000), "second": moved(-1), "back": back, "inside": inside, "empty": empty, "far": far, "held": held}
for name, fn in parts.items():
    child(name, fn)
if "root" in sys.argv:
    unshare(7000)
    child("of-root", live)
live("root")
"""
NAMES = ["root", "first", "first.waits", "second", "second.waits", "back", "back.waits", "inside", "empty", "far", "far.daemon",
         "far.child", "held"]


def ask(s, word, names):
    with open(s.path("ask.new"), "w") as f:
        f.write(word)
    os.rename(s.path("ask.new"), s.path("ask"))
    said = {}
    for n in names:
        name = s.path("said.%s.%s" % (n, word))
        errors = [text(s.path(e)) for e in os.listdir(s.dir) if e.startswith("error.")]
        check(wait_for(lambda: os.path.exists(name)), "%s does not answer: %s" % (n, errors or text(s.path("victim.out"))))
        with open(name) as f:
            said[n] = json.load(f)
    return said


def pattern(said):
    """Which are in the same ones, and whose children are."""
    seen, out = {}, []
    for n in sorted(said):
        for what in "own", "children", "fd":
            out.append((n, what, seen.setdefault(said[n][what], len(seen)) if said[n][what] else None))
    return out


def clocks_go_on(before, after, when):
    for n in before:
        passed = after[n]["real"] - before[n]["real"]
        for clock in "mono", "boot":
            moved = after[n][clock] - before[n][clock]
            check(0 <= moved <= passed + 0.5, "%s: the %s clock of %s moved by %f s in %f s" % (when, clock, n, moved, passed))
        check(after[n]["late"] < SLACK, "%s: a timer of %s was %f s late" % (when, n, after[n]["late"]))
    for n in before:
        for clock in "mono", "boot":
            was, now = (said[n][clock] - said["root"][clock] - said[n]["real"] + said["root"]["real"] for said in (before, after))
            check(abs(was - now) < 0.05, "%s: the %s clock of %s was %f s ahead of the root task's, and is %f s" % (when, clock, n, was, now))


def ahead(s):
    return s.script("ahead", 'exec unshare -T --monotonic=%d --boottime=%d "$CRIU" "$@"\n' % (AHEAD, AHEAD))


def need_time_ns():
    if not os.path.exists("/proc/self/ns/time"):
        raise Skipped("this kernel has no time namespaces")


def start(s, *args, enter=()):
    need_time_ns()
    with open(s.path("victim.py"), "w") as f:
        f.write(VICTIM)
    for name in os.listdir(s.dir):
        if name.startswith(("said.", "error.")):
            os.unlink(s.path(name))
    with open(s.path("ask"), "w") as f:
        f.write("first")
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen([*enter, "python3", "victim.py", *args], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid


def rounds(s, names, tools):
    ask(s, "early", names)
    before = ask(s, "before", names)
    offsets = {n: re.findall(r"-?\d+", before[n]["offsets"]) for n in names}
    tool = s.criu
    for n in range(ROUNDS):
        for what, how in zip(("dump", "restore"), tools):
            s.criu = how or tool
            getattr(s, what)()
        after = ask(s, "round-%d" % n, names)
        check(pattern(after) == pattern(before), "round %d: %s, before %s" % (n, pattern(after), pattern(before)))
        clocks_go_on(before, after, "round %d" % n)
        parents = [{m: said[m]["ppid"] for m in names} for said in (before, after)]
        check(parents[0] == parents[1], "other parents: %s" % parents)
        before = after
        s.clean_images()
    check(len({tuple(o) for o in offsets.values()}) > 5, "the victim is in few namespaces: %s" % offsets)
    last = ask(s, "last", names)
    writes = {n for n in names if last[n]["writes"]}
    check(writes == {"inside", "empty"}, "these may write offsets: %s" % writes)
    s.criu = tool
    s.kill()


@scenario
def several(s):
    for tools in ((None, None), (None, ahead(s)), (ahead(s), None)):
        start(s)
        rounds(s, NAMES, tools)


@scenario
def roots_children(s):
    """Those of the root task are born elsewhere."""
    start(s, "root")
    rounds(s, [*NAMES, "of-root"], (None, ahead(s)))


@scenario
def first_of_pids(s):
    """The root task is the first process of a pid namespace, from which its time namespace came as well."""
    start(s, "root", enter=("unshare", "-T", "--monotonic=77777", "-pf", "--mount-proc", "--kill-child", "setsid"))
    ask(s, "early", NAMES)
    outer, s.pid = s.pid, [p for p in tree(s.pid) if p != s.pid][0]
    before = ask(s, "before", NAMES)
    for n in range(ROUNDS):
        s.dump()
        s.restore("--pidfile", "pid")
        s.pid = int(text(os.path.join(s.imgs, "pid")))
        after = ask(s, "round-%d" % n, NAMES)
        check(pattern(after) == pattern(before), "round %d: %s, before %s" % (n, pattern(after), pattern(before)))
        clocks_go_on(before, after, "round %d" % n)
        before = after
        s.clean_images()
    s.kill()
    check(outer, "no process")


OWNED = r"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
stays = "stays" in sys.argv
def own(seconds):
    if os.fork(): return
    assert libc.unshare(0x10000000) == 0
    open("/proc/self/setgroups", "w").write("deny")
    open("/proc/self/uid_map", "w").write("0 %d 1" % uid)
    open("/proc/self/gid_map", "w").write("0 %d 1" % gid)
    assert libc.unshare(0x80) == 0
    open("/proc/self/timens_offsets", "w").write("monotonic %d 0" % seconds)
    if os.fork(): time.sleep(100000) if stays else os._exit(0)
    while True:
        with open("owned.new", "w") as f: f.write("%d %f" % (os.getpid(), time.monotonic()))
        os.rename("owned.new", "owned")
        time.sleep(0.01)
uid, gid = os.getuid(), os.getgid()
libc.prctl(36, 1)
own(9000)
time.sleep(100000)
"""


def start_owned(s, *args):
    with open(s.path("victim.py"), "w") as f:
        f.write(OWNED)
    s.proc = subprocess.Popen(["python3", "victim.py", *args], cwd=s.dir, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("owned"))), "it says nothing")


def owned_rounds(s, *args):
    need_time_ns()
    start_owned(s, *args)

    def says():
        if os.path.exists(s.path("owned")):
            os.unlink(s.path("owned"))
        check(wait_for(lambda: os.path.exists(s.path("owned"))), "it says nothing")
        pid, now = text(s.path("owned")).split()
        return int(pid), float(now)

    def owner(pid):
        libc = ctypes.CDLL(None)
        fd = os.open("/proc/%d/ns/time" % pid, os.O_RDONLY)
        user = libc.ioctl(fd, 0xb701)
        same = os.fstat(user).st_ino == os.stat("/proc/%d/ns/user" % pid).st_ino
        os.close(user)
        os.close(fd)
        return same

    pid, before = says()
    check(owner(pid), "it is not its own")
    for n in range(ROUNDS):
        s.dump()
        s.restore()
        pid, now = says()
        check(owner(pid), "round %d: its time namespace is another's" % n)
        check(before <= now < before + SLACK, "round %d: the clock went from %f to %f" % (n, before, now))
        before = now
        s.clean_images()
    s.kill()


@scenario
def owned(s):
    """It belongs to a user namespace, whose root may enter it afterwards as before."""
    owned_rounds(s)


@scenario
def owned_by_maker(s):
    """The same, and the process that made it for its children is there, in that user namespace."""
    owned_rounds(s, "stays")


@scenario
def slow_children(s):
    """They begin late, while their maker is worked on. (strace, which delays them, is why none can be seized in the end.)"""
    need("strace")
    need_time_ns()
    start_owned(s, "stays")
    s.dump()
    s.proc = None
    slow = ["strace", "-f", "-o", os.devnull, "-e", "trace=rt_sigprocmask", "-e", "inject=rt_sigprocmask:delay_enter=30000"]
    said = subprocess.run([*slow, s.criu, "restore", "-d", "-D", s.imgs], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True).stderr
    check("PTRACE_SEIZE" in said and "recvmsg" not in said, said)
    s.gone()
    s.restore()
    s.kill()


@scenario
def killed(s):
    """At each fault point of a restore: nothing is left, and the images are good."""
    start(s)
    ask(s, "before", NAMES)
    s.dump()
    s.proc = None
    for point in range(1, 500, 7):
        s.restore("--test-kill-at", str(point), ok=False)
        if s.rc >= 0:
            break
        if "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            s.kill()
        s.gone()
    check(point > 20, "it ended at point %d: %s" % (point, s.out))
    ask(s, "after", NAMES)
    s.kill()


run_all()
