#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Mount namespaces of the tree's own: copies of the host's with mounts on top.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, need, run_all, scenario, text, tree, wait_for
from mounts import asleep, difference, files_of, inside, inside_all, mounts, rounds, start


@scenario
def tmpfs(s):
    """A tmpfs on top of the host's mounts: cwd and descriptors on it."""
    start(s, """
        mount -t tmpfs -o size=2m,mode=1711 none /mnt; cd /mnt; mkdir -p a/b; echo hello > a/b/f; ln a/b/f g
        ln -s a/b/f sym; mkfifo fifo; mknod null c 1 3; chown 5:6 g; chmod 4751 a/b; truncate -s 1M hole
        python3 -c "import socket, os; socket.socket(socket.AF_UNIX).bind('a/stale'); os.chmod('a/stale', 0o601)"
        chown 7:8 a/stale; touch -d 2001-02-03 a
        exec <a/b/f >/mnt/out
    """)
    check(any("/mnt rw,relatime - tmpfs none" in m for m in mounts(s.pid)), "no tmpfs")
    rounds(s, ["/mnt"])


ROOTFS = """
    mkdir -p $W/rootfs; cd $W/rootfs; mkdir -p bin dev proc sys tmp run etc old; cp $(command -v busybox) bin/busybox
    for n in sh sleep mount umount mkdir cat; do ln -sf busybox bin/$n; done
    mount --bind . .; cd .; cd $W/rootfs
    mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t tmpfs -o mode=755,nosuid tmpfs dev
    mkdir dev/pts dev/shm dev/mqueue; mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
    mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=65536k shm dev/shm
    mount -t mqueue -o nosuid,nodev,noexec mqueue dev/mqueue
    for n in null zero full random urandom; do : > dev/$n; mount --bind /dev/$n dev/$n; done
    ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; mknod dev/own c 1 3
    echo box > etc/hostname; echo other > $W/resolv; : > etc/resolv.conf; mount --bind $W/resolv etc/resolv.conf
    mount -t tmpfs -o size=1m tmpfs tmp; mount -t tmpfs tmpfs run; echo here > tmp/file; mkdir run/lock
    mount -t ramfs ramfs run/lock; echo ram > run/lock/it
    pivot_root . old; umount -l /old; cd /
    exec </dev/null >/tmp/out 2>/dev/own
"""


@scenario
def pivoted(s):
    """A container's root: a directory, with all the file systems that one has."""
    need("busybox", "pivot_root")
    start(s, ROOTFS, end="exec /bin/sleep 1000")
    check(mounts(s.pid)[0].split()[2:4] == [s.path("rootfs"), "/"], mounts(s.pid)[0])
    rounds(s, ["/tmp", "/dev", "/run", "/run/lock", "/dev/shm"])


@scenario
def bubblewrap(s):
    """A sandbox as desktops and package builders make it: its root is a part of a tmpfs."""
    need("bwrap")
    os.mkdir(s.path("home"))
    start(s, "", how=["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--ro-bind",
                      "/etc", "/etc", "--tmpfs", "/run", "--dir", "/run/user/0", "--file", "0", "/run/empty",
                      "--remount-ro", "/run", "--chdir", "/tmp"], end="exec sleep 1000")
    rounds(s, ["/tmp", "/run"])


@scenario
def bubblewrap_usr(s):
    need("bwrap")
    start(s, "", how=["bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib64",
                      "/lib64", "--symlink", "usr/lib", "/lib", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
                      "--dir", "/var/tmp", "--chdir", "/tmp"], end="exec sleep 1000")
    rounds(s, ["/", "/tmp", "/dev"])


