#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Trees of mounts that are in no place: held by a descriptor of open_tree(2) or fsmount(2), with mounts in them, one of a file, of
# criu's own file systems and new ones, shared and slave, read-only, in criu's mount namespace, in one of the tree's own and in a
# user namespace. Three rounds; then the program attaches them, and mounts, flags, groups and contents are as they were. What else
# is open there (a file, a working directory, another descriptor of the root, after umount -l) is refused with what to do,
# and the program lives on.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 120
import os
import re
import subprocess

from driver import check, run_all, scenario, state_of, text, wait_for

CALLS = r"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def must(ret):
    if ret < 0: raise OSError(ctypes.get_errno(), "call")
    return ret
def open_tree(path, flags): return must(libc.syscall(428, -100, path.encode(), 1 | os.O_CLOEXEC | flags))
def mount(source, target, kind=None, flags=0, data=None):
    must(libc.mount(source, target.encode() if isinstance(target, str) else target, kind, flags, data))
def fsmount(kind, attr=0):
    fs = must(libc.syscall(430, kind, 1))
    must(libc.syscall(431, fs, 1, b"source", b"from-fsmount", 0))
    must(libc.syscall(431, fs, 6, None, None, 0))
    fd = must(libc.syscall(432, fs, 1, attr))
    os.close(fs)
    return fd
def move_mount(fd, path): must(libc.syscall(429, fd, b"", -100, path.encode(), 4))
place, how = sys.argv[1], sys.argv[2:]
def write(path, text):
    with open(path, "w") as f: f.write(text)
def ready():
    write(place + ".new", ""); os.rename(place + ".new", place + ".ready")
"""

# Where a descriptor of what is attached is copied, and what a program has to do with it after the restore.
HOLDER = CALLS + r"""
if "own" in how: must(libc.unshare(0x20000)); mount(None, b"/", None, 0x44000)
mount(b"t", place, b"tmpfs", 0, b"size=1m,mode=750")
mount(None, place, None, 1 << 20 if "shared" in how else 1 << 18)
os.mkdir(place + "/sub"); os.mkdir(place + "/deep"); write(place + "/file", "x" * 5000); write(place + "/point", "")
mount(b"u", place + "/sub", b"tmpfs", 1 | 2 | 4)
mount((place + "/file").encode(), place + "/point", None, 4096)
if "slave" in how: mount(None, place, None, 1 << 20); mount(None, place, None, 1 << 19)
held = [open_tree(place, 0x8000), open_tree(place + "/file", 0), fsmount(b"tmpfs", 1 << 3)]
write("/proc/self/fd/%d/made" % held[2], "made"); must(libc.fchownat(held[2], b"made", 3, 4, 0)) if "user" not in how else 0
again = os.dup(held[0])
if "host" in how: held.append(open_tree("/usr/bin", 0))
if "alone" in how: must(libc.umount2(place.encode(), 2))
ready()
while not os.path.exists(place + ".go"): time.sleep(0.01)
for i, fd in enumerate(held):
    os.set_inheritable(fd, False)
    where = "%s-%d" % (place, i)
    os.mkdir(where) if i != 1 else write(where, "")
    other = must(libc.syscall(428, fd, b"", 1 | os.O_CLOEXEC | 0x1000 | 0x8000))  # may still be copied
    os.close(other)
    move_mount(fd, where)
with open("/proc/self/mountinfo") as f: lines = [l for l in f if place + "-" in l]
said = "".join(" ".join(l.split()[3:]) + "\n" for l in lines)
said += repr([sorted(os.listdir(place + "-0")), open(place + "-0/point").read() == "x" * 5000, len(open(place + "-1").read()),
              os.stat(place + "-0").st_mode, sorted(os.listdir(place + "-2")), os.stat(place + "-2/made").st_uid])
if "host" in how: said += repr(sorted(os.listdir(place + "-3")) == sorted(os.listdir("/usr/bin")))
if "own" not in how:
    for where in [place] + ["%s-%d" % (place, i) for i in range(len(held))]: must(libc.umount2(where.encode(), 2))
