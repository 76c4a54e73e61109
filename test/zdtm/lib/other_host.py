# SPDX-License-Identifier: GPL-2.0-only
"""Another host, as far as a restore can tell: pids and a /proc of its own, for tasks that stand still here meanwhile."""
import os
import shutil
import signal
import subprocess

from case import Failed, wait_for
from driver import check, state_of, text, tree

INIT = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(flush=True)\nwhile True: signal.pause()"


def pid_ns(pid):
    """Nothing where it does not run any more."""
    try:
        return os.readlink("/proc/%s/ns/pid" % pid) if state_of(int(pid)) not in ("Z", "X", "gone") else ""
    except OSError:
        return ""


class OtherHost:
    def __init__(self, s, *unshare):
        self.s, self.daemon, self.imgs, self.log = s, None, s.path("there"), s.path("there/lazy.log")
        shutil.rmtree(self.imgs, ignore_errors=True)
        os.mkdir(self.imgs)
        self.init = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *unshare, "python3", "-c", INIT],
                                     stdout=subprocess.PIPE, start_new_session=True)
        check(self.init.stdout.readline() == b"\n", "unshare")
        with open("/proc/%d/task/%d/children" % (self.init.pid, self.init.pid)) as f:
            self.root = int(f.read())
        self.ns = pid_ns(self.root)
        self.enter = ["nsenter", "-t", str(self.root), "-p", "-m", *(n[1:3] for n in unshare)]

    def copy(self):
        for n in os.listdir(self.s.imgs):
            if not n.endswith(".log"):
                shutil.copy(os.path.join(self.s.imgs, n), self.imgs)

    def copy_chain(self, prev):
        """The same, on top of what is there already."""
        for n in os.listdir(self.s.imgs):
            if not n.endswith(".log") and n != "parent":
                shutil.copy(os.path.join(self.s.imgs, n), self.imgs)
        os.symlink(prev, self.imgs + "/parent")

    def lazy_pages(self, *opts, ok=True, **kw):
        """The daemon; whether it listens."""
        status, ours = os.pipe()
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.daemon = subprocess.Popen(self.enter + [self.s.criu, "lazy-pages", "-D", self.imgs, "-v4", "-o", "lazy.log", "--status-fd",
                                                     str(ours), *map(str, opts)], cwd=self.s.dir, stdin=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, pass_fds=[ours, *kw.pop("pass_fds", [])], **kw)
        os.close(ours)
        listens = os.read(status, 1) == b"\0"
        os.close(status)
        check(listens == ok, "the daemon %s: %s" % ("listens" if listens else "does not listen", self.said()))

    def said(self):
        return text(self.log)[-1500:]

    def restore(self, *opts, ok=True):
        p = subprocess.run(self.enter + [self.s.criu, "restore", "-d", "-D", self.imgs, "-v4", "-o", "restore.log", *map(str, opts)],
                           cwd=self.s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.out = p.stdout
        if ok and p.returncode:
            raise Failed("restore: %d: %s" % (p.returncode, self.s.errors("restore.log", self.imgs)))
        return p.returncode

    def tasks(self):
        """What runs there beside the first process: pids there, in their order."""
        p = subprocess.run(self.enter + ["ls", "/proc"], stdout=subprocess.PIPE, text=True)
        mine = []
        for n in p.stdout.split():
            state = subprocess.run(self.enter + ["cat", "/proc/%s/stat" % n], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True).stdout if n.isdigit() and n != "1" else ""
            comm = state[state.find("(") + 1:state.rfind(")")]
            if state and comm not in ("nsenter", "ls", "cat", "criu", "lazy-keeper"):
                mine.append(int(n))
        return sorted(mine)

    def kill_daemon(self):
        """Not nsenter, but what it has started."""
        for p in tree(self.daemon.pid)[1:2]:
            os.kill(p, signal.SIGKILL)

    def ends(self, seconds=30):
        """The daemon's status."""
        try:
            return self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed("the daemon goes on: %s" % self.said())

    def verify(self):
        """The victim there looks at itself."""
        s = self.s
        check(not os.path.exists(s.path("result")), "there is an answer before the question: %r" % text(s.path("result")))
        open(s.path("verify"), "w").close()
        if not wait_for(lambda: "PASS" in text(s.path("result")) or "FAIL" in text(s.path("result")), 60):
            raise Failed("no answer from there: %s" % text(s.path("result")))
        said = text(s.path("result"))
        check(said.strip().endswith("PASS") and "FAIL" not in said, "the victim says %r" % said)
        check(wait_for(lambda: not self.tasks()), "there is still %r" % self.tasks())
        os.unlink(s.path("verify"))
        os.unlink(s.path("result"))

    def done(self):
        """Nothing runs there any more: what is about to end could still say what it has seen, and be taken for the next tree."""
        for p in (self.daemon, self.init):
            if p and p.poll() is None:
                p.kill()
                p.wait()
        self.init.stdout.close()
        check(wait_for(lambda: not self.runs()), "another host does not end")

    def runs(self):
        """All but the first process, which waits until others have been reaped."""
        return [p for p in os.listdir("/proc") if p.isdigit() and int(p) != self.root and pid_ns(p) == self.ns]


class LazyDump:
    """criu dump --lazy-pages, until it waits for a daemon."""

    def __init__(self, s, *opts, ready=True, timeout=60, **kw):
        self.s, status = s, os.pipe()
        for n in os.listdir(s.imgs):
            if n.endswith(".log"):
                os.unlink(os.path.join(s.imgs, n))
        self.proc = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "--lazy-pages", "--status-fd",
                                      str(status[1]), *map(str, opts)], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, pass_fds=[status[1], *kw.pop("pass_fds", [])], **kw)
        os.close(status[1])
        self.is_ready = os.read(status[0], 1) == b"\0"
        os.close(status[0])
        check(ready is None or self.is_ready == ready, "dump: %s" % self.said())
        port = self.proc.stdout.readline() if self.is_ready and "--port" not in opts and "--ps-socket" not in opts else ""
        self.port = int(port.split()[1]) if port else 0

    def said(self):
        return self.s.errors("dump.log")

    def ends(self, status, words="", seconds=60):
        try:
            rc = self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise Failed("the dump does not end: %s" % self.said())
        finally:
            self.proc.stdout.close()
        check(rc == status and words in self.said(), "the dump ends with %d: %s" % (rc, self.said()))
