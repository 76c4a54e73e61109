/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel features that `criu check` looks for, each found out by trying (probe/). They are named here, below
 * everything, so that any folder can name one.
 */
#ifndef CRIU_KERNEL_FEATURES_H
#define CRIU_KERNEL_FEATURES_H

/* The categories of `criu check`, see criu(8). NAMED: of CRIU's list; looked for by --feature alone. */
enum feature_class { FEATURE_REQUIRED = 1, FEATURE_EXTRA, FEATURE_EXPERIMENTAL, FEATURE_NAMED };

/* Rows: X(id, name, class, what it is for); the function that tries is probe_<id>(). Names are CRIU's where it has one.
 */
#define FEATURES(X)                                                                                                    \
	X(map_files, "map_files", REQUIRED, "the agent's memory, shared memory")                                       \
	X(children, "proc_children", REQUIRED, "finding the tree")                                                     \
	X(ns_pids, "ns_pid", REQUIRED, "pids as a namespace sees them")                                                \
	X(vm_flags, "vma_flags", REQUIRED, "mappings")                                                                 \
	X(kcmp, "kcmp", REQUIRED, "what tasks share")                                                                  \
	X(pidfd_getfd, "pidfd_getfd", REQUIRED, "descriptors of a task")                                               \
	X(clone3_set_tid, "clone3_set_tid", REQUIRED, "restoring pids")                                                \
	X(process_vm_readv, "process_vm_readv", REQUIRED, "reading memory")                                            \
	X(ptrace_seize, "ptrace_seize", REQUIRED, "stopping tasks")                                                    \
	X(ptrace_peeksiginfo, "ptrace_peeksiginfo", REQUIRED, "pending signals")                                       \
	X(tid_address, "get_tid_address", REQUIRED, "threads")                                                         \
	X(robust_list, "get_robust_list", REQUIRED, "threads, and the agent's watch over criu")                        \
	X(restored_rights, "restored_rights", REQUIRED, "what restored processes may do themselves")                   \
	X(mm_map, "set_mm_map", REQUIRED, "restoring what /proc shows of an address space")                            \
	X(proc_timers, "proc_timers", REQUIRED, "POSIX timers")                                                        \
	X(memfd_exec, "memfd_exec", REQUIRED, "starting restored processes")                                           \
	X(map_vdso, "can_map_vdso", REQUIRED, "restoring a vdso at its place")                                         \
	X(futex_waitv, "futex_waitv", EXTRA, "an agent that notices criu's end at once, not after 50 ms")              \
	X(pagemap_scan, "pagemap_scan", EXTRA, "finding pages faster")                                                 \
	X(page_frames, "pagemap_pfn", EXTRA, "memory that a fork shares, still shared after a restore")                \
	X(seccomp_suspend, "seccomp_suspend", EXTRA, "tasks with seccomp filters")                                     \
	X(seccomp_filters, "seccomp_filters", EXTRA, "tasks with seccomp filters")                                     \
	X(rseq_conf, "get_rseq_conf", EXTRA, "tasks with restartable sequences")                                       \
	X(timer_ids, "timer_cr_ids", EXTRA, "POSIX timers with large numbers, quickly")                                \
	X(membarrier, "membarrier_get_registrations", EXTRA, "tasks that use membarrier()")                            \
	X(anon_vma_name, "anon_vma_name", EXTRA, "named anonymous mappings")                                           \
	X(owner_uids, "fcntl_owner_uids", EXTRA, "files that send signals to an owner")                                \
	X(epoll_targets, "kcmp_epoll_tfd", EXTRA, "what epoll instances watch")                                        \
	X(inotify_wd, "inotify_setnextwd", EXTRA, "inotify watches")                                                   \
	X(fhandles, "fhandles", EXTRA, "files that inotify and fanotify watch")                                        \
	X(timerfd_ticks, "timerfd", EXTRA, "timerfds that have expired")                                               \
	X(tun, "tun", EXTRA, "descriptors of /dev/net/tun")                                                            \
	X(bpf_maps, "bpf_maps", EXTRA, "BPF maps")                                                                     \
	X(kernel_view, "kernel_view", EXTRA, "data sent to unix sockets before accept(2); dnotify")                    \
	X(tcp_repair, "tcp_repair", EXTRA, "TCP connections")                                                          \
	X(network_lock_nft, "network_lock_nft", EXTRA, "TCP connections: --network-lock nftables")                     \
	X(mnt_id, "mnt_id", NAMED, "the mount of an open file")                                                        \
	X(mem_dirty_track, "mem_dirty_track", NAMED, "pre-dump, dump --track-mem")                                     \
	X(aio_remap, "aio_remap", NAMED, "AIO contexts")                                                               \
	X(tun_ns, "tun_ns", NAMED, "tun devices of other namespaces")                                                  \
	X(userns, "userns", NAMED, "user namespaces")                                                                  \
	X(fdinfo_lock, "fdinfo_lock", NAMED, "file locks")                                                             \
	X(loginuid, "loginuid", NAMED, "login uids")                                                                   \
	X(cgroupns, "cgroupns", NAMED, "cgroup namespaces")                                                            \
	X(autofs, "autofs", NAMED, "autofs mounts")                                                                    \
	X(tcp_half_closed, "tcp_half_closed", NAMED, "half-closed TCP connections")                                    \
	X(compat_tasks, "compat_cr", NAMED, "32-bit tasks")                                                            \
	X(lazy_uffd, "uffd", NAMED, "lazy pages")                                                                      \
	X(lazy_noncoop, "uffd-noncoop", NAMED, "lazy pages")                                                           \
	X(sk_ns, "sk_ns", NAMED, "network namespaces of sockets")                                                      \
	X(sk_unix_file, "sk_unix_file", NAMED, "files of unix sockets")                                                \
	X(net_diag_raw, "net_diag_raw", NAMED, "raw sockets")                                                          \
	X(nsid, "nsid", NAMED, "numbers of network namespaces")                                                        \
	X(link_nsid, "link_nsid", NAMED, "links in other network namespaces")                                          \
	X(timens, "timens", NAMED, "time namespaces")                                                                  \
	X(external_net_ns, "external_net_ns", NAMED, "external network namespaces: not implemented yet")               \
	X(newifindex, "newifindex", NAMED, "indexes of network links")                                                 \
	X(ipt_legacy, "has_ipt_legacy", NAMED, "legacy iptables")                                                      \
	X(pidfd_store, "pidfd_store", NAMED, "processes of a pre-dump, known again")                                   \
	X(apparmor_stacking, "apparmor_stacking", NAMED, "stacked AppArmor profiles")                                  \
	X(sockopt_buf_lock, "sockopt_buf_lock", NAMED, "fixed sizes of socket buffers")                                \
	X(memfd_hugetlb, "memfd_hugetlb", NAMED, "memfds of huge pages")                                               \
	X(move_mount_set_group, "move_mount_set_group", NAMED, "propagation of mounts")                                \
	X(openat2, "openat2", NAMED, "opening files below a root")                                                     \
	X(ipv6_freebind, "ipv6_freebind", NAMED, "IPv6 addresses that are not there")                                  \
	X(overlayfs_maps, "overlayfs_maps", NAMED, "mappings of files of overlays")                                    \
	X(breakpoints, "breakpoints", NAMED, "hardware breakpoints")                                                   \
	X(pagemap_guard, "pagemap_scan_guard_pages", NAMED, "guard pages")                                             \
	X(madv_collapse, "madv_collapse", EXPERIMENTAL, "huge pages put together at restore")

enum feature {
#define FEATURE_ID(id, ...) FEATURE_##id,
	FEATURES(FEATURE_ID)
#undef FEATURE_ID
	    FEATURE_COUNT
};

#endif
