"""Pure functions from data set to data set.

Statistics come from the training split alone. What hides labels changes `train_labels`
of the training split as it is at that moment, so `refit` comes before it. Features of
bytes become float32 where they are changed.
"""

import dataclasses

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.feature_maps import FeatureMap
from hierjax.errors import UserError
from hierjax.hierarchy import UNKNOWN


def standardize(dataset: Dataset) -> Dataset:
    """Brings every feature to mean 0 and standard deviation 1 over the training rows.

    A feature that is constant there becomes 0 in every row. Where there are views, they
    are what counts: a feature may hardly change but in them.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> changed = standardize(notes)
      >>> train = changed.features[changed.rows("train")]
      >>> bool(np.allclose(train.mean(axis=0), 0, atol=1e-5))
      True
    """
    train = dataset.rows("train")
    if dataset.views is None:
        mean, scale = _moments(dataset.float_features(train))
    else:
        views = dataset.views[train].reshape(-1, dataset.views.shape[-1])
        # By columns: all of them in float64 may be larger than the memory.
        columns = range(0, views.shape[1], _COLUMNS)
        parts = [_moments(views[:, i : i + _COLUMNS]) for i in columns]
        mean, scale = map(np.concatenate, zip(*parts, strict=True))
    return _mapped(dataset, FeatureMap(mean, scale=scale))


_COLUMNS = 128


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over rows, infinite where a feature is constant."""
    values = values.astype(np.float64)
    constant = values.max(axis=0) == values.min(axis=0)
    return values.mean(axis=0), np.where(constant, np.inf, values.std(axis=0))


def center(dataset: Dataset) -> Dataset:
    """Brings the training rows to mean 0 and all features to one common scale.

    Unlike `standardize` it keeps the proportions of distances, and so the neighbours
    by Euclidean distance. The scale is the root mean square of all centred features,
    1 where they are constant.

    Example:
      >>> from hierjax.data import gm_notes
      >>> changed = center(gm_notes.load())
      >>> train = changed.features[changed.rows("train")]
      >>> bool(np.isclose(train.mean(), 0, atol=1e-5) and np.isclose(train.std(), 1))
      True
    """
    train = dataset.float_features(dataset.rows("train")).astype(np.float64)
    offset = train.mean(axis=0)
    scale = np.sqrt(np.mean((train - offset) ** 2)) or 1.0
    return _mapped(dataset, FeatureMap(offset, scale=np.full(offset.shape, scale)))


def _mapped(dataset: Dataset, feature_map: FeatureMap) -> Dataset:
    """Maps all rows and their views, and remembers how."""
    views = dataset.views
    if views is not None:
        train = dataset.rows("train")
        # Row by row: together they may be larger than the memory.
        first = feature_map(views[train[0]])
        mapped = np.zeros((len(views), *first.shape), np.float16)
        for row in train:
            mapped[row] = feature_map(views[row])
        views = mapped
    return dataclasses.replace(
        dataset,
        features=feature_map(dataset.float_features()),
        views=views,
        feature_maps=(*dataset.feature_maps, feature_map),
    )


def refit(dataset: Dataset) -> Dataset:
    """Moves the validation rows into training; no validation split is left.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> {split: len(rows) for split, rows in refit(notes).splits.items()}
      {'train': 1020, 'test': 510}
    """
    train = np.sort(np.concatenate([dataset.rows("train"), dataset.rows("validation")]))
    splits = {
        split: rows for split, rows in dataset.splits.items() if split != "validation"
    }
    return dataclasses.replace(dataset, splits=splits | {"train": train})


def keep_train(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Keeps a random part of the training rows; the others are left unused.

    Drawn from all rows alike, so that classes keep their shares on average only and a
    small class may lose all its rows. As in the option ``small`` of the code of
    "Inspecting class hierarchies in classification-based metric learning models"
    (arXiv 2301.11065), which validates on rows it does not train on; here the
    validation split stays as it is.

    Args:
      dataset: What to change; only the training split changes.
      count: How many to keep, 1 to all.
      seed: Non-negative integer.

    Raises:
      UserError: The count is out of range.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> len(keep_train(notes, 100, seed=0).rows("train"))
      100
    """
    train = dataset.rows("train")
    if not 1 <= count <= len(train):
        raise UserError(
            f"{dataset.name}: there are {len(train)} training rows to keep 1 to all "
            f"of, got {count}"
        )
    kept = np.random.default_rng(seed).permutation(train)[:count]
    return dataclasses.replace(
        dataset, splits=dataset.splits | {"train": np.sort(kept)}
    )


