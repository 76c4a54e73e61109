#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A tree that a freezer holds (docker pause, systemctl freeze), by version 1 or 2, its own cgroup or one above, is dumped
# without an option. Nothing of what is paused makes a step meanwhile, the freezer is as before, and images restore to
# running tasks. Victims and a stranger in the cgroup count their steps in a file that is mapped (commit_victim.c).
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import ctypes
import os
import random
import re
import subprocess
import time

from case import guardians, wait_for
from cgroups import Group
from driver import check, run_all, scenario, state_of, text, tree

STRESS = int(os.environ.get("PAUSED_ROUNDS", "1"))


def steps(path):
    with open(path, "rb") as f:
        return f.read(8)


def rests(path, when):
    """No step since the freezer was told."""
    was = steps(path)
    check(not wait_for(lambda: steps(path) != was, 0.05), "%s: it runs" % when)
    return was


def runs_on(path, when):
    was = steps(path)
    check(wait_for(lambda: steps(path) != was), "%s: it makes no step" % when)


def victim(s):
    if os.path.exists(s.path("told")):
        os.unlink(s.path("told"))
    s.victim("commit_victim")


class Stranger:
    """Another process in the paused cgroup."""

    def __init__(self, s):
        self.dir = s.path("stranger")
        os.mkdir(self.dir)
        self.proc = subprocess.Popen([os.path.join(os.environ["TESTS"], "commit_victim")], cwd=self.dir,
                                     stdin=subprocess.DEVNULL, start_new_session=True)
        self.told, self.pid = os.path.join(self.dir, "told"), self.proc.pid
        check(wait_for(lambda: os.path.exists(os.path.join(self.dir, "ready"))), "the stranger is not ready")

    def end(self):
        self.proc.kill()
        self.proc.wait()


def whole_way(s, outer, inner):
    """The victim is in inner, a stranger beside it; outer is frozen."""
    victim(s)
    other, told = Stranger(s), s.path("told")
    try:
        inner.add(s.pid)
        inner.add(other.pid)
        outer.freeze(True)
        mine, its = rests(told, "frozen"), rests(other.told, "frozen")

        def as_before(when):
            check(outer.frozen_itself() and wait_for(inner.frozen, 2), "%s: the cgroup is not frozen" % when)
            check(rests(told, when) == mine, "%s: the victim has made a step" % when)
            check(rests(other.told, when) == its, "%s: a stranger has made a step" % when)
            check("TracerPid:\t0" in text("/proc/%d/status" % other.pid), "%s: the stranger is traced" % when)

        s.dump("-R")
        as_before("after dump -R")
        s.clean_images()
        hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != post-dump\n')
        check(s.dump("--action-script", hook, ok=False) != 0, "the veto was not heard")
        as_before("after a veto")
        outer.freeze(False)
        runs_on(told, "thawed")
        runs_on(other.told, "thawed")
        outer.freeze(True)
        mine, its = rests(told, "frozen"), rests(other.told, "frozen")
        s.clean_images()
        s.dump()
        check(outer.frozen_itself(), "after the dump the cgroup is thawed")
        check(rests(other.told, "after the dump") == its and steps(told) == mine, "a step was made")
        outer.freeze(False)
        s.restore()
        runs_on(told, "restored")
        s.verify()
    finally:
        outer.freeze(False, wait=False)
        other.end()


@scenario
def version_1(s):
    with Group(1, s.dir.split("/")[-1]) as g:
        whole_way(s, g, g)


@scenario
def version_2(s):
    with Group(2, s.dir.split("/")[-1]) as g:
        whole_way(s, g, g)


@scenario
def ancestor_1(s):
    with Group(1, s.dir.split("/")[-1]) as g:
        whole_way(s, g, g.child("middle").child("below"))


@scenario
def ancestor_2(s):
    with Group(2, s.dir.split("/")[-1]) as g:
        whole_way(s, g, g.child("middle").child("below"))


@scenario
def both_levels(s):
    """The cgroup and the one above are frozen, each by itself: both stay so."""
    for version in (1, 2):
        with Group(version, "both") as g:
            victim(s)
            below = g.child("below")
            below.add(s.pid)
            below.freeze(True)
            g.freeze(True)
            was = rests(s.path("told"), "frozen")
            s.dump("-R")
            check(g.frozen_itself() and below.frozen_itself(), "version %d: one was thawed" % version)
            check(rests(s.path("told"), "after the dump") == was, "a step was made")
            g.freeze(False, wait=False)
            below.freeze(False)
            s.clean_images()
            s.verify()


