/* SPDX-License-Identifier: GPL-2.0-only */
#include "mnt/fs_kind.h"
#include "tree/kind.h"
#include "tree/ns_kind.h"
#include "tree/vma_kind.h"
#include "kinds.h"

#define DECLARE_FD(k)     extern const struct fd_kind k;
#define DECLARE_PART(k)   extern const struct task_part k;
#define DECLARE_VMA(k)    extern const struct vma_kind k;
#define DECLARE_NS(k)     extern const struct ns_kind k;
#define DECLARE_FS(k)     extern const struct fs_kind k;
#define DECLARE_SUBSYS(k) extern const struct subsys k;
#define ROW(k)            &k,

FD_KINDS(DECLARE_FD)
TASK_PARTS(DECLARE_PART)
VMA_KINDS(DECLARE_VMA)
NAMESPACE_KINDS(DECLARE_NS)
FS_KINDS(DECLARE_FS)
SUBSYSTEMS(DECLARE_SUBSYS)

const struct fd_kind *const fd_kinds[] = { FD_KINDS(ROW) NULL };
const struct task_part *const task_parts[] = { TASK_PARTS(ROW) NULL };
const struct vma_kind *const vma_kinds[] = { VMA_KINDS(ROW) NULL };
const struct ns_kind *const ns_kinds[] = { NAMESPACE_KINDS(ROW) NULL };
const struct fs_kind *const fs_kinds[] = { FS_KINDS(ROW) NULL };
const struct subsys *const subsystems[] = { SUBSYSTEMS(ROW) NULL };
