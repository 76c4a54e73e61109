#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A descriptor with a number above the tool's own limits: above the soft one nothing is to be seen of it; above the hard
# one the dump works, and the restore refuses before it starts anything, with both numbers.
# zdtm: driver
import os
import resource

from driver import check, run_all, scenario, state_of

HIGH = 5000


def victim(s):
    fd = os.open("/dev/null", os.O_RDWR)
    os.dup2(fd, HIGH)
    os.close(fd)
    s.victim(pass_fds=[HIGH])
    os.close(HIGH)


def limits(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@scenario
def above_soft(s):
    victim(s)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    s.dump(preexec_fn=limits(64, hard))
    s.restore(preexec_fn=limits(64, hard))
    check(os.path.exists("/proc/%d/fd/%d" % (s.pid, HIGH)), "descriptor %d is not there again" % HIGH)
    s.verify()


# Nobody in the sandbox may raise a hard limit; who may (CAP_SYS_RESOURCE) drops that first.
def without_resource(soft, hard):
    def fn():
        limits(soft, hard)()
        import ctypes
        ctypes.CDLL(None).prctl(24, 24, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE: gone after the exec
    return fn


@scenario
def above_hard(s):
    victim(s)
    s.dump(preexec_fn=without_resource(100, 100))
    s.restore(ok=False, preexec_fn=without_resource(100, 100))
    said = s.errors("restore.log")
    check(s.rc != 0 and str(HIGH) in said and " 100 " in said + " " and "ulimit" in said,
          "the refusal does not name both numbers: %s" % said)
    check(state_of(s.pid) == "gone", "something was started")
    s.restore()
    check(os.path.exists("/proc/%d/fd/%d" % (s.pid, HIGH)), "descriptor %d is not there again" % HIGH)
    s.verify()


run_all()
