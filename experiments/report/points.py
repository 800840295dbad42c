"""The points of the interactive maps: where rows lie and what they are."""

import importlib.util

import numpy as np

from hierjax import metrics
from hierjax.data import Dataset
from hierjax.evaluation import Evaluation
from hierjax.plotting import tree_colors

MAX_POINTS = 2000
"""Rows in a map: t-SNE of so many takes some 10 s."""
_PERPLEXITY = 30
_DIGITS = 4


def drawn_queries(number: int) -> np.ndarray:
    """Positions of the queries in the maps: all, or a fixed draw of `MAX_POINTS`."""
    if number <= MAX_POINTS:
        return np.arange(number)
    drawn = np.random.default_rng(0).choice(number, MAX_POINTS, replace=False)
    return np.sort(drawn)


def planes(embeddings: np.ndarray) -> dict[str, dict]:
    """Projections of embeddings on the plane, by name.

    Args:
      embeddings: finite ``[N, D]``.

    Returns:
      Name to ``points`` ``[N, 2]`` and the ``axes``' names: the dimensions themselves
      where there are at most two; else t-SNE where there are rows enough for
      neighbours, UMAP where umap-learn is installed, and principal components.
    """
    number, dim = embeddings.shape
    if dim == 1:
        # The second axis carries no meaning; it only keeps points apart.
        spread = np.random.default_rng(0).uniform(-1, 1, number)
        points = np.column_stack([embeddings[:, 0], spread])
        return {"embedding": _plot(points, ["dimension 0", "spread at random"])}
    if dim == 2:
        return {"embedding": _plot(embeddings, ["dimension 0", "dimension 1"])}
    found = {}
    if number >= 5:
        perplexity = min(_PERPLEXITY, (number - 1) / 3)
        found["t-SNE"] = _plot(
            metrics.tsne_coordinates(embeddings, perplexity=perplexity), ["", ""]
        )
        if importlib.util.find_spec("umap"):
            found["UMAP"] = _plot(metrics.umap_coordinates(embeddings), ["", ""])
    found["PCA"] = _components(embeddings, 2)
    return found


def space(embeddings: np.ndarray) -> dict | None:
    """Points in three dimensions; None where there are fewer."""
    dim = embeddings.shape[1]
    if dim < 3:
        return None
    if dim == 3:
        return _plot(embeddings, [f"dimension {k}" for k in range(3)])
    return _components(embeddings, 3)


def _hex(colors: np.ndarray) -> list[str]:
    """Colours ``[n, 3]`` from 0 to 1 as ``#rrggbb``."""
    return [f"#{bytes(rgb).hex()}" for rgb in np.round(255 * colors).astype(np.uint8)]


def _components(embeddings: np.ndarray, number: int) -> dict:
    points, shares = metrics.principal_coordinates(embeddings, number)
    names = [f"component {k} ({share:.0%})" for k, share in enumerate(shares)]
    return _plot(points, names)


def _plot(points: np.ndarray, axes: list[str]) -> dict:
    scale = np.abs(points).max() or 1.0
    decimals = int(np.ceil(_DIGITS - np.log10(scale)))
    columns = np.round(np.asarray(points, np.float64), decimals).T
    return {"points": columns.tolist(), "axes": axes}


def map_data(dataset: Dataset, measured: Evaluation, embeddings: np.ndarray) -> dict:
    """All that the maps of a page need, as plain lists.

    Args:
      dataset: gives labels, names and the tree.
      measured: gives queries and predictions.
      embeddings: ``[Q, D]`` of the queries.
    """
    drawn = drawn_queries(len(measured.rows))
    rows = measured.rows[drawn]
    hierarchy, labels = dataset.hierarchy, dataset.labels[rows]
    return {
        "names": [row_name(dataset, row) for row in rows],
        "labels": labels.T.tolist(),
        "predictions": measured.predictions[drawn].T.tolist(),
        "ancestors": hierarchy.ancestors.tolist(),
        "levels": [
            {
                "name": name,
                "nodes": hierarchy.node_names(level),
                "colors": _hex(tree_colors(hierarchy, level)),
            }
            for level, name in enumerate(hierarchy.level_names)
        ],
        "start": telling_level(labels),
        "paths": hierarchy.paths,
        "planes": planes(embeddings[drawn]),
        "space": space(embeddings[drawn]),
    }


def telling_level(labels: np.ndarray) -> int:
    """The level that a map is first coloured by.

    The coarsest one where no node has more than half of the rows of known label, so
    that colours tell something; the finest where every level has such a node.

    Args:
      labels: ``[N, L]`` node ids, -1 unknown.
    """
    for level, nodes in enumerate(labels.T):
        known = nodes[nodes >= 0]
        if known.size and 2 * np.bincount(known).max() <= known.size:
            return level
    return labels.shape[1] - 1


def row_name(dataset: Dataset, row: int) -> str:
    """The row's name, 'row 17' where rows have only numbers."""
    if dataset.row_names is None:
        return f"row {row}"
    return str(dataset.row_names[row])


def label_path(dataset: Dataset, row: int) -> tuple[str, ...]:
    """Names of a row's label, coarsest first, as far as it is known."""
    hierarchy, labels = dataset.hierarchy, dataset.labels[row]
    known = int((labels >= 0).sum())
    if not known:
        return ()
    c = np.argmax(hierarchy.ancestors[:, known - 1] == labels[known - 1])
    return hierarchy.paths[c][:known]