def keep_evaluated(dataset: Dataset, count: int) -> Dataset:
    """Keeps at most so many rows of every split but that of training.

    The same rows for every run, drawn at random, so that runs stay comparable query by
    query.

    Args:
      dataset: What to change.
      count: How many to keep, at least 1; a smaller split stays whole.

    Raises:
      UserError: The count is below 1.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> fewer = keep_evaluated(notes, 300)
      >>> {split: len(rows) for split, rows in fewer.splits.items()}
      {'train': 766, 'validation': 254, 'test': 300}
    """
    if count < 1:
        raise UserError(
            f"{dataset.name}: at least 1 row is needed to evaluate on, got {count}"
        )
    splits = dict(dataset.splits)
    for split in splits.keys() - {"train"}:
        rows = np.random.default_rng(0).permutation(splits[split])[:count]
        splits[split] = np.sort(rows)
    return dataclasses.replace(dataset, splits=splits)


def long_tail(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """Thins the training rows to an exponentially falling number a class.

    Class number c of C, in a random order, keeps ``n * ratio ** (-c / (C - 1))`` of its
    rows (rounded, at least one), with n the smallest class's number of rows: the
    usual long-tailed versions of balanced sets (Cui et al. 2019, arXiv 1901.05555),
    where the order is that of the class numbers. Validation and test stay.

    Args:
      dataset: What to change; only the training split changes. Rows of unknown class
        are left out.
      ratio: Rows of the most frequent class for one of the rarest, at least 1.
      seed: Of the order of the classes and of the rows kept.

    Raises:
      UserError: The ratio is below 1 or not finite.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> thinned = long_tail(notes, ratio=4, seed=0)
      >>> classes = thinned.labels[thinned.rows("train"), -1]
      >>> counts = np.bincount(classes)
      >>> int(counts.max()), int(counts.min())
      (4, 1)
    """
    if not 1 <= ratio < np.inf:
        raise UserError(f"{dataset.name}: the ratio must be at least 1, got {ratio}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(dataset.rows("train"))
    ids = dataset.labels[rows, -1]
    classes = rng.permutation(np.unique(ids[ids >= 0]))
    least = min(np.sum(ids == c) for c in classes)
    shares = ratio ** -np.linspace(0, 1, len(classes))
    kept = [
        rows[ids == c][: max(round(least * share), 1)]
        for c, share in zip(classes, shares, strict=True)
    ]
    return dataclasses.replace(
        dataset, splits=dataset.splits | {"train": np.sort(np.concatenate(kept))}
    )


def hide_fine_labels(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Hides the finest level of a random part of the training labels.

    Stratified by class: of every class, and of all training rows together, the part is
    met to within one row. With more than two levels only the last one is hidden.

    Args:
      dataset: What to change; only `train_labels` of the training split changes.
      fraction: Part to hide, 0 to 1; rows whose finest level is unknown anyway count.
      seed: Non-negative integer.

    Raises:
      UserError: The fraction is outside 0..1.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> hidden = hide_fine_labels(notes, 0.5, seed=0)
      >>> known = hidden.train_labels[hidden.rows("train")] != UNKNOWN
      >>> known.sum(axis=0).tolist()
      [766, 383]
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"the fraction to hide must be from 0 to 1, got {fraction}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(dataset.rows("train"))
    rows = rows[np.argsort(dataset.labels[rows, -1], kind="stable")]
    # Every row at which the running total passes a whole number, from a random start.
    total = np.floor(np.arange(len(rows) + 1) * fraction + rng.random())
    train_labels = dataset.train_labels.copy()
    train_labels[rows[np.diff(total) > 0], -1] = UNKNOWN
    return dataclasses.replace(dataset, train_labels=train_labels)


def drop_incomplete(dataset: Dataset) -> Dataset:
    """Hides all levels of the training rows that lack any, so that none is drawn.

    The rows stay in the training split: its statistics and the gallery that neighbours
    are looked up in do not change, so that only what is learned differs.

    Raises:
      UserError: No training row would be left.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> dropped = drop_incomplete(hide_fine_labels(notes, 0.5, seed=0))
      >>> known = dropped.train_labels[dropped.rows("train")] != UNKNOWN
      >>> known.sum(axis=0).tolist()
      [383, 383]
    """
    complete = (dataset.train_labels != UNKNOWN).all(axis=1)
    if not complete[dataset.rows("train")].any():
        raise UserError(
            f"{dataset.name}: no training row is labelled at every level; nothing is "
            "left to train on"
        )
    train_labels = np.where(complete[:, None], dataset.train_labels, UNKNOWN)
    return dataclasses.replace(dataset, train_labels=train_labels)


def coarse_only(dataset: Dataset) -> Dataset:
    """Hides the finest level of all training labels, in every row of the data set.

    Truth, tree and evaluation keep all L levels. The known part,
    ``train_labels[:, :-1]``, is what `Hierarchy.coarsen` of the first L - 1 levels
    calls complete labels: a loss that cannot do with unknown ones takes that.

    Raises:
      UserError: The tree has one level only.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> notes.train_labels[-1].tolist(), coarse_only(notes).train_labels[-1].tolist()
      ([11, 127], [11, -1])
    """
    if dataset.hierarchy.num_levels == 1:
        raise UserError(f"{dataset.name}: a tree of one level has no coarse labels")
    train_labels = dataset.train_labels.copy()
    train_labels[:, -1] = UNKNOWN
    return dataclasses.replace(dataset, train_labels=train_labels)


def pca(dataset: Dataset, dims: int) -> Dataset:
    """Projects the flattened features on the training split's principal components.

    Centred, not whitened; the solver's random state is fixed.

    Args:
      dataset: Features ``[N, ...]``.
      dims: Components to keep, at most the features and at most the training rows.

    Returns:
      Features ``[N, dims]``.

    Raises:
      UserError: dims is out of range.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> notes.features.shape, pca(notes, 8).features.shape
      ((1530, 24, 32), (1530, 8))
    """
    from sklearn import decomposition

    flat = dataset.float_features().reshape(len(dataset.features), -1)
    train = flat[dataset.rows("train")]
    if not 1 <= dims <= min(train.shape):
        raise UserError(
            f"{dataset.name}: PCA of {train.shape[0]} training rows with "
            f"{train.shape[1]} features keeps 1 to {min(train.shape)} dimensions, got "
            f"{dims}"
        )
    fitted = decomposition.PCA(dims, random_state=0).fit(train)
    mean = fitted.mean_.reshape(dataset.features.shape[1:])
    return _mapped(dataset, FeatureMap(mean, components=fitted.components_))


def add_noise(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """Adds Gaussian noise to every row of every split; views stay as they are.

    Args:
      dataset: What to change.
      ratio: Standard deviation of the noise, as a multiple of each feature's own over
        the training rows; 0 or more.
      seed: Non-negative integer.

    Raises:
      UserError: The ratio is negative or not finite.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> noisy = add_noise(notes, ratio=1.0, seed=0)
      >>> noise = (noisy.features - notes.features).std()
      >>> bool(0.9 < noise / notes.features.std(axis=0).mean() < 1.2)
      True
    """
    if not 0 <= ratio < np.inf:
        raise UserError(f"the noise ratio must be 0 or more, got {ratio}")
    features = dataset.float_features()
    deviation = features[dataset.rows("train")].std(axis=0, dtype=np.float64)
    noise = np.random.default_rng(seed).standard_normal(features.shape)
    return dataclasses.replace(dataset, features=features + ratio * deviation * noise)


def shuffle_hierarchy(dataset: Dataset, seed: int) -> Dataset:
    """Re-assigns the classes at random to the places of the tree.

    The random-hierarchy control of the rank-based loss (arXiv 2110.05941): tree,
    `labels` and `train_labels` all follow `Hierarchy.shuffled`; class ids stay. What
    `train_labels` did not know it does not know now. A row whose class is unknown in
    the truth has no place in the new tree and becomes unknown at every level.

    Example:
      >>> from hierjax.data import gm_notes
      >>> notes = gm_notes.load()
      >>> shuffled = shuffle_hierarchy(notes, seed=0)
      >>> bool((shuffled.labels[:, -1] == notes.labels[:, -1]).all())
      True
      >>> bool((shuffled.labels[:, 0] == notes.labels[:, 0]).all())
      False
    """
    hierarchy = dataset.hierarchy.shuffled(seed)
    labels = hierarchy.labels_of(dataset.labels[:, -1])
    return dataclasses.replace(
        dataset,
        hierarchy=hierarchy,
        labels=labels,
        train_labels=np.where(dataset.train_labels == UNKNOWN, UNKNOWN, labels),
    )
