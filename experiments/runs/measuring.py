"""A run measured: everything that its results and its report are made of."""

import pathlib

import numpy as np

from experiments.runs.environment import describe_hardware
from experiments.runs.files import FORMAT, PER_QUERY, write_json
from experiments.runs.findings import Findings
from experiments.runs.obtaining import Obtained, obtain, restore
from experiments.runs.probing import Probed, probe_obtained
from experiments.runs.workdir import (
    check_same_data,
    claim_workdir,
    describe_data,
    keep_identity,
    read_experiment,
)
from experiments.settings.adapting import adapt
from experiments.settings.experiment import Experiment
from experiments.settings.loading import embed_input, load_data, load_given
from experiments.settings.methods import whole_tuples
from hierjax import data, evaluation, inference, metrics, objectives, training
from hierjax.errors import UserError


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
    measured_split(dataset)
    if dataset.hierarchy.num_classes == 1 and experiment.method.needs_classes:
        raise UserError(
            f"{dataset.name}: one class, {dataset.hierarchy.class_names[0]}, and "
            "nothing to tell it from; give two or more, or --set=method=simclr, which "
            "takes no labels"
        )
    experiment = whole_tuples(experiment, dataset)
    if training.hosts.is_main():
        claim_workdir(workdir, experiment, flag_text)
        check_same_data(workdir, dataset)
        keep_identity(workdir, dataset)
        print(describe_data(dataset))
    obtained = obtain(
        experiment, dataset, workdir, num_devices=num_devices, verbose=True
    )
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
    findings = measure(
        restore(experiment, dataset, workdir), augmented_probe=augmented_probe
    )
    return _stored(findings, workdir)


def _stored(findings: Findings, workdir: pathlib.Path) -> Findings:
    if training.hosts.is_main():
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
    per_query, raw, probed = {}, None, None
    is_input = isinstance(experiment.method, objectives.Input)
    # Neighbours in the space of raw pixels take longer than the training.
    if is_input or dataset.features.dtype != np.uint8:
        raw = evaluation.evaluate(embed_input(dataset), dataset, split=split)
        results["input"] = summarize(raw)
        per_query["input"] = raw.per_query
    measured = raw
    if not is_input:
        measured = evaluation.evaluate(embed, dataset, split=split)
        name = "learned" if experiment.method.trains else "untrained"
        results[name] = summarize(measured)
        per_query[name] = measured.per_query
        if raw is not None:
            results["gain"] = gains(measured, raw)
    if experiment.method.trains:
        results["best_step"] = obtained.steps
    if experiment.measured == "features":
        probed = probe_obtained(obtained, augmented=augmented_probe, split=split)
        results["probes"] = summarize(probed) | {"augmented": augmented_probe}
        per_query["probes"] = probed.per_query
    results |= {
        "queries": len(dataset.rows(split)),
        "bootstrap_unit": dataset.unit_name,
        "most_frequent": evaluation.most_frequent(dataset, split),
    }
    if obtained.classifier is not None or isinstance(
        experiment.method, objectives.Untrained
    ):
        classes = evaluation.evaluate_classes(
            embed,
            dataset,
            classifier=obtained.classifier,
            split=split,
            official=experiment.official_measures,
        )
        results["classes"] = summarize(classes)
        per_query["classes"] = classes.per_query
        representatives = classes.representatives
    else:
        seen = np.concatenate([dataset.rows("train"), dataset.rows(split)])
        means = evaluation.mean_directions(
            embed(seen), dataset.labels[seen, -1], dataset.hierarchy.num_classes
        )
        representatives = {"means": means}
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
        model=obtained.trained_model(),
        masks=None if probed is None else probed.kept.get("masks"),
    )


def store(findings: Findings, workdir: pathlib.Path) -> None:
    """Write ``results.json``, the value of every query, and the trained model.

    Arrays of queries are ``<part>/<measure>``, float64 ``[Q]``, with ``part`` as in
    ``results.json``, and ``rows``, ``units`` and ``labels`` of the queries.
    """
    write_json(workdir / "results.json", {"format": FORMAT, **findings.results})
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
