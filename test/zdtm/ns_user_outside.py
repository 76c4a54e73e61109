#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# User namespaces as people make them, with unshare(1): shells with children, a pid namespace in one, an ordinary
# user's; what is refused, and that damaged images are.
# zdtm: driver
# zdtm: needs-root
import contextlib
import fcntl
import os
import signal
import struct
import subprocess

from driver import check, children, need, run_all, scenario, text, tree, wait_for

NS_GET_USERNS, NS_GET_PARENT = 0xB701, 0xB702
ORDINARY = ["setpriv", "--reuid", "1000", "--regid", "1000", "--groups", "27,1000"]


def start(s, *command, sleeps=1):
    need("unshare", "setpriv")
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/")
    s.pid = s.proc.pid
    check(wait_for(lambda: sum(text("/proc/%d/comm" % p) == "sleep\n" for p in tree(s.pid)) == sleeps),
          "the tree is not there: %s" % text(s.path("victim.out")))


def owner(pid, ns):
    """The inode of the user namespace that a namespace belongs to."""
    fd = os.open("/proc/%d/ns/%s" % (pid, ns), os.O_RDONLY)
    up = fcntl.ioctl(fd, NS_GET_USERNS)
    ino = os.fstat(up).st_ino
    os.close(up)
    os.close(fd)
    return ino


def look(root):
    """Per process, what must come back; inodes of namespaces by the order in which they are met."""
    seen, out = [], []

    def number(ino):
        if ino not in seen:
            seen.append(ino)
        return seen.index(ino)

    own = os.stat("/proc/self/ns/user").st_ino
    number(own)
    for p in tree(root):
        status = [line for line in text("/proc/%d/status" % p).splitlines()
                  if line.split(":")[0] in ("Name", "Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "CapInh", "NStgid")]
        inner = [line.split()[0] + " " + line.split()[-1] if line.startswith("NStgid") else line for line in status]
        out.append((inner, [text("/proc/%d/%s" % (p, n)) for n in ("uid_map", "gid_map", "setgroups")],
                    number(os.stat("/proc/%d/ns/user" % p).st_ino), [number(owner(p, n)) for n in ("uts", "pid")]))
    return out


def end(s):
    for p in reversed(tree(s.pid)):
        with contextlib.suppress(ProcessLookupError):  # one whose child has ended may have done so, too
            os.kill(p, signal.SIGKILL)


def rounds(s):
    before = look(s.pid)
    for n in range(3):
        s.dump()
        s.restore("--pidfile", s.path("pf%d" % n))
        s.pid = int(text(s.path("pf%d" % n)))
        now = look(s.pid)
        check(now == before, "round %d: was %s\nis %s" % (n, before, now))
        s.clean_images()
    end(s)


@scenario
def shell_with_children(s):
    start(s, "unshare", "-Uru", "sh", "-c", "hostname inside; sleep 1000 & unshare -Ur sleep 1001 & wait", sleeps=2)
    rounds(s)


@scenario
def of_an_ordinary_user(s):
    start(s, *ORDINARY, "unshare", "-Ur", "sh", "-c", "sleep 1000 & unshare -U sleep 1001 & wait", sleeps=2)
    rounds(s)


@scenario
def pid_namespace_inside(s):
    start(s, *ORDINARY, "unshare", "-Urpf", "setsid", "sh", "-c", "sleep 1000 & wait")
    s.pid = children(s.pid)[0]
    rounds(s)


@scenario
def several_in_one_tree(s):
    start(s, "sh", "-c", "unshare -Ur sleep 1000 & unshare -U sleep 1001 & unshare -Ur unshare -Ur sleep 1002 & sleep 1003 & wait",
          sleeps=4)
    rounds(s)


@scenario
def pids_of_another(s):
    start(s, "unshare", "-Ur", "sh", "-c", "unshare -pf sleep 1000 & wait")
    s.dump(ok=False)
    check(s.rc and "belongs to a user namespace" in s.errors("dump.log"), "not refused: %s" % s.errors("dump.log"))
    end(s)


def damaged(s, name, change):
    path = os.path.join(s.imgs, name)
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(change(data))
    s.restore("--allow-edited-images", ok=False)
    check(s.rc and name in s.errors("restore.log"), "%s: %s" % (name, s.errors("restore.log")))
    with open(path, "wb") as f:
        f.write(data)


def entries(data, message):
    return data[:8] + struct.pack("<I", len(message)) + message


@scenario
def damaged_images(s):
    start(s, "unshare", "-Ur", "sleep", "1000")
    s.dump()
    name = [n for n in os.listdir(s.imgs) if n.startswith("userns-")][0]

    def extent(first, lower, count):
        def varint(n):
            out = b""
            while n > 127:
                out += bytes([n & 127 | 128])
                n >>= 7
            return out + bytes([n])
        return b"\x08" + varint(first) + b"\x10" + varint(lower) + b"\x18" + varint(count)

    def maps(*uids, more=b""):
        return lambda data: entries(data, b"".join(b"\x0a" + bytes([len(u)]) + u for u in uids) + more)
    damaged(s, name, maps(extent(0, 0, 0)))
    damaged(s, name, maps(extent(0, 0, 5), extent(4, 100, 5)))
    damaged(s, name, maps(extent(0, 0, 5), extent(10, 4, 5)))
    damaged(s, name, maps(extent(4294967290, 0, 100)))
    damaged(s, name, maps(extent(0, 0, 1), more=b"\xc0\x3e\x63"))  # parent_ns_id 99, of which there is no image
    ns = int(name.split("-")[1].split(".")[0])
    damaged(s, name, maps(extent(0, 0, 1), more=b"\xc0\x3e" + bytes([ns])))  # its own parent
    s.restore()
    end(s)


run_all()
