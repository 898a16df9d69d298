#!/usr/bin/env python3
"""Applies a unified diff to the files of this directory, exactly or not at all.

    python3 apply_patch.py fix.patch

For machines without `patch` and `git`. A hunk that does not fit at its line is refused; a patch that is applied already
changes nothing and is no error.
"""

import pathlib
import re
import sys

HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


class PatchError(Exception):
    """The patch cannot be applied; the text says why."""


def read(text):
    """Returns, for each file, its hunks: the first old line, the old lines and the new lines."""
    files, hunks = {}, None
    for line in text.splitlines():
        if line.startswith("+++ "):
            name = line[4:].split("\t")[0]
            hunks = files.setdefault(name.removeprefix("b/"), [])
        elif match := HUNK.match(line):
            if hunks is None:
                raise PatchError("a hunk stands before the name of its file")
            hunks.append((int(match[1]), [], []))
        elif hunks and line[:1] in (" ", "-", "+", "") and not line.startswith("--- "):
            _, old, new = hunks[-1]
            if line[:1] != "+":
                old.append(line[1:])
            if line[:1] != "-":
                new.append(line[1:])
    if not files:
        raise PatchError("it holds no file")
    return files


def apply(root, files):
    """Applies all hunks, or raises before anything is written. Returns what happened to each file."""
    results = {}
    for name, hunks in files.items():
        path = (root / name).resolve()
        if root not in path.parents:
            raise PatchError(f"{name} lies outside of {root}")
        lines = path.read_text(encoding="utf-8").split("\n")
        shift, done = 0, 0
        for start, old, new in hunks:
            at = start - 1 + shift
            if lines[at : at + len(old)] == old:
                lines[at : at + len(old)] = new
            elif lines[at : at + len(new)] == new:
                done += 1
            else:
                raise PatchError(f"{name}, line {start}: the file is not what the patch expects")
            shift += len(new) - len(old)
        results[path] = (name, None if done == len(hunks) else "\n".join(lines))
    for path, (_, text) in results.items():
        if text is not None:
            path.write_text(text, encoding="utf-8")
    return [(name, text is not None) for name, text in results.values()]


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(__file__).resolve().parent
    try:
        results = apply(root, read(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    except (PatchError, OSError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    for name, changed in results:
        print(f"{name}: {'patched' if changed else 'has the patch already'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
