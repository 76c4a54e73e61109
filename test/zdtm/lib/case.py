# SPDX-License-Identifier: GPL-2.0-only
"""One test: what its source says of it, and the running program."""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from snapshot import children, state_of, status_of, text, threads, tree

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONG = 60  # seconds, for what comes at once on an idle machine: only what hangs takes longer
ENDING = 5  # for what has been killed
DRIVE = 300  # for all that a driver does


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Spec:
    """A test's header lines: "zdtm: key value" in its first comment. README.md in test/zdtm lists the keys."""

    KEYS = ("exclusive", "needs-root", "needs", "dump", "restore", "iters", "restores", "flavour", "refuse", "victim",
            "no-userns", "slow", "set", "sole", "allow", "timeout", "driver", "mode", "no-snapshot", "frozen", "leaves", "real")

    def __init__(self, source, program):
        self.source, self.program = source, os.path.abspath(program)
        self.name = os.path.basename(program)
        self.opts, self.problem = {}, ""
        with open(source, errors="replace") as f:
            for line in f.read(4000).splitlines():
                m = re.match(r"[\s*#/]*zdtm: ([a-z-]+)\s*(.*)$", line)
                if not m:
                    if "zdtm: " in line:
                        self.problem = "its header has this key not at the beginning of a line: " + line
                    continue
                if m[1] not in self.KEYS:
                    self.problem = "its header has an unknown key: " + m[1]
                self.opts.setdefault(m[1], []).append(m[2].strip())

    def has(self, key):
        return key in self.opts

    def all(self, key):
        return self.opts.get(key, [])

    def one(self, key, default=""):
        return self.opts.get(key, [default])[-1]

    def words(self, key):
        return " ".join(self.all(key)).split()

    def number(self, key, default):
        return int(self.one(key, str(default)))


def find(tests_dir):
    """All tests: C sources whose program has been built into tests_dir, and scripts."""
    out = []
    for name in sorted(os.listdir(HERE)):
        base, ext = os.path.splitext(name)
        path = os.path.join(HERE, name)
        if ext == ".c":
            out.append(Spec(path, os.path.join(tests_dir, base)))
        elif ext in (".sh", ".py", ".pl"):
            out.append(Spec(path, path))
    return out


def wait_for(condition, seconds=LONG, step=0.005):
    end = time.monotonic() + seconds
    while True:
        v = condition()
        if v:
            return v
        if time.monotonic() > end:
            return None
        time.sleep(step)
        step = min(step * 1.3, 0.05)


def alive(pid):
    """Runs, or at least one of its threads does (the first one may have ended)."""
    state = state_of(pid)
    if state != "Z":
        return state not in ("gone", "X")
    return len(threads(pid)) > 1


def guardians():
    """The tool's processes that outlive it for a moment: we are their subreaper."""
    return [p for p in children(os.getpid()) if text("/proc/%d/comm" % p).startswith("criu") and state_of(p) not in ("Z", "gone")]


def rests(pid):
    """Whether one of its threads sleeps and nobody has killed it."""
    for tid in threads(pid):
        status = status_of("/proc/%d/task/%s/status" % (pid, tid))
        killed = int(status.get("SigPnd", "0"), 16) | int(status.get("ShdPnd", "0"), 16)
        if status.get("State", "Z")[0] in "ST" and not killed & 1 << signal.SIGKILL - 1:
            return True
    return False


def runs(pid):
    """
    Whether a task goes on when the tool and its guardian are dead. Whom they take along has SIGKILL pending when they are
    gone, so who rests then and has none is not taken along.
    """
    wait_for(lambda: not guardians())
    wait_for(lambda: not alive(pid) or rests(pid))
    return alive(pid)


NEWPID = 0x20000000


