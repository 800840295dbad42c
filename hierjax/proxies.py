"""Class representatives: how they start, how they move without a gradient, the scale.

Formulas of Kim et al. 2023, "Inspecting class hierarchies in classification-based
metric learning models" (arXiv 2301.11065), and of its published code. Proxies are
``[C, D]`` rows of length 1.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from hierjax import collectives, distances
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.losses import proxy

METHODS = ("normface", "proxydr")
DISTANCES = proxy.ANGULAR
SOLVERS = ("auto", "adam", "closed")

# Adam keeps the square of the dynamic scale's gradient, which holds the square of this
# exponential: up to s = 100 it stays within float32.
_LARGEST_EXPONENT = 12.0


def random_proxies(key: jax.Array, num_classes: int, dim: int) -> jax.Array:
    """Independent uniform directions ``[C, D]``: normalised Gaussian rows."""
    return distances.unit_normalize(jax.random.normal(key, (num_classes, dim)))


def tree_targets(
    tree_distance: np.ndarray, *, beta: float = 1.0, distance: str = "euclidean"
) -> np.ndarray:
    """Distances that proxies should have: hops t squeezed into a bounded range.

    Args:
      tree_distance: hops ``[C, C]``.
      beta: positive; the larger, the more the targets of near classes shrink.
      distance: ``'euclidean'``: ``sqrt(2) t / (beta + t)``; ``'arccos'``:
        ``(pi / 2) t / (beta + t)``. The farther classes are apart, the
        nearer to orthogonal.

    Returns:
      float64 ``[C, C]``.
    """
    if not beta > 0:
        raise UserError(f"beta must be positive, got {beta}")
    hops = np.asarray(tree_distance, np.float64)
    return _bound(distance) * hops / (beta + hops)


def _bound(distance: str) -> float:
    if distance not in DISTANCES:
        raise UserError(f"distance is {distance!r}, accepted are {DISTANCES}")
    return math.sqrt(2) if distance == "euclidean" else math.pi / 2


def mds_proxies(
    hierarchy: Hierarchy,
    dim: int,
    *,
    beta: float = 1.0,
    solver: str = "auto",
    distance: str = "euclidean",
    key: jax.Array | None = None,
) -> jax.Array:
    """Unit vectors whose distances follow the tree (spherical metric scaling).

    Args:
      hierarchy: any tree of at least two classes.
      dim: D.
      beta: see `tree_targets`.
      solver: ``'adam'``: 1,000 full-batch Adam steps of rate 1e-3 from random unit
        rows, as published; distances are approximate and seldom tie. ``'closed'``: rows
        of the symmetric square root of the Gram matrix, padded with zeros, for C <= D
        where that matrix has no negative eigenvalue; distances are right to float32
        rounding, which breaks ties that the tree has. ``'auto'``: closed where that is
        possible, else Adam. With distances rounded to 1e-5 the closed form's rank
        correlations with the tree are 1, Adam's are not: compare rows of one solver
        only.
      distance: ``'euclidean'`` chords or ``'arccos'`` angles meet the targets.
      key: random key of the start, for Adam; None: key 0.

    Returns:
      ``[C, D]`` float32.

    Raises:
      UserError: fewer than two classes, an unknown solver, or a closed form asked for
        where there is none.
    """
    if hierarchy.num_classes < 2:
        raise UserError(
            "proxies from the tree need at least two classes, "
            f"this tree has only {hierarchy.class_names[0]!r}"
        )
    if solver not in SOLVERS:
        raise UserError(f"solver is {solver!r}, accepted are {SOLVERS}")
    targets = tree_targets(hierarchy.path_length(), beta=beta, distance=distance)
    if solver != "adam":
        root, problem = _gram_root(targets, dim, distance)
        if root is not None:
            return root
        if solver == "closed":
            raise UserError(f"no closed form: {problem}; use solver 'adam'")
    key = jax.random.key(0) if key is None else key
    start = random_proxies(key, hierarchy.num_classes, dim)
    return _scale_on_sphere(start, jnp.asarray(targets, jnp.float32), distance)


def _gram_root(
    targets: np.ndarray, dim: int, distance: str
) -> tuple[jax.Array | None, str]:
    """Rows with exactly these distances, or None and why there are none."""
    gram = 1 - targets**2 / 2 if distance == "euclidean" else np.cos(targets)
    if len(gram) > dim:
        return None, f"{len(gram)} classes do not fit in {dim} dimensions"
    values, vectors = np.linalg.eigh(gram)
    if values[0] < -1e-9:
        return None, f"the Gram matrix has the eigenvalue {values[0]:.3g}"
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    root = np.pad(root, ((0, 0), (0, dim - len(root))))
    return jnp.asarray(root, jnp.float32), ""


def _stress(
    rows: jax.Array, targets: jax.Array, distance: str, offset: float
) -> jax.Array:
    units = rows / (jnp.linalg.norm(rows, axis=-1, keepdims=True) + offset)
    cosines = jnp.matmul(units, units.T, precision=lax.Precision.HIGHEST)
    if distance == "euclidean":
        found = jnp.sqrt(proxy.squared_chords(cosines) + 1e-12)
    else:
        found = proxy.angles(cosines)
    return jnp.linalg.norm(targets - found) / jnp.linalg.norm(targets)


def stress(
    representatives: jax.Array, targets: jax.Array, *, distance: str = "euclidean"
) -> jax.Array:
    """Normalised stress ``|T - D|_F / |T|_F`` over the whole matrix, a scalar.

    Args:
      representatives: ``[C, D]``, normalised here.
      targets: ``[C, C]``, see `tree_targets`.
      distance: ``'euclidean'`` or ``'arccos'``.
    """
    _bound(distance)  # Checks the name.
    targets = jnp.asarray(targets, jnp.float32)
    return _stress(jnp.asarray(representatives), targets, distance, 0.0)


@functools.partial(jax.jit, static_argnames="distance")
def _scale_on_sphere(start: jax.Array, targets: jax.Array, distance: str) -> jax.Array:
    optimizer = optax.adam(1e-3)

    def step(carry, _):
        rows, state = carry
        gradient = jax.grad(_stress)(rows, targets, distance, 1e-6)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(rows, updates), state), None

    carry = (start, optimizer.init(start))
    (rows, _), _ = lax.scan(step, carry, length=1000)
    return distances.unit_normalize(rows)


def ema_update(
    proxies: jax.Array,
    seen: jax.Array,
    embeddings: jax.Array,
    class_ids: jax.Array,
    *,
    decay: float = 0.01,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Move the proxies of the classes in a batch towards their embeddings.

    With u_c the direction of the mean of the class's unit embeddings in the batch of
    all devices, whatever their number: the first time a class is seen ``w_c <- u_c``,
    afterwards ``w_c <- normalise(decay u_c + (1 - decay) w_c)``. Classes that are not
    in the batch keep their proxy, as does a class whose embeddings cancel out, each
    other or the proxy.

    Args:
      proxies: ``[C, D]`` unit rows.
      seen: ``[C]`` bool, classes seen before.
      embeddings: ``[B, D]``, normalised here.
      class_ids: ``[B]``; -1 is unknown and such a row does not count.
      decay: weight of the new direction, alpha of the paper, in (0, 1].
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      The new proxies and the new ``seen``, the same on every device.
    """
    counts = class_ids >= 0
    if where is not None:
        counts &= where
    units = jnp.where(counts[:, None], distances.unit_normalize(embeddings), 0.0)
    # Rows that do not count are sent to a class of their own.
    num_classes = proxies.shape[0]
    segments = jnp.where(counts, class_ids, num_classes)
    sums = collectives.psum(
        jax.ops.segment_sum(units, segments, num_classes + 1)[:-1], axis_name
    )
    means = distances.unit_normalize(sums)
    present = jnp.any(means != 0, axis=-1)
    moved = distances.unit_normalize(decay * means + (1 - decay) * proxies)
    moved = jnp.where(seen[:, None], moved, means)
    moves = present & jnp.any(moved != 0, axis=-1)
    return jnp.where(moves[:, None], moved, proxies), seen | present


