#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An ordinary user's trees in user namespaces, dumped and restored by that user, whose criu has CAP_CHECKPOINT_RESTORE from its file.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs setcap setpriv unshare newuidmap newgidmap mount
import contextlib
import os
import subprocess

from driver import check, children, need, run_all, scenario, status_of, text, tree, wait_for
from rootless import ALONE, FIRST, look, subordinates, user, users_processes, with_capability

PROGRAM = """
import contextlib, os, signal, sys, time
child = os.fork()
if not child:
    os.setpgid(0, 0)
    try:
        os.setresgid(7, 7, 7); os.setresuid(7, 7, 7)
    except OSError:
        pass
    while True: time.sleep(100)
time.sleep(0.1)
n = 0
while True:
    n += 1
    # No file that a second restore of the same images could miss.
    with contextlib.suppress(FileNotFoundError):
        os.unlink("n")
    with contextlib.suppress(FileExistsError):
        os.symlink(" ".join(map(str, [n, os.getpid(), os.getuid(), os.getgid(), child, os.getpgid(child), os.uname().nodename])), "n")
    time.sleep(0.02)
"""


def says(s):
    said = []

    def anew():
        with contextlib.suppress(FileNotFoundError):  # in the middle of the next one
            said[:] = os.readlink(s.path("n")).split()
        return said
    with contextlib.suppress(FileNotFoundError):
        os.unlink(s.path("n"))
    check(wait_for(anew), "it says nothing: " + text(s.path("victim.out")))
    return said[1:]


