/* SPDX-License-Identifier: GPL-2.0-only */
#include <inttypes.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/log.h"
#include "proc/timens.h"
#include "timens.pb-c.h"
#include "tree/ns_given.h"
#include "tree/subsys.h"
#include "tree/time_ns.h"

#define NSEC        1000000000L
#define SECONDS_MAX (1UL << 32) /* the kernel takes about as many, 146 years */

/* What both directions know of the two clocks. */
struct clocks {
	int64_t monotonic, boottime;
};

/* What a dump knows of the namespaces. */
struct time_ns_seen {
	struct clocks noted;
	bool root_known;
	struct timens_offsets root; /* then: the root task's */
};

struct time_ns {
	TimensEntry *image; /* NULL: older images have none */
	int err;            /* of the call named `call`, which ended the making of the namespace */
	const char *call;
	bool made;           /* the tree is in it */
	bool has_begun;      /* a namespace has been made */
	struct clocks begun; /* what criu's clocks showed when the tree's began to go on */
};

extern const struct subsys time_ns_subsys;

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static struct clocks clocks_now(void)
{
	return (struct clocks) { clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_BOOTTIME) };
}

/* ---- dump ---- */

void time_ns_note_root(struct dump *d, const struct timens_offsets *o)
{
	struct time_ns_seen *seen = dump_state(d, &time_ns_subsys);

	seen->root = *o;
	seen->root_known = true;
}

/* criu's offsets, and those of the root task. */
static int look_at_offsets(struct dump *d, struct timens_offsets *own, struct timens_offsets *its)
{
	const struct time_ns_seen *seen = dump_state(d, &time_ns_subsys);
	pid_t root = d->tree.tasks[0]->pid;
	uint64_t own_ino, its_ino;
	int err = timens_inode(0, &own_ino) ?: timens_inode(root, &its_ino);

	*own = *its = (struct timens_offsets) { 0 };
	if (!err && own_ino == its_ino)
		return 0;
	*its = seen->root;
	err = err ?: timens_read(0, own) ?: seen->root_known ? 0 : timens_read(root, its);
	return err ? log_errno(err, "pid %d: reading its timens_offsets, or criu's", root) : 0;
}

static Timespec *timespec_of(struct arena *a, int64_t ns)
{
	Timespec *ts = arena_msg(a, Timespec, timespec);

	ts->tv_sec = (uint64_t)(ns / NSEC);
	ts->tv_nsec = (uint64_t)(ns % NSEC);
	return ts;
}

static struct timespec timespec_at(int64_t ns)
{
	return (struct timespec) { ns / NSEC, ns % NSEC };
}

void time_ns_noted(struct dump *d, clockid_t clock, struct timespec *then)
{
	const struct time_ns_seen *seen = dump_state(d, &time_ns_subsys);

	*then = timespec_at(clock == CLOCK_BOOTTIME ? seen->noted.boottime : seen->noted.monotonic);
}

static int write_clocks(struct dump *d, uint32_t id, const struct timens_offsets *own, const struct timens_offsets *its)
{
	const struct time_ns_seen *seen = dump_state(d, &time_ns_subsys);
	TimensEntry *m = arena_msg(d->arena, TimensEntry, timens_entry);

	m->monotonic = timespec_of(d->arena, seen->noted.monotonic + its->monotonic - own->monotonic);
	m->boottime = timespec_of(d->arena, seen->noted.boottime + its->boottime - own->boottime);
	return image_write_one(d->dir, IMG_TIMENS, id, m);
}

int time_ns_write_other(struct dump *d, uint32_t id, const struct timens_offsets *its)
{
	struct timens_offsets own;
	int err = timens_read(0, &own);

	return err ? log_errno(err, "reading criu's own timens_offsets") : write_clocks(d, id, &own, its);
}

/* All timers have been read: by a clock that goes on from here none is early. */
static int time_ns_write(struct dump *d)
{
	struct time_ns_seen *seen = dump_state(d, &time_ns_subsys);
	struct timens_offsets own, its;
	int err = look_at_offsets(d, &own, &its);

	if (err)
		return err;
	seen->noted = clocks_now();
	return write_clocks(d, 0, &own, &its);
}

/* ---- restore: the image ---- */

/* CRIU numbers the file by the namespace where the tree had one of its own. */
static int time_ns_read(struct restore *r)
{
	struct time_ns *k = restore_state(r, &time_ns_subsys);
	const TaskKobjIdsEntry *ids = r->tree.tasks[0]->ids;
	int err = image_read_one(r->dir, IMG_TIMENS, 0, r->arena, &k->image);

	if (err == -ENOENT && ids && ids->has_time_ns_id)
		err = image_read_one(r->dir, IMG_TIMENS, ids->time_ns_id, r->arena, &k->image);
	if (err == -ENOENT)
		k->image = NULL;
	return err == -ENOENT ? 0 : err;
}

