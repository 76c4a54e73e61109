#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What a restore needs and does not find is said before anything is started, and the same images restore when it is there: the
# pin of a BPF program, the port of a vsock socket, the right to have a userfaultfd that answers for the kernel.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs setpriv
# zdtm: exclusive
import os
import re
import socket

from case import Skipped
from driver import check, children, reap, run_all, scenario, text, wait_for


def fails(s, *words, opts=()):
    s.restore(*opts, ok=False)
    said = s.errors("restore.log")
    check(s.rc != 0, "restored all the same: %s" % words[0])
    for w in words:
        check(w in said, "the error does not say %r: %s" % (w, said))
    check(wait_for(lambda: reap() or not children(os.getpid())), "something is left")


def victim(s, name):
    """A program of another test, which may find that it cannot be."""
    try:
        s.victim(name)
    except Exception:
        said = text(s.path("result")) or ""
        if said.startswith("SKIP"):
            raise Skipped(said.strip())
        raise


@scenario
def pin(s):
    victim(s, "bpf_pinned")
    s.dump()
    path = s.path("pins/dir/program")
    away = s.path("pins/dir/away")
    os.rename(path, away)
    fails(s, "the BPF program that is pinned as", "pins/dir/program: No such file or directory")
    os.rename(away, path)
    s.restore()
    s.verify()


@scenario
def vsock_port(s):
    victim(s, "vsock")
    ports = [int(line) for line in text(s.path("ports")).split()]
    s.dump()
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as taker:
        taker.bind((socket.VMADDR_CID_ANY, ports[0]))
        fails(s, "bind of a vsock socket to port %d of machine -1: Address already in use" % ports[0])
    s.restore()
    s.verify()


@scenario
def no_right(s):
    if text("/proc/sys/vm/unprivileged_userfaultfd").strip() != "0":
        raise Skipped("vm.unprivileged_userfaultfd is set")
    victim(s, "uffd_victim")
    s.dump()
    criu, s.criu = s.criu, s.path("weak")
    s.script("weak", "exec setpriv --bounding-set=-sys_ptrace %s \"$@\"\n" % criu)
    fails(s, "userfaultfd() for faults of the kernel takes CAP_SYS_PTRACE")
    s.criu = criu
    s.restore()
    s.verify()


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


@scenario
def damaged(s):
    """The message of a userfaultfd: whose memory it is, a range, a page."""
    victim(s, "uffd_victim")
    pid = varint(s.pid)
    s.dump()
    name = os.path.join(s.imgs, "files.img")
    with open(name, "rb") as f:
        whole = f.read()
    place = rb"\x08[\x80-\xff]{6}[\x00-\x7f]\x10[\x80-\xff]{6}[\x00-\x7f]\x18"
    for pattern, new, words in (
            (rb"(\x20)" + re.escape(pid) + rb"(\x28\x00\x3a)", varint(s.pid + 9), "that it watches is not in the checkpoint"),
            (rb"(\x3a." + place + rb")\x01()", b"\x09", "the memory that it watches is damaged"),
            (rb"(\x42." + place + rb")\x01()", b"\x09", "the pages of the memory that it watches are damaged")):
        changed, n = re.subn(pattern, lambda m: m.group(1) + new + m.group(2), whole, count=1, flags=re.DOTALL)
        check(n == 1, "no place for: %s" % words)
        with open(name, "wb") as f:
            f.write(changed)
        fails(s, words, opts=("--allow-edited-images",))
    with open(name, "wb") as f:
        f.write(whole)
    s.restore()
    s.verify()


run_all()
