"""Trees as text in Newick notation, also inside NEXUS."""

import re
from collections import defaultdict

from hierjax.errors import UserError, notice
from hierjax.names import NamePath, as_names, clean
from hierjax.trie import ROOT, Trie, check_size

# Blanks and comments; a name in quotes; a mark; a name or a number.
_TOKEN = re.compile(
    r"""(?:\s+|\[[^\]]*\])
    |('(?:[^']|'')*')
    |([(),:;])
    |([^\s()\[\]:;,'][^()\[\]:;,]*)""",
    re.VERBOSE,
)
_QUOTED, _MARK = 1, 2
_MUST_QUOTE = re.compile(r"""[\s()\[\]:;,'"]""")
# How sure programs are of a clade: 100, 0.98, 1e-3, 97.5/100.
_SUPPORT = re.compile(r"\d*\.?\d+(e[+-]?\d+)?(/\d*\.?\d+(e[+-]?\d+)?)*", re.I)
# Quotes count at the begin of a name only; possessive, so that nothing is tried twice.
# A tree's name is short, or many a word "tree" would each look for its "=" to the end.
_NEXUS_TREE = re.compile(
    r"(?<=[;\s])u?tree\b[^=;]{0,999}+="
    r"((?:(?<=[(),\s])'(?:[^']|'')*+'|\[[^\]]*+\]|[^;\[])*+;)",
    re.IGNORECASE,
)
_TRANSLATE = re.compile(
    r"(?<=[;\s])translate\b((?:(?<=[,\s])'(?:[^']|'')*+'|[^;])*+);", re.IGNORECASE
)
_TRANSLATED = re.compile(
    r"(?:(?<=,)|^)\s*+(\S++)\s++('(?:[^']|'')*+'|[^,]++)\s*+(?:,|$)"
)
# What may stand before each token: ^ the start, n a name, l a branch length.
_BEFORE = {
    "(": "^(,",
    "n": "^(,)",
    ":": "^(,)n",
    "l": ":",
    ",": "(,)nl",
    ")": "(,)nl",
    ";": "^)nl",
}


class _Nodes:
    """The nodes of a text in the order in which they begin, the root first.

    Attributes:
      parents: Place of each node's parent, `ROOT` of the root.
      positions: Where in the text each begins.
      names: Of each, ``''`` where it has none.
      quoted: Places of those whose name is in quotes.
      lengths: Branch lengths of those that have one.
    """

    def __init__(self) -> None:
        self.parents = [ROOT]
        self.positions = [0]
        self.names = [""]
        self.quoted: set[int] = set()
        self.lengths: dict[int, float] = {}

    def begin(self, parent: int, position: int) -> int:
        self.parents.append(parent)
        self.positions.append(position)
        self.names.append("")
        return len(self.parents) - 1

    def path(self, node: int) -> NamePath:
        way = []
        while node:
            way.append(self.names[node])
            node = self.parents[node]
        return tuple(reversed(way))


def read_newick(text: str) -> list[NamePath]:
    """Paths of the classes in the order of the text; `Hierarchy` has the details."""
    text = text.lstrip("\ufeff")
    translated: dict[str, str] = {}
    if text.lstrip()[:6].upper() == "#NEXUS":
        text, translated = _first_of_nexus(text)
    nodes = _parse(text)
    inner = set(nodes.parents)
    # Numbers of inner nodes are support even where a leaf has that number.
    nodes.names = [
        clean(name if i in inner else translated.get(name, name))
        for i, name in enumerate(nodes.names)
    ]
    as_names(filter(None, nodes.names), "the Newick text")
    _leave_out_support(nodes, inner)
    used = set(nodes.names)
    made_up = (f"node_{k}" for k in range(len(used) + len(nodes.names)))
    depths = [0] * len(nodes.names)
    seen: set[tuple[int, str]] = set()
    classes: dict[int, None] = {}
    for i, above in enumerate(nodes.parents):
        if above == ROOT:
            continue
        is_leaf = i not in inner
        if is_leaf and not nodes.names[i]:
            raise UserError(
                f"the Newick text has a leaf without a name at character "
                f"{nodes.positions[i]}"
            )
        if not nodes.names[i]:
            nodes.names[i] = next(name for name in made_up if name not in used)
        name = nodes.names[i]
        depths[i] = depths[above] + 1
        # The parent as a class, the way `write_newick` marks it.
        is_mark = is_leaf and above and nodes.lengths.get(i) == 0
        if is_mark and nodes.names[above] == name:
            classes[above] = None
            continue
        if (above, name) in seen:
            raise UserError(
                f"the Newick text has two nodes named {name!r} below "
                f"{'/'.join(nodes.path(above)) or 'the root'}"
            )
        seen.add((above, name))
        if is_leaf:
            classes[i] = None
    check_size(len(classes), max((depths[i] for i in classes), default=0))
    return [nodes.path(i) for i in classes]


