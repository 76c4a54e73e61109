/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files on foreign file systems: those on which a call may wait for another program or another machine (FUSE, NFS,
 * ...), for ever where that does not answer, and on which root may be allowed nothing. So criu makes no such call. A
 * helper makes it, with the identity of the task that has the file (or is to have it), and criu waits for the helper
 * with a limit. A helper that is lost in a call and cannot even be killed is left to itself: it has nothing of the
 * tree.
 *
 * What criu may do (measured with a FUSE whose server is stopped): read /proc (links, fdinfo, maps, stat), open a file
 * of FUSE with O_PATH by a link in /proc, close that, and look at it with AT_STATX_DONT_SYNC. Nearly all else waits;
 * close() of a descriptor that is not O_PATH waits too, and cannot be killed.
 */
#ifndef CRIU_HELPER_FOREIGN_H
#define CRIU_HELPER_FOREIGN_H

#include "lib/arena.h"
#include "proc/proc.h"

struct foreign_mount {
	int id;
	uint32_t s_dev;
	const char *path, *type;
	bool foreign, fuse;
	bool silent; /* it did not answer in time, and is not asked again */
};

/* Of one dump or restore. */
struct foreign {
	struct arena *arena;
	struct foreign_mount *mounts; /* all that we see, by id */
	size_t n_mounts;
	struct foreign_mount **added; /* that we do not see: unmounted while in use, or of another namespace */
	size_t n_added;
	bool any;         /* one of the mounts is foreign */
	bool counted;     /* one did not answer: others get little time */
	unsigned timeout; /* s */
	struct foreign_helper *helpers;
	int internal[16]; /* ids of the kernel's own mounts (pipes, sockets), as met; 0: free */
};

/* Reads the mounts. timeout: s, for an answer. 0 or a negative errno (logged). */
int foreign_begin(struct foreign *f, struct arena *a, unsigned timeout);
void foreign_end(struct foreign *f);
bool foreign_type(const char *type); /* of mountinfo; an overlay is what its layers are */
struct mount_at;
void foreign_add_plain(struct foreign *f, const struct mount_at *of_another_ns, size_t n); /* those not foreign */
/* The mount with an id (of fdinfo); NULL: we do not see it. */
struct foreign_mount *foreign_mount_by_id(const struct foreign *f, int id);
/* A foreign mount of the file system s_dev (major << 20 | minor); NULL: none. */
struct foreign_mount *foreign_mount_by_dev(const struct foreign *f, uint32_t s_dev);
/* A foreign mount that lies on the way to a path (which /proc shows), the nearest; NULL: no such mount. */
struct foreign_mount *foreign_mount_by_path(const struct foreign *f, const char *path);

enum foreign_answer { FOREIGN_NO, FOREIGN_YES, FOREIGN_UNSURE };
/*
 * Whether a descriptor of a task is of a foreign file system: by its fdinfo, and where that leaves it open by its
 * link. Any thread may ask. FOREIGN_UNSURE: its mount is not one that we see; foreign_unseen() finds out.
 */
enum foreign_answer foreign_is_fd(struct foreign *f, int proc_fd, int number, const char *fdinfo);

/* The mount of a file (handle: O_PATH) which we do not see, by asking it; NULL: it is a local one. */
struct foreign_mount *foreign_unseen(struct foreign *f, int handle, int id);

/* What a helper does. It makes system calls, and neither allocates nor logs. */
struct foreign_job {
	const void *arg;
	void *result; /* zero at first */
	const int *fds;
	int out; /* goes to criu; -1: none */
};
typedef int (*foreign_fn)(struct foreign_job *job);

#define FOREIGN_DATA_MAX ((size_t)32 << 10)
#define FOREIGN_FDS_MAX  2

/* A descriptor that a helper keeps until foreign_end(): criu has none, as even close() may wait. */
struct foreign_kept {
	struct foreign *f;
	struct foreign_mount *mount;
	struct foreign_helper *helper;
	int number; /* there; -1: none was opened */
};

struct foreign_call {
	foreign_fn fn;
	const void *arg; /* flat */
	size_t arg_len;
	void *result; /* filled whatever fn returns */
	size_t result_len;
	int fds[FOREIGN_FDS_MAX]; /* ours, O_PATH or of local files; the helper gets duplicates */
	size_t n_fds;
	struct foreign_kept *keep; /* the descriptor stays in the helper, and this tells where; or NULL */
	int *out;                  /* gets the descriptor that comes back, or -1; NULL: none may come */
	const char *what;          /* for messages: the path */
};

/*
 * Runs a function in the helper that has this identity: user and group ids, groups, capabilities (NULL: criu's own).
 * Returns what it returned, or (logged as information alone) -ETIMEDOUT: no answer in time, now or before; or the errno
 * of having no helper (logged). The main thread alone calls it.
 */
int foreign_ask(struct foreign *f, struct foreign_mount *m, const struct proc_status *who,
                const struct foreign_call *call);

/* Has a helper send a descriptor that it keeps, with one byte, over a unix socket of ours. Returns as foreign_ask(). */
int foreign_send(const struct foreign_kept *k, int sock);

/* One file, and as whom it is used. */
struct foreign_access {
	struct foreign *f;
	struct foreign_mount *mount;
	const struct proc_status *who;
	int handle; /* an O_PATH of it, or -1 */
	const char *path;
};

/* foreign_ask(), about the path where the call does not say about what. */
int foreign_run(const struct foreign_access *a, struct foreign_call *call);

#endif
