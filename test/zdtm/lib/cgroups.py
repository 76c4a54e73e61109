# SPDX-License-Identifier: GPL-2.0-only
"""Freezer cgroups of a test's own, versions 1 and 2, that are thawed and removed whatever happens."""
import glob
import os
import time

from case import Skipped, wait_for
from snapshot import text

TOP = {1: "/sys/fs/cgroup/freezer", 2: None}
for _line in text("/proc/self/mountinfo").splitlines():
    _f = _line.split(" - ")
    if _f[1].startswith("cgroup2"):
        TOP[2] = _f[0].split()[4]


def _sweep(top):
    """What a killed test has left, frozen tasks in it among it, which no other kill would end."""
    for path in glob.glob(os.path.join(top, "zdtm-*")):
        try:
            if time.time() - os.stat(path).st_mtime < 1800:
                continue
            for d in [path] + [os.path.join(path, n) for n in os.listdir(path)]:
                for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0"), ("cgroup.kill", "1")):
                    if os.path.exists(os.path.join(d, name)):
                        with open(os.path.join(d, name), "w") as f:
                            f.write(word)
            os.rmdir(path)
        except OSError:
            pass


class Group:
    """with Group(version, name) as g: ... ; g.child("below") is one inside."""

    def __init__(self, version, name, parent=None):
        top = parent or TOP[version]
        if not top or not os.path.isdir(top):
            raise Skipped("no freezer of version %d is mounted" % version)
        if not parent:
            _sweep(top)
        self.version, self.below = version, []
        self.path = os.path.join(top, name if parent else "zdtm-%s-%d" % (name, os.getpid()))
        try:
            os.mkdir(self.path)
        except OSError as e:
            raise Skipped("%s: %s" % (self.path, e))
        self.file = "cgroup.freeze" if version == 2 else "freezer.state"
        if not os.path.exists(os.path.join(self.path, self.file)):
            os.rmdir(self.path)
            raise Skipped("cgroups of version %d have no freezer here" % version)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def child(self, name):
        self.below.append(Group(self.version, name, self.path))
        return self.below[-1]

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as f:
            f.write(str(value))

    def read(self, name):
        return text(os.path.join(self.path, name)).strip()

    def add(self, pid):
        self.write("cgroup.procs", pid)

    def add_thread(self, tid):
        self.write("cgroup.threads" if self.version == 2 else "tasks", tid)

    def frozen(self):
        """All that is in it stands (by it or by one above); frozen_itself(): it was told so."""
        return "frozen 1" in self.read("cgroup.events") if self.version == 2 else self.read("freezer.state") == "FROZEN"

    def frozen_itself(self):
        return self.read("cgroup.freeze" if self.version == 2 else "freezer.self_freezing") == "1"

    def freeze(self, on, wait=True):
        self.write(self.file, int(on) if self.version == 2 else ("FROZEN" if on else "THAWED"))
        if wait:
            wait_for(lambda: self.frozen() == on)

    def pids(self):
        return [int(p) for p in self.read("cgroup.threads" if self.version == 2 else "tasks").split()]

    def remove(self):
        """What is left in it goes back to the top, running."""
        self.freeze(False, wait=False)
        for g in self.below:
            g.remove()
        for p in self.pids():
            try:
                with open(os.path.join(TOP[self.version], "cgroup.procs"), "w") as f:
                    f.write(str(p))
            except OSError:
                pass
        wait_for(lambda: not self.pids())
        os.rmdir(self.path)
