"""Linear evaluation: linear classifiers on frozen features.

One classifier a target (the classes and every coarser level) and learning rate, all
trained at once. Weights start at zero: the problem is convex, and nothing but the order
of the rows is left to chance.

Source: the linear evaluation of SupContrast (Khosla et al. 2020): cross entropy, SGD
with momentum and without weight decay, 100 epochs, learning rate x 0.2 at 60, 75 and
90 % of them. There it is one fixed rate, and the best epoch on test is reported. Here
rate and epoch are chosen on validation, and unless ``standardize`` is off features are
standardised.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax.errors import UserError
from hierjax.evaluation.queries import correct, mean_of_known
from hierjax.options import Options, option

_Weights = tuple[jax.Array, ...]
"""One ``[F + 1, R, C]`` a target, R learning rates; the last feature is always 1."""


@dataclasses.dataclass(frozen=True)
class ProbeConfig(Options):
    """Settings of `linear_probe`; all checked on construction."""

    num_epochs: int = option(100, "passes over the training rows.", minimum=1)
    batch_size: int = option(256, "rows a step.", minimum=1)
    learning_rates: tuple = option(
        (0.1, 1.0, 10.0), "among which validation chooses, for each target apart."
    )
    momentum: float = option(0.9, "of SGD.", minimum=0, below=1)
    decay: float = option(
        0.2, "factor on the learning rate at each share in ``decay_at``.", minimum=0
    )
    decay_at: tuple = option(
        (0.6, 0.75, 0.9), "shares of the epochs after which the rate falls."
    )
    standardize: bool = option(
        True,
        "subtract the training mean from every feature and divide by its training "
        "deviation, then scale all so that rows have mean squared length 1; features "
        "constant in training become 0. Encoders differ by orders of magnitude in size "
        "and number of their features; this way one set of rates serves all (from 64 "
        "pixels to 2048 ReLU units the best was between 1 and 10).",
    )
    seed: int = option(0, "of the order of the rows.", minimum=0)

    def __post_init__(self):
        super().__post_init__()
        rates = self.learning_rates
        if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise UserError(
                f"learning_rates must be one or more numbers above 0, got {rates}"
            )
        if not all(0 <= share <= 1 for share in self.decay_at):
            raise UserError(
                f"decay_at must be shares of the epochs in 0 to 1, got {self.decay_at}"
            )


@dataclasses.dataclass(frozen=True)
class Choice:
    """Classifiers chosen on validation, one a target, and how they do.

    Attributes:
      learning_rates: ``[T]`` of the chosen classifiers.
      epochs: int ``[T]``, the epoch (from 1) after which each was taken.
      correct: split to ``[M, T]``, 1 where right, 0 where wrong, NaN where unknown.
      accuracy: split to ``[T]``, the means of these; NaN where nothing is known.
    """

    learning_rates: np.ndarray
    epochs: np.ndarray
    correct: dict[str, np.ndarray]
    accuracy: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Probe:
    """What `linear_probe` returns.

    Attributes:
      last: classifiers of the last epoch, of the learning rate with the best validation
        accuracy then; of the only rate without a validation split.
      best: those of the rate and epoch with the best validation accuracy; None without
        a validation split.
      validation_accuracy: ``[num_epochs, R, T]`` after every epoch; None likewise.
    """

    last: Choice
    best: Choice | None
    validation_accuracy: np.ndarray | None


def linear_probe(
    train: tuple[np.ndarray | Callable[[int], np.ndarray], np.ndarray],
    evaluated: Mapping[str, tuple[np.ndarray, np.ndarray]],
    num_classes: Sequence[int],
    config: ProbeConfig,
) -> Probe:
    """Train linear classifiers on frozen features and measure them.

    Nothing is ever chosen on another split than 'validation'. Among equals the first
    learning rate and the earliest epoch are taken.

    Args:
      train: features and targets int ``[N, T]``. Features are ``[N, F]``, or
        ``epoch -> [N, F]``, called for epochs 0, 1, ... in turn, whose result may
        differ between epochs as that of `augmented_embedder` does.
      evaluated: name of a split to its features ``[M, F]`` and targets ``[M, T]``.
        'validation' is optional.
      num_classes: number of classes of each target. Targets are 0 to below that, or -1,
        unknown: such an entry neither teaches nor counts.
      config: settings; one learning rate only without 'validation'.

    Returns:
      A `Probe`. On one kind of device it is a function of the arguments alone.

    Raises:
      UserError: shapes or targets that do not fit, features that are not finite,
        several learning rates without validation, or a target of which training or
        validation knows nothing.

    Example:
      >>> import numpy as np
      >>> rows = np.array([[0.0], [0.2], [0.8], [1.0]]), np.array([[0], [0], [1], [1]])
      >>> found = linear_probe(
      ...     rows,
      ...     {"validation": rows, "test": rows},
      ...     num_classes=[2],
      ...     config=ProbeConfig(num_epochs=5),
      ... )
      >>> found.best.accuracy["test"].tolist()
      [1.0]
    """
    source, targets = train
    make_features = source if callable(source) else lambda epoch: source
    features, num_classes = np.asarray(make_features(0)), tuple(num_classes)
    check = functools.partial(_check, num_classes=num_classes, features=features)
    targets = check("train", features, targets)
    evaluated = {name: (np.asarray(x), y) for name, (x, y) in evaluated.items()}
    evaluated = {name: (x, check(name, x, y)) for name, (x, y) in evaluated.items()}
    chooses = "validation" in evaluated
    if chooses:
        _check_known("validation", evaluated["validation"][1])
    elif len(config.learning_rates) > 1:
        raise UserError(
            "without a validation split there is nothing to choose a learning rate on; "
            f"give one, got {config.learning_rates}"
        )
    _check_known("train", targets)

    prepare = _make_prepare(features, standardize=config.standardize)
    x, y = jnp.asarray(prepare(features)), jnp.asarray(targets)
    splits = {
        name: (jnp.asarray(prepare(inputs)), jnp.asarray(labels))
        for name, (inputs, labels) in evaluated.items()
    }
    key = jax.random.key(config.seed)
    rates = np.float32(config.learning_rates)
    weights = tuple(jnp.zeros((x.shape[1], len(rates), n)) for n in num_classes)
    velocity, best = weights, (weights, jnp.full((len(rates), len(num_classes)), -1.0))
    history = []
    for epoch in range(config.num_epochs):
        if callable(source) and epoch:
            features = np.asarray(source(epoch))
            check("train", features, targets)
            x = jnp.asarray(prepare(features))
        decays = sum(epoch / config.num_epochs >= share for share in config.decay_at)
        weights, velocity = _train_epoch(
            weights,
            velocity,
            x,
            y,
            jax.random.fold_in(key, epoch),
            rates * np.float32(config.decay**decays),
            np.float32(config.momentum),
            batch_size=min(config.batch_size, len(targets)),
        )
        if chooses:
            accuracy, best = _keep_best(weights, best, *splits["validation"])
            history.append(accuracy)

    measure = functools.partial(_measure, splits=splits, config=config)
    last_epoch = np.full(len(num_classes), config.num_epochs)
    if not chooses:
        only = np.zeros(len(num_classes), int)
        return Probe(measure(weights, only, last_epoch), None, None)
    history = np.stack(history)
    last = measure(weights, history[-1].argmax(0), last_epoch)
    rate = history.max(0).argmax(0)
    epochs = 1 + history[:, rate, np.arange(len(rate))].argmax(0)
    return Probe(last, measure(best[0], rate, epochs), history)


def _check(
    name: str,
    x: np.ndarray,
    targets: np.ndarray,
    *,
    num_classes: tuple[int, ...],
    features: np.ndarray,
) -> np.ndarray:
    """The targets as int32, after checking that all fits the training features."""
    if x.ndim != 2 or not x.size or x.shape[1] != features.shape[1]:
        raise UserError(
            f"{name}: features must be [N, F] with F as in training and not empty, got "
            f"{x.shape}, in training {features.shape}"
        )
    if not np.isfinite(x).all():
        raise UserError(f"{name}: features must be finite")
    targets = np.asarray(targets)
    wanted = len(x), len(num_classes)
    if targets.shape != wanted or not np.issubdtype(targets.dtype, np.integer):
        raise UserError(
            f"{name}: targets must be integers {wanted}, a row a row of features and a "
            f"column an entry of num_classes, got {targets.dtype} {targets.shape}"
        )
    bad = (targets < -1) | (targets >= np.asarray(num_classes)[None])
    for row, target in np.argwhere(bad)[:1]:
        raise UserError(
            f"{name}: column {target} of the targets must be -1 (unknown) or 0 to "
            f"{num_classes[target] - 1}, got {targets[row, target]} in row {row}"
        )
    return targets.astype(np.int32)


def _check_known(name: str, targets: np.ndarray) -> None:
    for target in np.flatnonzero((targets < 0).all(0)):
        raise UserError(
            f"{name}: column {target} of the targets is unknown (-1) in every row; "
            "leave it out"
        )


def _make_prepare(
    features: np.ndarray, *, standardize: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """``[M, F] -> float32 [M, F + 1]``: standardised by ``features``, with a 1."""
    mean = np.zeros(features.shape[1], np.float32)
    scale = np.ones_like(mean)
    if standardize:
        mean = features.mean(0, dtype=np.float64).astype(np.float32)
        variance = np.square(features - mean[None]).mean(0, dtype=np.float64)
        # Rounding makes the deviation of a constant other than 0.
        varies = np.sqrt(variance) > 1e-6 * np.abs(mean)
        length = np.sqrt(np.maximum(varies.sum(), 1))
        scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)) / length, 0)

    def prepare(x: np.ndarray) -> np.ndarray:
        ready = np.ones((x.shape[0], x.shape[1] + 1), np.float32)
        ready[:, :-1] = (x - mean[None]) * scale[None].astype(np.float32)
        return ready

    return prepare


def _logits(weight: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.einsum("bf,frc->brc", x, weight, precision=lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnames="batch_size")
def _train_epoch(
    weights: _Weights,
    velocity: _Weights,
    x: jax.Array,
    y: jax.Array,
    key: jax.Array,
    rates: jax.Array,
    momentum: jax.Array,
    *,
    batch_size: int,
) -> tuple[_Weights, _Weights]:
    """One pass over all rows: ``(weights, velocity)`` after it."""
    num_steps = -(-len(x) // batch_size)
    order = jax.random.permutation(key, len(x))
    # Padding points past the end; its targets are then read as unknown.
    padding = jnp.full(num_steps * batch_size - len(x), len(x), order.dtype)
    order = jnp.concatenate([order, padding]).reshape(num_steps, batch_size)

    def step(carry, rows):
        inputs = x.at[rows].get(mode="clip")
        targets = y.at[rows].get(mode="fill", fill_value=-1)

        def gradient(weight, target):
            """Of the mean cross entropy over known targets, written out."""
            known = target >= 0
            share = known / jnp.maximum(known.sum(), 1)
            error = jax.nn.softmax(_logits(weight, inputs))
            error -= jax.nn.one_hot(target, weight.shape[-1])[:, None]
            error *= share[:, None, None]
            return jnp.einsum(
                "bf,brc->frc", inputs, error, precision=lax.Precision.HIGHEST
            )

        weights, velocity = carry
        gradients = tuple(map(gradient, weights, targets.T))
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradients)
        weights = jax.tree.map(
            lambda w, v: w - rates[None, :, None] * v, weights, velocity
        )
        return (weights, velocity), None

    (weights, velocity), _ = lax.scan(step, (weights, velocity), order)
    return weights, velocity


@jax.jit
def _keep_best(
    weights: _Weights, best: tuple[_Weights, jax.Array], x: jax.Array, y: jax.Array
) -> tuple[jax.Array, tuple[_Weights, jax.Array]]:
    """Accuracy ``[R, T]``, and the best weights so far with their accuracy."""
    accuracy = []
    for weight, target in zip(weights, y.T, strict=True):
        predicted = jnp.argmax(_logits(weight, x), axis=-1)
        # Unknown targets equal no prediction.
        right = jnp.sum(predicted == target[:, None], axis=0)
        accuracy.append(right / jnp.sum(target >= 0))
    accuracy = jnp.stack(accuracy, axis=-1)
    kept, value = best
    better = accuracy > value
    kept = tuple(
        jnp.where(better[None, :, i, None], new, old)
        for i, (new, old) in enumerate(zip(weights, kept, strict=True))
    )
    return accuracy, (kept, jnp.where(better, accuracy, value))


def _measure(
    weights: _Weights,
    rates: np.ndarray,
    epochs: np.ndarray,
    *,
    splits: Mapping[str, tuple[jax.Array, jax.Array]],
    config: ProbeConfig,
) -> Choice:
    """Measure the classifiers with the learning rates of index ``rates [T]``."""
    chosen = [weight[:, rate] for weight, rate in zip(weights, rates, strict=True)]
    right = {}
    for name, (x, y) in splits.items():
        predicted = [_predict(weight, x) for weight in chosen]
        right[name] = correct(np.stack(predicted, axis=-1), np.asarray(y))
    return Choice(
        learning_rates=np.asarray(config.learning_rates)[rates],
        epochs=epochs,
        correct=right,
        accuracy={name: mean_of_known(values) for name, values in right.items()},
    )


@jax.jit
def _predict(weight: jax.Array, x: jax.Array) -> jax.Array:
    """Classes ``[M]`` from one classifier ``[F + 1, C]``."""
    return jnp.argmax(jnp.matmul(x, weight, precision=lax.Precision.HIGHEST), axis=-1)
