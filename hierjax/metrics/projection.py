"""Embeddings in few dimensions: to look at, not to measure.

Principal components keep the large distances. t-SNE and UMAP keep neighbours and give
up distances, sizes and densities. Clusters are measured on the embeddings themselves,
as by ``silhouette_score``.
"""

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.rows import checked_rows


def principal_coordinates(
    embeddings: np.ndarray, num_components: int
) -> tuple[np.ndarray, np.ndarray]:
    """Projects embeddings on their first principal components.

    The sign of a component is that which makes its largest entry positive.

    Args:
      embeddings: ``[N, D]`` finite rows.
      num_components: k, from 1 to D.

    Returns:
      Coordinates float64 ``[N, k]`` about the mean, and the share of the variance that
      each component holds, ``[k]``, 0 where there is no variance.

    Raises:
      UserError: a wrong shape, values that are not finite, or k out of range.

    Examples:
      >>> rows = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
      >>> coordinates, shares = principal_coordinates(rows, 1)
      >>> coordinates[:, 0].tolist(), shares.tolist()
      ([-2.0, 0.0, 2.0], [1.0])
    """
    rows = checked_rows("embeddings", embeddings).astype(np.float64)
    if not 1 <= num_components <= rows.shape[1]:
        raise UserError(
            f"num_components must be from 1 to the number of dimensions, "
            f"{rows.shape[1]}, found {num_components}"
        )
    centred = rows - rows.mean(axis=0)
    # Not by the covariance, whose size is that of the pixels where rows are images.
    _, spreads, directions = np.linalg.svd(centred, full_matrices=False)
    variances = np.zeros(num_components)
    components = np.zeros((num_components, rows.shape[1]))
    number = min(num_components, len(spreads))
    variances[:number] = spreads[:number] ** 2
    components[:number] = directions[:number]
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(num_components), largest])[:, None]
    shares = variances / max(np.sum(spreads**2), np.finfo(np.float64).tiny)
    return centred @ components.T, shares


def umap_coordinates(
    embeddings: np.ndarray, *, num_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    """Projects embeddings on the plane by UMAP; needs the extra ``umap``.

    McInnes et al. 2018, "UMAP: Uniform Manifold Approximation and Projection", as in
    umap-learn with Euclidean distances, on one thread.

    Args:
      embeddings: ``[N, D]`` finite rows, N at least 4.
      num_neighbors: neighbours a row is tied to; at most N - 1 are.
      seed: an integer from 0.

    Returns:
      float32 ``[N, 2]``, all 0 if all rows are equal.

    Raises:
      UserError: umap-learn is not installed, a wrong shape, too few rows, or values
        that are not finite.

    Examples:
      All rows are equal, so that there is nothing to project:

      >>> umap_coordinates(np.ones((5, 3))).tolist()  # doctest: +SKIP
      [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    rows = checked_rows("embeddings", embeddings)
    if len(rows) < 4:
        raise UserError(f"UMAP needs at least 4 rows, found {len(rows)}")
    try:
        from umap import UMAP
    except ImportError:
        raise UserError(
            "umap-learn is not installed; pip install 'hierjax[umap]'"
        ) from None
    if (rows == rows[0]).all():
        return np.zeros((len(rows), 2), np.float32)
    reducer = UMAP(
        n_neighbors=min(num_neighbors, len(rows) - 1),
        # The spectral start fails on few rows.
        init="spectral" if len(rows) > 2 * num_neighbors else "random",
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(reducer.fit_transform(rows), np.float32)


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

    Examples:
      >>> rows = np.random.default_rng(0).normal(size=(12, 3))
      >>> tsne_coordinates(rows, perplexity=4).shape
      (12, 2)
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
