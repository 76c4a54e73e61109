#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only
# Perl: a growing hash, a child at the end of a pipe, alarm and signal handlers.
# zdtm: real
# zdtm: needs perl
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 3
use strict;
use warnings;

my ($ticks, $n, %h) = (0, 0);
$SIG{ALRM} = sub { $ticks++; alarm 1 };
alarm 1;
open(my $child, "|-", "cat > sums") or die;
select((select($child), $| = 1)[0]);
open(my $f, ">", "ready") or die;
close $f;
while (!-e "verify") {
	$n++;
	$h{"key$n"} = $n * $n;
	print $child $h{"key$n"}, "\n" if $n % 1000 == 0;
	select(undef, undef, undef, 0.005) if $n % 1000 == 0;
	delete $h{"key" . ($n - 50000)} if $n > 50000;
}
close $child;
my @fails;
push @fails, "the child ended with $?" if $?;
for my $i (($n > 50000 ? $n - 49999 : 1) .. $n) {
	push @fails, "key $i" if $h{"key$i"} != $i * $i;
}
open(my $s, "<", "sums") or die;
my $i = 0;
while (<$s>) {
	last if $i + 1000 > $n; # what a restore that was killed has written beyond stays in the file
	$i += 1000;
	push @fails, "line $. is $_" if $_ != $i * $i;
}
push @fails, "$i numbers of $n" if $i != int($n / 1000) * 1000;
open(my $r, ">>", "result") or die;
print $r "FAIL $_\n" for @fails[0 .. ($#fails > 4 ? 4 : $#fails)];
print $r "PASS\n";
