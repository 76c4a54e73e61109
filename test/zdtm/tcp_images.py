#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Images of connections that are cut short or say impossible things (and whose sums somebody has made right): a restore refuses
# them or makes something of them, soon; it leaves nothing, and the true images restore afterwards.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs nft
# zdtm: timeout 300
import glob
import os
import socket
import time

from driver import check, reap, run_all, scenario, state_of, wait_for
from tcp_peers import connect, exchange, own_network, ruleset, shell, start

OPTS = ["--tcp-established", "--allow-edited-images"]


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def parse(body):
    """[(field, value)]; all of them are numbers."""
    numbers, v, shift = [], 0, 0
    for b in body:
        v |= (b & 127) << shift
        shift += 7
        if b < 128:
            numbers.append(v)
            v = shift = 0
    return [(tag >> 3, value) for tag, value in zip(numbers[::2], numbers[1::2])]


def variants(raw):
    """What is done to it, and what comes of that."""
    n = int.from_bytes(raw[8:12], "little")
    fields, queues = parse(raw[12:12 + n]), raw[12 + n:]

    def image(fs):
        body = b"".join(varint(f << 3) + varint(v) for f, v in fs)
        return raw[:8] + len(body).to_bytes(4, "little") + body + queues
    check(image(fields) == raw and len(fields) > 10, "the test cannot read it")
    for k, (f, v) in enumerate(fields):
        for new in {0, 0x7fffffff, 0xffffffff, (v + 1) & 0xffffffff} - {v}:
            yield "field %d is %d" % (f, new), image(fields[:k] + [(f, new)] + fields[k + 1:])
        yield "no field %d" % f, image(fields[:k] + fields[k + 1:])
    for cut in (0, 3, 8, 11, 12, 12 + n // 2, 12 + n, len(raw) - 1):
        yield "cut at %d of %d" % (cut, len(raw)), raw[:cut]
    yield "longer", raw + b"x" * 1000


def attempt(s, there, why):
    """Whether it was restored; nothing is left of it then."""
    s.tool("restore", "-d", "-D", s.imgs, "-v4", "-o", "restore.log", *OPTS)
    check(s.rc in (0, 1), "%s: status %d" % (why, s.rc))
    if s.rc:
        check("Error" in s.errors("restore.log"), "%s: fails without a word" % why)
        check(ruleset() == there, "%s: the rules are others" % why)
        check(wait_for(lambda: reap() or state_of(s.pid) == "gone", 5), "%s: a half-made task is left" % why)
        return False
    s.proc = None
    check("CRIU" not in ruleset(), "%s: rules are left" % why)
    with open(s.path("rules"), "w") as f:
        f.write("flush ruleset\n" + there)
    shell("nft -f " + s.path("rules"))  # before the end of its sockets is told
    s.kill()
    return True


@scenario
def damaged(s):
    start(s)
    cs = [connect(s) for _ in range(2)]
    for c in cs:
        exchange(c)
    os.kill(s.pid, 19)
    for c in cs:
        c.sendall(b"last")
    cs[1].shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    s.dump("--tcp-established")
    # Nothing of what such connections say comes to the peers.
    shell("nft 'table inet silence { chain i { type filter hook input priority 0; tcp sport %d drop; }; }'" % s.address[1])
    there = ruleset()
    for path in glob.glob(os.path.join(s.imgs, "tcp-stream-*.img")):
        with open(path, "rb") as f:
            raw = f.read()
        restored = total = 0
        for why, other in variants(raw):
            with open(path, "wb") as f:
                f.write(other)
            restored += attempt(s, there, why)
            total += 1
        check(0 < restored < total, "%d of %d were restored" % (restored, total))
        with open(path, "wb") as f:
            f.write(raw)
    shell("nft delete table inet silence")
    s.restore("--tcp-established")  # the sums are right again
    os.kill(s.pid, 18)
    check(cs[0].recv(4, socket.MSG_WAITALL) == b"mbtu", "other bytes")
    exchange(cs[0])
    check(b"".join(iter(lambda: cs[1].recv(100), b"")) == b"mbtu", "other bytes, or no end")
    s.kill()


own_network()
run_all()