static bool is_sane_time(const Timespec *ts)
{
	return ts->tv_sec < SECONDS_MAX && ts->tv_nsec < (uint64_t)NSEC;
}

int time_ns_check_image(const TimensEntry *image, uint32_t id)
{
	if (is_sane_time(image->monotonic) && is_sane_time(image->boottime))
		return 0;
	return log_refusal(-EINVAL, "timens-%u.img: its clocks are invalid", id);
}

static int time_ns_check(struct restore *r)
{
	const struct time_ns *k = restore_state(r, &time_ns_subsys);

	return k->image ? time_ns_check_image(k->image, 0) : 0;
}

static int64_t time_of_image(const Timespec *ts)
{
	return (int64_t)ts->tv_sec * NSEC + (int64_t)ts->tv_nsec;
}

bool time_ns_is_given(const struct restore *r)
{
	const TaskKobjIdsEntry *ids = r->tree.n_tasks ? r->tree.tasks[0]->ids : NULL;

	return ids && ns_given_fd(r, ns_type_of_flag(CLONE_NEWTIME), ids->time_ns_id) >= 0;
}

bool time_ns_wanted(const struct restore *r)
{
	const struct time_ns *k = restore_state(r, &time_ns_subsys);

	return k->image && !time_ns_is_given(r);
}

/* ---- restore: the namespace ---- */

bool time_ns_moves_by_exec(void)
{
	struct utsname name;
	unsigned major, minor;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 3);
}

static void note_failure(struct time_ns *k, int err, const char *call)
{
	k->err = err;
	k->call = call;
}

/*
 * Offsets count from the machine's clocks, whichever namespace criu is in. The clocks of all namespaces of a tree go on
 * at the same instant.
 */
int time_ns_offsets(struct restore *r, const TimensEntry *image, struct timens_offsets *o)
{
	struct time_ns *k = restore_state(r, &time_ns_subsys);
	int err = timens_read(0, o);

	if (!k->has_begun)
		k->begun = clocks_now();
	k->has_begun = true;
	o->monotonic += time_of_image(image->monotonic) - k->begun.monotonic;
	o->boottime += time_of_image(image->boottime) - k->begun.boottime;
	return err;
}

void time_ns_make(struct restore *r)
{
	struct time_ns *k = restore_state(r, &time_ns_subsys);
	struct timens_offsets o;
	int err = time_ns_offsets(r, k->image, &o);
	_cleanup_close_ int fd = -1;

	if (err) {
		note_failure(k, err, "reading criu's own offsets");
		return;
	}
	if (unshare(CLONE_NEWTIME)) {
		note_failure(k, -errno, "unshare(CLONE_NEWTIME)");
		return;
	}
	fd = timens_open(0);
	err = fd < 0 ? fd : timens_write(fd, &o);
	if (err)
		note_failure(k, err, "write of timens_offsets");
}

static void warn_of_jump(const struct time_ns *k)
{
	struct clocks now = clocks_now();
	int64_t monotonic = now.monotonic - time_of_image(k->image->monotonic);
	int64_t boottime = now.boottime - time_of_image(k->image->boottime), most = MIN(monotonic, boottime);
	const char *why = k->err ? strerror(-k->err) : "the kernel did not take the program into it";

	if (most < 0)
		log_warn("the tree has no time namespace (%s: %s), and this machine's clocks are %" PRId64
		         " s behind those of the dump: timers and sleeps of its programs may stand still for as long",
		         k->call ?: "execveat", why, -most / NSEC);
	else
		log_info("the tree has no time namespace (%s: %s): its clocks jump ahead by %" PRId64 " s",
		         k->call ?: "execveat", why, MAX(monotonic, boottime) / NSEC);
}

int time_ns_report(struct restore *r, pid_t root)
{
	struct time_ns *k = restore_state(r, &time_ns_subsys);
	uint64_t own, its;
	int err;

	if (time_ns_is_given(r))
		return 0; /* the clocks are those of another */
	if (!k->image) {
		log_info("the images do not say what its clocks showed: the tree's are criu's");
		return 0;
	}
	err = timens_inode(0, &own) ?: timens_inode(root, &its);
	if (err)
		return log_errno(err, "pid %d: stat of its ns/time, or criu's", root);
	k->made = !k->err && own != its;
	if (!k->made)
		warn_of_jump(k);
	return 0;
}

void time_ns_base(struct restore *r, clockid_t clock, struct timespec *now)
{
	const struct time_ns *k = restore_state(r, &time_ns_subsys);

	if (!k->made || (clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)) {
		clock_gettime(clock, now);
		return;
	}
	*now = timespec_at(clock == CLOCK_MONOTONIC ? k->begun.monotonic : k->begun.boottime);
}

const struct subsys time_ns_subsys = {
	.name = "time namespace",
	.state = { .dump = sizeof(struct time_ns_seen), .restore = sizeof(struct time_ns) },
	.write_images = time_ns_write,
	.read_images = time_ns_read,
	.check = time_ns_check,
};
