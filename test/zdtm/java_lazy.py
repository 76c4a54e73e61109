#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A Java machine with a large heap, restored with its pages to come: it answers at once, is asked for all that it holds by several clients
# while pages are missing, and collects garbage, which reads and moves everything. Each part of its memory is what it was; dumped again
# and restored as a whole, too. How long the first answer, and all pages, take is printed beside the time of a whole restore.
# zdtm: real
# zdtm: set java
# zdtm: exclusive
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip java javac
# zdtm: timeout 600
import os
import random
import subprocess
import threading
import time

from driver import Skipped, check, scenario
from server_program import Http, run_in_own_network

MIB = 2048 if os.environ.get("STRESS") == "1" else 256


class Java(Http):
    files = {"Server.java": """import com.sun.net.httpserver.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.zip.CRC32;

public class Server {
	static String answer(String url, List<byte[]> parts) {
		if (url.equals("/collect")) {
			System.gc();
			return "collected";
		}
		CRC32 sum = new CRC32();
		sum.update(parts.get(Integer.parseInt(url.substring(1))));
		return Long.toHexString(sum.getValue());
	}

	public static void main(String[] a) throws Exception {
		List<byte[]> parts = new ArrayList<>();
		Random dice = new Random(7);
		for (int i = 0; i < Integer.parseInt(a[0]); i++) {
			parts.add(new byte[(1 << 20) - 64]);
			dice.nextBytes(parts.get(i));
		}
		HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", @PORT@), 10);
		s.createContext("/", x -> {
			byte[] out = answer(x.getRequestURI().toString(), parts).getBytes();
			x.sendResponseHeaders(200, out.length);
			x.getResponseBody().write(out);
			x.close();
		});
		s.setExecutor(Executors.newFixedThreadPool(4));
		s.start();
	}
}
"""}
    command = ["java", "-Xmx%dm" % (MIB + MIB // 2 + 64), "-cp", ".", "Server", str(MIB)]

    def prepare(self):
        r = subprocess.run(["javac", "Server.java"], cwd=self.s.dir, capture_output=True, text=True)
        if r.returncode:
            raise Skipped("javac does not work here: " + r.stderr[-200:])

    def part(self, n):
        return self.get("/%d" % n)[1]

    def compare(self, parts, sums, wrong):
        wrong += [n for n in parts if self.part(n) != sums[n]]


def lazily(s, java, sums):
    status, ours = os.pipe()
    daemon = subprocess.Popen([s.criu, "lazy-pages", "-D", s.imgs, "-v4", "-o", "lazy.log", "--status-fd", str(ours)], pass_fds=[ours],
                              stdin=subprocess.DEVNULL)
    os.close(ours)
    check(os.read(status, 1) == b"\0", "the daemon does not listen")
    os.close(status)
    began = time.monotonic()
    s.restore("--lazy-pages", timeout=120)
    check(java.part(0) == sums[0], "the first answer")
    first = time.monotonic() - began
    wrong, parts = [], list(range(MIB))
    random.shuffle(parts)
    clients = [threading.Thread(target=java.compare, args=(parts[n::3], sums, wrong)) for n in range(3)]
    for c in clients:
        c.start()
    check(java.get("/collect")[1] == b"collected", "System.gc()")
    for c in clients:
        c.join()
    check(daemon.wait(120) == 0, "the daemon: %d" % daemon.returncode)
    all_there = time.monotonic() - began
    java.compare(parts, sums, wrong)
    check(not wrong, "parts %r" % wrong[:9])
    return first, all_there


@scenario
def java(s):
    java = Java(s)
    sums = [java.part(n) for n in range(MIB)]
    java.quiet()
    s.dump(timeout=120)
    first, all_there = lazily(s, java, sums)
    java.quiet()
    s.clean_images()
    s.dump(timeout=120)
    began = time.monotonic()
    s.restore(timeout=120)
    check(java.part(0) == sums[0], "the first answer")
    whole = time.monotonic() - began
    wrong = []
    java.compare(range(MIB), sums, wrong)
    check(not wrong, "parts %r" % wrong[:9])
    print("measured: %d MiB: first answer after %.0f ms, all pages, read by three clients and a collector, after %.0f; restored as a whole, "
          "the first answer comes after %.0f" % (MIB, first * 1000, all_there * 1000, whole * 1000), flush=True)
    s.kill()


run_in_own_network()
