#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Mounts that a user namespace has got from the one around: locked there, and slaves of shared ones.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import stat
import struct
import subprocess
import sys

from driver import check, need, run_all, scenario, text, wait_for
from image_edit import fields, packed
from mounts import asleep, difference, files_of, inside_all, mounts, rounds, start

USER = ["unshare", "-U", "-r", "-m"]
PIDS = ["unshare", "-U", "-r", "-p", "-f", "-m", "--mount-proc", "setsid"]
ORDINARY = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
UMOUNT = "import ctypes, os, sys; l = ctypes.CDLL(None, use_errno=True)\nfor p in sys.argv[1:]: " \
         "print(p, os.strerror(ctypes.get_errno()) if l.umount2(p.encode(), 2) else 'gone')"
MS_REC, MS_SHARED, CLONE_NEWNS = 1 << 14, 1 << 20, 1 << 17


def umounts(s, *paths):
    return [ln.split(" ", 1)[1] for ln in
            inside_all(s.inner, sys.executable, "-c", UMOUNT, *paths).splitlines() if ln[:1] == "/"]


def locks(s, own=(), inherited=("/proc", "/sys", "/dev")):
    """Own mounts can be unmounted, one after the other; inherited ones not."""
    said = umounts(s, *own)
    check(said == ["gone"] * len(own), "own: %r" % said)
    said = umounts(s, *inherited)
    check(said == ["Invalid argument"] * len(inherited), "inherited: %r" % said)


def all_rounds(s, tops=(), **more):
    """With the host's own mounts as they were."""
    before = mounts("self", sort=False)
    rounds(s, tops, **more)
    now = mounts("self", sort=False)
    check(now == before, "the host's mounts are others: %r" % [m for m in now if m not in before])


@scenario
def plain(s):
    """unshare -Urm PROGRAM."""
    start(s, "", how=USER)
    all_rounds(s)
    locks(s)


OWN = """
    mount -t tmpfs -o size=1m none /mnt; mkdir -p /mnt/a/b; echo hello > /mnt/a/f; mount -t tmpfs -o noexec b /mnt/a/b
    mount -t tmpfs over /sys; echo 1 > /sys/one; mount -t tmpfs over2 /sys; mount --make-shared /mnt
    exec </mnt/a/f >/mnt/out
"""


@scenario
def own(s):
    """A tmpfs of its own beside them, with an open file; two over an inherited mount; a peer group."""
    start(s, OWN, how=USER)
    all_rounds(s, ["/mnt", "/mnt/a/b", "/sys"])
    locks(s, own=["/mnt/a/b", "/mnt", "/sys", "/sys"])


@scenario
def mount_proc(s):
    """With a pid namespace and its /proc."""
    start(s, "exec >/dev/null 2>&1", how=PIDS)
    s.pid = s.inner
    all_rounds(s)
    check(inside_all(s.pid, "cat", "/proc/1/comm") == "sleep\n", "/proc/1 is not the tree's")
    locks(s, own=["/proc"])


@scenario
def ordinary(s):
    """By a user without rights."""
    need("setpriv")
    os.chmod(s.dir, 0o755)
    start(s, "mount -t tmpfs -o size=1m none /mnt; echo hello > /mnt/f; exec </mnt/f >/mnt/out 2>&1", how=ORDINARY + PIDS)
    s.pid = s.inner
    all_rounds(s, ["/mnt"])
    locks(s, own=["/mnt", "/proc"])


@scenario
def bound(s):
    """What shows inherited file systems, but is not locked; and read-only as the host has it."""
    start(s, "mkdir $W/b; mount --bind $W/b /mnt; mount --bind -o ro $W/b /mnt; exec </mnt >/dev/null", how=USER)
    all_rounds(s)
    locks(s, own=["/mnt", "/mnt"])


