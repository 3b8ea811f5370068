#!/bin/bash
# Shows that each lint here catches what it is for: plants one violation after
# the other in a little house of its own and demands that the lint fails and
# says where, and that the clean house passes.
#
# SPDX-License-Identifier: ISC
set -u
here=$(dirname "$(readlink -f "$0")")
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
failed=0 n=0

house() { # a clean one
	rm -rf "${dir:?}/h"
	mkdir -p "$dir/h"/{conf,health,pool,proxy/{wire,io,session,console}}
	cd "$dir/h" || exit 2
	echo '#define KEY' >conf/keys.def
	printf '/* time( and strcpy( in a comment */\n#include "conf/keys.def"\nint conf_a(void);\n' >conf/a.h
	printf '#include "conf/a.h"\nstatic const char *const t[] = { "sprintf(", 0 };\nint conf_a(void)\n{\n\treturn t[0] != 0;\n}\n' >conf/a.c
	printf '#include "conf/a.h"\nint pool_a(void);\n' >pool/a.h
	printf '#include "pool/a.h"\nstruct w {\n\tint (*send)(int);\n};\nint pool_a(void)\n{\n\tstruct w w = { 0 };\n\treturn w.send(1);\n}\n' >pool/a.c
	printf '#include "wire/b.h"\nint wire_a(void);\n' >proxy/wire/a.h
	printf 'int wire_b(void);\n' >proxy/wire/b.h
	printf '#include "io/s.h"\nint io_s(void)\n{\n\treturn time(0);\n}\n' >proxy/io/kernel.c
	printf '#include "wire/a.h"\n#include "pool/a.h"\nint io_s(void);\n' >proxy/io/s.h
	printf '#include "io/s.h"\nint session_c(void);\n' >proxy/session/c.h
	printf '#include "session/c.h"\n' >proxy/console/d.h
	printf '#include "console/d.h"\n' >proxy/main.c
}

passes() { # NAME COMMAND...
	n=$((n + 1))
	local name=$1 out
	shift
	out=$("$@" 2>&1) && return
	echo "selftest: $name: fails on a clean house:" && echo "$out"
	failed=1
}

catches() { # NAME WHAT-IT-MUST-SAY COMMAND...
	n=$((n + 1))
	local name=$1 say=$2 out
	shift 2
	if out=$("$@" 2>&1); then
		echo "selftest: $name: not caught"
		failed=1
	elif ! grep -q -- "$say" <<<"$out"; then
		echo "selftest: $name: caught, but does not say '$say':" && echo "$out"
		failed=1
	fi
}

house
passes layers "$here/layers.sh" .
passes functions "$here/functions.sh" .
passes words "$here/words.sh" .

house; echo '#include "pool/a.h"' >>conf/a.c
catches 'conf sees pool' 'conf/a.c:7: conf/ may not see pool/' "$here/layers.sh" .
house; echo '#include "io/s.h"' >>proxy/wire/a.h
catches 'wire sees io' 'proxy/wire/a.h:3' "$here/layers.sh" .
house; echo '#include "session/c.h"' >>proxy/io/kernel.c
catches 'io sees session' 'proxy/io/ may not see proxy/session/' "$here/layers.sh" .
house; echo '#include "proxy/wire/b.h"' >>pool/a.c
catches 'pool sees wire, full name' 'pool/ may not see proxy/wire/' "$here/layers.sh" .
house; mkdir proxy/top; printf '#include "conf/a.h"\n#include "pool/a.h"\n' >proxy/top/t.c
catches 'top sees pool' 'proxy/top/t.c:2: proxy/top/ is a client' "$here/layers.sh" .
house; mkdir proxy/top; echo >proxy/top/t.h; echo '#include "top/t.h"' >>proxy/wire/a.h
catches 'wire sees top' 'proxy/wire/ may not see proxy/top/' "$here/layers.sh" .
house; echo '#include "nowhere.h"' >>pool/a.c
catches 'no such header' 'nowhere.h' "$here/layers.sh" .
house; echo '#include "wire/a.h"' >>proxy/wire/b.h
catches 'circle of two' 'proxy/wire/a' "$here/layers.sh" .
house; printf '#include "c.h"\n' >proxy/wire/b.h; printf '#include "a.h"\n' >proxy/wire/c.h
catches 'circle of three' 'proxy/wire/c' "$here/layers.sh" .
house; mkdir proxy/attic; echo >proxy/attic/a.c
catches 'unknown folder' 'attic' "$here/layers.sh" .

house; { printf 'int f(void)\n{\n'; for i in $(seq 78); do echo '	f();'; done; printf '}\n'; } >pool/f.c
passes 'function of 80' "$here/functions.sh" .
house; { printf 'int f(void)\n{\n'; for i in $(seq 79); do echo '	f();'; done; printf '}\n'; } >pool/f.c
catches 'function of 81' 'pool/f.c:2: f() has 81 lines' "$here/functions.sh" .
house; printf 'int f(void) {\n\treturn 1;\n}\n' >pool/f.c
catches 'brace on the line' 'pool/f.c:1' "$here/functions.sh" .
house; yes 'int x(void);' | head -n 801 >pool/f.h
catches 'file of 801' 'pool/f.h: 801 lines' "$here/functions.sh" .

for w in sprintf strcpy strcat gets; do
	house; printf 'int f(void)\n{\n\t%s (x);\n}\n' $w >proxy/io/w.c
	catches "$w in io" "proxy/io/w.c:3: $w()" "$here/words.sh" .
done
for w in time random recv send clock_gettime event_add close; do
	house; printf 'int f(void)\n{\n\treturn %s(x);\n}\n' $w >pool/w.c
	catches "$w in pool" "pool/w.c:3: $w()" "$here/words.sh" .
	cp pool/w.c proxy/io/stream.c
	catches "$w in io" "proxy/io/stream.c:3: $w()" "$here/words.sh" .
	rm proxy/io/stream.c
	cp pool/w.c proxy/io/uids.c; cp pool/w.c proxy/daemon.c; cp pool/w.c proxy/registry.c; cp pool/w.c conf/log.c; cp pool/w.c health/probe.c; cp pool/w.c health/resolve.c; cp pool/w.c health/http.c; mv pool/w.c proxy/notify.c
	passes "$w where it may be" "$here/words.sh" .
done

house
cc=${CC:-cc}
echo 'static const int k = 1; static const char *const t[] = { "a" }; int f(int i); int f(int i) { return k + t[0][i]; }' >g.c
$cc -fPIE -c g.c -o g.o && passes globals "$here/globals.sh" g.o
plant() { # NAME SYMBOL CODE
	echo "$3 int f(void); int f(void) { return (int)++x; }" >g.c
	$cc -std=c11 -fPIE -O2 -c g.c -o g.o || exit 2
	catches "$1" "g.o: $2" "$here/globals.sh" g.o
}
plant 'global .bss' x 'int x;'
plant 'static .data' x 'static int x = 7;'
plant 'common' x 'extern int x; __attribute__((common)) int x;'
plant 'thread local' x 'static _Thread_local int x;'
plant 'thread local with value' x '_Thread_local int x = 3;'
echo 'int f(void); int f(void) { static unsigned n; return (int)n++; }' >g.c
$cc -fPIE -c g.c -o g.o
catches 'static in a function' 'g.o: n' "$here/globals.sh" g.o

[ $failed = 0 ] && echo "lint selftest: $n cases passed"
exit $failed
