#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# File systems of the kernel's that a tree mounts itself, and those on devices and in programs that have to be given.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, need, run_all, scenario, text
from mounts import inside, mounts, rounds, start


@scenario
def kernels(s):
    """All that this kernel has, with options; directories in those that have them."""
    start(s, """
        mkdir $W/m; cd $W/m; n=0
        for t in proc sysfs tmpfs ramfs devpts mqueue debugfs tracefs securityfs pstore fusectl hugetlbfs bpf binfmt_misc devtmpfs; do
            grep -qw $t /proc/filesystems || continue
            mkdir $t; mount -t $t -o nosuid $t $t || rmdir $t
        done
        mkdir -p hugetlbfs/d/e bpf/d/e; chmod 751 hugetlbfs/d bpf/d; mount --make-shared bpf; mkdir part; mount --bind bpf/d part
        if [ -d binfmt_misc ]; then mkdir again; mount --bind binfmt_misc again; fi; cd /
    """)
    seen = [m.split(" - ")[1].split()[0] for m in mounts(s.pid) if " %s/m/" % s.dir in m]
    check({"hugetlbfs", "bpf", "devpts", "ramfs", "debugfs"} <= set(seen), seen)
    rounds(s, [s.path("m/hugetlbfs"), s.path("m/bpf/d"), s.path("m/part")], n=2)


@scenario
def refused(s):
    """What cannot be made again is refused by name: a file of huge pages, a FUSE, an autofs."""
    start(s, """
        mkdir $W/h; mount -t hugetlbfs h $W/h; : > $W/h/file
    """)
    s.dump(ok=False)
    said = s.errors("dump.log")
    check("a file of huge pages" in said and s.path("h") in said, said)
    s.clean_images()
    inside(s.pid, "rm", s.path("h/file"))
    if "autofs" in text("/proc/filesystems"):
        read, write = os.pipe()
        os.set_inheritable(write, True)
        p = subprocess.run(["nsenter", "-t", str(s.pid), "-m", "mount", "-i", "-t", "autofs", "-o",
                            "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct" % (write, os.getpgrp()), "a", s.path("h")], pass_fds=[write],
                           capture_output=True, text=True)
        check(not p.returncode, p.stderr)
        s.dump(ok=False)
        said = s.errors("dump.log")
        check("(autofs)" in said, said)
        os.close(read)
        os.close(write)
        s.clean_images()
        inside(s.pid, "umount", s.path("h"))
    s.dump()
    s.restore()


@scenario
def device(s):
    """--external dev[MAJOR/MINOR]:NAME; at restore another device with the same file system."""
    need("mkfs.ext4", "losetup")
    image = s.path("disk")
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    first = subprocess.run(["losetup", "--show", "-f", image], check=True, capture_output=True, text=True).stdout.strip()
    second = None
    try:
        start(s, """
            mkdir $W/m $W/part; mount -o nosuid,noatime %s $W/m; mkdir $W/m/d; echo disk > $W/m/d/f; echo gone > $W/m/d/gone
            mount --bind $W/m/d $W/part; exec 3>>$W/m/d/f 4<$W/m/d/gone; rm $W/m/d/gone; cd $W/part; mount -o remount,ro,bind $W/part
        """ % first)
        before = mounts(s.pid)
        st = os.stat("/proc/%d/root%s" % (s.pid, s.path("m"))).st_dev
        key = "dev[%d/%d]" % (os.major(st), os.minor(st))
        s.dump(ok=False)
        check("--external '%s:NAME'" % key in s.errors("dump.log"), s.errors("dump.log"))
        s.clean_images()
        for n in range(2):
            s.dump("--external", key + ":disk")
            if n == 0:
                subprocess.run(["losetup", "-d", first], check=True)
                second = subprocess.run(["losetup", "--show", "-f", image], check=True, capture_output=True, text=True).stdout.strip()
                s.restore(ok=False)
                check("--external 'dev[disk]:DEVICE'" in s.errors("restore.log"), s.errors("restore.log"))
            s.restore("--external", "dev[disk]:" + second)
            now = [m.replace(second, first) for m in mounts(s.pid)]
            check(now == before, "%r" % sorted(set(now) ^ set(before)))
            root = "/proc/%d/root" % s.pid
            check(text(root + s.path("part/f")) == "disk\n" and text("/proc/%d/fd/4" % s.pid) == "gone\n", "contents")
            check(os.listdir(root + s.path("part")) == ["f"], "left: %r" % os.listdir(root + s.path("part")))
    finally:
        if s.pid and os.path.exists("/proc/%d" % s.pid):
            s.kill()
        for dev in (first, second):
            if dev:
                subprocess.run(["losetup", "-d", dev], capture_output=True)


