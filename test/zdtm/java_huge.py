#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A Java machine whose heap is in huge pages of hugetlb (-XX:+UseLargePages): three rounds, and it goes on counting.
# zdtm: driver
# zdtm: set java
# zdtm: needs java javac
# zdtm: needs-root
# zdtm: exclusive
# zdtm: sole
# zdtm: timeout 180
import os
import subprocess

from driver import check, run_all, scenario, text, wait_for
from hugepool import Pages, pool

SOURCE = """
import java.io.*;
import java.util.*;

public class Huge {
	public static void main(String[] a) throws Exception {
		HashMap<Integer, String> map = new HashMap<>();
		File stop = new File("verify");
		int n = 0, lost = 0;
		while (!stop.exists()) {
			for (int i = 0; i < 1000; i++, n++) {
				map.put(n % 50000, "value " + n);
				if (n == 60000)
					new File("ready").createNewFile();
			}
			Thread.sleep(1);
		}
		for (int k = 0; k < Math.min(n, 50000); k++) {
			String s = map.get(k);
			int v = s == null ? -1 : Integer.parseInt(s.substring(6));
			if (v < 0 || v % 50000 != k || v < n - 50000)
				lost++;
		}
		try (FileWriter w = new FileWriter("result", true)) {
			w.write(lost > 0 ? "FAIL " + lost + " entries are wrong\\n" : "PASS\\n");
		}
	}
}
"""


def huge_kb(pid):
    return sum(int(line.split()[1]) for line in text("/proc/%d/smaps" % pid).splitlines() if line.startswith("Private_Hugetlb:"))


@scenario
def rounds(s):
    with open(s.path("Huge.java"), "w") as f:
        f.write(SOURCE)
    subprocess.run(["javac", "Huge.java"], cwd=s.dir, check=True)
    with Pages(s, 96):
        free = pool("free_hugepages")
        s.victim("/usr/bin/java", args=["-XX:+UseLargePages", "-XX:LargePageSizeInBytes=2m", "-XX:-UsePerfData", "-Xms64m",
                                        "-Xmx64m", "-XX:ReservedCodeCacheSize=32m", "-XX:+UseSerialGC", "-cp", ".", "Huge"])
        used = huge_kb(s.pid)
        check(used >= 8192, "its heap is not in huge pages: %d kB" % used)
        for i in range(3):
            s.clean_images()
            s.dump()
            s.restore()
            check(huge_kb(s.pid) >= used, "round %d: %d kB in huge pages, there were %d" % (i, huge_kb(s.pid), used))
        s.verify()
        check(wait_for(lambda: pool("free_hugepages") == free, 10), "huge pages are held")


run_all()
