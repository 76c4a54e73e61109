# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups of a test's own in any hierarchy, and a tree to put into them."""
import glob
import os
import subprocess
import tempfile

from case import Failed, Skipped
from driver import check, children, reap, state_of, text, wait_for


def hierarchies():
    """Where each can be used: {"": "/sys/fs/cgroup/unified", "pids": "/sys/fs/cgroup/pids"}."""
    found = {}
    for line in text("/proc/self/mountinfo").splitlines():
        left, right = line.split(" - ")
        at, kind, options = left.split()[4], right.split()[0], right.split()[2].split(",")
        if kind == "cgroup2":
            found.setdefault("", at)
        for name in ("pids", "freezer", "cpuset", "memory", "devices", "cpu", "blkio"):
            if kind == "cgroup" and name in options:
                found.setdefault(name, at)
    found.update(hierarchies.extra)
    return found


hierarchies.extra = {}  # that a test has mounted, or found


def paths(pid, tid=None):
    lines = text("/proc/%d/task/%d/cgroup" % (pid, tid or pid)).splitlines()
    return {line.split(":")[1]: line.split(":", 2)[2] for line in lines}


def write(path, value):
    with open(path, "w") as f:
        f.write(str(value))


class Groups:
    """A group of a name of its own, and groups below it."""

    def __init__(self, name):
        self.name, self.mount = name, hierarchies().get(name)
        if not self.mount:
            raise Skipped("cgroups of %s are not mounted" % (name or "version 2"))
        above = os.path.join(self.mount, paths(os.getpid())[name].lstrip("/"))
        try:
            self.top = tempfile.mkdtemp(prefix="zdtm-cgroups-", dir=above)
        except OSError as e:
            raise Skipped("no cgroup can be made in %s: %s" % (above, e))
        if name == "cpuset":
            self.fill(self.top)

    def fill(self, path):
        for n in ("cpuset.cpus", "cpuset.mems"):
            write(os.path.join(path, n), text(os.path.join(os.path.dirname(path), n)).strip())

    def add(self, below, pid, file="cgroup.procs"):
        path = os.path.join(self.top, below)
        at = self.top
        for part in below.split("/"):
            at = os.path.join(at, part)
            if part and not os.path.isdir(at):
                os.mkdir(at)
                if self.name == "cpuset":
                    self.fill(at)
        write(os.path.join(path, file), pid)

    def left(self):
        return [p for p in glob.glob(self.top + "/**/", recursive=True)]

    def remove(self):
        """As rmdir does it; the last tasks may still be on their way out."""
        def removed():
            for p in sorted(self.left(), key=len, reverse=True):
                try:
                    os.rmdir(p)
                except OSError:
                    return False
            return True
        if not wait_for(removed):
            raise Failed("%s: cannot be removed: %s" % (self.top, self.left()))


def shell_tree(s):
    """A shell and two children of it: three pids."""
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["/bin/sh", "-c", "sleep 1000 & sleep 1001 & wait; wait"], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, start_new_session=True, cwd=s.dir)
    s.pid = s.proc.pid
    check(wait_for(lambda: len(children(s.pid)) == 2 and
                   all(text("/proc/%d/comm" % c) == "sleep\n" for c in children(s.pid))), "the tree is not there")
    return [s.pid] + sorted(children(s.pid))


def end(s, pids):
    """Kills the tree; all its pids are free again."""
    s.kill()

    def are_gone():
        reap()
        return all(state_of(p) == "gone" for p in pids)
    check(wait_for(are_gone), "pids %s are still there" % list(pids))
