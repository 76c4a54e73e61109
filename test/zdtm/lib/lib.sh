# SPDX-License-Identifier: GPL-2.0-only
# What zdtm.h is for C, for scripts. Sleeps by `read -t` from a FIFO, so that no other process comes and goes.
T=$PWD
mkfifo "$T/.nap" && exec 9<>"$T/.nap"

nap() { read -r -t "${1:-0.02}" -u 9 _ || true; }
ready() { : > "$T/ready"; }
# Rests nearly always: between two naps bash has no signal blocked, which a look may see once in some hundred short ones.
wait_verify() { while [ ! -e "$T/verify" ]; do nap 0.3; done; }
fail() { echo "FAIL $*" >> "$T/result"; }
check() { local words=$1; shift; "$@" || fail "$words"; }
skip() { echo "SKIP $*" >> "$T/result"; exit 77; }
pass() { echo PASS >> "$T/result"; exit 0; }