@scenario
def refused(s):
    """Locked mounts on one that is not."""
    start(s, "mount --rbind /sys /mnt", how=USER)
    s.dump(ok=False)
    check(s.rc and "/mnt/" in s.errors("dump.log") and "is locked" in s.errors("dump.log"), s.errors("dump.log"))
    check(os.path.exists("/proc/%d" % s.pid), "the victim is gone")


@scenario
def covered(s):
    """Of a user without rights: what own mounts cover, with files of sockets and of all types that one can make."""
    need("setpriv")
    os.chmod(s.dir, 0o755)
    start(s, """
        mount -t tmpfs low /mnt; mkdir -p /mnt/d/e; echo low > /mnt/d/f; mkfifo /mnt/p; ln -s p /mnt/l
        python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('/mnt/d/e/s')"; chmod 3751 /mnt/d
        mount -t tmpfs mid /mnt/d/e; echo mid > /mnt/d/e/f; mount -t tmpfs high /mnt; exec >/mnt/out 2>&1
    """, how=ORDINARY + PIDS)
    s.pid = s.inner
    all_rounds(s, ["/mnt"])
    locks(s, own=["/mnt"], inherited=["/dev"])
    said = inside_all(s.pid, "cat", "/mnt/d/f", "/mnt/d/e/f")
    check(said == "low\nmid\n", "what was covered: %s" % said)
    locks(s, own=["/mnt/d/e"], inherited=["/dev"])
    st = os.lstat("/proc/%d/root/mnt/d/e/s" % s.pid)
    check((stat.S_ISSOCK(st.st_mode), st.st_uid, st.st_gid) == (True, 1000, 1000), "the socket: %r" % (st,))
    check(oct(os.stat("/proc/%d/root/mnt/d" % s.pid).st_mode) == "0o43751", "the mode of a directory")


@scenario
def bubblewrap(s):
    """A root of its own, a part of the host's, on which the mounts below it are still locked."""
    need("bwrap")
    start(s, "", how=["bwrap", "--unshare-user", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs",
                      "/tmp", "--chdir", "/tmp"], end="exec sleep 1000")
    all_rounds(s, ["/tmp"])
    locks(s, own=["/tmp", "/proc"], inherited=["/sys/fs/cgroup"])


@scenario
def bubblewrap_ordinary(s):
    """By a user without rights, with all namespaces that one can have."""
    need("bwrap", "setpriv")
    os.chmod(s.dir, 0o755)
    start(s, "echo hello > f; exec <f >out 2>&1", how=[
        *ORDINARY, "bwrap", "--unshare-all", "--as-pid-1", "--new-session", "--bind", "/", "/", "--dev", "/dev", "--proc",
        "/proc", "--tmpfs", "/tmp", "--tmpfs", "/sys", "--chdir", "/tmp"], end="exec sleep 1000")
    s.pid = s.inner
    all_rounds(s, ["/tmp", "/sys"])
    check(text("/proc/%d/root/tmp/f" % s.pid) == "hello\n", "the file is another one")


@scenario
def nested(s):
    """A namespace in a namespace, whose own mounts are locked in the inner one."""
    start(s, """
        mount -t tmpfs -o size=1m none /mnt; echo outer > /mnt/f; exec </mnt/f
        mount --make-shared /mnt; mkdir /mnt/late; unshare -U -r -m --propagation unchanged sh -ec 'mkdir /mnt/in; mount -t tmpfs in /mnt/in; echo inner > /mnt/in/f; exec sleep 1000 </mnt/in/f' &
    """, how=USER)
    check(wait_for(lambda: len(asleep(s.pid)) == 2), "not all sleep")
    kid = [p for p in asleep(s.pid) if p != s.pid][0]

    def look():
        return mounts(s.pid), mounts(kid), files_of(kid), text("/proc/%d/root/mnt/in/f" % kid)
    before = look()
    for _ in range(3):
        s.dump()
        s.restore()
        check(look() == before, "not the same: %s" % difference(dict(enumerate(before)), dict(enumerate(look()))))
    s.inner = s.pid
    said = inside_all(s.pid, "mount", "-t", "tmpfs", "late", "/mnt/late")
    check(not said and any("/mnt/late" in m and "master:" in m for m in mounts(kid)), "what the outer one mounts: %s" % said)
    s.inner = kid
    locks(s, own=["/mnt/in"], inherited=["/mnt", "/proc"])
    s.inner = s.pid
    locks(s, own=["/mnt/late", "/mnt"])


