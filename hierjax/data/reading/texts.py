"""Texts as vectors: n-grams of words and characters, weighted and projected."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from hierjax.errors import UserError, notice

VERSION = 1
"""Of the numbers of the n-grams, which a stored model relies on."""

NUM_HASHES = 2**18
"""Numbers for n-grams of words, and as many for those of characters behind them."""

_WORDS = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
_CHARACTERS = {"ngram_range": (2, 5), "analyzer": "char_wb"}
_MOST_KEPT = 2**14
_DIMS = 256
_RANK = 1e-5
"""Of the largest singular value: what is below is rounding."""
_BLOCK = 4096
_SHOWN = 60


class TextEncoding(NamedTuple):
    """A map from texts to vectors, fitted on training texts; before all other maps.

    TF-IDF of the n-grams, as scikit-learn's ``TfidfTransformer(sublinear_tf=True)`` has
    it, projected by its truncated SVD, to unit length. N-grams are one and two words,
    and two to five characters within the borders of a word, so that languages without
    spaces have some too; capitals do not count.

    Attributes:
      columns: int32 ``[U]``, the numbers of the n-grams that are looked at, rising.
      weights: float32 ``[U]``, their inverse document frequencies.
      components: float32 ``[d, U]``.

    Example:
      >>> encoding = fit_texts(["an owl", "a cod", "the owl"])
      >>> vectors = encoding(["An owl!", ""])
      >>> vectors.shape, vectors[1].tolist()
      ((2, 3), [0.0, 0.0, 0.0])
    """

    columns: np.ndarray
    weights: np.ndarray
    components: np.ndarray

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one vector, the first thing with a shape."""
        return (len(self.components),)

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one row of what this makes."""
        del shape
        return self.components.shape[:1]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Maps texts to float32 ``[N, d]``: rows of length 1, or 0 if nothing is known.

        Raises:
          UserError: One of them is no text, or there is one text instead of several.
        """
        from sklearn.preprocessing import normalize

        tfidf = _tfidf(self.weights)
        vectors = [np.zeros((0, len(self.components)), np.float32)]
        for counts in _counted(texts):
            weighted = tfidf.transform(counts[:, self.columns])
            vectors.append(normalize(weighted @ self.components.T))
        return np.concatenate(vectors).astype(np.float32)


def fit_texts(texts: Sequence[str]) -> TextEncoding:
    """Fits an encoding on training texts.

    The n-grams kept are the 16,384 that most texts have, of equal ones those of lower
    numbers. The projection is on the 256 largest singular vectors, or as many as there
    are; the same texts always give the same ones.

    Args:
      texts: ``[N]``, one or more.

    Raises:
      UserError: None of them holds anything but blanks, or one is no text.
    """
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    counts = sparse.vstack(list(_counted(texts)), format="csr")
    frequency = counts.getnnz(axis=0)
    order = np.argsort(-frequency, kind="stable")
    columns = np.sort(order[: min(_MOST_KEPT, np.count_nonzero(frequency))])
    if not columns.size:
        raise UserError("no training text holds anything but blanks")
    tfidf = _tfidf().fit(counts[:, columns])
    weighted = tfidf.transform(counts[:, columns])
    svd = TruncatedSVD(min(_DIMS, *weighted.shape), random_state=0)
    # One thread: several add up in another order, and on matrices this narrow take up
    # to ten times as long. Of equal texts it divides by their variance.
    with threadpool_limits(1), np.errstate(invalid="ignore", divide="ignore"):
        svd.fit(weighted)
    found = svd.singular_values_ > _RANK * svd.singular_values_[0]
    return TextEncoding(
        columns=columns.astype(np.int32),
        weights=tfidf.idf_.astype(np.float32),
        components=svd.components_[found].astype(np.float32),
    )


def text_names(texts: Sequence[str]) -> list[str]:
    """Returns what to call texts: their beginnings, on one line."""
    names = []
    for text in texts:
        text = text.strip()
        start = " ".join(text[: 4 * _SHOWN].split())
        is_cut = len(start) > _SHOWN or len(text) > 4 * _SHOWN
        names.append(f"{start[: _SHOWN - 1]}…" if is_cut else start or "(empty)")
    return names


def tell_unknown(name: str, vectors: np.ndarray) -> None:
    """Gives a `DataNotice` of texts without a vector, if there are any."""
    unknown = np.flatnonzero(~vectors.any(axis=1))
    if unknown.size:
        notice(
            f"{name}: texts that are empty or have no n-gram of the training texts: "
            f"{unknown.size}, such as row {unknown[0]}; their vectors are zero"
        )


def _tfidf(weights: np.ndarray | None = None):
    from sklearn.feature_extraction.text import TfidfTransformer

    tfidf = TfidfTransformer(sublinear_tf=True)
    if weights is not None:
        tfidf.idf_ = weights
    return tfidf


def _counted(texts: Sequence[str]) -> Iterator[sparse.csr_matrix]:
    """Counts of n-grams, float32 ``[n, 2 * NUM_HASHES]``, of some texts at a time."""
    from sklearn.feature_extraction.text import HashingVectorizer

    if isinstance(texts, str):
        raise UserError("texts must be a list of them, got a single text")
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"row {row} must be a text, got {type(text).__name__}")
    same = {
        "n_features": NUM_HASHES,
        "norm": None,
        "alternate_sign": False,
        "dtype": np.float32,
    }
    counters = [HashingVectorizer(**kind, **same) for kind in (_WORDS, _CHARACTERS)]
    for start in range(0, len(texts), _BLOCK):
        # Half of a surrogate pair has no bytes to be hashed.
        block = [
            text.encode("utf-8", "replace").decode("utf-8")
            for text in texts[start : start + _BLOCK]
        ]
        yield sparse.hstack(
            [counter.transform(block) for counter in counters], format="csr"
        )
