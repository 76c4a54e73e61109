#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Deleted files. --ghost-limit: what holds more is refused by name, holes do not count; no room in the image directory is found before
# anything is written; owner, mode and attributes; 2,000 of them; what cannot be made again is said before anything is started.
# zdtm: driver
# zdtm: needs-root
import ctypes
import fcntl
import os
import resource
import shutil
import struct
import subprocess
import sys

from driver import Skipped, check, run_all, scenario, text, wait_for

libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT = 1, 32


def mount(where, options="", flags=0):
    r = libc.mount(b"none", where.encode(), b"tmpfs", flags, options.encode())
    check(r == 0, "mounting %s: %s" % (where, os.strerror(ctypes.get_errno())))


def without_tmpfile():
    """openat() with __O_TMPFILE is EOPNOTSUPP from here on."""
    code = [(0x20, 0, 0, 0), (0x15, 0, 3, 257), (0x20, 0, 0, 32), (0x45, 0, 1, 0o20000000), (0x06, 0, 0, 0x50000 | 95),
            (0x06, 0, 0, 0x7fff0000)]
    raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
    prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(raw)))
    if libc.prctl(22, 2, prog, 0, 0):
        os._exit(99)


def victim(s, size, data):
    path = s.path("away")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, size)
    os.pwrite(fd, b"x" * data, 0)
    os.fsync(fd)
    os.unlink(path)
    s.victim(pass_fds=[fd])
    os.close(fd)


@scenario
def limits(s):
    victim(s, 1 << 30, 100000)
    for limit in ("50K", "99999", "4k"):
        s.dump("--ghost-limit", limit, ok=False)
        said = text(os.path.join(s.imgs, "dump.log"))
        check(s.rc != 0 and "/away (deleted): a deleted file with 1" in said and "--ghost-limit" in said,
              "%s: %s" % (limit, s.errors("dump.log")))
        check(not s.images(), "images are left")
    for limit in ("K", "1T", "-1", "1KK", "99999999999999999999", "18014398509481984K"):
        s.tool("dump", "-t", s.pid, "-D", s.imgs, "--ghost-limit=" + limit)
        check(s.rc != 0 and "is not a size" in s.out, "%s: %d %s" % (limit, s.rc, s.out))
    s.dump("--ghost-limit", "1M")
    s.restore()
    s.verify()


@scenario
def fiemap(s):
    """Data between holes and what is only reserved, found either way, and nothing else is written."""
    sizes = []
    for opts in ((), ("--no-ghost-fiemap",), ("--ghost-fiemap",)):
        fd = os.open(s.path("away"), os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, 1 << 20)
        os.ftruncate(fd, 8 << 20)
        for at in (4096, 500000, 3 << 20, (8 << 20) - 5):
            os.pwrite(fd, b"data%d" % (at % 10), at)
        os.unlink(s.path("away"))
        before = os.pread(fd, 8 << 20, 0)
        s.victim(pass_fds=[fd])
        os.close(fd)
        s.dump(*opts)
        sizes.append(os.stat(os.path.join(s.imgs, "ghost-file-1.img")).st_size)
        s.restore()
        with open("/proc/%d/fd/%d" % (s.pid, fd), "rb") as f:
            check(f.read() == before, "%r: other contents" % (opts,))
        s.verify()
    check(sizes[2] < sizes[0] < 3 << 20 and abs(sizes[0] - sizes[1]) < 100, "sizes %r" % sizes)


@scenario
def no_room(s):
    small = s.path("small")
    os.mkdir(small)
    mount(small, "size=1m")
    victim(s, 4 << 20, 4 << 20)
    imgs, s.imgs = s.imgs, small
    s.dump(ok=False)
    said = text(os.path.join(small, "dump.log"))
    check(s.rc != 0 and "has room for" in said, s.errors("dump.log"))
    check(not s.images(), "images are left")
    s.imgs = imgs
    check(libc.umount2(small.encode(), 0) == 0, "umount")
    s.dump()
    s.restore()
    s.verify()


@scenario
def read_only(s):
    disk = s.path("disk")
    os.mkdir(disk)
    mount(disk)
    os.mkdir(disk + "/in")
    fd = os.open(disk + "/in/it", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"words")
    os.unlink(disk + "/in/it")
    s.victim(pass_fds=[fd])
    os.close(fd)
    s.dump()
    mount(disk, flags=MS_REMOUNT | MS_RDONLY)
    s.restore(ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0 and "/disk/in/it was deleted, and cannot be made again in" in said, said)
    mount(disk, flags=MS_REMOUNT)
    shutil.rmtree(disk + "/in")
    s.restore()
    check(os.listdir(disk) == [], "a name is there: %s" % os.listdir(disk))
    s.verify()
    check(libc.umount2(disk.encode(), 0) == 0, "umount")


@scenario
def owner(s):
    """Of another user, with set-user-ID and attributes: the owner first, which would take them away."""
    cap = bytes.fromhex("0100000200040000000000000000000000000000")
    fd = os.open(s.path("it"), os.O_RDWR | os.O_CREAT)
    os.fchown(fd, 12345, 54321)
    os.fchmod(fd, 0o4751)
    os.setxattr(fd, "security.capability", cap)
    os.setxattr(fd, "trusted.test", b"\0\1bytes")
    os.unlink(s.path("it"))
    before = os.fstat(fd)
    s.victim(pass_fds=[fd])
    os.close(fd)
    s.dump()
    s.restore()
    path = "/proc/%d/fd/%d" % (s.pid, fd)
    after = os.stat(path)
    for field in ("st_uid", "st_gid", "st_mode", "st_size", "st_nlink", "st_mtime_ns", "st_atime_ns"):
        a, b = getattr(before, field), getattr(after, field)
        check(a == b, "%s was %s and is %s" % (field, a, b))
    check(os.getxattr(path, "security.capability") == cap, "its capabilities")
    check(os.getxattr(path, "trusted.test") == b"\0\1bytes", "its attribute")
    s.verify()


