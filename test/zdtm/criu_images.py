#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Checkpoints that CRIU 4.2 made, ten of one process or two and three of trees in namespaces: each restores, and the program in it
# finds what it held; then the restored tree is dumped and restored by us.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs cc
# zdtm: timeout 240
import os
import re
import shutil
import subprocess
import sys

import held
import held_ns
from case import Skipped
from driver import check, run_all, scenario, text, wait_for
from tcp_peers import ruleset, varint


def theirs(s, mode):
    if not held.is_the_one():
        raise Skipped("this compiler or C library makes another program than was dumped")
    home = held.place(mode)
    shutil.rmtree(s.imgs)
    shutil.copytree(os.path.join(held.DATA, mode), s.imgs)
    dump, restore = held.OPTIONS[mode]
    pstree = held.show(s.imgs)["pstree.img"]
    s.pid = pstree[0]["pid"]
    if not held.has_avx512():
        s.restore(*restore, ok=False)
        said = s.out + text(s.path("imgs/restore.log"))
        check(s.rc == 1 and "a register state that this processor lacks: AVX-512" in said, "%s: %s" % (s.rc, said[-500:]))
        raise Skipped("this processor lacks AVX-512, which the programs that CRIU dumped use; the refusal is right")
    for again in range(3):
        s.restore(*restore)
        check("CRIU" not in ruleset(), "rules are left: %s" % ruleset())
        for _ in range(2):
            said = held.ask(s.pid, mode)
            check(said == "fine", "%s, round %d: the program says %r" % (mode, again, said))
        links = [n for n in os.listdir(home) if n.startswith(("link_remap.", ".criu."))]
        check(not links, "left: %s" % links)
        if again < 2:
            s.clean_images()
            s.dump(*dump)
    s.kill()


THREADS = r"""
import ctypes, os, threading, time
libc = ctypes.CDLL(None, use_errno=True)
class F(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]
class P(ctypes.Structure):
    _fields_ = [("n", ctypes.c_uint16), ("f", ctypes.POINTER(F))]
said = []
def look():
    while not os.path.exists("look"):
        time.sleep(0.02)
    said.append(libc.getppid())
threads = [threading.Thread(target=look) for _ in range(3)]
for t in threads:
    t.start()
prog = (F * 4)((0x20, 0, 0, 0), (0x15, 0, 1, 110), (6, 0, 0, 0x50000 + 33), (6, 0, 0, 0x7fff0000))  # getppid
libc.prctl(38, 1, 0, 0, 0)
assert not libc.syscall(317, 1, 1, ctypes.byref(P(4, prog)))
open("ready", "w").close()
for t in threads:
    t.join()
open("said.new", "w").write(repr(said))
os.rename("said.new", "said")
time.sleep(1000)
"""


def fields(body):
    """[(number, wire type, value)]: of a message."""
    i, out = 0, []
    while i < len(body):
        tag, i = varint(body, i)
        if tag & 7 == 0:
            v, i = varint(body, i)
        else:
            n, i = varint(body, i) if tag & 7 == 2 else (8 if tag & 7 == 1 else 4, i)
            v, i = body[i:i + n], i + n
        out.append((tag >> 3, tag & 7, v))
    return out


def message(fs):
    def number(v):
        out = b""
        while v > 127:
            out, v = out + bytes([v & 127 | 128]), v >> 7
        return out + bytes([v])
    return b"".join(number(n << 3 | w) + (number(v) if w == 0 else (number(len(v)) if w == 2 else b"") + v) for n, w, v in fs)


def edit(path, change):
    """change(fields of an entry): those that it is to have."""
    with open(path, "rb") as f:
        raw = f.read()
    out, i = raw[:8], 8
    while i < len(raw):
        n = int.from_bytes(raw[i:i + 4], "little")
        body = message(change(fields(raw[i + 4:i + 4 + n])))
        out, i = out + len(body).to_bytes(4, "little") + body, i + 4 + n
    with open(path, "wb") as f:
        f.write(out)


