#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Which cgroups tasks are in: each is in its own again, of version 1 and 2; those that are missing are made, and removed
# when the restore fails; what stands in the way is refused before anything is started.
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import subprocess

from case import Skipped
from cgroup_groups import Groups, hierarchies, paths, shell_tree, write
from driver import check, need, passed_over, reap, run_all, scenario, state_of, text, wait_for


def dumped(s, names, *opts, places=("", "a", "b/c")):
    """The tree in three groups of these hierarchies, dumped; its groups are gone. What each was in."""
    groups = [Groups(n) for n in names]
    pids = shell_tree(s)
    try:
        for g in groups:
            for pid, below in zip(pids, places):
                g.add(below, pid)
        before = {pid: paths(pid) for pid in pids}
        s.dump(*opts)
    except BaseException:
        s.kill()
        raise
    finally:
        for g in groups:
            g.remove()
    return groups, before


def comes_back(s, names, *opts, **kw):
    groups, before = dumped(s, names, *opts, **kw)
    try:
        s.restore(*opts)
        for pid, was in before.items():
            check(paths(pid) == was, "pid %d was in %s, and is in %s" % (pid, was, paths(pid)))
        s.clean_images()
        s.dump("-R")
        s.kill()
    finally:
        for g in groups:
            if os.path.isdir(g.top):
                g.remove()


@scenario
def version_2(s):
    comes_back(s, [""])


@scenario
def version_1(s):
    comes_back(s, ["pids"])


@scenario
def cpuset(s):
    """A new group of cpuset takes no task before it has processors."""
    comes_back(s, ["cpuset"])


@scenario
def all_at_once(s):
    comes_back(s, ["", "cpuset", "freezer", "memory", "pids"], "--manage-cgroups")


@scenario
def soft_by_name(s):
    comes_back(s, ["pids"], "--manage-cgroups=soft")


@scenario
def callers_own_below(s):
    """The root in a group of its own, a child where criu is."""
    g = Groups("pids")
    pids = shell_tree(s)
    try:
        g.add("x", pids[0])
        before = {pid: paths(pid) for pid in pids}
        s.dump()
        s.restore()
        for pid, was in before.items():
            check(paths(pid) == was, "pid %d was in %s, and is in %s" % (pid, was, paths(pid)))
        s.kill()
    finally:
        g.remove()


@scenario
def plain_tree(s):
    """Where criu is: nothing is written, and no cgroup file system is needed at restore."""
    s.victim()
    s.dump()
    check("cgroup.img" not in s.images(), "cgroup.img was written")
    run_in(s, in_mounts("umount -l -a -t cgroup,cgroup2"))
    check(s.rc == 0, "restore: %s" % s.errors("restore.log"))
    s.proc = None
    s.verify()


@scenario
def threads(s):
    """Threads of one process in differing groups of version 1."""
    g = Groups("pids")
    s.victim("threads")
    tids = sorted(int(t) for t in os.listdir("/proc/%d/task" % s.pid))
    try:
        g.add("p", s.pid)
        g.add("q", tids[-1], file="tasks")
        before = {t: paths(s.pid, t) for t in tids}
        check(before[tids[0]] != before[tids[-1]], "the threads are in one group")
        s.dump()
        wait_for(lambda: not text(g.top + "/q/tasks"))
        g.remove()
        s.restore()
        for t in tids:
            check(paths(s.pid, t) == before[t], "thread %d was in %s, and is in %s" % (t, before[t], paths(s.pid, t)))
        s.verify()
    finally:
        if os.path.isdir(g.top):
            g.remove()


@scenario
def fails(s):
    """A restore that fails, or is killed at any point, leaves no group."""
    groups, before = dumped(s, sorted(hierarchies()))
    s.proc = None  # what is restored is reaped as any other child
    hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != post-restore\n')

    def is_clean():
        reap()
        return all(state_of(p) == "gone" for p in before) and not any(os.path.isdir(g.top) for g in groups)
    try:
        check(s.restore("--action-script", hook, ok=False) != 0, "the veto was not heard")
        check(wait_for(is_clean), "after a veto: %s" % [g.left() for g in groups])
        for point in range(1, 100):
            s.tool("restore", "-d", "-D", s.imgs, "-o", "kill.log", "-v4", "--test-kill-at", point)
            if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "kill.log")):
                break
            check(wait_for(is_clean), "killed at %d: %s" % (point, [g.left() for g in groups]))
        check(point > 8, "the restore ended at point %d: %s" % (point, s.errors("kill.log")))
        wait_for(lambda: state_of(s.pid) == "S")
        s.kill()
        for g in groups:
            g.remove()
        s.restore()
        s.kill()
    finally:
        for g in groups:
            if os.path.isdir(g.top):
                g.remove()


@scenario
def ignored(s):
    groups, _ = dumped(s, ["pids"])
    s.restore("--manage-cgroups=ignore")
    check(not os.path.isdir(groups[0].top), "the group was made")
    check(paths(s.pid) == paths(os.getpid()), "it is in %s" % paths(s.pid))
    s.kill()


@scenario
def ignored_at_dump(s):
    groups, _ = dumped(s, ["pids"], "--manage-cgroups=ignore")
    check("cgroup.img" not in s.images(), "cgroup.img was written")
    s.restore()
    check(not os.path.isdir(groups[0].top) and paths(s.pid) == paths(os.getpid()), "it is in %s" % paths(s.pid))
    s.kill()


@scenario
def none(s):
    """All groups have to be there."""
    groups, before = dumped(s, ["pids"])
    try:
        refused(s, groups[0], "--manage-cgroups=none", words="is missing")
        for below in ("a", "b/c"):
            os.makedirs(os.path.join(groups[0].top, below))
        s.restore("--manage-cgroups=none")
        check(all(paths(p) == was for p, was in before.items()), "they are elsewhere")
        s.kill()
    finally:
        groups[0].remove()


