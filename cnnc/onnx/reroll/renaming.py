"""Rules that call arrays by the names of a net's parameters."""

import re
from collections import Counter
from collections.abc import Mapping

from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.renames import read_rules, rename

Rules = tuple[tuple[str, str], ...]
LEAST = 2
"""Rules that a general one stands for."""
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
            return names, _generalised(rules, names)
    return {path: path for path in origins}, ()


def _by_prefix(pairs: Mapping[str, str]) -> Rules:
    """One rule for all names that differ in the same parts at their beginning.

    Where names with one beginning need several rules, the rarer ones name one part more.
    """
    short = {name: _differing(name, path, 0) for name, path in pairs.items()}
    counts = Counter(short.values())
    usual: dict[str, str] = {}
    for (pattern, target), _ in counts.most_common():
        usual.setdefault(pattern, target)
    found: dict[str, str] = {}
    for name, (pattern, target) in short.items():
        if usual[pattern] != target:
            pattern, target = _differing(name, pairs[name], 1)
        found.setdefault(pattern, target)
    return tuple(sorted(found.items(), key=lambda rule: (-rule[0].count("."), rule[0])))


def _differing(name: str, path: str, more: int) -> tuple[str, str]:
    """The rule for a name without the parts at the end that stay, but for so many of these."""
    one, two = name.split("."), path.split(".")
    same = 0
    while same + 1 < min(len(one), len(two)) and one[-1 - same] == two[-1 - same]:
        same += 1
    same = max(0, same - more)
    if not same:
        return name, path
    return ".".join([*one[:-same], "*"]), ".".join([*two[:-same], "*"])


def _generalised(rules: Rules, names: Mapping[str, str]) -> Rules:
    """One rule with wildcards for several that differ in parts which stay the same."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for rule in rules:
        groups.setdefault(_general(*rule), []).append(rule)
    for general, own in sorted(groups.items(), key=lambda each: -len(each[1])):
        if len(own) < LEAST:
            break
        place = rules.index(own[-1])
        rest = [rule for rule in rules[place + 1 :] if rule not in own]
        changed = (*(rule for rule in rules[:place] if rule not in own), general, *rest)
        if _leads(changed, names):
            rules = changed
    return rules


def _general(pattern: str, target: str) -> tuple[str, str]:
    """The rule with a wildcard for each part that both sides have once."""
    one, two = pattern.split("."), target.split(".")
    wild = iter("abcdefgh")
    for place, part in enumerate(one):
        if part != "*" and one.count(part) == 1 and two.count(part) == 1:
            name = next(wild, None)
            if name is None:
                break
            one[place] = f"{{{name}}}"
            two[two.index(part)] = one[place]
    return ".".join(one), ".".join(two)


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
