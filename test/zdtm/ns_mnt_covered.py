#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Files below mounts that cover them: descriptors, working directory, root, executable and mapping; a mount namespace that only a
# descriptor holds.
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

from driver import check, run_all, scenario, text
from mounts import difference, inside, mounts, start



def mount_of(pid, n):
    """The place and source of the mount of a descriptor."""
    id = [x.split()[1] for x in text("/proc/%d/fdinfo/%s" % (pid, n)).splitlines() if x.startswith("mnt_id")][0]
    return [ln.split(" ")[4] + " " + ln.split(" - ")[1] for ln in text("/proc/%d/mountinfo" % pid).splitlines() if ln.split(" ")[0] == id]


def look(pid, fds="0 1 3 4 5".split()):
    out = {n: (os.readlink("/proc/%d/fd/%s" % (pid, n)), mount_of(pid, n), os.stat("/proc/%d/fd/%s" % (pid, n)).st_size) for n in fds}
    for n in ("cwd", "root", "exe"):
        out[n] = os.readlink("/proc/%d/%s" % (pid, n))
    out["maps"] = [ln.split()[5] for ln in text("/proc/%d/maps" % pid).splitlines() if "/mnt" in ln]
    return out


@scenario
def files(s):
    """Of a tmpfs that another one covers, of a directory and a file that mounts lie over, and of one below two of them."""
    start(s, """
        mount -t tmpfs low /mnt; mkdir -p /mnt/d/e; echo low > /mnt/d/f; echo hid > /mnt/file; echo other > $W/other; mkfifo /mnt/d/p
        cp $(command -v sleep) /mnt/d/sleep; exec 3</mnt/d/f 4<>/mnt/d/e/new 0<>/mnt/d/p 5</mnt/d; exec >/mnt/file; echo out; cd /mnt/d
        mount --bind $W/other /mnt/file; mount -t tmpfs mid /mnt/d; mkdir -p /mnt/d/e; echo mid > /mnt/d/f
        mount -t tmpfs high /mnt; mkdir -p /mnt/d; echo high > /mnt/d/f
    """, end="exec ./sleep 1000")
    before = mounts(s.pid), look(s.pid)
    check(before[1]["cwd"] == "/mnt/d" and before[1]["exe"] == "/mnt/d/sleep" and "low" in str(before[1]["3"]), before[1])
    for i in range(3):
        s.dump()
        s.restore()
        now = mounts(s.pid), look(s.pid)
        for was, is_now in zip(before, now):
            check(was == is_now, "round %d: %s" % (i + 1, difference(was, is_now)))
    check(text("/proc/%d/fd/3" % s.pid) == "low\n" and text("/proc/%d/root/mnt/d/f" % s.pid) == "high\n", "contents")
    inside(s.pid, "umount", "/mnt")
    check(text("/proc/%d/root/mnt/d/f" % s.pid) == "mid\n", "what was covered once")
    inside(s.pid, "umount", "/mnt/d", "/mnt/file")
    check(text("/proc/%d/root/mnt/file" % s.pid) == "out\n", "what was written")
    check(os.path.samefile("/proc/%d/fd/3" % s.pid, "/proc/%d/root/mnt/d/f" % s.pid), "the open file is another one")


@scenario
def held(s):
    """A mount namespace without a task: a tmpfs, what covers another mount, a peer group with the tree's own."""
    start(s, """
        mkfifo $W/p; mount -t tmpfs common /mnt; mount --make-shared /mnt; mkdir /mnt/a
        unshare -m --propagation unchanged sh -c "mount -t tmpfs held /srv; echo held > /srv/f; echo ready > $W/p; exec sleep 1000" & C=$!
        read x < $W/p || :; exec 3</proc/$C/ns/mnt; kill $C; wait $C || :
    """)

    def see():
        p = subprocess.run(["nsenter", "--mount=/proc/%d/fd/3" % s.pid, "sh", "-c", "cat /srv/f; cut -d' ' -f4- /proc/self/mountinfo"],
                           capture_output=True, text=True)
        return sorted(p.stdout.splitlines())
    before = see()
    own = os.readlink("/proc/%d/ns/mnt" % s.pid)
    check("held" in before and own != os.readlink("/proc/%d/fd/3" % s.pid), before)

    def plain(lines):
        return sorted(" ".join(w for w in ln.split(" ") if not w.startswith(("shared:", "master:"))) for ln in lines)
    for i in range(2):
        s.dump()
        s.restore()
        check(plain(see()) == plain(before), "round %d: %s" % (i, difference(plain(before), plain(see()))))
        check(os.readlink("/proc/%d/fd/3" % s.pid) != os.readlink("/proc/%d/ns/mnt" % s.pid), "the tree's own")
    inside(s.pid, "mount", "-t", "tmpfs", "new", "/mnt/a")
    check(any(" /mnt/a " in ln and "new" in ln for ln in see()), "no peer group: %r" % see())


@scenario
def refused(s):
    """What a restore could not do is refused, and the tree runs on: a working directory in a mount that has been detached."""
    start(s, "mount -t tmpfs t /mnt; mkdir /mnt/d; cd /mnt/d; umount -l /mnt")
    s.dump(ok=False)
    said = s.errors("dump.log")
    check("/d" in said and os.path.exists("/proc/%d" % s.pid), said)


if __name__ == "__main__":
    run_all()
