#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --freeze-cgroup with the freezers of version 1 and 2: the tree is dumped, the cgroup is thawed again in every case, one
# that was frozen before stays frozen.
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import tempfile

from case import Skipped
from driver import Snapshot, check, run_all, scenario, state_of, text, wait_for

V1, V2 = "/sys/fs/cgroup/freezer", None
for line in text("/proc/self/mountinfo").splitlines():
    f = line.split(" - ")
    if f[1].startswith("cgroup2"):
        V2 = f[0].split()[4]


class Group:
    """A cgroup of its own with the victim in it."""

    def __init__(self, s, top, version):
        if not top or not os.path.isdir(top):
            raise Skipped("no freezer of version %d is mounted" % version)
        self.version = version
        try:
            self.path = tempfile.mkdtemp(prefix="zdtm-", dir=top)
        except OSError as e:
            raise Skipped("no cgroup can be made in %s: %s" % (top, e))
        self.file = "cgroup.freeze" if version == 2 else "freezer.state"
        if version == 2 and not os.path.exists(os.path.join(self.path, self.file)):
            os.rmdir(self.path)
            raise Skipped("cgroups of version 2 have no freezer here")
        self.write("cgroup.procs", str(s.pid))

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as f:
            f.write(value)

    def read(self, name):
        return text(os.path.join(self.path, name)).strip()

    def state(self):
        return {"0": "THAWED", "1": "FROZEN"}.get(self.read(self.file), self.read(self.file))

    def freeze(self, on):
        self.write(self.file, str(int(on)) if self.version == 2 else ("FROZEN" if on else "THAWED"))
        wait_for(lambda: self.state() == ("FROZEN" if on else "THAWED"))

    def remove(self):
        self.freeze(False)
        wait_for(lambda: not self.read("cgroup.procs"))
        os.rmdir(self.path)


def whole_way(s, top, version):
    s.victim("threads")
    g = Group(s, top, version)
    try:
        before = Snapshot(s.pid)
        s.dump("--freeze-cgroup", g.path, "-R")
        check(g.state() == "THAWED", "after dump -R the cgroup is %s" % g.state())
        s.same(before, "after dump -R")
        s.clean_images()
        hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != post-dump\n')
        check(s.dump("--freeze-cgroup", g.path, "--action-script", hook, ok=False) != 0, "the veto was not heard")
        check(g.state() == "THAWED", "after a veto the cgroup is %s" % g.state())
        s.same(before, "after a veto")
        for point in (1, 3, 6, 10, 15):
            s.tool("dump", "-t", s.pid, "-D", s.imgs, "--freeze-cgroup", g.path, "-R", "-o", "kill.log", "-v4",
                   "--test-kill-at", point)
            check(wait_for(lambda: g.state() == "THAWED"), "killed at %d: the cgroup stays frozen" % point)
        s.clean_images()
        s.dump("--freeze-cgroup", g.path)
        check(g.state() == "THAWED" and not g.read("cgroup.procs"), "after the dump: %s %r" % (
            g.state(), g.read("cgroup.procs")))
        s.restore()
        s.verify()
    finally:
        if s.proc or state_of(s.pid) not in ("gone", "Z"):
            g.freeze(False)
            s.kill()
        g.remove()


@scenario
def version_1(s):
    whole_way(s, V1, 1)


@scenario
def version_2(s):
    whole_way(s, V2, 2)


@scenario
def frozen_before(s):
    """A cgroup that somebody else has frozen stays so."""
    s.victim()
    g = Group(s, V2, 2)
    try:
        g.freeze(True)
        s.dump("--freeze-cgroup", g.path, "-R")
        check(g.state() == "FROZEN", "it was frozen and is %s" % g.state())
        g.freeze(False)
        s.verify()
    finally:
        g.freeze(False)
        if state_of(s.pid) not in ("gone", "Z"):
            s.kill()
        g.remove()


run_all()
