#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Images that say that a task was in a namespace of the tree's own, and have nothing more of it: refused with its type and
# number, rather than the tree restored in criu's.
# zdtm: driver
# zdtm: needs-root
import os

from driver import check, run_all, scenario, text

FIELDS = {"mnt": (9, "namespace 99"), "user": (10, "namespace 99")}  # of task_kobj_ids_entry


@scenario
def refused(s):
    s.victim("eventfd")
    s.dump()
    s.proc = None
    path = os.path.join(s.imgs, "ids-%d.img" % s.pid)
    whole = open(path, "rb").read()
    for name, (field, words) in FIELDS.items():
        at = whole.index(bytes([field << 3]), 12)
        with open(path, "wb") as f:
            f.write(whole[:at + 1] + b"\x63" + whole[at + 2:])
        s.restore("--allow-edited-images", ok=False)
        said = s.out + text(s.path("imgs/restore.log"))
        check(name in said and words in said, "%s: %s" % (name, said[-600:]))
        print(name, [line for line in said.splitlines() if "Error" in line][0])
    for name, field in ("uts", 8), ("net", 6), ("user", 10):  # of a type that can be made
        at = whole.index(bytes([field << 3]), 12)
        with open(path, "wb") as f:
            f.write(whole[:at + 1] + b"\x63" + whole[at + 2:])
        s.restore("--allow-edited-images", ok=False)
        check("%s namespace 99, of which there is no image" % name in s.out + text(s.path("imgs/restore.log")), s.out)
    at = whole.index(bytes([5 << 3]), 12)  # pid_ns_id: the root of one can only be number 1
    with open(path, "wb") as f:
        f.write(whole[:at + 1] + b"\x63" + whole[at + 2:])
    s.restore("--allow-edited-images", ok=False)
    check("in which the first process is number 1" in s.out + text(s.path("imgs/restore.log")), "pid: %s" % s.out)
    with open(path, "wb") as f:
        f.write(whole)
    s.restore()


run_all()
