#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --restore-sibling of a tree whose pid namespace belongs to its user namespace, as container runtimes ask for it: the root task is a child of
# criu's parent, and the process that the caller has started is criu to the caller: its end takes back a restore that is not done.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare setpriv
import os
import signal
import subprocess

from driver import check, children, reap, run_all, scenario, text, tree, wait_for

MAPS = ["unshare", "-Urpf", "--kill-child", "setsid", "sh", "-c", "sleep 1000 & wait"]


def look(root):
    return [[text("/proc/%d/%s" % (p, n)) for n in ("uid_map", "gid_map", "setgroups")] +
            [line for line in text("/proc/%d/status" % p).splitlines() if line.startswith(("Name", "Uid", "Gid", "CapEff", "CapBnd"))] for p in tree(root)]


def end(s):
    for p in reversed(tree(s.pid)):
        os.kill(p, signal.SIGKILL)


OTHER = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]


def container(s, wrap=()):
    """The first process of the namespaces, whose parent is none of the tree's."""
    with open(s.path("victim.out"), "a") as out:
        outer = subprocess.Popen([*wrap, *MAPS], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/")
    check(wait_for(lambda: [text("/proc/%d/comm" % p) for p in tree(outer.pid)] == ["unshare\n", "sh\n", "sleep\n"]), "no tree: %s" % text(s.path("victim.out")))
    s.pid = children(outer.pid)[0]
    s.proc = None


@scenario
def sibling(s):
    container(s)
    before = look(s.pid)
    for n in range(3):
        s.dump()
        s.restore("--restore-sibling", "--pidfile", s.path("pf%d" % n))
        s.pid = int(text(s.path("pf%d" % n)))
        check(s.pid in children(os.getpid()), "round %d: its parent is another one" % n)
        now = look(s.pid)
        check(now == before, "round %d: was %s\nis %s" % (n, before, now))
        s.clean_images()
    end(s)
    reap()


@scenario
def ended(s):
    end_in_the_middle(s, [])


@scenario
def ended_without_rights(s):
    """In the namespaces of an ordinary user, the process that the caller started may not signal criu, which is root's."""
    end_in_the_middle(s, OTHER)


def end_in_the_middle(s, wrap):
    """The process that the caller started is killed, or told to end, in the middle: no task is left, and the images are as good as before."""
    container(s, wrap)
    s.dump()
    script = s.path("script")
    with open(script, "w") as f:
        f.write("#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != post-restore ] || { echo $CRTOOLS_INIT_PID > %s; sleep 1000; }\n" % s.path("stage"))
    os.chmod(script, 0o755)
    for sig in (signal.SIGKILL, signal.SIGTERM):
        criu = subprocess.Popen([s.criu, "restore", "-d", "--restore-sibling", "-D", s.imgs, "-v4", "-o", "restore.log", "--action-script", script])
        check(wait_for(lambda: text(s.path("stage")).strip().isdigit()), "no post-restore: %s" % s.errors("restore.log"))
        root = int(text(s.path("stage")))
        check(root in children(os.getpid()), "its parent is another one")
        os.kill(criu.pid, sig)
        check(criu.wait() != 0, "criu ended with 0")
        check(wait_for(lambda: "Z" in text("/proc/%d/stat" % root) or not text("/proc/%d/stat" % root)), "the root task lives on after signal %d" % sig)
        os.waitpid(root, 0)
        os.unlink(s.path("stage"))
    s.restore("--restore-sibling", "--pidfile", s.path("pf"))
    s.pid = int(text(s.path("pf")))
    check(len(tree(s.pid)) == 2, "not all is back")
    end(s)
    reap()


run_all()
