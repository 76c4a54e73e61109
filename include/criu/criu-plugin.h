/* SPDX-License-Identifier: MIT */
/*
 * What a plugin of criu's is compiled with, and has to look like: names, numbers and types are those of CRIU 4.2, whose
 * plugins compile against this file and run in this criu as they are. lint: table
 *
 * A plugin is a shared object with the suffix .so in the directory of plugins (--libdir, $CRIU_LIBS_DIR,
 * /usr/lib/criu). It has a descriptor, made by CR_PLUGIN_REGISTER(), and functions, the hooks, which
 * CR_PLUGIN_REGISTER_HOOK() enters into it. A hook returns 0, -ENOTSUP (what it was asked for is another plugin's), or
 * another negative errno, with which the command fails and everything is taken back; hooks that restore something
 * return what they have made. Hooks are called in the main thread of criu. One that crashes or is killed ends criu as
 * kill -9 does: nothing is lost.
 */
#ifndef CRIU_PLUGIN_H
#define CRIU_PLUGIN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CRIU_PLUGIN_GEN_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define CRIU_PLUGIN_VERSION_MAJOR        0
#define CRIU_PLUGIN_VERSION_MINOR        2
#define CRIU_PLUGIN_VERSION_SUBLEVEL     0
#define CRIU_PLUGIN_VERSION_OLD          CRIU_PLUGIN_GEN_VERSION(0, 1, 0)
#define CRIU_PLUGIN_VERSION                                                                                            \
	CRIU_PLUGIN_GEN_VERSION(CRIU_PLUGIN_VERSION_MAJOR, CRIU_PLUGIN_VERSION_MINOR, CRIU_PLUGIN_VERSION_SUBLEVEL)

/* Why a plugin is called. */
enum { CR_PLUGIN_STAGE__DUMP, CR_PLUGIN_STAGE__PRE_DUMP, CR_PLUGIN_STAGE__RESTORE, CR_PLUGIN_STAGE_MAX };

enum {
	/* (fd, id): a unix socket that is connected to one outside of the tree. (id): its new descriptor. */
	CR_PLUGIN_HOOK__DUMP_UNIX_SK = 0,
	CR_PLUGIN_HOOK__RESTORE_UNIX_SK = 1,

	/* (fd, id): a descriptor that criu cannot save. (id, &retry_needed): its new descriptor. */
	CR_PLUGIN_HOOK__DUMP_EXT_FILE = 2,
	CR_PLUGIN_HOOK__RESTORE_EXT_FILE = 3,

	/* (mountpoint, id): a mount whose source is outside. (id, mountpoint, old_root, &is_file): mounts it there. */
	CR_PLUGIN_HOOK__DUMP_EXT_MOUNT = 4,
	CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT = 5,

	/* (index, type, kind): a network device that criu cannot make; something else has made it at the restore. */
	CR_PLUGIN_HOOK__DUMP_EXT_LINK = 6,

	/* (fd, stat): whether a device may stay mapped; its pages are not saved. */
	CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA = 7,
	/* (path, address, offset, &new_offset, &fd): 1: what is to be mapped was set; 0: as it was. */
	CR_PLUGIN_HOOK__UPDATE_VMA_MAP = 8,

	/*
	 * (pid): a task runs still; all tasks stand still, and nothing was read of them; they stand still, and run on
	 * after this: at the end of a restore, and of a dump that does not end the tree.
	 */
	CR_PLUGIN_HOOK__RESUME_DEVICES_LATE = 9,
	CR_PLUGIN_HOOK__PAUSE_DEVICES = 10,
	CR_PLUGIN_HOOK__CHECKPOINT_DEVICES = 11,

	/* (): all processes exist; none exists yet. */
	CR_PLUGIN_HOOK__POST_FORKING = 12,
	CR_PLUGIN_HOOK__RESTORE_INIT = 13,

	/* (id): of each description that DUMP_EXT_FILE has taken, when all tasks have been read. */
	CR_PLUGIN_HOOK__DUMP_DEVICES_LATE = 14,

