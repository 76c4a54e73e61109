#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Mounts of what was deleted: files, FIFOs, devices and directories of a tmpfs of the tree's own and of the host's file
# systems, as systemd-nspawn leaves them; and files of a tmpfs that is mounted nowhere as a whole.
# zdtm: driver
# zdtm: needs-root
import os
import stat
import subprocess

from driver import check, run_all, scenario, text
from mounts import difference, inside, mounts, start

MAKE = """
    D=%s; mkdir -p $D $D/sub/low; cd $D
    echo contents > file; chmod 640 file; chown 3:4 file; touch -d 2001-02-03 file; echo same > twice
    mkfifo fifo; chmod 622 fifo; mknod null c 1 3; mkdir dir; chmod 1751 dir; echo below > sub/low/f; : > empty
    truncate -s 1M hole; printf x >> hole; echo one > other; ln other sub/other
    mkdir -p $W/m; for n in file twice twice2 fifo null hole below empty other replaced; do : > $W/m/$n; done; mkdir $W/m/dir
    for n in file twice fifo null dir empty hole other; do mount --bind $n $W/m/$n; done
    mount --bind twice $W/m/twice2; mount --bind sub/low/f $W/m/below
    echo old > replaced; mount --bind replaced $W/m/replaced; rm replaced; echo new > replaced
    rm file twice fifo null empty hole other; rm sub/low/f; rmdir dir sub/low
"""
NAMES = "file twice twice2 fifo null hole below empty other replaced dir".split()


def look(s):
    out = {}
    top = "/proc/%d/root%s/m/" % (s.pid, s.dir)
    for n in NAMES:
        st = os.lstat(top + n)
        out[n] = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns, st.st_rdev, st.st_size, st.st_blocks]
        if stat.S_ISREG(st.st_mode):
            out[n] += [open(top + n, "rb").read()[-100:]]
    out["same"] = os.path.samefile(top + "twice", top + "twice2")
    return out


def again(s, n=3, tops=(), dump=(), restore=()):
    def all():
        top = "/proc/%d/root" % s.pid
        return mounts(s.pid), look(s), {t: [os.stat(top + t).st_mtime_ns] + sorted(os.listdir(top + t)) for t in tops}
    before = all()
    check(before[1]["file"][-1] == b"contents\n" and "//deleted" in str(before[0]), before)
    for i in range(n):
        s.dump(*dump)
        s.restore(*restore)
        now = all()
        for was, is_now in zip(before, now):
            check(was == is_now, "round %d: %s" % (i + 1, difference(was, is_now)))


@scenario
def tmpfs(s):
    """Of a tmpfs that is mounted; a new file has the name of one that was deleted, a directory on the way is gone."""
    start(s, "mount -t tmpfs t /mnt" + MAKE % "/mnt/d" + "cd /; exec <$W/m/file 3<>$W/m/fifo")
    again(s, tops=["/mnt/d", "/mnt/d/sub"])
    check(text("/proc/%d/root/mnt/d/replaced" % s.pid) == "new\n", "what took the name")
    check(os.path.samefile("/proc/%d/fd/0" % s.pid, "/proc/%d/root%s/m/file" % (s.pid, s.dir)), "the open file is another one")
    top = "/proc/%d/root" % s.pid
    check(os.path.samefile(top + s.dir + "/m/other", top + "/mnt/d/sub/other"), "the file with another name is not the same")


@scenario
def host(s):
    """Of the file system that criu sees: nothing is left of the names that they have had."""
    start(s, MAKE % "$W/d" + "cd /")
    names = sorted(os.listdir(s.path("d")))

    def hide(lines):  # on a file system of others' what has the name is left in peace
        return [x for x in lines if "/m/replaced" not in x]
    before = hide(mounts(s.pid)), look(s)
    for i in range(2):
        s.dump()
        s.restore()
        now = hide(mounts(s.pid)), look(s)
        # directories on the way are not made again there
        lines = [[x for x in y if "/m/below" not in x] for y in (before[0], now[0])]
        check(lines[0] == lines[1], "round %d: %s" % (i, difference(*lines)))
        check(before[1] == now[1], "round %d: %s" % (i, difference(before[1], now[1])))
        check(sorted(os.listdir(s.path("d"))) == names, "left: %r" % os.listdir(s.path("d")))
        check(text(s.path("d/replaced")) == "new\n", "what took the name")
    check(not [n for n in os.listdir("/") + os.listdir(s.dir) + os.listdir(s.path("d")) if n.startswith(".criu-mounted")], "a name is left")


