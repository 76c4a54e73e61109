#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# PostgreSQL with three clients in the tree and one outside, each of which inserts rows all the time, over its socket and
# over TCP; with its memory in System V segments, in an ipc namespace of its own too, and with the segment that it always
# has. Dumped and restored again and again, once after a simulated reboot (no segment is left); with a CHECKPOINT and inserts after each. At the end each
# client has inserted each of its numbers once, nothing is wrong in the log, and pg_amcheck is content.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip setpriv
# zdtm: set programs
# zdtm: timeout 600
import glob
import os
import shutil
import subprocess
import tempfile

from driver import Failed, check, need, run_all, scenario, text, wait_for

BIN = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1]
PORT, ROUNDS = 5499, 5
AS = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]

CLIENT = """#!/bin/sh
i=0
while [ ! -e stop ]; do
	i=$((i + 1))
	echo "insert into t values ($1, $i);"
	sleep 0.02
done | psql -q -v ON_ERROR_STOP=1 -h "$2" -p %d postgres >"client.$1" 2>&1
echo "$?" >"ended.$1"
""" % PORT

TREE = """#!/bin/sh
%s/postgres -D data >server.log 2>&1 &
server=$!
until psql -h "$PWD" -p %d postgres -c 'create table t (client int, n int)'; do sleep 0.1; done
sh client.sh 1 "$PWD" & a=$!
sh client.sh 2 "$PWD" & b=$!
sh client.sh 3 127.0.0.1 & c=$!
echo >up
wait $a $b $c
kill -INT $server
wait $server
echo "$?" >ended
""" % (BIN, PORT)


def sql(directory, words):
    p = subprocess.run([*AS, "psql", "-Atq", "-h", directory, "-p", str(PORT), "postgres", "-c", words], cwd=directory,
                       capture_output=True, text=True, timeout=120)
    check(p.returncode == 0, "%s: %s" % (words, p.stderr))
    return p.stdout


def make(directory, kind):
    for name, body in ("client.sh", CLIENT), ("tree.sh", TREE):
        with open(os.path.join(directory, name), "w") as f:
            f.write(body)
    shutil.chown(directory, "postgres")
    subprocess.run([*AS, BIN + "/initdb", "-D", "data", "-A", "trust"], cwd=directory, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
    with open(directory + "/data/postgresql.conf", "a") as f:
        f.write("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = '127.0.0.1'\nshared_memory_type = %s\n"
                "shared_buffers = 16MB\nfsync = off\n" % (PORT, directory, kind))


def start(s, directory, own):
    with open(directory + "/tree.log", "w") as out:
        s.proc = subprocess.Popen([*(["unshare", "-i"] if own else []), *AS, "sh", "tree.sh"], cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(directory + "/up") or s.proc.poll() is not None), "the server does not start")
    if s.proc.poll() is not None:
        raise Failed("the server has ended: " + text(directory + "/server.log")[-500:])
    return subprocess.Popen([*AS, "sh", "client.sh", "4", "127.0.0.1"], cwd=directory)


def inserted(directory):
    return dict(map(int, line.split("|")) for line in sql(directory, "select client, max(n) from t group by 1").split())


def segments():
    return [line.split()[1] for line in text("/proc/sysvipc/shm").splitlines()[1:]]


def own_objects(pid):
    """What ipcs says in the namespace of a task, but how many processes have attached a segment: they come and go."""
    p = subprocess.run(["nsenter", "-i", "-t", str(pid), "ipcs"], capture_output=True, text=True, check=True)
    return [line.split()[:5] for line in p.stdout.splitlines()]


def rounds(s, directory, own):
    check(wait_for(lambda: len(inserted(directory)) == 4), "not all clients insert")
    for i in range(ROUNDS):
        there = own_objects(s.pid) if own else segments()
        check(len(there) > (10 if own else 0), "it has no System V segment: %s" % there)
        s.dump("--tcp-established")
        if i == 1 and not own:
            for number in segments():
                subprocess.run(["ipcrm", "-m", number], check=True)
        s.restore("--tcp-established")
        check(not own or own_objects(s.pid) == there, "ipcs: %s, was %s" % (own_objects(s.pid), there))
        before = inserted(directory)
        sql(directory, "checkpoint")
        check(wait_for(lambda: all(n > before.get(c, 0) + 5 for c, n in inserted(directory).items())),
              "round %d: a client stands still: %s, now %s" % (i, before, inserted(directory)))


def look(directory):
    rows = [list(map(int, line.split("|"))) for line in
            sql(directory, "select client, count(*), count(distinct n), max(n) from t group by 1 order by 1").split()]
    check(len(rows) == 4 and all(r[1] == r[2] == r[3] for r in rows), "rows are lost or doubled: %s" % rows)
    p = subprocess.run([*AS, BIN + "/pg_amcheck", "-h", directory, "-p", str(PORT), "--install-missing", "postgres"],
                       cwd=directory, capture_output=True, text=True, timeout=300)
    check(p.returncode == 0, "pg_amcheck: %s%s" % (p.stdout, p.stderr))
    bad = [line for line in text(directory + "/server.log").splitlines() if any(w in line for w in ("ERROR", "FATAL", "PANIC", "WARNING"))]
    check(not [b for b in bad if "starting up" not in b and '"t" already' not in b], "its log says %s" % bad[:3])


def go_through(s, kind, own=False):
    need("psql", BIN + "/postgres")
    directory = tempfile.mkdtemp(prefix="zdtm-postgres.")
    try:
        make(directory, kind)
        outside = start(s, directory, own)
        rounds(s, directory, own)
        look(directory)
        open(directory + "/stop", "w").close()
        s.gone()
        check(outside.wait(60) == 0, "the client outside")
        for name in "ended.1", "ended.2", "ended.3", "ended.4", "ended":
            check(text(directory + "/" + name).strip() == "0", "%s says %r" % (name, text(directory + "/" + name)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@scenario
def in_segments(s):
    go_through(s, "sysv")


@scenario
def in_own_namespace(s):
    need("unshare", "nsenter", "ipcs")
    go_through(s, "sysv", own=True)


@scenario
def with_a_segment(s):
    go_through(s, "mmap")


run_all()
