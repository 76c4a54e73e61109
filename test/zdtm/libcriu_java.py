#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A Java machine that dumps itself by libcriu.so, with the calls that OpenJ9 makes: goes on once, then is dumped and restored by
# the command line; its threads and collections are as they were.
# zdtm: driver
# zdtm: needs-root
# zdtm: set java
# zdtm: exclusive
# zdtm: needs java javac gcc
# zdtm: timeout 300
import os
import shutil
import subprocess

from driver import HERE, Skipped, check, run_all, scenario, text

JAVA = """
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Dumps {
	static native int dump(String library, String binary, String dir, boolean leaveRunning);

	static byte[][] heap() {
		byte[][] all = new byte[500][];
		for (int i = 0; i < all.length; i++)
			Arrays.fill(all[i] = new byte[20000], (byte) i);
		return all;
	}

	public static void main(String[] a) throws Exception {
		System.load(a[0]);
		byte[][] before = heap();
		AtomicLong ticks = new AtomicLong();
		ScheduledExecutorService pool = Executors.newScheduledThreadPool(3);
		pool.scheduleAtFixedRate(ticks::incrementAndGet, 2, 2, TimeUnit.MILLISECONDS);
		System.out.println("running " + dump(a[1], a[2], a[3], true));
		System.out.println("restored " + dump(a[1], a[2], a[3], false));
		long now = ticks.get();
		while (ticks.get() < now + 10)
			Thread.sleep(5);
		System.gc();
		System.out.println("heap " + Arrays.deepEquals(before, heap()));
		pool.shutdown();
	}
}
"""

SHIM = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <jni.h>
#include <unistd.h>
#include "openj9_calls.h"

JNIEXPORT jint JNICALL Java_Dumps_dump(JNIEnv *env, jclass c, jstring library, jstring binary, jstring dir, jboolean leave)
{
	const char *l = (*env)->GetStringUTFChars(env, library, 0), *b = (*env)->GetStringUTFChars(env, binary, 0);
	int fd = open((*env)->GetStringUTFChars(env, dir, 0), O_RDONLY | O_DIRECTORY), ret = openj9_dump(l, b, fd, leave);

	close(fd);
	return ret;
}
"""


def build(s):
    for name, words in ("Dumps.java", JAVA), ("shim.c", SHIM):
        with open(s.path(name), "w") as f:
            f.write(words)
    home = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("javac"))))
    for command in (["javac", "Dumps.java"],
                    ["gcc", "-shared", "-fPIC", "-I" + home + "/include", "-I" + home + "/include/linux",
                     "-I" + os.path.join(HERE, "lib"), "-o", "shim.so", "shim.c"]):
        r = subprocess.run(command, cwd=s.dir, capture_output=True, text=True)
        if r.returncode:
            raise Skipped("%s does not work here: %s" % (command[0], r.stderr[-200:]))


@scenario
def dumps_itself(s):
    build(s)
    library = os.path.join(os.environ["TESTS"], "../../libcriu.so")
    with open(s.path("out"), "w") as out:
        s.proc = subprocess.Popen(["java", "-Xmx200m", "-cp", ".", "Dumps", s.path("shim.so"), library, s.criu, s.imgs],
                                  cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(s.proc.wait(120) == -9, "it ends with %d: %s, %s" % (s.proc.returncode, text(s.path("out")), s.errors("criu.log")))
    check(text(s.path("out")).split("\n")[0] == "running 0", "it says %r" % text(s.path("out")))
    s.tool("restore", "-D", s.imgs, "--shell-job", "-v2", "-o", "restore.log")
    check(s.rc == 0, "restore: %d, %s %s" % (s.rc, text(s.path("out")), s.errors("restore.log")))
    check(text(s.path("out")).split("\n")[:3] == ["running 0", "restored 1", "heap true"], "it says %r" % text(s.path("out")))


run_all()
