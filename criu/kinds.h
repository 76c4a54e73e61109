/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one list of kinds. A line here puts a row into its table; the order is the order of matching and of work, with
 * the reason where it matters. criu/kinds.c expands it.
 */

/* Descriptors: first match wins. */
#define FD_KINDS(X)                                                                                                    \
	X(uring_kind)                                                                                                  \
	X(uffd_kind)                                                                                                   \
	X(eventfd_kind)                                                                                                \
	X(signalfd_kind)                                                                                               \
	X(bpfmap_kind)                                                                                                 \
	X(bpfpin_kind)                                                                                                 \
	X(tun_kind)                                                                                                    \
	X(unix_kind)                                                                                                   \
	X(pipe_kind)                                                                                                   \
	X(fifo_kind)                                                                                                   \
	X(pidfd_kind)                                                                                                  \
	X(nsfs_kind)                                                                                                   \
	X(detached_mount_kind) /* before regular files: its path says nothing */                                       \
	X(shmem_file_kind)                                                                                             \
	X(memfd_kind)                                                                                                  \
	X(inet_kind)                                                                                                   \
	X(netlink_kind)                                                                                                \
	X(vsock_kind)                                                                                                  \
	X(packet_kind)                                                                                                 \
	X(mqueue_kind)                                                                                                 \
	X(tty_kind)     /* before regular files: a terminal is a character device too */                               \
	X(reg_kind)     /* after all that have a path: takes any of them */                                            \
	X(epoll_kind)   /* after what it watches: that is as it will be */                                             \
	X(inotify_kind) /* what is done to files from here on would be an event */                                     \
	X(fanotify_kind)                                                                                               \
	X(timerfd_kind)     /* after all that criu makes: armed when nothing else is left to do */                     \
	X(plugin_file_kind) /* last: takes what no other kind knows */

/* What every task has. */
#define TASK_PARTS(X)                                                                                                  \
	X(mempolicy_part)                                                                                              \
	X(mm_limits_part)                                                                                              \
	X(thp_part)                                                                                                    \
	X(pkeys_part)                                                                                                  \
	X(attrs_part)                                                                                                  \
	X(traps_part)                                                                                                  \
	X(speculation_part)                                                                                            \
	X(io_priority_part)                                                                                            \
	X(core_sched_part)                                                                                             \
	X(membarrier_part)                                                                                             \
	X(loginuid_part)                                                                                               \
	X(oom_score_adj_part)                                                                                          \
	X(register_perm_part)                                                                                          \
	X(coredump_filter_part)                                                                                        \
	X(memory_merge_part)                                                                                           \
	X(futex_slots_part)                                                                                            \
	X(mdwe_part)                                                                                                   \
	X(dnotify_part)                                                                                                \
	X(lock_part) /* nothing closes a descriptor of a task after it, which would drop its POSIX locks */            \
	X(sched_part)                                                                                                  \
	X(lock_future_part) /* when nothing is mapped any more */                                                      \
	X(rlimit_part)      /* after descriptors and mappings are in place, which may lie above the limits */          \
	X(sigaction_part)                                                                                              \
	X(timer_part)                                                                                                  \
	X(altstack_part)                                                                                               \
	X(robust_list_part)                                                                                            \
	X(rseq_part)                                                                                                   \
	X(seccomp_part) /* before credentials: to install a filter takes privilege; it bites only after the release */ \
	X(creds_part)                                                                                                  \
	X(lsm_part)      /* its fields are those of credentials */                                                     \
	X(dumpable_part) /* a change of credentials resets it, and the next */                                         \
	X(user_dispatch_part)                                                                                          \
	X(autogroup_part)                                                                                              \
	X(landlock_part)                                                                                               \
	X(thread_own_part)                                                                                             \
	X(arch_odd_part)                                                                                               \
	X(keyring_part)                                                                                                \
	X(pdeath_signal_part)                                                                                          \
	X(signal_part)    /* pending signals are queued while all are blocked */                                       \
	X(timer_arm_part) /* when those of all threads are */                                                          \
	X(uring_flight_part)                                                                                           \
	X(aio_flight_part) /* restores nothing; asks by itself, over the answers to the others */                      \
	X(sem_undo_part)   /* last of a dump: uses the agent again when all answers of others have been read */

