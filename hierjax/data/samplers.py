"""Which rows make up which batch: pure functions of (seed, step).

A sampler never sees features. It draws chunks of 1,024 steps, aligned to multiples of
1,024, each from its own random stream, so that a step has the same rows however many
steps are asked for at a time and whatever was asked for before.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hierjax.errors import UserError

CHUNK_STEPS = 1024
KINDS = ("uniform", "balanced", "tuples", "hierarchical")
_CACHED_CHUNKS = 2
_MIN_BLOCK_ROWS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler(abc.ABC):
    """Common part of the samplers; two are equal only if they are the same object.

    Attributes:
      labels: ``[N, L]`` int32 training labels of the whole data set, -1 unknown.
      rows: Rows that may be drawn (the training split).
      batch_size: Rows a batch, B.
      seed: Non-negative integer.

    Example:
      A sampler of one's own says how it draws.

      >>> class FirstRows(Sampler):
      ...     def _draw(self, chunk):
      ...         return np.tile(self.rows[: self.batch_size], (CHUNK_STEPS, 1))
      >>> first = FirstRows(np.zeros((9, 1), int), np.arange(9), batch_size=2, seed=0)
      >>> first.indices(start_step=1000, num_steps=3).tolist()
      [[0, 1], [0, 1], [0, 1]]
    """

    labels: np.ndarray
    rows: np.ndarray
    batch_size: int
    seed: int
    _chunks: dict[int, np.ndarray] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self):
        """Checks the arguments.

        Raises:
          UserError: No rows, a batch size below 1, or a negative seed.
        """
        if not len(self.rows):
            raise UserError("a sampler needs at least one row, got none")
        if self.batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}")

    def indices(self, start_step: int, num_steps: int) -> np.ndarray:
        """Returns the rows of steps start_step .. start_step + num_steps - 1.

        Args:
          start_step: First step, from 0.
          num_steps: Number of steps, 0 or more.

        Returns:
          int32 ``[num_steps, B]``, indices into the data set.
        """
        stop_step = start_step + num_steps
        pieces = [np.empty((0, self.batch_size), np.int32)]
        for chunk in range(start_step // CHUNK_STEPS, -(-stop_step // CHUNK_STEPS)):
            first = chunk * CHUNK_STEPS
            pieces.append(
                self._chunk(chunk)[max(start_step - first, 0) : stop_step - first]
            )
        return np.concatenate(pieces)

    def _chunk(self, chunk: int) -> np.ndarray:
        if chunk not in self._chunks:
            self._chunks[chunk] = self._draw(chunk)
            while len(self._chunks) > _CACHED_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
        return self._chunks[chunk]

    @abc.abstractmethod
    def _draw(self, chunk: int) -> np.ndarray:
        """Draws int32 ``[CHUNK_STEPS, B]``, a function of (seed, chunk) alone."""


@dataclasses.dataclass(frozen=True, eq=False)
class UniformSampler(Sampler):
    """Random permutations of the rows, one epoch after the other.

    A batch may straddle two epochs, and is allowed to be larger than the epoch.

    Example:
      >>> labels, rows = np.zeros((10, 1), int), np.arange(6)
      >>> sampler = UniformSampler(labels, rows, batch_size=4, seed=0)
      >>> sorted(sampler.indices(0, 3).flatten().tolist())
      [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    """

    def _draw(self, chunk: int) -> np.ndarray:
        # Epochs of few rows come in blocks, to keep the number of streams small.
        epochs = -(-_MIN_BLOCK_ROWS // len(self.rows))
        block_rows = epochs * len(self.rows)
        chunk_rows = CHUNK_STEPS * self.batch_size
        start = chunk * chunk_rows
        first, last = start // block_rows, (start + chunk_rows - 1) // block_rows
        table = np.broadcast_to(self.rows.astype(np.int32), (epochs, len(self.rows)))
        stream = np.concatenate(
            [
                np.random.default_rng([self.seed, block]).permuted(table, axis=1)
                for block in range(first, last + 1)
            ],
            axis=None,
        )
        offset = start - first * block_rows
        return stream[offset : offset + chunk_rows].reshape(CHUNK_STEPS, -1)


@dataclasses.dataclass(frozen=True, eq=False)
class BalancedSampler(Sampler):
    """Batches with pairs of every rank in comparable numbers.

    The paper (arXiv 2110.05941, section 3) balances its batches across ranks without
    giving the rule; this one is ours. A batch is a small tree: ``design[0]`` coarsest
    nodes, ``design[l]`` children of each node above, ``design[L]`` rows of each leaf
    (`balanced_design` chooses them; see `pair_counts` for the pairs that follow).
    Places left over in the batch are filled with rows drawn uniformly.

    Nodes, then children, then rows are drawn uniformly without replacement among those
    that occur in the training rows. Where there are fewer than the design wants, all
    are taken and the excess repeats them in turn; a repeated node draws its children
    anew. An unknown level (-1) counts as one child of its own, so that rows known down
    to the same node form a leaf below it.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> sampler = BalancedSampler(
      ...     notes.train_labels, notes.rows("train"), batch_size=12, seed=0
      ... )
      >>> sampler.design
      (2, 2, 3)
      >>> batch = notes.labels[sampler.indices(0, 1)[0]]
      >>> [len(np.unique(level)) for level in batch.T]
      [2, 4]
    """

    def _draw(self, chunk: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, chunk])
        tree, design = self._tree, self.design
        node = np.zeros((CHUNK_STEPS, 1), np.int64)
        for first, count, size in zip(tree.first, tree.count, design, strict=True):
            children = first[node][..., None] + _draw_distinct(rng, count[node], size)
            node = children.reshape(CHUNK_STEPS, -1)
        filling = rng.integers(
            len(self.rows), size=(CHUNK_STEPS, self.batch_size - node.shape[1])
        )
        return tree.rows[np.concatenate([node, filling], axis=1)]

    @functools.cached_property
    def design(self) -> tuple[int, ...]:
        """Coarsest nodes, children a node at every further level, rows a leaf."""
        return balanced_design(
            self.batch_size, [count.mean() for count in self._tree.count]
        )

    @functools.cached_property
    def _tree(self) -> "_SortedTree":
        return _SortedTree(self.labels, self.rows)


@dataclasses.dataclass(frozen=True, eq=False)
class TupleSampler(Sampler):
    """Interleaved tuples for `losses.hierarchical_tuplet_loss`, L + 2 rows each.

    The rows of a tuple are an anchor; another row of the same leaf; a row that shares
    the node at level L - 2 but not the leaf; and so on, one level coarser each time,
    down to a row that shares nothing. For L = 2 that is the quadruplet. Anchors are
    drawn uniformly among the rows for which all of these exist, partners uniformly
    among the rows that qualify. Rows with an unknown level are never drawn, since they
    might share a node without our knowing.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> sampler = TupleSampler(
      ...     notes.train_labels, notes.rows("train"), batch_size=8, seed=0
      ... )
      >>> batch = notes.labels[sampler.indices(0, 1)[0]]
      >>> (batch[1:4] == batch[0]).tolist()
      [[True, True], [True, False], [False, False]]
    """

    def __post_init__(self):
        """Checks the arguments and finds the anchors.

        Raises:
          UserError: The batch size is no multiple of L + 2, or no row has all partners.
        """
        super().__post_init__()
        size = self.tuple_size
        if self.batch_size % size:
            raise UserError(
                f"tuples of {size - 2} levels take {size} rows each, so batch_size "
                f"must be a multiple of {size}, got {self.batch_size}"
            )
        if not len(self._anchors):
            raise UserError(
                f"no training row has partners for a tuple of {size} rows: one of the "
                "same leaf, one for every level at which paths can part, one that "
                "shares nothing"
            )

    @property
    def tuple_size(self) -> int:
        """Rows a tuple, L + 2."""
        return self.labels.shape[1] + 2

    def _draw(self, chunk: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, chunk])
        start, stop = self._ranges
        tuples = (CHUNK_STEPS, self.batch_size // self.tuple_size)
        anchor = self._anchors[rng.integers(len(self._anchors), size=tuples)]
        # A partner lies in one range but not in the next smaller one, a hole in it.
        outer_start, outer_stop = start[1:, anchor], stop[1:, anchor]
        hole_start, hole_stop = start[:-1, anchor], stop[:-1, anchor]
        hole = hole_stop - hole_start
        partner = outer_start + rng.integers(outer_stop - outer_start - hole)
        partner += hole * (partner >= hole_start)
        places = np.concatenate([anchor[None], partner])
        return self._rows[np.moveaxis(places, 0, -1).reshape(CHUNK_STEPS, -1)]

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        """Complete rows in tree order, so that every node is a range of places."""
        complete = self.rows[(self.labels[self.rows] >= 0).all(axis=1)]
        return _tree_order(self.labels, complete)

    @functools.cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return _node_ranges(self.labels[self._rows])

    @functools.cached_property
    def _anchors(self) -> np.ndarray:
        """Places all of whose ranges hold more than the range before."""
        start, stop = self._ranges
        return np.flatnonzero((np.diff(stop - start, axis=0) > 0).all(axis=0))


@dataclasses.dataclass(frozen=True, eq=False)
class HierarchicalSampler(UniformSampler):
    """Anchors with a partner for every level at which paths can part.

    The batches of Zhang et al. 2022 (arXiv 2204.13207). A group is an anchor, a row of
    another coarsest node, a row of the same coarsest node and another one below it, and
    so on down to another row of the same leaf: L + 2 rows, so that every level has
    positives and negatives. Batches are groups one after the other, the last one cut
    where it does not fit.

    Anchors go through random permutations of the rows; partners are drawn uniformly
    among the rows that qualify, or among all rows where none does. The published code
    draws anchors with replacement, keeps an account of rows that were visited, drops
    the end of an epoch and lets batches grow by part of a group; none of that here.
    Rows are compared on the levels they have: an unknown level counts as a node of its
    own, the same for all rows that lack it.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> sampler = HierarchicalSampler(
      ...     notes.train_labels, notes.rows("train"), batch_size=6, seed=0
      ... )
      >>> batch = notes.labels[sampler.indices(0, 1)[0]]
      >>> (batch[1:4] == batch[0]).tolist()
      [[False, False], [True, False], [True, True]]
    """

    def _draw(self, chunk: int) -> np.ndarray:
        group_size = self.labels.shape[1] + 2
        num_groups = -(-self.batch_size // group_size)
        # As many anchors a chunk as groups, from the same epochs as uniform batches.
        epochs = dataclasses.replace(self, batch_size=num_groups)
        places = self._place_of[UniformSampler._draw(epochs, chunk)]
        rng = np.random.default_rng([self.seed, chunk, 1])
        start, stop = self._ranges
        hole_start, hole_stop = start[:-1, places], stop[:-1, places]
        outer_start, outer_stop = start[1:, places], stop[1:, places]
        hole = hole_stop - hole_start
        count = outer_stop - outer_start - hole
        partner = outer_start + rng.integers(np.maximum(count, 1))
        partner += hole * (partner >= hole_start)
        anything = rng.integers(len(self.rows), size=count.shape)
        partner = np.where(count > 0, partner, anything)
        # Coarsest first; the anchor before them.
        groups = np.concatenate([places[None], partner[::-1]])
        batches = np.moveaxis(groups, 0, -1).reshape(CHUNK_STEPS, -1)
        return self._sorted_rows[batches[:, : self.batch_size]]

    @functools.cached_property
    def _sorted_rows(self) -> np.ndarray:
        return _tree_order(self.labels, self.rows)

    @functools.cached_property
    def _place_of(self) -> np.ndarray:
        """Place of every row of the data set in the tree order."""
        place = np.zeros(len(self.labels), np.int64)
        place[self._sorted_rows] = np.arange(len(self._sorted_rows))
        return place

    @functools.cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return _node_ranges(self.labels[self._sorted_rows])


def make_sampler(
    kind: str, labels: np.ndarray, rows: np.ndarray, batch_size: int, seed: int
) -> Sampler:
    """Makes a sampler.

    Args:
      kind: 'uniform', 'balanced', 'tuples' or 'hierarchical'; see `UniformSampler`,
        `BalancedSampler`, `TupleSampler` and `HierarchicalSampler`.
      labels: ``[N, L]`` training labels (`Dataset.train_labels`), -1 unknown.
      rows: Training rows, indices into labels.
      batch_size: Rows a batch, B.
      seed: Non-negative integer.

    Raises:
      UserError: Unknown kind, or arguments the sampler refuses.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> sampler = make_sampler(
      ...     "uniform", notes.train_labels, notes.rows("train"), batch_size=32, seed=0
      ... )
      >>> sampler.indices(start_step=0, num_steps=5).shape
      (5, 32)
    """
    samplers = {
        "uniform": UniformSampler,
        "balanced": BalancedSampler,
        "tuples": TupleSampler,
        "hierarchical": HierarchicalSampler,
    }
    if kind not in samplers:
        raise UserError(
            f"sampler must be one of {', '.join(map(repr, KINDS))}, got {kind!r}"
        )
    return samplers[kind](np.asarray(labels), np.asarray(rows), batch_size, seed)


def balanced_design(batch_size: int, branching: Sequence[float]) -> tuple[int, ...]:
    """Chooses how many nodes, children and rows a balanced batch takes.

    Of all designs that fit, it takes the one whose rarest rank has most pairs; among
    equals the one whose second rarest has most, and so on. 12 rows of two levels
    make 2 x 2 x 3: two coarse nodes, two leaves of each, three rows of each leaf, 12,
    18 and 36 pairs.

    No number is above what the tree offers on average, rounded up, so that few rows
    repeat. A batch that cannot hold two of everything (it takes 2^(L+1) rows) gives
    up the pairs of the levels that branch least, coarser ones first among equals, and
    the rows of a leaf last.

    Args:
      batch_size: Largest product of the numbers, B.
      branching: L + 1 numbers of at least 1: coarsest nodes, mean children a node at
        every further level, mean rows a leaf.

    Returns:
      L + 1 integers, coarsest first.

    Example:
      >>> balanced_design(12, branching=(5, 4.2, 9))
      (2, 2, 3)
    """
    limits = [math.ceil(mean) for mean in branching]
    for level in [*np.argsort(branching[:-1], kind="stable"), len(limits) - 1]:
        if math.prod(min(limit, 2) for limit in limits) > batch_size:
            limits[level] = 1
    least = [min(limit, 2) for limit in limits]

    def designs(level: int, budget: int) -> Iterator[tuple[int, ...]]:
        if level == len(limits):
            yield ()
            return
        room = budget // math.prod(least[level + 1 :])
        for size in range(least[level], min(limits[level], room) + 1):
            for rest in designs(level + 1, budget // size):
                yield size, *rest

    return max(designs(0, batch_size), key=lambda d: sorted(pair_counts(d)))


def pair_counts(design: tuple[int, ...]) -> tuple[int, ...]:
    """Counts the unordered pairs of every rank in a balanced batch without fillings.

    Args:
      design: L + 1 numbers as `balanced_design` returns them.

    Returns:
      L + 1 numbers by growing rank: pairs of the same leaf, of the same parent but
      another leaf, .., of nothing shared.

    Example:
      >>> pair_counts((2, 2, 3))
      (12, 18, 36)
    """
    counts, below = [], 1
    total = math.prod(design)
    for size in reversed(design):
        counts.append(total * below * (size - 1) // 2)
        below *= size
    return tuple(counts)


class _SortedTree:
    """Training rows in tree order; the children of a node are a range of numbers.

    Attributes:
      rows: int32 ``[R]`` rows in tree order.
      first: L + 1 arrays, one a level of nodes (the root first, the leaves last): the
        number of a node's first child, or a leaf's first place in `rows`.
      count: L + 1 arrays, the number of its children or rows.
    """

    def __init__(self, labels: np.ndarray, rows: np.ndarray):
        self.rows = _tree_order(labels, rows)
        every_row = np.ones(len(rows), bool)
        levels = [*_run_starts(labels[self.rows]), every_row]
        parents_start = np.arange(len(rows)) == 0
        self.first, self.count = [], []
        for is_first in levels:
            number = np.cumsum(is_first) - 1
            first = number[parents_start]
            self.first.append(first)
            self.count.append(np.diff(np.append(first, number[-1] + 1)))
            parents_start = is_first


def _tree_order(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sorts rows by their paths, int32."""
    return rows[np.lexsort(labels[rows].T[::-1])].astype(np.int32)


def _run_starts(labels: np.ndarray) -> list[np.ndarray]:
    """For every level ``[R]`` bool: does a new node of it start in this sorted row?"""
    changed = np.ones(labels.shape, bool)
    changed[1:] = labels[1:] != labels[:-1]
    return list(np.logical_or.accumulate(changed, axis=1).T)


def _node_ranges(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop ``[L + 2, R]`` of a sorted row, its leaf, .., of everything."""
    places = np.arange(len(labels))
    starts, stops = [places], [places + 1]
    for is_first in _run_starts(labels)[::-1]:
        run = np.cumsum(is_first) - 1
        edges = np.append(np.flatnonzero(is_first), len(places))
        starts.append(edges[run])
        stops.append(edges[run + 1])
    starts.append(np.zeros_like(places))
    stops.append(np.full_like(places, len(places)))
    return np.stack(starts), np.stack(stops)


def _draw_distinct(
    rng: np.random.Generator, count: np.ndarray, size: int
) -> np.ndarray:
    """Draws size different numbers below every count, repeating where there are fewer.

    Floyd's algorithm (Bentley & Floyd, CACM 1987), run on all counts at once. It draws
    a uniform subset but in no uniform order, so the result is turned by a random
    amount, which makes every number equally likely to be among the repeated ones.

    Args:
      rng: Generator.
      count: Positive integers of any shape.
      size: How many to draw, m.

    Returns:
      int64 ``count.shape + [m]``; where count < m, place j repeats place j - count.
    """
    drawn = np.empty((*count.shape, size), np.int64)
    for place in range(size):
        # Past the last number the place is a repeat, filled in below.
        highest = np.minimum(np.maximum(count - size, 0) + place, count - 1)
        number = rng.integers(highest + 1)
        taken = (drawn[..., :place] == number[..., None]).any(axis=-1)
        drawn[..., place] = np.where(taken, highest, number)
    turn = rng.integers(count)
    drawn = (drawn + turn[..., None]) % count[..., None]
    repeats = np.arange(size) % count[..., None]
    return np.take_along_axis(drawn, repeats, axis=-1)
