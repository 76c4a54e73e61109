#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# tcpdump on lo: packets before and after each of three rounds, none of them twice; also while packets come without end.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs tcpdump
import os
import socket
import subprocess
import threading
import time

from driver import check, reap, run_all, scenario, text, wait_for


def shows(s, n):
    return text(s.path("seen")).count("length %d\n" % n)


def rounds(s, *how):
    with open(s.path("seen"), "w") as out, open(s.path("said"), "w") as said:
        s.proc = subprocess.Popen(["tcpdump", "-n", "-l", "-Z", "root", "-i", "lo", *how, "udp", "and", "port", "4099"], cwd=s.dir,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: "listening on lo" in text(s.path("said")), 20), "tcpdump: %s" % text(s.path("said")))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sizes = iter(range(100, 1000))
    sent = []

    def send_one(i):
        """The kernel drops one where the ring is full, as after a freeze amid traffic: then another is sent."""
        for _ in range(20):
            sent.append(next(sizes))
            sender.sendto(b"x" * sent[-1], ("127.0.0.1", 4099))
            if wait_for(lambda: shows(s, sent[-1]) > 0, 2):
                return
        check(False, "packet %d is not seen" % i)

    def send():
        for i in range(5):
            send_one(i)
    send()
    for i in range(3):
        s.clean_images()
        s.dump()
        s.restore()
        send()
    twice = [n for n in sent if shows(s, n) > 1]
    check(not twice, "seen more than once: %s" % twice)
    s.kill()
    reap()


class Traffic:
    """Packets without end, on the same port, for as long as this is."""

    def __enter__(self):
        self.on = True
        self.thread = threading.Thread(target=self.send)
        self.thread.start()

    def send(self):
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while self.on:
            out.sendto(b"noise", ("127.0.0.1", 4099))
            time.sleep(0.0005)

    def __exit__(self, *exc):
        self.on = False
        self.thread.join()


@scenario
def blocks(s):
    rounds(s)


@scenario
def blocks_busy(s):
    with Traffic():
        rounds(s)


@scenario
def frames_busy(s):
    with Traffic():
        rounds(s, "--immediate-mode")


@scenario
def frames(s):
    rounds(s, "--immediate-mode")


run_all()