def start(s, *how):
    s.tool_path = with_capability(s)
    for d in s.dir, s.imgs:
        os.chmod(d, 0o777)
    with open(s.path("program.py"), "w") as f:
        f.write(PROGRAM)
    with open(s.path("victim.out"), "a") as out:
        os.chmod(s.path("victim.out"), 0o666)
        s.proc = subprocess.Popen([*ALONE, "unshare", *how, "python3", "program.py"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out, start_new_session=True)
    said = says(s)
    s.pid = children(s.proc.pid)[0]
    return said


def rounds(s, said, *opts):
    before = look(s)
    for n in range(3):
        pids = tree(s.pid)
        check(user(s, "dump", "-t", s.pid, *opts), "dump: " + s.errors("dump.log"))
        check("Error" not in text(s.path("imgs/dump.log")), s.errors("dump.log"))
        for p in pids:
            s.gone(p)
        s.proc = None
        for again in range(2):
            pidfile = s.path("pid%d%d" % (n, again))
            check(user(s, "restore", "-d", "--pidfile", pidfile, *opts), "restore: " + s.errors("restore.log"))
            s.pid = int(text(pidfile))
            check(says(s) == said, "it says %s, not %s" % (says(s), said))
            check(look(s) == before, "it is %r, was %r" % (look(s), before))
            if not again:
                s.kill()
    s.kill()


@scenario
def one_id(s):
    """The user's own id alone, setgroups(2) denied."""
    said = start(s, "-Urpf", "setsid")
    check(said[:3] == ["1", "0", "0"], "it says %s" % said)
    rounds(s, said)


@scenario
def more_namespaces(s):
    said = start(s, "-UrpfuC", "setsid", "sh", "-c", "hostname inner; exec \"$0\" \"$@\"")
    check(said[-1] == "inner", "it says %s" % said)
    rounds(s, said)


@scenario
def subordinate_ids(s):
    """Of /etc/subuid and /etc/subgid: newuidmap(1) gives them, and the child has one."""
    with subordinates(s) as maps:
        with_subordinates(s, maps)


def with_subordinates(s, maps):
    said = start(s, "-Upf", *maps, "setsid")
    check(said[:3] == ["1", "0", "0"], "it says %s" % said)
    child = [p for p in tree(s.pid) if p != s.pid][0]
    check(status_of("/proc/%d/status" % child)["Uid"].split()[0] == str(FIRST + 6), "the child has no subordinate id")
    rounds(s, said)


@scenario
def refused(s):
    """With the object and the way out, and the tree runs on: mounts that an ordinary user cannot bring back."""
    os.mkdir(s.path("there"))
    said = start(s, "-Urpfm", "--propagation", "shared", "setsid")
    check(not user(s, "dump", "-t", s.pid) and "is in a peer group, or unbindable, which an ordinary user's" in s.errors("dump.log"), s.errors("dump.log"))
    check(says(s) == said and not s.images(), "the tree has changed")
    s.kill()
    said = start(s, "-Urpfm", "--mount-proc", "setsid")
    check(subprocess.run(["mount", "-t", "tmpfs", "late", s.path("there")]).returncode == 0, "mount of a tmpfs")
    try:
        check(not user(s, "dump", "-t", s.pid) and s.path("there") + ": is in the mount namespace of criu" in s.errors("dump.log"), s.errors("dump.log"))
    finally:
        subprocess.run(["umount", s.path("there")])
    check(says(s) == said and not s.images(), "the tree has changed")
    check(user(s, "dump", "-t", s.pid), s.errors("dump.log"))
    s.gone()
    s.proc = None
    subprocess.run(["mount", "-t", "tmpfs", "late", s.path("there")])
    try:
        check(not user(s, "restore", "-d") and s.path("there") + ": is in the mount namespace of criu" in s.errors("restore.log"), s.errors("restore.log"))
    finally:
        subprocess.run(["umount", s.path("there")])
    check(user(s, "restore", "-d", "--pidfile", s.path("pid")), s.errors("restore.log"))
    s.pid = int(text(s.path("pid")))
    check(says(s) == said, "it says %s" % says(s))
    s.kill()


@scenario
def covered(s):
    """A locked mount under another one: nobody can give it flags in the copy, so they are looked at before the start."""
    def root(*command):
        check(subprocess.run(command).returncode == 0, "%s" % (command,))

    def stack(flag):
        root("mount", "-t", "tmpfs", "-o", flag, "below", s.path("stack"))
        root("mount", "-t", "tmpfs", "above", s.path("stack"))

    os.mkdir(s.path("stack"))
    stack("nosuid")
    try:
        said = start(s, "-Urpfm", "--mount-proc", "setsid")
        check(user(s, "dump", "-t", s.pid), "dump: " + s.errors("dump.log"))
        s.gone()
        s.proc = None
        root("umount", s.path("stack"))
        root("mount", "-o", "remount,bind,nosuid,noexec", s.path("stack"))
        root("mount", "-t", "tmpfs", "above", s.path("stack"))
        check(not user(s, "restore", "-d", "--pidfile", s.path("pid1")), "restored with other flags")
        log = text(s.path("imgs/restore.log"))
        check("lies under another one, and has other flags" in s.errors("restore.log"), s.errors("restore.log"))
        check("creating pid" not in log and "reason" in log, "it was refused late: %s" % log[-1000:])
        root("umount", s.path("stack"))
        root("mount", "-o", "remount,bind,nosuid,exec", s.path("stack"))
        root("mount", "-t", "tmpfs", "above", s.path("stack"))
        check(user(s, "restore", "-d", "--pidfile", s.path("pid1")), "restore: " + s.errors("restore.log"))
        s.pid = int(text(s.path("pid1")))
        check(says(s) == said, "it says %s, not %s" % (says(s), said))
        s.kill()
    finally:
        root("umount", s.path("stack"))
        root("umount", s.path("stack"))


@scenario
def without_pids(s):
    """Processes that keep their numbers; one of a UTS namespace would have to enter that before."""
    s.proc = None
    for how, ok in ("-Ur", True), ("-Uru", False):
        said = start(s, how)
        s.pid = s.proc.pid
        check(user(s, "dump", "-t", s.pid) == ok, "%s: %s" % (how, s.errors("dump.log")))
        if ok:
            s.gone()
            s.proc = None
            check(user(s, "restore", "-d"), s.errors("restore.log"))
        else:
            check("has its own uts namespace" in s.errors("dump.log"), s.errors("dump.log"))
        check(says(s) == said, "it says %s, not %s" % (says(s), said))
        s.kill()
        s.clean_images()


@scenario
def without(s):
    said = start(s, "-Urpf", "setsid")
    s.tool_path = s.criu
    check(not user(s, "dump", "-t", s.pid) and "cap_checkpoint_restore" in s.errors("dump.log").lower(), s.errors("dump.log"))
    check(says(s) == said and not s.images(), "the tree has changed")
    s.kill()


@scenario
def killed(s):
    """Restores that are killed leave nothing, by whatever process; dumps leave the tree."""
    said = start(s, "-Urpfu", "setsid")
    for point in 2, 5, 9:
        check(not user(s, "dump", "-t", s.pid, "--test-kill-at", point) and says(s) == said, "killed at %d" % point)
    check(user(s, "dump", "-t", s.pid), s.errors("dump.log"))
    s.gone()
    s.proc.wait()
    s.proc = None
    for point in 2, 4, 6, 9, 12:
        check(not user(s, "restore", "-d", "--test-kill-at", point), "it was not killed at %d" % point)
        check(wait_for(lambda: not users_processes()), "killed at %d: left %s" % (point, users_processes()))
    check(user(s, "restore", "-d", "--pidfile", s.path("pid")), s.errors("restore.log"))
    s.pid = int(text(s.path("pid")))
    check(says(s) == said, "it says %s" % says(s))
    s.kill()


HALF_OPEN = """
import os, socket, subprocess, time
for c in ("ip link set lo up", "nft add table ip t", "nft add chain ip t i { type filter hook input priority 0 ; }",
          "nft add rule ip t i tcp sport 7001 tcp flags & (syn|ack) == (syn|ack) drop"):
    subprocess.run(c.split(), check=True)
l = socket.socket()
l.bind(("127.0.0.1", 7001))
l.listen(5)
if not os.fork():
    l.close()
    c = socket.socket()
    c.setblocking(False)
    c.connect_ex(("127.0.0.1", 7001))
    time.sleep(1000)
while "SYN-RECV" not in subprocess.run(["ss", "-tan"], capture_output=True, text=True, check=True).stdout:
    time.sleep(0.01)
os.symlink("x", "half")
"""


@scenario
def half_open(s):
    """What is in its handshake in a network namespace, which a process has to enter, is seen."""
    need("ip", "nft", "ss")
    global PROGRAM
    whole, PROGRAM = PROGRAM, HALF_OPEN + PROGRAM
    start(s, "-Urpfn", "setsid")
    PROGRAM = whole
    check(wait_for(lambda: os.path.islink(s.path("half"))), "no handshake: " + text(s.path("victim.out")))
    for _ in range(3):
        check(not user(s, "dump", "-t", s.pid, "--tcp-established"), "it was dumped")
        check("1 in their handshake" in s.errors("dump.log"), s.errors("dump.log"))
    s.kill()


run_all()