@scenario
def attributes(s):
    """Of files in a tmpfs: inode flags, times of access; a read-only one too."""
    need("chattr", "lsattr")
    start(s, """
        mount -t tmpfs t /mnt; cd /mnt; mkdir -p d/e; echo x > imm; echo y > d/app; echo z > d/e/nodump; : > d/many; : > read
        touch -a -d 2003-01-02 read imm; touch -m -d 2004-01-02 d/e; exec 3>d/many 4>>d/app
        chattr +i imm; chattr +a d/app; chattr +d d/e/nodump; chattr +iA d/many; chattr +a d/e
        mkdir $W/ro; mount -t tmpfs t $W/ro; echo x > $W/ro/f; chattr +i $W/ro/f; mount -o remount,ro $W/ro; cd /
    """)
    top = "/proc/%d/root/mnt" % s.pid

    def see():
        top = "/proc/%d/root" % s.pid
        out = subprocess.run(["lsattr", "-R", top + "/mnt", top + s.path("ro")], capture_output=True, text=True).stdout
        times = [os.stat(top + "/mnt/" + n).st_atime_ns for n in ("read", "imm")]
        return sorted(ln for ln in out.replace(top, "").splitlines() if ln), times
    before = see()
    check("----i" in str(before[0]) and "-----a" in str(before[0]), before)
    rounds(s, n=1)
    for _ in range(2):
        check(see() == before, "%r is now %r" % (before, see()))
        s.dump()
        s.restore()
    check(see() == before and top, "%r is now %r" % (before, see()))
    try:
        os.unlink("/proc/%d/root/mnt/imm" % s.pid)
        check(False, "an immutable file can be removed")
    except PermissionError:
        pass


@scenario
def empty(s):
    """The root directory of an empty tmpfs, by what an archive can say of it: owner, mode, times, attributes, far away numbers."""
    start(s, """
        cd $W; mkdir plain sticky xattr far old one; for t in *; do [ ! -d $t ] || mount -t tmpfs t $t 2>/dev/null || :; done
        chown 1000:77 sticky; chmod 3731 sticky; chown 4000000000:4000000001 far; touch -d 1960-01-02 old; : > one/file
        touch -m -d 2004-01-02T03:04:05.678901234 one; touch -m -d 2004-01-02T03:04:05.078901234 sticky
        touch -a -d 2006-01-02T03:04:05.678901234 sticky; chmod 0 plain
        if command -v setfattr >/dev/null; then setfattr -n trusted.a -v b xattr; fi
        mount -o remount,ro plain
    """)

    def see():
        tops = ["/proc/%d/root%s" % (s.pid, s.path(n)) for n in ("plain", "sticky", "xattr", "far", "old", "one")]
        stats = [os.stat(t) for t in tops]
        return [(st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_atime_ns, os.listxattr(t)) for st, t in zip(stats, tops)]
    before = see()
    check(before[3][1] == 4000000000 and before[4][3] < 0, before)
    for _ in range(2):
        s.dump()
        s.restore()
        check(see() == before, "%r is now %r" % (before, see()))


@scenario
def external_master(s):
    """A master in a namespace that criu does not see: --enable-external-masters."""
    start(s, """
        mount -t tmpfs t /mnt; mount --make-shared /mnt; mkdir /mnt/d
        unshare -m --propagation slave setsid sleep 1001 & wait || :
    """)
    s.pid = s.inner
    s.proc = None
    check(any(" /mnt " in m and "master:" in m for m in mounts(s.pid)), mounts(s.pid))
    s.dump(ok=False)
    check("--enable-external-masters" in s.errors("dump.log") and "/mnt" in s.errors("dump.log"), s.errors("dump.log"))
    s.clean_images()
    s.dump("--enable-external-masters")
    s.restore("--enable-external-masters")
    check([m for m in mounts(s.pid) if " /mnt " in m and "master:" not in m], mounts(s.pid))


if __name__ == "__main__":
    run_all()
