#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What a cgroup is, beside who is in it: owner, mode, properties, groups below it. Each mode of --manage-cgroups, and what
# a failed restore takes back.
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import time

from case import Skipped
from cgroup_groups import Groups, end, paths, shell_tree, write
from driver import check, passed_over, reap, run_all, scenario, state_of, text, wait_for

# Values that are not the kernel's own, for each hierarchy; those that a kernel does not have are passed over.
VALUES = {
    "pids": {"pids.max": "321", "notify_on_release": "1"},
    "cpu": {"cpu.shares": "512", "cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "40000", "cpu.cfs_burst_us": "1000"},
    "memory": {"memory.limit_in_bytes": str(256 << 20), "memory.memsw.limit_in_bytes": str(300 << 20),
               "memory.soft_limit_in_bytes": str(200 << 20), "memory.swappiness": "13", "memory.oom_control": "1"},
    "cpuset": {"cpuset.cpus": "0", "cpuset.memory_migrate": "1", "cpuset.sched_load_balance": "0"},
    "blkio": {"blkio.bfq.weight": "321"},
    "freezer": {},
    "": {"cgroup.max.depth": "7", "cgroup.max.descendants": "77"},
}
DEVICES = ["c 1:3 rwm", "c 1:5 r", "b *:* m"]


def state(top):
    """Of each directory below: owner, mode, and what all files of VALUES say."""
    found = {}
    for path, dirs, files in os.walk(top):
        names = [f for f in files if any(f in v for v in VALUES.values()) or f in ("devices.list", "cgroup.type")]
        for f in ["."] + names + [n for n in ("cgroup.procs", "tasks") if n in files]:
            st = os.stat(os.path.join(path, f))
            value = text(os.path.join(path, f)) if f in names else None
            found[os.path.relpath(os.path.join(path, f), top)] = (st.st_uid, st.st_gid, oct(st.st_mode), value)
    return found


def same(top, before, when):
    now = state(top)
    for name in sorted(set(now) | set(before)):
        check(now.get(name) == before.get(name), "%s: %s/%s was %s, is %s" % (when, top, name, before.get(name), now.get(name)))


def filled(name):
    """top, top/a (a task), top/a/deep (none), top/empty/deeper (none)."""
    g = Groups(name)
    for below in ("a", "a/deep", "empty", "empty/deeper"):
        os.mkdir(os.path.join(g.top, below))
        if name == "cpuset":
            g.fill(os.path.join(g.top, below))
    if name == "cpuset":
        write(g.top + "/a/deep/cpuset.cpus", "0")
    for below in ("a", "empty/deeper"):
        path = os.path.join(g.top, below)
        os.chown(path, 1234, 4321)
        os.chmod(path, 0o750)
        for f in ("cgroup.procs", "tasks"):
            if os.path.exists(os.path.join(path, f)):
                os.chown(os.path.join(path, f), 1234, 0)
                os.chmod(os.path.join(path, f), 0o664)
        for f, value in VALUES[name].items():
            if os.path.exists(os.path.join(path, f)):
                write(os.path.join(path, f), value)
    return g


def dumped(s, names, *opts):
    groups = [filled(n) for n in names]
    pids = shell_tree(s)
    for g in groups:
        write(os.path.join(g.top, "cgroup.procs"), pids[0])
        write(os.path.join(g.top, "a/cgroup.procs"), pids[1])
        write(os.path.join(g.top, "a/cgroup.procs"), pids[2])
    before = [state(g.top) for g in groups], {p: paths(p) for p in pids}
    try:
        s.dump(*opts)
    except BaseException:
        s.kill()
        for g in groups:
            g.remove()
        raise
    return groups, before


def is_back(groups, before, when="after the restore"):
    for g, was in zip(groups, before[0]):
        same(g.top, was, when)
    for pid, was in before[1].items():
        check(paths(pid) == was, "pid %d was in %s, and is in %s" % (pid, was, paths(pid)))


def cleaned(groups):
    for g in groups:
        if os.path.isdir(g.top):
            g.remove()


def usable():
    found = []
    for name in VALUES:
        try:
            g = Groups(name)
            g.remove()
            found.append(name)
        except Skipped as e:
            passed_over("hierarchy %r" % name, e)
    return found


@scenario
def all_come_back(s):
    """Three rounds, in all hierarchies at once, the groups being gone each time."""
    groups, before = dumped(s, usable())
    try:
        for n in range(3):
            for g in groups:
                g.remove()
            s.restore()
            is_back(groups, before, "round %d" % n)
            if n < 2:
                s.clean_images()
                s.dump()
        s.kill()
    finally:
        cleaned(groups)


@scenario
def devices(s):
    """Denied are all, then the list is allowed; what is below a group has no more than it."""
    g = Groups("devices")
    pids = shell_tree(s)
    try:
        os.mkdir(g.top + "/e")
        write(g.top + "/e/devices.deny", "a")
        for line in DEVICES:
            write(g.top + "/e/devices.allow", line)
        os.mkdir(g.top + "/e/none")
        write(g.top + "/e/none/devices.deny", "a")
        for p in pids:
            g.add("e", p)
        before = state(g.top + "/e")
        s.dump()
        g.remove()
        s.restore()
        same(g.top + "/e", before, "after the restore")
        s.kill()
    finally:
        cleaned([g])


def fails(s, *opts):
    hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != post-restore\n')
    s.proc = None
    check(s.restore("--action-script", hook, *opts, ok=False) != 0, "the veto was not heard")
    s.gone()


def spoiled(groups):
    """Other values in the groups that are there; what state() says of them."""
    for g in groups:
        if g.name == "pids":
            write(g.top + "/a/pids.max", "55")
        if g.name == "memory":
            write(g.top + "/a/memory.memsw.limit_in_bytes", str(800 << 20))
            write(g.top + "/a/memory.limit_in_bytes", str(700 << 20))
        os.chmod(g.top + "/a", 0o700)
    return [state(g.top) for g in groups]


@scenario
def soft_leaves_existing(s):
    groups, before = dumped(s, ["pids", "memory"])
    try:
        was = spoiled(groups)
        os.rmdir(groups[0].top + "/empty/deeper")
        s.restore()
        now = state(groups[0].top)
        check(now["a/pids.max"] == was[0]["a/pids.max"], "pids.max of a group that existed is %s" % (now["a/pids.max"],))
        check(now["empty/deeper/pids.max"] == before[0][0]["empty/deeper/pids.max"], "of a new one it is not back")
        same(groups[1].top, was[1], "soft")
        s.kill()
    finally:
        cleaned(groups)


def killed_too(s, groups, was, mode):
    """At some of its points, those where a property has just been written among them."""
    s.proc = None
    for point in range(2, 300, 3):
        s.tool("restore", "-d", "-D", s.imgs, "-o", "kill.log", "-v4", "--manage-cgroups=" + mode, "--test-kill-at", point)
        if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "kill.log")):
            return
        s.gone()
        check(wait_for(lambda: [state(g.top) for g in groups] == was), "killed at %d: %s" % (point, groups[0].top))


