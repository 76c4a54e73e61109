# SPDX-License-Identifier: GPL-2.0-only
"""Running the real binary, and looking at what it leaves."""
import os
import signal
import subprocess
import time

from case import Failed
from snapshot import text


class Tool:
    def __init__(self, path, case):
        self.path, self.case = os.path.abspath(path), case
        self.imgs = os.path.join(case.work, "imgs")
        self.new_images()

    def new_images(self):
        """An empty directory for the next checkpoint."""
        if os.path.isdir(self.imgs):
            for n in os.listdir(self.imgs):
                os.unlink(os.path.join(self.imgs, n))
        else:
            os.mkdir(self.imgs)

    def run(self, *args, kill_after=None, stdin=subprocess.DEVNULL, wrap=()):
        """Runs the tool; returns (exit status, seconds). kill_after: SIGKILL it then; the status is -9 if it was in time."""
        began = time.monotonic()
        out_path = os.path.join(self.case.work, "tool.out")
        with open(out_path, "wb") as out:
            p = subprocess.Popen([*wrap, self.path, *map(str, args)], stdin=stdin, stdout=out, stderr=out,
                                 start_new_session=True)
            self.case.tool_pids.append(p.pid)
            self.case.keep_pids.add(p.pid)
            try:
                p.wait(kill_after if kill_after is not None else self.case.timeout)
            except subprocess.TimeoutExpired:
                os.kill(p.pid, signal.SIGKILL)
                p.wait()
                if kill_after is None:
                    raise Failed("the tool hangs (%s)" % " ".join(map(str, args[:2])))
            finally:
                self.case.keep_pids.discard(p.pid)
        self.seconds = time.monotonic() - began
        return p.returncode

    def dump(self, *opts, **kw):
        return self.run("dump", "-t", self.case.pid, "-D", self.imgs, "-v4", "-o", "dump.log", *opts,
                        *self.case.spec.words("dump"), **kw)

    def restore(self, *opts, **kw):
        pidfile = os.path.join(self.case.work, "pidfile")
        if os.path.exists(pidfile):
            os.unlink(pidfile)
        return self.run("restore", "-d", "-D", self.imgs, "-v4", "-o", "restore.log", "--pidfile", pidfile, *opts,
                        *self.case.spec.words("restore"), **kw)

    def log(self, name):
        return text(os.path.join(self.imgs, name))

    def errors(self, name):
        """The lines of a log that say why, or its end."""
        log = self.log(name).splitlines()
        bad = [s for s in log if "Error" in s or "Warn" in s]
        return (bad or log or text(os.path.join(self.case.work, "tool.out")).splitlines())[-12:]

    def images(self):
        """What of a checkpoint lies in the directory."""
        return sorted(n for n in os.listdir(self.imgs) if n.endswith(".img") or n == "checkpoint.sums")


def segments(pids):
    """System V segments that one of these processes made."""
    out = []
    for line in text("/proc/sysvipc/shm").splitlines()[1:]:
        f = line.split()
        if int(f[4]) in pids:
            out.append("shmid %s, %s bytes, made by the tool" % (f[1], f[3]))
    return out
