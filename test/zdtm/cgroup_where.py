#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Which groups are saved, where they come back, and states of groups: frozen ones, threaded ones, named hierarchies,
# --cgroup-root, --cgroup-yard, --cgroup-props, --cgroup-dump-controller.
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import subprocess
import sys
import time

from case import Skipped
from cgroup_groups import Groups, end, hierarchies, paths, shell_tree, write
from driver import check, run_all, scenario, state_of, text, wait_for


def put(s, names, places=("", "a", "b")):
    """The tree in three groups of each hierarchy; the groups, and what each task was in."""
    groups = [Groups(n) for n in names]
    pids = shell_tree(s)
    for g in groups:
        for pid, below in zip(pids, places):
            g.add(below, pid)
    return groups, {p: paths(p) for p in pids}


def where(before, change=lambda name, path: path, when="after the restore"):
    for pid, was in before.items():
        wanted = {n: change(n, p) for n, p in was.items()}
        check(paths(pid) == wanted, "%s: pid %d is in %s, not in %s" % (when, pid, paths(pid), wanted))


def cleaned(*groups):
    for g in groups:
        if os.path.isdir(g.top):
            g.remove()


def thaw(g):
    for f, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        for path, _, files in os.walk(g.top):
            if f in files:
                write(os.path.join(path, f), word)


def freeze(path, name, on=True):
    if name:
        write(path + "/freezer.state", "FROZEN" if on else "THAWED")
    else:
        write(path + "/cgroup.freeze", "1" if on else "0")


def is_frozen(path, name):
    if name:
        return text(path + "/freezer.state").strip() == "FROZEN"
    return "frozen 1" in text(path + "/cgroup.events")


def frozen_stays(s, name):
    """Frozen at the dump, new at the restore; then frozen at the dump, and still so, without a process, at the restore."""
    (g,), before = put(s, [name])
    try:
        if not os.path.exists(g.top + ("/freezer.state" if name else "/cgroup.freeze")):
            raise Skipped("no freezer here")
        for n in range(2):
            freeze(g.top + "/a", name)
            check(wait_for(lambda: is_frozen(g.top + "/a", name)), "it does not freeze")
            s.dump()
            if n == 0:
                wait_for(lambda: not text(g.top + "/cgroup.procs") and not text(g.top + "/a/cgroup.procs"))
                thaw(g)
                g.remove()
            s.restore()
            check(wait_for(lambda: is_frozen(g.top + "/a", name)), "round %d: the group is not frozen" % n)
            check(not is_frozen(g.top + "/b", name), "round %d: the other group is frozen" % n)
            where(before, when="round %d" % n)
            freeze(g.top + "/a", name, False)
            check(wait_for(lambda: all(state_of(p) == "S" for p in before)), "they do not run on")
            s.clean_images()
        freeze(g.top + "/a", name)
        s.dump("-R")
        check(is_frozen(g.top + "/a", name), "after a dump that lets it run the group is not frozen")
        thaw(g)
        end(s, before)
        s.restore("--manage-cgroups=none")
        check(not is_frozen(g.top + "/a", name), "none: the group is frozen")
        s.kill()
    finally:
        thaw(g)
        if state_of(s.pid) != "gone":
            s.kill()
        cleaned(g)


@scenario
def frozen_1(s):
    frozen_stays(s, "freezer")


@scenario
def frozen_2(s):
    frozen_stays(s, "")


@scenario
def frozen_and_failed(s):
    """Killed when its groups are frozen again: no task of version 1 that is frozen would end."""
    (g,), before = put(s, ["freezer"])
    s.proc = None
    try:
        freeze(g.top + "/a", "freezer")
        s.dump()
        thaw(g)
        g.remove()
        for point in range(1, 300):
            s.tool("restore", "-d", "-D", s.imgs, "-o", "kill.log", "-v4", "--test-kill-at", point)
            log = text(os.path.join(s.imgs, "kill.log"))
            if s.rc >= 0 or "restore committed" in log:
                break
            s.gone()
            check(wait_for(lambda: not os.path.isdir(g.top)), "killed at %d: %s" % (point, g.left()))
        check(point > 8, "the restore ended at point %d" % point)
        thaw(g)
        s.kill()
    finally:
        if os.path.isdir(g.top):
            thaw(g)
        cleaned(g)


