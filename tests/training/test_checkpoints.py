import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import models, objectives
from hierjax.errors import UserError
from hierjax.training import Config, create_state, make_optimizer
from hierjax.training.checkpoints import Checkpoints


def make_state(seed):
    model = models.ConvNet(2, channels=(3,))
    objective = objectives.Objective(
        apply=None, init=lambda key, z: ({"proxies": jnp.ones((2, 3))}, jnp.int32(7))
    )
    optimizer = make_optimizer(Config(optimizer="adam", learning_rate=0.125))
    return create_state(model, objective, optimizer, jnp.ones((1, 4, 4)), seed)


@pytest.fixture(scope="module")
def states():
    return [make_state(seed) for seed in range(3)]


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_nothing_to_restore(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.newest(None, dict) is None
    checkpoints.close()


@pytest.mark.filterwarnings("error")
def test_what_is_saved_comes_back(tmp_path, states):
    template, last, best = states
    template = jax.eval_shape(lambda: template)
    with pytest.raises(AssertionError):
        assert_identical(last.params, best.params)
    # Infinity is the best value of a run that has seen none.
    progress = {"best_value": -np.inf, "best_step": 3, "evaluations_since": 0}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, best, last, {"best_step": 1})
    checkpoints.save(5, best, last, {"best_step": 1})
    checkpoints.save(10, last, best, progress)
    checkpoints.close()

    reopened = Checkpoints(tmp_path)
    found = reopened.newest(template, dict)
    reopened.close()
    assert found[0] == progress
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found[1:]))
    assert_identical(found[1], last)
    assert_identical(found[2], best)
    # The one before is kept, earlier ones are gone.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "5"]


def test_the_state_may_change_while_it_is_being_saved(tmp_path, states):
    checkpoints = Checkpoints(tmp_path)
    last = jax.tree.map(jnp.array, states[1])
    checkpoints.save(1, last, states[2], {})
    jax.tree.map(lambda x: x.delete(), last)
    checkpoints.close()
    _, found, _ = Checkpoints(tmp_path).newest(states[0], dict)
    assert_identical(found, states[1])


@pytest.mark.parametrize(
    "error",
    [ValueError("RESOURCE_EXHAUSTED: Error writing"), OSError(28, "No space left")],
)
def test_a_full_disk_is_said_in_a_sentence(tmp_path, states, monkeypatch, error):
    checkpoints = Checkpoints(tmp_path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._writer, "save", fail)
        match = f"{tmp_path}: no space left for a checkpoint; make room"
        with pytest.raises(UserError, match=match):
            checkpoints.save(1, states[1], states[2], {})
        error = ValueError("a bug")
        with pytest.raises(ValueError, match="a bug"):
            checkpoints.save(1, states[1], states[2], {})
    checkpoints.close()
