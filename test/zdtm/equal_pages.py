#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Pages of files mapped private that the task has written to, and that are equal to the file's (equal_pages.c): stored with the file
# alone, the task's own afterwards, refused where the file has changed; and all that has to store them as before.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 600
import os
import struct
import subprocess

from case import wait_for
from driver import check, reap, run_all, scenario, state_of, text
from image_edit import changed, fields

MIB = 1 << 20
CRIUS, OURS = 2, 1000
FLAGS, PAGES, SUMS = 4, 5, 1003


def start(s, mib=48, how="plain"):
    for n in ("child", "child.looked", "file.changed"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.victim("equal_pages", [str(mib), how])


def stored(s):
    return sum(os.stat(os.path.join(s.imgs, n)).st_size for n in os.listdir(s.imgs) if n.startswith("pages-")) / MIB


def version(s):
    """img_version: the first field behind the magic number and the size."""
    with open(os.path.join(s.imgs, "inventory.img"), "rb") as f:
        raw = f.read()
    n = raw[9] & 127
    return n | raw[10] << 7 if raw[9] & 128 else n


def messages(s, name):
    with open(os.path.join(s.imgs, name), "rb") as f:
        raw = f.read()
    at, out = 8, []
    while at < len(raw):
        size = struct.unpack("<I", raw[at:at + 4])[0]
        out.append(raw[at + 4:at + 4 + size])
        at += 4 + size
    return raw[:8], out


def in_files(s):
    """How many pages are stored with files, of all tasks."""
    n = 0
    for name in os.listdir(s.imgs):
        if name.startswith("pagemap-"):
            for raw in messages(s, name)[1][1:]:
                found = {k: v for k, _, v in fields(raw)}
                if SUMS in found:
                    n += found[PAGES]
                    check(len(found[SUMS]) == 8 * found[PAGES] and not found.get(FLAGS), "%s: an entry of a file" % name)
    return n


def expected(mib, child=True):
    """Pages of the first task that are equal to the file's, and those that the child has for itself."""
    n = mib << 8
    def done(i):
        return "changed" if i % 7 == 3 else "untouched" if i % 11 == 5 else "same"
    first = sum(done(i) == "same" for i in range(n)) + 2 * 512
    return first + (sum(i % 16 == 1 and done(i) != "changed" for i in range(n)) if child else 0)


def through(s, word, made, mib=48):
    """Three times, the second of a restored tree that runs on (a snapshot), and twice from the same images."""
    start(s, mib)
    for again in range(3):
        s.dump(*["--cow-pages", word] if word else [], *["-R", "--snapshot", "always"] * (again == 1))
        n, want = in_files(s), expected(mib) if made == OURS else 0
        check(n == want, "%s, round %d: %d pages are stored with the file, and %d are equal" % (word, again, n, want))
        most = mib * 0.5 if made == OURS else mib * 2 + 8
        check(stored(s) <= most, "%s, round %d: %d MiB are stored" % (word, again, stored(s)))
        check(version(s) == made, "%s, round %d: version %d" % (word, again, version(s)))
        if again == 1:
            s.kill()
        s.restore()
        if not again:
            s.kill()
            s.restore()
    s.verify()


@scenario
def once(s):
    through(s, "once", OURS, 8)


@scenario
def by_itself(s):
    through(s, None, OURS)


@scenario
def copied(s):
    through(s, "copy", CRIUS)


@scenario
def small(s):
    """Not worth a checkpoint that CRIU cannot read."""
    through(s, None, CRIUS, 8)


@scenario
def all_changed(s):
    """There is much that might be equal, and no page is; what is shared is not enough."""
    start(s, 60, "changed")
    s.dump("--cow-pages", "auto")
    check(in_files(s) == 0 and version(s) == CRIUS and stored(s) > 60, "%d, %d, %d MiB" % (in_files(s), version(s), stored(s)))
    s.restore()
    s.verify()


def at_rest(s, *opts):
    """What is said when nothing is restored, and nothing is left."""
    pids = [int(n[5:-4]) for n in s.images() if n.startswith("core-")]
    s.restore(*opts, ok=False)
    check(s.rc == 1, "restored: %d" % s.rc)
    check(wait_for(lambda: all(state_of(p) == "gone" for p in pids)), "a task is left")
    return s.errors("restore.log")


def swap_byte(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)
        f.seek(at)
        f.write(bytes([old[0] ^ 1]))


@scenario
def file_changed(s):
    """Only where it matters; and what was refused can be restored when the file is put back."""
    start(s)
    for at, what in ((4096 * 800 + 9, "same"), (4096 * 807 + 4095, "same"), (4096 * 801 + 7, "changed"), (4096 * 819, "untouched")):
        i = at // 4096
        check(what == ("changed" if i % 7 == 3 else "untouched" if i % 11 == 5 else "same"), "page %d" % i)
        s.dump()
        swap_byte(s.path("data"), at)
        if what == "same":
            said = at_rest(s)
            for w in ("pid %d" % s.pid, s.path("data"), "at offset %d" % (i * 4096), "--cow-pages copy"):
                check(w in said, "page %d: %r is not in: %s" % (i, w, said))
            swap_byte(s.path("data"), at)
            s.restore()
        else:
            s.restore()
            swap_byte(s.path("data"), at)
    s.verify()


@scenario
def file_shorter(s):
    start(s)
    s.dump()
    size = os.stat(s.path("data")).st_size
    with open(s.path("data"), "rb") as f:
        f.seek(size - 4096 * 40)
        end = f.read()
    os.truncate(s.path("data"), size - len(end))
    at_rest(s)
    os.truncate(s.path("data"), size)  # the size is right, and zeros are there
    check("pid %d" % s.pid in at_rest(s), "zeros: " + s.errors("restore.log"))
    with open(s.path("data"), "r+b") as f:
        f.seek(size - len(end))
        f.write(end)
    s.restore()
    s.verify()


@scenario
def not_looked_at(s):
    """A file that comes back from the images: as before."""
    start(s, 16, "deleted")
    s.dump("--cow-pages", "once", "--ghost-limit", 64 * MIB)
    check(in_files(s) == 0, "%d pages" % in_files(s))
    s.restore()
    s.verify()


@scenario
def chain(s):
    """Other checkpoints of a chain have nothing to lend, and none is asked for what a file has."""
    start(s, 16)
    old = s.path("old")
    os.mkdir(old)
    s.tool("pre-dump", "-t", s.pid, "-D", old, "--track-mem", "--cow-pages", "once")
    check(s.rc == 0, s.out)
    s.dump("--prev-images-dir", "../old", "--cow-pages", "once")
    check(in_files(s) == 0, "%d pages in a chain" % in_files(s))
    s.restore()
    subprocess.run(["rm", "-rf", old], check=True)
    s.dump("-R", "--cow-pages", "once")
    check(in_files(s), "no page is stored with the file")
    os.rename(s.imgs, old)
    os.mkdir(s.imgs)
    s.dump("--prev-images-dir", "../old", "--track-mem", "--cow-pages", "once")
    check(in_files(s) == 0, "%d pages behind a checkpoint that has some" % in_files(s))
    s.restore()
    s.verify()


@scenario
def lazy(s):
    """The file's pages come at once, and the daemon knows nothing of them."""
    start(s, 16, "alone")
    s.dump("--cow-pages", "once")
    for _ in range(2):
        s.tool("lazy-pages", "--daemon", "--pidfile", s.path("lazy.pid"), "-D", s.imgs, "-o", "lazy.log", "-v4")
        check(s.rc == 0, "lazy-pages: %s" % s.out)
        s.restore("--lazy-pages")
        daemon = int(text(s.path("lazy.pid")))
        check(wait_for(lambda: (reap(), state_of(daemon) == "gone")[1], 20), "the daemon goes on: " + text(s.path("imgs/lazy.log"))[-400:])
        check("Error" not in text(s.path("imgs/lazy.log")), text(s.path("imgs/lazy.log"))[-400:])
        check("pages come later" in text(s.path("imgs/restore.log")), "nothing was lazy")
        os.unlink(s.path("lazy.pid"))
        s.dump("--cow-pages", "once")
        check(in_files(s) == expected(16, False), "%d pages" % in_files(s))
    s.restore()
    s.verify()


@scenario
def with_others(s):
    """Compressed; given back where nothing needs them."""
    start(s, 16)
    for opts in (["--compress", "lz4"], ["--compress", "zstd"], []):
        s.dump("--cow-pages", "once", *opts)
        check(in_files(s) == expected(16), "%s: %d pages" % (opts, in_files(s)))
        s.tool("dedup", "-D", s.imgs)
        check(s.rc == 0, s.out)
        s.restore(*["--auto-dedup"] * (not opts))
    check("pages files" in s.errors("restore.log") or at_rest(s), "what was given back is restored")
    s.verify()


def edit_entries(s, name, fn):
    """Each message of an image through fn(number, raw)."""
    head, all_of = messages(s, name)
    with open(os.path.join(s.imgs, name), "wb") as f:
        f.write(head)
        for n, raw in enumerate(all_of):
            body = fn(n, raw)
            f.write(struct.pack("<I", len(body)) + body)


@scenario
def damaged(s):
    """Images that contradict themselves."""
    start(s, 16)
    name = "pagemap-%d.img" % s.pid
    s.dump("--cow-pages", "once")
    with open(os.path.join(s.imgs, name), "rb") as f:
        whole = f.read()

    def of_file(raw):
        return next((v for k, _, v in fields(raw) if k == SUMS), None)
    edits = (("two places", lambda raw: changed(raw, [FLAGS], 4)), ("bytes of checksums", lambda raw: changed(raw, [SUMS], of_file(raw)[8:])),
             ("two places", lambda raw: changed(raw, [1002], 1)), ("pid %d" % s.pid, lambda raw: changed(raw, [SUMS], of_file(raw)[::-1])))
    for words, how in edits:
        edit_entries(s, name, lambda n, raw: how(raw) if of_file(raw) else raw)
        said = at_rest(s, "--allow-edited-images")
        check(words in said, "%s: %s" % (words, said))
        with open(os.path.join(s.imgs, name), "wb") as f:
            f.write(whole)
    sums = bytes(8)

    def anonymous(n, raw):
        """The last entry, the stack's, is said to be a file's."""
        return changed(changed(changed(raw, [FLAGS], 0), [PAGES], 1), [SUMS], sums) if n == last else raw
    last = len(messages(s, name)[1]) - 1
    edit_entries(s, name, anonymous)
    said = at_rest(s, "--allow-edited-images")
    check("no mapping of its own" in said or "pages-" in said, said)
    with open(os.path.join(s.imgs, name), "wb") as f:
        f.write(whole)
    s.restore("--allow-edited-images")
    s.verify()


run_all()