/* Mappings: first match wins, also where an image says of which kinds one is. */
#define VMA_KINDS(X)                                                                                                   \
	X(vdso_kind)       /* the kernel's own: the flags that are refused say nothing of it */                        \
	X(plugin_vma_kind) /* devices, which others refuse */                                                          \
	X(vma_uprobes_kind)                                                                                            \
	X(vma_special_kind)                                                                                            \
	X(secretmem_vma_kind)                                                                                          \
	X(vma_socket_kind)                                                                                             \
	X(aio_ring_kind)                                                                                               \
	X(uring_vma_kind)                                                                                              \
	X(vma_refused_kind) /* after what is a part of these and can be saved */                                       \
	X(sysv_shm_kind)    /* before other objects of the kernel's tmpfs */                                           \
	X(shmem_kind)       /* before mappings of files, one of which the kernel shows */                              \
	X(memfd_vma_kind)                                                                                              \
	X(vma_file_kind)                                                                                               \
	X(hugetlb_vma_kind) /* after all others that may have huge pages: their rows know */                           \
	X(vma_anon_kind)    /* last: takes all that is left */

/* Namespaces of the tree's own, in the order in which they are made. */
#define NAMESPACE_KINDS(X)                                                                                             \
	X(pid_ns_kind)                                                                                                 \
	X(uts_ns_kind)                                                                                                 \
	X(ipc_ns_kind)                                                                                                 \
	X(net_ns_kind)                                                                                                 \
	X(cgroup_ns_kind)                                                                                              \
	X(user_ns_kind)                                                                                                \
	X(time_ns_kind)                                                                                                \
	X(mnt_ns_kind) /* after those that its file systems belong to */

/* Types of file systems that are made anew; all others are taken from criu's own mounts, or refused. */
#define FS_KINDS(X)                                                                                                    \
	X(mnt_tmpfs)                                                                                                   \
	X(mnt_ramfs)                                                                                                   \
	X(mnt_hugetlbfs)                                                                                               \
	X(mnt_bpf)                                                                                                     \
	X(mnt_proc)                                                                                                    \
	X(mnt_sysfs)                                                                                                   \
	X(mnt_devpts)                                                                                                  \
	X(mnt_mqueue)                                                                                                  \
	X(mnt_cgroup2)                                                                                                 \
	X(mnt_cgroup)                                                                                                  \
	X(mnt_overlay)                                                                                                 \
	X(mnt_devtmpfs)                                                                                                \
	X(mnt_binfmt_misc)                                                                                             \
	X(mnt_securityfs)                                                                                              \
	X(mnt_debugfs)                                                                                                 \
	X(mnt_tracefs)                                                                                                 \
	X(mnt_pstore)                                                                                                  \
	X(mnt_fusectl)                                                                                                 \
	X(mnt_nsfs)