def _leave_out_support(nodes: _Nodes, inner: set[int]) -> None:
    """Takes inner labels that are all numbers for support values, not names.

    They are names if in quotes, or if the leaves are whole numbers too and no number
    occurs twice: the ids of a taxonomy.
    """
    labelled = sorted(i for i in inner if i > 0 and nodes.names[i])
    if not labelled or any(
        i in nodes.quoted or not _SUPPORT.fullmatch(nodes.names[i]) for i in labelled
    ):
        return
    ids = [name for name in nodes.names[1:] if name]
    if all(name.isdecimal() for name in ids) and len(set(ids)) == len(ids):
        return
    notice(
        f"the {len(labelled)} labels of inner nodes are numbers and are taken for "
        f"support, not for names, such as {nodes.names[labelled[0]]}; in quotes they "
        "are names"
    )
    for i in labelled:
        nodes.names[i] = ""


def _first_of_nexus(text: str) -> tuple[str, dict[str, str]]:
    """The first tree of a NEXUS file, and what its labels stand for."""
    trees = _NEXUS_TREE.findall(text)
    if not trees:
        raise UserError("the NEXUS text has no 'tree NAME = (...);' in it")
    if len(trees) > 1:
        notice(f"the NEXUS text has {len(trees)} trees, of which the first is read")
    names = {}
    table = _TRANSLATE.search(text)
    for label, name in _TRANSLATED.findall(table[1] if table else ""):
        is_quoted = name.startswith("'")
        names[label] = name[1:-1].replace("''", "'") if is_quoted else name.strip()
    return trees[0], names


def write_newick(trie: Trie) -> str:
    """Writes a tree on one line; an internal class is a leaf of length 0 below itself.

    Without recursion, as everything here: trees may be thousands of levels deep.
    """
    classes = set(trie.nodes[:, -1].tolist())
    below = defaultdict(list)
    parents = trie.parents.tolist()
    # Children come after their parent, so backwards they are ready before it.
    for node in range(len(parents) - 1, -1, -1):
        inside = below.pop(node, [])
        text = label = _quote(trie.names[node], is_inner=bool(inside))
        if inside:
            if node in classes:
                inside.append(f"{label}:0")
            text = f"({','.join(reversed(inside))}){label}"
        below[parents[node]].append(text)
    return f"({','.join(reversed(below[ROOT]))});"


def _quote(name: str, is_inner: bool) -> str:
    # Inner numbers without quotes would be read as support.
    if _MUST_QUOTE.search(name) or (is_inner and _SUPPORT.fullmatch(name)):
        return "'" + name.replace("'", "''") + "'"
    return name


def _parse(text: str) -> _Nodes:
    nodes = _Nodes()
    current, depth, before, position = 0, 0, "^", 0
    match_next = _TOKEN.scanner(text).match
    while position < len(text):
        match = match_next()
        if match is None:
            raise _error(text, position)
        group = match.lastindex
        if group is not None:
            if before == ";":
                _tell_of_others(text, position)
                break
            value = match[group]
            kind = value if group == _MARK else "l" if before == ":" else "n"
            if before not in _BEFORE[kind] or (kind in ",)" and current == 0):
                raise _error(text, position)
            if kind == "n":
                nodes.names[current] = value
                if group == _QUOTED:
                    nodes.names[current] = value[1:-1].replace("''", "'")
                    nodes.quoted.add(current)
            elif kind == ",":
                current = nodes.begin(nodes.parents[current], position + 1)
            elif kind == "(":
                current = nodes.begin(current, position + 1)
                depth += 1
                check_size(1, depth)
            elif kind == ")":
                current = nodes.parents[current]
                depth -= 1
            elif kind == "l":
                nodes.lengths[current] = _length(value, position)
            before = kind
        position = match.end()
    if before == ":":
        raise _error(text, position)
    if current != 0:
        raise UserError("the Newick text ends before all its brackets are closed")
    return nodes


def _length(value: str, position: int) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(
            f"the Newick text has the branch length {value!r} at character {position}; "
            "it must be a number"
        ) from None


def _tell_of_others(text: str, position: int) -> None:
    if text[position] != "(":
        raise _error(text, position)
    notice("there is more than one tree in the Newick text; the first is read")


def _error(text: str, position: int) -> UserError:
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return UserError(f"the Newick text has {found} at character {position}, not a tree")