@scenario
def full_and_props(s):
    """Properties of groups that exist; a failed restore gives them back what they had."""
    groups, before = dumped(s, ["pids", "memory"])
    try:
        for mode in ("full", "props"):
            was = spoiled(groups)
            if mode == "full":
                killed_too(s, groups, was, mode)
                end(s, before[1])
                was = spoiled(groups)
            fails(s, "--manage-cgroups=" + mode)
            for g, w in zip(groups, was):
                check(wait_for(lambda g=g, w=w: state(g.top) == w), "%s, failed: %s is %s, was %s" % (mode, g.top, state(g.top), w))
            s.restore("--manage-cgroups=" + mode)
            is_back(groups, before, mode)
            end(s, before[1])
        os.rmdir(groups[0].top + "/empty/deeper")
        refused(s, groups[0], "--manage-cgroups=props", words="is missing")
        s.restore("--manage-cgroups=full")
        is_back(groups, before, "full, one was missing")
        s.kill()
    finally:
        cleaned(groups)


def refused(s, group, *opts, words):
    s.restore(*opts, ok=False)
    log = text(os.path.join(s.imgs, "restore.log"))
    mine = [line for line in log.splitlines() if "Error" in line and os.path.basename(group.top) in line]
    check(s.rc and mine and words in mine[0] and "--manage-cgroups" in mine[0] and "nothing was started" in log,
          "rc %d: %s" % (s.rc, s.errors("restore.log")))


@scenario
def strict(s):
    groups, before = dumped(s, ["pids", ""])
    try:
        refused(s, groups[0], "--manage-cgroups=strict", words="exists")
        for g in groups:
            g.remove()
        s.restore("--manage-cgroups=strict")
        is_back(groups, before)
        s.kill()
    finally:
        cleaned(groups)


@scenario
def none(s):
    groups, before = dumped(s, ["pids"])
    try:
        was = spoiled(groups)
        s.restore("--manage-cgroups=none")
        same(groups[0].top, was[0], "none")
        check(all(paths(p) == w for p, w in before[1].items()), "they are elsewhere")
        s.kill()
        os.rmdir(groups[0].top + "/empty/deeper")
        refused(s, groups[0], "--manage-cgroups=none", words="is missing")
    finally:
        cleaned(groups)


@scenario
def taken_back(s):
    """A restore that fails, or is killed anywhere, leaves no group that it made, and all others."""
    groups, before = dumped(s, ["pids", "", "cpuset"])
    s.proc = None
    for g in groups:
        for below in ("a/deep", "a", "empty/deeper"):
            check(wait_for(lambda p=os.path.join(g.top, below): not os.path.isdir(p) or not os.rmdir(p)), below)
    was = [state(g.top) for g in groups]

    def is_clean():
        reap()
        return all(state_of(p) == "gone" for p in before[1]) and [state(g.top) for g in groups] == was
    try:
        fails(s)
        check(wait_for(is_clean), "after a veto: %s" % [state(g.top) for g in groups])
        for point in range(1, 200):
            s.tool("restore", "-d", "-D", s.imgs, "-o", "kill.log", "-v4", "--test-kill-at", point)
            if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "kill.log")):
                break
            check(wait_for(is_clean), "killed at %d: %s" % (point, [g.left() for g in groups]))
        check(point > 8, "the restore ended at point %d: %s" % (point, s.errors("kill.log")))
        wait_for(lambda: state_of(s.pid) == "S")
        s.kill()
    finally:
        cleaned(groups)


@scenario
def foreign_below(s):
    """A group below with another's process in it is not the tree's, and is not copied; nor is what hangs beside it."""
    g = Groups("pids")
    pids = shell_tree(s)
    other = os.fork()
    if not other:
        time.sleep(1000)
        os._exit(0)
    try:
        g.add("x/theirs/deep", other)
        g.add("x/ours", pids[1])
        g.add("x", pids[0])
        os.makedirs(g.top + "/beside/it")
        s.dump()
        image = open(os.path.join(s.imgs, "cgroup.img"), "rb").read()
        for word, there in ((b"ours", True), (b"theirs", False), (b"deep", False), (b"beside", False)):
            check((word in image) == there, "%r in cgroup.img: %s" % (word, not there))
    finally:
        os.kill(other, 9)
        os.waitpid(other, 0)
        cleaned([g])


run_all()
