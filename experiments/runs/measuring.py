"""A run measured: everything that its results and its report are made of."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from experiments.runs.baselines import measure_input, verdicts
from experiments.runs.environment import describe_hardware
from experiments.runs.files import FORMAT, PER_QUERY, write_json
from experiments.runs.findings import Findings
from experiments.runs.neighbors import find_neighbors
from experiments.runs.obtaining import Obtained, obtain, restore
from experiments.runs.probing import Probed, probe_obtained
from experiments.runs.unseen import measure_unseen
from experiments.runs.workdir import (
    check_same_data,
    claim_workdir,
    describe_data,
    keep_identity,
    read_experiment,
    undefined_levels,
)
from experiments.settings import notices
from experiments.settings.adapting import adapt
from experiments.settings.experiment import Experiment
from experiments.settings.loading import embed_input, load_data, load_given
from experiments.settings.methods import whole_tuples
from hierjax import (
    data,
    evaluation,
    inference,
    locking,
    metrics,
    objectives,
    training,
)
from hierjax.data.dataset import UNSEEN
from hierjax.errors import DivergedError, UserError

_THRESHOLD = 0.5
"""The confidence that `experiments.embed` asks for where it is not told another."""


def train(
    experiment: Experiment,
    workdir: pathlib.Path,
    flag_text: str,
    *,
    num_devices: int | None = None,
) -> Findings:
    """Train in a workdir, or continue there; measure and store what came of it.

    Args:
      experiment: what to train; where it says 'auto', the data decide.
      workdir: new, or holding this very run.
      flag_text: the flags that chose it, kept as ``flags.txt``.
      num_devices: local devices to use; None: all.
    """
    experiment = adapt(experiment, ())
    dataset = load_data(experiment)
    split = measured_split(dataset)
    if dataset.hierarchy.num_classes == 1 and experiment.method.needs_classes:
        raise UserError(
            f"{dataset.name}: one class, {dataset.hierarchy.class_names[0]}, and "
            "nothing to tell it from; give two or more, or --set=method=simclr, which "
            "takes no labels"
        )
    experiment = whole_tuples(experiment, dataset)

    def claim():
        claim_workdir(workdir, experiment, flag_text)
        check_same_data(workdir, dataset)
        keep_identity(workdir, dataset)
        print(describe_data(dataset))
        for line in undefined_levels(dataset, split):
            print(f"note: {line}")

    training.hosts.on_main(claim)
    try:
        with notices.printed():
            obtained = obtain(
                experiment, dataset, workdir, num_devices=num_devices, verbose=True
            )
    except DivergedError as error:
        raise DivergedError(
            f"{error}; {workdir} keeps the last good state, and `python -m "
            f"experiments.replay --workdir={workdir}` names the first tensor that was "
            "not finite"
        ) from None
    return _stored(measure(obtained), workdir)


def evaluate(workdir: pathlib.Path, *, augmented_probe: bool = False) -> Findings:
    """Measure a run's best state again and store it.

    Args:
      workdir: of the run.
      augmented_probe: see `measure`.
    """
    experiment = read_experiment(workdir)
    dataset = load_data(experiment)
    check_same_data(workdir, dataset)
    trained = experiment.method.trains and experiment.measured == "features"
    if augmented_probe and (not trained or experiment.augment == "none"):
        raise UserError(
            "--augmented_probe needs a trained run that measures features, with an "
            f"augmentation; {workdir} has method {experiment.method.name}, measured "
            f"{experiment.measured} and augment {experiment.augment}"
        )
    with notices.printed():
        obtained = restore(experiment, dataset, workdir)
    return _stored(measure(obtained, augmented_probe=augmented_probe), workdir)


def _stored(findings: Findings, workdir: pathlib.Path) -> Findings:
    if training.hosts.is_main():
        locking.check_held(workdir)
        store(findings, workdir)
    return findings


def measure(obtained: Obtained, *, augmented_probe: bool = False) -> Findings:
    """Every measure that fits what was obtained, on the test split.

    Args:
      obtained: what to measure.
      augmented_probe: train the linear probes of contrastive runs on augmented inputs,
        the encoder run anew every epoch, instead of on features computed once.
    """
    experiment, dataset, embed = obtained.experiment, obtained.dataset, obtained.embed
    split = measured_split(dataset)
    results = {"environment": describe_hardware(), "split": split}
    probed, own = None, {}
    levels = dataset.hierarchy.level_names
    say("measuring the input: neighbours and a linear classifier ...")
    baselines = measure_input(experiment, dataset, split)
    measured, linear, name = baselines.neighbors, baselines.linear, "input"
    results["input"] = summarize(measured) | {"form": baselines.form}
    results["input_linear"] = summarize(linear)
    per_query = {"input": measured.per_query, "input_linear": linear.per_query}
    if not isinstance(experiment.method, objectives.Input):
        say("measuring the embedding: neighbours and silhouettes ...")
        measured = evaluation.evaluate(embed, dataset, split=split)
        name = "learned" if experiment.method.trains else "untrained"
        results[name] = summarize(measured)
        per_query[name] = measured.per_query
        results["gain"] = gains(measured, baselines.neighbors)
        own["knn"] = by_level(measured.per_query, "knn/{}", levels)
    if UNSEEN in dataset.splits:
        shown = {"input": embed_input(dataset), name: embed}
        results[UNSEEN] = measure_unseen(shown, dataset)
    if experiment.method.trains:
        results["best_step"] = obtained.steps
        results |= collapse_of(obtained, split)
    if experiment.measured == "features":
        say("measuring the frozen features: linear probes ...")
        probed = probe_obtained(obtained, augmented=augmented_probe, split=split)
        results["probes"] = summarize(probed) | {"augmented": augmented_probe}
        per_query["probes"] = probed.per_query
        own["probe"] = by_level(probed.per_query, "probe/{}/features", levels)
    known = (dataset.labels[dataset.rows(split)] >= 0).sum(axis=0)
    results |= {
        "queries": len(dataset.rows(split)),
        "bootstrap_unit": dataset.unit_name,
        "known_queries": dict(zip(levels, known.tolist(), strict=True)),
        "most_frequent": evaluation.most_frequent(dataset, split),
    }
    if obtained.classifier is not None or isinstance(
        experiment.method, objectives.Untrained
    ):
        say("measuring the classes and their tree ...")
        classes = evaluation.evaluate_classes(
            embed,
            dataset,
            classifier=obtained.classifier,
            split=split,
            official=experiment.official_measures,
        )
        results["classes"] = summarize(classes)
        per_query["classes"] = classes.per_query
        own["classifier"] = by_level(classes.per_query, "accuracy/{}/proxies", levels)
        representatives = classes.representatives
    else:
        seen = np.concatenate([dataset.rows("train"), dataset.rows(split)])
        means = evaluation.mean_directions(
            embed(seen), dataset.labels[seen, -1], dataset.hierarchy.num_classes
        )
        representatives = {"means": means}
    results["verdicts"] = verdicts(own, baselines)
    model = obtained.trained_model()
    if model is not None:
        results["named"] = named(model, embed(measured.rows), dataset, measured.rows)
    return Findings(
        experiment=experiment,
        results=results,
        dataset=dataset,
        given=load_given(experiment),
        split=split,
        measured=measured,
        embeddings=embed(measured.rows),
        representatives=representatives,
        records=obtained.records,
        per_query=per_query,
        model=model,
        neighbors=find_neighbors(embed, dataset, split),
        masks=None if probed is None else probed.kept.get("masks"),
    )


def collapse_of(obtained: Obtained, split: str) -> dict:
    """What is to be said of embeddings that have collapsed, under 'collapse'; or {}."""
    dataset = obtained.dataset
    rows = dataset.rows(split)
    labels = dataset.labels[rows]
    why = evaluation.why_collapsed(
        evaluation.spread_of(obtained.embed(rows)),
        lambda: evaluation.spread_of(obtained.embed_untrained(rows)),
        max(len(np.unique(column[column >= 0])) for column in labels.T),
    )
    at = [r["step"] for r in obtained.records if r.get("validation/collapsed/all")]
    said = []
    if why:
        said.append(
            f"The embedding of the {split} rows has collapsed: {why}. Its neighbours "
            "and silhouettes say nothing."
        )
    if at:
        said.append(
            f"On validation it had collapsed at {len(at)} of {len(obtained.records)} "
            f"evaluations, first at step {at[0]}; those states were not selected."
        )
    return {"collapse": " ".join(said)} if said else {}


def named(
    model: inference.TrainedModel,
    embeddings: np.ndarray,
    dataset: data.Dataset,
    rows: np.ndarray,
) -> dict:
    """How far down the tree the model names rows at confidence .5, and how rightly.

    Args:
      model: what `experiments.embed` would ask.
      embeddings: ``[Q, D]`` of the rows.
      dataset: gives their labels.
      rows: ``[Q]``.

    Returns:
      ``threshold``, and under ``levels`` by name the share of rows ``covered``, named
      down to this level, of those of known node the share ``right``, NaN of none, and
      the mean ``confidence`` and ``accuracy`` of the most probable node of all rows.
      Where labels of ``rows`` are wholly unknown, under ``unlabelled`` their number
      and the share of them that is ``unnamed`` at every level.
    """
    found = model.classify(embeddings, threshold=_THRESHOLD)
    levels = {}
    for level, name in enumerate(dataset.hierarchy.level_names):
        true, said = dataset.labels[rows, level], found.labels[:, level]
        known = true >= 0
        answered = known & (said >= 0)
        levels[name] = {
            "covered": float(np.mean(said >= 0)),
            "right": _share(said[answered] == true[answered]),
            "confidence": _share(found.confidences[known, level]),
            "accuracy": _share(found.nodes[known, level] == true[known]),
        }
    told = {"threshold": _THRESHOLD, "levels": levels}
    unlabelled = dataset.labels[rows, 0] < 0
    if unlabelled.any():
        told["unlabelled"] = {
            "rows": int(unlabelled.sum()),
            "unnamed": float(np.mean(found.labels[unlabelled, 0] < 0)),
        }
    return told


def _share(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def by_level(
    per_query: Mapping[str, np.ndarray], pattern: str, levels: Iterable[str]
) -> dict[str, np.ndarray]:
    """The measures of a pattern such as ``knn/{}``, by level, where there are any."""
    named = {level: pattern.format(level) for level in levels}
    return {level: per_query[k] for level, k in named.items() if k in per_query}


def say(what: str) -> None:
    """Tell which part of a measurement is running."""
    if training.hosts.is_main():
        print(what, file=sys.stderr, flush=True)


def store(findings: Findings, workdir: pathlib.Path) -> None:
    """Write ``results.json``, the value of every query, and the trained model.

    Arrays of queries are ``<part>/<measure>``, float64 ``[Q]``, with ``part`` as in
    ``results.json``, and ``rows``, ``units`` and ``labels`` of the queries.
    """
    written = dataclasses.asdict(training.Written.of(findings.records))
    results = {"format": FORMAT, **findings.results, "records": written}
    write_json(workdir / "results.json", results)
    if findings.model is not None:
        inference.save(findings.model, workdir)
    arrays = {
        f"{part}/{name}": values
        for part, of_part in findings.per_query.items()
        for name, values in of_part.items()
    }
    rows = findings.measured.rows
    np.savez_compressed(
        workdir / PER_QUERY,
        rows=rows,
        units=findings.measured.units,
        labels=findings.dataset.labels[rows],
        **arrays,
    )


def measured_split(dataset: data.Dataset) -> str:
    """The test split, or validation where there is none."""
    for split in ("test", "validation"):
        if split in dataset.splits:
            return split
    raise UserError(
        f"{dataset.name}: nothing to measure on; give array split some rows 'test' or "
        "'validation', or leave it out to have one drawn"
    )


def summarize(
    measured: evaluation.Evaluation | evaluation.ClassEvaluation | Probed,
) -> dict:
    """Measures as plain numbers, with bootstrap intervals where queries have values."""
    intervals = evaluation.intervals(measured.per_query, measured.units)
    summary = {
        "measures": {
            name: {"value": value, **_bounds(intervals.get(name))}
            for name, value in measured.measures.items()
        }
    }
    kept = ("neighbors", "chosen", "untrained_classes", "untested_classes")
    found = {name: getattr(measured, name, None) for name in kept}
    return summary | {name: x for name, x in found.items() if x is not None}


def gains(learned: evaluation.Evaluation, raw: evaluation.Evaluation) -> dict:
    """Paired differences to the raw input on the same queries, with intervals."""
    differences = {
        name: values - raw.per_query[name] for name, values in learned.per_query.items()
    }
    return {
        name: {"value": interval.mean, **_bounds(interval)}
        for name, interval in evaluation.intervals(differences, learned.units).items()
    }


def _bounds(interval: metrics.Interval | None) -> dict:
    return {} if interval is None else {"low": interval.low, "high": interval.high}
