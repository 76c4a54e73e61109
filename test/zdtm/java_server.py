#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# An HTTP server in Java, with its pools of threads and a timer: is given work over TCP, dumped and restored three times while
# no connection is open; after each restore it still has what it was given, and does new work.
# zdtm: real
# zdtm: set java
# zdtm: exclusive
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip java javac
# zdtm: timeout 300
import subprocess

from driver import Skipped, scenario
from server_program import Server, run_in_own_network


class Java(Server):
    files = {"Server.java": """import com.sun.net.httpserver.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Server {
	public static void main(String[] a) throws Exception {
		Map<String, byte[]> items = new ConcurrentHashMap<>();
		AtomicInteger ticks = new AtomicInteger();
		Executors.newScheduledThreadPool(2).scheduleAtFixedRate(ticks::incrementAndGet, 5, 5, TimeUnit.MILLISECONDS);
		HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", @PORT@), 10);
		s.createContext("/", x -> {
			byte[] out = new byte[0];
			String url = x.getRequestURI().toString();
			if (url.equals("/ticks"))
				out = ticks.toString().getBytes();
			else if (x.getRequestMethod().equals("GET"))
				out = items.getOrDefault(url, out);
			else
				items.put(url, x.getRequestBody().readAllBytes());
			x.sendResponseHeaders(200, out.length == 0 ? -1 : out.length);
			x.getResponseBody().write(out);
			x.close();
		});
		s.setExecutor(Executors.newFixedThreadPool(4));
		s.start();
	}
}
"""}
    command = ["java", "-Xmx200m", "-cp", ".", "Server"]

    def prepare(self):
        r = subprocess.run(["javac", "Server.java"], cwd=self.s.dir, capture_output=True, text=True)
        if r.returncode:
            raise Skipped("javac does not work here: " + r.stderr[-200:])


@scenario
def java(s):
    Java(s).rounds()


run_in_own_network()