@scenario
def refused(s):
    """What else is paused may be another's to trace: it could not be held, so nothing is thawed."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    for version in (1, 2):
        with Group(version, "refused") as g:
            victim(s)
            other = Stranger(s)
            g.add(s.pid)
            g.add(other.pid)
            try:
                check(ptrace(0x4206, other.pid, None, None) == 0, "PTRACE_SEIZE")
                g.freeze(True)
                mine = rests(s.path("told"), "frozen")
                check(s.dump("-R", ok=False) != 0, "it was not refused")
                check("traced by pid %d" % os.getpid() in text(s.path("imgs/dump.log")), s.errors("dump.log"))
                check(g.frozen() and rests(s.path("told"), "refused") == mine, "version %d: it was thawed" % version)
                g.freeze(False)
                s.verify()
            finally:
                g.freeze(False, wait=False)
                other.end()
                subprocess.run(["rm", "-rf", other.dir])


@scenario
def threads(s):
    """Threads of one process in cgroups of their own, some of them frozen."""
    for version in (1, 2):
        with Group(version, "threads") as g:
            s.victim("threads")
            g.add(s.pid)
            one, two = g.child("one"), g.child("two")
            if version == 2:
                one.write("cgroup.type", "threaded")
                two.write("cgroup.type", "threaded")
            tids = sorted(int(t) for t in os.listdir("/proc/%d/task" % s.pid))
            one.add_thread(tids[1])
            two.add_thread(tids[2])
            one.freeze(True)
            s.dump("-R")
            check(one.frozen_itself() and not two.frozen_itself(), "version %d: the cgroups are not as before" % version)
            one.freeze(False)
            s.clean_images()
            s.dump()
            s.restore()
            s.verify()
            s.clean_images()


def asked(s):
    open(s.path("ask"), "w").close()
    return wait_for(lambda: not os.path.exists(s.path("ask")))


@scenario
def killed(s):
    """Killed anywhere, the tool leaves the tree frozen and whole."""
    for version in (1, 2):
        with Group(version, "killed") as g:
            victim(s)
            other = Stranger(s)
            g.add(s.pid)
            g.add(other.pid)
            try:
                g.freeze(True)
                maps = text("/proc/%d/maps" % s.pid)
                for point in range(1, 100):
                    s.clean_images()
                    its = steps(other.told)
                    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-R", "-o", "dump.log", "-v4", "--test-kill-at", point)
                    log = text(s.path("imgs/dump.log"))
                    check(wait_for(lambda: not guardians()), "the guardian stays")
                    what = "version %d, killed at %d (%s)" % (
                        version, point, (re.findall("killed at fault point [0-9]+: (.*)", log) or ["end"])[0])
                    check(g.frozen_itself() and wait_for(g.frozen, 5), "%s: it is not frozen" % what)
                    rests(s.path("told"), what)
                    check(steps(other.told) == its, "%s: the stranger has made a step" % what)
                    check(text("/proc/%d/maps" % s.pid) == maps, "%s: the mappings are not as before" % what)
                    if s.rc == 0:
                        break
                    g.freeze(False)
                    runs_on(s.path("told"), what)
                    check(asked(s), "%s: no answer" % what)
                    g.freeze(True)
                check(s.rc == 0 and point > 8, "%d points" % point)
                g.freeze(False)
                s.verify()
            finally:
                g.freeze(False, wait=False)
                other.end()
                subprocess.run(["rm", "-rf", other.dir])


def killed_once(s, g, version, number, name):
    victim(s)
    other = Stranger(s)
    g.add(s.pid)
    g.add(other.pid)
    try:
        g.freeze(True)
        its = rests(other.told, "frozen")
        s.clean_images()
        s.dump("--test-kill-at", number, ok=False)
        check(s.rc < 0 and wait_for(lambda: not guardians()), "%s: it was not killed" % name)
        check(g.frozen_itself(), "version %d, killed at %s: the cgroup is thawed" % (version, name))
        if version == 2:
            check(rests(other.told, name) == its, "killed at %s: the stranger has made a step" % name)
        if name == "about to commit":
            rests(s.path("told"), name)
            g.freeze(False)
            s.verify()
            return
        g.freeze(False)
        s.gone()
        s.restore()
        runs_on(s.path("told"), "restored")
        s.verify()
    finally:
        g.freeze(False, wait=False)
        other.end()
        subprocess.run(["rm", "-rf", other.dir])


@scenario
def killed_at_commit(s):
    """Behind the commit the tree dies, and what else is paused stays so."""
    for version in (1, 2):
        with Group(version, "commit") as g:
            victim(s)
            g.add(s.pid)
            g.freeze(True)
            s.clean_images()  # an older checkpoint makes for other fault points
            s.dump("--test-kill-at", 100000)
            found = re.findall(r"fault point (\d+): (.*)", text(s.path("imgs/dump.log")))
            g.freeze(False)
            for number, name in found[[n for _, n in found].index("about to commit"):]:
                killed_once(s, g, version, number, name)


@scenario
def in_the_middle(s):
    """Frozen and thawed at any moment while dumps go on; each dump comes to an end, and hurts nothing."""
    for version in (1, 2):
        with Group(version, "middle") as g:
            victim(s)
            g.add(s.pid)
            for n in range(20 * STRESS):
                s.clean_images()
                p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-R", "-v4", "-o", "dump.log"],
                                     cwd=s.dir, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(random.random() * 0.02)
                g.freeze(True, wait=False)
                check(p.wait(30) == 0, "version %d, round %d: dump failed: %s" % (version, n, s.errors("dump.log")))
                g.freeze(False)
                runs_on(s.path("told"), "version %d, round %d" % (version, n))
                check(asked(s), "version %d, round %d: no answer" % (version, n))
            s.verify()


run_all()