@contextlib.contextmanager
def first_of_new_pids(wanted):
    """The first process that is started within is the init of a pid namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if wanted and libc.unshare(NEWPID):
            raise Skipped("needs a pid namespace: " + os.strerror(ctypes.get_errno()))
        yield
    finally:
        libc.setns(ours, NEWPID)
        os.close(ours)


NEWUSER = 0x10000000
MAP = "0 100000 65536\n"


def enter_user_ns():
    """Before an exec: a user namespace of its own, whose ids are others outside; root in there is nobody outside."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid, (r, w) = os.getpid(), os.pipe()
    writer = os.fork()
    if not writer:
        os.read(r, 1)
        for name in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (pid, name), "w") as f:
                f.write(MAP)
        os._exit(0)
    if libc.unshare(NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    os.write(w, b"x")
    if os.waitpid(writer, 0)[1]:
        raise OSError("no maps of ids were written")
    os.close(r)
    os.close(w)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


class Case:
    """A started test program. `work` holds dir/ (its cwd), imgs/ and the logs."""

    def __init__(self, spec, work_root, env=None):
        self.spec = spec
        self.work = tempfile.mkdtemp(prefix=spec.name + ".", dir=work_root)
        os.chmod(self.work, 0o755)
        self.dir = os.path.join(self.work, "dir")
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o777)
        self.pid = None
        self.proc = None
        self.tool_pids = []
        self.keep_pids = set()
        self.env = dict(env or {}, ZDTM=HERE)
        self.timeout = spec.number("timeout", DRIVE if spec.has("driver") else 2 * LONG) * max(1, int(self.env.get("ROUNDS") or 1))
        os.close(os.open(self.path("result"), os.O_CREAT | os.O_WRONLY))
        os.chmod(self.path("result"), 0o666)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, own_pids=0, own_users=False):
        """own_pids: below a shell that is the init of a pid namespace, and that self.pid is; 2: of one in that; own_users: see above."""
        env = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "ASAN_OPTIONS") if k in os.environ}
        env.update(self.env)
        out = os.open(self.path("output"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        stdin = os.open("/dev/null", os.O_RDONLY)
        init = ["sh", "-c", 'setsid "$0"; exit $?']
        init = [[], init, ["sh", "-c", "unshare -fp sh -c '%s' \"$0\"; exit $?" % init[2]]][own_pids]
        with first_of_new_pids(own_pids):
            self.proc = subprocess.Popen(init + [self.spec.program], cwd=self.dir, env=env, stdin=stdin, stdout=out,
                                         stderr=out, start_new_session=True,
                                         preexec_fn=enter_user_ns if own_users else None)
        self.pid = self.proc.pid
        os.close(stdin)
        os.close(out)
        if not wait_for(lambda: os.path.exists(self.path("ready")) or not alive(self.pid), self.timeout):
            raise Failed("not ready after %d s" % self.timeout)
        if not os.path.exists(self.path("ready")):
            self.proc.wait(60)
            self.judge(self.proc.returncode)  # raises: it ended before it was ready
            raise Failed("ended before it was ready")
        time.sleep(0.03)  # until everybody sleeps where they said they would

    def drive(self):
        """A driver runs the tool itself; it says PASS or FAIL in the same file. What it has measured is given back, to be shown."""
        with open(self.path("output"), "w") as out:
            env = dict(os.environ, **self.env, WORK=self.work, PYTHONPATH=os.path.join(HERE, "lib"),
                       PYTHONDONTWRITEBYTECODE="1")
            p = subprocess.Popen([self.spec.program], cwd=self.dir, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=out, start_new_session=True)
            try:
                code = p.wait(self.timeout)
            except subprocess.TimeoutExpired:
                self.kill_tree(tree(p.pid))
                p.wait()
                raise Failed("not ended after %d s" % self.timeout)
        self.judge(code)
        return "".join("\n  " + line for line in self.words()[1] if line.startswith("measured: "))

    def words(self):
        out = text(self.path("result")).strip().splitlines()
        return out, text(self.path("output")).strip().splitlines()

    def reap(self):
        """Takes the zombies that were left to us (we are their subreaper)."""
        for pid in children(os.getpid()):
            if pid not in self.keep_pids and state_of(pid) == "Z":
                if self.proc and pid == self.proc.pid:
                    self.proc.poll()
                    continue
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    def wait_gone(self, pids, seconds=LONG):
        def gone():
            self.reap()
            return all(state_of(p) == "gone" for p in pids)
        if not wait_for(gone, seconds):
            left = ["%d %s" % (p, state_of(p)) for p in pids if state_of(p) != "gone"]
            raise Failed("still there: %s" % ", ".join(left[:10]))

    def ask(self):
        """A victim looks at itself and goes on."""
        before = len([w for w in self.words()[0] if w.startswith("FAIL")])
        with open(self.path("ask"), "w"):
            pass
        if not wait_for(lambda: not os.path.exists(self.path("ask")) or not alive(self.pid)):
            raise Failed("the program does not answer any more (state %s)" % state_of(self.pid))
        if not alive(self.pid):
            raise Failed("the program is dead")
        fails = [w for w in self.words()[0] if w.startswith("FAIL")]
        if len(fails) > before:
            raise Failed("the program says: " + fails[-1])

    def verify(self, pid=None):
        """The last question; pid: the root as we see it now."""
        pid = pid or self.pid
        with open(self.path("verify"), "w"):
            pass
        status = []

        def ended():
            if self.proc and pid == self.proc.pid and self.proc.poll() is not None:
                status.append(self.proc.returncode)
                return True
            try:
                p, st = os.waitpid(pid, os.WNOHANG)
                if p:
                    status.append(os.waitstatus_to_exitcode(st))
                    return True
            except ChildProcessError:
                return state_of(pid) == "gone"
            return False
        if not wait_for(ended, self.timeout):
            raise Failed("no end after it was told to verify (state %s)" % state_of(pid))
        self.judge(status[0] if status else None)

    def judge(self, code):
        said, printed = self.words()
        skips = [w for w in said if w.startswith("SKIP")]
        if skips:
            raise Skipped(skips[0][5:])
        if any(w.startswith("FAIL") for w in said):
            raise Failed("the program says so")
        if not said or said[-1] != "PASS" or code not in (0, None):
            raise Failed("the program ended with %s without saying PASS" %
                         ("status %s" % code if code is None or code >= 0 else "signal %d" % -code))

    def passed_over(self):
        """Parts of the test that could not be made here, each with its reason."""
        return [w.partition("PASSED OVER ")[2] for w in self.words()[0] if w.startswith("PASSED OVER ")]

    def kill_tree(self, pids=None):
        pids = tree(self.pid) if pids is None else list(pids)
        for sig in (signal.SIGSTOP, signal.SIGKILL):  # nobody goes on to see another die: the end of a pipe, a child's
            for p in pids:
                try:
                    os.kill(p, sig)
                except OSError:
                    pass

    def others(self):
        """All that runs below us and is no tool."""
        self.reap()
        return [p for c in children(os.getpid()) if c not in self.keep_pids for p in tree(c) if state_of(p) != "gone"]

    def kill_all(self):
        """However fast they fork. Returns who was there at first."""
        first = self.others()
        wait_for(lambda: self.kill_tree(self.others()) or not self.others())
        return first

    def end(self, keep, passed):
        """Ends what is left of ours; returns what should not have been left: what was killed may take a moment to end."""
        if passed:
            wait_for(lambda: not self.others(), ENDING)
        names = {p: text("/proc/%d/cmdline" % p).replace("\0", " ").strip() or text("/proc/%d/comm" % p).strip()
                 for p in self.others()}
        self.kill_all()
        if not keep:
            shutil.rmtree(self.work, ignore_errors=True)
        return ["%d (%s)" % x for x in names.items()]
