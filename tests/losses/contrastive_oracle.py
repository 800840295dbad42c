"""Contrastive losses pair by pair in float64, with the sets written out.

Nothing is shared with the library: the sets of positives and keys are lists of row
numbers, every mean is a loop, and examples that are masked are taken out first.
"""

import functools
import math

import numpy as np


def relation(a, b, level, scope="path"):
    """True: same class at the level, False: different classes, None: not known."""
    first = level if scope == "column" else 0
    for x, y in zip(a[first : level + 1], b[first : level + 1], strict=True):
        if x < 0 or y < 0:
            return None
        if x != y:
            return False
    return True


@functools.lru_cache(maxsize=None)
def sets_of(labels, num_views, level, scope="path"):
    """``(anchor, keys, positives)`` of all rows with a positive.

    Args:
      labels: tuple of one label tuple an example; its views are consecutive rows.
      num_views: views of an example.
      level: level that is compared.
      scope: 'path' or 'column'.
    """
    rows = [label for label in labels for _ in range(num_views)]
    found = []
    for i, own in enumerate(rows):
        keys, positives = [], []
        for a, other in enumerate(rows):
            same = relation(own, other, level, scope)
            if a != i and same is not None:
                keys.append(a)
                if same:
                    positives.append(a)
        if positives:
            found.append((i, keys, positives))
    return found


def log_sum_exp(values):
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def pair_terms(x, temperature, sets):
    """For each anchor with positives: the list of ``lse_i - s_ip``, one a positive."""
    s = (x @ x.T / temperature).tolist()
    terms = {}
    for i, keys, positives in sets:
        lse = log_sum_exp([s[i][a] for a in keys])
        terms[i] = [lse - s[i][p] for p in positives]
    return terms


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def anchor_mean(terms):
    return mean(mean(of_anchor) for of_anchor in terms.values())


def scale(temperature, base_temperature):
    return 1.0 if base_temperature is None else temperature / base_temperature


def valid_part(z, labels, where):
    """Rows ``[n * V, D]`` and label tuples of the valid examples."""
    if where is not None:
        z, labels = z[where], np.asarray(labels)[where]
    return z.reshape(-1, z.shape[-1]), tuple(map(tuple, np.asarray(labels).tolist()))


def supcon(z, labels, *, temperature=0.1, base_temperature=None, where=None):
    x, labels = valid_part(z, np.asarray(labels)[:, None], where)
    terms = pair_terms(x, temperature, sets_of(labels, z.shape[1], 0))
    return scale(temperature, base_temperature) * anchor_mean(terms)


def simclr(z, **options):
    """Every example is a class of its own."""
    return supcon(z, np.arange(len(z)), **options)


def hierarchical(
    kind,
    z,
    labels,
    *,
    temperature=0.1,
    base_temperature=None,
    level_penalty=math.exp,
    pairwise_max=False,
    where=None,
):
    """HMC, HCE and HMCE over the whole batch, ``kind`` in 'hmc', 'hce', 'hmce'."""
    num_levels = np.shape(labels)[1]
    x, labels = valid_part(z, labels, where)
    total, floor = 0.0, -math.inf
    for level in reversed(range(num_levels)):
        terms = pair_terms(x, temperature, sets_of(labels, z.shape[1], level))
        if pairwise_max:
            terms = {i: [max(t, floor) for t in of_i] for i, of_i in terms.items()}
            floor = max([floor, *(t for of_i in terms.values() for t in of_i)])
        value = anchor_mean(terms)
        if kind != "hmc" and not pairwise_max:
            value = floor = max(floor, value)
        if kind != "hce":
            value *= level_penalty(1 / (num_levels - level))
        total += value
    return scale(temperature, base_temperature) * total / num_levels


def official(kind, z, labels, *, temperature=0.1, level_penalty=math.exp, where=None):
    """The published recursion on a shrinking list of examples, instance ids added."""
    columns = [(*row, i) for i, row in enumerate(np.asarray(labels).tolist())]
    num_columns = len(columns[0])
    kept = [i for i in range(len(z)) if where is None or where[i]]
    total, floor = 0.0, -math.inf
    for dropped in range(1, num_columns):
        length = num_columns - dropped
        prefix = {i: columns[i][:length] for i in kept}
        x = z[kept].reshape(-1, z.shape[-1])
        sets = sets_of(tuple(prefix[i] for i in kept), z.shape[1], length - 1)
        value = temperature / 0.07 * anchor_mean(pair_terms(x, temperature, sets))
        if kind != "hmc":
            value = floor = max(floor, value)
        if kind != "hce":
            value *= level_penalty(1 / dropped)
        total += value
        representatives = {}
        for i in kept:
            representatives.setdefault(prefix[i], i)
        kept = [representatives[key] for key in sorted(representatives)]
    return total / num_columns


def level_contrastive(
    z,
    level_masks,
    labels,
    *,
    temperature=0.1,
    base_temperature=None,
    label_scope="path",
    level_weights=None,
    balance="class",
    renormalize=True,
    where=None,
):
    """Weighted sum over levels of SupCon on the masked vectors."""
    num_views, num_levels = z.shape[1], np.shape(labels)[1]
    if level_masks.ndim == 2:
        level_masks = np.broadcast_to(level_masks, (*z.shape[:2], *level_masks.shape))
    if level_weights is None:
        level_weights = [1 / num_levels] * num_levels
    _, paths = valid_part(z, labels, where)
    total = 0.0
    for level in range(num_levels):
        x, _ = valid_part(z * level_masks[:, :, level], labels, where)
        if renormalize:
            x = np.array([row / max(np.linalg.norm(row), 1e-8) for row in x])
            x = x.reshape(-1, z.shape[-1])
        sets = sets_of(paths, num_views, level, label_scope)
        terms = pair_terms(x, temperature, sets)
        if balance == "class":
            classes = {}
            for i, of_anchor in terms.items():
                path = paths[i // num_views][: level + 1]
                key = path if label_scope == "path" else path[-1]
                classes.setdefault(key, []).append(mean(of_anchor))
            value = mean(mean(of_class) for of_class in classes.values())
        else:
            value = anchor_mean(terms)
        total += level_weights[level] * value
    return scale(temperature, base_temperature) * total


def numerical_gradient(function, x, step):
    """Central differences of a float64 function at all entries that are not NaN."""
    gradient = np.zeros(x.shape)
    for index in zip(*np.nonzero(np.isfinite(x)), strict=True):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
