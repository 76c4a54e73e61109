# SPDX-License-Identifier: GPL-2.0-only
"""Campaigns that kill the tool: at its N-th fault point, or at any instant. The victim must not notice, and a restore
must leave nothing and be possible again."""
import os
import random

from case import Failed, alive, runs, wait_for
from flow import Flow, listing
from snapshot import Snapshot, children, state_of, status_of, text, tree

KILLED = -9
MOST_POINTS = 3000


class Faults(Flow):
    def __init__(self, case, tool, args):
        super().__init__(case, tool, args)
        # Of a stop that ended because its tracer died, the kernel keeps the code until the next stop.
        self.allowed.rows.append(("stat/52", "any", "exit code of the last ptrace stop"))
        self.hits = {"dump": 0, "restore": 0}
        self.before, self.files = Snapshot(self.pid), listing(case.dir)

    def find_root(self):
        super().find_root()
        if self.args.flavour in ("pidns", "nested") and state_of(self.pid) != "gone":
            self.before.pids = tree(self.pid)

    def strays(self):
        """Children of ours that are not the victim: a guardian, a half-made task."""
        return [p for p in children(os.getpid())
                if p != self.pid and p not in self.case.keep_pids and state_of(p) not in ("Z", "gone")]

    def tail(self, log):
        return "\n    the log ends:\n    " + "\n    ".join(self.tool.log(log).splitlines()[-6:])

    def calm(self, why):
        """The guardian and the agents have a moment to put all back."""
        def none():
            self.case.reap()
            return not self.strays()
        if not wait_for(none):
            raise Failed("%s: left running: %s%s" % (why, self.names(self.strays()), self.whereabouts()))

    def whereabouts(self):
        """Of every thread of the victim: its state, who traces it, the system call it is in with the stack pointer and ip."""
        out = []
        for p in tree(self.pid):
            for t in sorted(os.listdir("/proc/%d/task" % p), key=int):
                at = "/proc/%d/task/%s" % (p, t)
                out.append("\n    %s %s tracer %s: %s" % (t, state_of(int(t)), status_of(at + "/status").get("TracerPid"),
                                                        text(at + "/syscall").strip()))
        return "".join(out[:40])

    @staticmethod
    def names(pids):
        return ", ".join("%d %s (%s)" % (p, state_of(p), text("/proc/%d/comm" % p).strip()) for p in pids[:8])

    # ---- dump ----

    def dump_killed(self, why, opts, kill_after=None):
        """One dump that is to be killed; False if it came to its end instead. Ends with the victim running, well."""
        self.tool.new_images()
        rc = self.tool.dump(*opts, kill_after=kill_after)
        if rc not in (0, KILLED):
            raise Failed("%s: the dump ends with %d:\n  %s" % (why, rc, "\n  ".join(self.tool.errors("dump.log"))))
        try:
            self.calm(why)
            if "checkpoint.sums" in self.tool.images():
                self.committed(why, "--leave-running" not in opts)
            else:
                self.rolled_back(why)
        except Failed as e:
            raise Failed("%s\n%s" % (e, self.tail("dump.log")))
        self.hits["dump"] += rc == KILLED
        return rc == KILLED

    def rolled_back(self, why):
        """Before the commit: nothing has happened."""
        if not alive(self.pid):
            raise Failed("%s: the victim is dead (%s)" % (why, state_of(self.pid)))
        wait_for(lambda: all(state_of(p) in "SRDZT" for p in tree(self.pid)))
        self.ask(why)
        self.unharmed(self.before, self.files, why)

    def committed(self, why, kills):
        """After it: the checkpoint stands, and what was to happen to the tasks has happened."""
        self.note_left()
        if kills:
            self.case.wait_gone(self.before.pids)
            self.case.proc = None
            self.restore()
        self.settle(self.pid)
        self.compare(self.before, self.pid, why + ", after the commit")
        self.check_left(why)
        self.ask(why)

    def ask(self, why):
        try:
            self.case.ask()
        except Failed as e:
            raise Failed("%s: %s" % (why, e))
        self.settle(self.pid)

    def dump_points(self, *opts):
        for n in range(1, MOST_POINTS):
            if not self.dump_killed("dump %s killed at point %d" % (" ".join(opts), n), opts + ("--test-kill-at", n)):
                break
        if n == 1:
            raise Failed("--test-kill-at 1 kills no dump")

    def dump_random(self, count, rng):
        self.tool.new_images()
        self.dump("--leave-running")
        length = self.tool.seconds * 1.1
        for i in range(count):
            when = rng.uniform(0, length)
            self.dump_killed("dump %d killed after %.2f ms of %.2f" % (i + 1, when * 1000, length * 1000),
                             ("--leave-running",) if i % 2 else (), kill_after=when)

    # ---- restore ----

    def whole_dump(self):
        self.tool.new_images()
        self.dump()
        self.case.wait_gone(self.before.pids)
        self.case.proc = None
        self.images = self.tool.images()

    def restore_killed(self, why, opts=(), kill_after=None):
        """One restore; False if it came to its end. Ends with nothing running, and the images whole."""
        rc = self.tool.restore(*opts, kill_after=kill_after)
        if rc not in (0, KILLED):
            raise Failed("%s: it ends with %d:\n  %s" % (why, rc, "\n  ".join(self.tool.errors("restore.log"))))
        try:
            self.find_root()
            self.calm(why)
            if rc == 0 or runs(self.pid):
                self.stands(why)
            self.nothing_left(why)
        except Failed as e:
            raise Failed("%s\n%s" % (e, self.tail("restore.log")))
        self.hits["restore"] += rc == KILLED
        return rc == KILLED

    def stands(self, why):
        """Killed after the release, or not at all: then the whole tree runs."""
        self.settle(self.pid)
        self.compare(self.before, self.pid, why + ", yet the root runs")
        self.ask(why)
        self.case.kill_tree(self.before.pids)
        self.case.wait_gone(self.before.pids)

    def nothing_left(self, why):
        def gone():
            self.case.reap()
            return all(state_of(p) == "gone" for p in self.before.pids)
        if not wait_for(gone):
            raise Failed("%s: left: %s" % (why, self.names([p for p in self.before.pids if state_of(p) != "gone"])))
        self.check_left(why)
        self.same_files(self.files, why)
        if self.tool.images() != self.images:
            raise Failed("%s: the images are not as they were" % why)

    def restore_points(self):
        for n in range(1, MOST_POINTS):
            if not self.restore_killed("restore killed at point %d" % n, ("--test-kill-at", n)):
                break
        if n == 1:
            raise Failed("--test-kill-at 1 kills no restore")

    def restore_random(self, count, rng):
        self.restore()
        length = self.tool.seconds * 1.1
        self.stands("the first restore")
        for i in range(count):
            when = rng.uniform(0, length)
            self.restore_killed("restore %d killed after %.2f ms of %.2f" % (i + 1, when * 1000, length * 1000),
                                kill_after=when)

    def go(self):
        rng = random.Random(self.args.seed)
        if self.args.kill_points:
            self.dump_points("--leave-running")
            self.dump_points()
            self.whole_dump()
            self.restore_points()
        if self.args.kill_random:
            self.dump_random(self.args.kill_random, rng)
            self.whole_dump()
            self.restore_random(self.args.kill_random, rng)
        self.restore()
        self.settle(self.pid)
        self.compare(self.before, self.pid, "after all kills")
        self.note = "%(dump)d dumps and %(restore)d restores were killed" % self.hits
        self.case.verify()
