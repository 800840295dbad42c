"""Trees as text in Newick notation."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator

from hierjax.errors import UserError
from hierjax.names import NamePath
from hierjax.trie import ROOT, Trie

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\[[^\]]*\])
    |(?P<quoted>'(?:[^']|'')*')
    |(?P<mark>[(),:;])
    |(?P<bare>[^\s()\[\]:;,'][^()\[\]:;,']*)""",
    re.VERBOSE,
)
_MUST_QUOTE = re.compile(r"""[\s()\[\]:;,'"]""")
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


@dataclasses.dataclass
class _Node:
    """A node of the text; ``parent`` is a place in the list of nodes."""

    parent: int
    position: int
    name: str = ""
    length: float | None = None


def read_newick(text: str) -> list[NamePath]:
    """Paths of the classes in the order of the text; `Hierarchy` has the details."""
    nodes = _parse(text)
    inner = {node.parent for node in nodes}
    used = {node.name for node in nodes}
    made_up = (name for k in range(len(nodes)) if (name := f"node_{k}") not in used)
    paths: list[NamePath] = [()]
    seen: set[NamePath] = set()
    classes: list[NamePath] = []
    for i, node in enumerate(nodes[1:], start=1):
        is_leaf = i not in inner
        if is_leaf and not node.name:
            raise UserError(
                f"the Newick text has a leaf without a name at character "
                f"{node.position}"
            )
        name = node.name or next(made_up)
        above = paths[node.parent]
        paths.append((*above, name))
        # The parent as a class, the way `write_newick` marks it.
        if is_leaf and node.length == 0 and above[-1:] == (name,):
            classes.append(above)
            continue
        if paths[i] in seen:
            raise UserError(
                f"the Newick text has two nodes named {name!r} below "
                f"{'/'.join(above) or 'the root'}"
            )
        seen.add(paths[i])
        if is_leaf:
            classes.append(paths[i])
    return classes


def write_newick(trie: Trie) -> str:
    """Writes a tree on one line; an internal class is a leaf of length 0 below itself.

    Without recursion, as everything here: trees may be thousands of levels deep.
    """
    classes = set(trie.nodes[:, -1].tolist())
    below = defaultdict(list)
    # Children come after their parent, so backwards they are ready before it.
    for (parent, name), node in reversed(trie.children.items()):
        label = _quote(name)
        inside = below.pop(node, [])
        if inside and node in classes:
            inside.append(f"{label}:0")
        text = f"({','.join(reversed(inside))}){label}" if inside else label
        below[parent].append(text)
    return f"({','.join(reversed(below[ROOT]))});"


def _quote(name: str) -> str:
    if _MUST_QUOTE.search(name):
        return "'" + name.replace("'", "''") + "'"
    return name


def _parse(text: str) -> list[_Node]:
    """All nodes in the order in which they begin, the root first."""
    nodes = [_Node(parent=ROOT, position=0)]
    current = 0
    for kind, value, position in _tokens(text):
        if kind in ",)" and current == 0:
            raise _error(text, position)
        if kind in "(,":
            parent = current if kind == "(" else nodes[current].parent
            nodes.append(_Node(parent, position + 1))
            current = len(nodes) - 1
        elif kind == ")":
            current = nodes[current].parent
        elif kind == "n":
            nodes[current].name = value
        elif kind == "l":
            try:
                nodes[current].length = float(value)
            except ValueError:
                raise UserError(
                    f"the Newick text has the branch length {value!r} at character "
                    f"{position}; it must be a number"
                ) from None
    if current != 0:
        raise UserError("the Newick text ends before all its brackets are closed")
    return nodes


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind (a key of _BEFORE), value and position of each token."""
    position, before = 0, "^"
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _error(text, position)
        value, group = match.group(), match.lastgroup
        if group != "skip":
            kind = value
            if group != "mark":
                kind = "l" if before == ":" else "n"
            if before not in _BEFORE[kind]:
                raise _error(text, position)
            if group == "quoted":
                value = value[1:-1].replace("''", "'")
            elif group == "bare":
                value = value.strip()
            yield kind, value, position
            before = kind
        position = match.end()
    if before == ":":
        raise _error(text, position)


def _error(text: str, position: int) -> UserError:
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return UserError(f"the Newick text has {found} at character {position}, not a tree")
