import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import losses
from tests.compiling import jit
from tests.losses import contrastive_oracle as oracle

EXAMPLES, DIM = 9, 4
ALL = np.ones(EXAMPLES, bool)
SOME = np.arange(EXAMPLES) % 5 != 3
# Overlapping masks of the levels, some zeros; and one mask an example for soft ones.
MASKS = np.random.default_rng(7).random((4, DIM)).astype(np.float32)
MASKS[MASKS < 0.3] = 0
DIRECTIONS = np.random.default_rng(8).normal(size=(4, DIM, DIM)).astype(np.float32)


def soft_masks(z, num_levels, numpy=jnp):
    # As a head would: on padding that holds NaN it would send NaN to its parameters.
    z = numpy.nan_to_num(z)
    scores = numpy.einsum("bvd,lde->bvle", z, DIRECTIONS[:num_levels])
    return 1 / (1 + numpy.exp(-scores))


def leaf(loss):
    return lambda z, labels, **options: loss(z, labels[:, -1], **options)


def unlabelled(loss):
    return lambda z, labels, **options: loss(z, **options)


def shared_masks(loss, **static):
    def with_masks(z, labels, **options):
        return loss(z, MASKS[: labels.shape[1]], labels, **static, **options)

    return with_masks


def own_masks(loss, numpy, **static):
    def with_masks(z, labels, **options):
        masks = soft_masks(z, labels.shape[1], numpy)
        return loss(z, masks, labels, **static, **options)

    return with_masks


def hierarchical(kind, **static):
    loss = functools.partial(getattr(losses, f"{kind}_loss"), **static)
    return loss, functools.partial(oracle.hierarchical, kind, **static)


def official(kind):
    loss = functools.partial(getattr(losses, f"{kind}_loss"), official=True)
    return loss, functools.partial(oracle.official, kind)


def shared(**static):
    return (
        shared_masks(losses.level_contrastive_loss, **static),
        shared_masks(oracle.level_contrastive, **static),
    )


# Name: (the loss, its oracle), both called with (z, labels, **options).
LOSSES = {
    "simclr": (unlabelled(losses.simclr_loss), unlabelled(oracle.simclr)),
    "supcon": (leaf(losses.supcon_loss), leaf(oracle.supcon)),
    "hmc": hierarchical("hmc"),
    "hce": hierarchical("hce"),
    "hmce": hierarchical("hmce"),
    "hce pairwise": hierarchical("hce", pairwise_max=True),
    "hmce pairwise": hierarchical("hmce", pairwise_max=True),
    "levels": shared(),
    "levels plain": shared(balance="none", renormalize=False),
    "columns": shared(label_scope="column"),
    "columns plain": shared(label_scope="column", balance="none"),
    "levels attended": (
        own_masks(losses.level_contrastive_loss, jnp),
        own_masks(oracle.level_contrastive, np),
    ),
    "hmc official": official("hmc"),
    "hce official": official("hce"),
    "hmce official": official("hmce"),
}
OFFICIAL = [name for name in LOSSES if "official" in name]
OURS = [name for name in LOSSES if name not in OFFICIAL]
# The scope puts all tests of a loss in a row: one process compiles it once for them.
each_loss = pytest.mark.parametrize("name", LOSSES, scope="module")
each_of_ours = pytest.mark.parametrize("name", OURS, scope="module")
MASKED = [name for name in LOSSES if "levels" in name or "columns" in name]


@functools.lru_cache(maxsize=None)
def compiled(name, **static):
    """Jitted value and gradient of (z, labels, where, temperature)."""

    def loss(z, labels, where, temperature):
        return LOSSES[name][0](
            z, labels, where=where, temperature=temperature, **static
        )

    return jit(jax.value_and_grad(loss))


def level_values(z, labels, *, masks=None, where=None, **options):
    """Jitted level_contrastive_loss; without masks all dimensions count."""
    if masks is None:
        masks = np.ones((labels.shape[1], DIM), np.float32)
    loss = functools.partial(losses.level_contrastive_loss, **options)
    return jit(loss)(z, masks, labels, where=where)


