#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Cgroup namespaces of the tree's own: their roots, who is in which, in groups that are gone, exist, or are elsewhere.
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import subprocess

from cgroup_groups import Groups, end, paths
from driver import check, children, need, run_all, scenario, state_of, text, wait_for


def ns(pid):
    return os.readlink("/proc/%s/ns/cgroup" % pid)


def inside(pid, of=None):
    """The groups of a task as they are seen in a namespace."""
    out = subprocess.run(["nsenter", "-t", str(pid), "-C", "cat", "/proc/%d/cgroup" % (of or pid)], capture_output=True,
                         text=True)
    return {line.split(":")[1]: line.split(":", 2)[2] for line in out.stdout.splitlines()}


def look(pids):
    """What must come back: paths from outside and inside, and which tasks share a namespace."""
    names = [ns(p) for p in pids]
    return ([paths(p) for p in pids], [inside(p) for p in pids], [names.index(n) for n in names],
            [n == ns("self") for n in names])


def start(s, groups, script):
    """The script has the directories of the groups in $A, $B..."""
    need("nsenter", "unshare")
    env = dict(os.environ, **{chr(ord("A") + i): g.top for i, g in enumerate(groups)})
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                  start_new_session=True, cwd=s.dir)
    s.pid = s.proc.pid


def found(s, n):
    """The shell and its n descendants, when all sleep."""
    def descendants(pid):
        return [c for k in sorted(children(pid)) for c in [k] + descendants(k)]
    check(wait_for(lambda: sum(text("/proc/%d/comm" % c) == "sleep\n" for c in descendants(s.pid)) == n),
          "the tree is not there: %s" % text(s.path("victim.out")))
    return [s.pid] + descendants(s.pid)


def rounds(s, groups, pids, *opts, change=lambda x: x):
    before = look(pids)
    for n in range(3):
        s.dump()
        if n != 1:
            for g in groups:
                g.remove()
        s.restore(*opts)
        now = look(pids)
        for was, is_now, what in zip(before, now, ("paths", "paths inside", "shared namespaces", "the caller's")):
            check(is_now == (change(was) if what == "paths" else was), "round %d: %s were %s, are %s" % (n, what, was, is_now))
        s.clean_images()
        if opts:
            break
    end(s, pids)


@scenario
def root_is_its_group(s):
    groups = [Groups(n) for n in ("pids", "")]
    for g in groups:
        os.mkdir(g.top + "/c")
        os.mkdir(g.top + "/c/in")
    start(s, groups, 'for g in $A $B; do echo $$ >$g/c/cgroup.procs; done; exec unshare -C sh -c \''
          'echo $$ >$A/c/in/cgroup.procs; sleep 1000 & sleep 1001 & wait\'')
    try:
        pids = found(s, 2)
        seen = inside(s.pid)
        check(seen["pids"] == "/in" and seen[""] == "/", "inside: %s" % seen)
        rounds(s, groups, pids)
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        for g in groups:
            if os.path.isdir(g.top):
                g.remove()


@scenario
def some_share_it(s):
    """The shell is where we are; two children in namespaces of their own, one of which has a child in it."""
    groups = [Groups("pids")]
    os.mkdir(groups[0].top + "/c")
    start(s, groups, 'unshare -C sleep 1000 & '
          'sh -c "echo \\$\\$ >$A/c/cgroup.procs; exec unshare -C sh -c \'sleep 1001 & wait\'" & sleep 1002 & wait; wait; wait')
    try:
        pids = found(s, 3)
        shared = look(pids)[2]
        check(len(set(shared)) == 3, "namespaces: %s" % shared)
        rounds(s, groups, pids)
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        for g in groups:
            if os.path.isdir(g.top):
                g.remove()


@scenario
def killed(s):
    """At any point of a restore: no group is left."""
    g = Groups("pids")
    os.mkdir(g.top + "/in")
    start(s, [g], 'echo $$ >$A/cgroup.procs; exec unshare -C sh -c \'echo $$ >$A/in/cgroup.procs; sleep 1000 & wait\'')
    try:
        pids = found(s, 1)
        s.dump()
        s.proc = None
        g.remove()
        for point in range(1, 300):
            s.tool("restore", "-d", "-D", s.imgs, "-o", "kill.log", "-v4", "--test-kill-at", point)
            if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "kill.log")):
                break
            s.gone()
            check(wait_for(lambda: not os.path.isdir(g.top)), "killed at %d: %s" % (point, g.left()))
        check(point > 8, "the restore ended at point %d" % point)
        end(s, pids)
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        if os.path.isdir(g.top):
            g.remove()


@scenario
def elsewhere(s):
    """--cgroup-root: the root of the namespace moves with the groups; inside nothing has changed."""
    g, new = Groups("pids"), Groups("pids")
    old_path, new_path = ("/" + os.path.relpath(x.top, x.mount) for x in (g, new))
    new.remove()
    os.mkdir(g.top + "/in")
    start(s, [g], 'echo $$ >$A/cgroup.procs; exec unshare -C sh -c \'echo $$ >$A/in/cgroup.procs; sleep 1000 & wait\'')
    try:
        pids = found(s, 1)
        rounds(s, [g], pids, "--cgroup-root", "pids:" + new_path,
               change=lambda was: [dict(p, pids=p["pids"].replace(old_path, new_path)) for p in was])
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        for x in (g, new):
            if os.path.isdir(x.top):
                x.remove()


@scenario
def outside_of_its_root(s):
    """A task that was moved away from below its root: refused by name."""
    g = Groups("pids")
    for n in ("c", "d"):
        os.mkdir(g.top + "/" + n)
    start(s, [g], 'echo $$ >$A/c/cgroup.procs; exec unshare -C sh -c \'echo $$ >$A/d/cgroup.procs; sleep 1000 & wait\'')
    try:
        pids = found(s, 1)
        check(s.dump(ok=False) != 0, "it was dumped")
        log = text(os.path.join(s.imgs, "dump.log"))
        check("not below the root of its cgroup namespace" in log, s.errors("dump.log"))
        end(s, pids)
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        g.remove()


@scenario
def without_cgroups(s):
    """Ignored: the root is where criu is, and that is said."""
    g = Groups("pids")
    start(s, [g], 'echo $$ >$A/cgroup.procs; exec unshare -C sh -c \'sleep 1000 & wait\'')
    try:
        pids = found(s, 1)
        s.dump()
        g.remove()
        s.restore("--manage-cgroups=ignore")
        check("its roots are the cgroups that criu is in" in text(os.path.join(s.imgs, "restore.log")), "nothing was said")
        check(ns(s.pid) != ns("self") and inside(s.pid)["pids"] == "/", "inside: %s" % inside(s.pid))
        end(s, pids)
    finally:
        if state_of(s.pid) != "gone":
            s.kill()
        if os.path.isdir(g.top):
            g.remove()


run_all()
