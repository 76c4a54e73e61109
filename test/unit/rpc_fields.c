/* SPDX-License-Identifier: GPL-2.0-only */
/* Fields of criu_opts and the table of options: none is without a reader, and values arrive as the command line has
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "options/options_request.h"
#include "rpc/rpc_fields.h"

static void every_field_has_a_reader(void **state)
{
	for (unsigned i = 0; i < criu_opts__descriptor.n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &criu_opts__descriptor.fields[i];

		if (!rpc_fields_special(f) && !rpc_fields_option(f))
			fail_msg("%s: no option, and not special", f->name);
	}
}

static int fill(struct options *o, enum command command, const CriuOpts *m)
{
	const struct options caller = { .no_default_config = true };
	int err = options_begin_request(o, command, &caller);

	return err ?: rpc_fields_apply(o, m);
}

static void values_arrive(void **state)
{
	ExtMountMap mount = EXT_MOUNT_MAP__INIT, *mounts[] = { &mount, &mount };
	CgroupRoot bare = CGROUP_ROOT__INIT, named = CGROUP_ROOT__INIT, *roots[] = { &bare, &named };
	CriuOpts m = CRIU_OPTS__INIT;
	struct options o;

	mount.key = (char *)"/a:b";
	mount.val = (char *)"/c";
	bare.path = named.path = (char *)"/x";
	named.ctrl = (char *)"";
	m.ext_mnt = mounts;
	m.cg_root = roots;
	m.n_ext_mnt = m.n_cg_root = 2;
	m.has_pid = m.has_log_level = m.has_tcp_established = m.has_manage_cgroups_mode = m.has_cpu_cap = true;
	m.has_network_lock = m.has_ghost_limit = m.has_lazy_pages = true;
	m.pid = 77;
	m.log_level = 4;
	m.tcp_established = true;
	m.manage_cgroups_mode = CRIU_CG_MODE__FULL;
	m.cpu_cap = CPU_CAP_FPU;
	m.network_lock = CRIU_NETWORK_LOCK_METHOD__SKIP;
	m.ghost_limit = 1 << 20;
	assert_int_equal(fill(&o, CMD_DUMP, &m), 0);
	assert_int_equal(o.tree, 77);
	assert_int_equal(o.verbosity, 4);
	assert_true(o.tcp_established);
	assert_int_equal(o.manage_cgroups, MANAGE_CGROUPS_FULL);
	assert_int_equal(o.cpu_cap, CPU_CAP_FPU | CPU_CAP_GIVEN);
	assert_int_equal(o.network_lock, NETWORK_LOCK_SKIP);
	assert_int_equal(o.ghost_limit, 1 << 20);
	assert_int_equal(o.n_external, 2);
	assert_string_equal(o.external[0], "mnt[/a:b]:/c");
	assert_string_equal(o.cgroup_roots[0], "/x");
	assert_string_equal(o.cgroup_roots[1], ":/x");
	options_free(&o);
}

static void what_is_wrong_is_refused(void **state)
{
	CriuOpts mode = CRIU_OPTS__INIT, none = CRIU_OPTS__INIT;
	struct options o;

	mode.has_manage_cgroups_mode = true;
	mode.manage_cgroups_mode = (CriuCgMode)99;
	assert_int_equal(fill(&o, CMD_DUMP, &mode), -EINVAL);
	options_free(&o);
	none.has_pid = none.has_timeout = true;
	none.root = (char *)"";
	assert_int_equal(fill(&o, CMD_DUMP, &none), 0);
	assert_int_equal(o.tree, 0);
	assert_null(o.root);
	options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_has_a_reader),
		cmocka_unit_test(values_arrive),
		cmocka_unit_test(what_is_wrong_is_refused),
	};

	log_init(-1, LOG_MSG);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
