"""Class scores from one proxy a class: softmax, NormFace, ProxyDR and CORR.

Notation of Kim et al. 2023, "Inspecting class hierarchies in classification-based
metric learning models" (arXiv 2301.11065): x a unit embedding, w_c a unit proxy,
cos_c = x . w_c, theta_c the angle, d_c = |x - w_c| the chord, s the scale.

Unlike the losses on pairs, NormFace, ProxyDR and CORR normalise both arguments
themselves; the softmax classifier normalises neither.
"""

import jax
import jax.numpy as jnp
import optax

from hierjax import distances, reductions
from hierjax.losses import checks

ANGULAR = ("euclidean", "arccos")

# Added to squared chords and to angles before the logarithm, as published.
_TINY = 1e-12
# Keeps the gradient of arccos finite, as published.
_SHRINK = 0.999999


def _check(
    embeddings: jax.Array, proxies: jax.Array, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Arguments as float32 arrays that fit, rows of padding 0."""
    embeddings = checks.as_floats("embeddings", embeddings, 2)
    if where is not None:
        where = checks.valid_rows(where, embeddings.shape[0])
        embeddings = checks.without_padding(embeddings, where)
    proxies = checks.as_floats("proxies", proxies, 2)
    if embeddings.shape[1] != proxies.shape[1]:
        raise ValueError(
            f"embeddings {embeddings.shape} and proxies {proxies.shape} differ in "
            "dimension"
        )
    return embeddings.astype(jnp.float32), proxies.astype(jnp.float32)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def class_cosines(
    embeddings: jax.Array, proxies: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Cosine of every embedding with every proxy.

    Args:
      embeddings: ``[B, D]``, normalised here; a zero row has cosine 0 with everything.
      proxies: ``[C, D]``, normalised here.
      where: ``[B]`` bool, False = padding, taken for zero rows.

    Returns:
      ``[B, C]`` float32. Rounding may take a value beyond 1 by about 1e-7.

    Examples:
      >>> import jax.numpy as jnp
      >>> proxies = jnp.array([[2.0, 0.0], [0.0, 1.0]])
      >>> [f"{x:.2f}" for x in class_cosines(jnp.array([[3.0, 4.0]]), proxies)[0]]
      ['0.60', '0.80']
    """
    embeddings, proxies = _check(embeddings, proxies, where)
    return _products(
        distances.unit_normalize(embeddings), distances.unit_normalize(proxies)
    )


def angles(cosines: jax.Array) -> jax.Array:
    """Angles ``arccos(.999999 clip(cos, -1, 1))``, at least .0014, finite gradient."""
    return jnp.arccos(_SHRINK * jnp.clip(cosines, -1.0, 1.0))


def squared_chords(cosines: jax.Array) -> jax.Array:
    """Squared distances ``2 - 2 cos`` of unit vectors, clipped at 0.

    Where the clip acts (an embedding on its proxy, to rounding) the gradient is 0.
    The published code does not clip, and its logarithm gives NaN there.
    """
    squared = 2.0 - 2.0 * cosines
    return jnp.where(squared <= 0, 0.0, squared)


def log_distances(cosines: jax.Array, *, distance: str = "euclidean") -> jax.Array:
    """``ln d_c`` of the chord or ``ln theta_c`` of the angle, at least -13.8.

    Args:
      cosines: any shape.
      distance: ``'euclidean'``: ``ln(d^2 + 1e-12) / 2``; ``'arccos'``:
        ``ln(theta + 1e-12)``.
    """
    checks.check_option("distance", distance, ANGULAR)
    if distance == "euclidean":
        return 0.5 * jnp.log(squared_chords(cosines) + _TINY)
    return jnp.log(angles(cosines) + _TINY)


def softmax_logits(
    embeddings: jax.Array,
    weights: jax.Array,
    biases: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Logits ``f . w_c + b_c`` of a linear classifier, nothing normalised.

    Args:
      embeddings: ``[B, D]``.
      weights: ``[C, D]``.
      biases: ``[C]``.
      where: ``[B]`` bool, False = padding, taken for zero rows.

    Returns:
      ``[B, C]`` float32.

    Examples:
      >>> import jax.numpy as jnp
      >>> rows = jnp.array([[1.0, 2.0]])
      >>> softmax_logits(rows, weights=jnp.eye(2), biases=jnp.array([0.5, 0.0]))
      Array([[1.5, 2. ]], dtype=float32)
    """
    embeddings, weights = _check(embeddings, weights, where)
    return _products(embeddings, weights) + biases[None, :]


def normface_logits(
    embeddings: jax.Array,
    proxies: jax.Array,
    *,
    scale: jax.Array | float = 10.0,
    distance: str = "euclidean",
    where: jax.Array | None = None,
) -> jax.Array:
    """NormFace (Wang et al. 2017): ``s cos_c``, a softmax of squared distances.

    Args:
      embeddings: ``[B, D]``, normalised here.
      proxies: ``[C, D]``, normalised here.
      scale: s, positive.
      distance: ``'euclidean'``, or ``'arccos'`` for ``-s theta_c^2``.
      where: ``[B]`` bool, False = padding, taken for zero rows.

    Returns:
      ``[B, C]`` float32.

    Examples:
      >>> import jax.numpy as jnp
      >>> logits = normface_logits(jnp.array([[3.0, 4.0]]), jnp.eye(2), scale=10.0)
      >>> [f"{x:.2f}" for x in logits[0]]
      ['6.00', '8.00']
    """
    checks.check_option("distance", distance, ANGULAR)
    cosines = class_cosines(embeddings, proxies, where=where)
    if distance == "euclidean":
        return scale * cosines
    return -scale * jnp.square(angles(cosines))


def proxydr_logits(
    embeddings: jax.Array,
    proxies: jax.Array,
    *,
    scale: jax.Array | float = 10.0,
    distance: str = "euclidean",
    where: jax.Array | None = None,
) -> jax.Array:
    r"""ProxyDR (Kim et al. 2023): ``-s ln d_c``, a softmax of distance ratios.

    .. math:: p(c \mid x) = d_c^{-s} / \sum_k d_k^{-s}

    An embedding that lies on a proxy (to rounding) has the finite logit
    ``13.8 s`` there, and no gradient goes through that logit.

    Args:
      embeddings: ``[B, D]``, normalised here.
      proxies: ``[C, D]``, normalised here.
      scale: s, positive.
      distance: ``'euclidean'``, the chord, or ``'arccos'``, the angle.
      where: ``[B]`` bool, False = padding, taken for zero rows.

    Returns:
      ``[B, C]`` float32.

    Examples:
      >>> import jax.numpy as jnp
      >>> logits = proxydr_logits(jnp.array([[3.0, 4.0]]), jnp.eye(2), scale=2.0)
      >>> [f"{x:.2f}" for x in jnp.exp(-logits)[0]]  # squared chords 2 - 2 cos
      ['0.80', '0.40']
    """
    cosines = class_cosines(embeddings, proxies, where=where)
    return -scale * log_distances(cosines, distance=distance)


def cross_entropy_loss(
    logits: jax.Array,
    class_ids: jax.Array,
    *,
    candidates: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Mean cross entropy over rows on all devices.

    The probability of a row of which only an inner node of the tree is known is that
    of all classes below the node together (``candidates``).

    Args:
      logits: ``[B, C]``.
      class_ids: ``[B]`` in 0..C-1, -1 where unknown.
      candidates: bool ``[B, C]``, the classes that a row of unknown class may have;
        not read where the class is known. A row with no candidate or with all of them
        does not count. None: no row of unknown class counts.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]))
      >>> below = jnp.array([[True, True, True], [False, True, True]])
      >>> loss = cross_entropy_loss(logits, jnp.array([1, -1]), candidates=below)
      >>> print(f"{jnp.exp(-2 * loss):.3f}")  # 0.25 of the class, 0.5 of the two
      0.125
    """
    logits = checks.as_floats("logits", logits, 2)
    class_ids = checks.as_class_ids(class_ids, logits.shape[0])
    valid = checks.valid_rows(where, logits.shape[0])
    known = valid & (class_ids >= 0)
    logits = checks.without_padding(logits, valid)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(
        jnp.where(known[:, None], logits, 0.0), jnp.where(known, class_ids, 0)
    )
    if candidates is None:
        return reductions.masked_mean(losses, known, axis_name=axis_name)
    if candidates.shape != logits.shape:
        raise ValueError(
            f"candidates {candidates.shape} must have the shape of logits "
            f"{logits.shape}"
        )
    tells = candidates.any(axis=1) & ~candidates.all(axis=1)
    partly = valid & ~known & tells
    # Where nothing is masked, both sums are the same and their gradient is 0.
    below = jax.nn.logsumexp(
        logits, axis=1, where=jnp.where(partly[:, None], candidates, True)
    )
    losses = jnp.where(partly, jax.nn.logsumexp(logits, axis=1) - below, losses)
    return reductions.masked_mean(losses, known | partly, axis_name=axis_name)


def corr_loss(
    embeddings: jax.Array,
    proxies: jax.Array,
    class_ids: jax.Array,
    *,
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Mean ``1 - cos`` between embeddings and the proxies of their classes.

    The correlation loss of Barz & Denzler 2019, on fixed proxies whose distances
    follow the tree (`proxies.mds_proxies`).

    Args:
      embeddings: ``[B, D]``, normalised here.
      proxies: ``[C, D]``, normalised here.
      class_ids: ``[B]`` in 0..C-1; -1 is unknown and such a row does not count.
      official: the sum over the batch instead of the mean, as the code of Kim et al.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> rows = jnp.array([[3.0, 4.0], [0.0, 1.0]])
      >>> print(f"{corr_loss(rows, jnp.eye(2), jnp.array([0, 1])):.2f}")
      0.20
    """
    embeddings, proxies = _check(embeddings, proxies)
    class_ids = checks.as_class_ids(class_ids, embeddings.shape[0])
    counts = checks.valid_rows(where, embeddings.shape[0]) & (class_ids >= 0)
    own = distances.unit_normalize(proxies)[jnp.where(counts, class_ids, 0)]
    embeddings = checks.without_padding(embeddings, counts)
    losses = distances.paired_distances(distances.unit_normalize(embeddings), own)
    if official:
        return reductions.masked_sum(losses, counts, axis_name=axis_name)
    return reductions.masked_mean(losses, counts, axis_name=axis_name)