@scenario
def killed(s):
    """A restore that is killed, wherever, leaves nothing."""
    before = mounts("self", sort=False)
    start(s, OWN, how=USER)
    s.dump()
    s.proc = None
    for point in range(1, 500):
        s.restore("--test-kill-at", str(point), ok=False)
        if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            break
        s.gone()
        check(mounts("self", sort=False) == before, "killed at %d: the host's mounts are others" % point)
    check(point > 8, "it ended at point %d" % point)


def lock_in_image(s, place):
    """Sets the field `locked` of the mount at a place."""
    name = [n for n in os.listdir(s.imgs) if n.startswith("mountpoints-")][0]
    with open(os.path.join(s.imgs, name), "rb") as f:
        raw = f.read()
    out, at = raw[:8], 8
    while at < len(raw):
        n = struct.unpack("<I", raw[at:at + 4])[0]
        body = raw[at + 4:at + 4 + n]
        if (7, 2, place.encode()) in fields(body):
            body += packed(1007, 0, 1)
        out += struct.pack("<I", len(body)) + body
        at += 4 + n
    check(len(out) == len(raw) + 3, "no mount at %s" % place)
    with open(os.path.join(s.imgs, name), "wb") as f:
        f.write(out)


@scenario
def impossible(s):
    """Images that say what no dump does."""
    for how, place, said in ((["unshare", "-m"], "/mnt", "in no user namespace"),
                             (USER, "/mnt/a/b", "that on which it lies is not")):
        start(s, OWN, how=how)
        s.dump()
        lock_in_image(s, place)
        s.restore("--allow-edited-images", ok=False)
        check(s.rc > 0 and said in s.errors("restore.log"), "%s: %s" % (place, s.errors("restore.log")))
        s.gone()
        s.clean_images()


@scenario
def slaves(s):
    """Of a host whose mounts are shared (as systemd has them), with covered ones; what is mounted there comes."""
    libc = ctypes.CDLL(None, use_errno=True)
    check(not libc.unshare(CLONE_NEWNS) and not libc.mount(None, b"/", None, MS_REC | MS_SHARED, None), "unshare, mount")
    for name in ("over", "place"):
        os.mkdir(s.path(name))
    for n in "12":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid", "t" + n, s.path("over")], check=True)
    start(s, OWN, how=[*USER, "--propagation", "unchanged"])
    inside_all(s.pid, "mount", "--bind", s.path("over"), s.path("place"))
    s.dump("-R")
    warned = text(os.path.join(s.imgs, "dump.log"))
    check(warned.count("cannot clear its flags") == 1, "what is bound can be written to after a restore: %s" % warned)
    inside_all(s.pid, "umount", s.path("place"))
    s.clean_images()
    check(all(" master:" in m for m in mounts(s.pid) if " / / " in m), "no slave")
    all_rounds(s, ["/mnt"])
    subprocess.run(["mount", "-t", "tmpfs", "new", s.path("place")], check=True)
    check(any(s.path("place") in m for m in mounts(s.pid)), "what the host mounts is not seen")
    subprocess.run(["umount", s.path("place")], check=True)
    check(not any(s.path("place") in m for m in mounts(s.pid)), "what the host unmounts is there")
    locks(s, own=["/mnt/a/b", "/mnt", "/sys", "/sys"], inherited=["/proc", "/dev", s.path("over")])
    said = inside_all(s.pid, "mount", "-o", "remount,bind,rw", s.path("over"))
    check("permission denied" in said, "the flags are not locked: %s" % said)


if __name__ == "__main__":
    run_all()
