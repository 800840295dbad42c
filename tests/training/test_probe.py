import doctest

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hierjax.errors import UserError
from hierjax.training import ProbeConfig, linear_probe, probe

QUICK = ProbeConfig(num_epochs=10, batch_size=64)
CLASSES = (2, 10)
"""Digits below five or not, and digits."""


@pytest.fixture(scope="module")
def digits():
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    features = images[order].astype(np.float32)
    targets = np.stack([classes[order] // 5, classes[order]], axis=1)
    parts = np.split(np.arange(len(images)), [900, 1300])
    names = "train", "validation", "test"
    return {
        name: (features[rows], targets[rows])
        for name, rows in zip(names, parts, strict=True)
    }


def run(splits, config=QUICK, **changes):
    splits = splits | changes
    evaluated = {name: splits[name] for name in splits if name != "train"}
    return linear_probe(splits["train"], evaluated, CLASSES, config)


def assert_same(one, two):
    for a, b in ((one.last, two.last), (one.best, two.best)):
        np.testing.assert_array_equal(a.learning_rates, b.learning_rates)
        np.testing.assert_array_equal(a.epochs, b.epochs)
        for name in a.correct:
            np.testing.assert_array_equal(a.correct[name], b.correct[name])
    np.testing.assert_array_equal(one.validation_accuracy, two.validation_accuracy)


def test_it_is_as_good_as_logistic_regression(digits):
    found = run(digits, ProbeConfig(num_epochs=40, batch_size=64))
    scaler = StandardScaler().fit(digits["train"][0])
    for target in range(2):
        peer = LogisticRegression(max_iter=1000).fit(
            scaler.transform(digits["train"][0]), digits["train"][1][:, target]
        )
        x, y = digits["test"]
        expected = peer.score(scaler.transform(x), y[:, target])
        for choice in (found.last, found.best):
            assert abs(choice.accuracy["test"][target] - expected) < 0.025
    assert found.last.accuracy["test"][1] > 0.94
    assert 0.8 < found.last.accuracy["test"][0] < 0.95  # Not a linear question.


def test_what_a_probe_holds(digits):
    found = run(digits)
    assert found.validation_accuracy.shape == (10, 3, 2)
    np.testing.assert_array_equal(found.last.epochs, [10, 10])
    for choice in (found.last, found.best):
        assert set(choice.correct) == {"validation", "test"}
        assert choice.correct["test"].shape == (497, 2)
        for name, values in choice.correct.items():
            assert set(np.unique(values)) == {0.0, 1.0}
            np.testing.assert_allclose(choice.accuracy[name], values.mean(0))
        for target in range(2):
            rate = QUICK.learning_rates.index(choice.learning_rates[target])
            np.testing.assert_allclose(
                choice.accuracy["validation"][target],
                found.validation_accuracy[choice.epochs[target] - 1, rate, target],
                atol=1e-6,
            )
    history = found.validation_accuracy
    np.testing.assert_allclose(
        found.last.accuracy["validation"], history[-1].max(0), atol=1e-6
    )
    np.testing.assert_allclose(
        found.best.accuracy["validation"], history.max((0, 1)), atol=1e-6
    )


def test_the_same_seed_gives_the_same_probe_and_another_does_not(digits):
    first = run(digits)
    assert_same(first, run(digits))
    other = run(digits, ProbeConfig(num_epochs=10, batch_size=64, seed=1))
    assert (other.validation_accuracy != first.validation_accuracy).any()


def test_queries_keep_their_order(digits):
    order = np.random.default_rng(1).permutation(497)
    x, y = digits["test"]
    moved = run(digits, test=(x[order], y[order]))
    found = run(digits)
    np.testing.assert_array_equal(
        moved.best.correct["test"], found.best.correct["test"][order]
    )


def test_nothing_is_chosen_on_test(digits):
    found = run(digits)
    x, y = digits["test"]
    other = run(digits, test=(-x[:50], y[:50]), extra=(x, y))
    for a, b in ((found.last, other.last), (found.best, other.best)):
        np.testing.assert_array_equal(a.learning_rates, b.learning_rates)
        np.testing.assert_array_equal(a.epochs, b.epochs)
        np.testing.assert_array_equal(a.correct["test"], b.correct["extra"])


def test_the_best_epoch_need_not_be_the_last(digits):
    """From the fourth epoch on the features are those of other rows."""
    x, y = digits["train"]
    shuffled = np.random.default_rng(0).permutation(x)
    config = ProbeConfig(num_epochs=20, batch_size=64, learning_rates=(30.0,))
    found = run(digits, config, train=(lambda e: x if e < 3 else shuffled, y))
    assert (found.best.epochs <= 4).all()
    best, last = (c.accuracy["test"][1] for c in (found.best, found.last))
    assert best > 0.85 and last < 0.5
    short = ProbeConfig(
        num_epochs=int(found.best.epochs[1]),
        batch_size=64,
        learning_rates=(30.0,),
        decay=1.0,
    )
    stopped = run(digits, short, train=(lambda e: x if e < 3 else shuffled, y))
    np.testing.assert_array_equal(
        stopped.last.correct["test"][:, 1], found.best.correct["test"][:, 1]
    )


def test_unknown_targets_neither_teach_nor_count(digits):
    x, y = digits["train"]
    rng = np.random.default_rng(2)
    hidden = y.copy()
    hidden[rng.random(y.shape) < 0.3] = -1
    x_test, y_test = digits["test"]
    y_test = y_test.copy()
    y_test[::3, 1] = -1
    x_validation, y_validation = digits["validation"]
    y_validation = y_validation.copy()
    y_validation[::2] = -1
    splits = {
        "train": (x, hidden),
        "validation": (x_validation, y_validation),
        "test": (x_test, y_test),
    }
    found = run(splits)
    values = found.last.correct["test"]
    np.testing.assert_array_equal(np.isnan(values), y_test < 0)
    np.testing.assert_allclose(found.last.accuracy["test"], np.nanmean(values, axis=0))
    assert found.last.accuracy["test"][1] > 0.9
    np.testing.assert_allclose(
        found.last.accuracy["validation"],
        found.validation_accuracy[-1].max(0),
        atol=1e-6,
    )
    halved = (x_validation[1::2], digits["validation"][1][1::2])
    np.testing.assert_allclose(
        run(splits | {"validation": halved}).validation_accuracy,
        found.validation_accuracy,
        atol=1e-6,
    )


def test_a_row_of_unknown_targets_is_as_good_as_none():
    """In one batch; its features would still be seen by the standardisation."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 4)), rng.integers(0, 3, (30, 1))
    more = np.concatenate([x, 100 * rng.normal(size=(5, 4))])
    unknown = np.concatenate([y, np.full((5, 1), -1)])
    config = ProbeConfig(num_epochs=5, standardize=False, learning_rates=(0.3,))
    rows = {"test": (x, y)}
    found = linear_probe((more, unknown), rows, (3,), config)
    expected = linear_probe((x, y), rows, (3,), config)
    np.testing.assert_array_equal(
        found.last.correct["test"], expected.last.correct["test"]
    )


def test_classes_without_rows_are_no_trouble(digits):
    x, y = digits["train"]
    few = y[:, 1] != 7
    found = run(digits, train=(x[few], y[few]))
    missing = digits["test"][1][:, 1] == 7
    assert found.last.correct["test"][missing, 1].sum() == 0
    assert found.last.correct["test"][~missing, 1].mean() > 0.9


def test_augmented_features_are_asked_for_once_an_epoch(digits):
    x, y = digits["train"]
    asked = []

    def features(epoch):
        asked.append(epoch)
        return x

    assert_same(run(digits, train=(features, y)), run(digits))
    assert asked == list(range(10))

    def noisy(epoch):
        return x + np.random.default_rng(epoch).normal(size=x.shape)

    other = run(digits, train=(noisy, y))
    assert (other.validation_accuracy != run(digits).validation_accuracy).any()
    assert other.last.accuracy["test"][1] > 0.9


def test_probes_of_one_shape_compile_once(digits):
    run(digits)
    functions = probe._train_epoch, probe._keep_best, probe._predict
    before = [function._cache_size() for function in functions]
    x, y = digits["train"]
    run(
        digits,
        ProbeConfig(
            num_epochs=3,
            batch_size=64,
            learning_rates=(0.2, 0.3, 0.4),
            momentum=0.5,
            seed=9,
        ),
        train=(lambda e: -x + e, y),
    )
    assert [function._cache_size() for function in functions] == before


def test_an_epoch_against_loops():
    """Last batch incomplete, an unknown target, two targets, two rates."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(10, 3))
    y = np.stack([rng.integers(0, 2, 10), rng.integers(0, 3, 10)], axis=1)
    y[2, 1] = y[5, 0] = -1
    rates, momentum, key = (0.5, 2.0), 0.7, jax.random.key(8)
    weights = [rng.normal(size=(3, 2, n)) for n in (2, 3)]
    velocity = [rng.normal(size=w.shape) for w in weights]
    found = probe._train_epoch(
        *(tuple(np.float32(w) for w in ws) for ws in (weights, velocity)),
        np.float32(x),
        np.int32(y),
        key,
        np.float32(rates),
        np.float32(momentum),
        batch_size=4,
    )
    order = np.asarray(jax.random.permutation(key, 10))
    for first in (0, 4, 8):
        rows = order[first : first + 4]
        for target in range(2):
            known = [row for row in rows if y[row, target] >= 0]
            for r, rate in enumerate(rates):
                w, v = weights[target][:, r], velocity[target][:, r]
                gradient = np.zeros_like(w)
                for row in known:
                    p = np.exp(x[row] @ w)
                    p /= p.sum()
                    p[y[row, target]] -= 1
                    gradient += np.outer(x[row], p) / len(known)
                v[:] = momentum * v + gradient
                w -= rate * v
    for a, b in zip(found, (weights, velocity), strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_rate_falls_at_the_given_shares(digits, monkeypatch):
    seen, epoch = [], probe._train_epoch

    def spy(*args, **kwargs):
        seen.append(float(args[5][0]))
        return epoch(*args, **kwargs)

    monkeypatch.setattr(probe, "_train_epoch", spy)
    run(digits, ProbeConfig(num_epochs=20, batch_size=64, learning_rates=(1.0,) * 3))
    expected = [1.0] * 12 + [0.2] * 3 + [0.04] * 3 + [0.008] * 2
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_standardised_features_forget_their_scale(digits):
    scale = np.logspace(-4, 4, 64).astype(np.float32)

    def rescaled(name):
        x, y = digits[name]
        return x * scale + 5 * scale, y

    config = ProbeConfig(num_epochs=10, batch_size=64, learning_rates=(3.0,))
    found = run({name: rescaled(name) for name in digits}, config)
    expected = run(digits, config)
    # Equal up to rounding, which may turn a close call.
    np.testing.assert_allclose(
        found.validation_accuracy, expected.validation_accuracy, atol=0.006
    )
    raw = ProbeConfig(
        num_epochs=10, batch_size=64, learning_rates=(3.0,), standardize=False
    )
    off = run({name: rescaled(name) for name in digits}, raw)
    assert off.last.accuracy["test"][1] < expected.last.accuracy["test"][1] - 0.1


def test_rows_have_mean_squared_length_one_and_constants_are_gone():
    rng = np.random.default_rng(5)
    x = rng.normal(3, [1, 20, 0.1, 1e-3], (500, 4))
    x = np.concatenate([x, np.full((500, 1), 0.1)], axis=1).astype(np.float32)
    prepare = probe._make_prepare(x, standardize=True)
    ready = prepare(x)
    assert ready.dtype == np.float32 and ready.shape == (500, 6)
    np.testing.assert_array_equal(ready[:, 4], 0)
    np.testing.assert_array_equal(ready[:, 5], 1)
    np.testing.assert_allclose(ready[:, :4].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(ready[:, :4].std(0), 0.5, rtol=1e-3)
    np.testing.assert_array_equal(prepare(x[:3] + 7)[:, 4], 0)
    plain = probe._make_prepare(x, standardize=False)(x)
    np.testing.assert_array_equal(plain[:, :5], x)


def test_without_validation_one_rate_and_no_best(digits):
    splits = {name: digits[name] for name in ("train", "test")}
    config = ProbeConfig(num_epochs=10, batch_size=64, learning_rates=(3.0,))
    found = run(splits, config)
    assert found.best is None and found.validation_accuracy is None
    np.testing.assert_array_equal(found.last.learning_rates, [3.0, 3.0])
    expected = run(digits, config)
    np.testing.assert_array_equal(
        found.last.correct["test"], expected.last.correct["test"]
    )
    with pytest.raises(UserError, match="without a validation split"):
        run(splits)


def test_a_batch_larger_than_the_data(digits):
    x, y = digits["train"]
    config = ProbeConfig(num_epochs=30, batch_size=4096, learning_rates=(30.0,))
    found = run(digits, config, train=(x[:300], y[:300]))
    assert found.last.accuracy["test"][1] > 0.85


def changed(targets, row, column, value):
    targets = targets.copy()
    targets[row, column] = value
    return targets


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train", lambda x, y: (x[:, 0], y), r"train: features must be \[N, F\]"),
        ("test", lambda x, y: (x[:, 1:], y), r"got \(497, 63\), in training \(900, 6"),
        ("test", lambda x, y: (x[:0], y[:0]), "test: features must .* not empty"),
        ("train", lambda x, y: (x * np.inf, y), "train: features must be finite"),
        ("train", lambda x, y: (x, y[:5]), r"must be integers \(900, 2\)"),
        ("train", lambda x, y: (x, y[:, :1]), r"must be integers .* \(900, 1\)"),
        ("test", lambda x, y: (x, y / 2), "must be integers .* float64"),
        (
            "validation",
            lambda x, y: (x, changed(y, 3, 1, 10)),
            r"validation: column 1 .* -1 \(unknown\) or 0 to 9, got 10 in row 3",
        ),
        ("train", lambda x, y: (x, y * [-1, 1]), "column 0 of the targets .*unknown"),
        ("validation", lambda x, y: (x, y * 0 - 1), "validation: column 0"),
    ],
)
def test_what_does_not_fit_is_an_error(digits, name, change, message):
    x, y = digits[name]
    with np.errstate(invalid="ignore"):
        wrong = change(x, y)
    if message.startswith("column 0 of"):
        wrong = x, changed(y, slice(None), 0, -1)
    with pytest.raises(UserError, match=message):
        run(digits, **{name: wrong})


def test_augmented_features_of_another_shape_are_an_error(digits):
    x, y = digits["train"]
    with pytest.raises(UserError, match="train: targets must be integers"):
        run(digits, train=(lambda e: x if e == 0 else x[:7], y))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_epochs": 0}, "num_epochs must be at least 1"),
        ({"batch_size": 2.5}, "batch_size must be of type int"),
        ({"learning_rates": ()}, "learning_rates must be one or more numbers above 0"),
        ({"learning_rates": (1.0, -1.0)}, "learning_rates must be"),
        ({"momentum": 1.0}, "momentum must be below 1"),
        ({"decay_at": (60,)}, "decay_at must be shares"),
        ({"decay": float("inf")}, "decay must be finite"),
    ],
)
def test_wrong_settings_are_errors(settings, message):
    with pytest.raises(UserError, match=message):
        ProbeConfig(**settings)


def test_the_example():
    failed, tried = doctest.testmod(probe)
    assert tried and not failed
