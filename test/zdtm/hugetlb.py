#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Huge pages of hugetlb: three rounds; too few of them at restore, which is refused with both numbers before anything is
# started; and none left over afterwards.
# zdtm: driver
# zdtm: needs gcc
# zdtm: needs-root
# zdtm: exclusive
# zdtm: sole
import ctypes
import os
import re
import subprocess

from driver import HERE, check, run_all, scenario, state_of, wait_for
from hugepool import Pages, pool, set_pages
from snapshot import Snapshot


def program(s, name="hugetlb_mem"):
    path = s.path(name)
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", path, os.path.join(HERE, "lib/%s.c" % name)], check=True)
    return path


def mount(s):
    libc = ctypes.CDLL(None, use_errno=True)
    where = s.path("huge")
    os.mkdir(where)
    check(libc.mount(b"none", where.encode(), b"hugetlbfs", 0, None) == 0, "mount of hugetlbfs")
    return where


def umount(where):
    check(ctypes.CDLL(None).umount2(where.encode(), 2) == 0, "umount of hugetlbfs")


@scenario
def rounds(s):
    with Pages(s, 48):
        free = pool("free_hugepages")
        where = mount(s)
        try:
            s.victim(program(s), args=[where])
            before = Snapshot(s.pid)
            for i in range(3):
                s.clean_images()
                s.dump()
                s.restore()
                s.same(before, "round %d" % i)
            s.verify()
        finally:
            umount(where)
        check(wait_for(lambda: pool("free_hugepages") == free, 10), "%d free huge pages, there were %d" %
              (pool("free_hugepages"), free))


@scenario
def segments(s):
    """System V: used again where it is still there, with what it had; made again where it is not."""
    with Pages(s, 8):
        free = pool("free_hugepages")
        s.victim(program(s, "hugetlb_shm"))
        before = Snapshot(s.pid)
        for i in range(3):
            s.clean_images()
            s.dump()
            if i:
                subprocess.run(["ipcrm", "-M", "0x5a445480"], check=True)
            s.restore()
            s.same(before, "round %d" % i)
        s.dump()
        subprocess.run(["ipcrm", "-M", "0x5a445480"], check=True)
        check(wait_for(lambda: pool("free_hugepages") == free, 10), "pages are left over")
        set_pages(pool("nr_hugepages") - free + 4)
        s.restore(ok=False)
        m = re.search(r"needs 5 huge pages of 2048 kB, and 4 are free", s.errors("restore.log"))
        check(s.rc and m, "not refused: %s" % s.errors("restore.log"))
        set_pages(pool("nr_hugepages") + 1)
        s.restore()
        s.verify()


@scenario
def watched(s):
    """By userfaultfd."""
    with Pages(s, 16):
        s.victim(program(s, "hugetlb_uffd"))
        before = Snapshot(s.pid)
        for i in range(3):
            s.clean_images()
            s.dump()
            s.restore()
            s.same(before, "round %d" % i)
        s.verify()


@scenario
def watched_holes(s):
    with Pages(s, 16):
        s.victim(program(s, "hugetlb_uffd"), args=["holes"])
        s.dump(ok=False)
        check(s.rc and "userfaultfd watches shared huge pages, not all of which are there" in s.errors("dump.log"),
              "not refused: %s" % s.errors("dump.log"))
        s.verify()


@scenario
def snapshot(s):
    """The copy of its memory (--snapshot) has none of them: where no other is free, the first write to one that both have ends the task."""
    prog = ("import mmap,os\nh=2<<20\nm=mmap.mmap(-1,3*h,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS|0x44000)\no=mmap.mmap(-1,32<<20,flags=mmap.MAP_PRIVATE)\n"
            "for i in range(0,32<<20,4096): o[i]=7\nn=0\nwhile not os.path.exists('verify'):\n n=n%250+1\n for i in range(3): m[i*h]=n\n"
            " if n==9: open('ready','w').close()\nopen('result','w').write('PASS' if all(m[i*h]==n for i in range(3)) else 'FAIL')\n")
    for n in ("verify", "result", "ready"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    with Pages(s, 3):
        s.proc = subprocess.Popen(["python3", "-c", prog], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready")
        check(pool("free_hugepages") == 0, "%d pages are free" % pool("free_hugepages"))
        for i in range(5):
            s.dump("-R", "--snapshot", "always")
            check(state_of(s.pid) in "SR", "the task: %s" % state_of(s.pid))
        s.kill()
        s.restore()
        s.verify()


@scenario
def too_few(s):
    with Pages(s, 48):
        where = mount(s)
        try:
            s.victim(program(s), args=[where])
            in_use = 48 - (pool("free_hugepages") - pool("resv_hugepages"))
            s.dump()
            # The file that has a name stays, with the page that was written and the one that was set aside.
            check(wait_for(lambda: pool("free_hugepages") == 47 and pool("resv_hugepages") == 1, 10),
                  "of 48 pages %d are free, %d promised" % (pool("free_hugepages"), pool("resv_hugepages")))
            wanted = in_use - 2
            set_pages(pool("nr_hugepages") - 46 + wanted - 1)
            s.restore(ok=False)
            errors = s.errors("restore.log")
            m = re.search(r"needs (\d+) huge pages of 2048 kB, and (\d+) are free", errors)
            check(s.rc and m, "not refused: %s" % errors)
            check((int(m.group(1)), int(m.group(2))) == (wanted, wanted - 1), "%s, %d are needed" % (m.group(0), wanted))
            check(state_of(s.pid) == "gone", "something was started")
            set_pages(pool("nr_hugepages") + 1)
            s.restore()
            set_pages(pool("nr_hugepages") + 8)  # for what the child touches now, for which nothing was set aside
            s.verify()
        finally:
            umount(where)


run_all()