@scenario
def filters_of_all_threads(s):
    """As CRIU writes a chain that all threads have: the leader alone names it, and its filters are marked TSYNC."""
    s.proc = subprocess.Popen([sys.executable, "-c", THREADS], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready")
    s.dump()
    edit(s.imgs + "/seccomp.img", lambda fs: [(n, w, message(fields(v) + [(3, 0, 1)])) for n, w, v in fs])
    tids = [n for n in os.listdir(s.imgs) if n.startswith("core-") and n != "core-%d.img" % s.pid]
    check(len(tids) == 3, tids)
    for n in tids:  # without seccomp_mode and seccomp_filter in thread_core
        edit(os.path.join(s.imgs, n), lambda fs: [
            (n, w, message([f for f in fields(v) if f[0] not in (11, 12)]) if n == 5 else v) for n, w, v in fs])
    s.restore("--allow-edited-images")
    open(s.path("look"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("said"))), "no answer")
    check(text(s.path("said")) == repr([-33] * 3), "the threads say %s" % text(s.path("said")))
    s.kill()


WATCHER = r"""
import array, os, select, socket, time
a, b = socket.socketpair()
r, w = os.pipe()
e = select.epoll()
e.register(r, select.EPOLLIN)
a.sendmsg([b"e"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [e.fileno()]))])
e.close()
open("ready", "w").close()
while not os.path.exists("look"):
    time.sleep(0.02)
msg, anc, _, _ = b.recvmsg(1, 100)
got = select.epoll.fromfd(array.array("i", anc[0][2])[0])
said = [got.poll(0)]
os.write(w, b"x")
said.append(got.poll(1) == [(r, select.EPOLLIN)])
open("said.new", "w").write(repr(said))
os.rename("said.new", "said")
time.sleep(1000)
"""


@scenario
def epoll_in_flight(s):
    """As CRIU writes an instance in the queue of a socket: without the files that it watches."""
    s.proc = subprocess.Popen([sys.executable, "-c", WATCHER], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready")
    s.dump()
    EPFD, TFD = 9, 4

    def without(fs):
        fs = [f for f in fs if f[0] < 1000]
        return [(n, w, message([f for f in fields(v) if f[0] < 1000]) if n == TFD else v) for n, w, v in fs]
    edit(s.imgs + "/files.img", lambda fs: [(n, w, message(without(fields(v))) if n == EPFD else v) for n, w, v in fs])
    s.restore("--allow-edited-images")
    open(s.path("look"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("said"))), "no answer")
    check(text(s.path("said")) == "[[], True]", text(s.path("said")))
    s.kill()


HUNG_UP = r"""
import os, time
m, s = os.openpty()
os.set_inheritable(s, True)
os.close(m)
open("ready", "w").close()
while not os.path.exists("look"):
    time.sleep(0.02)
said = [os.read(s, 10), os.isatty(s)]
open("said.new", "w").write(repr(said))
os.rename("said.new", "said")
time.sleep(1000)
"""


@scenario
def hung_up_terminal(s):
    """CRIU has no field for it, but writes no settings of such a terminal; its number is that of a slave."""
    s.proc = subprocess.Popen([sys.executable, "-c", HUNG_UP], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready")
    s.dump()
    e = held.show(s.imgs)["tty-info.img"]
    check(len(e) == 1 and e[0]["id"] == 2 * e[0]["pty"]["index"] and "termios" not in e[0], e)
    edit(s.imgs + "/tty-info.img", lambda fs: [f for f in fs if f[0] < 1000])
    s.restore("--allow-edited-images")
    open(s.path("look"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("said"))), "no answer")
    check(text(s.path("said")) == "[b'', False]", text(s.path("said")))
    s.kill()


