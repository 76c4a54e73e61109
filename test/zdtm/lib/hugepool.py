# SPDX-License-Identifier: GPL-2.0-only
"""The machine's huge pages of 2 MiB, for as long as a test needs some."""
import os

from case import Skipped, wait_for
from snapshot import state_of, text

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"


def pool(what):
    return int(text(POOL + what) or 0)


def set_pages(n):
    """How many there are then."""
    with open(POOL + "nr_hugepages", "w") as f:
        f.write("%d" % n)
    return pool("nr_hugepages")


class Pages:
    """So many are free for as long as this is."""

    def __init__(self, s, n):
        self.s, self.n = s, n

    def __enter__(self):
        if not os.path.exists(POOL):
            raise Skipped("this kernel has no huge pages of 2 MiB")
        self.old = pool("nr_hugepages")
        self.used = self.old - pool("free_hugepages")
        self.want = self.used + self.n
        got = set_pages(self.want)
        if got < self.want:
            set_pages(self.old)
            raise Skipped("%d huge pages of 2 MiB cannot be had, only %d" % (self.want, got))

    def __exit__(self, *exc):
        if self.s.pid and state_of(self.s.pid) != "gone":
            self.s.kill()
        wait_for(lambda: pool("nr_hugepages") - pool("free_hugepages") <= self.used, 10)
        set_pages(self.old)
