#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Memory that forked tasks still share is stored once, by itself where there is much of it: sizes, versions, what the tasks see
# (cow_once.c counts), what they share afterwards, a snapshot of the restored tree, and images that contradict themselves.
# zdtm: driver
# zdtm: timeout 300
import os
import struct

from driver import check, children, run_all, scenario, text, tree
from image_edit import changed, fields

MIB = 1 << 20
CRIUS, OURS = 2, 1000


def stored(s):
    return sum(os.stat(os.path.join(s.imgs, n)).st_size for n in os.listdir(s.imgs) if n.startswith("pages-"))


def version(s):
    """img_version: the first field behind the magic number and the size."""
    with open(os.path.join(s.imgs, "inventory.img"), "rb") as f:
        raw = f.read()
    n = raw[9] & 127
    return n | raw[10] << 7 if raw[9] & 128 else n


def pss(s):
    """MiB, of the tree as a whole: what is shared counts once."""
    lines = "".join(text("/proc/%d/smaps_rollup" % p) for p in tree(s.pid)).splitlines()
    return sum(int(l.split()[1]) for l in lines if l.startswith("Pss:")) / 1024


def start(s):
    for n in "123":
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.victim("cow_once")


def through(s, word, most, least, made):
    """Three times, the second of a restored tree that runs on (a snapshot), and twice from the same images."""
    start(s)
    options = ["--cow-pages", word] if word else []
    before = pss(s)
    for again in range(3):
        s.dump(*options, *["-R", "--snapshot", "always"] * (again == 1))
        check(least <= stored(s) / MIB <= most, "%s, round %d: %d MiB are stored" % (word, again, stored(s) / MIB))
        check(version(s) == made, "%s, round %d: version %d" % (word, again, version(s)))
        if again == 1:
            s.kill()
        s.restore()
        # Not shared again: what a grandchild has at another address, what the first task keeps from children (MADV_DONTFORK),
        # and what children share that the first task has no more.
        check(pss(s) < before + 9, "%s, round %d: the tree takes %d MiB, and took %d" % (word, again, pss(s), before))
        if not again:
            s.kill()
            s.restore()
    s.verify()


@scenario
def once(s):
    through(s, "once", 58, 40, OURS)


@scenario
def by_itself(s):
    through(s, None, 58, 40, OURS)


@scenario
def copied(s):
    through(s, "copy", 300, 220, CRIUS)


@scenario
def small(s):
    """Not worth a checkpoint that CRIU cannot read."""
    s.victim("cow_children")
    s.dump()
    check(version(s) == CRIUS, "version %d" % version(s))
    s.restore()
    s.verify()


def edit_entries(s, pid, fn):
    """Each message of a pagemap through fn(number, raw)."""
    file = os.path.join(s.imgs, "pagemap-%d.img" % pid)
    with open(file, "rb") as f:
        raw = f.read()
    out, at, n = raw[:8], 8, 0
    while at < len(raw):
        size = struct.unpack("<I", raw[at:at + 4])[0]
        body = fn(n, raw[at + 4:at + 4 + size])
        out += struct.pack("<I", len(body)) + body
        at += 4 + size
        n += 1
    with open(file, "wb") as f:
        f.write(out)


def refused(s, why, *words):
    s.restore("--allow-edited-images", ok=False)
    said = s.errors("restore.log")
    check(s.rc and all(w in said for w in words), "%s: %d: %s" % (why, s.rc, said))
    check(not os.path.exists("/proc/%d" % s.pid), "%s: something was started" % why)


@scenario
def damaged(s):
    start(s)
    kid = children(s.pid)[0]
    root = s.pid
    s.dump("--cow-pages", "once")
    with open(os.path.join(s.imgs, "pagemap-%d.img" % kid), "rb") as f:
        whole = f.read()
    edit_entries(s, kid, lambda n, raw: changed(raw, [4], 4) if n else raw)
    refused(s, "in two places", "pagemap-%d.img" % kid, "two places")
    with open(os.path.join(s.imgs, "pagemap-%d.img" % kid), "wb") as f:
        f.write(whole)
    s.restore("--allow-edited-images")
    s.dump("--cow-pages", "once")
    cut = []

    def to_the_parent(n, raw):
        if n != 1:
            return raw
        cut.append(next(v for k, _, v in fields(raw) if k == 5))
        return changed(changed(raw, [4], 0), [1002], 1)
    edit_entries(s, root, to_the_parent)
    pages = os.path.join(s.imgs, "pages-1.img")
    os.truncate(pages, os.stat(pages).st_size - 4096 * cut[0])
    refused(s, "no parent process", "pagemap-%d.img" % root, "parent process")


run_all()
