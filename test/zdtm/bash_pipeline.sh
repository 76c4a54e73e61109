#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A pipeline of four processes that never rests: every number arrives once and in order.
# zdtm: real
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 3
. "$ZDTM/lib/lib.sh"

produce() {
	local i=0
	while [ ! -e "$T/stop" ]; do
		echo "x$i"
		i=$((i + 1))
	done
	echo "$i" > "$T/count"
}

consume() {
	local n=0 line
	while read -r line; do
		[ "$line" = "X$n" ] || fail "line $n is $line"
		n=$((n + 1))
	done
	[ "$n" = "$(cat "$T/count")" ] || fail "$n lines came"
	[ "$n" -gt 100 ] || fail "only $n lines"
}

produce | tr a-z A-Z | cat | consume &
ready
wait_verify
: > stop
wait
pass
