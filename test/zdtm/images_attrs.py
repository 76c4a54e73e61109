#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Attributes of threads that this machine does not have, in edited images: refused by name before anything is started, or, what
# makes a difference to speed alone, left out with a warning.
# zdtm: driver
# zdtm: needs-root
import os
import shutil

from driver import check, run_all, scenario, text
from image_edit import edit

THREAD_CORE, POLICY = 5, 4
MEMPOLICY, RUNTIME, DEADLINE, PERIOD, UTIL_MIN, UTIL_MAX, IO_PRIORITY, IO_FLUSHER = 1020, 1021, 1022, 1023, 1024, 1025, 1026, 1027
TSC, CPUID, MCE, BYPASS, DISPATCH, COOKIE = 1029, 1030, 1031, 1032, 1035, 1036
BIND_TO_NODE_900 = b"\x08\x02\x12\x71" + b"\0" * 112 + b"\x10"
PR_SCHED_CORE, PR_GET_IO_FLUSHER, PR_GET_SPECULATION_CTRL = 62, 58, 52

# Fields, what is said, and whether the restore is refused. Where the machine can do it after all, nothing is said.
CASES = (
    ({IO_FLUSHER: 1}, "writes out for others (PR_SET_IO_FLUSHER)", True),
    ({CPUID: 1}, "CPUID gives it a SIGSEGV", True),
    ({COOKIE: 1}, "has a cookie for core scheduling", True),
    ({TSC: 7}, "its image has TSC mode 7", True),
    ({MCE: 9}, "machine check policy 9", True),
    ({POLICY: 6}, "SCHED_DEADLINE without a runtime", True),
    ({MEMPOLICY: b"\x08\x02\x12\x82\x01" + b"\0" * 130}, "a memory policy of 130 bytes", True),
    ({MEMPOLICY: BIND_TO_NODE_900}, "its memory policy 2 cannot be set", False),
    ({POLICY: 6, RUNTIME: 10**9, DEADLINE: 10**8, PERIOD: 10**9}, "SCHED_DEADLINE cannot be given back", False),
    ({UTIL_MIN: 10, UTIL_MAX: 500}, "its utilisation clamps cannot be given back", False),
    ({BYPASS: 5}, "had speculative store bypass off", False),
    ({IO_PRIORITY: 7 << 13}, "its I/O priority stays class 0", False),
)


@scenario
def lacking(s):
    s.victim("eventfd")
    s.dump()
    s.proc = None
    name = "core-%d.img" % s.pid
    whole, imgs = s.path("whole"), s.imgs
    shutil.copy(os.path.join(imgs, name), whole)
    for fields, words, refused in CASES:
        shutil.copy(whole, os.path.join(imgs, name))
        for field, value in fields.items():
            edit(s, name, (THREAD_CORE, field), value)
        s.restore("--allow-edited-images", ok=None)
        said = s.out + text(os.path.join(imgs, "restore.log"))
        if os.path.exists("/proc/%d" % s.pid):
            check(not refused or words not in said, "'%s' was said, and the tree restored" % words)
            s.kill()
        else:
            check(refused, "refused: %s" % said[-600:])
        print("%-50s %s" % (words, "said" if words in said else "not said: this machine can do it"))


run_all()
