#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Watched files whose path the kernel does not show: on a file system without handles (overlayfs) they are looked for, in
# the working directory and where --irmap-scan-path says, by a pre-dump too; one below another mount is found by its handle alone.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import ctypes
import os

from driver import Failed, Skipped, check, run_all, scenario

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000

VICTIM = """#!/usr/bin/python3
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None)
here, cwd, path = %r, %r, %r
os.chdir(cwd)
fd = libc.inotify_init1(os.O_NONBLOCK)
held = os.open(path, os.O_WRONLY) if %r else -1
wds = [libc.inotify_add_watch(fd, path.encode(), 2) for _ in range(3)]
open(here + "/ready", "w").close()
while not os.path.exists(here + "/verify"):
    time.sleep(0.01)
if held < 0:
    held = os.open(path, os.O_WRONLY)
os.write(held, b"x")
try:
    got = struct.unpack("iIII", os.read(fd, 1000)[:16])
except OSError as e:
    got = e
with open(here + "/result", "w") as f:
    f.write("PASS\\n" if got == (wds[0], 2, 0, 0) else "FAIL got %%s\\nPASS\\n" %% (got,))
"""


def private_mounts():
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise Skipped("no mount namespace: %s" % os.strerror(ctypes.get_errno()))


def mount(kind, where, options=""):
    if libc.mount(kind.encode(), where.encode(), kind.encode(), 0, options.encode()):
        raise Skipped("%s cannot be mounted: %s" % (kind, os.strerror(ctypes.get_errno())))


def overlay(s):
    dirs = {n: s.path(n) for n in ("lower", "upper", "work", "top")}
    for d in dirs.values():
        os.makedirs(d)
    os.makedirs(s.path("lower/a/b"))
    open(s.path("lower/a/b/file"), "w").close()
    mount("overlay", dirs["top"], "lowerdir=%(lower)s,upperdir=%(upper)s,workdir=%(work)s" % dirs)
    return s.path("top/a/b/file")


def victim(s, cwd, path, hold=False):
    with open(s.path("victim.py"), "w") as f:
        f.write(VICTIM % (s.dir, cwd, path, hold))
    os.chmod(s.path("victim.py"), 0o755)
    s.victim(s.path("victim.py"))


@scenario
def by_option(s):
    path = overlay(s)
    victim(s, "/", path)
    check(s.dump(ok=False), "a dump that cannot know the path succeeds")
    check("--irmap-scan-path" in s.errors("dump.log"), s.errors("dump.log"))
    s.clean_images()
    s.dump("--irmap-scan-path", s.path("lower"), "--irmap-scan-path", s.path("top"))
    s.restore()
    s.verify()


@scenario
def ahead(s):
    """A pre-dump has looked, so that the dump need not; what was moved meanwhile is not taken for the file."""
    path = overlay(s)
    victim(s, "/", path)
    for n in "12":
        prev = ["--prev-images-dir", "../pre" + str(int(n) - 1)] if n > "1" else ["--irmap-scan-path", s.path("top")]
        os.mkdir(s.path("pre" + n))
        check(s.tool("pre-dump", "-t", s.pid, "-D", s.path("pre" + n), "-v4", *prev) == 0, s.out)
        check(path.encode() in open(s.path("pre%s/irmap-cache" % n), "rb").read(), "pre-dump %s: the path is not in irmap-cache" % n)
    os.rename(path, path + ".away")
    check(s.dump("--prev-images-dir", "../pre2", ok=False), "a path that is not the file's any more")
    check("--irmap-scan-path" in s.errors("dump.log"), s.errors("dump.log"))
    open(path, "w").close()
    check(s.dump("--prev-images-dir", "../pre2", ok=False), "another file of that path")
    os.rename(path + ".away", path)
    s.clean_images()
    s.dump("--prev-images-dir", "../pre2")
    s.restore()
    s.verify()


@scenario
def in_working_directory(s):
    path = overlay(s)
    victim(s, s.path("top/a"), path)
    s.dump()
    s.restore()
    s.verify()


@scenario
def missing_at_restore(s):
    path = overlay(s)
    victim(s, s.path("top/a"), path)
    s.dump()
    os.rename(path, path + ".away")
    check(s.restore(ok=False), "a restore without the watched file succeeds")
    check(path in s.errors("restore.log"), s.errors("restore.log"))
    os.rename(path + ".away", path)
    s.restore()
    s.verify()


@scenario
def by_handle_alone(s):
    """The directory is covered by another mount while it is dumped."""
    os.makedirs(s.path("dir/sub"))
    mount("tmpfs", s.path("dir"))
    os.makedirs(s.path("dir/sub"))
    path = s.path("dir/sub/file")
    open(path, "w").close()
    victim(s, "/", path)
    mount("tmpfs", s.path("dir/sub"))
    check(s.dump("--force-irmap", ok=False), "--force-irmap is content without a path")
    s.clean_images()
    s.dump()
    s.restore()
    if libc.umount2(s.path("dir/sub").encode(), 0):
        raise Failed("umount: %s" % os.strerror(ctypes.get_errno()))
    s.verify()


private_mounts()
run_all()
