#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Signals that end a program, at any instant of a dump, restore, check and unlock: criu ends within a second, by that
# signal, with everything taken back by then, or with 0 after the commit. --stress: 300 rounds of each, both CPUs busy.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 1500
import os
import pty
import random
import signal
import subprocess
import sys
import time

from case import alive
from driver import check, children, reap, run_all, scenario, state_of, status_of, text, tree, wait_for
from tcp_peers import ruleset, shell

STRESS = os.environ.get("STRESS") == "1"
ROUNDS = int(os.environ.get("INTERRUPTED_ROUNDS", "300" if STRESS else "8"))
BIG = (256, 1000, 60, 6) if STRESS else (16, 100, 10, 3)  # MiB, descriptors, threads, children
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().getrandbits(32)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
AT_ONCE = 1.0  # seconds; of what is measured on a busy machine one in a hundred may take longer
HANGS = 15.0
FOREVER = "sleep 1000 & sleep 1001; sleep 1002"
dice = random.Random(SEED)

# Counts, in two places of memory and as the position of a file: all of one instant.
VICTIM = r"""
import ctypes, mmap, os, socket, sys, threading, time
size, n_fds, n_threads, n_children = map(int, sys.argv[1:])
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
threading.stack_size(65536)
big = mmap.mmap(-1, size << 20)
for at in range(0, len(big), 4096):
    big[at:at + 4] = at.to_bytes(4, "little")
files = [os.open("/dev/null", os.O_RDONLY) if i % 2 else os.eventfd(i) for i in range(n_fds)]
pipes = [os.pipe() for _ in range(20)]
for r, w in pipes:
    os.write(w, b"in a pipe")
l = socket.create_server(("127.0.0.1", 0))
conns = [(socket.create_connection(l.getsockname()), l.accept()[0]) for _ in range(4)]
for _ in range(n_children):
    if not os.fork():
        own = mmap.mmap(-1, 1 << 20)
        while True:
            own[:4] = b"mine"
            time.sleep(0.01)
for _ in range(n_threads):
    threading.Thread(target=lambda: threading.Event().wait(), daemon=True).start()
fd = os.open("counted", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
a, b = mmap.mmap(-1, 1 << 16), mmap.mmap(-1, 1 << 20)
n = 0
open("ready", "w").close()
while True:
    at = os.lseek(fd, 0, os.SEEK_CUR)
    if (int.from_bytes(a[:8], "little"), int.from_bytes(b[-8:], "little"), at) != (n, n, n):
        open("broken", "w").write("%r" % ((a[:8], b[-8:], at, n),))
        os._exit(1)
    n += 1
    a[:8] = n.to_bytes(8, "little")
    b[-8:] = n.to_bytes(8, "little")
    os.lseek(fd, n, os.SEEK_SET)
    if os.path.exists("ask"):
        c, s = conns[n % len(conns)]
        c.sendall(b"hello")
        ok = s.recv(5, socket.MSG_WAITALL) == b"hello" and big[4096 * 7:4096 * 7 + 4] == (4096 * 7).to_bytes(4, "little")
        os.rename("ask", "answered" if ok else "broken")
    time.sleep(0.0005)
"""


class Busy:
    """Both CPUs have other work to do."""

    def __enter__(self):
        self.procs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() if STRESS else 0)]
        return self

    def __exit__(self, *args):
        for p in self.procs:
            p.kill()
            p.wait()


def start(s, size=BIG[0], fds=BIG[1], threads=BIG[2], kids=BIG[3]):
    for n in ("ready", "broken", "ask", "answered"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen([sys.executable, "-c", VICTIM, *map(str, (size, fds, threads, kids))], cwd=s.dir,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready")
    s.tasks = kids + 1


def runs_on(s, why):
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("answered")) or os.path.exists(s.path("broken"))), why + ": no answer")
    check(not os.path.exists(s.path("broken")), "%s: it is broken: %s" % (why, text(s.path("broken"))))
    os.unlink(s.path("answered"))


def sums(s):
    return {n: os.stat(os.path.join(s.imgs, n)).st_mtime_ns for n in os.listdir(s.imgs) if not n.endswith(".log") and not n.startswith("stats-")}


