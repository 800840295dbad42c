"""What the input itself is worth: its vectors, and a linear classifier of them."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.evaluation.embeddings import neighbor_accuracies
from hierjax.evaluation.queries import Embed, correct, mean
from hierjax.metrics.threads import block_map

NUM_COMPONENTS = 128
"""Principal components that inputs are reduced to."""
_LARGEST_SIDE = 32
_MAX_FITTED = 10_000
"""Training rows that means, deviations and components are fitted on."""
_BLOCK = 4096
_PENALTIES = (0.03, 0.3)
"""Inverse strengths of the logistic regression's penalty (C of scikit-learn)."""
_SHRINKAGES = (0.03, 0.3)
"""Shares of the covariance that are a multiple of the identity."""
_MAX_PRODUCT = 3e8
"""Rows x components x nodes of a logistic regression: some 6 s of one core."""
_LEAST_ROWS = 5
"""Rows a node below which a logistic regression is left to the discriminants."""
_ITERATIONS = 60


@dataclasses.dataclass(frozen=True)
class LinearBaseline:
    """How well a linear classifier tells nodes from the input.

    Attributes:
      measures: ``linear/<level>``, the accuracy at every level of the tree; NaN where
        no training row or no query has a known node.
      per_query: the values of every query ``[Q]`` by measure.
      chosen: level to the kind of classifier that validation chose, '' for none.
      rows: ``[Q]`` rows of the data set that were the queries.
      units: ``[Q]`` their bootstrap units.
    """

    measures: dict[str, float]
    per_query: dict[str, np.ndarray]
    chosen: dict[str, str]
    rows: np.ndarray
    units: np.ndarray


