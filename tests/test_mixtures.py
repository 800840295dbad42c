import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import mixtures
from hierjax.errors import UserError


def loop_responsibilities(points, num_components, num_steps):
    """EM of one mixture, point by point, float64: ``[L][D]`` log responsibilities."""
    dim, num_features = points.shape
    variance = [np.var(points[:, f]) for f in range(num_features)]
    extra = [1e-4 * v + 1e-8 for v in variance]
    pi = [1 / num_components] * num_components
    mu, var = [], []
    for k in range(num_components):
        start = [np.quantile(points[:, 0], (k + 0.5) / num_components)]
        mu.append(start + [np.mean(points[:, f]) for f in range(1, num_features)])
        var.append(
            [max(v / num_components, e) for v, e in zip(variance, extra, strict=True)]
        )

    def expectation():
        table = np.zeros((num_components, dim))
        for d in range(dim):
            for k in range(num_components):
                table[k, d] = math.log(pi[k])
                for f in range(num_features):
                    table[k, d] -= 0.5 * math.log(var[k][f])
                    table[k, d] -= 0.5 * (points[d, f] - mu[k][f]) ** 2 / var[k][f]
            top = table[:, d].max()
            table[:, d] -= top + math.log(np.exp(table[:, d] - top).sum())
        return table

    for _ in range(num_steps):
        r = np.exp(expectation())
        for k in range(num_components):
            n = sum(r[k])
            pi[k] = n / dim
            for f in range(num_features):
                mu[k][f] = sum(r[k] * points[:, f]) / n
                squares = r[k] * (points[:, f] - mu[k][f]) ** 2
                var[k][f] = sum(squares) / n + extra[f]
    order = sorted(range(num_components), key=lambda k: mu[k][0])
    return expectation()[order]


