import numpy as np
import pytest

from hierjax import plotting
from hierjax.errors import UserError


def legend_texts(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def make_records(num_steps: int) -> list[dict]:
    records = [{"step": k, "loss": 2.0 + 0.1 * (k % 3)} for k in range(num_steps)]
    records += [
        {"step": k, "validation/accuracy": 0.1 * k, "validation/cpcc": 0.5}
        for k in range(0, num_steps, 2)
    ]
    return records


def test_training_curves_sorts_records_and_marks_the_best_step(render):
    figure = plotting.training_curves(make_records(5)[::-1], best_step=2)
    loss, measures = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), range(5))
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [2.0, 2.1, 2.2, 2.0, 2.1])
    np.testing.assert_allclose(measures.lines[0].get_ydata(), [0.0, 0.2, 0.4])
    assert legend_texts(measures) == ["accuracy", "cpcc", "best, step 2"]
    for axes in figure.axes:
        np.testing.assert_array_equal(axes.lines[-1].get_xdata(), [2, 2])
    render(figure)


def test_training_curves_draws_only_what_is_there(render):
    losses = make_records(5)[:5]
    assert [a.get_title() for a in plotting.training_curves(losses).axes] == ["loss"]
    evaluations = make_records(5)[5:]
    assert len(plotting.training_curves(evaluations).axes) == 1
    chosen = plotting.training_curves(evaluations, metrics=["validation/cpcc"])
    assert legend_texts(chosen.axes[0]) == ["cpcc"]
    render(plotting.training_curves(losses[:1]))


def test_smoothing_keeps_a_constant_and_stays_between_the_extremes():
    steps = range(120)
    constant = plotting.training_curves([{"step": k, "loss": 3.0} for k in steps])
    np.testing.assert_allclose(constant.axes[0].lines[1].get_ydata(), 3.0, rtol=1e-12)
    rng = np.random.default_rng(0)
    noisy = plotting.training_curves(
        [{"step": k, "loss": value} for k, value in enumerate(rng.normal(size=120))]
    )
    raw, smooth = (line.get_ydata() for line in noisy.axes[0].lines)
    assert len(smooth) == len(raw)
    assert smooth.std() < 0.6 * raw.std()
    assert abs(smooth.mean() - raw.mean()) < 0.1


def test_training_curves_leaves_out_what_is_not_finite(render):
    records = [{"step": k, "loss": v} for k, v in enumerate([1.0, np.nan, np.inf, 2.0])]
    line = plotting.training_curves(records).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 3])
    all_bad = plotting.training_curves([{"step": 0, "loss": np.nan}])
    render(all_bad)


@pytest.mark.parametrize(
    ("records", "metrics", "message"),
    [
        ([], None, "nothing to draw"),
        ([{"step": 1, "rate": 0.1}], None, "1 record "),
        ([{"loss": 1.0}], None, "record 0 has no 'step'"),
        ([{"step": 0, "loss": 1.0}], ["validation/map"], "'validation/map'"),
    ],
)
def test_training_curves_errors(records, metrics, message):
    with pytest.raises(UserError, match=message):
        plotting.training_curves(records, metrics)
