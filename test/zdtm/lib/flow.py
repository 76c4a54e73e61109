# SPDX-License-Identifier: GPL-2.0-only
"""The ways a test is taken through a checkpoint."""
import fnmatch
import os
import pickle
import re
import signal
import subprocess
import sys

from case import HERE, Failed, wait_for
from snapshot import Allowed, Snapshot, children, differences, state_of, status_of, text, tree
from tool import segments

NS_ROWS = ("fd */mnt_id\tany\tthe namespace flavour has a mount namespace of its own",
           "cgroup\tany\tas the namespace flavour's shell sees it",
           "maps\tname:/memfd:criu-shared=/dev/zero\tmap_files needs rights outside of the user namespace",
           "status/Cap*\tany\tof another user namespace",
           "status/Groups\tany\tas the user namespace maps them",
           "limits\tany\thard limits cannot be raised there")


def ticks(pid):
    """How long it has run, in hundredths of a second."""
    fields = text("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def listing(d):
    """The files of the test's own directory; the harness's aside."""
    ours = {"ready", "verify", "ask", "result", "output"}
    out = {}
    for base, _, names in os.walk(d):
        for n in names:
            path = os.path.join(base, n)
            key = os.path.relpath(path, d)
            if key not in ours:
                out[key] = oct(os.lstat(path).st_mode)
    return out


class Flow:
    def __init__(self, case, tool, args):
        self.case, self.tool, self.args, self.spec = case, tool, args, case.spec
        self.allowed = Allowed(os.path.join(HERE, "allowed-differences"), self.spec.all("allow"))
        self.pid = case.pid
        self.init = None  # of the namespace flavour
        self.left = set()

    def compare(self, before, root, when, allowed=None):
        diff = differences(before, Snapshot(root), allowed or self.allowed)
        if diff:
            raise Failed("%s, %d things differ:\n  " % (when, len(diff)) + "\n  ".join(diff[:40]))

    def check_left(self, when):
        seg = segments(self.case.tool_pids)
        if seg:
            raise Failed("%s: left behind: %s" % (when, "; ".join(seg)))

    def dump(self, *opts):
        rc = self.tool.dump(*opts)
        if rc:
            raise Failed("dump failed (status %d):\n  %s" % (rc, "\n  ".join(self.tool.errors("dump.log"))))
        self.note_left()

    def note_left(self):
        """A dump that came to its end may leave files of these names beside the images."""
        now = listing(self.case.dir)
        self.left.update(n for n in now if any(fnmatch.fnmatch(n, g) for g in self.spec.words("leaves")))

    def restore(self, *opts):
        rc = self.tool.restore(*opts)
        if rc:
            raise Failed("restore failed (status %d):\n  %s" % (rc, "\n  ".join(self.tool.errors("restore.log"))))
        said = text(os.path.join(self.case.work, "pidfile")).strip()
        if self.args.flavour in ("pidns", "nested") and said.isdigit():
            self.find_root()
        if said != str(self.pid):
            raise Failed("the pidfile says %r, not %d" % (said, self.pid))

    def find_root(self):
        """The init of a pid namespace has another number here after each restore."""
        said = text(os.path.join(self.case.work, "pidfile")).strip()
        if self.args.flavour in ("pidns", "nested") and said.isdigit():
            self.pid = self.case.pid = int(said)

    def gone(self, snap):
        self.case.wait_gone(snap.pids)
        self.check_left("after the dump")

    def plain(self):
        """Dump, all gone, restore, nothing different; several times; then the program has the word."""
        for _ in range(self.args.iters or self.spec.number("iters", 1)):
            self.tool.new_images()
            before, files = Snapshot(self.pid), listing(self.case.dir)
            self.dump()
            self.gone(before)
            self.same_files(files, "the dump")
            count = self.args.restores or self.spec.number("restores", 1)
            for r in range(count):
                self.restore()
                self.case.proc = None
                if self.spec.has("victim"):
                    self.case.ask()
                if r < count - 1:
                    now = tree(self.pid)
                    self.case.kill_tree(now)
                    self.case.wait_gone(now)
            self.settle(self.pid)
            self.compare(before, self.pid, "after the restore")
            self.check_left("after the restore")
            self.same_files(files, "the restore")
        self.case.verify()

    def same_files(self, files, what):
        now = listing(self.case.dir)
        new = sorted(set(now) - set(files) - self.left)
        if new:
            raise Failed("%s left files: %s" % (what, ", ".join(new)))

    def settle(self, pid):
        """A restored task may need a moment until it sleeps again; if it does not, it is one that never does."""
        began = {p: ticks(p) for p in tree(pid)}
        wait_for(lambda: all(state_of(p) in "STZt" or ticks(p) > began.get(p, 0) + 20 for p in tree(pid)), step=0.02)

    def frozen(self):
        """For programs that never rest: both looks are taken by an action script, while nothing runs."""
        for _ in range(self.args.iters or self.spec.number("iters", 1)):
            self.tool.new_images()
            hook = os.path.join(self.case.work, "hook")
            with open(hook, "w") as f:
                f.write("#!/bin/sh\nexec %s %s --snapshot-hook %s ${CRTOOLS_INIT_PID:-%d}\n" %
                        (sys.executable, os.path.join(HERE, "run"), self.case.work, self.pid))
            os.chmod(hook, 0o755)
            self.dump("--action-script", hook)
            if not wait_for(lambda: not self.case.others()):
                raise Failed("still there: %r" % self.case.others())
            count = self.args.restores or self.spec.number("restores", 1)
            for r in range(count):
                self.restore("--action-script", hook)
                self.case.proc = None
                self.frozen_compare()
                if r < count - 1:
                    self.case.kill_all()
            self.check_left("after the restore")
        self.case.verify()

    def frozen_compare(self):
        snaps = []
        for stage in ("post-dump", "post-restore"):
            path = os.path.join(self.case.work, stage + ".snapshot")
            if not os.path.exists(path):
                raise Failed("the action script was not called for %s" % stage)
            with open(path, "rb") as f:
                snaps.append(pickle.load(f))
        os.unlink(path)
        diff = differences(snaps[0], snaps[1], Allowed(os.path.join(HERE, "allowed-differences"), self.spec.all("allow") + [
            "status/State\tany\tboth looks are taken while it is stopped",
            "stat/3\tany\tboth looks are taken while it is stopped",
            "status/TracerPid\tany\tboth looks are taken while it is stopped"]))
        if diff:
            raise Failed("between dump and restore %d things differ:\n  " % len(diff) + "\n  ".join(diff[:40]))

    def refuse(self):
        """The dump must fail, say every reason, and leave no trace."""
        before, files = Snapshot(self.pid), listing(self.case.dir)
        if self.tool.dump() == 0:
            raise Failed("the dump should have been refused")
        log = self.tool.log("dump.log")
        for pattern in self.spec.all("refuse"):
            if not any(re.search(pattern, line) for line in log.splitlines() if "Error" in line):
                raise Failed("no error says /%s/:\n  %s" % (pattern, "\n  ".join(self.tool.errors("dump.log"))))
        self.unharmed(before, files)
        self.case.verify()

    def unharmed(self, before, files, when="after the refused dump"):
        self.compare(before, self.pid, when)
        for p in before.pids:
            tracer = status_of("/proc/%d/status" % p).get("TracerPid")
            if tracer not in ("0", None) and int(tracer) not in before.pids:
                raise Failed("%s: %d is still traced by %s" % (when, p, tracer))
        if self.tool.images():
            raise Failed("%s the directory holds %s" % (when, ", ".join(self.tool.images()[:6])))
        self.check_left(when)
        self.same_files(files, when)

    def leave_running(self):
        before, files = Snapshot(self.pid), listing(self.case.dir)
        self.dump("--leave-running", *["--snapshot", "always"] if self.args.snapshot else [])
        self.compare(before, self.pid, "after the dump")
        self.check_left("after the dump")
        self.same_files(files, "the dump")
        # And what it left can be restored, once the original is gone.
        self.case.kill_tree(before.pids)
        self.case.wait_gone(before.pids)
        self.restore()
        self.case.proc = None
        self.settle(self.pid)
        self.compare(before, self.pid, "after the restore")
        self.case.verify()

    def namespaces(self):
        """Restored inside a new user and pid namespace, whose first process is a shell of ours."""
        before = Snapshot(self.pid)
        self.dump()
        self.gone(before)
        self.case.proc = None
        work = self.case.work
        script = os.path.join(work, "init")
        with open(script, "w") as f:
            f.write("#!/bin/bash\ncd %s\n\"$@\"; echo $? > ns.tmp; mv ns.tmp ns.rc\n"
                    "while [ ! -e ns.end ]; do read -t 0.02 <> ns.fifo; done\n" % work)
        os.chmod(script, 0o755)
        os.mkfifo(os.path.join(work, "ns.fifo"))
        pidfile = os.path.join(work, "pidfile")
        with open(os.path.join(work, "tool.out"), "wb") as out:
            shell = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", script,
                 self.tool.path, "restore", "-d", "-D", self.tool.imgs, "-v4", "-o", "restore.log", "--pidfile", pidfile,
                 *self.spec.words("restore")], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.case.keep_pids.add(shell.pid)
        try:
            if not wait_for(lambda: os.path.exists(os.path.join(work, "ns.rc")) or shell.poll() is not None,
                            self.case.timeout):
                raise Failed("the restore hangs")
            rc = text(os.path.join(work, "ns.rc")).strip()
            if rc != "0":
                raise Failed("restore in a new namespace failed (%s):\n  %s" %
                             (rc, "\n  ".join(self.tool.errors("restore.log"))))
            init = children(shell.pid)[0]
            root = next((p for p in children(init) if inner_pid(p) == self.pid), None)
            if root is None:
                raise Failed("no task with pid %d is in the new namespace" % self.pid)
            self.settle(root)
            self.compare(before, root, "after the restore in new namespaces",
                         Allowed(os.path.join(HERE, "allowed-differences"), self.spec.all("allow") + list(NS_ROWS)))
            self.case.verify(root)
        finally:
            open(os.path.join(work, "ns.end"), "w").close()
            try:
                shell.wait(2)
            except subprocess.TimeoutExpired:
                os.kill(shell.pid, signal.SIGKILL)
                shell.wait()
            self.case.keep_pids.discard(shell.pid)

    def dry(self):
        """Without the tool: is the test itself right?"""
        Snapshot(self.pid)
        if self.spec.has("victim"):
            self.case.ask()
        self.case.verify()

    def go(self):
        if self.args.dry:
            return self.dry()
        if self.spec.has("refuse"):
            return self.refuse()
        if self.args.flavour == "ns":
            return self.namespaces()
        if self.spec.has("frozen"):
            return self.frozen()
        if "leave-running" in self.spec.words("mode") or self.args.leave_running or self.args.snapshot:
            return self.leave_running()
        return self.plain()


def inner_pid(pid):
    return int(status_of("/proc/%d/status" % pid).get("NSpid", "0").split()[-1])
