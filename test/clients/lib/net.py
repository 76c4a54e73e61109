# SPDX-License-Identifier: GPL-2.0-only
"""Networks for containers, in the network namespace of a test; and what containers connect to."""
import socket
import struct
import threading

from case import run


def bridge(name, address):
    run("ip", "link", "add", name, "type", "bridge")
    run("ip", "addr", "add", address, "dev", name)
    run("ip", "link", "set", name, "up")


def namespace(name, net):
    """A network namespace with a veth to here: .1 is here, .2 there."""
    run("ip", "netns", "add", name)
    run("ip", "link", "add", "hv0", "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "addr", "add", net + ".1/24", "dev", "hv0")
    run("ip", "link", "set", "hv0", "up")
    for words in ("link set lo up", "addr add %s.2/24 dev eth0" % net, "link set eth0 up", "route add default via %s.1" % net):
        run("ip", "-n", name, *words.split())


class NumberServer:
    """What `inmate -c` connects to: sends back the numbers that come, and sees that none is missing or comes twice."""

    def __init__(self, address, port):
        self.count, self.wrong = 0, []
        self.listener = socket.create_server((address, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s = self.listener.accept()[0]
        while True:
            data = b""
            while len(data) < 8:
                part = s.recv(8 - len(data))
                if not part:
                    self.wrong.append("the connection ended after %d" % self.count)
                    return
                data += part
            number = struct.unpack("<Q", data)[0]
            if number != self.count:
                self.wrong.append("%d instead of %d" % (number, self.count))
            self.count += 1
            s.sendall(data)