def _excess_terms(
    scale, log_wrong, angle, method, distance, *, numpy, squared_angle=None
):
    """What vanishes at the turning point of the own class's probability.

    Args:
      scale: s.
      log_wrong: log of the sum over wrong classes of their share, a constant.
      angle: theta to the own proxy.
      method: 'normface' or 'proxydr'.
      distance: 'euclidean' or 'arccos'.
      numpy: ``numpy`` or ``jax.numpy``.
      squared_angle: instead of ``angle ** 2`` in NormFace with angles.

    Returns:
      Two pairs (factor, exponent), to be added up as ``factor * exp(exponent)``.
    """
    if method == "proxydr":
        own = 2 - 2 * numpy.cos(angle) if distance == "euclidean" else angle**2
        log_own = numpy.log(own + 1e-12) / 2
        return (scale + 1, log_wrong + scale * log_own), (1 - scale, 0.0)
    if distance == "euclidean":
        cos, bend = numpy.cos(angle), scale * numpy.sin(angle) ** 2
        return (cos + bend, scale * cos), (cos - bend, log_wrong)
    square = angle**2 if squared_angle is None else squared_angle
    bend = 2 * scale * square
    return (bend - 1, log_wrong + scale * square), (-bend - 1, 0.0)


def initial_scale(
    num_classes: int, method: str, *, distance: str = "euclidean"
) -> float:
    """Scale at which the probability of the own class has its turning point.

    Solves the stationarity equation of the published code for an embedding 45 degrees
    from its own proxy and 90 degrees from all others; the larger solution where there
    are two. NormFace has none for fewer than 23 classes, with angles 49: then the scale
    in 1 to 100 that comes closest to solving it.

    Args:
      num_classes: C, at least 2.
      method: ``'normface'`` or ``'proxydr'``.
      distance: ``'euclidean'`` or ``'arccos'``.

    Raises:
      UserError: fewer than 2 classes or an unknown name.
    """
    _check_method(method, distance)
    if num_classes < 2:
        raise UserError(f"a scale needs at least two classes, got {num_classes}")
    scales = np.linspace(1, 100, 100_000)
    shares = {
        ("normface", "euclidean"): 0.0,
        ("normface", "arccos"): -scales * (np.pi / 2) ** 2,
        ("proxydr", "euclidean"): -scales * np.log(2) / 2,
        ("proxydr", "arccos"): -scales * np.log(np.pi / 2),
    }
    log_wrong = np.log(num_classes - 1) + shares[method, distance]
    terms = _excess_terms(scales, log_wrong, np.pi / 4, method, distance, numpy=np)
    excess = sum(factor * np.exp(exponent) for factor, exponent in terms)
    (crossings,) = np.nonzero(np.diff(np.sign(excess)))
    if not crossings.size:
        return float(scales[np.argmin(np.abs(excess))])
    low = crossings[-1]
    share = excess[low] / (excess[low] - excess[low + 1])
    return float(scales[low] + share * (scales[low + 1] - scales[low]))