	CR_PLUGIN_HOOK__MAX
};

#define DECLARE_PLUGIN_HOOK_ARGS(__hook, ...) typedef int(__hook##_t)(__VA_ARGS__)

DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_UNIX_SK, int fd, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_UNIX_SK, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_FILE, int fd, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_EXT_FILE, int id, bool *retry_needed);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_MOUNT, char *mountpoint, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT, int id, char *mountpoint, char *old_root, int *is_file);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_LINK, int index, int type, char *kind);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA, int fd, const struct stat *stat);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__UPDATE_VMA_MAP, const char *path, const uint64_t addr,
                         const uint64_t old_pgoff, uint64_t *new_pgoff, int *plugin_fd);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PAUSE_DEVICES, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__POST_FORKING, void);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_INIT, void);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_DEVICES_LATE, int id);

/* The symbol CR_PLUGIN_DESC of a plugin. */
typedef struct {
	const char *name;
	int (*init)(int stage); /* before anything is done; an error ends the command */
	void (*exit)(int stage, int ret);
	unsigned int version;
	unsigned int max_hooks;
	void *hooks[CR_PLUGIN_HOOK__MAX];
} cr_plugin_desc_t;

extern cr_plugin_desc_t CR_PLUGIN_DESC __attribute__((visibility("default")));

#define CR_PLUGIN_REGISTER(___name, ___init, ___exit)                                                                  \
	cr_plugin_desc_t CR_PLUGIN_DESC = {                                                                            \
		.name = ___name,                                                                                       \
		.init = ___init,                                                                                       \
		.exit = ___exit,                                                                                       \
		.version = CRIU_PLUGIN_VERSION,                                                                        \
		.max_hooks = CR_PLUGIN_HOOK__MAX,                                                                      \
	};

static inline int cr_plugin_dummy_init(int stage)
{
	(void)stage;
	return 0;
}

static inline void cr_plugin_dummy_exit(int stage, int ret)
{
	(void)stage;
	(void)ret;
}

#define CR_PLUGIN_REGISTER_DUMMY(___name) CR_PLUGIN_REGISTER(___name, cr_plugin_dummy_init, cr_plugin_dummy_exit)

/* Enters a function; the compiler sees whether it is of the hook's type. */
#define CR_PLUGIN_REGISTER_HOOK(__hook, __func)                                                                        \
	static void __attribute__((constructor)) cr_plugin_register_hook_##__func(void)                                \
	{                                                                                                              \
		__hook##_t *hook_function = __func;                                                                    \
                                                                                                                       \
		CR_PLUGIN_DESC.hooks[__hook] = (void *)hook_function;                                                  \
	}

/* ---- what criu has for plugins ---- */

/* A descriptor of the image directory, for *at() calls; criu's, not to be closed. */
extern int criu_get_image_dir(void);

/*
 * The checkpoint's list of plugins. At a dump: a restore is refused without the plugin of this name. At a restore:
 * whether the list has the name.
 */
extern int add_inventory_plugin(const char *name);
extern bool check_and_remove_inventory_plugin(const char *name, size_t n);

/* Ours, not CRIU's: --timeout in seconds, 0 if there is no limit. */
extern unsigned int criu_get_timeout(void) __attribute__((weak));

/* The types of plugins without a descriptor, which are not loaded any more. */
typedef int(cr_plugin_init_t)(void);
typedef void(cr_plugin_fini_t)(void);
typedef int(cr_plugin_dump_unix_sk_t)(int fd, int id);
typedef int(cr_plugin_restore_unix_sk_t)(int id);
typedef int(cr_plugin_dump_file_t)(int fd, int id);
typedef int(cr_plugin_restore_file_t)(int id);
typedef int(cr_plugin_dump_ext_mount_t)(char *mountpoint, int id);
typedef int(cr_plugin_restore_ext_mount_t)(int id, char *mountpoint, char *old_root, int *is_file);
typedef int(cr_plugin_dump_ext_link_t)(int index, int type, char *kind);

#ifdef __cplusplus
}
#endif

#endif
