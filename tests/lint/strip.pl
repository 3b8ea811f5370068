#!/usr/bin/perl -0777 -p
# Blanks comments, strings and character constants, and keeps every newline, so
# that what is left can be searched by line. Used by the other scripts here.
#
# SPDX-License-Identifier: ISC
s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}
 {my $t = $1; my $q = substr($t, 0, 1); $t =~ s/[^\n]//g; $q eq '/' ? " $t" : "$q$q$t"}gse;
