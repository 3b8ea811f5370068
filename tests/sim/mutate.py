#!/usr/bin/python3
# tests/sim/mutate.py - does the simulation notice? Each seeded bug of mutants.txt is
# built into the code under test, one at a time, and the simulation must fail within
# the number of seeds that stands there, with a seed that passes without the bug.
#
#   mutate.py [--seeds=N] [--jobs=N] [--markdown] [NAME...]   (make mutants; compiler and
#                                                              flags from the Makefile)
#   mutate.py --build=PROGRAM --list=FILE --out=DIR [NAME...]
#
# --seeds=N: instead of the number that stands there. --jobs=N: seeds at a time, 2.
# --build: only builds DIR/NAME/PROGRAM with each bug of another list (make history-mutants).
#
# SPDX-License-Identifier: ISC
import argparse
import os
import re
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# So many seeds at a time: few at first, as most bugs need few.
FIRST, MORE = 8, 160


class Hunk:
    def __init__(self, path):
        self.path, self.old, self.new = path, [], []


class Mutant:
    def __init__(self, name, path, seeds, dialect, note):
        self.name, self.seeds, self.dialect, self.note = name, seeds, dialect, note
        self.hunks = [Hunk(path)]


def read_mutants(path):
    """See the head of mutants.txt."""
    mutants = []
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        m = re.fullmatch(r"= (\S+) (\S+) (\d+) (?:dialect=(\d) )?(.+)", line)
        if m:
            mutants.append(Mutant(m[1], m[2], int(m[3]), int(m[4] or 1), m[5]))
        elif line.startswith("@ "):
            mutants[-1].hunks.append(Hunk(line[2:]))
        elif line.startswith("-"):
            if mutants[-1].hunks[-1].new:
                mutants[-1].hunks.append(Hunk(mutants[-1].hunks[-1].path))
            mutants[-1].hunks[-1].old.append(line[1:])
        elif line.startswith("+"):
            mutants[-1].hunks[-1].new.append(line[1:])
        elif line and not line.startswith("#"):
            sys.exit(f"{path}:{number}: = NAME FILE SEEDS [dialect=N] NOTE, @ - + or #")
    return mutants


def run(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")


def seeded(m):
    """The text of each file with the bug, or a sentence that says why there is none."""
    texts = {}
    for h in m.hunks:
        if not h.old:
            continue
        text = texts.get(h.path) or open(h.path).read()
        old = "\n".join(h.old) + "\n"
        if text.count(old) != 1:
            return f"its lines occur {text.count(old)} times in {h.path}: {h.old[0].strip()}"
        texts[h.path] = text.replace(old, "\n".join(h.new) + "\n" if h.new else "")
    return texts


def build(m, out, program="sim"):
    """Makes OUT/NAME/PROGRAM with the bug: None, or a sentence that says why there is none."""
    texts = seeded(m)
    if isinstance(texts, str):
        return texts
    where = os.path.join(out, m.name)
    os.makedirs(where, exist_ok=True)
    objects = shlex.split(os.environ["MUTANT_OBJ"])
    for path, text in texts.items():
        source = os.path.join(where, os.path.basename(path))
        with open(source, "w") as f:
            f.write(text)
        obj = source[:-2] + ".o"
        done = run([os.environ["CC"], *shlex.split(os.environ["MUTANT_CFLAGS"]), "-w", "-c",
                    "-o", obj, source])
        if done.returncode:
            return "does not compile:\n" + done.stdout
        real = os.path.join(os.environ["BUILD"], path[:-2] + ".o")
        if real not in objects:
            return f"{real} is not part of {program}"
        objects = [obj if o == real else o for o in objects]
    done = run([os.environ["CC"], *shlex.split(os.environ["MUTANT_LDFLAGS"]), "-o",
                os.path.join(where, program), *objects, *shlex.split(os.environ["MUTANT_LDLIBS"])])
    return "does not link:\n" + done.stdout if done.returncode else None


def first_failure(sim, m, begin, count, jobs):
    """The lowest seed that fails and what was said, or None."""
    done = run([sim, f"--from={begin}", f"--count={count}", f"--jobs={jobs}",
                f"--dialect={m.dialect}"])
    failed = re.findall(r"^sim: seed (\d+): (.*)", done.stdout, re.M)
    if done.returncode and not failed:
        sys.exit(f"{sim}: {done.stdout[-300:]}")
    return min(((int(seed), said) for seed, said in failed), default=None)


def caught(m, out, seeds, jobs):
    """(the first seed that noticed, what was said), or None."""
    at, size = 1, FIRST
    while at <= seeds:
        count = min(size, seeds - at + 1)
        found = first_failure(os.path.join(out, m.name, "sim"), m, at, count,
                              jobs)
        if not found:
            at, size = at + count, MORE
        elif run([os.path.join(os.environ["BUILD"], "sim"), f"--seed={found[0]}",
                  f"--dialect={m.dialect}"]).returncode:
            at = found[0] + 1  # not the bug's doing
        else:
            return found
    return None


def build_all(mutants, out, program):
    bad = 0
    for m in mutants:
        trouble = build(m, out, program)
        bad += bool(trouble)
        print(f"  MUTANT   {os.path.join(out, m.name, program)}{': ' + trouble if trouble else ''}",
              flush=True)
    return 1 if bad or not mutants else 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seeds", type=int)
    ap.add_argument("--build", metavar="PROGRAM")
    ap.add_argument("--list", metavar="FILE", default=os.path.join(HERE, "mutants.txt"))
    ap.add_argument("--out", default=os.path.join(os.environ["BUILD"], "mutants"))
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--markdown", action="store_true")
    ap.add_argument("names", nargs="*")
    args = ap.parse_args()
    mutants = [m for m in read_mutants(args.list)
               if not args.names or m.name in args.names]
    unknown = set(args.names) - {m.name for m in mutants}
    if unknown:
        sys.exit(f"no such mutant: {', '.join(sorted(unknown))}")
    if args.build:
        return build_all(mutants, args.out, args.build)
    out = args.out
    bad, began = 0, time.time()
    if args.markdown:
        print("| mutant | what it does | first seed | what was said |\n|---|---|---|---|")
    for m in mutants:
        start, seeds = time.time(), args.seeds or m.seeds
        trouble = build(m, out)
        found = None if trouble else caught(m, out, seeds, args.jobs)
        bad += not found
        said = trouble or (found[1] if found else "nothing")
        if args.markdown:
            print(f"| {m.name} | {m.note} | {found[0] if found else '-'} | {said[:160]} |")
        else:
            word = "ERROR" if trouble else str(found[0]) if found else "MISS"
            print(f"{m.name:<24} {seeds:>5} {word:>6} {time.time() - start:4.0f} s  "
                  f"{m.note}: {said[:trouble and 2000 or 110]}")
        sys.stdout.flush()
    print(f"\nmutants: {len(mutants)} seeded, {len(mutants) - bad} caught, {bad} not, in "
          f"{time.time() - began:.0f} s")
    return 1 if bad or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
