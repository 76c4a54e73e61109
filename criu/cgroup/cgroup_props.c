/* SPDX-License-Identifier: GPL-2.0-only */
/* lint: table */
/* The files of cgroups that are properties: cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. */
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>

#include "cgroup/cgroup_props.h"
#include "lib/log.h"
#include "proc/proc.h"

/* In the order in which the kernel takes them. */
static const struct cgroup_prop table[] = {
	{ "", "cgroup.type", CGROUP_EARLY },
	{ "", "cgroup.subtree_control", CGROUP_EARLY },
	{ "", "cgroup.max.depth", CGROUP_LATE },
	{ "", "cgroup.max.descendants", CGROUP_LATE },
	{ "", "cgroup.pressure", CGROUP_EARLY },
	{ "cpuset", "cpuset.cpus", CGROUP_EARLY },
	{ "cpuset", "cpuset.mems", CGROUP_EARLY },
	{ "cpuset", "cpuset.cpus.exclusive", CGROUP_EARLY },
	{ "cpuset", "cpuset.cpus.partition", CGROUP_EARLY },
	{ "cpuset", "cpuset.memory_migrate", CGROUP_EARLY },
	{ "cpuset", "cpuset.cpu_exclusive", CGROUP_EARLY }, /* what is below has it only where this one has */
	{ "cpuset", "cpuset.mem_exclusive", CGROUP_EARLY },
	{ "cpuset", "cpuset.mem_hardwall", CGROUP_EARLY },
	{ "cpuset", "cpuset.memory_spread_page", CGROUP_EARLY },
	{ "cpuset", "cpuset.memory_spread_slab", CGROUP_EARLY },
	{ "cpuset", "cpuset.sched_load_balance", CGROUP_EARLY },
	{ "cpuset", "cpuset.sched_relax_domain_level", CGROUP_EARLY },
	{ "cpu", "cpu.rt_period_us", CGROUP_EARLY }, /* no real-time task without them */
	{ "cpu", "cpu.rt_runtime_us", CGROUP_EARLY },
	{ "cpu", "cpu.shares", CGROUP_LATE },
	{ "cpu", "cpu.weight", CGROUP_LATE },
	{ "cpu", "cpu.idle", CGROUP_LATE }, /* after it, shares are fixed */
	{ "cpu", "cpu.cfs_period_us", CGROUP_LATE },
	{ "cpu", "cpu.cfs_quota_us", CGROUP_LATE },
	{ "cpu", "cpu.cfs_burst_us", CGROUP_LATE },
	{ "cpu", "cpu.max", CGROUP_LATE },
	{ "cpu", "cpu.max.burst", CGROUP_LATE },
	{ "cpu", "cpu.uclamp.min", CGROUP_LATE },
	{ "cpu", "cpu.uclamp.max", CGROUP_LATE },
	{ "memory", "memory.limit_in_bytes", CGROUP_LATE },
	{ "memory", "memory.memsw.limit_in_bytes", CGROUP_LATE }, /* not below the other */
	{ "memory", "memory.swappiness", CGROUP_EARLY },
	{ "memory", "memory.soft_limit_in_bytes", CGROUP_LATE },
	{ "memory", "memory.move_charge_at_immigrate", CGROUP_EARLY },
	{ "memory", "memory.oom_control", CGROUP_LATE },
	{ "memory", "memory.use_hierarchy", CGROUP_EARLY },
	{ "memory", "memory.kmem.limit_in_bytes", CGROUP_EARLY },
	{ "memory", "memory.kmem.tcp.limit_in_bytes", CGROUP_LATE },
	{ "memory", "memory.min", CGROUP_LATE },
	{ "memory", "memory.low", CGROUP_LATE },
	{ "memory", "memory.high", CGROUP_LATE },
	{ "memory", "memory.max", CGROUP_LATE },
	{ "memory", "memory.swap.high", CGROUP_LATE },
	{ "memory", "memory.swap.max", CGROUP_LATE },
	{ "memory", "memory.zswap.max", CGROUP_LATE },
	{ "memory", "memory.zswap.writeback", CGROUP_LATE },
	{ "memory", "memory.oom.group", CGROUP_LATE },
	{ "blkio", "blkio.weight", CGROUP_LATE },
	{ "blkio", "blkio.weight_device", CGROUP_LATE },
	{ "blkio", "blkio.leaf_weight", CGROUP_LATE },
	{ "blkio", "blkio.leaf_weight_device", CGROUP_LATE },
	{ "blkio", "blkio.bfq.weight", CGROUP_LATE },
	{ "blkio", "blkio.bfq.weight_device", CGROUP_LATE },
	{ "blkio", "blkio.prio.class", CGROUP_LATE },
	{ "blkio", "blkio.throttle.read_bps_device", CGROUP_LATE },
	{ "blkio", "blkio.throttle.write_bps_device", CGROUP_LATE },
	{ "blkio", "blkio.throttle.read_iops_device", CGROUP_LATE },
	{ "blkio", "blkio.throttle.write_iops_device", CGROUP_LATE },
	{ "io", "io.weight", CGROUP_LATE },
	{ "io", "io.bfq.weight", CGROUP_LATE },
	{ "io", "io.latency", CGROUP_LATE },
	{ "io", "io.max", CGROUP_LATE },
	{ "io", "io.prio.class", CGROUP_LATE },
	{ "devices", "devices.list", CGROUP_EARLY }, /* only a group without others below it can deny all */
	{ "net_cls", "net_cls.classid", CGROUP_LATE },
	{ "net_prio", "net_prio.ifpriomap", CGROUP_LATE },
	{ "hugetlb", "hugetlb.*.limit_in_bytes", CGROUP_LATE },
	{ "hugetlb", "hugetlb.*.max", CGROUP_LATE },
	{ "rdma", "rdma.max", CGROUP_LATE },
	{ "misc", "misc.max", CGROUP_LATE },
	{ "dmem", "dmem.*", CGROUP_LATE },
	{ "pids", "pids.max", CGROUP_LATE },
	{ "", "cgroup.clone_children", CGROUP_EARLY },
	{ "", "notify_on_release", CGROUP_LATE },
	{ "freezer", "freezer.state", CGROUP_LAST },
	{ "", "cgroup.freeze", CGROUP_LAST },
	{ "", "cgroup.procs", CGROUP_ACCESS },
	{ "", "cgroup.threads", CGROUP_ACCESS },
	{ "", "tasks", CGROUP_ACCESS },
};

