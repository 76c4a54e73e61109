# SPDX-License-Identifier: GPL-2.0-only
"""Processes on GPUs that are not there: cuda_plugin.so, and stand-ins for the driver (mock_cuda_checkpoint, mock_cuda.c)."""
import os
import subprocess

from driver import HERE, check, state_of, status_of, text, tree, wait_for
from plugins import start

PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.environ["CRIU"])), "plugins")


class Gpu:
    """The stand-in: a directory of states, and the environment in which criu finds it."""

    def __init__(self, s, program, processes, driver=False, binary=True):
        self.s = s
        self.dir = s.path("mock")
        os.mkdir(self.dir)
        bin = s.path("bin")
        os.mkdir(bin)
        self.script = os.path.join(HERE, "lib/mock_cuda_checkpoint")
        if binary:
            os.symlink(self.script, bin + "/cuda-checkpoint")
        self.env = {"PATH": bin + ":" + os.environ["PATH"], "MOCK": self.dir, "MOCK_SCRIPT": self.script}
        self.driver(driver)
        start(s, program, env=dict(os.environ, **self.env))
        check(wait_for(lambda: len(tree(s.pid)) >= processes), "not all processes: %r" % tree(s.pid))
        self.pids = sorted(int(x.split(".")[1]) for x in os.listdir(self.dir) if x.startswith("tid"))
        self.tasks = tree(s.pid)
        self.masks = self.blocked()

    def driver(self, there):
        """Whether there is a libcuda.so.1."""
        lib = self.s.path("lib")
        if there and not os.path.isdir(lib):
            os.mkdir(lib)
            subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O1", "-Wall", "-o", lib + "/libcuda.so.1",
                            os.path.join(HERE, "lib/mock_cuda.c")], check=True)
        self.env.pop("LD_LIBRARY_PATH", None)
        if there:
            self.env["LD_LIBRARY_PATH"] = lib

    def states(self):
        return [text("%s/state.%d" % (self.dir, p)).strip() for p in self.pids]

    def all_are(self, state):
        return self.states() == [state] * len(self.pids)

    def checkpointed(self):
        """As they were in the images: a restore that has failed may have changed it."""
        for p in self.pids:
            with open("%s/state.%d" % (self.dir, p), "w") as f:
                f.write("checkpointed\n")

    def blocked(self):
        return [status_of("/proc/%s/status" % text("%s/tid.%d" % (self.dir, p)).strip())["SigBlk"] for p in self.pids]

    def log(self):
        return text(self.dir + "/log").splitlines() if os.path.exists(self.dir + "/log") else []

    def clean(self):
        for n in os.listdir(self.dir):
            if n == "log" or n.startswith("do.") or n == "frozen":
                os.unlink(os.path.join(self.dir, n))

    def do(self, action, what):
        with open("%s/do.%s" % (self.dir, action), "w") as f:
            f.write(what + "\n")

    def dump(self, *opts, **kw):
        return self.s.dump("-L", PLUGINS, *opts, env=self.env, **kw)

    def restore(self, *opts, **kw):
        return self.s.restore("-L", PLUGINS, *opts, env=self.env, **kw)

    def right(self):
        wrong = [x for x in self.log() if x.startswith("WRONG")]
        check(not wrong, "%r" % wrong)

    def as_before(self, when):
        """All run, with their GPUs and their signal masks; nothing of ours works on."""
        check(wait_for(lambda: self.all_are("running")), "%s: %r" % (when, self.states()))
        for p in self.tasks:
            check(wait_for(lambda: state_of(p) in "SR"), "%s: pid %d is %s" % (when, p, state_of(p)))
        check(wait_for(lambda: self.blocked() == self.masks), "%s: signals are blocked: %r" % (when, self.blocked()))
