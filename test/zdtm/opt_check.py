#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu check --feature with every name of CRIU 4.2: quiet, and status 0 or 1; what criu does not do yet is no, whatever the
# kernel can; an unknown name is 1.
#
# zdtm: driver
# zdtm: needs-root
import os
import subprocess

KNOWN = """mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock seccomp_suspend seccomp_filters loginuid
cgroupns autofs tcp_half_closed compat_cr uffd uffd-noncoop can_map_vdso sk_ns sk_unix_file net_diag_raw nsid link_nsid
kcmp_epoll timens external_net_ns clone3_set_tid newifindex nftables has_ipt_legacy pidfd_store ns_pid apparmor_stacking
network_lock_nftables sockopt_buf_lock memfd_hugetlb move_mount_set_group openat2 get_rseq_conf ipv6_freebind pagemap_scan
timer_cr_ids overlayfs_maps breakpoints pagemap_scan_guard_pages""".split()
# LXC, podman and runc act on a yes.
NOT_YET = ("external_net_ns",)
# Of every kernel on which the suite runs.
YES = ("mnt_id", "timerfd", "fdinfo_lock", "kcmp_epoll", "clone3_set_tid", "openat2", "ns_pid", "can_map_vdso", "memfd_hugetlb")


def check(name):
    p = subprocess.run([os.environ["CRIU"], "check", "--feature", name], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


def main():
    wrong = []
    for name in KNOWN:
        rc, out, err = check(name)
        if rc not in (0, 1) or "unknown" in err or out.strip() != ("Does not look good." if rc else "Looks good."):
            wrong.append("%s: %d %s%s" % (name, rc, out, err))
        if (name in NOT_YET and rc != 1) or (name in YES and rc != 0):
            wrong.append("%s: %d" % (name, rc))
    rc, out, err = check("frobnicate")
    if rc != 1 or "unknown feature" not in err:
        wrong.append("an unknown name: %d %s%s" % (rc, out, err))
    with open("result", "w") as f:
        f.write("FAIL " + "; ".join(wrong) if wrong else "PASS")


main()
