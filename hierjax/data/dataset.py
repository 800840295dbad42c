"""A labelled data set with its tree and its splits, checked once on construction."""

import dataclasses
import hashlib

import numpy as np

from hierjax.data.feature_maps import FeatureMap, ImageEncoding
from hierjax.data.reading.texts import TextEncoding
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

SPLITS = ("train", "validation", "test")
UNSEEN = "unseen"
"""Split of queries of which training has seen no class, measured beside the test."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of features, their labels in a tree, and who may be trained on.

    Attributes:
      name: Where the data come from; opens every error message.
      features: ``[N, ...]``. Bytes (uint8) stay as they are and stand for value / 255,
        so that images take a quarter of the memory; all other numbers must be finite
        and become float32.
      labels: ``[N, L]`` true node ids, coarsest first; -1 is unknown, a suffix.
      hierarchy: The label tree.
      splits: Row indices of 'train', 'validation', 'test' and 'unseen', further
        queries of classes whose labels training does not see; all but the first may be
        missing. No row is in two splits; rows in no split are unused.
      units: ``[N]`` id of the unit to resample in a bootstrap (a recording place, an
        instrument); None makes every row its own unit.
      unit_name: What a unit is, in one word.
      train_labels: ``[N, L]`` what training may see; None copies ``labels``.
      sizes: ``[N, 2]`` width and height of the original images in pixels, positive,
        kept as float32; None where they are not known or do not matter.
      row_names: ``[N]`` strings, what to call each row, such as its file; None where
        rows have only numbers.
      feature_maps: What made the features from the data as they were read, first to
        last; a trained model does the same to new data. What makes vectors of images
        or texts comes before all others.
      views: ``[N, K, F]`` float16, K changed copies of every training row's features
        ``[F]``, of which a training step draws; None: it takes the features. What
        other rows have there is never looked at.

    Example:
      >>> import numpy as np
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths([("animal", "owl"), ("animal", "cod"), ("oak",)])
      >>> dataset = Dataset(
      ...     name="six rows",
      ...     features=np.arange(12).reshape(6, 2),
      ...     labels=tree.labels_of([0, 1, 2, 0, 1, 2]),
      ...     hierarchy=tree,
      ...     splits={"train": [0, 1, 2], "test": [3, 4, 5]},
      ... )
      >>> dataset.labels[dataset.rows("train")].tolist()
      [[0, 0], [0, 1], [1, 2]]
      >>> dataset.features.dtype
      dtype('float32')
    """

    name: str
    features: np.ndarray
    labels: np.ndarray
    hierarchy: Hierarchy
    splits: dict[str, np.ndarray]
    units: np.ndarray | None = None
    unit_name: str = "row"
    train_labels: np.ndarray | None = None
    sizes: np.ndarray | None = None
    row_names: np.ndarray | None = None
    feature_maps: tuple[FeatureMap | ImageEncoding | TextEncoding, ...] = ()
    views: np.ndarray | None = None

    def __post_init__(self):
        """Brings the arrays to their types and checks all of them.

        Raises:
          UserError: Sizes disagree, a label is not in the tree, a feature is not
            finite, an image's size is not positive, or a split is unknown, empty, out
            of range or overlaps another.
        """
        features = np.asarray(self.features)
        if features.dtype != np.uint8:
            features = self._float32(features)
        if features.ndim < 2:
            raise UserError(
                f"{self.name}: features must be [N, ...], got shape {features.shape}"
            )
        size = len(features)
        labels = self._int32("labels", self.labels)
        if self.train_labels is None:
            train_labels = labels
        else:
            train_labels = self._int32("train_labels", self.train_labels)
        if self.units is None:
            units = np.arange(size, dtype=np.int32)
        else:
            units = self._int32("units", self.units)
        sizes = None if self.sizes is None else self._float32(self.sizes)
        row_names = None if self.row_names is None else np.asarray(self.row_names, str)
        splits = {
            split: self._int32(f"split {split!r}", rows)
            for split, rows in self.splits.items()
        }

        for what, array, shape in (
            ("labels", labels, (size, self.hierarchy.num_levels)),
            ("train_labels", train_labels, (size, self.hierarchy.num_levels)),
            ("units", units, (size,)),
            ("sizes", sizes, (size, 2)),
            ("row_names", row_names, (size,)),
        ):
            if array is not None and array.shape != shape:
                raise UserError(
                    f"{self.name}: {what} must have shape {shape} to fit the features "
                    f"and the tree, got {array.shape}"
                )
        if self.views is not None:
            self._check_views(features)
        if features.dtype != np.uint8:
            self._check_finite(features)
        if sizes is not None:
            self._check_sizes(sizes)
        self._check_labels("labels", labels)
        if train_labels is not labels:
            self._check_labels("train_labels", train_labels)
        self._check_splits(splits, size)

        for field, value in (
            ("features", features),
            ("labels", labels),
            ("splits", splits),
            ("units", units),
            ("train_labels", train_labels),
            ("sizes", sizes),
            ("row_names", row_names),
        ):
            object.__setattr__(self, field, value)

    def rows(self, split: str) -> np.ndarray:
        """Returns the row indices of a split, int32.

        Raises:
          UserError: There is no such split; the message lists those there are.
        """
        if split not in self.splits:
            there = ", ".join(repr(name) for name in self.splits)
            raise UserError(f"{self.name}: no split {split!r}; there are {there}")
        return self.splits[split]

    @property
    def inputs(self) -> np.ndarray | dict[str, np.ndarray]:
        """What a model is fed: the features, or a dict where there are sizes.

        The dict has ``image``, the features, and ``size``, the sizes; rows are taken
        from each.
        """
        if self.sizes is None:
            return self.features
        return {"image": self.features, "size": self.sizes}

    @property
    def training_inputs(self) -> np.ndarray | dict[str, np.ndarray]:
        """What a training step takes its rows from: `inputs`, with ``views`` if any."""
        if self.views is None:
            return self.inputs
        inputs = {"image": self.features} if self.sizes is None else self.inputs
        return inputs | {"views": self.views}

    def float_features(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Returns features as float32 ``[n, ...]``, bytes scaled to 0..1.

        Args:
          rows: ``[n]`` indices; None takes all rows, without a copy where the features
            are float32 already.
        """
        features = self.features if rows is None else self.features[rows]
        if features.dtype == np.uint8:
            return features.astype(np.float32) / 255
        return features

    def digest(self) -> str:
        """Returns a text that changes with the rows, their labels, splits or names.

        What features say is left out, since decoders differ in the last bit.
        """
        text = hashlib.sha256(
            repr((self.features.shape, self.hierarchy.paths)).encode()
        )
        for array in (self.labels, self.train_labels, self.units):
            text.update(np.ascontiguousarray(array).tobytes())
        for split, rows in sorted(self.splits.items()):
            text.update(split.encode() + rows.tobytes())
        if self.row_names is not None:
            text.update("\n".join(self.row_names).encode())
        return text.hexdigest()

    def _float32(self, values: np.ndarray) -> np.ndarray:
        """Too large a number becomes infinite, which the checks refuse."""
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float32)

    def _int32(self, what: str, values: np.ndarray) -> np.ndarray:
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "iu":
            raise UserError(f"{self.name}: {what} must be integers, got {array.dtype}")
        limits = np.iinfo(np.int32)
        wide = (array < limits.min) | (array > limits.max)
        if wide.any():
            raise UserError(
                f"{self.name}: {what} have {array[wide][0]}, accepted are integers of "
                "32 bits"
            )
        return array.astype(np.int32, copy=False)

    def _check_views(self, features: np.ndarray) -> None:
        """Looked through where they are made; there are many."""
        shape, wanted = self.views.shape, (len(features), "K", *features.shape[1:])
        if len(shape) != len(wanted) or (shape[0], *shape[2:]) != (
            wanted[0],
            *wanted[2:],
        ):
            raise UserError(
                f"{self.name}: views must have shape {wanted} to fit the features, got "
                f"{shape}"
            )

    def _check_finite(self, features: np.ndarray) -> None:
        finite = np.isfinite(features.reshape(len(features), -1)).all(axis=1)
        if not finite.all():
            raise UserError(
                f"{self.name}: row {np.argmin(finite)} has a feature that is not "
                "finite; remove or mend such rows"
            )

    def _check_sizes(self, sizes: np.ndarray) -> None:
        positive = (sizes > 0).all(axis=1) & np.isfinite(sizes).all(axis=1)
        if not positive.all():
            row = np.argmin(positive)
            width, height = sizes[row]
            raise UserError(
                f"{self.name}: sizes row {row} is {width:g} x {height:g}, accepted are "
                "positive widths and heights in pixels"
            )

    def _check_labels(self, what: str, labels: np.ndarray) -> None:
        """Every known label must be a node whose parent is the label before it."""
        known = labels >= 0
        low = labels < -1
        high = labels >= np.array(self.hierarchy.nodes_per_level)
        if (low | high).any():
            row, level = np.argwhere(low | high)[0]
            raise UserError(
                f"{self.name}: {what} row {row} has {labels[row, level]} at level "
                f"{level}, accepted are -1 (unknown) and 0 to "
                f"{self.hierarchy.nodes_per_level[level] - 1}"
            )
        gap = known[:, 1:] & ~known[:, :-1]
        if gap.any():
            row, level = np.argwhere(gap)[0]
            raise UserError(
                f"{self.name}: {what} row {row} is known at level {level + 1} but not "
                f"at level {level}; unknown levels must be the last ones"
            )
        ancestors = self.hierarchy.ancestors
        for level in range(1, labels.shape[1]):
            parent = np.empty(self.hierarchy.nodes_per_level[level], np.int32)
            parent[ancestors[:, level]] = ancestors[:, level - 1]
            wrong = known[:, level] & (parent[labels[:, level]] != labels[:, level - 1])
            if wrong.any():
                row = np.argmax(wrong)
                child = self.hierarchy.node_names(level)[labels[row, level]]
                above = self.hierarchy.node_names(level - 1)[labels[row, level - 1]]
                raise UserError(
                    f"{self.name}: {what} row {row} puts {child!r} under {above!r}, "
                    "which is not its parent in the tree"
                )

    def _check_splits(self, splits: dict[str, np.ndarray], size: int) -> None:
        if "train" not in splits or not set(splits) <= {*SPLITS, UNSEEN}:
            raise UserError(
                f"{self.name}: splits must be 'train' and, if wanted, 'validation', "
                f"'test' and 'unseen', got {sorted(splits)}"
            )
        owner = np.full(size, "", "<U10")
        for split, rows in splits.items():
            if rows.ndim != 1 or not rows.size:
                raise UserError(
                    f"{self.name}: split {split!r} must be a non-empty list of rows, "
                    f"got shape {rows.shape}"
                )
            outside = (rows < 0) | (rows >= size)
            if outside.any():
                raise UserError(
                    f"{self.name}: split {split!r} names row {rows[outside][0]}, "
                    f"accepted are 0 to {size - 1}"
                )
            taken = owner[rows] != ""
            if taken.any():
                row = rows[taken][0]
                raise UserError(
                    f"{self.name}: row {row} is in split {split!r} and in split "
                    f"{str(owner[row])!r}"
                )
            owner[rows] = split
            if len(np.unique(rows)) < len(rows):
                raise UserError(f"{self.name}: split {split!r} names a row twice")
