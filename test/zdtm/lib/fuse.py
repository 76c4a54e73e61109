# SPDX-License-Identifier: GPL-2.0-only
"""A small FUSE server (the raw protocol of /dev/fuse, no library) that can be made to lie: it says that files are not
there, or answers what it is asked about them with an error. It remembers nothing for its clients: every look at a
path asks it."""
import ctypes
import errno
import mmap
import os
import select
import stat
import struct
import time

from driver import Failed, Skipped

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, CREATE, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 35, 36, 42
UNLINK = 10
SETXATTR, GETXATTR, LISTXATTR = 21, 22, 23
_libc = ctypes.CDLL(None, use_errno=True)


class Fuse:
    """Files is {name: content}; directories have a content of None. Names are below the root, without folders.
    user: a uid that alone may do anything there (no allow_other), not even root."""

    def __init__(self, at, files, user=None):
        self.at = at
        self.user = user
        self.nodes = {1: ["", None]}
        for i, (name, data) in enumerate(sorted(files.items())):
            self.nodes[i + 2] = [name, None if data is None else bytearray(data)]
        self.lies = mmap.mmap(-1, 4096)  # shared with the server: errno of LOOKUP, of GETATTR, of STATFS; GETATTR's links
        self.xattrs = {}  # by node and name
        self.pid = None
        self.start()

    def start(self):
        try:
            fd = os.open("/dev/fuse", os.O_RDWR)
        except OSError as e:
            raise Skipped("/dev/fuse cannot be opened: %s" % e.strerror)
        opts = "fd=%d,rootmode=40755,user_id=%d,group_id=%d" % (fd, self.user or 0, self.user or 0)
        if self.user is None:
            opts += ",allow_other"
        if _libc.mount(b"zdtm", self.at.encode(), b"fuse.zdtm", 0, opts.encode()):
            raise Skipped("mounting a FUSE: %s" % os.strerror(ctypes.get_errno()))
        self.pid = os.fork()
        if not self.pid:
            try:
                self.serve(fd)
            finally:
                os._exit(0)
        os.close(fd)

    def stop(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        self.pid = None

    def unmount(self):
        if _libc.umount2(self.at.encode(), 2):
            raise Failed("unmounting the FUSE: %s" % os.strerror(ctypes.get_errno()))

    def lie(self, lookup=0, getattr=0, statfs=0):
        self.lies[:3] = bytes([lookup, getattr, statfs])

    def swallow(self, after=0):
        """From now on, or after so many requests more, they are taken and not answered, until answer_again(): who asked
        cannot even be killed."""
        self.lies[12:14] = struct.pack("BB", 1, after)

    def answer_again(self):
        self.lies[12] = 0
        end = time.monotonic() + 5
        while self.lies[14] and time.monotonic() < end:
            time.sleep(0.01)

    def left_alone(self):
        """Whether it is swallowing, and how many requests are unanswered."""
        return self.lies[14]

    def asked(self):
        """How often it has lied."""
        return struct.unpack("I", self.lies[8:12])[0]

    # ---- the server ----

    def lied(self, which):
        if self.lies[which]:
            self.lies[8:12] = struct.pack("I", self.asked() + 1)
            raise OSError(self.lies[which], "a lie")

    def attr(self, node):
        data = self.nodes[node][1]
        mode = stat.S_IFDIR | 0o755 if data is None else stat.S_IFREG | (0o755 if data[:4] == b"\x7fELF" else 0o644)
        size = 0 if data is None else len(data)
        return struct.pack("6Q10I", node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode, 1, self.user or 0,
                           self.user or 0, 0, 4096, 0)

    def find(self, node, name):
        found = [n for n, (its, _) in self.nodes.items() if its == name and n != 1]
        if node != 1 or not found:
            raise OSError(errno.ENOENT, name)
        return found[0]

    def entry(self, n):
        return struct.pack("QQQQII", n, 0, 0, 0, 0, 0) + self.attr(n)

    def answer(self, op, node, body):
        if op == INIT:
            major, minor = struct.unpack_from("II", body)
            return struct.pack("IIIIHHIIHH8I", 7, min(minor, 31), 65536, 0, 8, 8, 65536, 1, 16, 0, *[0] * 8)
        if op == LOOKUP:
            self.lied(0)
            return self.entry(self.find(node, body[:-1].decode()))
        if op == UNLINK:  # what is open stays under another name, as libfuse does it; the attributes still count one
            n = self.find(node, body[:-1].decode())
            self.nodes[n][0] = ".fuse_hidden%08x" % n
            return b""
        if op == CREATE:
            n = max(self.nodes) + 1
            self.nodes[n] = [body[16:-1].decode(), bytearray()]
            return self.entry(n) + struct.pack("QII", 0, 0, 0)
        if op == GETATTR or op == SETATTR:
            self.lied(1)
            valid, _, _, size = struct.unpack_from("IIQQ", body) if op == SETATTR else (0, 0, 0, 0)
            if valid & 8:
                data = self.nodes[node][1]
                del data[size:]
                data.extend(bytes(size - len(data)))
            return struct.pack("QII", 0, 0, 0) + self.attr(node)
        if op in (OPEN, OPENDIR):
            return struct.pack("QII", 0, 0, 0)
        if op == READ:
            _, at, n = struct.unpack_from("QQI", body)
            return bytes(self.nodes[node][1][at:at + n])
        if op == WRITE:
            _, at, n = struct.unpack_from("QQI", body)
            data = self.nodes[node][1]
            data.extend(bytes(max(0, at - len(data))))
            data[at:at + n] = body[40:40 + n]
            return struct.pack("II", n, 0)
        if op == STATFS:
            self.lied(2)
            return struct.pack("5Q10I", 1000, 500, 500, 100, 50, 4096, 255, 4096, *[0] * 7)
        if op == READDIR:
            _, at, size = struct.unpack_from("QQI", body)
            out = b""
            for i, (n, (name, data)) in list(enumerate(self.nodes.items()))[at:] if node == 1 else []:
                entry = struct.pack("QQII", n, i + 1, len(name), 4 if data is None else 8) + name.encode()
                if n != 1 and len(out) + len(entry) + 8 <= size:
                    out += entry + bytes(-len(entry) % 8)
            return out
        if op in (SETXATTR, GETXATTR, LISTXATTR):
            return self.answer_xattr(op, node, body)
        if op in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "operation %d" % op)

    def answer_xattr(self, op, node, body):
        size, name = struct.unpack_from("I", body)[0], body[8:].split(b"\0")[0]
        if op == SETXATTR:
            self.xattrs[node, name] = body[8 + len(name) + 1:][:size]
            return b""
        if op == LISTXATTR:
            out = b"".join(n + b"\0" for at, n in self.xattrs if at == node)
        elif (node, name) not in self.xattrs:
            raise OSError(errno.ENODATA, "getxattr")
        else:
            out = self.xattrs[node, name]
        if size and size < len(out):
            raise OSError(errno.ERANGE, "getxattr")
        return out if size else struct.pack("II", len(out), 0)

    def keeps_silent(self):
        if not self.lies[12]:
            return False
        if self.lies[13]:
            self.lies[13] -= 1
            return False
        return True

    def serve(self, fd):
        waiting = []
        while True:
            while waiting and not self.lies[12]:
                self.reply(fd, waiting.pop(0))
            self.lies[14] = min(len(waiting), 255)
            if (waiting or self.lies[12]) and not select.select([fd], [], [], 0.02)[0]:
                continue
            try:
                request = os.read(fd, 1 << 17)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            op = struct.unpack_from("II", request)[1]
            if op in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            if self.keeps_silent():
                waiting.append(request)
                self.lies[14] = 1
            else:
                self.reply(fd, request)

    def reply(self, fd, request):
        _, op, unique, node = struct.unpack_from("IIQQ", request)
        try:
            out, err = self.answer(op, node, request[40:]), 0
        except OSError as e:
            out, err = b"", e.errno
        try:
            os.write(fd, struct.pack("IiQ", 16 + len(out), -err, unique) + out)
        except OSError:
            pass  # who asked has been killed
