#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# After a boot, or in a container, all numbers are low, and criu's own processes and threads are born among those of the tree
# that it restores: they take others. own_pids_tree.c has 5 to 39, and leaves 22 and 23 alone.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs iptables nft
# zdtm: timeout 600
import os
import re
import shutil
import socket
import subprocess
import time

from driver import check, run_all, scenario, text, wait_for

ROOT, ROOM, LAST = 5, 22, 39
STRESS = bool(os.environ.get("STRESS"))
ROUNDS = 100 if STRESS else 1


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
        for number in (3, 4, ROOM, ROOM + 1, LAST + 1):
            s.dump()
            restore_at(s, number)
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
        check("nothing was started" in said and "guardian" not in text(s.path("imgs/restore.log")), said)
        advice = re.search(r"\(echo (\d+) > (/proc/sys/kernel/ns_last_pid)\)", said)
        check(advice, said)
        with open(advice.group(2), "w") as f:
            f.write(advice.group(1))
        s.restore()
        s.dump()
    restore_at(s, ROOM)
    s.verify()


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
            subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "-v4", "-o", "restore.log"], cwd=s.dir)
            os._exit(0)
        check(pid == leader, "the leader is %d" % pid)
        os.waitpid(pid, 0)
        status = os.waitpid(LAST + 2, 0)[1]
        check(status == 0, "leader %d: %s" % (leader, s.errors("restore.log")))
        s.proc = None
    s.verify()


run_all()
