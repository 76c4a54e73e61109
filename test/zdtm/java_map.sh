#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A Java program that fills a HashMap, with garbage collection and its compiler's threads at work.
# zdtm: real
# zdtm: set java
# zdtm: exclusive
# zdtm: needs java javac
# zdtm: frozen
# zdtm: iters 2
# zdtm: restores 3
# zdtm: timeout 120
. "$ZDTM/lib/lib.sh"

cat > Filler.java <<'JAVA'
import java.io.*;
import java.util.*;

public class Filler {
	public static void main(String[] a) throws Exception {
		HashMap<Integer, String> map = new HashMap<>();
		File stop = new File("verify");
		int n = 0, lost = 0;
		while (!stop.exists()) {
			for (int i = 0; i < 2000; i++, n++) {
				map.put(n % 300000, "value " + n);
				if (n == 400000)
					new File("ready").createNewFile();
			}
			Thread.sleep(1);
		}
		for (int k = 0; k < Math.min(n, 300000); k++) {
			String s = map.get(k);
			int v = s == null ? -1 : Integer.parseInt(s.substring(6));
			if (v < 0 || v % 300000 != k || v < n - 300000)
				lost++;
		}
		try (FileWriter w = new FileWriter("result", true)) {
			if (lost > 0)
				w.write("FAIL " + lost + " entries of " + map.size() + " are wrong\n");
			w.write("PASS\n");
		}
	}
}
JAVA
javac Filler.java || skip "javac does not work here"
exec 9<&-
exec java -XX:-UsePerfData -Xmx200m -cp . Filler
