#!/bin/bash
# globals.sh OBJECT... - no writable symbol with static storage: nothing in
# .data, .bss, .tdata, .tbss or common. Constant tables with pointers
# (.data.rel.ro) are fine: the loader makes them read-only.
#
# SPDX-License-Identifier: ISC
set -u
[ $# -gt 0 ] || { echo "globals: no objects given"; exit 2; }
out=$(LC_ALL=C objdump -t -- "$@") || exit 2
# objdump -t: value, 7 flag columns, section, TAB size, name. d = section symbol.
bad=$(printf '%s\n' "$out" | perl -ne '
	if (/^(\S+):\s+file format/) { $obj = $1; next; }
	next unless /^[0-9a-f]+ (.{7}) (\S+)\t[0-9a-f]+ (?:\.hidden |0x\S+ )*(.+)$/;
	my ($flags, $sec, $name) = ($1, $2, $3);
	next if $flags =~ /d/ || $flags =~ /f/;
	next if $sec =~ /^\.data\.rel\.ro/;
	next unless $sec =~ /^(\.t?data|\.t?bss)(\.|$)/ || $sec eq "*COM*";
	next if $name =~ /^(__(a|t|m|ub)san|__sancov|__gcov|__odr_asan|\.LC|\.Lubsan)/;
	print "$obj: $name is writable and lives for ever ($sec)\n";')
[ -z "$bad" ] && exit 0
printf '%s\n' "$bad"
exit 1
