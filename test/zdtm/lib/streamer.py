# SPDX-License-Identifier: GPL-2.0-only
"""A stand-in for criu-image-streamer: keeps what a dump sends in memory, and serves it to a restore, each file once."""
import os
import socket
import struct
import threading

LIMIT = 100  # seconds for anything


class Streamer:
    """Listens in a folder when it is made. files: {name: bytes}; order: their names as they came.

    fault(name, n): what to do instead of the right thing with the n-th file; None: the right thing.
    """
    def __init__(self, folder, capture, files=None, fault=lambda name, n: None):
        self.files, self.fault, self.order, self.served = dict(files or {}), fault, [], []
        self.path = os.path.join(folder, "streamer-capture.sock" if capture else "streamer-serve.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.settimeout(LIMIT)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.held, self.threads = [], []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.work, args=(self.take if capture else self.give,), daemon=True)
        self.thread.start()

    def work(self, each):
        try:
            self.sock, _ = self.listener.accept()
            self.sock.settimeout(LIMIT)
            n = 0
            while (name := self.request()) is not None:
                n += 1
                what = self.fault(name, n)
                if what == "die":
                    break
                each(name, what)
        except OSError:
            pass
        finally:
            for fd in self.held:
                os.close(fd)
            self.held = []
            if hasattr(self, "sock"):
                self.sock.close()
            self.listener.close()

    def exactly(self, size):
        data = b""
        while len(data) < size:
            got = self.sock.recv(size - len(data))
            if not got:
                return None
            data += got
        return data

    def request(self):
        head = self.exactly(4)
        if head is None:
            return None
        body = self.exactly(struct.unpack("<I", head)[0])
        assert body[0] == 0x0A and body[1] == len(body) - 2, body
        return body[2:].decode()

    def pipe(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 1, 1)
        if len(data) != 1 or len(fds) != 1:
            raise OSError("the tool has ended")
        return fds[0]

    def take(self, name, what):
        fd = self.pipe()
        if what == "stall":
            self.held.append(fd)
            return
        if what == "close":
            os.close(fd)
            return
        for earlier in self.threads:  # of the same name: the later file is the one that counts
            earlier.join(LIMIT if earlier.name == name else 0)
        self.order.append(name)
        t = threading.Thread(target=self.read_all, args=(name, fd), name=name, daemon=True)
        t.start()
        self.threads.append(t)

    def read_all(self, name, fd):
        with open(fd, "rb") as f:
            data = f.read()
        with self.lock:
            self.files[name] = data

    def give(self, name, what):
        if what == "garbage":
            self.sock.sendall(os.urandom(100))
            return
        if what == "stall":
            self.stop = threading.Event()
            self.stop.wait(LIMIT)
            return
        data = self.files.pop(name, None)
        exists = data is not None and what != "missing"
        self.sock.sendall(struct.pack("<I", 2) + bytes([8, exists]))
        if not exists:
            return
        fd = self.pipe()
        self.served.append(name)
        if what == "cut":
            data = data[:len(data) // 2]
        elif what == "changed":
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif what == "more":
            data = data + b"x"
        elif what == "half":  # and nothing more, with the pipe open
            os.write(fd, data[:10])
            self.held.append(fd)
            return
        t = threading.Thread(target=self.write_all, args=(fd, data), daemon=True)
        t.start()
        self.threads.append(t)

    @staticmethod
    def write_all(fd, data):
        try:
            with open(fd, "wb") as f:
                f.write(data)
        except OSError:
            pass

    def done(self):
        """The tool has ended: all files are here."""
        if hasattr(self, "stop"):
            self.stop.set()
        self.thread.join(LIMIT)
        for t in self.threads:
            t.join(LIMIT)
        if os.path.exists(self.path):
            os.unlink(self.path)
        return self.files
