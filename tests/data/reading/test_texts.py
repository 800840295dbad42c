import collections
import math
import warnings

import numpy as np
import pytest

from hierjax.data.reading.texts import fit_texts, tell_unknown, text_names
from hierjax.errors import DataNotice, UserError

TEXTS = ["An owl", "a cod, a cod", "the owl is at sea", "sea"]


def ngrams(text):
    """One and two words, and two to five characters of each, blanks at its ends."""
    text = text.lower()
    words = "".join(c if c.isalnum() else " " for c in text).split()
    found = collections.Counter(words)
    found.update(zip(words[:-1], words[1:], strict=True))
    for word in text.split():
        padded = f" {word} "
        for n in range(2, 6):
            cut = [padded[i : i + n] for i in range(max(len(padded) - n + 1, 1))]
            found.update(("characters", piece, n) for piece in cut)
            if n >= len(padded):
                break
    return found


def tfidf(texts):
    counts = [ngrams(text) for text in texts]
    names = sorted({name for count in counts for name in count}, key=str)
    rows = []
    for count in counts:
        row = []
        for name in names:
            frequency = sum(name in other for other in counts)
            idf = math.log((1 + len(texts)) / (1 + frequency)) + 1
            row.append((1 + math.log(count[name])) * idf if name in count else 0)
        rows.append(row)
    rows = np.array(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cosines_of_training_texts_are_those_of_their_weights():
    expected = tfidf(TEXTS)
    vectors = fit_texts(TEXTS)(TEXTS)
    assert vectors.shape == (4, 4) and vectors.dtype == np.float32
    # All singular vectors are kept, so that nothing is lost.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-5)


def test_the_same_texts_give_the_same_encoding():
    for one, other in zip(fit_texts(TEXTS), fit_texts(TEXTS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_row_does_not_depend_on_the_others():
    encoding = fit_texts(TEXTS)
    together = encoding([*TEXTS, "an owl at sea"])
    alone = encoding(["an owl at sea"])
    np.testing.assert_array_equal(together[-1:], alone)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    assert encoding([]).shape == (0, 4)


@pytest.mark.parametrize("text", ["", " \n\t", "\x1c", "字", "\ud800"])
def test_what_is_not_known_is_zero(text):
    assert not fit_texts(TEXTS)([text]).any()


@pytest.mark.parametrize("text", ["an\0owl", "\x01owl\x7f", "owl\ud800", "OWL"])
def test_what_else_is_in_a_text_does_not_matter(text):
    assert fit_texts(TEXTS)([text]).any()


def test_languages_without_spaces_have_n_grams():
    encoding = fit_texts(
        ["猫が好きです", "今日は雨が降る", "我喜欢看电影", "明天会下雨"]
    )
    found = (
        encoding(["雨が降ります", "你喜欢电影吗"])
        @ encoding(["猫が好きです", "今日は雨が降る", "我喜欢看电影", "明天会下雨"]).T
    )
    assert found.argmax(axis=1).tolist() == [1, 2]


@pytest.mark.parametrize("texts", [["one"], ["two words"] * 5, ["one", ""]])
def test_a_single_text_is_a_single_number(texts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors = fit_texts(texts)(texts)
    assert vectors.shape == (len(texts), 1)
    np.testing.assert_allclose(vectors[0], 1, rtol=1e-6)


def test_very_long_texts():
    text = "word " * 50_000
    np.testing.assert_allclose(fit_texts([text])([text, "字" * 10**6]), [[1], [0]])


def test_what_most_texts_have_is_kept():
    rare = " ".join(f"w{number}" for number in range(9000))
    encoding = fit_texts([rare, "common", "common", "common sense"])
    assert encoding.columns.shape == (2**14,)
    found = encoding(["common", rare, "sense"])
    assert found[0].any() and found[1].any() and encoding.weights.min() < 1.3
    assert (np.diff(encoding.columns) > 0).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["", " "], "no training text holds anything but blanks"),
        ("a text", "got a single text"),
        (["a", None], "row 1 must be a text, got NoneType"),
    ],
)
def test_what_is_no_text_is_refused(texts, message):
    with pytest.raises(UserError, match=message):
        fit_texts(texts)


def test_names_are_beginnings():
    names = text_names(["a\n b", "", "x" * 61, "  " * 300 + "y", "z" * 60])
    assert names == ["a b", "(empty)", "x" * 59 + "…", "y", "z" * 60]


def test_unknown_texts_are_counted():
    with pytest.warns(
        DataNotice, match="mine: texts that are empty .*: 2, such as row 1"
    ):
        tell_unknown("mine", np.array([[1.0], [0], [0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_unknown("mine", np.ones((2, 1)))
