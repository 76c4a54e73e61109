/* SPDX-License-Identifier: GPL-2.0-only */
/* The type of the file system of message queues, which linux/ipc/mqueue.c keeps to itself. */
#ifndef UAPI_MQUEUE_H
#define UAPI_MQUEUE_H

#define MQUEUE_MAGIC 0x19800202

#endif