@scenario
def killed(s):
    """A restore that is killed, wherever, leaves none of the names that they have for a while."""
    start(s, MAKE % "$W/d" + "cd /")
    before = sorted(os.listdir(s.path("d"))), sorted(os.listdir(s.path("d/sub")))
    s.dump()
    s.proc = None
    for point in range(1, 500):
        s.restore("--test-kill-at", str(point), ok=False)
        if s.rc >= 0 or "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            break
        s.gone()
        now = sorted(os.listdir(s.path("d"))), sorted(os.listdir(s.path("d/sub")))
        check(now == before, "killed at %d: %r" % (point, now))
    check(point > 12, "it ended at point %d" % point)
    s.kill()
    for stage in ("pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore"):
        s.restore("--action-script", s.script("refuse", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ]\n' % stage), ok=False)
        now = sorted(os.listdir(s.path("d"))), sorted(os.listdir(s.path("d/sub")))
        check(s.rc == 1 and now == before, "refused at %s: %r" % (stage, now))


@scenario
def lone(s):
    """Files of a tmpfs of which nothing else is mounted, and directories beside them."""
    start(s, """
        mount -t tmpfs t /mnt; mkdir -p /mnt/a/b /mnt/c; echo lone > /mnt/a/b/f; chmod 604 /mnt/a/b/f; mkfifo /mnt/p; echo c > /mnt/c/c
        mkdir $W/c; : > $W/f; : > $W/p; : > $W/g
        mount --bind /mnt/a/b/f $W/f; mount --bind /mnt/a/b/f $W/g; mount --bind /mnt/p $W/p; mount --bind /mnt/c $W/c; umount /mnt
        mount -t tmpfs t /mnt; echo only > /mnt/only; : > $W/o; mount --bind /mnt/only $W/o; rm /mnt/only; umount /mnt
    """)
    before = mounts(s.pid)
    top = "/proc/%d/root%s/" % (s.pid, s.dir)
    for _ in range(3):
        s.dump()
        s.restore()
        top = "/proc/%d/root%s/" % (s.pid, s.dir)
        check(mounts(s.pid) == before, difference(before, mounts(s.pid)))
        check([text(top + n) for n in ("f", "g", "c/c", "o")] == ["lone\n", "lone\n", "c\n", "only\n"], "contents")
        check(stat.S_ISFIFO(os.stat(top + "p").st_mode) and os.stat(top + "f").st_mode & 0o777 == 0o604, "modes")
        check(os.path.samefile(top + "f", top + "g"), "two files")


@scenario
def refused(s):
    """A file with names that are nowhere; one above --ghost-limit; nothing has changed."""
    start(s, """
        mount -t tmpfs t /mnt; echo x > /mnt/a; ln /mnt/a /mnt/b; : > $W/a; mount --bind /mnt/a $W/a; umount /mnt
        mount -t tmpfs t /mnt; head -c 100000 /dev/zero > /mnt/big; : > $W/big; mount --bind /mnt/big $W/big; rm /mnt/big
    """)
    s.dump("--ghost-limit", "64K", ok=False)
    said = s.errors("dump.log")
    check("a file with 2 names" in said and "more than --ghost-limit" in said, said)
    inside(s.pid, "umount", s.path("a"))
    s.dump()
    s.restore()
    check(os.stat("/proc/%d/root%s/big" % (s.pid, s.dir)).st_size == 100000, "size")


@scenario
def user(s):
    """Of a user namespace, whose root made them."""
    start(s, "mount -t tmpfs t /mnt" + MAKE.replace("mknod null c 1 3", ": > null").replace("chown 3:4 file", ":") % "/mnt/d" + "cd /",
          how=("unshare", "-Ur", "-m"))
    again(s, tops=["/mnt/d"])


if __name__ == "__main__":
    run_all()