THREADED = """
import threading, time, sys
for n in range(3):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(1, flush=True)
time.sleep(1000)
"""


@scenario
def threaded(s):
    """Version 2: threads of one process in groups of their own."""
    g = Groups("")
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen([sys.executable, "-c", THREADED], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    try:
        check(wait_for(lambda: text(s.path("victim.out")) == "1\n"), "the program is not ready")
        tids = sorted(int(t) for t in os.listdir("/proc/%d/task" % s.pid))
        for below in ("t", "t/x", "t/x/y", "t/z"):
            os.mkdir(os.path.join(g.top, below))
        write(g.top + "/t/cgroup.procs", s.pid)
        for below in ("t/x", "t/x/y", "t/z"):
            try:
                write(os.path.join(g.top, below, "cgroup.type"), "threaded")
            except OSError as e:
                raise Skipped("threaded cgroups: %s" % e)
        for tid, below in zip(tids[1:], ("t/x", "t/x/y", "t/z")):
            write(os.path.join(g.top, below, "cgroup.threads"), tid)
        before = {t: paths(s.pid, t) for t in tids}
        types = {b: text(os.path.join(g.top, b, "cgroup.type")) for b in ("t", "t/x", "t/x/y", "t/z")}
        check(len(set(str(v) for v in before.values())) == 4, "they are together: %s" % before)
        for n in range(2):
            s.dump()
            wait_for(lambda: not text(g.top + "/t/cgroup.procs"))
            g.remove()
            s.restore()
            for t in tids:
                check(paths(s.pid, t) == before[t], "thread %d was in %s, and is in %s" % (t, before[t], paths(s.pid, t)))
            now = {b: text(os.path.join(g.top, b, "cgroup.type")) for b in types}
            check(now == types, "types were %s, are %s" % (types, now))
            s.clean_images()
        s.kill()
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        cleaned(g)


@scenario
def leader_elsewhere(s):
    """Version 1: the leader in one group, all other threads in another."""
    g = Groups("pids")
    s.victim("threads")
    tids = sorted(int(t) for t in os.listdir("/proc/%d/task" % s.pid))
    try:
        g.add("all", s.pid)
        g.add("first", s.pid, file="tasks")
        before = {t: paths(s.pid, t) for t in tids}
        check(before[tids[0]] != before[tids[-1]], "the threads are in one group")
        s.dump()
        wait_for(lambda: not text(g.top + "/all/tasks"))
        g.remove()
        s.restore()
        for t in tids:
            check(paths(s.pid, t) == before[t], "thread %d was in %s, and is in %s" % (t, before[t], paths(s.pid, t)))
        s.verify()
    finally:
        cleaned(g)


@scenario
def named(s):
    """A hierarchy without controllers, known by its name."""
    name = next((o for line in text("/proc/self/mountinfo").splitlines() if " - cgroup " in line
                 for o in line.split(" - ")[1].split()[2].split(",") if o.startswith("name=")), None)
    if not name:
        raise Skipped("no named hierarchy is mounted")
    mount = next(line.split()[4] for line in text("/proc/self/mountinfo").splitlines() if name in line)
    hierarchies.extra[name] = mount
    (g,), before = put(s, [name])
    try:
        os.mkdir(g.top + "/a/none")
        s.dump()
        g.remove()
        s.restore()
        where(before)
        check(os.path.isdir(g.top + "/a/none"), "the group without tasks is missing")
        s.kill()
    finally:
        cleaned(g)


def told(s, log, *words):
    lines = text(os.path.join(s.imgs, log)).splitlines()
    check(any(all(w in line for w in words) for line in lines), "%s does not say %s: %s" % (log, words, s.errors(log)))


@scenario
def root_at_dump(s):
    """All from the root down: its own settings, and what lies beside the tree's groups."""
    (g,), before = put(s, ["pids"], places=("in/er", "in/er/a", "in/er"))
    try:
        os.mkdir(g.top + "/beside")
        write(g.top + "/pids.max", 777)
        write(g.top + "/beside/pids.max", 55)
        s.dump("--cgroup-root", "pids:/" + os.path.relpath(g.top, g.mount), "--cgroup-root", "memory:/zdtm-nowhere")
        told(s, "dump.log", "--cgroup-root memory:/zdtm-nowhere", "no effect")
        g.remove()
        s.restore()
        where(before)
        check(text(g.top + "/pids.max") + text(g.top + "/beside/pids.max") == "777\n55\n", "properties are not back")
        s.kill()
    finally:
        cleaned(g)


@scenario
def root_at_restore(s):
    """Elsewhere: one hierarchy, then all; the group that was saved becomes the one that is named."""
    groups, before = put(s, ["pids", ""])
    other = [Groups(g.name) for g in groups]
    olds = {g.name: "/" + os.path.relpath(g.top, g.mount) for g in groups}
    news = {g.name: "/" + os.path.relpath(g.top, g.mount) for g in other}

    def moved(*names):
        return lambda name, path: news[name] + path[len(olds[name]):] if name in names else path
    try:
        write(groups[0].top + "/a/pids.max", 99)
        s.dump()
        for g in groups + other:
            g.remove()
        s.restore("--cgroup-root", "pids:" + news["pids"])
        where(before, moved("pids"))
        check(text(other[0].top + "/a/pids.max") == "99\n", "its property is not back")
        check(not os.path.isdir(groups[0].top), "the old group was made too")
        end(s, before)
        for g in groups + other:
            cleaned(g)
        s.restore("--cgroup-root", "pids:" + news["pids"], "--cgroup-root", ":" + news[""])
        where(before, moved("pids", ""))
        s.kill()
        check(s.restore("--cgroup-root", "elsewhere", ok=False) != 0, "a root without a slash was taken")
        told(s, "restore.log", "Error", "elsewhere")
    finally:
        cleaned(*groups, *other)


@scenario
def plain_with_root(s):
    """A tree that is where criu is has no groups that could be moved: that is said."""
    s.victim()
    s.dump("--cgroup-root", "/zdtm-x")
    check("cgroup.img" not in s.images(), "cgroup.img was written")
    s.restore("--cgroup-root", "/zdtm-x")
    told(s, "restore.log", "--cgroup-root has no effect")
    s.verify()


@scenario
def siblings_under_a_root(s):
    """Two groups side by side stay two."""
    (g,), before = put(s, ["pids"], places=("p", "q", "q"))
    new = Groups("pids")
    path = "/" + os.path.relpath(new.top, new.mount)
    old = "/" + os.path.relpath(g.top, g.mount)
    try:
        s.dump()
        cleaned(g, new)
        s.restore("--cgroup-root", "pids:" + path)
        where(before, lambda n, p: path + p[len(old):] if n == "pids" else p)
        s.kill()
    finally:
        cleaned(g, new)


@scenario
def yard(s):
    """Only what is mounted there counts."""
    (g,), before = put(s, ["pids"])
    yard_dir = s.path("yard")
    os.makedirs(yard_dir + "/pids")
    made = subprocess.run(["mount", "--bind", g.mount, yard_dir + "/pids"], capture_output=True, text=True)
    if made.returncode:
        raise Skipped(made.stderr)
    try:
        write(g.top + "/a/pids.max", 99)
        s.dump("--cgroup-yard", yard_dir)
        g.remove()
        empty = s.path("empty")
        os.mkdir(empty)
        check(s.restore("--cgroup-yard", empty, ok=False) != 0, "a yard without cgroups was taken")
        told(s, "restore.log", "Error", "no cgroup file system", "mounted")
        s.restore("--cgroup-yard", yard_dir)
        where(before)
        check(text(g.top + "/a/pids.max") == "99\n", "its property is not back")
        told(s, "restore.log", yard_dir + "/pids/", "made")
        s.kill()
    finally:
        subprocess.run(["umount", yard_dir + "/pids"], check=False)
        cleaned(g)


@scenario
def chosen_controller(s):
    groups, before = put(s, ["pids", "memory"])
    try:
        s.dump("--cgroup-dump-controller", "pids")
        cleaned(*groups)
        s.restore()
        own = paths(os.getpid())
        where(before, lambda name, path: path if name == "pids" else own[name])
        check(not os.path.isdir(groups[1].top), "the other group was made")
        s.clean_images()
        check(s.dump("--cgroup-dump-controller", "nonesuch", ok=False) != 0, "an unknown controller was taken")
        told(s, "dump.log", "Error", "nonesuch")
        s.kill()
    finally:
        cleaned(*groups)


@scenario
def specification(s):
    """--cgroup-props: other files, or none but these."""
    (g,), _ = put(s, ["pids"])
    spec = '"pids":\n - "strategy": "%s"\n - "properties": ["pids.events"]\n"nosuch":\n - "properties": ["a", "b"]\n'
    try:
        for how, limit in (("merge", True), ("replace", False)):
            with open(s.path("spec"), "w") as f:
                f.write(spec % how)
            for opts in (["--cgroup-props", spec % how], ["--cgroup-props", "@" + s.path("spec")],
                         ["--cgroup-props-file", s.path("spec")]):
                s.dump("-R", *opts)
                found = open(os.path.join(s.imgs, "cgroup.img"), "rb").read()
                check(b"pids.events" in found, "%s: pids.events was not saved" % opts)
                check((b"pids.max" in found) == limit, "%s: pids.max was saved: %s" % (opts, not limit))
                s.clean_images()
        for bad in ("", '"pids"', '"pids":\n - "strategy": "mix"\n', '"pids":\n - "properties": ["../x"]\n', "pids: x", '"a'):
            check(s.dump("-R", "--cgroup-props", bad, ok=False) != 0, "%r was taken" % bad)
        check(s.dump("-R", "--cgroup-props-file", s.path("none"), ok=False) != 0, "a file that is missing was taken")
        s.kill()
    finally:
        cleaned(g)


@scenario
def interface_priorities(s):
    """net_prio's list has a line for each interface. The controller is mounted for this test alone, where nobody has it."""
    mount = s.path("net_prio")
    os.mkdir(mount)
    if "net_prio" in text("/proc/self/cgroup"):
        raise Skipped("others use net_prio")
    made = subprocess.run(["mount", "-t", "cgroup", "-o", "net_prio,net_cls", "none", mount], capture_output=True, text=True)
    if made.returncode:
        raise Skipped(made.stderr.strip())
    g = None
    try:
        name = next(n for n in paths(os.getpid()) if "net_prio" in n)
        hierarchies.extra[name] = mount
        (g,), before = put(s, [name])
        write(g.top + "/a/net_prio.ifpriomap", "lo 5")
        write(g.top + "/b/net_cls.classid", "1048577")
        s.dump()
        cleaned(g)
        s.restore()
        where(before)
        check("lo 5\n" in text(g.top + "/a/net_prio.ifpriomap"), "a: %r" % text(g.top + "/a/net_prio.ifpriomap"))
        check("lo 0\n" in text(g.top + "/net_prio.ifpriomap"), "%r" % text(g.top + "/net_prio.ifpriomap"))
        check(text(g.top + "/b/net_cls.classid") == "1048577\n", "classid")
        s.kill()
    finally:
        if g:
            cleaned(g)

        def dropped():
            """The hierarchy stays as long as a group in it is on its way out; then another umount drops it, a bit later."""
            subprocess.run(["umount", "-A", mount], check=False, stderr=subprocess.DEVNULL)
            for _ in range(20):
                if "net_prio" not in text("/proc/self/cgroup"):
                    return True
                time.sleep(0.05)
            subprocess.run(["mount", "-t", "cgroup", "-o", "net_prio,net_cls", "none", mount], check=False)
            return False
        check(wait_for(dropped), "the hierarchy of net_prio cannot be dropped")


run_all()