write(place + ".new", said); os.rename(place + ".new", place + ".said")
time.sleep(100000)
"""


def begin(s, program, place, *how, front=()):
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen([*front, "python3", "-c", program, place, *how], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(place + ".ready") or s.proc.poll() is not None) and s.proc.poll() is None,
          "not ready: " + text(s.path("victim.out")))
    os.unlink(place + ".ready")


def plain(said):
    """Without what the kernel numbers: groups by their place in the list."""
    seen = []

    def number(m):
        seen.append(m[2]) if m[2] not in seen else None
        return "%s:%d" % (m[1], seen.index(m[2]))
    return re.sub(r"(shared|master):(\d+)", number, said)


def answer(s, place):
    open(place + ".go", "w").close()
    check(wait_for(lambda: os.path.exists(place + ".said") or state_of(s.pid) in "Zg"), "no answer")
    check(os.path.exists(place + ".said"), text(s.path("victim.out")))
    said = plain(text(place + ".said"))
    for n in os.listdir(os.path.dirname(place)):
        path = os.path.join(os.path.dirname(place), n)
        if n.startswith(os.path.basename(place) + ".") or (n.startswith(os.path.basename(place) + "-") and os.path.isfile(path)):
            os.unlink(path)
        elif n.startswith(os.path.basename(place) + "-"):
            os.rmdir(path)
    return said


def compare(s, *how, front=()):
    place = s.path("place")
    os.mkdir(place)
    said = []
    for rounds in (0, 3):
        begin(s, HOLDER, place, *how, front=front)
        for _ in range(rounds):
            s.clean_images()
            s.dump()
            s.restore()
        said.append(answer(s, place))
        s.kill()
    check(said[0] == said[1] and "from-fsmount" in said[0], "before: %s\nafter: %s" % tuple(said))


@scenario
def own(s):
    compare(s, "own")


@scenario
def own_alone(s):
    """Nothing else has these file systems."""
    compare(s, "own", "alone")


@scenario
def own_shared(s):
    compare(s, "own", "shared", "host")


@scenario
def own_slave(s):
    compare(s, "own", "shared", "slave")


@scenario
def user(s):
    compare(s, "own", "user", "alone", front=("unshare", "-Urm", "--propagation", "unchanged"))


@scenario
def at_home(s):
    """In criu's own mount namespace, in which the mounts are seen: what was made there is criu's to have."""
    compare(s, "host")


VICTIM = CALLS + r"""
must(libc.unshare(0x20000))
mount(None, b"/", None, 0x44000)
mount(b"t", place, b"tmpfs")
write(place + "/file", "x")
if "lazy" in how: fd = os.open(place, os.O_RDONLY)
else: fd = open_tree(place, 0)
file = os.open("/proc/self/fd/%d/file" % fd, os.O_RDONLY)
if "path" in how: file = os.open("/proc/self/fd/%d" % fd, os.O_PATH)
if "lazy" in how: must(libc.umount2(place.encode(), 2))
if "cwd" in how: os.fchdir(fd)
if "root" not in how: os.close(fd)
if "file" not in how and "path" not in how: os.close(file)
ready()
time.sleep(100000)
"""


@scenario
def refused(s):
    place = s.path("place")
    os.mkdir(place)
    in_no_place = "its mount is in no place"
    for how, name, why in ((("file",), "fd ", in_no_place), (("cwd",), "its working directory", in_no_place),
                           (("root", "file", "cwd"), "fd ", in_no_place), (("lazy", "file"), "fd ", in_no_place),
                           (("lazy", "path"), "fd ", in_no_place), (("lazy", "cwd"), "its working directory", in_no_place),
                           (("root", "path"), "fd ", "not the only open file")):
        begin(s, VICTIM, place, *how)
        s.dump(ok=False)
        said = s.errors("dump.log")
        check(s.rc and any(name in line and why in line for line in said.split("Error")), "%s: %s" % (how, said))
        check(wait_for(lambda: state_of(s.pid) == "S"), "%s: the program is %s" % (how, state_of(s.pid)))
        s.kill()


run_all()
