# SPDX-License-Identifier: MIT
"""The files of a source tree, as the lints see them, and the little C that they understand."""
import os
import re


class Tree:
    def __init__(self, root, build=None):
        self.root = root
        self.build = build  # a build directory, or None
        self.paths = []
        for directory, folders, files in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in (".git", "__pycache__") and not (directory == root and f.startswith("build")))
            self.paths += sorted(os.path.relpath(os.path.join(directory, file), root) for file in files)
        self.cache = {}

    def under(self, *folders, ends=""):
        """Paths below one of the folders ("" is everything) that end so."""
        return [p for p in self.paths if p.endswith(ends) and any(not f or p.startswith(f + "/") for f in folders)]

    def text(self, path):
        if path not in self.cache:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self.cache[path] = file.read()
        return self.cache[path]

    def has(self, path):
        return path in self.paths

    def scripts(self):
        return [p for p in self.paths if p.endswith((".py", ".sh")) or self.text(p).startswith("#!")]


def includes(text):
    """(line number, path) of each #include "..."."""
    return [(text.count("\n", 0, m.start()) + 1, m.group(1)) for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', text, re.M)]


def without_comments(text):
    """Comments become blanks, so that line numbers stay."""
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def prototypes(text):
    """(line number, name) of each function declared at the left margin of a header."""
    return [(text.count("\n", 0, m.start()) + 1, m.group(1)) for m in re.finditer(r"^[a-z][\w \*]*?\b(\w+)\((?!\*)", without_comments(text), re.M)]


def public_functions(tree):
    """Names of all functions of include/telex."""
    return {name for path in tree.under("include/telex", ends=".h") for _line, name in prototypes(tree.text(path))}


def functions(text):
    """(line number, lines) of each function: its braces stand on lines of their own at the left margin (.clang-format)."""
    found, start = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            found.append((start, number - start + 1))
            start = None
    return found