def loop_masks(log_r):
    """Arg max and guard, one grant at a time."""
    num_levels, dim = log_r.shape
    fewest = max(2, dim // (8 * num_levels))
    owner = [int(np.argmax(log_r[:, d])) for d in range(dim)]
    guarded = False
    for level in range(num_levels):
        while owner.count(level) < fewest:
            guarded = True
            spare = [d for d in range(dim) if owner.count(owner[d]) > fewest]
            owner[max(spare, key=lambda d: log_r[level, d])] = level
    return np.array([[o == level for o in owner] for level in range(num_levels)]), (
        guarded
    )


def unit_rows(x):
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("f")


def observations(x, mode):
    units = unit_rows(x).reshape(-1, x.shape[-1])
    if mode == "mean":
        return units.mean(0)[:, None]
    return np.stack([units.mean(0), units.std(0)], -1)


_level_mixture = jax.jit(
    mixtures.level_mixture,
    static_argnames=("num_levels", "mode", "num_steps", "axis_name"),
)


def fitted(x, num_levels, mode="sample", num_steps=10, where=None):
    where = np.ones(len(x), bool) if where is None else where
    return _level_mixture(x, num_levels, mode=mode, num_steps=num_steps, where=where)


def fitted_on_devices(x, num_levels, mode, where, num_devices):
    """Everything with a leading axis of devices."""

    def local(x, where):
        return mixtures.level_mixture(
            x, num_levels, mode=mode, where=where, axis_name="devices"
        )

    return jax.jit(jax.vmap(local, axis_name="devices"))(
        x.reshape(num_devices, -1, *x.shape[1:]), where.reshape(num_devices, -1)
    )


def check_masks(masks, num_levels, dim):
    masks = np.asarray(masks)
    assert masks.dtype == np.float32 and masks.shape[-2:] == (num_levels, dim)
    assert set(np.unique(masks)) <= {0.0, 1.0}
    np.testing.assert_array_equal(masks.sum(-2), 1)
    assert masks.sum(-1).min() >= max(2, dim // (8 * num_levels))


@pytest.mark.parametrize(("num_levels", "dim", "num_steps"), [(2, 33, 10), (4, 64, 3)])
def test_masks_of_rows_equal_the_loop(num_levels, dim, num_steps):
    x = 5 * normal(num_levels, 4, 2, dim)
    found = fitted(x, num_levels, num_steps=num_steps)
    check_masks(found.masks, num_levels, dim)
    fired = []
    for row, units in zip(
        np.asarray(found.masks).reshape(-1, num_levels, dim),
        unit_rows(x).reshape(-1, dim),
        strict=True,
    ):
        expected, guarded = loop_masks(
            loop_responsibilities(units[:, None], num_levels, num_steps)
        )
        np.testing.assert_array_equal(row, expected)
        fired.append(guarded)
    np.testing.assert_allclose(found.guarded, np.mean(fired), rtol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "dim_stats"])
@pytest.mark.parametrize("num_levels", [2, 3])
def test_shared_masks_equal_the_loop(mode, num_levels):
    x = normal(1, 12, 2, 40) + normal(2, 1, 1, 40)
    found = fitted(x, num_levels, mode)
    check_masks(found.masks, num_levels, 40)
    expected, guarded = loop_masks(
        loop_responsibilities(observations(x, mode), num_levels, 10)
    )
    np.testing.assert_array_equal(found.masks, expected)
    assert found.guarded.shape == () and found.guarded == guarded


def test_modes_and_steps_give_different_masks():
    x = normal(1, 12, 2, 40) + normal(2, 1, 1, 40)
    mean, stats = (np.asarray(fitted(x, 2, m).masks) for m in ("mean", "dim_stats"))
    assert (mean != stats).any()
    few, many = (np.asarray(fitted(x, 3, "sample", n).masks) for n in (1, 10))
    assert (few != many).any()


@pytest.mark.parametrize("num_levels", [1, 2, 3, 7])
def test_quantiles_are_numpys(num_levels):
    values = normal(3, 5, 20)
    values[1] = 0.5
    values[2, :10] = values[2, 10:]
    probabilities = (np.arange(num_levels) + 0.5) / num_levels
    expected = np.quantile(values.astype(float), probabilities, axis=-1).T
    found = mixtures._quantiles(jnp.asarray(values), num_levels)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_levels_follow_the_order_of_the_means():
    groups = np.repeat([[0.9, -0.7, 0.1]], 10, 0).T.reshape(-1)
    x = (groups + 0.01 * normal(4, 30))[None, None].astype("f")
    masks = fitted(x, 3).masks[0, 0]
    np.testing.assert_array_equal(np.argmax(masks, 0), np.repeat([2, 0, 1], 10))


@pytest.mark.parametrize("mode", mixtures.MODES)
def test_permuting_dimensions_permutes_masks(mode):
    x = normal(5, 12, 2, 40) + 0.5 * normal(6, 1, 1, 40)
    order = np.random.default_rng(0).permutation(40)
    found = np.asarray(fitted(x[..., order], 3, mode).masks)
    np.testing.assert_array_equal(
        found, np.asarray(fitted(x, 3, mode).masks)[..., order]
    )


@pytest.mark.parametrize("mode", mixtures.MODES)
def test_no_gradient_flows_through_the_masks(mode):
    x = jnp.asarray(normal(7, 3, 2, 16))

    def loss(x):
        masks = mixtures.gaussian_level_masks(x, 2, mode=mode)
        dimensions = jnp.arange(16.0).reshape((1,) * (masks.ndim - 1) + (16,))
        return jnp.sum(masks * dimensions), masks

    (_, masks), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(x)
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(masks, fitted(x, 2, mode).masks)


@pytest.mark.parametrize("mode", mixtures.MODES)
def test_one_level_owns_everything(mode):
    found = fitted(normal(8, 3, 2, 8), 1, mode)
    np.testing.assert_array_equal(found.masks, 1)
    assert found.guarded == 0


def test_guard_feeds_a_starved_level():
    # One outlier a row makes a component of a single dimension.
    x = 0.1 * normal(9, 4, 1, 64)
    x[0, 0, 11] = 9
    log_r = loop_responsibilities(unit_rows(x[0, 0])[:, None], 2, 10)
    assert min(np.bincount(np.argmax(log_r, 0), minlength=2)) < 4
    found = fitted(x, 2)
    check_masks(found.masks, 2, 64)
    np.testing.assert_array_equal(found.masks[0, 0], loop_masks(log_r)[0])
    assert found.masks[0, 0].sum(-1).tolist() == [60, 4]
    assert found.masks[0, 0, 1, 11] == 1
    assert found.guarded == 0.25
    first = np.array([True, False, False, False])
    assert fitted(x, 2, where=first).guarded == 1
    assert fitted(x, 2, where=~first).guarded == 0
    assert fitted(x, 2, "mean", where=first).guarded == 1


@pytest.mark.parametrize(("num_levels", "dim"), [(2, 4), (3, 6), (3, 50), (5, 41)])
def test_guard_equals_the_loop_on_any_responsibilities(num_levels, dim):
    rng = np.random.default_rng(dim)
    logits = 3 * rng.normal(size=(30, num_levels, dim))
    logits += 6 * rng.normal(size=(30, num_levels, 1))
    scores = np.asarray(jax.nn.log_softmax(jnp.asarray(logits, "f"), 1))
    fewest = max(2, dim // (8 * num_levels))
    found, guarded = jax.jit(mixtures._share_out, static_argnums=1)(scores, fewest)
    check_masks(np.asarray(found, "f"), num_levels, dim)
    expected = [loop_masks(row) for row in scores]
    np.testing.assert_array_equal(found, [masks for masks, _ in expected])
    np.testing.assert_array_equal(guarded, [fired for _, fired in expected])
    assert guarded.any()


@pytest.mark.parametrize("mode", ["mean", "dim_stats"])
def test_shared_masks_are_the_same_on_all_devices(mode):
    x = normal(10, 12, 2, 40) + 0.5 * normal(11, 1, 1, 40)
    where = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1], bool)
    expected, _ = loop_masks(loop_responsibilities(observations(x[where], mode), 3, 10))
    assert (expected != np.asarray(fitted(x, 3, mode).masks)).any()
    x[~where] = np.nan
    np.testing.assert_array_equal(fitted(x, 3, mode, where=where).masks, expected)
    found = fitted_on_devices(x, 3, mode, where, 4)
    for masks in found.masks:
        np.testing.assert_array_equal(masks, expected)


