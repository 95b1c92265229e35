# SPDX-License-Identifier: MIT
"""Every function of the public headers has a comment directly before it, or directly before the group that it stands in."""
import tree as trees


def check(tree):
    complaints = []
    for path in tree.under("include/telex", ends=".h"):
        lines = tree.text(path).splitlines()
        starts = dict(trees.prototypes(tree.text(path)))
        documented = False
        for number, line in enumerate(lines, 1):
            if line.rstrip().endswith("*/") and not line.lstrip().startswith("/* ----"):
                documented = True
            elif not line.strip():
                documented = False
            elif number in starts and not documented:
                complaints.append(f"{path}:{number} {starts[number]} has no comment directly before it")
    return complaints
