"""Classes that training has not seen: whether neighbours find them all the same."""

from collections.abc import Mapping

import numpy as np

from hierjax import data, evaluation
from hierjax.data.dataset import UNSEEN


def measure_unseen(
    embeddings: Mapping[str, evaluation.Embed], dataset: data.Dataset
) -> dict:
    """What k-NN says of the queries in the split 'unseen'.

    The gallery is that of the other queries, the training split: it holds rows of the
    unseen classes too, whose labels were hidden from training. There are no intervals:
    classes and units are too few.

    Args:
      embeddings: name, as ``input`` or ``learned``, to embedding.
      dataset: with such a split.

    Returns:
      ``queries``, their number; ``nodes``, level to the names of the nodes that no
      training label has; and for each name its measures ``knn/<level>``.
    """
    rows = dataset.rows(UNSEEN)
    found = {"queries": len(rows), "nodes": _new_nodes(dataset, rows)}
    for name, embed in embeddings.items():
        measured = evaluation.evaluate(embed, dataset, split=UNSEEN)
        measures = {
            f"knn/{level}": {"value": measured.measures[f"knn/{level}"]}
            for level in dataset.hierarchy.level_names
        }
        found[name] = {"measures": measures, "neighbors": measured.neighbors}
    return found


def _new_nodes(dataset: data.Dataset, rows: np.ndarray) -> dict[str, list[str]]:
    known, asked = dataset.train_labels[dataset.rows("train")], dataset.labels[rows]
    return {
        level: [
            dataset.hierarchy.node_names(place)[node]
            for node in np.setdiff1d(asked[:, place], known[:, place])
            if node >= 0
        ]
        for place, level in enumerate(dataset.hierarchy.level_names)
    }
