#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# MariaDB as Debian ships it, whose InnoDB has a ring of io_uring, dumped and restored three times: each time it takes a new
# row, has all rows, and finds its table in order. Then the same while three clients in the tree insert rows without a pause:
# none of them sees an error, and each row that was inserted is there, once.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: set programs
# zdtm: needs mariadbd mariadb mariadb-install-db
# zdtm: timeout 300
import os
import shutil
import subprocess
import tempfile

from driver import check, passed_over, rounds_wanted, run_all, scenario, text, tree, wait_for


def ask(folder, words):
    got = subprocess.run(["mariadb", "--no-defaults", "-N", "-u", "root", "-S", folder + "/s", "-e", words],
                         capture_output=True, text=True, timeout=60)
    return got.stdout if got.returncode == 0 else "failed: " + got.stderr


def has_ring(pid):
    fds = "/proc/%d/fd/" % pid
    return any(os.readlink(fds + n) == "anon_inode:[io_uring]" for n in os.listdir(fds))


SERVER = ("--no-defaults", "--user=mysql", "--skip-networking", "--innodb-flush-log-at-trx-commit=0")
CLIENTS = 3
BATCH = 100  # rows of one statement after the other

LOAD = """cd %(folder)s
mariadbd %(server)s --datadir=%(folder)s/data --socket=%(folder)s/s &
while [ ! -e begin ]; do sleep 0.05; done
client() {
    n=0
    while [ ! -e enough ]; do
        for i in $(seq %(batch)d); do echo "insert into t.t (a, b) values ($1 * 10000000 + $((n + i)), repeat('x', 3000));"; done |
            mariadb --no-defaults -u root -S s >>client.$1 2>&1 || { echo failed >>client.$1; break; }
        n=$((n + %(batch)d))
        echo $n >>client.$1
    done
    echo end >>client.$1
}
for c in $(seq %(clients)d); do client $c & done
wait
"""


def install(folder):
    done = subprocess.run(["mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir=" + folder + "/data",
                           "--auth-root-authentication-method=normal", "--skip-test-db"],
                          capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, "mariadb-install-db: %s%s" % (done.stdout, done.stderr))


def start(s, folder, *command):
    s.proc = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=open(s.path("out"), "w"),
                              stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: ask(folder, "select 1") == "1\n"), "it does not start: %s" % text(s.path("out")))
    if not any(has_ring(p) for p in tree(s.pid)):
        passed_over("io_uring", "MariaDB has no ring here")


def go_through_rounds(s, folder):
    start(s, folder, "mariadbd", *SERVER, "--datadir=" + folder + "/data", "--socket=" + folder + "/s")
    ask(folder, "create database t; create table t.t (a int primary key auto_increment, b text) engine=innodb")
    for i in range(rounds_wanted(3)):
        check(ask(folder, "insert into t.t (b) values (repeat('x', 5000))") == "", "insert %d" % i)
        s.dump("--file-locks")
        s.restore("--file-locks")
        check(ask(folder, "select count(*) from t.t") == "%d\n" % (i + 1), "rows after restore %d" % i)
        check("OK" in ask(folder, "flush tables; check table t.t"), "check table")
    s.kill()


def words(folder):
    return [text("%s/client.%d" % (folder, c + 1)).split() for c in range(CLIENTS)]


def rows(folder):
    return sum(int(([n for n in w if n.isdigit()] or [0])[-1]) for w in words(folder))


def go_through_load(s, folder):
    start(s, folder, "sh", "-c",
          LOAD % {"folder": folder, "server": " ".join(SERVER), "batch": BATCH, "clients": CLIENTS})
    ask(folder, "create database t; create table t.t (a int primary key, b text) engine=innodb")
    open(folder + "/begin", "w").close()
    for i in range(rounds_wanted(3)):
        before = rows(folder)
        check(wait_for(lambda: rows(folder) > before or "failed" in str(words(folder))) and rows(folder) > before,
              "the clients do not work in round %d: %s" % (i, words(folder)))
        s.dump("--file-locks")
        s.restore("--file-locks")
    open(folder + "/enough", "w").close()
    check(wait_for(lambda: all(w[-1:] == ["end"] for w in words(folder))), "the clients do not end: %s" % words(folder))
    check(not any("failed" in w or "ERROR" in w for w in words(folder)), "the clients say %s" % words(folder))
    check(ask(folder, "select count(*) from t.t") == "%d\n" % rows(folder), "%s rows instead of %d" % (
        ask(folder, "select count(*) from t.t"), rows(folder)))
    check("OK" in ask(folder, "flush tables; check table t.t"), "check table")
    s.kill()


def in_folder(s, fn):
    folder = tempfile.mkdtemp(prefix="criu-mariadb.", dir="/tmp")
    try:
        shutil.chown(folder, "mysql")
        install(folder)
        fn(s, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@scenario
def mariadb(s):
    in_folder(s, go_through_rounds)


@scenario
def under_load(s):
    in_folder(s, go_through_load)


run_all()