@scenario
def propagation(s):
    """Peer groups, slaves, both, and unbindable; over-mounts; binds of files; parts of file systems; flags."""
    start(s, """
        mount -t tmpfs -o size=3m p /mnt; mkdir /mnt/a /mnt/b /mnt/c /mnt/d /mnt/e /mnt/f /mnt/u /mnt/o; cd /mnt
        mount -t tmpfs a a; mkdir a/x a/y; mount --make-shared a; mount --bind a b
        mount --bind a c; mount --make-slave c; mount --bind a/x d; mount --make-slave d; mount --make-shared d
        mount --bind d e; mount -t tmpfs -o ro,nosuid,nodev,noexec u u; mount --make-unbindable u
        mount -t tmpfs o1 o; echo 1 > o/one; mkdir o/sub; mount -t tmpfs o1sub o/sub; echo s > o/sub/s
        mount -t tmpfs -o noatime,nodiratime o2 o; echo 2 > o/two; mount --bind o f
        mount -o remount,bind,ro f; echo file > file; echo onto > onto; mount --bind file onto
        mount --make-private onto; mkdir hid hid/in; mount -t tmpfs in hid/in; echo in > hid/in/f
        mount -t tmpfs over hid
        mount -t tmpfs -o strictatime s a/y
        cd /
    """)
    rounds(s, ["/mnt", "/mnt/o", "/mnt/a", "/mnt/e"])
    inside(s.pid, "mount", "-t", "tmpfs", "new", "/mnt/b/x")
    now = [m.split(" ")[1:4:2] + m.split(" ")[3:4] for m in mounts(s.pid) if " new " in m]
    where = sorted(m.split(" ")[3] for m in mounts(s.pid) if " new " in m)
    check(where == ["/mnt/a/x", "/mnt/b/x", "/mnt/c/x", "/mnt/d", "/mnt/e"], "a new mount is seen at %r (%r)" % (where, now))
    inside(s.pid, "umount", "/mnt/o")
    check(inside(s.pid, "cat", "/mnt/o/one", "/mnt/o/sub/s") == "1\ns\n", "what was covered: %s" %
          inside(s.pid, "ls", "-lR", "/mnt/o"))
    inside(s.pid, "umount", "/mnt/hid")
    check(inside(s.pid, "cat", "/mnt/hid/in/f") == "in\n", "what was below a covered directory")
    check(inside(s.pid, "mount", "--bind", "/mnt/u", "/mnt/hid"), "what was unbindable can be bound")


@scenario
def mount_proc(s):
    """A pid namespace with its own /proc; parts of that are read-only, hidden and covered, as runc does it."""
    start(s, """
        mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; mount -t tmpfs -o ro none /proc/bus
        mount --bind /dev/null /proc/keys; mount --make-rshared /proc; exec >/dev/null 2>&1
    """, how=["unshare", "-m", "-p", "-f", "--mount-proc", "setsid"])
    s.pid = s.inner
    rounds(s)
    check(inside(s.pid, "cat", "/proc/1/comm") == "sleep\n", "/proc/1 is not the tree's")
    inside(s.pid, "umount", "/proc/keys")


@scenario
def container(s):
    """The same root as in pivoted(), in namespaces of all types but user and time."""
    need("busybox", "pivot_root")
    start(s, ROOTFS, how=["unshare", "-m", "-p", "-f", "-u", "-n", "-i", "-C", "setsid"], end="exec /bin/sleep 1000")
    s.pid = s.inner
    rounds(s, ["/tmp", "/dev", "/run", "/run/lock", "/dev/shm"])
    check(inside(s.pid, "/bin/cat", "/proc/1/cmdline").startswith("/bin/sleep"), "/proc/1 is not the tree's")
    check(os.listdir("/proc/%d/root/sys/class/net" % s.pid) == ["lo"], "sysfs is not of its network namespace")


@scenario
def bubblewrap_pid(s):
    need("bwrap")
    start(s, "", how=["bwrap", "--unshare-pid", "--as-pid-1", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                      "--tmpfs", "/tmp", "--chdir", "/tmp"], end="exec sleep 1000")
    s.pid = s.inner
    rounds(s, ["/tmp"])


