# SPDX-License-Identifier: GPL-2.0-only
"""Campaigns that kill the tool: at its N-th fault point, or at any instant. The victim must not notice, and a restore
must leave nothing and be possible again."""
import os
import random
import re
import time

from case import Failed, alive, wait_for
from flow import Flow, listing
from snapshot import Snapshot, children, state_of, text, tree

KILLED = -9


class Faults(Flow):
    def __init__(self, case, tool, args):
        super().__init__(case, tool, args)
        self.tried = self.hit = 0

    # ---- dump ----

    def settled(self, why):
        """After the tool has died, the guardian and the agents have a moment to put all back."""
        def calm():
            self.case.reap()
            return not self.strays() and not self.tool.images()
        wait_for(calm, 3)
        if self.strays():
            raise Failed("%s: processes of the tool are left: %s" % (why, self.strays()))
        wait_for(lambda: all(state_of(p) in "SRDZT" for p in tree(self.pid)), 1)

    def strays(self):
        """Children that are neither the victim nor ours: a guardian, a half-made task."""
        return [p for p in children(os.getpid())
                if p != self.pid and p not in self.case.keep_pids and state_of(p) not in ("Z", "gone")]

    def victim_well(self, before, files, why):
        self.settled(why)
        if not alive(self.pid):
            raise Failed("%s: the victim is dead (%s)" % (why, state_of(self.pid)))
        try:
            self.case.ask()
            self.settle(self.pid)
            self.unharmed(before, files, why)
        except Failed as e:
            raise Failed("%s\n  the tool's last lines:\n    %s" %
                         (e if why in str(e) else "%s: %s" % (why, e), self.tail("dump.log")))

    def tail(self, log):
        return "\n    ".join(self.tool.log(log).splitlines()[-5:])

    def dump_points(self, step=1):
        """Kill the dump at fault point 1, 2, ... until there is none any more."""
        before, files = Snapshot(self.pid), listing(self.case.dir)
        n = 1
        while n < 2000:
            self.tool.new_images()
            rc = self.tool.dump("--leave-running", "--test-kill-at", n)
            if rc == 0:
                break
            if rc != KILLED:
                raise Failed("killed at point %d the dump ends with %d, not by the signal:\n  %s" %
                             (n, rc, "\n  ".join(self.tool.errors("dump.log"))))
            self.tried += 1
            if "--leave-running" and not self.committed("dump.log"):
                self.victim_well(before, files, "killed at dump point %d" % n)
            else:
                self.victim_committed(before, n)
            n += step
        if n == 1:
            raise Failed("--test-kill-at 1 killed nothing")
        self.check_left("after %d kills" % self.tried)

    def committed(self, log):
        """Whether the checkpoint stood already: then its images stay, and the rest goes forward."""
        return "checkpoint.sums" in self.tool.images()

    def victim_committed(self, before, n):
        wait_for(lambda: not self.strays(), 3)
        self.case.ask()
        self.settle(self.pid)
        self.compare(before, self.pid, "killed at dump point %d, after the commit" % n)

    def dump_random(self, count, rng):
        before, files = Snapshot(self.pid), listing(self.case.dir)
        self.tool.new_images()
        if self.tool.dump("--leave-running"):
            raise Failed("dump failed:\n  " + "\n  ".join(self.tool.errors("dump.log")))
        length = self.tool.seconds * 1.1
        for i in range(count):
            self.tool.new_images()
            when = rng.uniform(0, length)
            rc = self.tool.dump("--leave-running", kill_after=when)
            self.tried += 1
            why = "killed after %.2f ms of %.2f (try %d)" % (when * 1000, length * 1000, i + 1)
            if rc == KILLED and not self.committed("dump.log"):
                self.hit += 1
                self.victim_well(before, files, why)
            elif rc in (0, KILLED):
                wait_for(lambda: not self.strays(), 3)
                self.case.ask()
                self.settle(self.pid)
                self.compare(before, self.pid, why)
            else:
                raise Failed("%s: the dump ends with %d" % (why, rc))
            self.check_left(why)

    # ---- restore ----

    def nothing_left(self, pids, why):
        def calm():
            self.case.reap()
            return not self.strays() and all(state_of(p) == "gone" for p in pids)
        if not wait_for(calm, 5):
            left = self.strays() + [p for p in pids if state_of(p) != "gone"]
            raise Failed("%s: left behind: %s\n    %s" % (
                why, ["%d %s %s" % (p, state_of(p), text("/proc/%d/comm" % p).strip()) for p in left][:8],
                self.tail("restore.log")))
        self.check_left(why)

    def restore_kills(self, kills):
        """kills: pairs of (options, seconds or None). After each of them: nothing there; at the end a whole restore."""
        before, files = Snapshot(self.pid), listing(self.case.dir)
        self.tool.new_images()
        self.dump()
        self.gone(before)
        self.case.proc = None
        images = self.tool.images()
        for opts, seconds in kills:
            rc = self.tool.restore(*opts, kill_after=seconds)
            why = "restore killed %s" % ("at point %s" % opts[1] if opts else "after %.2f ms" % (seconds * 1000))
            if rc == 0 or self.released():
                # In time: it stands, whole.
                self.settle(self.pid)
                self.compare(before, self.pid, why + " (too late)")
                self.case.ask()
                self.case.kill_tree(before.pids)
                self.case.wait_gone(before.pids, 5)
                if rc == 0 and opts:
                    break
                continue
            if rc != KILLED:
                raise Failed("%s: it ends with %d:\n  %s" % (why, rc, "\n  ".join(self.tool.errors("restore.log"))))
            self.tried += 1
            self.hit += 1
            self.nothing_left(before.pids, why)
            if self.tool.images() != images:
                raise Failed("%s: the images are not as they were" % why)
            self.same_files(files, why)
        self.restore()
        self.settle(self.pid)
        self.compare(before, self.pid, "after all kills of the restore")
        self.case.ask()

    def released(self):
        """The kill came after the last stage: all tasks run already and nobody takes them back."""
        return re.search(r"releas|resumed|let go", self.tail("restore.log"), re.I) and \
            wait_for(lambda: alive(self.pid), 0.2) and not self.settle(self.pid) and \
            wait_for(lambda: not self.strays() and alive(self.pid), 1)

    def go(self):
        rng = random.Random(self.args.seed)
        if self.args.kill_points:
            self.dump_points()
            points = self.tried
            self.restore_kills([(("--test-kill-at", n), None) for n in range(1, 2000)])
            self.note = "%d points in dump, %d in restore" % (points, self.tried - points)
        if self.args.kill_random:
            self.tried = self.hit = 0
            self.dump_random(self.args.kill_random, rng)
            began = time.monotonic()
            self.tool.new_images()
            before = Snapshot(self.pid)
            self.dump()
            self.gone(before)
            self.case.proc = None
            self.restore()
            length = (time.monotonic() - began) * 0.6
            hits = self.hit
            self.restore_kills([((), rng.uniform(0, length)) for _ in range(self.args.kill_random)])
            self.note = "%d random kills hit dumps, %d restores" % (hits, self.hit - hits)
        self.case.verify()
