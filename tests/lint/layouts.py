# SPDX-License-Identifier: MIT
"""What two processes share (every header called layout.h) means the same in both of them: numbers of a size that is said, no pointer, nothing of pthread."""
import re

import tree as trees

SIZED = re.compile(r"^(?:u?int(?:8|16|32|64)_t|_Atomic(?:\s+|\s*\(\s*)u?int(?:8|16|32|64)_t\)?)$")


def check(tree):
    complaints = []
    for path in (path for path in tree.under("", ends=".h") if path.split("/")[-1] == "layout.h"):
        text = trees.without_comments(tree.text(path))
        structs = set(re.findall(r"\bstruct\s+(\w+)\s*\{", text))
        for line, member in members(text):
            why = wrong(member, structs)
            if why:
                complaints.append(f"{path}:{line} {member}: {why}")
    return complaints


def members(text):
    """(line number, declaration) of each member of a struct or union, those of nested ones too; a body of an enum has none."""
    found, bodies, start, before = [], [], 0, ""
    for match in re.finditer(r"[{};]", text):
        words = " ".join(text[start : match.start()].split())
        if match.group() == "{":
            bodies.append(bool(re.search(r"\b(struct|union)\b[^()=]*$", words)))
        elif match.group() == "}":
            bodies.pop()
        elif bodies and bodies[-1] and words and before != "}":  # else it is the name of what the braces hold
            first = start + len(text[start:]) - len(text[start:].lstrip())
            found.append((text.count("\n", 0, first) + 1, words))
        start, before = match.end(), match.group()
    return found


def wrong(member, structs):
    """Why this member may not be shared; None if it may."""
    if "*" in member or "(" in re.sub(r"_Alignas\s*\([^)]*\)|_Atomic\s*\([^)]*\)", "", member):
        return "a pointer means nothing in another process"
    if ":" in member:
        return "where bits lie is the compiler's choice"
    plain = re.sub(r"_Alignas\s*\([^)]*\)|\b(?:const|volatile)\b|\[[^]]*\]", " ", member)
    kind = " ".join(plain.split(",")[0].split()[:-1])
    named = re.match(r"^struct (\w+)$", kind)
    if SIZED.match(kind) or (named and named.group(1) in structs):
        return None
    if "pthread" in kind:
        return "a lock in memory that a peer writes could hold us for ever"
    return f"{kind or 'this'} is no number of a size that is said (uint8_t to uint64_t, atomic or not) and no struct of this file"