GETFLAGS, SETFLAGS = 0x80086601, 0x40086602


def inode_flags(fd):
    return struct.unpack("i", fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0]


@scenario
def flags_of_the_inode(s):
    """Immutable, append-only, not to be dumped: set when they were open and deleted."""
    fds, was = [], []
    for flag in (0x10, 0x20, 0x40):
        fds.append(os.open(s.path("it"), os.O_RDWR | os.O_CREAT | os.O_EXCL))
        os.write(fds[-1], b"data")
        os.unlink(s.path("it"))
        try:
            fcntl.ioctl(fds[-1], SETFLAGS, struct.pack("i", inode_flags(fds[-1]) | flag))
        except OSError as e:
            raise Skipped("no flags here: %s" % e)
        was.append(inode_flags(fds[-1]) & 0xf8)
    check(was == [0x10, 0x20, 0x40], "they are %r" % was)
    s.victim(pass_fds=fds)
    for fd in fds:
        os.close(fd)
    for _ in range(2):
        s.dump()
        s.restore()
        now = []
        for fd in fds:
            check(text("/proc/%d/fd/%d" % (s.pid, fd)) == "data", "fd %d: %r" % (fd, text("/proc/%d/fd/%d" % (s.pid, fd))))
            with open("/proc/%d/fd/%d" % (s.pid, fd), "rb") as f:
                now.append(inode_flags(f.fileno()) & 0xf8)
            check("02" in text("/proc/%d/fdinfo/%d" % (s.pid, fd)).split("flags:")[1].split()[0][-2:], "it is not open for writing")
        check(now == was, "they are %r, not %r" % (now, was))
    s.verify()


def acl(fd):
    return [x for x in os.listxattr(fd) if "acl" in x]


@scenario
def lists_of_the_directory(s):
    """They are from before it had a list for what is made in it, and have none."""
    os.mkdir(s.path("in"))
    os.mkdir(s.path("in/dir"), 0o750)
    os.mkfifo(s.path("in/fifo"), 0o640)
    fds = [os.open(s.path("in/file"), os.O_RDWR | os.O_CREAT, 0o640), os.open(s.path("in/dir"), os.O_RDONLY),
           os.open(s.path("in/fifo"), os.O_RDWR)]
    os.unlink(s.path("in/file"))
    os.rmdir(s.path("in/dir"))
    os.unlink(s.path("in/fifo"))
    entries = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in (
        (1, 6, 0xffffffff), (2, 6, 100), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 0, 0xffffffff)))
    try:
        os.setxattr(s.path("in"), "system.posix_acl_default", entries)
    except OSError as e:
        raise Skipped("no lists here: %s" % e)
    s.victim(pass_fds=fds)
    modes = [os.fstat(fd).st_mode for fd in fds]
    for fd in fds:
        os.close(fd)
    s.dump()
    s.restore()
    for fd, mode in zip(fds, modes):
        path = "/proc/%d/fd/%d" % (s.pid, fd)
        check((acl(path), os.stat(path).st_mode) == ([], mode), "%s: %r, 0%o" % (os.readlink(path), acl(path), os.stat(path).st_mode))
    s.verify()


@scenario
def many(s):
    """2,000 of them, all of one name."""
    names = []
    for i in range(2000):
        fd = os.open(s.path("it"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(fd, b"number %d" % i)
        os.unlink(s.path("it"))
        names.append(fd)
    s.victim(pass_fds=names)
    for fd in names:
        os.close(fd)
    s.dump()
    s.restore()
    for i, fd in enumerate(names):
        said = text("/proc/%d/fd/%d" % (s.pid, fd))
        check(said == "number %d" % i, "number %d is %r" % (i, said))
    check(sorted(os.listdir(s.dir)) == ["imgs", "ready", "victim.out"], "files: %s" % os.listdir(s.dir))
    s.verify()


MAPPER = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at = []
for i in range(500):
    fd = os.open('it', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'number %04d' % i + bytes(4096))
    at.append(libc.mmap(None, 4096, 3, 1 if i % 2 else 2, fd, 0))
    os.unlink('it'); os.close(fd)
open('ready', 'w').close()
while not os.path.exists('verify'): time.sleep(0.01)
bad = [i for i, a in enumerate(at) if ctypes.string_at(a, 11) != b'number %04d' % i]
with open('result', 'w') as f: f.write('FAIL %r' % bad if bad else 'PASS')
"""


@scenario
def mapped(s):
    """500 that are only mapped, by a tool that may have 200 files open."""
    s.proc = subprocess.Popen([sys.executable, "-c", MAPPER], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "not ready")
    s.dump(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    s.restore()
    s.verify()


@scenario
def no_tmpfile(s):
    """A file system without O_TMPFILE (a filter says so to the tool): made under a name of ours, which is gone at once."""
    os.mkdir(s.path("in"))
    fd = os.open(s.path("in/it"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"words")
    os.unlink(s.path("in/it"))
    s.victim(pass_fds=[fd])
    os.close(fd)
    s.dump()
    s.restore(preexec_fn=without_tmpfile)
    check("Seccomp:\t2" in text("/proc/%d/status" % s.pid), "there was no filter")
    check(os.listdir(s.path("in")) == [], "a name is there: %s" % os.listdir(s.path("in")))
    check(text("/proc/%d/fd/%d" % (s.pid, fd)) == "words", "its contents")
    check(os.readlink("/proc/%d/fd/%d" % (s.pid, fd)) == s.path("in/it") + " (deleted)", "its name")
    s.verify()


run_all()
