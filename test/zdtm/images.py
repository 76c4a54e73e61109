#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What the images hold: crit decodes each one, and encodes the same bytes; the tree in them is the tree that was; zero pages,
# untouched pages and unchanged pages of files are not stored.
# zdtm: driver
# zdtm: timeout 300
import json
import os

import crit_tool
from driver import check, children, run_all, scenario, text

MB = 1 << 20


def crit(s, name):
    path = os.path.join(s.imgs, name)
    check(not crit_tool.not_the_same(path), "%s: other bytes come back from crit %s" % (name, crit_tool.not_the_same(path)))
    return json.loads(crit_tool.shown(path, pretty=False))


@scenario
def crit_decodes(s):
    for program in ("sleeping", "cow_children", "pipes", "reg_files", "timers", "sharing", "pty", "fifo", "creds", "seccomp"):
        s.victim(program)
        pid, kids = s.pid, children(s.pid)
        threads = sorted(map(int, os.listdir("/proc/%d/task" % pid)))
        s.dump("-R", "--file-locks")
        for name in s.images():
            if name.endswith(".img") and not name.startswith("pages-"):
                crit(s, name)
        tree = crit(s, "pstree.img")["entries"]
        check(tree[0]["pid"] == pid and sorted(tree[0]["threads"]) == threads, "%s: pstree's root %r" % (program, tree[0]))
        check(sorted(e["pid"] for e in tree if e["ppid"] == pid) == sorted(kids), "%s: pstree's children" % program)
        core = crit(s, "core-%d.img" % pid)["entries"][0]
        check(core["tc"]["comm"] == text("/proc/%d/comm" % pid).strip(), "%s: core's comm" % program)
        s.kill()
        s.clean_images()


def stored(s):
    return sum(os.path.getsize(os.path.join(s.imgs, n)) for n in s.images() if n.startswith("pages-"))


@scenario
def zero_pages(s):
    s.victim("anon_memory")
    s.dump("-R")
    # 3 + 1 + 1 + 1 (of 4) + 0.5 MiB with contents for each of the two, 1 MiB that they share, and what a small process has
    check(14 * MB <= stored(s) <= 16 * MB, "%.2f MiB are stored" % (stored(s) / MB))


@scenario
def file_pages(s):
    s.victim("sleeping")
    s.dump("-R")
    check(stored(s) <= MB, "of a small process %d KiB are stored" % (stored(s) // 1024))


@scenario
def shared_once(s):
    """Anonymous memory that several tasks share is stored once."""
    s.victim("sharing")
    s.dump("-R")
    names = [n for n in s.images() if n.startswith("pagemap-shmem-")]
    check(len(names) == 1, "one shared mapping, %r" % names)


run_all()