@scenario
def several(s):
    """Two namespaces of one tree with common file systems and peer groups; what is mounted in one is seen in the other."""
    start(s, """
        mount -t tmpfs p /mnt; mount --make-shared /mnt; mkdir /mnt/a /mnt/b; mount -t tmpfs a /mnt/a; echo a > /mnt/a/f
        unshare -m --propagation unchanged sh -c 'mount -t tmpfs own /srv; echo o > /srv/f; exec sleep 1000 </srv/f' &
        unshare -m --propagation slave sh -c 'exec sleep 1000 </mnt/a/f' &
    """)
    check(wait_for(lambda: len(asleep(s.pid)) == 3), "not all sleep")
    kids = tree(s.pid)[1:]
    kids.sort(key=lambda k: files_of(k)["0"][0], reverse=True)

    def look():
        return [mounts(p) for p in [s.pid] + kids], [files_of(k) for k in kids]
    before = look()
    for _ in range(2):
        s.dump()
        s.restore()
        check(look() == before, "not the same: %s" % difference(dict(enumerate(before[0])), dict(enumerate(look()[0]))))
    inside(s.pid, "mount", "-t", "tmpfs", "new", "/mnt/b")
    seen = [any(" new " in m for m in mounts(p)) for p in [s.pid] + kids]
    check(seen == [True, True, True], "seen: %r" % seen)
    inside(kids[1], "mount", "-t", "tmpfs", "newer", "/mnt/b")
    seen = [any(" newer " in m for m in mounts(p)) for p in [s.pid] + kids]
    check(seen == [False, False, True], "seen from a slave: %r" % seen)


@scenario
def many(s):
    """Time grows with the number of mounts, not faster."""
    start(s, """
        mount -t tmpfs p /mnt; mkdir /mnt/from; i=0; while [ $i -lt 500 ]; do mkdir /mnt/$i; echo "/mnt/from /mnt/$i none bind"
        i=$((i+1)); done > /mnt/fstab; mount -a -T /mnt/fstab
    """)
    rounds(s, ["/mnt"], n=1)


@scenario
def overlay(s):
    """An overlay whose layers are in a tmpfs of the same namespace, with a mount on it."""
    start(s, """
        mount -t tmpfs p /mnt; cd /mnt; mkdir low up work all low/d; echo low > low/f; echo changed > low/g
        mount -t overlay -o lowerdir=/mnt/low,upperdir=/mnt/up,workdir=/mnt/work none all; echo new > all/g
        mount -t tmpfs t all/d; echo t > all/d/t; exec <all/g >all/out; cd all
    """)
    rounds(s, ["/mnt/low", "/mnt/up", "/mnt/all", "/mnt/all/d"])
    check(inside(s.pid, "cat", "/mnt/all/f", "/mnt/all/g") == "low\nnew\n", inside(s.pid, "cat", "/mnt/all/f", "/mnt/all/g"))


@scenario
def options(s):
    """--external mnt[], --ext-mount-map, --skip-mnt, --root."""
    need("busybox", "pivot_root")
    start(s, ROOTFS, end="exec /bin/sleep 1000")
    before = mounts(s.pid)
    s.dump("--external", "mnt[/etc/resolv.conf]:resolv", "--ext-mount-map", "/run:run", "--skip-mnt", "/run/lock",
           "--external", "mnt[]:sm", "--ext-mount-map", "auto")
    os.rename(s.path("rootfs"), s.path("moved"))
    for n in ("resolv2", "run2"):
        os.mkdir(s.path(n)) if n == "run2" else open(s.path(n), "w").write("given")
    os.mkdir(s.path("run2/lock"))
    s.restore("--root", s.path("moved"), ok=False)
    check(s.rc and "mnt[resolv]:PATH" in s.errors("restore.log"), "no refusal: %s" % s.errors("restore.log"))
    s.restore("--root", s.path("moved"), "--external", "mnt[resolv]:" + s.path("resolv2"), "--ext-mount-map",
              "run:" + s.path("run2"))
    now = mounts(s.pid)
    root = "/proc/%d/root" % s.pid
    check(text(root + "/etc/resolv.conf") == "given" and os.listdir(root + "/run") == ["lock"], "what was given")
    gone = [m.split(" ")[3] for m in before if m.split(" ")[3] not in [n.split(" ")[3] for n in now]]
    check(gone == ["/run/lock"], "not there: %r" % gone)
    check(any(s.path("moved") + " / " in m for m in now), "--root: %r" % now)


