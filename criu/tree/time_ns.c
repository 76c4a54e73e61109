/* SPDX-License-Identifier: GPL-2.0-only */
#include <inttypes.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/log.h"
#include "proc/timens.h"
#include "timens.pb-c.h"
#include "tree/subsys.h"
#include "tree/time_ns.h"

#define NSEC        1000000000L
#define SECONDS_MAX (1UL << 32) /* the kernel takes about as many, 146 years */

/* What both directions know of the two clocks. */
struct clocks {
	int64_t monotonic, boottime;
};

struct time_ns {
	TimensEntry *image; /* NULL: older images have none */
	int err;            /* of the call named `call`, which ended the making of the namespace */
	const char *call;
	bool made;           /* the tree is in it */
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

/* How far the tree's clocks are ahead of criu's. */
static int look_at_offsets(pid_t root, struct clocks *ahead)
{
	struct timens_offsets own, its;
	uint64_t own_ino, its_ino;
	int err = timens_inode(0, &own_ino) ?: timens_inode(root, &its_ino);

	*ahead = (struct clocks) { 0 };
	if (!err && own_ino == its_ino)
		return 0;
	err = err ?: timens_read(0, &own) ?: timens_read(root, &its);
	if (err)
		return log_errno(err, "pid %d: reading its timens_offsets, or criu's", root);
	*ahead = (struct clocks) { its.monotonic - own.monotonic, its.boottime - own.boottime };
	return 0;
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
	const struct clocks *noted = dump_state(d, &time_ns_subsys);

	*then = timespec_at(clock == CLOCK_BOOTTIME ? noted->boottime : noted->monotonic);
}

/* All timers have been read: by a clock that goes on from here none is early. */
static int time_ns_write(struct dump *d)
{
	TimensEntry *m = arena_msg(d->arena, TimensEntry, timens_entry);
	struct clocks *now = dump_state(d, &time_ns_subsys), ahead;
	int err = look_at_offsets(d->tree.tasks[0]->pid, &ahead);

	if (err)
		return err;
	*now = clocks_now();
	m->monotonic = timespec_of(d->arena, now->monotonic + ahead.monotonic);
	m->boottime = timespec_of(d->arena, now->boottime + ahead.boottime);
	return image_write_one(d->dir, IMG_TIMENS, 0, m);
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

static int time_ns_check(struct restore *r)
{
	const struct time_ns *k = restore_state(r, &time_ns_subsys);

	if (!k->image || (is_sane_time(k->image->monotonic) && is_sane_time(k->image->boottime)))
		return 0;
	return log_refusal(-EINVAL, "timens-0.img: its clocks are invalid");
}

static int64_t time_of_image(const Timespec *ts)
{
	return (int64_t)ts->tv_sec * NSEC + (int64_t)ts->tv_nsec;
}

bool time_ns_wanted(const struct restore *r)
{
	const struct time_ns *k = restore_state(r, &time_ns_subsys);

	return k->image;
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

/* Offsets count from the machine's clocks, whichever namespace criu is in. */
void time_ns_make(struct restore *r)
{
	struct time_ns *k = restore_state(r, &time_ns_subsys);
	struct timens_offsets o;
	int err = timens_read(0, &o);

	if (err) {
		note_failure(k, err, "reading criu's own offsets");
		return;
	}
	if (unshare(CLONE_NEWTIME)) {
		note_failure(k, -errno, "unshare(CLONE_NEWTIME)");
		return;
	}
	k->begun = clocks_now();
	o.monotonic += time_of_image(k->image->monotonic) - k->begun.monotonic;
	o.boottime += time_of_image(k->image->boottime) - k->begun.boottime;
	err = timens_write(&o);
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
	.state = { .dump = sizeof(struct clocks), .restore = sizeof(struct time_ns) },
	.write_images = time_ns_write,
	.read_images = time_ns_read,
	.check = time_ns_check,
};
