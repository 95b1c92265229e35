# SPDX-License-Identifier: MIT
"""Includes point down only: tool, bench, examples -> include/ -> channel, server, storage -> loop, medium, protocol -> wire -> os -> base."""
import os

import tree as trees

LAYERS = {"base": 0, "os": 1, "wire": 2, "loop": 3, "medium": 3, "protocol": 3, "channel": 4, "server": 4, "storage": 4}
USERS = ("tool", "bench", "examples")


def check(tree):
    complaints = []
    for path in tree.under("src", "include", *USERS, ends=(".c", ".h")):
        for line, target in trees.includes(tree.text(path)):
            why = wrong(tree, path, target)
            if why:
                complaints.append(f"{path}:{line} includes {target}: {why}")
    return complaints


def wrong(tree, path, target):
    """Why `path` may not include `target`; None if it may."""
    if target.startswith("telex/") and tree.has("include/" + target):
        return None
    top = path.split("/")[0]
    if top == "include":
        return "public headers stand alone"
    if top in USERS:
        if tree.has(os.path.normpath(os.path.join(os.path.dirname(path), target))) and not target.startswith("../"):
            return None
        return f"{top} sees only the public headers"
    if not tree.has("src/" + target):
        return "there is no such header below src or include"
    if path.count("/") == 1:
        return "a file directly in src includes only the public headers"
    mine, other = path.split("/")[1], target.split("/")[0]
    for folder in (mine, other):
        if folder not in LAYERS:
            return f"src/{folder} has no layer (tests/lint/layers.py)"
    if LAYERS[other] > LAYERS[mine]:
        return f"{mine} lies below {other}"
    return None
