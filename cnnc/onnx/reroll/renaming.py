"""Rules that call arrays by the names of a net's parameters."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.renames import read_rules, rename

Rules = tuple[tuple[str, str], ...]
LEAST = 2
"""Rules that a general one stands for."""
MOST = 400
"""Rules that are looked at for general ones."""
MOST_PARTS = 4
"""Parts of which any may be a wildcard; of more, all are."""
WILD = "abcdefgh"
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
    for rule in rules if len(rules) <= MOST else ():
        for general in _generals(*rule):
            groups.setdefault(general, []).append(rule)
    for general, own in sorted(
        groups.items(), key=lambda each: (-len(each[1]), each[0][0].count("{"))
    ):
        left = [rule for rule in own if rule in rules]
        if len(left) < LEAST:
            continue
        for changed in _placed(rules, general, left):
            if _leads(changed, names):
                rules = changed
                break
    return rules


def _placed(rules: Rules, general: tuple[str, str], own: Sequence[tuple[str, str]]) -> list[Rules]:
    """A general rule where the last of its own stood, or behind all that name as many parts."""
    rest = [rule for rule in rules if rule not in own]
    first = len([rule for rule in rules[: rules.index(own[-1])] if rule not in own])
    deep = [rule[0].count(".") >= general[0].count(".") for rule in rest]
    last = len(rest) if all(deep) else deep.index(False)
    places = dict.fromkeys((first, last))
    return [(*rest[:place], general, *rest[place:]) for place in places]


def _generals(pattern: str, target: str) -> list[tuple[str, str]]:
    """The rule with wildcards for some of the parts that both sides have once."""
    one, two = pattern.split("."), target.split(".")
    shared = [
        place
        for place, part in enumerate(one)
        if part != "*" and one.count(part) == 1 and two.count(part) == 1
    ]
    sets = [
        places
        for count in range(len(shared), 0, -1)
        for places in combinations(shared, count)
        if len(shared) <= MOST_PARTS or count == len(shared)
    ]
    return [*(_wild(one, two, places[: len(WILD)]) for places in sets), *_aligned(pattern, target)]


def _aligned(pattern: str, target: str) -> Iterator[tuple[str, str]]:
    """The rule with wildcards for numbers at the end, which labels join: `conv_0_1` of `conv.0.1`.

    Last parts are alike, and a wildcard too, or stay as they are.
    """
    for kept in (0, 1):
        parts = pattern.split(".")
        head, _, last = target.rpartition(".")
        pieces = re.split(r"([._])", head if kept else target)
        at, shared = len(pieces) - 1, []
        for place in reversed(range(len(parts) - kept)):
            part = parts[place]
            if at < 0 or part != pieces[at] or part == "*":
                break
            if part.isdigit() or place == len(parts) - 1:
                shared.append((place, at))
            at -= 2
        for (place, at), name in zip(reversed(shared[: len(WILD)]), WILD, strict=False):
            parts[place] = pieces[at] = f"{{{name}}}"
        made = "".join(pieces)
        if shared:
            yield ".".join(parts), f"{made}.{last}" if kept else made


def _wild(one: Sequence[str], two: Sequence[str], places: Sequence[int]) -> tuple[str, str]:
    left, right = [*one], [*two]
    for place, name in zip(places, WILD, strict=False):
        left[place] = right[two.index(one[place])] = f"{{{name}}}"
    return ".".join(left), ".".join(right)


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
