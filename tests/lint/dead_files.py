# SPDX-License-Identifier: MIT
"""Nothing lies around unused: sources are built, headers included, documents reachable from README.md, scripts called."""
import os
import re

import tree as trees


def sources(tree):
    return [f"{path}: in no meson.build" for path in tree.under("", ends=".c") if not built(tree, path)]


def built(tree, path):
    """Whether a meson.build in its folder or above names it, with or without the ending."""
    folder = os.path.dirname(path)
    while True:
        meson = os.path.join(folder, "meson.build")
        name = os.path.relpath(path, folder or ".")
        if tree.has(meson):
            quoted = {re.escape(each) for each in (name, os.path.splitext(name)[0], os.path.splitext(os.path.basename(name))[0])}
            if re.search(r"'(" + "|".join(quoted) + r")'", tree.text(meson)):
                return True
        if not folder:
            return False
        folder = os.path.dirname(folder)


def headers(tree):
    named = {os.path.basename(target) for path in tree.under("", ends=(".c", ".h")) for _line, target in trees.includes(tree.text(path)) if os.path.basename(target) != os.path.basename(path)}
    named |= {os.path.basename(name) for path in tree.under("", ends="meson.build") for name in re.findall(r"'([^']+\.h)'", tree.text(path))}
    return [f"{path}: included by nobody" for path in tree.under("", ends=".h") if os.path.basename(path) not in named]


def documents(tree):
    reached, waiting, complaints = set(), ["README.md"], []
    while waiting:
        path = waiting.pop()
        if path in reached or not tree.has(path):
            continue
        reached.add(path)
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", tree.text(path)):
            if "://" in link or link.startswith("mailto:"):
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(path), link))
            if not os.path.exists(os.path.join(tree.root, target)):
                complaints.append(f"{path}: links to {link}, which is not there")
            elif target.endswith(".md"):
                waiting.append(target)
    return complaints + [f"{path}: not reachable from README.md" for path in tree.under("", ends=".md") if path not in reached]


def scripts(tree):
    complaints = []
    for path in tree.scripts():
        if path == ".ci/run":
            continue
        name, stem = os.path.basename(path), os.path.splitext(os.path.basename(path))[0]
        call = re.compile(r"(?<![\w.-])(" + re.escape(name) + r"|import " + re.escape(stem) + r"|'" + re.escape(stem) + r"'|\"" + re.escape(stem) + r"\")(?![\w-])")
        if not any(call.search(tree.text(other)) for other in tree.paths if other != path and not other.endswith(".md")):
            complaints.append(f"{path}: called by nothing")
    return complaints
