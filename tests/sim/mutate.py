#!/usr/bin/python3
# tests/sim/mutate.py - does the simulation notice? Each seeded bug of mutants.txt is
# built into the code under test, one at a time, and the simulation must fail within
# the number of seeds that stands there.
#
#   mutate.py BUILD [NAME...]     (make mutants; compiler and flags from the Makefile)
#
# SPDX-License-Identifier: ISC
import os
import re
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Mutant:
    def __init__(self, name, path, seeds, note):
        self.name, self.path, self.seeds, self.note = name, path, seeds, note
        self.old, self.new = [], []


def read_mutants(path):
    """# name file seeds: what it does, then lines with - (as it is) and + (the bug)."""
    mutants = []
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        if line.startswith("= "):
            m = re.fullmatch(r"= (\S+) (\S+) (\d+) (.+)", line)
            if not m:
                sys.exit(f"{path}:{number}: = NAME FILE SEEDS NOTE is expected")
            mutants.append(Mutant(m[1], m[2], int(m[3]), m[4]))
        elif line.startswith("-"):
            mutants[-1].old.append(line[1:])
        elif line.startswith("+"):
            mutants[-1].new.append(line[1:])
        elif line and not line.startswith("#"):
            sys.exit(f"{path}:{number}: a line begins with = - + or #")
    return mutants


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **more)


def build(m, out):
    """The binary with the bug, or a sentence that says why there is none."""
    text = open(m.path).read()
    old, new = "\n".join(m.old) + "\n", "\n".join(m.new) + "\n" if m.new else ""
    if text.count(old) != 1:
        return f"its lines occur {text.count(old)} times in {m.path}"
    where = os.path.join(out, m.name)
    os.makedirs(where, exist_ok=True)
    source = os.path.join(where, os.path.basename(m.path))
    with open(source, "w") as f:
        f.write(text.replace(old, new))
    obj = source[:-2] + ".o"
    flags = shlex.split(os.environ["MUTANT_CFLAGS"])
    done = run([os.environ["CC"], *flags, "-w", "-c", "-o", obj, source])
    if done.returncode:
        return "does not compile:\n" + done.stdout
    real = os.path.join(os.environ["BUILD"], m.path[:-2] + ".o")
    objects = shlex.split(os.environ["MUTANT_OBJ"])
    if real not in objects:
        return f"{real} is not part of the simulation"
    objects = [obj if o == real else o for o in objects]
    done = run([os.environ["CC"], *shlex.split(os.environ["MUTANT_LDFLAGS"]), "-o",
                os.path.join(where, "sim"), *objects, *shlex.split(os.environ["MUTANT_LDLIBS"])])
    return "does not link:\n" + done.stdout if done.returncode else None


def caught(m, out):
    """(after how many seeds, what was said) or (None, ...)."""
    sim = os.path.join(out, m.name, "sim")
    done = run([sim, "--from=1", f"--count={m.seeds}", "--jobs=2"])
    seed = re.search(r"^sim: seed (\d+): (.*)", done.stdout, re.M)
    if done.returncode == 0 or not seed:
        return None, done.stdout[-300:]
    return int(seed[1]), seed[2]


def main():
    names = sys.argv[1:]
    mutants = [m for m in read_mutants(os.path.join(HERE, "mutants.txt"))
               if not names or m.name in names]
    out = os.path.join(os.environ["BUILD"], "mutants")
    bad = 0
    print(f"{'mutant':<24} {'seeds':>5} {'found':>6}  what it does / what was said")
    for m in mutants:
        began = time.time()
        trouble = build(m, out)
        if trouble:
            print(f"{m.name:<24} {m.seeds:>5}  ERROR  {trouble}")
            bad += 1
            continue
        seed, said = caught(m, out)
        if seed is None:
            bad += 1
            print(f"{m.name:<24} {m.seeds:>5}   MISS  {m.note} ({time.time() - began:.0f} s)")
        else:
            print(f"{m.name:<24} {m.seeds:>5} {seed:>6}  {m.note}: {said[:110]}")
        sys.stdout.flush()
    print(f"mutants: {len(mutants)} seeded, {len(mutants) - bad} caught, {bad} not")
    return 1 if bad or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
