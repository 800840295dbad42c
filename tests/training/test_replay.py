"""Runs that stop at a number that is not finite, and what replaying them names."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import objectives
from hierjax.errors import DivergedError, UserError
from hierjax.training import Config, fit, replay
from tests.training.toy import CONFIG, DATA

SLOW = dataclasses.replace(CONFIG, num_steps=30, learning_rate=0.02, momentum=0.0)


class Exp(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.exp(x)


class Net(nn.Module):
    """Two layers; between them what overflows, if asked for."""

    has_exp: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(4, name="first")(x)
        if self.has_exp:
            x = Exp(name="middle")(x)
        return nn.Dense(3, name="second")(x)


def uphill(embeddings, labels):
    """The larger it is the faster it grows, out of range in a few steps."""
    return -jnp.mean(jnp.square(embeddings)) + 0 * jnp.sum(labels)


def steep(embeddings, labels):
    """Finite, with a gradient that is not."""
    return jnp.sqrt(jnp.sum(jnp.square(0 * embeddings))) + 0 * jnp.sum(labels)


def undefined(embeddings, labels):
    return jnp.log(-1 - jnp.mean(jnp.square(embeddings))) + 0 * jnp.sum(labels)


def diverge(workdir, loss, match, net=None, config=SLOW, num_devices=1):
    net, objective = net or Net(), objectives.from_loss(loss)
    with pytest.raises(DivergedError, match=match):
        fit(net, objective, DATA, config, workdir, num_devices=num_devices)
    record = json.loads((workdir / "diverged.json").read_text())
    return replay(net, objective, DATA, config, workdir), record


@pytest.mark.parametrize("num_devices", [1, 2])
def test_the_run_goes_on_from_its_last_checkpoint_to_the_very_step(
    tmp_path, num_devices
):
    found, record = diverge(
        tmp_path,
        uphill,
        "the loss is -inf at step 16; a smaller",
        None,
        SLOW,
        num_devices,
    )
    assert (found.start, found.step, record["start"]) == (10, 16, 15)
    # The call that failed gives the same numbers again, to the last bit.
    assert found.is_equal and record["num_devices"] == num_devices
    assert found.first == "the loss (-inf), of embeddings that are finite"
    assert found.rows == record["rows"] and len(set(found.rows)) == 12
    assert record["key"] == jax.random.key_data(jax.random.key(0)).tolist()


def test_good_steps_of_the_failing_call_are_compared(tmp_path):
    config = dataclasses.replace(SLOW, steps_per_call=10)
    found, record = diverge(tmp_path, uphill, "step 16", config=config)
    good = record["metrics"]["loss"][:5]
    assert all(isinstance(loss, float) for loss in good) and len(set(good)) == 5
    assert record["metrics"]["loss"][5] is None and found.is_equal
    record["metrics"]["loss"][4] = float(
        np.nextafter(np.float32(good[4]), np.float32(0))
    )
    (tmp_path / "diverged.json").write_text(json.dumps(record))
    objective = objectives.from_loss(uphill)
    assert not replay(Net(), objective, DATA, config, tmp_path).is_equal


def test_modules_are_named_in_the_order_of_computation(tmp_path):
    config = dataclasses.replace(SLOW, learning_rate=0.1)
    found, _ = diverge(tmp_path, uphill, "step 3", Net(has_exp=True), config)
    assert found.start == 0 and found.step == 3
    assert found.first.startswith("the output of module middle (inf in ")


def test_a_gradient_is_named_before_the_loss_it_spoils(tmp_path):
    found, record = diverge(tmp_path, steep, "the loss is nan at step 2")
    assert record["step"] == 2 and found.step == 1
    assert found.first.startswith("the gradient of second/")
    assert found.first.endswith("of a finite loss; so are 3 other gradients")


def kept_steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_state_that_is_not_finite_is_never_kept(tmp_path):
    config = dataclasses.replace(SLOW, eval_every=1)
    found, record = diverge(
        tmp_path, steep, "params/first/bias is nan at step 1", None, config
    )
    assert record["metrics"]["loss"] == [0.0]
    assert found.step == 1 and found.first.startswith("the gradient of second/")
    assert kept_steps(tmp_path) == []
    # After a good checkpoint that one stays.
    diverge(tmp_path / "later", uphill, "loss is -inf at step 16")
    assert kept_steps(tmp_path / "later")[-1] == 10


def test_the_line_that_makes_nan_is_named(tmp_path):
    found, _ = diverge(tmp_path, undefined, "the loss is nan at step 1")
    assert found.first.startswith("the loss (nan), of embeddings that are finite; NaN")
    assert "training/test_replay.py line" in found.first
    assert found.first.endswith("in undefined")


def test_nothing_to_replay(tmp_path):
    objective = objectives.from_loss(uphill)
    fine = dataclasses.replace(SLOW, num_steps=10)
    fit(Net(), objective, DATA, fine, tmp_path, num_devices=1)
    with pytest.raises(UserError, match="holds no step to run again"):
        replay(Net(), objective, DATA, fine, tmp_path)
    for content in ("", "[]", "{}", '{"step": 3, "value": "x"}'):
        (tmp_path / "diverged.json").write_text(content)
        with pytest.raises(UserError, match="diverged.json is no record of a step"):
            replay(Net(), objective, DATA, fine, tmp_path)
    # A run that ends well leaves no record.
    fit(Net(), objective, DATA, fine, tmp_path, num_devices=1)
    assert not (tmp_path / "diverged.json").exists()


def test_other_numbers_this_time(tmp_path):
    _, record = diverge(tmp_path, uphill, "step 16")
    config = Config(**dataclasses.asdict(SLOW) | {"learning_rate": 0.0001})
    with pytest.raises(UserError, match="finite up to step 16 this time: the loss was"):
        replay(
            Net(),
            objectives.from_loss(lambda x, y: jnp.mean(x) + 0 * y[0, 0]),
            DATA,
            config,
            tmp_path,
        )
