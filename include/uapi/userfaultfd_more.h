/* SPDX-License-Identifier: GPL-2.0-only */
/* What linux/userfaultfd.h of older kernels lacks (linux/include/uapi/linux/userfaultfd.h). */
#ifndef CRIU_UAPI_USERFAULTFD_MORE_H
#define CRIU_UAPI_USERFAULTFD_MORE_H

#include <linux/userfaultfd.h>

#ifndef UFFDIO_POISON /* Linux 6.6 */
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#ifndef UFFD_FEATURE_WP_UNPOPULATED /* Linux 6.4 */
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

#ifndef UFFD_FEATURE_WP_ASYNC /* Linux 6.7 */
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* What tracking of memory asks UFFDIO_API for. */
#define UFFD_WP_TRACKED           (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
#define UFFD_TRACK_FEATURES       (UFFD_WP_TRACKED | UFFD_FEATURE_WP_ASYNC)

/* What fdinfo shows beside the features that UFFDIO_API asked for: that it was called at all (fs/userfaultfd.c). */
#define UFFD_FEATURES_INITIALIZED (UINT64_C(1) << 31)

#endif