def _check_method(method: str, distance: str) -> None:
    _bound(distance)
    if method not in METHODS:
        raise UserError(f"method is {method!r}, accepted are {METHODS}")


def dynamic_scale_loss(
    log_scale: jax.Array,
    cosines: jax.Array,
    class_ids: jax.Array,
    *,
    method: str,
    distance: str = "euclidean",
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Squared distance of a batch from the turning point, a function of the scale.

    As AdaCos (Zhang et al. 2019) and the code of Kim et al.: the own angle is the lower
    median over the batch, at most 45 degrees; the sum over wrong classes, averaged over
    the batch, is a constant taken at the present scale. Only the explicit scale has a
    gradient. Where an exponential exceeds e^12, as when an embedding lies on the proxy
    of another class, all are divided by the same constant so that the largest is e^12:
    value and gradient shrink, the sign stays.

    Args:
      log_scale: scalar.
      cosines: ``[B, C]``, see `losses.class_cosines`; no gradient goes to them.
      class_ids: ``[B]``; -1 is unknown and such a row does not count.
      method: ``'normface'`` or ``'proxydr'``.
      distance: ``'euclidean'`` or ``'arccos'``.
      official: the published exponent ``sqrt(s)`` instead of ``s / 2`` of the squared
        chord in ProxyDR, and ``2 - 2 cos theta`` where NormFace with angles means
        ``theta ** 2``.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A scalar, the same on every device; 0 if no row counts.
    """
    _check_method(method, distance)
    counts = class_ids >= 0
    if where is not None:
        counts &= where
    cosines = lax.stop_gradient(jnp.where(counts[:, None], cosines, 0.0))
    own = jax.nn.one_hot(class_ids, cosines.shape[1], dtype=bool)
    fixed = lax.stop_gradient(jnp.exp(log_scale))
    if method == "proxydr":
        power = 2 * jnp.sqrt(fixed) if official and distance == "euclidean" else fixed
        shares = -power * proxy.log_distances(cosines, distance=distance)
    elif distance == "euclidean":
        shares = fixed * cosines
    else:
        shares = -fixed * jnp.square(proxy.angles(cosines))
    wrong = jax.nn.logsumexp(shares, axis=-1, where=~own)
    angle = jnp.sum(jnp.where(own, proxy.angles(cosines), 0.0), -1)
    angle = jnp.where(counts, angle, jnp.inf)
    wrong = jnp.where(counts, wrong, -jnp.inf)
    angle, wrong, counts = (
        collectives.all_gather_rows(x, axis_name) for x in (angle, wrong, counts)
    )
    total = jnp.sum(counts)
    median = jnp.sort(angle)[jnp.maximum(total - 1, 0) // 2]
    median = jnp.minimum(median, jnp.pi / 4)
    log_wrong = jax.nn.logsumexp(wrong) - jnp.log(jnp.maximum(total, 1))
    terms = _excess_terms(
        jnp.exp(log_scale),
        jnp.where(total > 0, log_wrong, 0.0),
        median,
        method,
        distance,
        numpy=jnp,
        squared_angle=2 - 2 * jnp.cos(median) if official else None,
    )
    factors, exponents = map(jnp.stack, zip(*terms, strict=True))
    over = jnp.maximum(jnp.max(exponents) - _LARGEST_EXPONENT, 0.0)
    excess = jnp.sum(factors * jnp.exp(exponents - lax.stop_gradient(over)))
    loss = jnp.where(total > 0, jnp.square(excess), 0.0)
    return collectives.agreed(loss, axis_name)


SCALE_OPTIMIZER = optax.adam(1e-4)
"""The log scale has an Adam of its own, with the published rate."""


def dynamic_scale_update(
    log_scale: jax.Array,
    opt_state: optax.OptState,
    cosines: jax.Array,
    class_ids: jax.Array,
    *,
    method: str,
    distance: str = "euclidean",
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, optax.OptState]:
    """One step on the log scale against `dynamic_scale_loss`.

    Args:
      log_scale: scalar.
      opt_state: of `SCALE_OPTIMIZER`.
      cosines: ``[B, C]``, see `losses.class_cosines`.
      class_ids: ``[B]``; -1 is unknown and such a row does not count.
      method: ``'normface'`` or ``'proxydr'``.
      distance: ``'euclidean'`` or ``'arccos'``.
      official: the published exponents, see `dynamic_scale_loss`.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      The new log scale and optimiser state, the same on every device.
    """
    gradient = jax.grad(dynamic_scale_loss)(
        log_scale,
        cosines,
        class_ids,
        method=method,
        distance=distance,
        official=official,
        where=where,
        axis_name=axis_name,
    )
    updates, opt_state = SCALE_OPTIMIZER.update(gradient, opt_state)
    return optax.apply_updates(log_scale, updates), opt_state