def run_in(s, prefix, *opts):
    """criu restore, run by a command."""
    tool, s.criu = s.criu, prefix[0]
    s.tool(*prefix[1:], tool, "restore", "-d", "-D", s.imgs, "-v4", "-o", "restore.log", *opts)
    s.criu = tool


def refused(s, group, *opts, words, prefix=()):
    """Before anything is started, with the name of the group and the option."""
    if prefix:
        run_in(s, prefix, *opts)
    else:
        s.restore(*opts, ok=False)
    log = text(os.path.join(s.imgs, "restore.log"))
    mine = [line for line in log.splitlines() if "Error" in line and os.path.basename(group.top) in line]
    check(s.rc and mine and words in mine[0] and "--manage-cgroups" in mine[0] and "nothing was started" in log,
          "rc %d: %s" % (s.rc, s.errors("restore.log")))


def in_mounts(command):
    """criu in a mount namespace of its own, after a command."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", command + ' && exec "$@"', "sh"]


@scenario
def read_only(s):
    for name in ("", "pids"):
        try:
            (g,), _ = dumped(s, [name])
        except Skipped as e:
            passed_over("read-only cgroups of %r" % name, e)
            continue
        refused(s, g, words="Read-only file system", prefix=in_mounts("mount -o remount,bind,ro %s" % g.mount))
        check(not os.path.isdir(g.top), "the group was made")
        s.restore("--manage-cgroups=ignore")
        s.kill()
        s.clean_images()


@scenario
def not_mounted(s):
    (g,), _ = dumped(s, ["pids"])
    refused(s, g, words="no cgroup file system", prefix=in_mounts("umount -l %s" % g.mount))
    s.restore("--manage-cgroups=ignore")
    s.kill()


def thawed_if_empty(s, g, file, on, off):
    """A frozen group takes no task: refused where others are in it, thawed where nothing is, frozen again on failure."""
    hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != post-restore\n')
    file = os.path.join(g.top, file)
    with subprocess.Popen(["sleep", "1000"]) as other:
        g.add("other", other.pid)
        write(file, on)
        refused(s, g, words="is frozen")
        write(file, off)
        other.kill()
    check(wait_for(lambda: not text(g.top + "/other/cgroup.procs")), "the other one is still there")
    write(file, on)
    s.proc = None
    check(s.restore("--action-script", hook, ok=False) != 0, "the veto was not heard")
    s.gone()
    check(wait_for(lambda: text(file).strip() == on), "after a veto: %r" % text(file))
    s.restore()
    check(text(file).strip() == off, "after the restore: %r" % text(file))
    check(paths(s.pid)[g.name].endswith(os.path.basename(g.top)), "it is in %s" % paths(s.pid))
    s.kill()


@scenario
def frozen(s):
    (g,), _ = dumped(s, ["freezer"])
    os.mkdir(g.top)
    try:
        thawed_if_empty(s, g, "freezer.state", "FROZEN", "THAWED")
    finally:
        g.remove()


@scenario
def frozen_2(s):
    (g,), _ = dumped(s, [""])
    os.mkdir(g.top)
    try:
        if not os.path.exists(g.top + "/cgroup.freeze"):
            raise Skipped("cgroups of version 2 have no freezer here")
        thawed_if_empty(s, g, "cgroup.freeze", "1", "0")
    finally:
        g.remove()


@scenario
def no_leaf(s):
    """Version 2: a group that hands controllers on takes no process."""
    (g,), _ = dumped(s, [""], places=("x", "x", "x"))
    os.makedirs(g.top + "/x")
    try:
        names = text(g.top + "/x/cgroup.controllers").split()
        try:
            write(g.top + "/cgroup.subtree_control", "")
            if not names:
                raise OSError("no controller is of version 2 here")
            write(g.top + "/x/cgroup.subtree_control", "+" + names[0])
        except OSError as e:
            raise Skipped(str(e))
        refused(s, g, words="hands controllers")
    finally:
        g.remove()


@scenario
def memory_is_charged(s):
    """What a task gets back belongs to its group."""
    g, size = Groups("memory"), 48 << 20
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["python3", "-c", "import time; b = bytearray(b'x' * %d); print(1, flush=True); "
                                   "time.sleep(1000)" % size], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    try:
        check(wait_for(lambda: text(s.path("victim.out")) == "1\n"), "the program is not ready")
        g.add("m", s.pid)
        s.dump()
        g.remove()
        s.restore()
        used = int(text(g.top + "/m/memory.usage_in_bytes"))
        check(used >= size, "%d bytes of %d are charged to its group" % (used, size))
        s.kill()
    finally:
        if os.path.isdir(g.top):
            g.remove()


@scenario
def redis(s):
    """A server in a group of its own."""
    need("redis-server", "redis-cli")
    g = Groups("pids")
    sock = s.path("sock")
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--dir", s.dir],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid

    def ask(*words):
        return subprocess.run(["redis-cli", "-s", sock, *words], capture_output=True, text=True).stdout.strip()
    try:
        check(wait_for(lambda: ask("ping") == "PONG"), "redis does not answer")
        g.add("srv", s.pid)
        ask("set", "k", "v1")
        was = paths(s.pid)
        s.dump()
        g.remove()
        s.restore()
        check(paths(s.pid) == was and ask("get", "k") == "v1", "%s, %r" % (paths(s.pid), ask("get", "k")))
        s.kill()
    finally:
        if os.path.isdir(g.top):
            g.remove()


run_all()
