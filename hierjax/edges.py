"""Trees as (parent, child) pairs of names, also where a node has several parents."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from hierjax.errors import UserError, notice
from hierjax.names import NamePath, as_names, as_path
from hierjax.trie import check_size, internal_class_error

ParentRule = Literal["error", "first", "deepest", "shallowest"]
"""What to do with a node that has several parents."""

_SHOWN = 3


def read_edges(
    pairs: Iterable[tuple[str | int, str | int]],
    classes: Sequence[str | int] | None,
    allow_internal_classes: bool,
    parents: ParentRule = "error",
) -> list[NamePath]:
    """Paths of the classes, or else of all leaves; `Hierarchy.from_edges` has more."""
    if parents not in get_args(ParentRule):
        raise UserError(
            f"parents must be one of {', '.join(get_args(ParentRule))}, got {parents!r}"
        )
    edges = _read(pairs)
    order = _down(edges)
    parent = _choose(edges, order, parents)
    # As given: a node that lost its children to other parents is no class.
    inner = set(edges.first.values()).union(*edges.others.values())
    if classes is None:
        classes = [child for child in parent if child not in inner]
    classes = as_names(classes, "the list of classes")
    roots = {name for name in inner if name not in parent}
    for name in classes:
        if name not in parent and (name not in roots or len(roots) == 1):
            raise UserError(
                f"the class {name!r} is not a node below the root of the edges"
            )
        if name in inner and not allow_internal_classes:
            raise internal_class_error(name, "other nodes")
    top = dict.fromkeys(roots, int(len(roots) > 1))
    depths = _depths(parent, order, top)
    check_size(len(classes), max((depths[name] for name in classes), default=0))
    return [_path(name, parent, depths[name]) for name in classes]


class _Edges(NamedTuple):
    """Edges by child, in the order of the pairs; only few have several parents."""

    first: dict[str, str]
    others: dict[str, list[str]]

    def parents(self, child: str) -> list[str]:
        return [self.first[child], *self.others.get(child, ())]


def _read(pairs: Iterable[tuple[str | int, str | int]]) -> _Edges:
    first: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for i, pair in enumerate(pairs):
        names = as_path(pair, f"edge {i}")
        if len(names) != 2:
            raise UserError(f"edge {i} has {len(names)} names, not (parent, child)")
        parent, child = names
        if parent == child:
            raise UserError(f"edge {i} makes the node {child!r} its own parent")
        if first.setdefault(child, parent) != parent:
            several = others.setdefault(child, [])
            if parent not in several:
                several.append(parent)
    return _Edges(first, others)


def _down(edges: _Edges) -> list[str]:
    """All children, each behind all of its parents."""
    children: dict[str, list[str]] = {}
    for child, parent in edges.first.items():
        children.setdefault(parent, []).append(child)
    for child, several in edges.others.items():
        for parent in several:
            children.setdefault(parent, []).append(child)
    missing = {child: 1 + len(several) for child, several in edges.others.items()}
    ready = deque(name for name in children if name not in edges.first)
    order = []
    while ready:
        for child in children.get(ready.popleft(), ()):
            if child in missing:
                missing[child] -= 1
                if missing[child]:
                    continue
            ready.append(child)
            order.append(child)
    if len(order) < len(edges.first):
        raise _cycle(edges, edges.first.keys() - set(order))
    return order


def _cycle(edges: _Edges, left: set[str]) -> UserError:
    """The error that shows one of the cycles among the nodes that are left."""
    node = next(child for child in edges.first if child in left)
    way: dict[str, int] = {}
    while node not in way:
        way[node] = len(way)
        # Every node that is left has a parent that is left.
        node = next(parent for parent in edges.parents(node) if parent in left)
    cycle = [node, *reversed(list(way)[way[node] :])]
    return UserError(f"the edges have a cycle: {' -> '.join(map(repr, cycle))}")


def _choose(edges: _Edges, order: list[str], rule: ParentRule) -> dict[str, str]:
    """Child -> the parent that the rule keeps, the first of equally good ones."""
    if not edges.others:
        return edges.first
    examples = "; ".join(
        f"{child!r} under {' and '.join(map(repr, edges.parents(child)[:_SHOWN]))}"
        for child in list(edges.others)[:_SHOWN]
    )
    found = f"{len(edges.others):,} of {len(edges.first):,} nodes have several parents"
    if rule == "error":
        num_pairs = len(edges.first) + sum(map(len, edges.others.values()))
        above = set(edges.first.values()).union(*edges.others.values())
        if num_pairs == len(above):
            raise UserError(
                f"{found} ({examples}), and every parent one child: these are (child, "
                "parent) pairs; turn them round, or read their file with "
                "edge_order='child_parent'"
            )
        raise UserError(
            f"{found} ({examples}); a tree allows one: parents='first', 'deepest' or "
            "'shallowest' keeps the first given or that of the longest or shortest "
            "path"
        )
    notice(f"{found}, of which the {rule} is kept: {examples}")
    depths: dict[str, int] = {}
    chosen = dict(edges.first)
    sign = {"deepest": -1, "shallowest": 1}.get(rule, 0)
    for child in order:
        if child in edges.others:
            chosen[child] = min(
                edges.parents(child), key=lambda parent: sign * depths.get(parent, 0)
            )
        depths[child] = depths.get(chosen[child], 0) + 1
    return chosen


def _depths(
    parent: dict[str, str], order: list[str], top: dict[str, int]
) -> dict[str, int]:
    depths = dict(top)
    for child in order:
        depths[child] = depths[parent[child]] + 1
    return depths


def _path(name: str, parent: dict[str, str], depth: int) -> NamePath:
    """The way down to a node; an only root is left out of it."""
    way = [name]
    while len(way) < depth:
        way.append(parent[way[-1]])
    return tuple(reversed(way))
