#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A tool that may have few files open itself dumps a tree with many connections, or says what it lacks: it never
# crashes, and the tree is as it was.
# zdtm: driver
# zdtm: needs-root
import resource

from driver import check, run_all, scenario, state_of
from tcp_peers import connect, exchange, own_network, start

ENOUGH = 64


def few_files(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


@scenario
def few(s):
    start(s)
    conns = [connect(s) for _ in range(100)]
    for c in conns:
        exchange(c)
    for limit in list(range(14, 60, 2)) + [ENOUGH, 100, 200]:
        s.clean_images()
        s.dump("-R", "--tcp-established", ok=False, preexec_fn=few_files(limit))
        check(s.rc in (0, 1), "limit %d: the tool ends with %d" % (limit, s.rc))
        check(not s.rc or limit < ENOUGH, "limit %d: %s" % (limit, s.errors("dump.log") or s.out))
        check(not s.rc or "open files" in s.errors("dump.log") + s.out, "limit %d: %s" % (limit, s.out))
        check(state_of(s.pid) not in "ZtT", "limit %d: the victim is %s" % (limit, state_of(s.pid)))
        for c in conns:
            exchange(c)
    s.clean_images()
    s.dump("--tcp-established", preexec_fn=few_files(ENOUGH))
    s.gone()
    s.restore("--tcp-established")
    for c in conns:
        exchange(c)
    s.kill()


own_network()
run_all()
