# SPDX-License-Identifier: GPL-2.0-only
"""
What a test leaves behind: in its namespaces, and in the directories that others use as well (/tmp, /run, the root), where
only what the test itself has made counts, and the kernel tells who made a name.
"""
import ctypes
import os
import struct
import subprocess

from snapshot import text

PLACES = ("/tmp", "/run", "/")
CACHE = "/run/criu.types"  # is meant to stay
CLOEXEC, NONBLOCK, UNLIMITED_QUEUE, REPORT_DIR_AND_NAME = 0x1, 0x2, 0x10, 0xc00
MARK_ADD, ONLYDIR = 0x1, 0x8
MOVED_TO, CREATE, ONDIR = 0x80, 0x100, 0x40000000
NAME_RECORD = 2  # FAN_EVENT_INFO_TYPE_DFID_NAME

_libc = ctypes.CDLL(None, use_errno=True)


def _watch(place):
    """A descriptor that tells which names are made in a directory."""
    fd = _libc.fanotify_init(CLOEXEC | NONBLOCK | UNLIMITED_QUEUE | REPORT_DIR_AND_NAME, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init: " + os.strerror(ctypes.get_errno()))
    if _libc.fanotify_mark(fd, MARK_ADD | ONLYDIR, ctypes.c_uint64(CREATE | MOVED_TO | ONDIR), -100, place.encode()):
        e = ctypes.get_errno()
        os.close(fd)
        raise OSError(e, "fanotify_mark %s: %s" % (place, os.strerror(e)))
    return fd


def _names(events):
    """(pid, name) of each event: its head, then records, of which one has a file handle and, behind that, the name."""
    while events:
        size, _, _, head, _, _, pid = struct.unpack_from("=IBBHQii", events)
        at = head
        while at < size:
            kind, _, length = struct.unpack_from("=BBH", events, at)
            if kind == NAME_RECORD:
                handle = struct.unpack_from("=I", events, at + 12)[0]
                yield pid, events[at + 20 + handle:at + length].split(b"\0")[0]
            at += length
        events = events[size:]


class Made:
    """
    The names with "criu" in them that processes of this pid namespace make from now on. Of others, which are not to be
    seen from here, the kernel says pid 0. Where it tells nothing (an old kernel, a file system without handles, a
    process without capabilities) `why` says so, and nothing is known.
    """

    def __init__(self):
        self.watches, self.made, self.why = {}, set(), ""
        try:
            for place in PLACES:
                self.watches[place] = _watch(place)
        except OSError as e:
            self.why = e.strerror

    def left(self):
        """Those that are still there."""
        for place, fd in self.watches.items():
            try:
                while events := os.read(fd, 65536):
                    self.made |= {os.path.join(place, os.fsdecode(name)) for pid, name in _names(events) if pid and b"criu" in name}
            except BlockingIOError:
                pass
        return sorted(path for path in self.made - {CACHE} if os.path.lexists(path))


def namespace_state():
    """What a test may not leave in its namespaces."""
    state = {}
    for line in text("/proc/self/mountinfo").splitlines():
        state["mount " + line.split()[4]] = line.split(" - ")[-1]
    for line in text("/proc/sysvipc/shm").splitlines()[1:]:
        f = line.split()
        state["segment " + f[1]] = "of %s bytes" % f[3]
    for n in os.listdir("/dev/shm"):
        state["file /dev/shm/" + n] = "there"
    try:
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, timeout=60).stdout
        for line in rules.splitlines():
            if line.startswith("table"):
                state["rule " + line] = "there"
    except OSError:
        pass
    return state


class Leftovers:
    """Of a test in namespaces of its own, from its beginning to its end."""

    def __init__(self):
        self.before, self.made = namespace_state(), Made()

    @property
    def unknown(self):
        """Why nothing is known of names, or ""."""
        return self.made.why

    def found(self):
        new = ["%s %s" % (k, v) for k, v in namespace_state().items() if self.before.get(k) != v]
        return new + ["file " + path for path in self.made.left()]