@scenario
def deleted_given(s):
    """Deleted files of a shared file system that are mounted, as systemd-nspawn does it, and others given for them: of no group with it."""
    start(s, """
        mount -t tmpfs p /mnt; mount --make-shared /mnt; echo old > /mnt/f; : > $W/peer; : > $W/slave
        mount --bind /mnt/f $W/peer; mount --bind /mnt/f $W/slave; mount --make-slave $W/slave; rm /mnt/f
    """)
    for n in ("peer", "slave"):
        open(s.path("new-" + n), "w").write("given " + n)
    for n_round in range(2):
        s.dump("--external", "mnt[%s]:one" % s.path("peer"), "--external", "mnt[%s]:two" % s.path("slave"))
        s.restore("--external", "mnt[one]:" + s.path("new-peer"), "--external", "mnt[two]:" + s.path("new-slave"))
        said = text(s.path("imgs/restore.log"))
        check(said.count("of another file system than /mnt") == (0 if n_round else 2), "what is said: %s" % s.errors("restore.log"))
        for n in ("peer", "slave"):
            check(text("/proc/%d/root" % s.pid + s.path(n)) == "given " + n, n)
        lines = [m for m in text("/proc/%d/mountinfo" % s.pid).splitlines() if " %s " % s.path("peer") in m or " /mnt " in m]
        groups = [w for m in lines for w in m.split() if w.startswith("shared:")]
        check(len(groups) == len(set(groups)) == 2, "groups: %s" % lines)


@scenario
def parts_of_late(s):
    """Of sysfs, made when its network namespace is there: parts that share a group which no whole one is in, and one that lies on another."""
    start(s, """
        mkdir $W/bus $W/block; mount -t sysfs -o nosuid,nodev s /mnt; mount --make-shared /mnt
        mount --bind /mnt/bus $W/bus; mount --bind /mnt/block $W/block; umount /mnt
        mount -t sysfs -o nosuid s /mnt; mount --bind /mnt/class /mnt/class; mount -o remount,bind,ro,noexec /mnt/class
        mount --bind /mnt/class/net /mnt/class/net; mount -o remount,bind,rw /mnt/class/net
    """, how=("unshare", "-m", "-n"))
    before = mounts(s.pid)
    check(sum(" sysfs " in m for m in before) >= 5, before)
    for _ in range(3):
        s.dump()
        s.restore()
        now = mounts(s.pid)
        check(now == before, "%s" % sorted(set(now) ^ set(before)))
        check(inside(s.pid, "ls", "/mnt/class/net") == "lo\n", "devices: %s" % inside(s.pid, "ls", "/mnt/class/net"))


@scenario
def odd_roots(s):
    """A namespace that the host has bound."""
    open(s.path("net"), "w").close()
    subprocess.run(["mount", "--bind", "/proc/self/ns/net", s.path("net")], check=True)
    start(s, "exec <$W/net >/dev/null")
    rounds(s, n=2)
    s.kill()
    subprocess.run(["umount", s.path("net")], check=True)


USER = ["unshare", "-U", "-r", "-m", "-p", "-f", "-n", "-i", "setsid"]


@scenario
def user(s):
    """In a user namespace: file systems that belong to it, with a root of its own."""
    need("busybox", "pivot_root")
    start(s, """
        mkdir -p $W/rootfs; cd $W/rootfs; mkdir -p bin dev proc sys tmp old; cp $(command -v busybox) bin/busybox
        for n in sh sleep mount umount mkdir cat; do ln -sf busybox bin/$n; done
        mount --bind . .; cd $W/rootfs; mount -t proc proc proc
        mount -t tmpfs -o mode=755,size=1m tmpfs tmp; echo in > tmp/file; : > dev/null; mount --bind /dev/null dev/null
        mount -t tmpfs ro tmp/old 2>/dev/null || mkdir tmp/old; mount -t tmpfs -o nosuid top tmp/old
        pivot_root . old; umount -l /old; cd /; exec </dev/null >/tmp/out 2>/dev/null
    """, how=USER, end="exec /bin/sleep 1000")
    s.pid = s.inner
    rounds(s, ["/tmp", "/tmp/old"])
    said = inside_all(s.pid, "/bin/mount", "-o", "remount,size=2m", "/tmp")
    check(not said, "the tmpfs does not belong to the user namespace: %s" % said)


@scenario
def bubblewrap_user(s):
    """As a user without rights has it."""
    need("bwrap")
    start(s, "", how=["bwrap", "--unshare-user", "--unshare-pid", "--as-pid-1", "--new-session", "--ro-bind", "/usr",
                      "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib64", "/lib64", "--symlink",
                      "usr/lib", "/lib", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/tmp"],
          end="exec sleep 1000")
    s.pid = s.inner
    rounds(s, ["/", "/tmp", "/dev"])


if __name__ == "__main__":
    run_all()
