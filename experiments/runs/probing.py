"""What a frozen encoder is worth: linear and nearest-neighbour probes."""

import dataclasses
from collections.abc import Callable

import numpy as np

from experiments.runs.obtaining import Obtained
from hierjax import data, evaluation, metrics, mixtures, training

PROBE = training.ProbeConfig(num_epochs=50)
"""Half of the published number of epochs."""
_ONLY_RATE = 1.0
"""Learning rate of the linear probes where no validation split can choose one."""
NUM_KEPT = 2000
"""Test rows whose features a job keeps for pictures."""
_MAX_RETRIEVAL_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class Probed:
    """Measures of one encoder.

    Attributes:
      measures: name to value, NaN where undefined. For every target
        ``probe/<target>/features`` (linear, last epoch), ``probe_best`` (linear, best
        epoch on validation), ``nn`` (nearest training row by cosine), ``silhouette``
        and, among up to 2,000 queries, ``map_at_r`` and its kin; of no target
        ``effective_rank/all/features`` and ``explained_variance`` of two components,
        both also of the ``projections`` behind the head, as ``inferred_levels`` and
        ``mask_share/<level>`` are.
      per_query: the value of every query ``[Q]`` of the first four.
      chosen: learning rate and epoch of the linear probes, by target.
      rows: ``[Q]`` rows of the data set that were the queries.
      units: ``[Q]`` their bootstrap units.
      kept: for pictures: ``features`` and, behind a projection head, ``projections`` of
        the first `NUM_KEPT` queries; ``masks`` ``[L, D]``, mean masks where there are
        any.
    """

    measures: dict[str, float]
    per_query: dict[str, np.ndarray]
    chosen: dict
    rows: np.ndarray
    units: np.ndarray
    kept: dict[str, np.ndarray]


def probe(
    embed: evaluation.Embed,
    dataset: data.Dataset,
    *,
    project: evaluation.Embed | None = None,
    augmented: Callable[[np.ndarray, int], np.ndarray] | None = None,
    targets: tuple[str, ...] = (),
    split: str = "test",
    config: training.ProbeConfig = PROBE,
) -> Probed:
    """Probe features for every target of a data set.

    Args:
      embed: ``rows [N] -> features [N, F]`` of the frozen encoder.
      dataset: labels and splits; true labels everywhere.
      project: ``rows [N] -> embeddings [N, D]`` behind the projection head, for what is
        said of those; None where there is none.
      augmented: ``(rows [N], epoch) -> [N, F]`` for linear probes on augmented inputs;
        None trains them on ``embed``'s, computed once.
      targets: of the linear probes; empty: those whose test classes are all in
        training. Neighbours and silhouettes are given for all.
      split: queries.
      config: of the linear probes; without a validation split of its own to choose by,
        their rate is 1 and no best epoch is reported.
    """
    told = evaluation.targets_of(dataset)
    train, rows = dataset.rows("train"), dataset.rows(split)
    queries, gallery = embed(rows), embed(train)
    per_query = {}

    learned = told.only(targets or evaluation.learnable(dataset, told, split))
    chosen = {}
    if learned.names:
        evaluated = {split: (queries, learned.ids[rows])}
        if "validation" in dataset.splits and split != "validation":
            held_out = dataset.rows("validation")
            evaluated["validation"] = (embed(held_out), learned.ids[held_out])
        else:
            config = dataclasses.replace(config, learning_rates=(_ONLY_RATE,))
        found = training.linear_probe(
            (
                gallery if augmented is None else lambda epoch: augmented(train, epoch),
                learned.ids[train],
            ),
            evaluated,
            learned.num_classes,
            config,
        )
        for kind, prefix in (("last", "probe"), ("best", "probe_best")):
            result = getattr(found, kind)
            if result is None:
                continue
            for t, name in enumerate(learned.names):
                per_query[f"{prefix}/{name}/features"] = result.correct[split][:, t]
            chosen[kind] = {
                name: {"learning_rate": rate, "epoch": epoch}
                for name, rate, epoch in zip(
                    learned.names, result.learning_rates, result.epochs, strict=True
                )
            }
    nearest = evaluation.nearest_correct(
        queries, gallery, told.ids[rows], told.ids[train]
    )
    for t, name in enumerate(told.names):
        if set(told.ids[rows, t]) & set(told.ids[train, t]) - {-1}:
            per_query[f"nn/{name}/features"] = nearest[:, t]
        per_query[f"silhouette/{name}/features"] = metrics.silhouette_samples(
            queries, told.ids[rows, t]
        )
    measures = {
        name: evaluation.queries.mean(values) for name, values in per_query.items()
    }
    measures |= {
        "effective_rank/all/features": metrics.effective_rank(queries),
        "explained_variance/all/features": metrics.explained_variance(queries),
    }
    kept = {"features": queries[:NUM_KEPT]}
    if project is not None:
        embeddings = project(rows)
        kept["projections"] = embeddings[:NUM_KEPT]
        mean = np.mean(metrics.unit_rows(embeddings), axis=0)
        measures |= {
            "effective_rank/all/projections": metrics.effective_rank(embeddings),
            "explained_variance/all/projections": metrics.explained_variance(
                embeddings
            ),
            "inferred_levels/all/projections": float(mixtures.infer_num_levels(mean)),
        }
    if len(rows) <= _MAX_RETRIEVAL_ROWS:
        for t, name in enumerate(told.names):
            known = told.ids[rows, t] >= 0
            found = metrics.representative_retrieval(
                queries[known], told.ids[rows[known], t]
            )
            measures |= {f"{k}/{name}/features": value for k, value in found.items()}
    return Probed(measures, per_query, chosen, rows, dataset.units[rows], kept)


def probe_obtained(
    obtained: Obtained,
    *,
    augmented: bool = False,
    targets: tuple[str, ...] = (),
    split: str = "test",
) -> Probed:
    """Probe what was obtained, and say how its masks share the embedding.

    Args:
      obtained: with or without training.
      augmented: train the linear probes on augmented inputs.
      targets: see `probe`.
      split: queries.
    """
    dataset = obtained.dataset
    probed = probe(
        obtained.embed,
        dataset,
        project=obtained.project,
        augmented=obtained.augmented() if augmented else None,
        targets=targets,
        split=split,
    )
    masks = _mean_masks(obtained, probed.kept.get("projections"))
    if masks is None:
        return probed
    shares = {
        f"mask_share/{name}/projections": float(share)
        for name, share in zip(
            dataset.hierarchy.level_names, masks.mean(axis=1), strict=True
        )
    }
    return dataclasses.replace(
        probed, measures=probed.measures | shares, kept=probed.kept | {"masks": masks}
    )


def _mean_masks(obtained: Obtained, embeddings: np.ndarray | None) -> np.ndarray | None:
    """Masks ``[L, D]`` of embeddings ``[N, D]`` on average; None without masks."""
    if embeddings is None or obtained.objective.level_masks is None:
        return None
    state = obtained.state
    masks = obtained.objective.level_masks(
        state.objective_params, state.objective_state, embeddings[:, None, :]
    )
    masks = np.asarray(masks)
    return masks.reshape(-1, *masks.shape[-2:]).mean(axis=0)
