# SPDX-License-Identifier: MIT
"""libtelex.map, libtelex.so and the public headers name the same functions, and every global name of the library begins with telex_."""
import os
import re
import subprocess

import tree as trees


def check(tree):
    public = trees.public_functions(tree)
    listed = mapped(tree)
    complaints = [f"{name}: not in libtelex.map" for name in sorted(public - listed)]
    complaints += [f"{name}: in libtelex.map, but in no public header" for name in sorted(listed - public)]
    if not tree.build:
        return complaints
    exported = names(os.path.join(tree.build, "src/libtelex.so"), "-D")
    complaints += [f"{name}: not exported by libtelex.so" for name in sorted(public - exported)]
    complaints += [f"{name}: exported by libtelex.so, but in no public header" for name in sorted(exported - public)]
    globals_ = names(os.path.join(tree.build, "src/libtelex.a"))
    complaints += [f"{name}: global in libtelex.a without the prefix telex_" for name in sorted(globals_) if not name.startswith("telex_")]
    return complaints


def mapped(tree):
    text = trees.without_comments(tree.text("libtelex.map"))
    return set(re.findall(r"^\s*(\w+);", text.split("local:")[0], re.M))


def names(file, *options):
    """Global functions and data that `file` defines."""
    result = subprocess.run(["nm", "--defined-only", "--extern-only", "--no-sort", *options, file], capture_output=True, text=True, check=True)
    found = re.findall(r"^[0-9a-f]+ ([TDBRVW]) (\w+)", result.stdout, re.M)
    return {name for _kind, name in found if not name.startswith(("__asan", "__odr_asan", "__tsan", "__ubsan"))}
