"""Trainings whose embeddings collapse: said once, never selected."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import evaluation, models, objectives
from hierjax.evaluation import Spread, spread_of, why_collapsed
from hierjax.training import fit, read_records
from tests.training.toy import CONFIG, DATA, assert_identical, train


def together(embeddings, labels):
    """Least where all rows point one way."""
    return -jnp.sum(jnp.square(jnp.mean(embeddings, axis=0))) + 0 * jnp.sum(labels)


CONFIG = dataclasses.replace(CONFIG, learning_rate=3.0)
NET = models.MLP(3, hidden_sizes=(4,))


def collapse(workdir=None, config=CONFIG, **options):
    return fit(
        NET,
        objectives.from_loss(together),
        DATA,
        config,
        workdir,
        num_devices=1,
        **options,
    )


def test_a_collapse_is_said_once_and_not_selected(tmp_path, capsys):
    with pytest.warns(
        RuntimeWarning, match="has collapsed, .* is not selected"
    ) as said:
        result = collapse(tmp_path)
    assert len([w for w in said if "collapsed" in str(w.message)]) == 1
    collapsed = [r["step"] for r in result.records if "validation/collapsed/all" in r]
    assert collapsed and collapsed[-1] == 40
    assert result.best_step not in collapsed
    embeddings = result.embed(DATA.rows("validation"))
    assert spread_of(embeddings).mean_cosine < 0.98
    assert read_records(tmp_path / "metrics.jsonl") == result.records
    # A longer run goes on and says nothing it has said.
    longer = dataclasses.replace(CONFIG, num_steps=60)
    collapse(tmp_path, longer, verbose=True)
    assert "collapsed" not in capsys.readouterr().err


def test_where_everything_collapses_the_state_before_training_is_kept():
    config = dataclasses.replace(CONFIG, learning_rate=30.0, eval_every=20)
    with pytest.warns(RuntimeWarning, match="collapsed"):
        result = collapse(config=config)
    assert result.best_step == 0 and result.best_value == -np.inf


def test_other_runs_keep_their_bits(monkeypatch):
    before = train()
    monkeypatch.setattr(evaluation, "why_collapsed", lambda *arguments: None)
    after = train()
    assert_identical(before.state, after.state)
    assert before.records == after.records


def never():
    raise AssertionError("asked for the spread before training")


@pytest.mark.parametrize(
    ("now", "before", "num_classes", "expected"),
    [
        (Spread(1.0, np.nan, 8), never, 5, "all rows are equal"),
        (Spread(0.0, np.nan, 8), never, 5, "all rows are equal"),
        (Spread(0.9999999, 4.0, 8), never, 5, "all rows are equal"),
        (Spread(0.9, 4.0, 8), never, 5, None),
        (Spread(0.986, 4.0, 8), lambda: Spread(0.5, 4.0, 8), 5, "mean cosine .* 0.986"),
        # Networks may begin so, and have not lost what they had.
        (Spread(0.986, 4.0, 8), lambda: Spread(0.975, 4.0, 8), 5, None),
        (Spread(0.0, 1.1, 8), never, 3, "effective rank is 1.10 of 8"),
        (Spread(0.0, 1.3, 8), never, 3, None),
        # Two classes, or one dimension, are a line.
        (Spread(0.0, 1.0, 8), never, 2, None),
        (Spread(0.0, 1.0, 1), never, 5, None),
        (Spread(1.0, np.nan, 8), never, 1, None),
    ],
)
def test_what_counts_as_collapsed(now, before, num_classes, expected):
    why = why_collapsed(now, before, num_classes)
    if expected is None:
        assert why is None
    else:
        assert why is not None
        assert re.search(expected, why)


def test_spread_is_that_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(7, 4)) + 1
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = [units[i] @ units[j] for i in range(7) for j in range(7) if i != j]
    assert spread_of(rows).mean_cosine == pytest.approx(np.mean(cosines))
    # A row of another length is no other direction.
    rows[0] *= 1e6
    assert spread_of(rows).effective_rank > 3
    assert np.isnan(spread_of(np.ones((1, 3))).mean_cosine)
