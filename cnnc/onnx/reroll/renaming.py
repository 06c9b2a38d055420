"""Rules that call arrays by the names of a net's parameters."""

import re
from collections import Counter
from collections.abc import Mapping

from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.renames import read_rules, rename

Rules = tuple[tuple[str, str], ...]
_PLAIN = re.compile(r"[\w.\-/:]+")


def renaming_rules(origins: Mapping[str, str]) -> tuple[Mapping[str, str], Rules]:
    """For each path the name in the file, and the rules (name, path) that lead back.

    Names that several parameters share, or that a rule cannot hold, are given up for the path.
    """
    uses = Counter(origins.values())
    names = {
        path: key if uses[key] == 1 and _PLAIN.fullmatch(key) else path
        for path, key in origins.items()
    }
    if len({*names.values()}) < len(names):
        names = {path: path for path in origins}
    pairs = {name: path for path, name in names.items() if name != path}
    for rules in (_by_prefix(pairs), (*pairs.items(),)):
        if _leads(rules, names):
            return names, rules
    return {path: path for path in origins}, ()


def _by_prefix(pairs: Mapping[str, str]) -> Rules:
    """One rule for all names that differ in the same parts at their beginning."""
    found: dict[str, str] = {}
    for name, path in pairs.items():
        one, two = name.split("."), path.split(".")
        while len(one) > 1 and len(two) > 1 and one[-1] == two[-1]:
            one.pop()
            two.pop()
        is_whole = len(one) == name.count(".") + 1
        pattern, target = ".".join(one), ".".join(two)
        found.setdefault(*((pattern, target) if is_whole else (f"{pattern}.*", f"{target}.*")))
    return tuple(sorted(found.items(), key=lambda rule: (-rule[0].count("."), rule[0])))


def _leads(rules: Rules, names: Mapping[str, str]) -> bool:
    """Whether the frontend finds every parameter under its path by these rules."""
    nowhere = Span(SourceFile("rules", ""), 0, 0)
    written = [
        ast.Rename(ast.Text(pattern, nowhere), ast.Text(target, nowhere), nowhere)
        for pattern, target in rules
    ]
    read, problems = read_rules(written)
    found, more = rename(read, [*names.values()])
    return not problems and not more and found == names
