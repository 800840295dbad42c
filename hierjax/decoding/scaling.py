"""Temperature and vector scaling: probabilities that mean what they say."""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from hierjax.decoding import inputs
from hierjax.errors import UserError


def fit_temperature(logits: np.ndarray, class_ids: np.ndarray) -> float:
    """Temperature T by which held-out logits are best divided.

    Guo et al. 2017, "On Calibration of Modern Neural Networks": the T of the least
    cross entropy; no answer changes, only its probability.

    Args:
      logits: ``[N, C]`` finite, of rows that were not trained on.
      class_ids: ``[N]``; -1 is unknown and such a row does not count.

    Returns:
      T in [.01, 100], to a relative 1e-5.

    Examples:
      >>> import numpy as np
      >>> from scipy import special
      >>> from hierjax import decoding
      >>> logits = np.log([[0.9, 0.1]] * 10)  # 90 % sure and 70 % right
      >>> temperature = decoding.fit_temperature(logits, [0] * 7 + [1] * 3)
      >>> special.softmax(logits[0] / temperature).round(3)
      array([0.7, 0.3])
    """
    logits, class_ids = _known_logits(logits, class_ids)
    rows = np.arange(len(logits))

    def entropy(log_temperature):
        scaled = special.log_softmax(logits / math.exp(log_temperature), axis=1)
        return -scaled[rows, class_ids].mean()

    bounds = (math.log(0.01), math.log(100))
    found = optimize.minimize_scalar(
        entropy, bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    return math.exp(found.x)


class VectorScaling(NamedTuple):
    """Calibrated logits are ``scales * logits + biases``.

    Attributes:
      scales: ``[C]``.
      biases: ``[C]``, of mean 0.
    """

    scales: np.ndarray
    biases: np.ndarray


def fit_vector_scaling(
    logits: np.ndarray, class_ids: np.ndarray, *, penalty: float = 0.0
) -> VectorScaling:
    """A scale and a bias a class by which held-out logits are best changed.

    Vector scaling of Guo et al. 2017. Answers may change. Two numbers a class need many
    rows a class; a penalty keeps them near no change.

    Args:
      logits: ``[N, C]`` finite, of rows that were not trained on.
      class_ids: ``[N]``; -1 is unknown and such a row does not count.
      penalty: weight of ``sum (scales - 1)^2 + sum biases^2`` beside the mean cross
        entropy, 0 or more.

    Returns:
      Scales and biases; at most 1,000 steps of L-BFGS.

    Examples:
      >>> import numpy as np
      >>> from scipy import special
      >>> from hierjax import decoding
      >>> logits = np.zeros((10, 2))  # 70 % are of class 0
      >>> fitted = decoding.fit_vector_scaling(logits, [0] * 7 + [1] * 3)
      >>> special.softmax(fitted.scales * logits[0] + fitted.biases).round(3)
      array([0.7, 0.3])
    """
    logits, class_ids = _known_logits(logits, class_ids)
    if not penalty >= 0:
        raise UserError(f"penalty must be at least 0, found {penalty}")
    num_rows, num_classes = logits.shape
    rows = np.arange(num_rows)
    start = np.concatenate([np.ones(num_classes), np.zeros(num_classes)])

    def objective(values):
        scales, biases = np.split(values, 2)
        log_probs = special.log_softmax(scales * logits + biases, axis=1)
        excess = np.exp(log_probs)
        excess[rows, class_ids] -= 1
        gradient = [(excess * logits).mean(axis=0), excess.mean(axis=0)]
        off = values - start
        value = -log_probs[rows, class_ids].mean() + penalty * (off @ off)
        return value, np.concatenate(gradient) + 2 * penalty * off

    found = optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}
    )
    scales, biases = np.split(found.x, 2)
    return VectorScaling(scales, biases - biases.mean())


def _known_logits(logits, class_ids):
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise UserError(
            f"logits must be finite and have shape [N, C], found {logits.shape}"
        )
    class_ids = inputs.checked_class_ids(class_ids, *logits.shape)
    known = class_ids >= 0
    return logits[known], class_ids[known]
