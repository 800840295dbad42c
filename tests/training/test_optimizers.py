import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hierjax.errors import UserError
from hierjax.training import Config, make_optimizer


def rates(**settings):
    """The learning rate of every step, read off steps against a gradient of 1."""
    config = Config(**settings)
    optimizer = make_optimizer(config)
    params = jnp.zeros(())
    state, found = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for _ in range(config.num_steps + 1):
        step, state = update(jnp.ones(()), state, params)
        found.append(-float(step))
    return np.array(found)


def test_the_cosine_starts_turns_and_ends_where_it_should():
    found = rates(
        learning_rate=0.5,
        schedule="cosine",
        num_steps=20,
        warmup_steps=4,
        warmup_start=0.02,
        final_share=0.001,
    )
    warmup = [0.01 + (0.5 - 0.01) * step / 4 for step in range(4)]
    cosine = [
        0.0005 + (0.5 - 0.0005) * (1 + np.cos(np.pi * step / 16)) / 2
        for step in range(17)
    ]
    np.testing.assert_allclose(found, warmup + cosine, rtol=1e-5)


def test_a_cosine_without_warmup_starts_at_the_peak():
    found = rates(learning_rate=2.0, schedule="cosine", num_steps=8, warmup_start=0.3)
    np.testing.assert_allclose(found[[0, 4, 8]], [2, 1, 0], atol=1e-6)


def test_a_constant_rate_warms_up_from_where_it_is_told_to():
    found = rates(learning_rate=2.0, num_steps=6, warmup_steps=4, warmup_start=0.5)
    np.testing.assert_allclose(found, [1, 1.25, 1.5, 1.75, 2, 2, 2], rtol=1e-6)
    np.testing.assert_allclose(rates(learning_rate=2.0, num_steps=2), [2, 2, 2])


PARAMS = {
    "dense": {"kernel": np.array([[3.0, -4.0], [0.5, 1.0]]), "bias": np.array([2.0])},
    "norm": {"scale": np.array([1.0, 2.0])},
    "log_scale": np.array(0.5),
}


def gradients_at(params, step):
    return jax.tree.map(lambda p: np.sin(3 * p + step), params)


def walk(optimizer, num_steps):
    params = jax.tree.map(jnp.float32, PARAMS)
    state = optimizer.init(params)

    @jax.jit
    def one(params, state, gradients):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for step in range(num_steps):
        gradients = jax.tree.map(jnp.float32, gradients_at(params, step))
        params, state = one(params, state, gradients)
    return params


def test_lars_against_its_formula():
    config = Config(optimizer="lars", learning_rate=2.0, momentum=0.9, weight_decay=0.1)
    leaves, tree = jax.tree.flatten(PARAMS)
    velocity = [np.zeros_like(leaf) for leaf in leaves]
    for step in range(4):
        gradients = jax.tree.leaves(gradients_at(tree.unflatten(leaves), step))
        for i, (p, g) in enumerate(zip(leaves, gradients, strict=True)):
            if p.ndim > 1:
                g = g + 0.1 * p
                g = 0.001 * np.linalg.norm(p) / np.linalg.norm(g) * g
            velocity[i] = 0.9 * velocity[i] + 2.0 * g
            leaves[i] = p - velocity[i]
    found = jax.tree.leaves(walk(make_optimizer(config), 4))
    for a, b, start in zip(found, leaves, jax.tree.leaves(PARAMS), strict=True):
        np.testing.assert_allclose(a - start, b - start, rtol=1e-3, atol=1e-6)
        assert np.abs(b - start).max() > 0.01


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_lars_equals_optax_with_the_rate_inside(schedule):
    config = Config(
        optimizer="lars",
        learning_rate=3.0,
        schedule=schedule,
        num_steps=9,
        weight_decay=0.02,
        momentum=0.5,
    )
    rate = 3.0
    if schedule == "cosine":
        rate = optax.cosine_decay_schedule(3.0, 9)
    mask = {
        "dense": {"kernel": True, "bias": False},
        "norm": {"scale": False},
        "log_scale": False,
    }
    expected = optax.lars(rate, 0.02, mask, trust_ratio_mask=mask, momentum=0.5)
    found = walk(make_optimizer(config), 5)
    for a, b in zip(
        jax.tree.leaves(found), jax.tree.leaves(walk(expected, 5)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_lars_shares_its_update_between_learning_rates():
    one, two = (
        make_optimizer(Config(optimizer="lars", learning_rate=rate)).update
        for rate in (1.0, 2.0)
    )
    assert one is two


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_start": 1.5}, "warmup_start must be at most 1, got 1.5"),
        ({"final_share": -0.1}, "final_share must be at least 0, got -0.1"),
        ({"final_share": float("nan")}, "final_share must be finite"),
        ({"optimizer": "lamb"}, "optimizer must be one of sgd, adam, adamw, lars"),
        (
            {"schedule": "cosine", "num_steps": 5, "warmup_steps": 5},
            "cosine needs warmup_steps below num_steps 5, got 5",
        ),
    ],
)
def test_wrong_settings_are_errors(settings, message):
    with pytest.raises(UserError, match=message):
        Config(**settings)
