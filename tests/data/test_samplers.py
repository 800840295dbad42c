import itertools
import time
from collections import Counter

import numpy as np
import pytest

from hierjax.data import gm_notes, make_sampler
from hierjax.data.samplers import (
    _draw_distinct,
    balanced_design,
    pair_counts,
)
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

KINDS = ("uniform", "balanced", "tuples")
RAGGED = Hierarchy.from_paths(
    [("a", "b", "c"), ("a", "b", "d"), ("a", "e", "f"), ("a", "e", "g"),
     ("h", "i", "j"), ("h", "i", "k"), ("h", "l"), ("m",)]
)  # fmt: skip


@pytest.fixture(scope="module")
def notes():
    dataset = gm_notes.load()
    return dataset.train_labels, dataset.rows("train")


def ragged(size=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = RAGGED.labels_of(rng.integers(8, size=size))
    return labels, np.sort(rng.choice(size, size // 2, replace=False))


def rank(a, b):
    """0 if the leaves are equal, .., L if nothing is shared."""
    return len(a) - sum(1 for _ in itertools.takewhile(bool, a == b))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_depend_on_how_steps_are_asked_for(kind, notes):
    def fresh(seed=7):
        return make_sampler(kind, *notes, batch_size=12, seed=seed)

    whole = fresh().indices(0, 3000)
    assert whole.shape == (3000, 12) and whole.dtype == np.int32
    assert np.isin(whole, notes[1]).all()
    backwards = fresh()
    for start, count in ((2500, 400), (1000, 100), (2040, 20), (0, 1), (1023, 2)):
        np.testing.assert_array_equal(
            backwards.indices(start, count), whole[start : start + count]
        )
    pieces = [fresh().indices(start, 250) for start in range(0, 3000, 250)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert fresh().indices(5, 0).shape == (0, 12)
    assert (fresh(seed=8).indices(0, 50) != whole[:50]).any()
    assert (whole[:1024] != whole[1024:2048]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_result_may_be_changed_without_harm(kind, notes):
    sampler = make_sampler(kind, *notes, batch_size=12, seed=0)
    first = sampler.indices(0, 4)
    kept = first.copy()
    first[:] = -1
    np.testing.assert_array_equal(sampler.indices(0, 4), kept)


@pytest.mark.parametrize("kind", KINDS)
def test_speed(kind, notes):
    sampler = make_sampler(kind, *notes, batch_size=12, seed=0)
    sampler.indices(0, 1)
    start = time.perf_counter()
    sampler.indices(1024, 30 * 1024)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(("size", "batch"), [(766, 12), (3, 12), (1, 5), (12, 12)])
def test_uniform_runs_epoch_after_epoch(size, batch):
    labels = np.zeros((2000, 2), int)
    rows = np.random.default_rng(1).choice(2000, size, replace=False)
    stream = make_sampler("uniform", labels, rows, batch, 0).indices(0, 2500).ravel()
    epochs = stream[: len(stream) // size * size].reshape(-1, size)
    assert (np.sort(epochs, axis=1) == np.sort(rows)).all()
    if size > 1:
        assert len({tuple(epoch) for epoch in epochs[:50].tolist()}) > 4


def test_balanced_keeps_its_promise_on_notes(notes):
    labels, rows = notes
    sampler = make_sampler("balanced", labels, rows, 12, seed=0)
    assert sampler.design == (2, 2, 3)
    assert pair_counts(sampler.design) == (12, 18, 36)
    for batch in sampler.indices(0, 40):
        assert len(set(batch.tolist())) == 12
        ranks = Counter(
            rank(labels[i], labels[j]) for i, j in itertools.combinations(batch, 2)
        )
        assert ranks == {0: 12, 1: 18, 2: 36}


def test_balanced_reaches_every_row_evenly(notes):
    labels, rows = notes
    sampler = make_sampler("balanced", labels, rows, 12, seed=0)
    counts = np.bincount(sampler.indices(0, 8000).ravel(), minlength=1530)[rows]
    complete = labels[rows, -1] != 43  # the Contrabass has four rows, the others six
    expected = 8000 * 12 / 16 / 8 / 6
    assert abs(counts[complete].mean() / expected - 1) < 0.02
    assert 0.6 < counts[complete].min() / expected
    assert counts[complete].max() / expected < 1.4


def test_left_over_places_are_uniform(notes):
    labels, rows = notes
    sampler = make_sampler("balanced", labels, rows, 15, seed=0)
    assert sampler.design == (2, 2, 3)
    filling = sampler.indices(0, 8192)[:, 12:]
    counts = np.bincount(filling.ravel(), minlength=1530)[rows]
    assert counts.min() > 10 and counts.sum() == 3 * 8192


def brute_force_design(batch, limits):
    def score(design):
        leaves = list(itertools.product(*map(range, design)))
        ranks = Counter(
            rank(np.array(a[:-1]), np.array(b[:-1]))
            for a, b in itertools.combinations(leaves, 2)
        )
        return sorted(ranks[r] for r in range(len(design)))

    fitting = [
        design
        for design in itertools.product(*(range(1, limit + 1) for limit in limits))
        if np.prod(design) <= batch
        and all(d > 1 or limit == 1 for d, limit in zip(design, limits, strict=True))
    ]
    return max(map(score, fitting))


@pytest.mark.parametrize("batch", [8, 12, 13, 18, 23])
@pytest.mark.parametrize("limits", [(9, 9, 9), (2, 8, 6), (5, 1, 4), (4, 3, 2)])
def test_design_is_the_best_that_fits(batch, limits):
    design = balanced_design(batch, limits)
    assert np.prod(design) <= batch
    assert sorted(pair_counts(design)) == brute_force_design(batch, limits)


def test_designs():
    assert balanced_design(12, [99, 99, 99]) == (2, 2, 3)
    assert balanced_design(48, [16, 8, 5.98]) == (2, 4, 6)
    assert balanced_design(100, [10, 50]) == (2, 50)
    assert balanced_design(6, [3, 1.2, 5]) == (2, 1, 3)  # the middle level gives up
    assert balanced_design(4, [3, 3, 3]) == (1, 2, 2)
    assert balanced_design(1, [3, 3]) == (1, 1)
    assert balanced_design(64, [1, 1]) == (1, 1)


def test_balanced_where_the_tree_has_less_than_the_design():
    # One leaf has one row, its node has no other leaf.
    labels = np.array([[0, 0]] * 9 + [[0, 1]] * 9 + [[1, 2]])
    sampler = make_sampler("balanced", labels, np.arange(19), 12, seed=0)
    assert sampler.design == (2, 2, 3)
    for batch in sampler.indices(0, 200):
        counts = Counter(map(tuple, labels[batch].tolist()))
        assert counts == {(0, 0): 3, (0, 1): 3, (1, 2): 6}
        assert len(set(batch.tolist())) == 7


def test_repeated_places_are_spread_evenly():
    rng = np.random.default_rng(0)
    drawn = _draw_distinct(rng, np.full(30000, 3), 5)
    np.testing.assert_array_equal(drawn[:, 3:], drawn[:, :2])
    assert (np.sort(drawn[:, :3], axis=1) == [0, 1, 2]).all()
    counts = np.bincount(drawn.ravel())
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_distinct_numbers_form_every_subset_equally_often(size):
    drawn = _draw_distinct(np.random.default_rng(0), np.full((200, 200), 5), size)
    subsets = Counter(map(tuple, np.sort(drawn.reshape(-1, size)).tolist()))
    wanted = list(itertools.combinations(range(5), size))
    assert sorted(subsets) == wanted
    for subset in wanted:
        assert subsets[subset] / 40000 == pytest.approx(1 / len(wanted), rel=0.1)


def test_distinct_numbers_of_mixed_counts():
    counts = np.array([[1, 2, 3], [4, 7, 1000]])
    drawn = _draw_distinct(np.random.default_rng(0), counts, 4)
    for count, numbers in zip(counts.ravel(), drawn.reshape(6, 4), strict=True):
        assert 0 <= numbers.min() and numbers.max() < count
        assert len(set(numbers.tolist())) == min(count, 4)


def test_balanced_takes_an_unknown_level_as_one_child():
    labels = np.array([[0, 0]] * 8 + [[0, -1]] * 8 + [[1, 1]] * 8 + [[1, -1]] * 8)
    sampler = make_sampler("balanced", labels, np.arange(32), 12, seed=0)
    for batch in sampler.indices(0, 100):
        counts = Counter(map(tuple, labels[batch].tolist()))
        assert counts == {(0, 0): 3, (0, -1): 3, (1, 1): 3, (1, -1): 3}


def test_balanced_on_a_ragged_tree_and_a_tiny_one():
    labels, rows = ragged()
    sampler = make_sampler("balanced", labels, rows, 16, seed=0)
    assert sampler.design == (2, 2, 2, 2)
    assert np.isin(sampler.indices(0, 500), rows).all()
    alone = make_sampler("balanced", np.zeros((1, 2), int), np.array([0]), 4, seed=0)
    assert alone.design == (1, 1, 1)
    assert (alone.indices(0, 3) == 0).all()


@pytest.mark.parametrize("data", ["notes", "ragged"])
def test_every_tuple_keeps_its_relations(data, notes):
    labels, rows = notes if data == "notes" else ragged()
    levels = labels.shape[1]
    sampler = make_sampler("tuples", labels, rows, 4 * (levels + 2), seed=0)
    batches = sampler.indices(0, 300)
    assert np.isin(batches, rows).all()
    for anchor, *others in batches.reshape(-1, levels + 2):
        assert others[0] != anchor
        assert [rank(labels[anchor], labels[other]) for other in others] == list(
            range(levels + 1)
        )


def test_anchors_and_partners_are_uniform():
    labels, rows = ragged()
    sampler = make_sampler("tuples", labels, rows, 10, seed=0)
    tuples = sampler.indices(0, 20 * 1024).reshape(-1, 5)
    possible = {
        i: [
            [j for j in rows if j != i and rank(labels[i], labels[j]) == r]
            for r in range(4)
        ]
        for i in rows.tolist()
    }
    anchors = [i for i, partners in possible.items() if all(partners)]
    assert 0 < len(anchors) < len(rows)  # "m" and "h/l" have no siblings
    counts = Counter(tuples[:, 0].tolist())
    assert sorted(counts) == anchors
    expected = len(tuples) / len(anchors)
    assert max(abs(c / expected - 1) for c in counts.values()) < 0.25
    one = anchors[0]
    for r in range(4):
        drawn = set(tuples[tuples[:, 0] == one, r + 1].tolist())
        assert drawn == set(possible[one][r])


def test_tuples_leave_out_incomplete_rows(notes):
    labels, rows = notes
    hidden = labels.copy()
    hidden[rows[::2], -1] = -1
    drawn = make_sampler("tuples", hidden, rows, 12, seed=0).indices(0, 1000)
    assert (hidden[drawn, -1] >= 0).all()


def test_hierarchical_groups_have_a_partner_for_every_level():
    labels, rows = ragged()
    sampler = make_sampler("hierarchical", labels, rows, 10, seed=0)
    groups = sampler.indices(0, 2048).reshape(-1, 5)
    possible = {
        i: [
            {j for j in rows if j != i and rank(labels[i], labels[j]) == r}
            for r in range(4)
        ]
        for i in rows.tolist()
    }
    partners = {i: [set() for _ in range(4)] for i in possible}
    for anchor, *others in groups.tolist():
        # From a row that shares nothing to one of the same leaf.
        for r, other in zip((3, 2, 1, 0), others, strict=True):
            partners[anchor][r].add(other)
    lacking = 0
    for i, by_rank in possible.items():
        for r, qualified in enumerate(by_rank):
            if qualified:
                assert partners[i][r] <= qualified
                assert len(partners[i][r]) > len(qualified) / 4
            else:
                lacking += 1
                assert len(partners[i][r]) > 20
    assert lacking


def test_hierarchical_anchors_are_whole_epochs_and_batches_are_cut(notes):
    labels, rows = notes
    drawn = make_sampler("hierarchical", labels, rows, 10, seed=3).indices(0, 600)
    assert drawn.shape == (600, 10)
    # Groups of 4: three a batch, the last cut after its second row.
    anchors = drawn[:, [0, 4, 8]].reshape(-1)
    first = anchors[: len(rows)]
    np.testing.assert_array_equal(np.sort(first), np.sort(rows))
    leaf = labels[:, -1]
    np.testing.assert_array_equal(leaf[drawn[:, 3]], leaf[drawn[:, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_samplers_are_their_own_equals(kind, notes):
    one, two = (make_sampler(kind, *notes, batch_size=12, seed=0) for _ in range(2))
    assert one == one and one != two and len({one, two}) == 2
    with pytest.raises(AttributeError):
        one.seed = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "balance"}, "'tuples', 'hierarchical', got 'balance'"),
        ({"rows": np.array([], int)}, "at least one row, got none"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"kind": "tuples", "batch_size": 12}, "multiple of 5, got 12"),
        (
            {"kind": "tuples", "rows": np.array([0]), "batch_size": 5},
            "no training row has partners for a tuple of 5 rows",
        ),
        (
            {"kind": "tuples", "labels": np.full((200, 3), -1), "batch_size": 5},
            "no training row has partners",
        ),
    ],
)
def test_errors(arguments, message):
    labels, rows = ragged()
    defaults = {
        "kind": "uniform",
        "labels": labels,
        "rows": rows,
        "batch_size": 12,
        "seed": 0,
    }
    with pytest.raises(UserError, match=message):
        make_sampler(**(defaults | arguments))
