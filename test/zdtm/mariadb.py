#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# MariaDB as Debian ships it, whose InnoDB has a ring of io_uring, dumped and restored three times: each time it takes a new
# row, has all rows, and finds its table in order.
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

from driver import check, passed_over, rounds_wanted, run_all, scenario, text, wait_for


def ask(folder, words):
    got = subprocess.run(["mariadb", "--no-defaults", "-N", "-u", "root", "-S", folder + "/s", "-e", words],
                         capture_output=True, text=True, timeout=60)
    return got.stdout if got.returncode == 0 else "failed: " + got.stderr


def has_ring(pid):
    fds = "/proc/%d/fd/" % pid
    return any(os.readlink(fds + n) == "anon_inode:[io_uring]" for n in os.listdir(fds))


def go_through_rounds(s, folder):
    install = subprocess.run(["mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir=" + folder + "/data",
                              "--auth-root-authentication-method=normal", "--skip-test-db"],
                             capture_output=True, text=True, timeout=120)
    check(install.returncode == 0, "mariadb-install-db: %s%s" % (install.stdout, install.stderr))
    s.proc = subprocess.Popen(["mariadbd", "--no-defaults", "--user=mysql", "--datadir=" + folder + "/data",
                               "--socket=" + folder + "/s", "--skip-networking"], cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=open(s.path("out"), "w"), stderr=subprocess.STDOUT, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: ask(folder, "select 1") == "1\n"), "it does not start: %s" % text(s.path("out")))
    if not has_ring(s.pid):
        passed_over("MariaDB without io_uring here")
    ask(folder, "create database t; create table t.t (a int primary key auto_increment, b text) engine=innodb")
    for i in range(rounds_wanted(3)):
        check(ask(folder, "insert into t.t (b) values (repeat('x', 5000))") == "", "insert %d" % i)
        s.dump("--file-locks")
        s.restore("--file-locks")
        check(ask(folder, "select count(*) from t.t") == "%d\n" % (i + 1), "rows after restore %d" % i)
        check("OK" in ask(folder, "flush tables; check table t.t"), "check table")
    s.kill()


@scenario
def mariadb(s):
    folder = tempfile.mkdtemp(prefix="criu-mariadb.", dir="/tmp")
    try:
        shutil.chown(folder, "mysql")
        go_through_rounds(s, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


run_all()