static bool is_replaced(const struct cgroup_props *p, const char *controller)
{
	for (size_t i = 0; p && *controller && i < p->n_replaced; i++)
		if (!strcmp(p->replaced[i], controller))
			return true;
	return false;
}

/* Files that only show something have such patterns too. */
static bool is_limit(const char *file)
{
	return strcmp(file, "dmem.current") && strcmp(file, "dmem.capacity");
}

const struct cgroup_prop *cgroup_props_find(const struct cgroup_props *p, const char *file, size_t *rank)
{
	for (size_t i = 0; p && i < p->n_added; i++) {
		*rank = ARRAY_SIZE(table) + i;
		if (!strcmp(p->added[i].name, file))
			return &p->added[i];
	}
	for (*rank = 0; *rank < ARRAY_SIZE(table); (*rank)++) {
		const struct cgroup_prop *row = &table[*rank];

		if (row->name[0] == file[0] && !fnmatch(row->name, file, 0) && is_limit(file))
			return is_replaced(p, row->controller) ? NULL : row;
	}
	return NULL;
}

bool cgroup_props_is_new(const char *name, const char *value)
{
	static const struct {
		const char *name, *value;
	} values[] = {
		{ "cpu.max", "max 100000" },
		{ "cpu.max.burst", "0" },
		{ "cpu.weight", "100" },
		{ "cpu.idle", "0" },
		{ "cpu.cfs_burst_us", "0" },
		{ "cpu.uclamp.min", "0.00" },
		{ "cpu.uclamp.max", "max" },
		{ "cpuset.cpus.partition", "member" },
		{ "memory.min", "0" },
		{ "memory.low", "0" },
		{ "memory.high", "max" },
		{ "memory.swap.high", "max" },
		{ "memory.oom.group", "0" },
		{ "memory.zswap.writeback", "1" },
		{ "memory.use_hierarchy", "1" },
		{ "memory.move_charge_at_immigrate", "0" },
		{ "memory.*limit_in_bytes", "9223372036854771712" },
		{ "hugetlb.*.limit_in_bytes", "9223372036854771712" },
		{ "io.weight", "default 100" },
		{ "io.bfq.weight", "default 100" },
		{ "io.prio.class", "no-change" },
		{ "blkio.prio.class", "no-change" },
		{ "blkio.bfq.weight", "100" },
		{ "cgroup.pressure", "1" },
		{ "cgroup.freeze", "0" },
		{ "*.max", "max" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (!strcmp(values[i].value, value) && !fnmatch(values[i].name, name, 0))
			return true;
	return !*value; /* an empty list */
}

/* ---- --cgroup-props ---- */

/* The next text in quotes, or one of []:-, of a line. */
struct spec_reader {
	struct arena *arena;
	const char *at;
	int line;
};

/* 0: the end; '"': a text, copied; another character: itself. */
static char next_token(struct spec_reader *s, const char **text)
{
	const char *end;

	for (; *s->at && strchr(" \t\r\n,", *s->at); s->at++)
		s->line += *s->at == '\n';
	if (*s->at != '"')
		return *s->at ? *s->at++ : '\0';
	end = strchrnul(s->at + 1, '"');
	if (!*end)
		return '?';
	*text = memcpy(arena_alloc(s->arena, (size_t)(end - s->at)), s->at + 1, (size_t)(end - s->at - 1));
	s->at = end + 1;
	return '"';
}

static bool read_property_list(struct spec_reader *s, struct cgroup_props *p, const char *controller)
{
	const char *name = NULL;
	size_t rank;

	if (next_token(s, &name) != '[')
		return false;
	for (;;) {
		char token = next_token(s, &name);

		if (token == ']')
			return true;
		if (token != '"' || !*name || strchr(name, '/'))
			return false;
		/* One that is known keeps its place in the order. */
		if (cgroup_props_find(NULL, name, &rank))
			arena_push(s->arena, &p->added, &p->n_added,
			           ((struct cgroup_prop) { controller, name, table[rank].when }));
		else
			arena_push(s->arena, &p->added, &p->n_added,
			           ((struct cgroup_prop) { controller, name, CGROUP_LATE }));
	}
}

/* "NAME": what it is follows. */
static bool read_field(struct spec_reader *s, struct cgroup_props *p, const char *controller)
{
	const char *word = NULL, *how = NULL;

	if (next_token(s, &word) != '"' || next_token(s, &how) != ':')
		return false;
	if (!strcmp(word, "properties"))
		return read_property_list(s, p, controller);
	if (strcmp(word, "strategy") || next_token(s, &how) != '"')
		return false;
	if (!strcmp(how, "replace"))
		arena_push(s->arena, &p->replaced, &p->n_replaced, controller);
	return !strcmp(how, "replace") || !strcmp(how, "merge");
}

static bool read_spec(struct spec_reader *s, struct cgroup_props *p)
{
	const char *controller = NULL, *text = NULL;

	for (;;) {
		switch (next_token(s, &text)) {
		case '\0':
			return controller != NULL;
		case '"':
			controller = text;
			if (next_token(s, &text) != ':')
				return false;
			break;
		case '-':
			if (!controller || !read_field(s, p, controller))
				return false;
			break;
		default:
			return false;
		}
	}
}

int cgroup_props_parse(struct arena *a, const char *text, const char *from, struct cgroup_props *p)
{
	_cleanup_free_ char *file = NULL;
	struct spec_reader s = { .arena = a, .at = text, .line = 1 };
	int err = *text == '@' ? proc_read(AT_FDCWD, text + 1, &file, NULL) : 0;

	if (err)
		return log_errno(err, "%s: reading %s", from, text + 1);
	if (file)
		s.at = file;
	if (read_spec(&s, p))
		return 0;
	return log_errno(
	    -EINVAL,
	    "%s: line %d is not valid (as in: \"memory\":\\n - \"strategy\": \"merge\"\\n - \"properties\": "
	    "[\"memory.limit_in_bytes\"])",
	    from, s.line);
}
