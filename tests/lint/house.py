# SPDX-License-Identifier: MIT
"""Habits of the house: licence lines, sizes, nothing left open."""
import re

import tree as trees

FILE_LINES = 700
FUNCTION_LINES = 100
OPEN_WORDS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


def licences(tree):
    wanted = set(tree.under("", ends=(".c", ".h", ".map", "meson.build", ".1", ".3", "Makefile"))) | set(tree.scripts())
    return [f"{path}: no SPDX-License-Identifier in its first lines" for path in sorted(wanted) if "SPDX-License-Identifier: MIT" not in "".join(tree.text(path).splitlines(True)[:3])]


def sizes(tree):
    complaints = []
    for path in tree.under("", ends=(".c", ".h")):
        text = tree.text(path)
        if text.count("\n") > FILE_LINES:
            complaints.append(f"{path}: {text.count(chr(10))} lines; more than {FILE_LINES} hide what a file is about")
        complaints += [f"{path}:{line} a function of {length} lines; {FUNCTION_LINES} at most" for line, length in trees.functions(text) if length > FUNCTION_LINES]
    return complaints


def open_words(tree):
    complaints = []
    for path in sorted(set(tree.under("", ends=(".c", ".h", ".md", "meson.build", "Makefile"))) | set(tree.scripts())):
        for match in OPEN_WORDS.finditer(tree.text(path)):
            complaints.append(f"{path}:{tree.text(path).count(chr(10), 0, match.start()) + 1} says {match.group()}: do it, or file it as an issue")
    return complaints