def theirs_ns(s, mode):
    """A tree in namespaces: seen from outside, asked, and in each round the same."""
    if not held.is_the_one():
        raise Skipped("this compiler or C library makes another program than was dumped")
    if not held.has_avx512():
        raise Skipped("this processor lacks AVX-512, which the programs that CRIU dumped use")
    held_ns.place(mode)
    shutil.rmtree(s.imgs)
    shutil.copytree(os.path.join(held.DATA, mode), s.imgs)
    before = None
    more = ["--external", "veth[eth0]:hv0"] if mode == "ns-veth" else []
    for again in range(3):
        s.restore("--root", held_ns.BOUND, *more, "--manage-cgroups=ignore", "--pidfile", s.path("pid%d" % again))
        s.pid = int(text(s.path("pid%d" % again)))
        now = held_ns.look(s.pid, mode)
        before = before or now
        for k, v in now.items():
            check(v == before[k], "round %d: %s: %s, was %s" % (again, k, v, before[k]))
        for _ in range(2):
            said = held_ns.ask(s.pid)
            check(said == "fine", "round %d: the program says %r" % (again, said))
        if again < 2:
            s.clean_images()
            s.dump()
    s.kill()
    check_seen(now, mode)


def check_seen(now, mode):
    """What README.md of the examples says that it is."""
    check(now["name"] == "held-host\n" and now["msgmax"] == "70000\n", now)
    check(now["addresses"] == ["127.0.0.1/8", "::1/128"], now["addresses"])
    check(all("from all lookup local" in rules and "from all lookup main" in rules for rules in now["lookups"]), now["lookups"])
    check("tcp dport 81 drop" in now["rules"] and "type filter hook input priority filter; policy accept;" in now["rules"], now["rules"])
    check(now["commands"] == ["/bin/sleep\x00100000\0", "/bin/held\0dgram\0"], now["commands"])
    check(now["pids"] == [["1"], ["23" if mode == "ns-user" else "22"]], now["pids"])
    check(now["sessions"] == [["1", "1"]] * 2, now["sessions"])
    check(now["text"] == "text\none\nd/e/f", now["text"])
    check([(n, m) for n, m, _, _ in now["tmp"]] == [("/tmp/d", "0o40755"), ("/tmp/d/e", "0o40755"), ("/tmp/d/e/f", "0o100644"),
                                                    ("/tmp/fifo", "0o10644"), ("/tmp/sym", "0o120777")], now["tmp"])
    check(now["veth"] == (["9a:18:38:7b:7c:c9", "10.9.0.2/24", "10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.2"] if mode == "ns-veth" else []),
          now["veth"])
    check([n for n, _, _, _ in now["data"]] == ["/data/x"], now["data"])
    for words in (r"/ /x /mnt ro,nosuid,relatime master:\d", r"/ / /data rw,relatime shared:\d", r"/ .*/etc/one /etc/two rw",
                  r"/ / /tmp rw,relatime .*size=1024k", r"/ / /proc ", r"/ / /dev/pts .*ptmxmode=666",
                  *([] if mode == "ns-user" else [r"/ / /sys rw"])):
        check(sum(bool(re.match(words, m)) for m in now["mounts"]) == 1, "%s: %s" % (words, now["mounts"]))
    check(len(now["mounts"]) == (7 if mode == "ns-user" else 8), now["mounts"])
    objects = {"ns": ("0x87fb62ae", "0x04540a22", "0x78a393f4"), "ns-user": ("0x96f29221", "0x399bdd5b", "0xc78ee5b2"),
               "ns-veth": ("0xc03d95ea", "0x068e82bb", "0x3ede9e32")}[mode]
    check(all(key in now["objects"] for key in objects), now["objects"])


def one(mode):
    def run(s):
        (theirs_ns if mode in held_ns.USER else theirs)(s, mode)
    run.__name__ = mode
    scenario(run)


held.build()
for m in [*held.OPTIONS, *held_ns.USER]:
    one(m)
run_all()
held.done()
