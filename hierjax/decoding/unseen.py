"""The probability that a class was never seen, at every inner node."""

import numpy as np
from scipy import sparse, special

from hierjax.decoding import inputs
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import level_nodes

OUT_SCORES = ("entropy", "complement")


def unseen_probabilities(
    probabilities: np.ndarray, hierarchy: Hierarchy, *, out: str = "entropy"
) -> np.ndarray:
    """Probability that the truth is at a node itself, in none of its known children.

    From the root down, each inner node keeps a share ``out`` of what reaches it for
    children that were never seen and hands the rest on by their probabilities.
    ProHOC (CVPR 2025).

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.
      out: with S the sum of the children's probabilities and H the entropy of their
        shares over that of equal ones (0 for an only child): ``'entropy'``:
        ``H / (S + H)``; ``'complement'``: ``1 - S``.

    Returns:
      float64 ``[N, 1 + M]``, rows sum to 1: the root first, then the nodes; 0 for those
      that repeat a class, which stands in the last C columns.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> sure, torn = decoding.unseen_probabilities(
      ...     [[0.98, 0.01, 0.01], [0.49, 0.49, 0.02]], tree
      ... ).round(2)
      >>> sure  # root, a, b, a1, a2, b1
      array([0.07, 0.07, 0.  , 0.84, 0.01, 0.01])
      >>> torn  # a child of a, but which?
      array([0.12, 0.43, 0.  , 0.21, 0.21, 0.02])
    """
    probabilities = inputs.of_classes(probabilities, hierarchy)
    if out not in OUT_SCORES:
        raise UserError(f"out is {out!r}, accepted are {', '.join(OUT_SCORES)}")
    nodes = level_nodes(hierarchy.ancestors)
    sums = np.pad(inputs.node_sums(probabilities, nodes), ((0, 0), (1, 0)))
    sums[:, 0] = probabilities.sum(axis=1)
    parents = np.append(0, nodes.parents + 1)
    family = sparse.csr_array(
        (np.ones(nodes.num_nodes), (np.arange(1, len(parents)), parents[1:])),
        shape=(len(parents), len(parents)),
    )
    number = np.maximum(family.sum(axis=0), 1)
    above = sums[:, parents]
    shares = np.divide(sums, above, out=np.zeros_like(sums), where=above > 0)
    entropy = special.entr(shares) @ family / np.log(np.maximum(number, 2))
    if out == "entropy":
        kept = entropy / np.where(sums + entropy > 0, sums + entropy, 1)
    else:
        kept = np.clip(1 - sums, 0, 1)
    own = nodes.class_depths(hierarchy.depths)
    inner = np.zeros(nodes.num_nodes, bool)
    for level, numbers in enumerate(nodes.paths.T):
        inner[numbers[own > level + 1]] = True
    kept[:, 1:][:, ~inner] = 0
    reach = np.empty_like(sums)
    reach[:, 0] = 1
    for level in range(nodes.num_levels):
        places = np.arange(len(parents))[1:][nodes.slice_of(level)]
        handed = reach[:, parents[places]] * (1 - kept[:, parents[places]])
        reach[:, places] = handed * shares[:, places]
    result = reach * kept
    result[:, -nodes.num_classes :] = reach[:, -nodes.num_classes :]
    return result
