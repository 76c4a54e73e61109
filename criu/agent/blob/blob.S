/* SPDX-License-Identifier: GPL-2.0-only */
	.section .rodata
	.globl agent_blob, agent_blob_end
	.balign 16
agent_blob:
	.incbin BLOB
agent_blob_end:
	.section .note.GNU-stack, "", @progbits
