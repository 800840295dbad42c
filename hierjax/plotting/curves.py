"""The loss and the validation measures of a run over its steps."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import fftconvolve

from hierjax.errors import UserError
from hierjax.plotting.colors import INK, RULE, oklch_to_rgb
from hierjax.plotting.style import count_of, literal, style_axes


def _series(
    records: Sequence[Mapping[str, float]], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values of one name in order, non-finite values left out."""
    pairs = [(record["step"], record[name]) for record in records if name in record]
    steps, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    order = np.argsort(steps, kind="stable")
    order = order[np.isfinite(values[order])]
    return steps[order], values[order]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Returns a Gaussian moving average that renormalises at both ends."""
    width = len(values) / 60
    reach = math.ceil(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    mass = fftconvolve(np.ones_like(values), kernel, "same")
    return fftconvolve(values, kernel, "same") / mass


def _draw_loss(axes: Axes, records: Sequence[Mapping[str, float]]) -> None:
    steps, values = _series(records, "loss")
    blue = oklch_to_rgb(np.array([0.55]), np.deg2rad([255.0]))[0]
    smooth = len(values) >= 20
    axes.plot(
        steps,
        values,
        color=blue,
        linewidth=0.6,
        alpha=0.35 if smooth else 1.0,
        marker="" if smooth else ".",
        label="training",
    )
    if smooth:
        axes.plot(steps, _smooth(values), color=blue, label="training, smoothed")
        # A first few huge values must not flatten the rest of the curve.
        low, high = values.min(), np.quantile(values, 0.995)
        if high > low:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    axes.set(title="loss", xlabel="step")


def _draw_measures(
    axes: Axes, records: Sequence[Mapping[str, float]], names: Sequence[str]
) -> None:
    hues = np.deg2rad(255.0) + 2 * np.pi * np.arange(len(names)) / len(names)
    lightness = 0.55 + 0.12 * (np.arange(len(names)) % 2)
    for name, color in zip(names, oklch_to_rgb(lightness, hues), strict=True):
        steps, values = _series(records, name)
        label = literal(name.removeprefix("validation/").replace("_", " "))
        axes.plot(
            steps,
            values,
            color=color,
            linewidth=1.4,
            marker="o",
            markersize=2.5,
            label=label,
        )
    axes.set(title="validation", xlabel="step")


def training_curves(
    records: Sequence[Mapping[str, float]],
    metrics: Sequence[str] | None = None,
    *,
    best_step: int | None = None,
) -> Figure:
    """Draws the loss and the validation measures over the steps.

    The loss is drawn thin, with a smoothed line from 20 values on. Records may come
    in any order; each may hold any of the names; NaN and infinity are left out.

    Args:
      records: Dicts with ``'step'`` and numbers such as ``'loss'`` (training) or
        ``'validation/accuracy'`` (evaluation).
      metrics: Names for the panel of measures; None takes all that start with
        ``validation/``.
      best_step: Step to mark as the best in every panel.

    Returns:
      A figure with one panel for the loss and one for the measures; a panel without
      any value is left out.

    Raises:
      UserError: A record has no step, a metric is in no record, or there is nothing
        to draw.
    """
    for index, record in enumerate(records):
        if "step" not in record:
            raise UserError(f"record {index} has no 'step', only {sorted(record)}")
    names = sorted({name for record in records for name in record} - {"step"})
    if metrics is None:
        metrics = [name for name in names if name.startswith("validation/")]
    for name in metrics:
        if name not in names:
            raise UserError(f"metric {name!r} is in no record; there are {names}")
    has_loss = "loss" in names
    num_panels = has_loss + bool(metrics)
    if not num_panels:
        raise UserError(
            f"nothing to draw: the {count_of(len(records), 'record')} hold neither "
            "'loss' nor a name that starts with 'validation/'"
        )

    figure = Figure((4.6 * num_panels + 0.8, 3.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    if has_loss:
        _draw_loss(panels[0], records)
    if metrics:
        _draw_measures(panels[-1], records, metrics)
    for axes in panels:
        if best_step is not None:
            axes.axvline(
                best_step,
                color=INK,
                linewidth=0.8,
                linestyle=(0, (4, 3)),
                label=f"best, step {best_step:,}",
            )
        style_axes(axes)
        axes.grid(color=RULE, linewidth=0.4, alpha=0.6)
        axes.legend(
            frameon=axes is panels[0],
            edgecolor="none",
            framealpha=0.9,
            fontsize=8,
            labelcolor=INK,
        )
    if metrics:
        panels[-1].get_legend().set_loc("center left")
        panels[-1].get_legend().set_bbox_to_anchor((1.0, 0.5))
    return figure
