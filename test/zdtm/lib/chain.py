# SPDX-License-Identifier: GPL-2.0-only
"""Chains of checkpoints: number N is in directory N of the test, on top of number N - 1."""
import os
import shutil

from driver import Failed, check, text

PAGE = 4096


def link(s, n):
    """The next dump goes into directory n."""
    s.imgs = s.path(str(n))
    os.makedirs(s.imgs)


def clean(s):
    for n in os.listdir(s.dir):
        if n.isdigit():
            shutil.rmtree(s.path(n))


def prev(n):
    return ["--prev-images-dir", "../%d" % (n - 1)] if n else []


def pre_dump(s, n, *opts, ok=True):
    link(s, n)
    s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "-v4", "-o", "dump.log", "--track-mem", *prev(n), *opts)
    if ok and s.rc:
        raise Failed("pre-dump %d failed: %s" % (n, s.errors("dump.log")))
    return s.rc


def dumped(s, n, *opts):
    """A snapshot; the tree runs on."""
    link(s, n)
    s.dump("-R", "--track-mem", *prev(n), *opts)


def stored(s, n):
    d = s.path(str(n))
    return sum(os.stat(os.path.join(d, f)).st_size for f in os.listdir(d) if f.startswith("pages-"))


def memory(pid):
    """{address: page} of all that is private and can be read, but for what the kernel shows and the stack's last pages."""
    pages = {}
    with open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in text("/proc/%d/maps" % pid).splitlines():
            w = line.split()
            start, end = (int(x, 16) for x in w[0].split("-"))
            if w[-1].startswith("[v") or (len(w) > 5 and w[5].startswith("/") and "w" not in w[1]):
                continue
            for at in range(start, end, PAGE):
                try:
                    mem.seek(at)
                    pages[at] = mem.read(PAGE)
                except OSError:
                    pages[at] = None
    return pages


def same_memory(before, after, when):
    """One page may differ: that of struct rseq, where the kernel notes the processor."""
    differ = [at for at in before if before[at] != after.get(at)] + [at for at in after if at not in before]
    bad = [at for at in differ if not before.get(at) or not after.get(at) or
           sum(a != b for a, b in zip(before[at], after[at])) > 32]
    check(not bad and len(differ) <= 1, "%s: %d pages differ, the first at %x" % (when, len(differ), differ[0] if differ else 0))
