#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A checkpoint that is cut short, or has a flipped byte in any of its metadata images, is refused with the file's name and
# nothing is started. One that was edited on purpose is taken with the option that the refusal names.
# zdtm: driver
# zdtm: timeout 300
import os
import shutil
import struct

from driver import check, children, run_all, scenario, text


def metadata(s):
    return [n for n in s.images() if n.endswith(".img") and not n.startswith("pages-")]


def refused(s, name, what):
    rc = s.restore(ok=False)
    said = s.errors("restore.log")
    if rc == 0:
        s.kill()
    check(rc != 0, "%s %s: restored all the same" % (name, what))
    check(name in said, "%s %s: not named in %s" % (name, what, said[:300]))
    check(not children(os.getpid()), "%s %s: tasks were started" % (name, what))


def each_damage(s, names, damage, what):
    for name in names:
        path = os.path.join(s.imgs, name)
        whole = open(path, "rb").read()
        with open(path, "wb") as f:
            f.write(damage(bytearray(whole)))
        try:
            refused(s, name, what)
        finally:
            with open(path, "wb") as f:
                f.write(whole)


@scenario
def cut_and_flipped(s):
    s.victim("pipes")
    s.dump()
    names = metadata(s)
    check("inventory.img" in names and "pstree.img" in names, "images: %r" % names)

    def flip(b):
        b[len(b) // 2] ^= 0x10
        return b

    def flip_last(b):
        b[-1] ^= 1
        return b
    each_damage(s, names, lambda b: b[:-1], "one byte short")
    each_damage(s, names, lambda b: b[:4], "cut to four bytes")
    each_damage(s, names, lambda b: b"", "emptied")
    each_damage(s, names, flip, "with a flipped bit")
    each_damage(s, names, flip_last, "with another last byte")
    s.restore()
    s.verify()


@scenario
def missing(s):
    s.victim()
    s.dump()
    for name in metadata(s):
        os.rename(os.path.join(s.imgs, name), s.path("away"))
        try:
            refused(s, name, "taken away")
        finally:
            os.rename(s.path("away"), os.path.join(s.imgs, name))
    s.restore()
    s.verify()


@scenario
def pages_short(s):
    s.victim()
    s.dump()
    name = next(n for n in s.images() if n.startswith("pages-"))
    path = os.path.join(s.imgs, name)
    size = os.path.getsize(path)
    os.truncate(path, size - 4096)
    refused(s, name, "one page short")


@scenario
def without_sums(s):
    """As CRIU's images are: no integrity file, so each message is checked as it is read."""
    s.victim()
    s.dump()
    os.unlink(s.imgs + "/checkpoint.sums")
    shutil.copytree(s.imgs, s.path("copy"))
    s.restore()
    s.kill()
    for name in metadata(s):
        if name.startswith(("seccomp", "stats", "page-sums")):  # the last counts where the integrity file names it
            continue
        path = os.path.join(s.imgs, name)
        whole = open(path, "rb").read()
        with open(path, "wb") as f:
            f.write(whole[:-1])
        try:
            refused(s, name, "short, without sums")
        finally:
            with open(path, "wb") as f:
                f.write(whole)
    s.restore()
    s.verify()


@scenario
def edited(s):
    """With the option that the refusal names it is taken, on the command line or from a configuration file."""
    s.victim()
    s.dump()
    path = os.path.join(s.imgs, "core-%d.img" % s.pid)
    b = open(path, "rb").read()
    at = b.find(b"sleeping")
    check(at > 0, "the comm is not in core")
    with open(path, "wb") as f:
        f.write(b[:at] + b"slipping" + b[at + 8:])
    refused(s, os.path.basename(path), "edited")
    check("--allow-edited-images" in s.errors("restore.log"), "the option is not named: " + s.errors("restore.log"))
    s.restore("--allow-edited-images")
    check(text("/proc/%d/comm" % s.pid) == "slipping\n", "comm is %r" % text("/proc/%d/comm" % s.pid))
    s.kill()
    with open(s.path("conf"), "w") as f:
        f.write("allow-edited-images\n")
    s.restore("--config", s.path("conf"))
    s.verify()


@scenario
def foreign_lengths(s):
    """A length that says two gigabytes."""
    s.victim()
    s.dump()
    os.unlink(s.imgs + "/checkpoint.sums")
    path = os.path.join(s.imgs, "pstree.img")
    b = bytearray(open(path, "rb").read())
    b[8:12] = struct.pack("<I", 0x7fffffff)
    with open(path, "wb") as f:
        f.write(b)
    refused(s, "pstree.img", "with a length of 2 GiB")


run_all()
