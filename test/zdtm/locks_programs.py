#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs that lock: flock(1) over a sleep, and SQLite in the middle of a transaction with a reader beside it.
# zdtm: real
# zdtm: needs flock
# zdtm: iters 2
# zdtm: restores 2
# zdtm: dump -l
import os
import signal
import sqlite3
import subprocess
import time

top = os.getcwd()
fails = []


def check(cond, words):
    if not cond:
        fails.append(words)


def try_flock():
    return subprocess.run(["flock", "-n", "lockfile", "true"], cwd=top).returncode


locker = subprocess.Popen(["flock", "-x", "lockfile", "sleep", "1000"], stdin=subprocess.DEVNULL,
                          process_group=0)
while try_flock() == 0:
    time.sleep(0.01)
db = sqlite3.connect("db", isolation_level=None)
db.execute("create table t (x)")
db.execute("insert into t values (1)")
db.execute("begin exclusive")
db.executemany("insert into t values (?)", [(i,) for i in range(2, 1001)])
other = sqlite3.connect("db", isolation_level=None, timeout=0)
open("ready", "w").close()
while not os.path.exists("verify"):
    time.sleep(0.01)
check(try_flock() == 1, "flock(1): the lock is free")
os.killpg(locker.pid, signal.SIGKILL)
locker.wait()
code = "import sqlite3; sqlite3.connect('db', timeout=0).execute('select count(*) from t').fetchone()"
p = subprocess.run(["python3", "-c", code], cwd=top, stderr=subprocess.PIPE, text=True)
check("database is locked" in p.stderr, "another process reads in an exclusive transaction: %r" % p.stderr)
try:
    other.execute("select count(*) from t").fetchone()
    check(False, "another connection reads in an exclusive transaction")
except sqlite3.OperationalError as e:
    check("locked" in str(e), str(e))
db.execute("commit")
check(other.execute("select count(*), sum(x) from t").fetchone() == (1000, 500500), "what was written")
check(db.execute("pragma integrity_check").fetchone() == ("ok",), "the data base")
with open("result", "a") as f:
    f.write("".join("FAIL %s\n" % w for w in fails) + "PASS\n")