def test_guarded_share_is_that_of_all_devices():
    x = 0.1 * normal(9, 4, 1, 64)
    x[:3, 0, 11] = 9
    where = np.array([1, 0, 1, 1], bool)
    found = fitted_on_devices(x, 2, "sample", where, 2)
    np.testing.assert_allclose(found.guarded, [2 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_array_equal(
        found.masks.reshape(4, 1, 2, 64)[where], fitted(x, 2).masks[where]
    )


@pytest.mark.parametrize("mode", mixtures.MODES)
def test_half_precision_is_fitted_in_float32(mode):
    x = jnp.asarray(normal(12, 12, 2, 40), jnp.bfloat16)
    found = fitted(x, 3, mode)
    exact = fitted(x.astype(jnp.float32), 3, mode)
    check_masks(found.masks, 3, 40)
    np.testing.assert_array_equal(found.masks, exact.masks)


@pytest.mark.parametrize("mode", mixtures.MODES)
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf, 1e30, 1e-30])
def test_rows_without_information_get_masks_all_the_same(mode, value):
    found = fitted(np.full((12, 2, 40), value, "f"), 3, mode)
    check_masks(found.masks, 3, 40)
    assert np.isfinite(found.guarded)


@pytest.mark.parametrize("mode", mixtures.MODES)
def test_nobody_valid(mode):
    found = fitted(normal(0, 12, 2, 40), 3, mode, where=np.zeros(12, bool))
    check_masks(found.masks, 3, 40)
    assert found.guarded == (0 if mode == "sample" else 1)


def test_what_does_not_fit_is_refused():
    x = jnp.ones((2, 2, 5))
    with pytest.raises(ValueError, match=r"two dimensions a level, got .*\(2, 2, 5\)"):
        mixtures.gaussian_level_masks(x, 3)
    with pytest.raises(ValueError, match="at least one level"):
        mixtures.gaussian_level_masks(x, 0)
    with pytest.raises(ValueError, match=r"\[B, V, D\], got float32 \(2, 5\)"):
        mixtures.gaussian_level_masks(x[0], 2)
    with pytest.raises(ValueError, match="float array .* got int32"):
        mixtures.gaussian_level_masks(x.astype(jnp.int32), 2)
    with pytest.raises(ValueError, match="mode is 'median'"):
        mixtures.gaussian_level_masks(x, 2, mode="median")
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        mixtures.gaussian_level_masks(x, 2, num_steps=0)
    with pytest.raises(ValueError, match=r"where must have shape \(2,\), got \(3,\)"):
        mixtures.gaussian_level_masks(x, 2, where=jnp.ones(3, bool))


def planted(rng, num_groups, num_features=1, dim=128):
    """Groups of at least a tenth of the dimensions, 6 to 10 deviations apart."""
    shares = 0.1 + (1 - 0.1 * num_groups) * rng.dirichlet(np.ones(num_groups))
    sizes = np.floor(shares * dim).astype(int)
    sizes[-1] += dim - sizes.sum()
    centers = np.cumsum(rng.uniform(6, 10, num_groups))
    values = np.repeat(centers, sizes)[:, None] * np.eye(1, num_features)
    values = values + rng.normal(size=(dim, num_features))
    return rng.permutation(values) * rng.uniform(0.001, 10) + rng.normal()


@pytest.mark.parametrize("num_groups", [1, 2, 3, 4])
def test_planted_groups_are_counted(num_groups):
    rng = np.random.default_rng(num_groups)
    found = [
        mixtures.infer_num_levels(planted(rng, num_groups)[:, 0]) for _ in range(4)
    ]
    assert found.count(num_groups) >= 3


def test_groups_may_be_planted_in_two_features():
    values = planted(np.random.default_rng(5), 2, 2)
    assert mixtures.infer_num_levels(values) == 2
    assert mixtures.infer_num_levels(values, seed=3) == 2
    assert mixtures.infer_num_levels(values, max_levels=1) == 1


def test_few_or_constant_values_are_one_group():
    assert mixtures.infer_num_levels(np.full(20, 0.3)) == 1
    assert mixtures.infer_num_levels(np.ones((20, 2))) == 1
    assert mixtures.infer_num_levels(np.array([0.3])) == 1
    values = planted(np.random.default_rng(6), 3)
    with_constant = np.concatenate([values, np.ones_like(values)], -1)
    assert mixtures.infer_num_levels(with_constant) == 3
    assert 1 <= mixtures.infer_num_levels(np.array([0.0, 0.0, 1.0])) <= 2


@pytest.mark.parametrize("values", [np.ones((2, 2, 2)), [], [1.0, np.nan], 3.0])
def test_values_that_cannot_be_counted(values):
    with pytest.raises(UserError, match=r"finite and \[D\] or \[D, F\]"):
        mixtures.infer_num_levels(np.asarray(values))


def test_at_least_one_level():
    with pytest.raises(UserError, match="max_levels must be at least 1"):
        mixtures.infer_num_levels(np.ones(3), max_levels=0)
