"""Queries whose nearest rows are shown: a few of every kind."""

import dataclasses

import numpy as np

from hierjax import data, evaluation, metrics
from hierjax.data.dataset import UNSEEN

NUM_QUERIES = 8
NUM_UNSEEN = 4
NUM_NEIGHBORS = 6


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Some queries and their nearest rows of the gallery.

    Attributes:
      queries: name of a split to those drawn from it, ``[Q]`` rows.
      nearest: query to its neighbours, ``[K]`` rows, nearest first.
    """

    queries: dict[str, np.ndarray]
    nearest: dict[int, np.ndarray]


def find_neighbors(
    embed: evaluation.Embed, dataset: data.Dataset, split: str
) -> Neighbors:
    """The nearest training rows of some queries, and of some of unseen classes.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``.
      dataset: gives rows and labels.
      split: that queries are drawn from.
    """
    asked = {split: spread_over_nodes(dataset, split, NUM_QUERIES)}
    if UNSEEN in dataset.splits:
        asked[UNSEEN] = spread_over_nodes(dataset, UNSEEN, NUM_UNSEEN)
    queries, gallery = np.concatenate(list(asked.values())), dataset.rows("train")
    number = min(NUM_NEIGHBORS, len(gallery))
    places, _ = metrics.nearest_neighbors(embed(queries), embed(gallery), number)
    return Neighbors(asked, dict(zip(queries.tolist(), gallery[places], strict=True)))


def spread_over_nodes(dataset: data.Dataset, split: str, number: int) -> np.ndarray:
    """Rows of a split, of as many different nodes as can be, the same in every run.

    Rows are shuffled by a fixed seed; then the first row of every node of the coarsest
    level with several comes first, then the second of each, and so on.

    Args:
      dataset: gives rows and labels.
      split: of the rows.
      number: rows at most.
    """
    rows = np.random.default_rng(0).permutation(dataset.rows(split))
    labels = dataset.labels[rows]
    several = [len(np.unique(column)) > 1 for column in labels.T]
    nodes = labels[:, int(np.argmax(several))]
    turn = np.empty(len(rows), int)
    for node in np.unique(nodes):
        turn[nodes == node] = np.arange(np.sum(nodes == node))
    return rows[np.lexsort((nodes, turn))][:number]
