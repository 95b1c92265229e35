#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs every lint over the source tree: run.py SOURCE [BUILD]."""
import sys

sys.dont_write_bytecode = True

import comments
import dead_files
import described
import house
import layers
import layouts
import symbols
import tree as trees

CHECKS = {
    "layers": layers.check,
    "layouts": layouts.check,
    "symbols": symbols.check,
    "comments": comments.check,
    "sources_built": dead_files.sources,
    "headers_included": dead_files.headers,
    "documents_reachable": dead_files.documents,
    "scripts_called": dead_files.scripts,
    "licences": house.licences,
    "sizes": house.sizes,
    "open_words": house.open_words,
    "options_described": described.options,
    "options_completed": described.completion,
    "packages_described": described.packages,
    "subcommands_described": described.subcommands,
    "functions_described": described.functions,
    "examples_built": described.examples,
}


def complaints_of(name, tree):
    try:
        return CHECKS[name](tree)
    except (OSError, AttributeError) as error:
        return [f"cannot look: {error}"]


def main():
    tree = trees.Tree(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    failed = False
    for name in CHECKS:
        complaints = complaints_of(name, tree)
        failed = failed or bool(complaints)
        print(f"not ok lint.{name} # {len(complaints)} complaints" if complaints else f"ok lint.{name}")
        for complaint in complaints:
            print("    " + complaint)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
