#!/bin/bash
# words.sh ROOT - calls that are not made: unbounded string functions anywhere;
# the kernel's time, randomness, sockets and events outside proxy/io/kernel.c and the
# few files named below (so that all the rest can be simulated).
#
# SPDX-License-Identifier: ISC
set -u
cd "${1:-.}" || exit 2
here=$(dirname "$(readlink -f "$0")")
never='sprintf|vsprintf|strcpy|stpcpy|strcat|gets|strtok|alloca|atoi|atol'
kernel='time|gettimeofday|clock_gettime|usleep|nanosleep|sleep|rand|random|srand|srandom|getrandom|RAND_bytes|recv|recvfrom|recvmsg|send|sendto|sendmsg|epoll_wait|pthread_create|socket|connect|bind|listen|accept|accept4|shutdown|getpeername|getsockname|getsockopt|setsockopt|eventfd|close|read|write|event_assign|event_add|event_del|evtimer_assign|event_base_loop|poll|select'
may='^(proxy/io/kernel\.c|proxy/io/(listen|sockfile)\.c|proxy/io/uids\.c|health/(probe|http|resolve)\.[ch]|conf/(log|text)\.[ch]|proxy/notify\.[ch]|proxy/top/term\.c|proxy/http/web\.[ch]|proxy/(birth|daemon|registry|handoff|predecessor|successor|takeover|upgrade)\.[ch])$'
bad=0
while IFS= read -r f; do
	words=$never
	[[ $f =~ $may ]] || words="$never|$kernel"
	WORDS=$words F=$f perl -0777 -p "$here/strip.pl" "$f" | WORDS=$words F=$f perl -ne '
		# a call, not a member of that name, a declaration of our own or a define
		while (/(?<![\w>.])($ENV{WORDS})\s*\(/g) {
			print "$ENV{F}:$.: $1() is not called here\n"; $bad = 1;
		}
		END { exit($bad ? 1 : 0) }' || bad=1
done < <(find conf health pool proxy -name '*.[ch]' 2>/dev/null | sort)
exit $bad
