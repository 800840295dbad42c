"""Embeddings in the plane by t-SNE: to look at, not to measure.

t-SNE keeps neighbours and gives up distances, sizes and densities. Clusters are
measured on the embeddings themselves, as by ``silhouette_score``.
"""

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.classification import checked_rows


def tsne_coordinates(
    embeddings: np.ndarray, *, perplexity: float = 30, seed: int = 0
) -> np.ndarray:
    """Projects embeddings on the plane by t-SNE.

    van der Maaten & Hinton 2008, "Visualizing Data using t-SNE", as in scikit-learn
    (Barnes-Hut) with Euclidean distances, started from the first two principal
    components. Compare embeddings with the same rows, perplexity and seed. It runs on
    one thread, because another number of threads rounds differently and so gives
    another picture; 2,000 rows take some 10 s.

    Args:
      embeddings: ``[N, D]`` finite rows; they are not scaled to length 1.
      perplexity: about how many neighbours a row keeps; above 0 and below N.
      seed: of the start; an integer from 0.

    Returns:
      float32 ``[N, 2]``, all 0 if all rows are equal.

    Raises:
      UserError: a wrong shape, values that are not finite, or a perplexity that does
        not fit the number of rows.
    """
    # Here, because scikit-learn loads slowly and few need it.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = checked_rows("embeddings", embeddings)
    if not 0 < perplexity < len(rows):
        raise UserError(
            f"perplexity must be above 0 and below the number of rows, {len(rows)}, "
            f"found {perplexity}"
        )
    rows = rows.astype(np.float64)
    if (rows == rows[0]).all():
        return np.zeros((len(rows), 2), np.float32)
    if rows.shape[1] == 1:
        # The start takes two components; a constant column moves no distance.
        rows = np.pad(rows, ((0, 0), (0, 1)))
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    with threadpool_limits(1):
        return tsne.fit_transform(rows)
