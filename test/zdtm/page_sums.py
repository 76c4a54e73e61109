#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Checksums of pages: a bit that is flipped in a pages file, anywhere, is refused with the process and the address; lazy pages and what
# a page server has stored are checked too; what was changed on purpose is taken; CRIU's checkpoints have none.
# zdtm: driver
# zdtm: timeout 300
import os
import random
import shutil
import struct

from driver import check, reap, run_all, scenario, state_of, text, wait_for
from image_edit import fields
from page_wire import PRESENT, Server

DICE = random.Random(5)
PAGE = 4096


def flip(path, at, bit=0):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << bit]))


def messages(path):
    with open(path, "rb") as f:
        raw = f.read()
    at = 8
    while at < len(raw):
        size = struct.unpack("<I", raw[at:at + 4])[0]
        yield {n: v for n, _, v in fields(raw[at + 4:at + 4 + size])}
        at += 4 + size


def stored(s):
    """(name of the pages file, who has it, [address of each page; None: a fork brings it back, and the file is not asked]) of each
    pagemap."""
    for name in sorted(os.listdir(s.imgs)):
        if name.startswith("pagemap-"):
            head, *entries = messages(os.path.join(s.imgs, name))
            number = name[:-4].rsplit("-", 1)[1]
            who = "shared memory " + number if "shmem" in name else "pid " + number
            yield "pages-%d.img" % head[1], who, [None if e.get(1001) else e[1] + i * PAGE
                                                  for e in entries if e[4] & PRESENT for i in range(e[5])]


def pick(addresses):
    """Some page of a file that is read, by its number: the first, the last, or any."""
    asked = [i for i, at in enumerate(addresses) if at is not None]
    return DICE.choice((asked[0], asked[-1], DICE.choice(asked)))


def refused(s, *words, options=()):
    pids = [int(n[5:-4]) for n in os.listdir(s.imgs) if n.startswith("core-")]
    s.restore(*options, ok=False)
    said = s.errors("restore.log")
    check(s.rc == 1 and all(w in said for w in words), "%d, not %s: %s" % (s.rc, words, said))
    check(wait_for(lambda: (reap(), not [p for p in pids if state_of(p) != "gone"])[1]), "a task is left")


@scenario
def flipped(s):
    s.victim("page_kinds")
    for again in range(3):
        s.clean_images()
        s.dump()
        check("page-sums.img" in text(s.path("imgs/checkpoint.sums")), "not listed")
        all_of = list(stored(s))
        check(len(all_of) > 10, "%d pagemaps" % len(all_of))
        for file, who, addresses in DICE.sample(all_of, 4) + [o for o in all_of if o[1] == "pid %d" % s.pid] * 2:
            path, page = s.path("imgs/" + file), pick(addresses)
            check(os.stat(path).st_size == len(addresses) * PAGE, "%s: another size" % file)
            at, bit = page * PAGE + DICE.choice((0, PAGE - 1, DICE.randrange(PAGE))), DICE.randrange(8)
            flip(path, at, bit)
            refused(s, "%s: the page at 0x%x" % (who, addresses[page]), file, "checksum")
            flip(path, at, bit)
        s.restore()
    s.verify()


@scenario
def swapped_and_cut(s):
    """Two pages that have changed places, each whole; a file that is shorter, with and without the list of the files."""
    s.victim("anon_memory")
    s.dump()
    file, who, addresses = next(o for o in stored(s) if o[1] == "pid %d" % s.pid)
    path = s.path("imgs/" + file)
    whole = open(path, "rb").read()
    with open(path, "wb") as f:
        f.write(whole[PAGE:2 * PAGE] + whole[:PAGE] + whole[2 * PAGE:])
    refused(s, "%s: the page at 0x%x" % (who, addresses[0]), "checksum")
    with open(path, "wb") as f:
        f.write(whole[:-PAGE])
    refused(s, file)
    refused(s, file, options=["--allow-edited-images"])
    with open(path, "wb") as f:
        f.write(whole)
    s.restore()
    s.verify()


@scenario
def on_purpose(s):
    """With --allow-edited-images, or without the list of the files: as CRIU's, which have neither."""
    s.victim("page_kinds")
    s.dump()
    path = s.path("imgs/" + next(file for file, who, _ in stored(s) if who == "pid %d" % s.pid))
    flip(path, 0)
    refused(s, "checksum", "--allow-edited-images")
    s.restore("--allow-edited-images")
    check("is not as it was dumped" in text(s.path("imgs/restore.log")), "no warning")
    s.kill()
    os.rename(s.path("imgs/checkpoint.sums"), s.path("sums"))
    s.restore()
    s.kill()
    flip(path, 0)
    os.unlink(s.path("imgs/page-sums.img"))
    s.restore()
    s.kill()
    os.rename(s.path("sums"), s.path("imgs/checkpoint.sums"))
    refused(s, "page-sums.img", "is missing")
    s.restore("--allow-edited-images")
    s.kill()


@scenario
def damaged_sums(s):
    s.victim("anon_memory")
    s.dump()
    path = s.path("imgs/page-sums.img")
    whole = open(path, "rb").read()
    for b in (whole[:-1], whole[:len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        with open(path, "wb") as f:
            f.write(b)
        refused(s, "page-sums.img")
    with open(path, "wb") as f:
        f.write(whole)
    s.restore()
    s.verify()


@scenario
def from_a_page_server(s):
    s.victim("page_kinds")
    for again in range(2):
        s.clean_images()
        server = Server(s)
        s.dump("--page-server", "--address", "127.0.0.1", "--port", server.port)
        server.ends(0)
        check("page-sums.img" in text(os.path.join(server.dir, "page-server.sums")), "the server has written no sums")
        for n in os.listdir(server.dir):
            if n.endswith((".img", ".sums")):
                shutil.move(os.path.join(server.dir, n), s.path("imgs/" + n))
        for file, who, addresses in DICE.sample(list(stored(s)), 3):
            page = pick(addresses)
            flip(s.path("imgs/" + file), page * PAGE + 77)
            refused(s, "%s: the page at 0x%x" % (who, addresses[page]), file)
            flip(s.path("imgs/" + file), page * PAGE + 77)
        s.restore()
    s.verify()


run_all()
