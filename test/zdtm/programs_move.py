#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Databases move to another host by scripts/criu-migrate while a client writes and reads over one connection: redis in parts, in one piece
# and with its memory to come later; PostgreSQL through an encrypted connection. Afterwards the client's connection is still the same, and
# each value that it ever wrote is there.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip nft setpriv redis-server
# zdtm: set programs
# zdtm: timeout 600
import glob
import os
import shutil
import subprocess
import sys

from certificates import authority, certificate, tls
from driver import check, need, run_all, scenario, text, wait_for
from three_networks import ThreeNetworks

MEGABYTES = 1024 if os.environ.get("STRESS") == "1" else 96
BIN = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1]

REDIS = """cd "%(dir)s"
(until redis-cli -h 10.77.0.2 ping; do sleep 0.05; done; redis-cli -h 10.77.0.2 debug populate %(values)d other 4000; echo >ready) >populate.log 2>&1 &
exec redis-server --bind 10.77.0.2 --protected-mode no --enable-debug-command yes --save '' --dir "%(dir)s"
"""

# Counts, and writes a value under one of 5,000 keys each time; the longest wait for an answer goes into the file "gap".
ASKER = """import os, random, socket, sys, time
c = socket.create_connection(("10.77.0.2", 6379), 20)
c.settimeout(60)
f = c.makefile("rb")
def ask(*words):
    c.sendall(b"*%d\\r\\n" % len(words) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(w), w) for w in words))
    line = f.readline()
    if not line: sys.exit("the connection has ended")
    if line[:1] == b"$": return f.read(int(line[1:]) + 2)[:-2]
    if line[:1] == b"-": sys.exit(line.decode())
    return line[1:-2]
values, n, gap = {}, 0, 0
while not os.path.exists("stop"):
    n += 1
    key, value = b"key:%d" % random.randrange(5000), os.urandom(random.randrange(1, 3000))
    began = time.monotonic()
    got = ask(b"INCR", b"n")
    if int(got) != n: sys.exit("the server counts %s, not %d" % (got, n))
    ask(b"SET", key, value)
    gap = max(gap, time.monotonic() - began)
    values[key] = value
    if n % 20: continue
    with open("asked.tmp", "w") as out: out.write("%d" % n)
    os.rename("asked.tmp", "asked")
wrong = [k for k, v in values.items() if ask(b"GET", k) != v]
if wrong: sys.exit("wrong: %d of %d values" % (len(wrong), len(values)))
size = int(ask(b"DBSIZE")) - len(values) - 1
with open("end.tmp", "w") as out: out.write("%d values right, %d more, longest wait %.0f ms" % (len(values), size, gap * 1000))
os.rename("end.tmp", "end")
"""

SQL = """i=0
while [ ! -e stop ]; do
	i=$((i + 1))
	echo "insert into t values ($i); select 'asked ' || count(*) from t;"
	sleep 0.01
done | psql -qAt -v ON_ERROR_STOP=1 -h 10.77.0.2 postgres 2>said | while read -r word count; do
	echo "$count" >asked.tmp
	mv asked.tmp asked
done
"""

POSTGRES = """cd "%(dir)s"
(until psql -h 10.77.0.2 -U postgres postgres -c 'create table t (n int)'; do sleep 0.1; done; echo >ready) >create.log 2>&1 &
exec setpriv --reuid postgres --regid postgres --init-groups %(bin)s/postgres -D data >server.log 2>&1
"""


def ends(net):
    """What the client has to say when it was told to stop."""
    s = net.s
    open(s.path("stop"), "w").close()
    said = net.asker.communicate(timeout=120)[1]
    check(net.asker.returncode == 0, "the client: %s" % said)


def redis(s, *opts):
    values = MEGABYTES * 256
    net = ThreeNetworks(s, ["sh", "-c", REDIS % {"dir": s.dir, "values": values}], [sys.executable, "-c", ASKER])
    net.begin()
    if "--lazy" in opts:  # the address of the service goes first; this one stays
        net.inside(net.here, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries").wait()
        net.ip(net.here, "addr add 10.77.0.4/24 dev eth0")
    said = net.migrate(*opts)
    check("runs on the target as pid %d" % s.pid in said, said)
    s.gone()
    net.goes_on("there")
    ends(net)
    check("%d more" % values in text(s.path("end")), text(s.path("end")))
    print("measured: redis with %d MiB%s: %s" % (MEGABYTES, " ".join(("",) + opts), text(s.path("end"))), flush=True)
    print(said.replace("criu-migrate:", "measured:"), flush=True)
    net.done()


@scenario
def redis_in_parts(s):
    redis(s)


@scenario
def redis_in_parts_and_whole(s):
    redis(s, "--pre-dumps", "4", "--eager")


@scenario
def redis_at_once(s):
    redis(s, "--pre-dumps", "0")


@scenario
def redis_lazily(s):
    redis(s, "--lazy", "--address", "10.77.0.4", "--port", "2700")


@scenario
def postgres_by_tls(s):
    need("psql", "openssl")
    authority(s, "ca")
    certificate(s, "one", "ca", "IP:10.77.0.3")
    os.makedirs(s.path("data"))
    shutil.chown(s.path("data"), "postgres")
    subprocess.run(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", BIN + "/initdb", "-D", s.path("data"), "-A", "trust",
                    "-U", "postgres"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    with open(s.path("data/postgresql.conf"), "a") as f:
        f.write("unix_socket_directories = ''\nlisten_addresses = '10.77.0.2'\nshared_buffers = 64MB\nfsync = off\ndynamic_shared_memory_type = mmap\n")
    with open(s.path("data/pg_hba.conf"), "a") as f:
        f.write("host all all 10.77.0.0/24 trust\n")
    net = ThreeNetworks(s, ["sh", "-c", POSTGRES % {"dir": s.dir, "bin": BIN}], ["setpriv", "--reuid", "0", "env", "PGUSER=postgres", "sh", "-c", SQL])
    net.begin()
    said = net.migrate("--pages=" + " ".join(tls(s)))
    check("runs on the target as pid %d" % s.pid in said, said)
    net.goes_on("there")
    ends(net)
    check(not text(s.path("said")), text(s.path("said")))
    net.done()


run_all()
