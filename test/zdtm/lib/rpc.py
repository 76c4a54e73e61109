# SPDX-License-Identifier: GPL-2.0-only
"""A client of the service protocol: messages of images/rpc.proto as dictionaries, and `criu swrk` at the end of a socket."""
import array
import os
import re
import socket
import subprocess
import sys

from case import Failed

SCHEMA = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))), "images",
                      "rpc.proto")


def read_schema(path=SCHEMA):
    """{message: {field: (number, label, type)}}, {enum: {word: number}}"""
    messages, enums = {}, {}
    with open(path) as f:
        text = re.sub(r"//[^\n]*", "", f.read())
    for kind, name, body in re.findall(r"\b(message|enum)\s+(\w+)\s*\{([^}]*)\}", text):
        if kind == "enum":
            enums[name] = {w: int(n) for w, n in re.findall(r"(\w+)\s*=\s*(\d+)\s*;", body)}
        else:
            messages[name] = {f: (int(n), label, t) for label, t, f, n in
                              re.findall(r"(optional|required|repeated)\s+(\w+)\s+(\w+)\s*=\s*(\d+)", body)}
    return messages, enums


MESSAGES, ENUMS = read_schema()


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def number(kind, v):
    return ENUMS[kind][v] if isinstance(v, str) else int(v)


def encode_one(kind, num, v):
    if kind == "string" or kind in MESSAGES:
        data = v if isinstance(v, bytes) else v.encode() if kind == "string" else encode(kind, v)
        return varint(num << 3 | 2) + varint(len(data)) + data
    return varint(num << 3) + varint(number(kind, v))


def encode(message, values):
    out = b""
    for name, value in values.items():
        num, label, kind = MESSAGES[message][name]
        for v in value if label == "repeated" else [value]:
            out += encode_one(kind, num, v)
    return out


def take_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return n, at


def decode_value(kind, raw):
    if kind == "string":
        return raw.decode()  # a response that is no UTF-8 is a fault
    if kind in MESSAGES:
        return decode(kind, raw)
    if kind in ENUMS:
        return {n: w for w, n in ENUMS[kind].items()}.get(raw, raw)
    if kind == "bool":
        return bool(raw)
    return raw - (1 << 64) if kind == "int32" and raw >> 63 else raw


def decode(message, data):
    """All fields have to be in the schema: what criu sends is."""
    fields = {n: (name, label, kind) for name, (n, label, kind) in MESSAGES[message].items()}
    out, at = {}, 0
    while at < len(data):
        key, at = take_varint(data, at)
        name, label, kind = fields[key >> 3]
        if key & 7 == 2:
            n, at = take_varint(data, at)
            raw, at = data[at:at + n], at + n
        else:
            raw, at = take_varint(data, at)
        v = decode_value(kind, raw)
        if label == "repeated":
            out.setdefault(name, []).append(v)
        else:
            out[name] = v
    return out


class Peer:
    """One end of a connection."""

    def __init__(self, sock, timeout=100):
        self.sock, self.fds = sock, []
        sock.settimeout(timeout)

    def send(self, request):
        self.sock.send(request if isinstance(request, bytes) else encode("criu_req", request))

    def receive(self):
        """A response; None: the other end is closed. Descriptors that came with it are in self.fds."""
        try:
            data, control, flags, _ = self.sock.recvmsg(1 << 16, 4096)
        except ConnectionResetError:
            return None
        except socket.timeout:
            raise Failed("criu does not answer")
        self.fds = []
        for level, kind, raw in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.fds += array.array("i", raw[:len(raw) // 4 * 4]).tolist()
        if len(data) > 1024:
            raise Failed("a response of %d bytes, more than clients have room for" % len(data))
        return decode("criu_resp", data) if data else None

    def answer(self, ok=True, **more):
        self.send(dict({"type": "NOTIFY", "notify_success": ok}, **more))

    def close(self):
        self.sock.close()


# With the number free in a process that has not opened anything yet.
MOVE = """import os, sys
os.dup2(int(sys.argv[1]), int(sys.argv[2]), inheritable=True)
if sys.argv[1] != sys.argv[2]:
    os.close(int(sys.argv[1]))
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Swrk(Peer):
    """`criu swrk FD`, started for one connection."""

    def __init__(self, criu=None, fd=None, timeout=100, kind=socket.SOCK_SEQPACKET, wrap=(), **kw):
        """fd: the number of the socket in criu; None: any. wrap: a command that executes criu."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        super().__init__(ours, timeout)
        number = theirs.fileno() if fd is None else fd
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw["pass_fds"] = [*kw.get("pass_fds", ()), theirs.fileno()]
        kw.setdefault("stderr", subprocess.PIPE)
        move = [] if fd is None else [sys.executable, "-c", MOVE, str(theirs.fileno()), str(fd)]
        self.proc = subprocess.Popen([*move, *wrap, criu or os.environ["CRIU"], "swrk", str(number)], **kw)
        theirs.close()

    def ends(self, timeout=100):
        """Waits for the end of criu; its exit status."""
        try:
            self.out = self.proc.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise Failed("criu swrk does not end")
        self.sock.close()
        return self.proc.returncode


class Directory:
    """A directory, open under a number."""

    def __init__(self, path):
        self.path, self.fd = path, os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def ask(request, **kw):
    """One request to a criu swrk of its own: (response, exit status)."""
    p = Swrk(**kw)
    p.send(request)
    r = p.receive()
    return r, p.ends()


def run(p, request, answers=None):
    """
    A request with notifications: ([notification...], the response). answers: {stage: function of the notification, which
    returns what to answer: True, False, or a whole message}; the others get True.
    """
    seen = []
    p.send(request)
    while True:
        r = p.receive()
        if r is None or r["type"] != "NOTIFY":
            return seen, r
        n = r["notify"]
        seen.append(n)
        if not r["success"]:
            raise Failed("a notification without success: %r" % r)
        a = (answers or {}).get(n["script"], lambda n: True)(n)
        if isinstance(a, bool):
            p.answer(a)
        else:
            p.send(a)
