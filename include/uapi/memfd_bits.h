/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/include/uapi/linux/memfd.h and fcntl.h: Linux 6.3. */
#ifndef CRIU_UAPI_MEMFD_BITS_H
#define CRIU_UAPI_MEMFD_BITS_H

#include <fcntl.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

#endif