/* What a tree has as a whole, in the order of work at each stage; then engines, for what they keep. */
#define SUBSYSTEMS(X)                                                                                                  \
	X(plugin_subsys) /* first: devices go on before anything else does */                                          \
	X(kept_types_subsys)                                                                                           \
	X(landlock_subsys)                                                                                             \
	X(user_dispatch_subsys)                                                                                        \
	X(timer_expired_subsys) /* as soon as the timers have been read */                                             \
	X(time_ns_subsys)       /* notes the clocks when all timers have been read, before images that take long */    \
	X(tcp_listen_subsys)    /* may refuse the dump before images that take long */                                 \
	X(ns_given_subsys)                                                                                             \
	X(user_ns_given_subsys) /* before ids are read by their maps */                                                \
	X(ns_ids_subsys)                                                                                               \
	X(user_ns_subsys)                                                                                              \
	X(user_ns_make_subsys) /* before all namespaces that belong to them */                                         \
	X(pid_ns_subsys)                                                                                               \
	X(cgroup_dump_subsys)                                                                                          \
	X(cgroup_restore_subsys) /* a cgroup namespace is made in its root */                                          \
	X(ns_subsys)             /* a task is in its namespaces before anything else is done to it */                  \
	X(time_ns_make_subsys)   /* of a task before its children are born */                                          \
	X(mnt_bound_subsys)      /* before namespaces that no task is in are looked at */                              \
	X(ipc_ns_subsys)                                                                                               \
	X(netdev_subsys)       /* before connections are locked: what is locked is not the tree's */                   \
	X(mnt_subsys)          /* before files, which lie in its mounts */                                             \
	X(time_ns_dump_subsys) /* after the clocks were noted, and all namespaces are known */                         \
	X(mnt_idmap_subsys)                                                                                            \
	X(sysv_shm_subsys)                                                                                             \
	X(track_subsys) /* ends what has watched memory before any mapping is read */                                  \
	X(uffd_subsys)                                                                                                 \
	X(memory_pages_subsys) /* before descriptors, through which some pages are read, are closed */                 \
	X(tcp_subsys)          /* silences connections and releases them by descriptors that the files' rows close */  \
	X(netdev_fill_subsys)  /* when connections in there are locked */                                              \
	X(files_dump_subsys)                                                                                           \
	X(fs_subsys)         /* roots and working directories, before descriptor tables are filled */                  \
	X(user_enter_subsys) /* nothing of a task that needs criu's privileges comes after */                          \
	X(time_ns_late_subsys)                                                                                         \
	X(mempolicy_subsys)                                                                                            \
	X(memory_subsys)                                                                                               \
	X(mqueue_subsys)                                                                                               \
	X(sem_subsys)                                                                                                  \
	X(msg_subsys)                                                                                                  \
	X(ipc_settings_subsys) /* when all objects of the namespaces are made */                                       \
	X(sysv_segment_subsys) /* checked when all mappings of segments are known */                                   \
	X(tty_subsys)          /* foreground groups, before anything is done late to descriptors */                    \
	X(orphan_pts_subsys)   /* when those are set, through our descriptors of a pair, which it closes */            \
	X(files_restore_subsys)                                                                                        \
	X(uring_subsys)         /* when all images stand: nothing may have ended meanwhile */                          \
	X(user_ns_write_subsys) /* when all images stand, which have ids in them */                                    \
	X(signal_last_subsys)   /* the last work before the commit */                                                  \
	X(snapshot_subsys)      /* the last work inside of tasks */                                                    \
	X(lazy_memory_subsys)   /* nothing touches the memory of tasks afterwards */                                   \
	X(infect_subsys)                                                                                               \
	X(foreign_subsys)                                                                                              \
	X(pts_masters_subsys)                                                                                          \
	X(ns_made_subsys)                                                                                              \
	X(open_file_subsys)                                                                                            \
	X(page_equal_subsys)                                                                                           \
	X(task_mm_subsys)                                                                                              \
	X(guard_subsys)                                                                                                \
	X(hugetlb_subsys)                                                                                              \
	X(vma_socket_subsys)                                                                                           \
	X(secretmem_subsys)                                                                                            \
	X(memfd_inode_subsys)                                                                                          \
	X(inherit_subsys)                                                                                              \
	X(ns_roots_subsys)                                                                                             \
	X(file_names_subsys)                                                                                           \
	X(link_remap_subsys)                                                                                           \
	X(remap_subsys)                                                                                                \
	X(ghost_dump_subsys)                                                                                           \
	X(ghost_restore_subsys)                                                                                        \
	X(procfile_subsys)                                                                                             \
	X(watched_subsys)                                                                                              \
	X(irmap_cache_subsys)                                                                                          \
	X(validate_subsys)                                                                                             \
	X(net_ns_subsys)                                                                                               \
	X(diag_subsys)                                                                                                 \
	X(opts_view_subsys)                                                                                            \
	X(sock_new_subsys)                                                                                             \
	X(inet_reuseport_subsys)                                                                                       \
	X(peer_pid_subsys)                                                                                             \
	X(unix_dump_subsys)                                                                                            \
	X(impersonate_subsys)                                                                                          \
	X(epoll_view_subsys)                                                                                           \
	X(usk_subsys)                                                                                                  \
	X(queue_dump_subsys)                                                                                           \
	X(queue_restore_subsys)                                                                                        \
	X(tcp_check_subsys)                                                                                            \
	X(tcp_stream_subsys)                                                                                           \
	X(inet_mcast_subsys)                                                                                           \
	X(tty_images_subsys)                                                                                           \
	X(tty_external_subsys)                                                                                         \
	X(inet_bind_subsys)                                                                                            \
	X(cpu_subsys)                                                                                                  \
	X(foresee_subsys)                                                                                              \
	X(foresee_rights_subsys)                                                                                       \
	X(uring_kernel_subsys)                                                                                         \
	X(pages_codec_subsys)                                                                                          \
	X(pages_dedup_subsys) /* when nobody has the checkpoint before this one open any more */                       \
	X(page_link_subsys)                                                                                            \
	X(pages_later_subsys)