def draw(seed, num_views=2, num_levels=2, unknown=0.0):
    """Unit rows and raw column ids: unequal classes, the same id under two parents."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(EXAMPLES, num_views, DIM))
    z = (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(np.float32)
    labels = rng.choice(3, size=(EXAMPLES, num_levels), p=[0.6, 0.3, 0.1])
    labels = rng.permutation(5)[labels].astype(np.int32)
    hide = rng.random(EXAMPLES) < unknown
    first_unknown = rng.integers(0, num_levels, EXAMPLES)
    labels[hide[:, None] & (np.arange(num_levels) >= first_unknown[:, None])] = -1
    return z, labels


def pad(z, where):
    """Padding holds NaN."""
    return np.where(where[:, None, None], z, np.nan).astype(np.float32)


def check(name, z, labels, where, temperature, tolerance=1e-5, slopes=True):
    value, gradient = compiled(name)(pad(z, where), labels, where, temperature)
    assert value.dtype == jnp.float32 and value.shape == ()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~where], 0)
    exact = pad(z, where).astype(float)

    def expected(x):
        return LOSSES[name][1](x, labels, where=where, temperature=temperature)

    np.testing.assert_allclose(value, expected(exact), rtol=tolerance, atol=1e-6)
    if slopes:
        slopes = oracle.numerical_gradient(expected, exact, 1e-5 * temperature)
        largest = max(np.abs(slopes).max(), 1e-3)
        np.testing.assert_allclose(gradient, slopes, atol=tolerance * largest, rtol=0)
    return float(value)


@each_loss
def test_value_and_gradient_equal_the_oracle(name):
    # The published code has no notion of an unknown level.
    unknown = 0 if name in OFFICIAL else 0.25
    values = [
        check(name, *draw(0), ALL, 0.1),
        check(name, *draw(0), ALL, 0.5, slopes=False),
        check(name, *draw(0), SOME, 0.5, slopes=False),
        check(name, *draw(11, unknown=unknown), SOME, 0.05),
        check(name, *draw(8, unknown=unknown), ALL, 1.0),
    ]
    assert len(set(values)) == 5 and min(values) > 0


RAGGED = {
    # Name: (views, levels).
    "supcon": (1, 1),
    "hmc": (1, 3),
    "hmce": (3, 3),
    "hce pairwise": (1, 4),
    "hmce pairwise": (3, 3),
    "hmc official": (2, 4),
    "hmce official": (3, 1),
    "levels": (1, 4),
    "columns": (1, 4),
    "columns plain": (3, 1),
    "levels attended": (1, 3),
}


@pytest.mark.parametrize("name", RAGGED)
def test_any_number_of_views_and_levels_equals_the_oracle(name):
    for seed in range(6):
        unknown = 0 if name in OFFICIAL else 0.15 * seed
        batch = draw(seed, *RAGGED[name], unknown)
        check(name, *batch, SOME if seed % 2 else ALL, 0.2, slopes=seed == 3)


@functools.lru_cache(maxsize=None)
def golden_batch():
    i, v, d = np.ogrid[:12, :2, :8]
    z = np.sin(1.0 + 0.7 * i + 0.13 * v + 0.9 * d + 0.05 * i * d)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    coarse = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    fine = [0, 0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5]
    return z.astype(np.float32), np.stack([coarse, fine], 1).astype(np.int32)


def test_golden_features():
    z, _ = golden_batch()
    expected = [0.40969275, 0.46073161, 0.16309798]
    np.testing.assert_allclose(z[0, 0, :3], expected, rtol=1e-6)


# From a run of the published torch code; the last two columns have one level of labels.
GOLDEN = {
    "supcon fine": (3.912254, 4.171084, 16.279830),
    "supcon coarse": (11.686184, 11.945014, 24.053759),
    "simclr": (0.073229, 0.332059, 12.440805),
    "hmc": (10.121171, 10.400166, 25.120977),
    "hce": (5.292813, 5.406063, 11.716286),
    "hmce": (10.121171, 10.400166, 25.120977),
    "hmc coarse": (15.883171, 16.234957, 32.692448),
    "hce coarse": (5.843092, 5.972507, 12.026879),
    "hmce coarse": (15.883171, 16.234957, 32.692448),
}


@functools.lru_cache(maxsize=None)
def golden_run():
    """All columns of the golden table as functions of the temperature."""

    def row(z, labels, temperature):
        t = {"temperature": temperature}
        published = {"base_temperature": 0.07, **t}
        coarse, fine = labels.T
        return {
            "supcon fine": losses.supcon_loss(z, fine, **published),
            "supcon coarse": losses.supcon_loss(z, coarse, **published),
            "simclr": losses.simclr_loss(z, **published),
            "hmc": losses.hmc_loss(z, labels, official=True, **t),
            "hce": losses.hce_loss(z, labels, official=True, **t),
            "hmce": losses.hmce_loss(z, labels, official=True, **t),
            "hmc coarse": losses.hmc_loss(z, labels[:, :1], official=True, **t),
            "hce coarse": losses.hce_loss(z, labels[:, :1], official=True, **t),
            "hmce coarse": losses.hmce_loss(z, labels[:, :1], official=True, **t),
            "power of two": losses.hmce_loss(
                z, labels, level_penalty=lambda x: 2**x, official=True, **t
            ),
        }

    row = jax.jit(row)
    return [row(*golden_batch(), t) for t in (0.07, 0.1, 0.5)]


@pytest.mark.parametrize("column", GOLDEN)
def test_golden_values(column):
    found = [row[column] for row in golden_run()]
    # SimCLR is a difference of numbers near 14, and six digits of it are printed.
    tolerance = 1e-6 if column == "simclr" else 0
    np.testing.assert_allclose(found, GOLDEN[column], rtol=1e-5, atol=tolerance)


def test_golden_value_with_the_class_default_penalty():
    found = golden_run()[1]["power of two"]
    np.testing.assert_allclose(found, 8.459782, rtol=1e-5)


@pytest.mark.parametrize("name", ["simclr", "supcon", "hmce", "hce pairwise", "levels"])
def test_base_temperature_scales_the_loss(name):
    z, labels = draw(0)
    scaled = jit(lambda base: LOSSES[name][0](z, labels, base_temperature=base))
    plain, _ = compiled(name)(z, labels, ALL, 0.1)
    np.testing.assert_allclose(scaled(0.1), plain, rtol=1e-5)
    np.testing.assert_allclose(scaled(0.3), plain / 3, rtol=1e-5)


def test_an_active_max_counts_the_finer_loss_again():
    # Two tight and distant coarse classes, whose fine classes cannot be told apart: the
    # thinned coarse level has fewer keys and therefore a smaller loss.
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(EXAMPLES) // 5, np.arange(EXAMPLES) // 2], 1)
    labels[4, 1] = 1
    centres = np.eye(DIM)[labels[:, 0]][:, None, :]
    z = centres + 0.05 * rng.normal(size=(EXAMPLES, 2, DIM))
    z = (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(np.float32)
    t = 0.1
    fine, fine_gradient = compiled("supcon")(z, labels, ALL, t)
    thinned = oracle.official("hmc", z.astype(float), labels, temperature=t)
    raw_coarse = (thinned * 3 * 0.07 / t - math.e * fine) / math.exp(0.5)
    assert raw_coarse < fine
    value, gradient = compiled("hmce official")(z, labels, ALL, t)
    ratio = 1.45567 * t / 0.07
    np.testing.assert_allclose(value / fine, ratio, rtol=1e-5)
    np.testing.assert_allclose(
        gradient, ratio * fine_gradient, atol=2e-5 * np.abs(gradient).max(), rtol=0
    )


def test_the_max_acts_in_some_of_the_batches_above():
    for seed, acts in ((0, False), (8, True)):
        hmc, hmce = (
            compiled(name)(*draw(seed), ALL, 1.0)[0] for name in ("hmc", "hmce")
        )
        assert (hmce > hmc + 1e-3) == acts


def test_the_published_code_thins_and_depends_on_the_order_of_ids():
    z, labels = draw(0, num_levels=3)
    value, _ = compiled("hmc official")(z, labels, ALL, 0.1)
    renamed, _ = compiled("hmc official")(z, 4 - labels, ALL, 0.1)
    flipped, _ = compiled("hmc official")(z[::-1], labels[::-1], ALL, 0.1)
    assert len({float(value), float(renamed), float(flipped)}) == 3


@each_of_ours
def test_invariances(name):
    z, labels = draw(4, unknown=0.3)
    z = pad(z, SOME)
    value, gradient = compiled(name)(z, labels, SOME, 0.2)
    near = {"rtol": 0, "atol": 1e-5 * np.abs(gradient).max()}
    rng = np.random.default_rng(0)

    order = rng.permutation(EXAMPLES)
    permuted = compiled(name)(z[order], labels[order], SOME[order], 0.2)
    np.testing.assert_allclose(permuted[0], value, rtol=1e-5)
    np.testing.assert_allclose(permuted[1], gradient[order], **near)

    views = compiled(name)(z[:, ::-1], labels, SOME, 0.2)
    np.testing.assert_allclose(views[0], value, rtol=1e-5)
    np.testing.assert_allclose(views[1], gradient[:, ::-1], **near)

    names = rng.permutation(100).astype(np.int32)
    renamed = np.where(labels >= 0, names[labels], -1)
    assert compiled(name)(z, renamed, SOME, 0.2)[0] == value

    if name not in MASKED:
        rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
        rotated = compiled(name)((z @ rotation).astype(np.float32), labels, SOME, 0.2)
        np.testing.assert_allclose(rotated[0], value, rtol=1e-5)
        np.testing.assert_allclose(rotated[1], gradient @ rotation, **near)


@each_loss
def test_padding_is_as_good_as_absent(name):
    z, labels = draw(5, unknown=0 if name in OFFICIAL else 0.3)
    few = np.arange(EXAMPLES) < 6
    value, _ = compiled(name)(pad(z, few), labels, few, 0.2)
    absent = LOSSES[name][1](z[:6].astype(float), labels[:6], temperature=0.2)
    np.testing.assert_allclose(value, absent, rtol=1e-5)
    # What the labels of padding are does not matter either.
    labels = np.where(few[:, None], labels, labels[:1])
    assert compiled(name)(pad(z, few), labels, few, 0.2)[0] == value


def test_one_level_is_supcon():
    z, labels = draw(6, unknown=0.4)
    labels = labels[:, :1]

    @jit
    def values(z):
        one = {"level_penalty": jnp.ones_like, "where": SOME}
        return (
            losses.supcon_loss(z, labels[:, 0], where=SOME),
            losses.hmc_loss(z, labels, **one),
            losses.hce_loss(z, labels, where=SOME),
            losses.hmce_loss(z, labels, **one),
            losses.hce_loss(z, labels, pairwise_max=True, where=SOME),
            losses.hmc_loss(z, labels, where=SOME) / math.e,
        )

    expected, *found = values(z)
    found.append(level_values(z, labels, where=SOME, balance="none"))
    np.testing.assert_allclose(found, [expected] * 6, rtol=1e-5)


@pytest.mark.parametrize(
    ("scope", "weights", "factor"), [("path", None, 1), ("column", [0.5, 3.0], 3.5)]
)
def test_equal_levels_without_masks_are_supcon(scope, weights, factor):
    z, labels = draw(6)
    labels = np.repeat(labels[:, :1], 2, axis=1)
    expected, _ = compiled("supcon")(z, labels, ALL, 0.1)
    found = level_values(
        z, labels, label_scope=scope, level_weights=weights, balance="none"
    )
    np.testing.assert_allclose(found, factor * expected, rtol=1e-5)


def test_level_weights_weigh_the_levels():
    z, labels = draw(3, num_levels=3, unknown=0.3)
    weights = {"level_weights": [0.7, 0.0, 2.5]}
    found = level_values(z, labels, masks=MASKS[:3], **weights)
    exact = oracle.level_contrastive(z.astype(float), MASKS[:3], labels, **weights)
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_balanced_classes_need_no_balancing():
    z, _ = draw(0)
    labels = np.repeat(np.arange(EXAMPLES, dtype=np.int32) // 3, 2).reshape(-1, 2)
    unequal = np.where(labels == 1, 0, labels)
    columns, plain = compiled("columns"), compiled("columns plain")
    values = [loss(z, labels, ALL, 0.1)[0] for loss in (columns, plain)]
    np.testing.assert_allclose(*values, rtol=1e-5)
    values = [loss(z, unequal, ALL, 0.1)[0] for loss in (columns, plain)]
    assert abs(values[0] - values[1]) > 1e-3


def test_the_order_of_independent_columns_does_not_matter():
    z, labels = draw(1)
    order = [1, 0]

    @functools.partial(jit, static_argnums=3)
    def value(z, masks, labels, scope):
        return losses.level_contrastive_loss(z, masks, labels, label_scope=scope)

    ones = np.ones((2, DIM), np.float32)
    for scope in ("column", "path"):
        unmasked = value(z, ones, labels, scope)
        swapped = value(z, ones, labels[:, order], scope)
        masked = value(z, MASKS[:2], labels, scope)
        both_swapped = value(z, MASKS[order], labels[:, order], scope)
        if scope == "column":
            np.testing.assert_allclose(swapped, unmasked, rtol=1e-5)
            np.testing.assert_allclose(both_swapped, masked, rtol=1e-5)
        else:
            assert abs(swapped - unmasked) > 1e-3
            assert abs(both_swapped - masked) > 1e-3


def test_paths_are_compared_and_not_ids():
    # Without the other views, only id 0 of level 1 is common, under two parents.
    z, _ = draw(0, *RAGGED["levels"])
    labels = np.full((EXAMPLES, 4), -1, np.int32)
    labels[:2] = [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert compiled("levels")(z, labels, ALL, 0.1)[0] == 0
    labels[2] = [2, 0, 0, 0]
    assert compiled("columns")(z, labels, ALL, 0.1)[0] > 0


def test_gradient_reaches_shared_and_own_masks():
    z, labels = draw(2, unknown=0.3)
    for masks in (MASKS[:2] + 0.1, soft_masks(z, 2, np).astype(np.float32)):
        if masks.ndim == 4:
            masks[~SOME] = np.nan

        def loss(x, masks):
            return losses.level_contrastive_loss(
                x, masks, labels, temperature=0.5, where=SOME
            )

        def expected(x):
            return oracle.level_contrastive(
                z.astype(float), x, labels, temperature=0.5, where=SOME
            )

        gradient = jit(jax.grad(loss, argnums=1))(pad(z, SOME), masks)
        slopes = oracle.numerical_gradient(expected, masks.astype(float), 1e-5)
        np.testing.assert_allclose(
            gradient, slopes, rtol=0, atol=1e-5 * np.abs(slopes).max()
        )
        assert np.abs(slopes).max() > 1e-2


def test_unknown_labels_are_neither_positives_nor_negatives():
    z, labels = draw(1)
    supcon = compiled("supcon")
    hidden = labels.copy()
    hidden[~SOME, 1] = -1
    value, gradient = supcon(z, hidden, ALL, 0.1)
    absent, absent_gradient = supcon(z, labels, SOME, 0.1)
    np.testing.assert_allclose(value, absent, rtol=1e-6)
    np.testing.assert_allclose(gradient, absent_gradient, atol=1e-6)
    np.testing.assert_array_equal(gradient[~SOME], 0)

    # A known difference at a coarser level is one at all finer levels.
    z, labels = draw(1, *RAGGED["hmc"])
    labels[:] = -1
    labels[:4] = [[0, 0, 0], [0, 0, 0], [1, -1, -1], [0, -1, -1]]
    check("hmc", z, labels, ALL, 0.1)
    _, gradient = compiled("hmc")(z, labels, ALL, 0.1)
    assert np.abs(gradient[:4]).max((1, 2)).min() > 1e-4
    np.testing.assert_array_equal(gradient[4:], 0)


DEGENERATE = [
    "one example",
    "one class",
    "all duplicates",
    "zero vectors",
    "all masked",
    "all unknown",
    "all different",
    "low temperature",
]


@each_loss
def test_degenerate_batches(name):
    for case in DEGENERATE:
        z, labels = draw(1)
        where, temperature = ALL, 0.1
        if case == "one example":
            where = np.arange(EXAMPLES) == 4
        elif case == "one class":
            labels = np.tile(labels[:1], (EXAMPLES, 1))
        elif case == "all duplicates":
            z = np.tile(z[:1, :1], (EXAMPLES, 2, 1))
        elif case == "zero vectors":
            z = 0 * z
        elif case == "all masked":
            where = ~ALL
        elif case == "all unknown":
            labels = np.full_like(labels, -1)
        elif case == "all different":
            labels = np.tile(np.arange(EXAMPLES)[:, None], (1, 2)).astype(np.int32)
        elif case == "low temperature":
            z, labels = np.concatenate([z[:5], z[:4]]), labels
            temperature = 0.01
        value, gradient = compiled(name)(pad(z, where), labels, where, temperature)
        assert np.isfinite(value) and np.isfinite(gradient).all(), case
        if case == "all masked" or (case == "all unknown" and name in OURS[1:]):
            assert value == 0, case
            np.testing.assert_array_equal(gradient, 0)
        elif case != "all unknown":
            expected = LOSSES[name][1](
                pad(z, where).astype(float),
                labels,
                where=where,
                temperature=temperature,
            )
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in RAGGED if RAGGED[n][0] == 1])
def test_one_view_and_no_positives(name):
    num_levels = RAGGED[name][1]
    z, _ = draw(0, num_views=1)
    labels = np.tile(np.arange(EXAMPLES)[:, None], (1, num_levels)).astype(np.int32)
    for where in (ALL, np.arange(EXAMPLES) == 2):
        value, gradient = compiled(name)(z, labels, where, 0.1)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("name", ["simclr", "hmce official"])
def test_a_batch_of_one_row(name):
    z, labels = draw(0, num_views=1)
    value, gradient = compiled(name)(z[:1], labels[:1], ALL[:1], 0.1)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("name", "block_sizes"),
    [
        ("simclr", (1, 100)),
        ("hmce", (4,)),
        ("hce pairwise", (4,)),
        ("hmce official", (5,)),
        ("columns", (5,)),
        ("levels attended", (4,)),
    ],
)
def test_blocks_equal_the_dense_loss(name, block_sizes):
    z, labels = draw(3, unknown=0 if name in OFFICIAL else 0.3)
    z = pad(z, SOME)
    value, gradient = compiled(name)(z, labels, SOME, 0.2)
    for block_size in block_sizes:
        found = compiled(name, block_size=block_size)(z, labels, SOME, 0.2)
        np.testing.assert_allclose(found[0], value, rtol=1e-5)
        np.testing.assert_allclose(
            found[1], gradient, rtol=0, atol=1e-5 * np.abs(gradient).max()
        )


def array_sizes(jaxpr):
    """Number of entries of every array that a jaxpr makes, inner jaxprs included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield math.prod(variable.aval.shape)
        for parameter in jax.tree.leaves(
            tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from array_sizes(inner)


@each_loss
def test_blocks_bound_the_memory(name):
    examples, block = 256, 4
    rng = np.random.default_rng(0)
    z = rng.normal(size=(examples, 2, DIM)).astype(np.float32)
    labels = np.stack([np.arange(examples) // 32, np.arange(examples) // 8], 1)

    def largest(block_size):
        loss = functools.partial(LOSSES[name][0], block_size=block_size)
        jaxpr = jax.make_jaxpr(jax.value_and_grad(loss))(z, labels)
        return max(array_sizes(jaxpr.jaxpr))

    rows = 2 * examples
    assert largest(None) >= rows * rows
    assert largest(block) <= 8 * block * rows < rows * rows


@pytest.mark.parametrize("name", ["supcon", "hmce", "hmce official", "levels"])
def test_half_precision_inputs_give_a_float32_loss(name):
    z, labels = draw(0)
    half = jnp.asarray(z, jnp.bfloat16)
    value, gradient = compiled(name)(half, labels, ALL, 0.1)
    assert value.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16
    # The rounded rows in full precision: only the input may lose digits.
    expected, slopes = compiled(name)(half.astype(jnp.float32), labels, ALL, 0.1)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    largest = np.abs(slopes).max()
    np.testing.assert_allclose(
        gradient.astype(jnp.float32), slopes, rtol=0, atol=1e-2 * largest
    )
    full, _ = compiled(name)(z, labels, ALL, 0.1)
    np.testing.assert_allclose(value, full, rtol=2e-2)


@each_loss
def test_one_compilation_serves_all_batches_of_a_shape(name):
    loss = compiled(name)
    loss(*draw(0), ALL, 0.1)
    before = loss._cache_size()
    for seed in range(3):
        loss(*draw(seed, unknown=0.5), SOME, 0.1 + seed)
    assert loss._cache_size() == before


def traced(loss, *arguments, **options):
    """Traces a loss without computing it."""
    return jax.eval_shape(functools.partial(loss, **options), *arguments)


def test_static_mistakes_are_named():
    z, labels = draw(0)
    flat = labels[:, 0]
    masks = MASKS[:2]
    simclr, supcon, hmce = losses.simclr_loss, losses.supcon_loss, losses.hmce_loss
    levels = losses.level_contrastive_loss
    for loss, arguments, options, message in (
        (simclr, (z[0],), {}, r"embeddings.*\(2, 4\)"),
        (simclr, (labels[:, :, None],), {}, r"embeddings.*\(9, 2, 1\)"),
        (supcon, (z[:, 0], flat), {}, r"embeddings.*\(9, 4\)"),
        (supcon, (z, labels), {}, r"labels.*\(9, 2\)"),
        (supcon, (z, flat[:5]), {}, "5.*9|9.*5"),
        (supcon, (z, flat.astype(np.float32)), {}, "labels.*float32"),
        (hmce, (z, flat), {}, r"labels.*\(9,\)"),
        (hmce, (z, labels[:5]), {}, "5.*9|9.*5"),
        (hmce, (z[:, 0], labels), {}, r"embeddings.*\(9, 4\)"),
        (levels, (z, masks[0], labels), {}, r"masks.*\(4,\)"),
        (levels, (z, MASKS[:3], labels), {}, r"masks.*\(3, 4\)"),
        (levels, (z, masks[:, :3], labels), {}, r"masks.*\(2, 3\)"),
        (levels, (z, np.ones((9, 1, 2, 4)), labels), {}, r"masks.*\(9, 1, 2, 4\)"),
        (levels, (z, masks, flat), {}, r"labels.*\(9,\)"),
        (levels, (z, masks, labels), {"level_weights": [1.0]}, r"weights.*\(1,\)"),
        (levels, (z, masks, labels), {"label_scope": "row"}, "label_scope.*'row'"),
        (levels, (z, masks, labels), {"balance": "mean"}, "balance.*'mean'"),
    ):
        with pytest.raises(ValueError, match=message):
            traced(loss, *arguments, **options)
    for options, message in (
        ({"where": ALL[:3]}, r"where.*\(9,\).*\(3,\)"),
        ({"temperature": 0.0}, "temperature.*0"),
        ({"temperature": -0.1}, "temperature.*-0.1"),
        ({"temperature": float("nan")}, "temperature.*nan"),
        ({"base_temperature": 0.0}, "base_temperature.*0"),
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
    ):
        for loss, arguments in (
            (simclr, (z,)),
            (supcon, (z, flat)),
            (losses.hmc_loss, (z, labels)),
            (losses.hce_loss, (z, labels)),
            (hmce, (z, labels)),
            (levels, (z, masks, labels)),
        ):
            with pytest.raises(ValueError, match=message):
                traced(loss, *arguments, **options)
    with pytest.raises(ValueError, match="pairwise_max"):
        traced(hmce, z, labels, pairwise_max=True, official=True)
