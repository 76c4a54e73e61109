# SPDX-License-Identifier: GPL-2.0-only
"""Fields of images that have one message, set to what a test wants: what no program on this machine can have."""
import os
import struct

from driver import check
from tcp_peers import varint


def number(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def fields(raw):
    """(number, wire type, value) of each field; the value is bytes or a number."""
    i = 0
    while i < len(raw):
        tag, i = varint(raw, i)
        kind = tag & 7
        if kind == 0:
            v, i = varint(raw, i)
        elif kind == 2:
            n, i = varint(raw, i)
            v, i = raw[i:i + n], i + n
        else:
            size = 8 if kind == 1 else 4
            v, i = raw[i:i + size], i + size
        yield tag >> 3, kind, v


def packed(n, kind, v):
    return number(n << 3 | kind) + (number(v) if kind == 0 else number(len(v)) + v if kind == 2 else v)


def changed(raw, path, value):
    """The message with a field set, which lies in the messages of a path."""
    out = b"".join(packed(n, kind, changed(v, path[1:], value) if n == path[0] and len(path) > 1 else v)
                   for n, kind, v in fields(raw) if n != path[0] or len(path) > 1)
    return out if len(path) > 1 else out + packed(path[0], 0 if isinstance(value, int) else 2, value)


def edit(s, name, path, value):
    file = os.path.join(s.imgs, name)
    with open(file, "rb") as f:
        raw = f.read()
    length = struct.unpack("<I", raw[8:12])[0] if name != "inventory.img" else struct.unpack("<I", raw[4:8])[0]
    head = 8 if name != "inventory.img" else 4
    check(len(raw) == head + 4 + length, "%s has one message" % name)
    body = changed(raw[head + 4:], path, value)
    with open(file, "wb") as f:
        f.write(raw[:head] + struct.pack("<I", len(body)) + body)