def principal_inputs(data: Dataset) -> np.ndarray:
    """The rows of a data set as a few numbers each, whatever they were.

    Images are shrunk to a shorter side below 64 by averaging squares of pixels, every
    feature is standardised, and the rows are projected on their principal components,
    all fitted on at most 10,000 training rows.

    Args:
      data: features of any shape.

    Returns:
      float32 ``[N, d]`` with d at most 128, the features a row and the rows fitted on;
      scaled by one factor to a mean variance of 1; zeros ``[N, 1]`` for inputs that are
      all the same.
    """
    train = data.rows("train")
    fitted = train
    if len(train) > _MAX_FITTED:
        fitted = np.sort(np.random.default_rng(0).choice(train, _MAX_FITTED, False))
    sample = _flat(data, fitted)
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    # Division by infinity leaves 0 where a feature never changes.
    deviation[sample.max(axis=0) == sample.min(axis=0)] = np.inf
    sample = (sample - mean) / deviation
    if not sample.any():
        return np.zeros((len(data.labels), 1), np.float32)
    # Imported here, as below: scikit-learn is slow to load.
    from sklearn.decomposition import PCA

    components = PCA(min(NUM_COMPONENTS, *sample.shape), random_state=0)
    with block_map() as mapped:
        components.fit(sample)
        blocks = mapped(
            lambda rows: components.transform((_flat(data, rows) - mean) / deviation),
            _blocks(np.arange(len(data.labels))),
        )
        vectors = np.concatenate(list(blocks))
    return (vectors / vectors[fitted].std()).astype(np.float32)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _flat(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Features ``[n, F]`` of some rows, large images shrunk."""
    return np.concatenate([_shrunk(data, block) for block in _blocks(rows)])


def _shrunk(data: Dataset, rows: np.ndarray) -> np.ndarray:
    values = data.float_features(rows)
    is_image = values.ndim == 4 or (values.ndim == 3 and data.features.dtype == "uint8")
    factor = min(values.shape[1:3]) // _LARGEST_SIDE if is_image else 1
    if factor > 1:
        height, width = (side // factor for side in values.shape[1:3])
        values = values[:, : height * factor, : width * factor]
        squares = (len(rows), height, factor, width, factor, -1)
        values = values.reshape(squares).mean(axis=(2, 4))
    return values.reshape(len(rows), -1)


def choose_input(
    candidates: Mapping[str, Embed], data: Dataset, *, distance: str = "cosine"
) -> str:
    """Which form of the input has the best neighbours on validation.

    Args:
      candidates: name to ``rows [M] -> vectors [M, D]``.
      data: labels and splits.
      distance: ``'cosine'`` or ``'euclidean'``.

    Returns:
      The name of the best by the mean over levels of the best k-NN accuracy; of
      equally good ones, and without a validation split, the first.
    """
    names = list(candidates)
    if len(names) == 1 or "validation" not in data.splits:
        return names[0]

    def score(name: str) -> float:
        by_level = neighbor_accuracies(candidates[name], data, distance=distance)
        known = [values.max() for values in by_level if np.isfinite(values).any()]
        return float(np.mean(known)) if known else 0.0

    return max(names, key=score)


def linear_baseline(
    vectors: np.ndarray, data: Dataset, *, split: str = "test"
) -> LinearBaseline:
    """Accuracy of a linear classifier of the input, one for every level.

    Validation chooses among linear discriminants, which cost next to nothing, and,
    where rows and nodes are few enough for seconds, multinomial logistic regressions;
    a training split of too many rows for that lends them a random part, so long as
    that is five rows a node. Without a validation split it is the logistic regression
    of the weaker penalty, or else the more shrunken discriminant.

    Args:
      vectors: ``[N, d]`` of all rows, such as `principal_inputs`.
      data: trained on are the labels that training may see, measured the true ones.
      split: queries.

    Returns:
      A `LinearBaseline`.

    Example:
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> labels = tree.labels_of(np.arange(90) % 3)
      >>> vectors = np.eye(3)[np.arange(90) % 3]
      >>> splits = {"train": np.arange(60), "test": np.arange(60, 90)}
      >>> data = Dataset("toy", vectors, labels, tree, splits)
      >>> found = linear_baseline(vectors, data)
      >>> found.measures, found.chosen["level_0"]
      ({'linear/level_0': 1.0, 'linear/level_1': 1.0}, 'logistic regression')
    """
    from sklearn.exceptions import ConvergenceWarning

    rows = data.rows(split)
    per_query, chosen = {}, {}
    with block_map() as mapped, warnings.catch_warnings():
        # A few steps short of convergence is as good a baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for level, name in enumerate(data.hierarchy.level_names):
            kind, predicted = _level_predictions(vectors, data, level, rows, mapped)
            per_query[f"linear/{name}"] = correct(predicted, data.labels[rows, level])
            chosen[name] = kind
            if not kind:
                per_query[f"linear/{name}"][:] = np.nan
    measures = {name: mean(values) for name, values in per_query.items()}
    return LinearBaseline(measures, per_query, chosen, rows, data.units[rows])


def _level_predictions(
    vectors: np.ndarray, data: Dataset, level: int, rows: np.ndarray, mapped: Callable
) -> tuple[str, np.ndarray]:
    """The kind of classifier that is best on validation, and its nodes of some rows."""
    train = data.rows("train")
    train = train[data.train_labels[train, level] >= 0]
    if not train.size:
        return "", np.full(len(rows), -1)
    nodes, places = np.unique(data.train_labels[train, level], return_inverse=True)
    if len(nodes) == 1:
        return "one node", np.full(len(rows), nodes[0])
    kinds, fits = zip(*_classifiers(vectors[train], places, len(nodes)), strict=True)
    fitted = list(mapped(lambda fit: fit(), fits))
    best = len(fitted) - 1
    if "validation" in data.splits:
        held_out = data.rows("validation")
        held_out = held_out[data.labels[held_out, level] >= 0]
        hits = [
            np.sum(
                nodes[_predicted(vectors[held_out], *one)]
                == data.labels[held_out, level]
            )
            for one in fitted
        ]
        # Of equally good ones the preferred.
        best -= int(np.argmax(hits[::-1]))
    return kinds[best], nodes[_predicted(vectors[rows], *fitted[best])]


def _predicted(
    vectors: np.ndarray, weights: np.ndarray, biases: np.ndarray
) -> np.ndarray:
    """Places of the best scores, some rows at a time."""
    parts = [
        np.argmax(vectors[rows] @ weights.T + biases, axis=1)
        for rows in _blocks(np.arange(len(vectors)))
    ]
    return np.concatenate([np.zeros(0, np.intp), *parts])


def _classifiers(
    vectors: np.ndarray, places: np.ndarray, num_nodes: int
) -> Iterator[tuple[str, Callable]]:
    """Kinds and what fits weights ``[C, d]`` and biases ``[C]``; the preferred last."""
    for shrinkage in _SHRINKAGES:
        yield (
            "LDA",
            functools.partial(_discriminant, vectors, places, num_nodes, shrinkage),
        )
    most = int(_MAX_PRODUCT / (vectors.shape[1] * num_nodes))
    if len(places) > most:
        if most < _LEAST_ROWS * num_nodes:
            return
        kept = np.random.default_rng(0).choice(len(places), most, replace=False)
        vectors, places = vectors[kept], places[kept]
        if len(np.unique(places)) < 2:
            return
    for penalty in _PENALTIES:
        yield (
            "logistic regression",
            functools.partial(_regression, vectors, places, num_nodes, penalty),
        )


def _regression(
    vectors: np.ndarray, places: np.ndarray, num_nodes: int, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial, of the nodes that have rows; the others are never chosen."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=penalty, max_iter=_ITERATIONS, tol=1e-3)
    fitted.fit(vectors, places)
    weights, biases = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # Two nodes have one score, that of the second.
        weights, biases = np.vstack([-weights, weights]), np.append(-biases, biases)
    whole = np.zeros((num_nodes, weights.shape[1]), np.float32)
    whole[fitted.classes_] = weights
    offsets = np.full(num_nodes, -np.inf, np.float32)
    offsets[fitted.classes_] = biases
    return whole, offsets


def _discriminant(
    vectors: np.ndarray, places: np.ndarray, num_nodes: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fisher's linear discriminant with a shrunken common covariance.

    Rows that are all alone in their node, or equal to its others, leave the identity.
    """
    counts = np.bincount(places, minlength=num_nodes)
    means = np.zeros((num_nodes, vectors.shape[1]))
    np.add.at(means, places, vectors)
    means /= counts[:, None]
    within = vectors - means[places]
    covariance = within.T @ within / max(len(places) - num_nodes, 1)
    spread = np.trace(covariance) / len(covariance)
    identity = np.eye(len(covariance))
    covariance = (1 - shrinkage) * covariance + shrinkage * spread * identity
    weights = np.linalg.solve(covariance if spread > 0 else identity, means.T).T
    biases = np.log(counts / counts.sum()) - (weights * means).sum(axis=1) / 2
    return weights.astype(np.float32), biases.astype(np.float32)
