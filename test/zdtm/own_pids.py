#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# After a boot, or in a container, all numbers are low, and criu's own processes and threads are born among those of the tree
# that it restores: they take others. own_pids_tree.c has 5 to 39, and leaves 22 and 23 alone.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs iptables nft
# zdtm: timeout 1800
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from driver import Snapshot, check, children, reap, run_all, scenario, state_of, status_of, text, wait_for

ROOT, ROOM, LAST = 5, 22, 39
STRESS = bool(os.environ.get("STRESS"))
PLACES = (3, 4, ROOM, ROOM + 1, LAST + 1)
ROUNDS = 100 if STRESS else len(PLACES)


def last_pid(pid):
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(pid))


def make_tree(s, *args):
    shutil.copy(os.path.join(os.environ["TESTS"], "own_pids_tree"), s.path("tree"))
    for n in ("ready", "verify", "result"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    last_pid(ROOT - 1)
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen([s.path("tree"), *map(str, args)], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(s.pid == ROOT, "the tree begins with %d" % s.pid)
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the tree is not ready: %s" % text(s.path("result")))


def start(s, number, *opts):
    """criu has this number, and the next ones are those that the kernel gives."""
    out = open(s.path("criu.out"), "w+")
    last_pid(number - 1)
    p = subprocess.Popen([s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log", *map(str, opts)], cwd=s.dir,
                         stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    check(p.pid == number, "criu has number %d" % p.pid)
    s.rc = p.wait(120)
    s.out = text(s.path("criu.out"))
    return s.rc


def restore_at(s, number, *opts):
    start(s, number, "-d", *opts)
    check(s.rc == 0, "criu with number %d: %s" % (number, s.errors("restore.log")))
    check("Error" not in text(s.path("imgs/restore.log")), "criu with number %d: %s" % (number, s.errors("restore.log")))
    s.proc = None


@scenario
def among_them(s):
    """criu before the first, in the middle, and behind the last; restored, dumped and restored again."""
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * STRESS)]
    make_tree(s)
    for n in range(ROUNDS):
        s.dump()
        restore_at(s, PLACES[n % len(PLACES)])
    s.verify()
    for p in busy:
        p.kill()
        p.wait()


@scenario
def programs_and_scripts(s):
    """A lock by iptables, whose processes are criu's; scripts that start others, which live on."""
    script = s.script("script", "for i in 1 2 3 4 5 6 7 8; do sleep 0; done\nsleep 300 > /dev/null 2>&1 < /dev/null &\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        make_tree(s, listener.getsockname()[1])
        peer = listener.accept()[0]
        for number in (3, ROOM):
            s.dump("--tcp-established", "--network-lock", "iptables")
            restore_at(s, number, "--tcp-established", "--network-lock", "iptables", "--action-script", script)
        s.verify()
        peer.close()
    subprocess.run(["nft", "flush", "ruleset"], check=True)


@scenario
def own_number(s):
    """The number that the caller waits for cannot be free: refused before anything is started, and what is advised helps."""
    make_tree(s)
    s.dump()
    for number in (ROOT, 15):
        start(s, number, "-d")
        said = s.errors("restore.log")
        check(s.rc == 1 and "pid %d" % number in said and "this is criu itself" in said, "number %d: %s" % (number, said))
        check(("without --restore-detached" in said) == (number == ROOT), said)
        check("nothing was started" in said and "guardian" not in text(s.path("imgs/restore.log")), said)
        advice = re.search(r"\(echo (\d+) > (/proc/sys/kernel/ns_last_pid)\)", said)
        check(advice, said)
        with open(advice.group(2), "w") as f:
            f.write(advice.group(1))
        s.restore()
        s.dump()
    restore_at(s, ROOM)
    s.verify()


def own_processes():
    reap()
    return [int(n) for n in os.listdir("/proc") if n.isdigit() and text("/proc/%s/comm" % n).startswith("criu")]


def is_let_go(pid):
    try:
        exe = os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return False
    return exe.endswith("/tree") and state_of(pid) == "S" and status_of("/proc/%d/status" % pid).get("TracerPid") == "0"


def own_root(s, *opts, how=None, points=()):
    """criu has the root's number, and the caller waits: its process becomes the root task."""
    log = s.path("imgs/restore.log")
    if os.path.exists(log):
        os.unlink(log)
    last_pid(ROOT - 1)
    with open(s.path("criu.out"), "w") as out:
        p = subprocess.Popen([s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log", *map(str, opts)], cwd=s.dir,
                             stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=how)
    check(p.pid == ROOT, "criu has number %d" % p.pid)
    return p


@scenario
def own_roots_number(s):
    make_tree(s)
    before = None
    for how in (None, os.setpgrp, os.setsid, lambda: signal.alarm(1000)):
        before = before or Snapshot(s.pid)
        s.dump()
        s.proc = own_root(s, how=how)
        check(wait_for(lambda: s.proc.poll() is not None or is_let_go(ROOT) and not own_processes()) and s.proc.poll() is None,
              "%s: %s" % (s.proc.poll(), s.errors("restore.log")))
        check(children(ROOT) == [p for p in children(ROOT) if p <= LAST], "it has children %s" % children(ROOT))
        s.same(before, "restored")
    proc = s.proc
    s.verify()
    check(proc.wait() == 0, "the caller sees %d" % proc.wait())


@scenario
def own_root_fails(s):
    """Nothing is left, and the caller sees that criu has failed; killed at each of its fault points, too."""
    make_tree(s)
    s.dump()
    for opts in (["--action-script", "false"],
                 ["--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ]'],
                 ["--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != pre-resume ]'],
                 *(["--test-kill-at", n] for n in range(1, 1000, 7 if STRESS else 25))):
        p = own_root(s, *opts)
        check(wait_for(lambda: p.poll() is not None or is_let_go(ROOT) and not own_processes()), "it hangs")
        log = text(s.path("imgs/restore.log"))
        if p.poll() is None:
            break
        check(p.returncode == 1 or opts[0] == "--test-kill-at" and p.returncode == -signal.SIGKILL,
              "%s: the caller sees %d" % (opts, p.returncode))
        check("killed at fault point" in log if opts[0] == "--test-kill-at" else "action script" in log, log[-300:])
        check(wait_for(lambda: not own_processes() and not children(os.getpid())),
              "%s: there is %s" % (opts, own_processes() + children(os.getpid())))
    check(opts[0] == "--test-kill-at" and p.poll() is None, "it ended: %s" % s.errors("restore.log"))
    s.proc = p
    s.verify()


@scenario
def own_root_is_signalled(s):
    """What ends criu is sent to the process that the caller started, which is the root task maybe: all is taken back."""
    make_tree(s)
    s.dump()
    there = s.path("there")
    for stage in ("pre-restore", "pre-resume"):
        for sig in (signal.SIGTERM, signal.SIGKILL)[stage == "pre-resume":]:
            p = own_root(s, "--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ] || { touch %s; exec sleep 60; }' % (stage, there))
            check(wait_for(lambda: os.path.exists(there)), "%s: %s" % (stage, s.errors("restore.log")))
            began = time.monotonic()
            p.send_signal(sig)
            check(p.wait(60) != 0, "%s, %s: the caller sees 0" % (stage, sig.name))
            check(wait_for(lambda: not own_processes() and not children(os.getpid())),
                  "%s, %s: there is %s" % (stage, sig.name, own_processes() + children(os.getpid())))
            took = time.monotonic() - began
            check(took < 20, "%s, %s: criu ends after %.1f s" % (stage, sig.name, took))
            os.unlink(there)
    s.proc = own_root(s)
    check(wait_for(lambda: is_let_go(ROOT) and not own_processes()), s.errors("restore.log"))
    s.verify()


@scenario
def late_failure(s):
    """Threads that are traced have to be waited for before their leader has ended."""
    make_tree(s)
    s.dump()
    start(s, ROOM, "-d", "--action-script", '[ "$CRTOOLS_SCRIPT_ACTION" != pre-resume ]')
    check(s.rc == 1 and "action script" in s.errors("restore.log"), s.errors("restore.log"))
    s.proc = None
    check(wait_for(lambda: reap() or not children(os.getpid())), "there is %s" % children(os.getpid()))
    restore_at(s, ROOM)
    s.verify()


# Executes "$@" when process $0 has ended, and takes no number for that.
WHEN_GONE = """ended() { [ -e /proc/$0 ] || return 0; while read -r key value; do
    case $key$value in State:Z*) return 0;; State:*) return 1;; esac; done < /proc/$0/status; }
until ended 2>/dev/null; do :; done; exec "$@"
"""


@scenario
def left_behind(s):
    """criu is in a group and session whose leader, with a number of the tree's, is gone: criu leaves them."""
    make_tree(s)
    for leader, how in ((15, os.setsid), (16, os.setpgrp)):
        s.dump()
        last_pid(leader - 1)
        pid = os.fork()
        if not pid:
            how()
            last_pid(LAST + 1)
            subprocess.Popen(["sh", "-c", WHEN_GONE, str(leader), s.criu, "restore", "-d", "-D", s.imgs, "-v4", "-o", "restore.log"],
                             cwd=s.dir)
            os._exit(0)
        check(pid == leader, "the leader is %d" % pid)
        os.waitpid(pid, 0)
        status = os.waitpid(LAST + 2, 0)[1]
        check(status == 0, "leader %d: %s" % (leader, s.errors("restore.log")))
        s.proc = None
    s.verify()


run_all()
