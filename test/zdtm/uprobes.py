#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A task in which a uprobe was hit: refused by name without --allow-uprobes; with it, three rounds, and the uprobe is hit on.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import struct

from driver import Skipped, check, run_all, scenario, state_of, text, wait_for

SYS_perf_event_open = 298


class Uprobe:
    """On one place of a file, in all processes; counted."""

    def __init__(self, path, offset):
        source = "/sys/bus/event_source/devices/uprobe/type"
        if not os.path.exists(source):
            raise Skipped("this kernel has no uprobes")
        self.path = ctypes.create_string_buffer(path.encode())
        # type, size, config, period, sample type, read format, flags, wakeup, bp_type, config1, config2
        attr = struct.pack("=IIQQQQQIIQQ", int(text(source)), 72, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(self.path), offset)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.syscall(SYS_perf_event_open, ctypes.create_string_buffer(attr), -1, 0, -1, 8)
        if self.fd < 0:
            raise Skipped("a uprobe: %s" % os.strerror(ctypes.get_errno()))

    def count(self):
        return struct.unpack("=Q", os.read(self.fd, 8))[0]

    def close(self):
        os.close(self.fd)


def mapped(pid):
    return "[uprobes]" in text("/proc/%d/maps" % pid)


def rounds(s, which, shown):
    s.victim("uprobed")
    os.sched_setaffinity(s.pid, {0})  # where it is counted
    probe = Uprobe("/proc/%d/exe" % s.pid, int(text(s.path("place")).split()[which]))
    check(wait_for(lambda: probe.count() > 0, 20), "it was not hit")
    check(mapped(s.pid) == shown, "[uprobes] is %sthere" % ("not " if shown else ""))
    s.dump(ok=False)
    check(s.rc and "--allow-uprobes" in s.errors("dump.log"), "not refused: %s" % s.errors("dump.log"))
    for i in range(3):
        s.clean_images()
        s.dump("--allow-uprobes")
        if shown:
            check(s.restore(ok=False) != 0 and "--allow-uprobes" in s.errors("restore.log"), "restored without the option")
        s.restore("--allow-uprobes")
        n = probe.count()
        check(wait_for(lambda: probe.count() > n or state_of(s.pid) in ("Z", "gone"), 20), "it is not hit any more")
        check(state_of(s.pid) not in ("Z", "gone"), "the task ended")
        check(mapped(s.pid) == shown, "[uprobes] is %sthere again" % ("not " if shown else ""))
    # Gone when it is restored: nothing of it is left in the code.
    s.clean_images()
    s.dump("--allow-uprobes")
    probe.close()
    s.restore("--allow-uprobes")
    s.verify()


@scenario
def stepped(s):
    rounds(s, 0, True)


@scenario
def emulated(s):
    rounds(s, 1, False)


run_all()