def ours(s):
    """Processes that are neither we, nor the victims, nor dead: of criu's and of its scripts."""
    mine = set(tree(s.pid)) if s.pid and alive(s.pid) else set()
    return [p for c in children(os.getpid()) for p in tree(c)
            if p not in mine and p not in s.keep and state_of(p) not in ("Z", "X", "gone")]


def names(pids):
    """What they are, what they do, and whether a moment later they are still there."""
    first = ["%d %s %s, parent %s, %s, in %s" % (p, state_of(p), text("/proc/%d/comm" % p).strip(), status_of("/proc/%d/status" % p).get("PPid"),
             text("/proc/%d/cmdline" % p).replace("\0", " ")[:60], text("/proc/%d/stack" % p).split("\n")[:3]) for p in pids]
    time.sleep(0.5)
    return ["%s; then %s" % (name, state_of(p)) for name, p in zip(first, pids)]


class Shot:
    """A command that gets a signal at some instant, or two, and what becomes of it."""

    def __init__(self, s, args, after, sig=None, again=0.3, fine=0, **kw):
        self.sigs = [sig or dice.choice(SIGNALS)]
        self.log = s.path("imgs/shot.log")
        p = subprocess.Popen([s.criu, *map(str, args), "-v4", "-o", self.log], cwd=s.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
        if callable(after):
            check(wait_for(after), "the instant does not come: " + text(self.log)[-300:])
        else:
            time.sleep(after)
        began = time.monotonic()
        p.send_signal(self.sigs[0])
        if dice.random() < again:
            time.sleep(dice.uniform(0, 0.005))
            self.sigs.append(dice.choice(SIGNALS))
            p.send_signal(self.sigs[1])
        try:
            self.rc = p.wait(HANGS)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            check(False, "%s does not end: %s" % (args[0], text(self.log)[-600:]))
        self.took = time.monotonic() - began
        self.was_ended = -self.rc in self.sigs
        self.name = "%s, %s after %s: %s" % (args[0], self.sigs, after, self.rc)
        check(self.rc == fine or self.was_ended, "%s: %s" % (self.name, text(self.log)[-800:]))


class Figures:
    def __init__(self, name):
        self.name, self.times, self.ended, self.n = name, [], 0, 0

    def add(self, shot):
        self.n += 1
        self.ended += shot.was_ended
        if shot.was_ended:
            self.times.append(shot.took)

    def done(self, least=1):
        t = sorted(self.times) or [0]
        limit = AT_ONCE * max(1, os.getloadavg()[0] / os.cpu_count() / 2)  # others have the CPUs most of the time then
        late = sum(x > limit for x in t)
        print("%s: %d rounds, %d ended by a signal; median %.3f s, 99%% %.3f, longest %.3f; %d above %.1f s (seed %d)" % (
            self.name, self.n, self.ended, t[len(t) // 2], t[len(t) * 99 // 100], t[-1], late, limit, SEED), flush=True)
        check(late <= len(t) // 100, "%s: %d of %d take too long: %s" % (self.name, late, len(t), t[-5:]))
        check(self.ended >= least, "%s: not one was hit" % self.name)


def tree_is_free(s, why):
    """At once, not after a moment."""
    left = ours(s)
    check(not left, "%s: left: %s" % (why, names(left)))
    for p in tree(s.pid):
        for t in os.listdir("/proc/%d/task" % p):
            st = status_of("/proc/%d/task/%s/status" % (p, t))
            check(st.get("TracerPid") == "0" and st.get("State", "S")[0] in "SRD", "%s: thread %s: %s, tracer %s" % (
                why, t, st.get("State"), st.get("TracerPid")))
    check(len(tree(s.pid)) == s.tasks, "%s: %d tasks" % (why, len(tree(s.pid))))


def no_locks(why):
    check("CRIU" not in ruleset(), "%s: a lock is left: %s" % (why, ruleset()))


def dump_args(s, *more):
    return ["dump", "-t", s.pid, "-D", s.imgs, "--tcp-established", *more]


def time_of(s, *args):
    began = time.monotonic()
    s.tool(*args, "-v4", "-o", s.path("imgs/whole.log"))
    check(s.rc == 0, "%s: %s" % (args[0], text(s.path("imgs/whole.log"))[-800:]))
    return time.monotonic() - began


def script_of(stage):
    return ["--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ] || { %s; }' % (stage, FOREVER)]


def dump_once(s, took, figures):
    stands = ["-R"] if dice.random() < 0.8 else []
    stage = dice.choice(("pre-dump", "post-dump", None, None, None, None))
    before = sums(s)
    shot = Shot(s, dump_args(s, *stands, *(script_of(stage) if stage else [])), dice.uniform(0, took * 1.3))
    figures.add(shot)
    if shot.was_ended:
        tree_is_free(s, shot.name)
        no_locks(shot.name)
        check(sums(s) == before, "%s: the older checkpoint is changed: %s" % (shot.name, set(sums(s).items()) ^ set(before.items())))
        runs_on(s, shot.name)
    elif stands:
        runs_on(s, shot.name)
    else:
        s.gone()
        time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
        s.proc = None
        runs_on(s, "restored after " + shot.name)


@scenario
def dumps(s):
    s.keep = set()
    start(s)
    took = time_of(s, *dump_args(s, "-R"))
    figures = Figures("dumps")
    with Busy() as busy:
        s.keep = {p.pid for p in busy.procs}
        took = max(took, time_of(s, *dump_args(s, "-R")))
        for n in range(ROUNDS):
            dump_once(s, took, figures)
            if n % 20 == 19:
                time_of(s, *dump_args(s, "-R"))
                runs_on(s, "dumped")
        s.keep = set()
    figures.done()
    time_of(s, *dump_args(s))
    s.gone()
    time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
    s.proc = None
    runs_on(s, "restored")
    s.kill()


def restore_once(s, took, figures, locked):
    stage = dice.choice(("pre-restore", "post-restore", "pre-resume", None, None, None, None))
    before = sums(s)
    shot = Shot(s, ["restore", "-d", "-D", s.imgs, "--tcp-established", *(script_of(stage) if stage else [])],
                dice.uniform(0, took * 1.3))
    figures.add(shot)
    check(sums(s) == before, "%s: the images are changed" % shot.name)
    if shot.was_ended:
        left = ours(s)
        check(not left, "%s: left: %s" % (shot.name, names(left)))
        check(state_of(s.pid) in ("Z", "gone"), "%s: pid %d lives" % (shot.name, s.pid))
        check(wait_for(lambda: reap() or state_of(s.pid) == "gone"), "%s: pid %d stays" % (shot.name, s.pid))
        check(ruleset() == locked, "%s: locks: %s" % (shot.name, ruleset()))
    else:
        runs_on(s, shot.name)
        shell("nft flush ruleset")  # the tree ends, and is restored again
        again = dump_args(s)
        time_of(s, *again)
        s.gone()
    return ruleset()


@scenario
def restores(s):
    s.keep = set()
    start(s)
    time_of(s, *dump_args(s))
    s.gone()
    s.proc = None
    figures, locked = Figures("restores"), ruleset()
    took = time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
    runs_on(s, "restored")
    time_of(s, *dump_args(s))
    s.gone()
    locked = ruleset()
    with Busy() as busy:
        s.keep = {p.pid for p in busy.procs}
        for n in range(ROUNDS):
            locked = restore_once(s, took * 1.5, figures, locked)
        s.keep = set()
    figures.done()
    time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
    runs_on(s, "restored")
    s.kill()


@scenario
def half_made(s):
    """criu is killed between a process and the note of it, and at all points around: when its end is seen, nothing is left."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=3)
    time_of(s, *dump_args(s))
    s.gone()
    s.proc = None
    locked, unnoted = ruleset(), 0
    for n in range(1, 100):
        s.tool("restore", "-d", "-D", s.imgs, "--tcp-established", "-v4", "-o", s.path("imgs/shot.log"), "--test-kill-at", n)
        if s.rc == 0:
            break
        if "images read" in text(s.path("imgs/shot.log")).splitlines()[-1]:
            wait_for(lambda: not ours(s))  # the guardian may not have run yet, and then does not hold the end of criu up
        check(s.rc == -signal.SIGKILL, "point %d: %s: %s" % (n, s.rc, text(s.path("imgs/shot.log"))[-500:]))
        if "committed" in text(s.path("imgs/shot.log")).splitlines()[-1]:
            break
        wait_for(lambda: not ours(s), 1)  # one that is not noted is killed by the end of criu, and may be on its way
        left = ours(s)
        check(not left, "point %d: left: %s" % (n, names(left)))
        check(wait_for(lambda: reap() or state_of(s.pid) == "gone"), "point %d: pid %d stays" % (n, s.pid))
        check(ruleset() == locked, "point %d: locks: %s" % (n, ruleset()))
        unnoted += "that is not noted" in text(s.path("imgs/shot.log"))
    check(unnoted >= 3, "%d points with a process that is not noted" % unnoted)
    runs_on(s, "restored")
    s.kill()


@scenario
def killed_at_once(s):
    """criu is killed while its guardian begins to watch it: its end is always seen. (12 of 4,000 hung for ever.)"""
    s.keep = set()
    start(s, size=1, fds=2, threads=1, kids=0)
    time_of(s, *dump_args(s))
    s.gone()
    s.proc = None
    for n in range(4000 if STRESS else 300):
        p = subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "--tcp-established", "-o", s.path("imgs/shot.log"),
                              "--test-kill-at", "1"], cwd=s.dir, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            rc = p.wait(HANGS)
        except subprocess.TimeoutExpired:
            check(False, "round %d: criu is not seen to end: %s" % (n, names(ours(s))))
        check(rc == -signal.SIGKILL, "round %d: %s" % (n, rc))
    wait_for(lambda: not ours(s))
    time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
    runs_on(s, "restored")
    s.kill()


@scenario
def checks_and_unlocks(s):
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=0)
    time_of(s, *dump_args(s))
    s.gone()
    for args in (["check", "--all"], ["unlock", "-D", s.imgs]):
        began = time.monotonic()
        s.tool(*args)
        took = time.monotonic() - began
        fine = s.rc  # a kernel may lack something
        check(args[0] == "check" or fine == 0, "%s: %s" % (args, s.out))
        figures = Figures(args[0])
        while figures.n < ROUNDS or (not figures.ended and figures.n < 200):  # it is over soon
            shot = Shot(s, args, dice.uniform(0, took), fine=fine)
            figures.add(shot)
            check(wait_for(lambda: not ours(s), 1), "%s: left: %s" % (shot.name, names(ours(s))))
        figures.done()
    time_of(s, "restore", "-d", "-D", s.imgs, "--tcp-established")
    s.proc = None
    runs_on(s, "restored after unlock")
    s.kill()


@scenario
def after_the_commit(s):
    """What has been done is done, and the exit status says so: the script that is waited for ends alone."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=0)
    for sig in SIGNALS:
        time_of(s, *dump_args(s))
        s.gone()
        s.proc = None
        shot = Shot(s, ["restore", "-d", "-D", s.imgs, "--tcp-established", *script_of("post-resume")],
                    lambda: "for post-resume" in text(s.path("imgs/shot.log")) and len(ours(s)) > 1, sig=sig, again=0)
        check(shot.rc == 0, shot.name)
        check(shot.took < HANGS / 3, "%s: after %.1f s" % (shot.name, shot.took))
        check("is ended by a signal" in text(shot.log), text(shot.log)[-500:])
        check(not ours(s), "%s: left: %s" % (shot.name, names(ours(s))))
        runs_on(s, shot.name)
    s.kill()


@scenario
def before_the_wait(s):
    """Without -d, when all is restored, and before criu waits for the tree: it ends of the signal, and the tree goes on."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=0)
    fifo = s.path("imgs/stats-restore")
    for sig in SIGNALS:
        time_of(s, *dump_args(s))
        s.gone()
        s.proc = None
        if os.path.exists(fifo):
            os.unlink(fifo)
        os.mkfifo(fifo)  # criu opens it behind the commit, and waits for a reader
        p = subprocess.Popen([s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log", "--tcp-established"], cwd=s.dir,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait_for(lambda: alive(s.pid) and "TracerPid:\t0" in text("/proc/%d/status" % s.pid)), s.errors("restore.log"))
        runs_on(s, "%s: restored" % sig)
        p.send_signal(sig)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            rc = p.wait(HANGS)
        except subprocess.TimeoutExpired:
            p.kill()
            check(False, "%s is lost: criu waits for the tree" % sig)
        check(rc in (0, -sig), "%s: status %d" % (sig, rc))  # 0: the moment was over before the reader was there
        os.close(reader)
        os.unlink(fifo)
        runs_on(s, str(sig))
    s.kill()


@scenario
def ignored(s):
    """As under nohup, or a shell that has ignored the signal: criu goes on."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=0)
    for sig in SIGNALS:
        go = s.path("go")
        wait = "touch %s; while [ -e %s ]; do sleep 0.01; done" % (go, go)

        def at():
            return os.path.exists(go)
        p = subprocess.Popen([s.criu, *map(str, dump_args(s, "-R")), "-o", s.path("d.log"), "--action-script",
                              '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || { %s; }' % wait], cwd=s.dir,
                             preexec_fn=lambda: signal.signal(sig, signal.SIG_IGN))
        check(wait_for(at), "the script does not run")
        p.send_signal(sig)
        time.sleep(0.1)
        check(p.poll() is None, "%s ended criu, which ignores it" % sig)
        os.unlink(go)
        check(p.wait(60) == 0, "criu ends with %s" % p.returncode)
        runs_on(s, "dumped")
    s.kill()


def in_terminal(s, args):
    """In the foreground of a terminal of its own, where a key is a signal to all of its group."""
    master, slave = pty.openpty()

    def lead():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
            signal.signal(sig, signal.SIG_DFL)
    # A parent in the same session, as a shell is: what has no such parent does not stop at ^Z.
    shell_like = "import os,signal,subprocess,sys; signal.signal(2, signal.SIG_IGN); signal.signal(3, signal.SIG_IGN); " \
        "signal.signal(20, signal.SIG_IGN); signal.signal(22, signal.SIG_IGN)\n" \
        "def child():\n os.setpgid(0, 0); os.tcsetpgrp(0, os.getpid())\n" \
        " for x in (2, 3, 20, 22): signal.signal(x, signal.SIG_DFL)\n" \
        "p = subprocess.Popen(sys.argv[1:], preexec_fn=child)\n" \
        "while True:\n _, st = os.waitpid(p.pid, os.WUNTRACED)\n" \
        " open('seen', 'a').write('%d\\n' % st)\n" \
        " if not os.WIFSTOPPED(st): break\n" \
        " os.kill(p.pid, 18)\n"
    open(s.path("seen"), "w").close()
    p = subprocess.Popen([sys.executable, "-c", shell_like, s.criu, *map(str, args)], cwd=s.dir, stdin=slave, stdout=slave,
                         stderr=slave, preexec_fn=lead)
    os.close(slave)
    return p, master


def drain(master):
    os.set_blocking(master, False)
    out = b""
    try:
        while True:
            more = os.read(master, 65536)
            if not more:
                break
            out += more
    except OSError:
        pass
    return out.decode(errors="replace")


@scenario
def keys(s):
    """^C and ^backslash reach criu, its guardian, helpers and scripts at once; ^Z does not leave the tree standing."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=2)
    here = s.path("here")
    for key, sig in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
        before = sums(s)
        p, master = in_terminal(s, dump_args(s, "--action-script",
                                             '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || { touch %s; %s; }' % (here, FOREVER)))
        check(wait_for(lambda: os.path.exists(here)), "no script: " + drain(master))
        os.unlink(here)
        os.write(master, key)
        p.wait(HANGS)
        check(text(s.path("seen")).split() == [str(int(sig))], "%r: the shell sees %r" % (key, text(s.path("seen"))))
        tree_is_free(s, repr(key))
        check(sums(s) == before, "%r: images are left" % key)
        runs_on(s, repr(key))
        os.close(master)
    go = s.path("go")
    p, master = in_terminal(s, dump_args(s, "-R", "-o", s.path("z.log"), "--action-script",
                                         '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || { trap "" TSTP; touch %s; '
                                         'while [ ! -e %s ]; do sleep 0.01; done; }' % (here, go)))
    check(wait_for(lambda: os.path.exists(here)), "no script: " + drain(master))
    os.write(master, b"\x1a")
    check(wait_for(lambda: "stands still for this dump" in text(s.path("z.log"))), "^Z: nothing is said: " + text(s.path("z.log")))
    check("stands still for this dump" in drain(master), "^Z: nothing is said on the terminal")
    for t in range(20):
        check(text(s.path("seen")) == "", "^Z: criu stops while the tree stands still")
        time.sleep(0.01)
    open(go, "w").close()
    p.wait(HANGS)
    check(text(s.path("seen")).split() == ["0"], "^Z: the shell sees %r" % text(s.path("seen")))
    os.close(master)
    runs_on(s, "^Z")
    s.kill()


@scenario
def stopped(s):
    """SIGSTOP cannot be held off: it is said what stands still, and what helps."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=2)
    for then in (signal.SIGCONT, signal.SIGKILL, signal.SIGTERM):
        here, go = s.path("here"), s.path("go")
        for n in (here, go):
            if os.path.exists(n):
                os.unlink(n)
        p = subprocess.Popen([s.criu, *map(str, dump_args(s, "-R")), "-o", s.path("s.log"), "--action-script",
                              '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || { touch %s; while [ ! -e %s ]; do sleep 0.01; done; }'
                              % (here, go)], cwd=s.dir, stderr=subprocess.PIPE, text=True)
        check(wait_for(lambda: os.path.exists(here)), "no script")
        p.send_signal(signal.SIGSTOP)
        check(wait_for(lambda: "SIGCONT lets criu go on" in text(s.path("s.log"))), "nothing is said: " + text(s.path("s.log"))[-500:])
        p.send_signal(then)
        if then == signal.SIGTERM:
            p.send_signal(signal.SIGCONT)  # as a shell does it
        if then == signal.SIGCONT:
            open(go, "w").close()
        rc = p.wait(HANGS)
        check(rc == (0 if then == signal.SIGCONT else -then), "%s: criu ends with %s" % (then, rc))
        check("SIGCONT lets criu go on" in p.stderr.read(), "nothing is said on standard error")
        if rc:
            wait_for(lambda: not ours(s))
            tree_is_free(s, str(then))
        runs_on(s, str(then))
    s.kill()


@scenario
def waits(s):
    """What criu waits for by itself: another dump of the same directory, a FIFO that nobody reads or writes."""
    s.keep = set()
    start(s, size=1, fds=10, threads=2, kids=2)
    fifo = s.path("fifo")
    os.mkfifo(fifo)
    for args in (["--pidfile", fifo], ["--config", fifo], ["-o", fifo]):
        began = time.monotonic()
        log = [] if "-o" in args else ["-v4", "-o", s.path("w.log")]
        p = subprocess.Popen([s.criu, *map(str, dump_args(s, "-R")), *log, *args], cwd=s.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if "--pidfile" in args:
            check(wait_for(lambda: "committed" in text(s.path("w.log"))), "no commit")
        time.sleep(0.3)
        if p.poll() is None:
            began = time.monotonic()
            p.send_signal(signal.SIGTERM)
            rc = p.wait(HANGS)
            check(rc == (0 if "--pidfile" in args else -signal.SIGTERM), "%s: %s" % (args, rc))
            print("waits: %s: %s after %.3f s" % (args, rc, time.monotonic() - began))
            check(time.monotonic() - began < HANGS / 3, "%s: it takes %.1f s" % (args, time.monotonic() - began))
        check(wait_for(lambda: not ours(s), 5), "%s: left: %s" % (args, names(ours(s))))
        tree_is_free(s, str(args))
        runs_on(s, str(args))
    s.kill()


run_all()
