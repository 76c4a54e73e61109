#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Images in which a socket stands where only what can be mapped, executed or entered can: refused by name. (A flipped bit in
# mm-PID.img once had criu open a socket before any other, and crash.)
# zdtm: driver
# zdtm: needs-root
import os
import shutil
import struct

from driver import check, run_all, scenario, text
from image_edit import edit, fields

UNIXSK = 5
CASES = (("mm", (12,), "its executable"), ("mm", (14, 4), "its mapping"), ("fs", (1,), "its working directory"), ("fs", (2,), "its root"))


def a_socket(s):
    with open(s.path("imgs/fdinfo-2.img"), "rb") as f:
        raw = f.read()[8:]
    while raw:
        length = struct.unpack("<I", raw[:4])[0]
        entry = {n: v for n, _, v in fields(raw[4:4 + length])}
        if entry[3] == UNIXSK:
            return entry[1]
        raw = raw[4 + length:]
    check(False, "no socket in fdinfo-2.img")


@scenario
def refused(s):
    s.victim("unix_pairs")
    s.dump()
    s.proc = None
    socket = a_socket(s)
    for image, path, words in CASES:
        name = "%s-%d.img" % (image, s.pid)
        whole = s.path("imgs/" + name)
        shutil.copy(whole, s.path("whole"))
        edit(s, name, path, socket)
        s.restore("--allow-edited-images", ok=False)
        said = s.out + text(s.path("imgs/restore.log"))
        check(s.rc == 1 and words in said and "file %d is of kind unix socket" % socket in said and name in said,
              "%s %s: %d %s" % (name, path, s.rc, said[-600:]))
        check(not os.path.exists("/proc/%d" % s.pid), "%s %s: a task was started" % (name, path))
        shutil.copy(s.path("whole"), whole)
    s.restore()


run_all()
