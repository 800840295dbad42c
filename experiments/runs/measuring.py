"""What is done in a run's folder: train or continue, measure, report."""

import pathlib

import numpy as np

from experiments import report
from experiments.runs.files import PER_QUERY, write_json
from experiments.runs.probing import Probed, probe, probe_state
from experiments.runs.workdir import (
    check_same_data,
    claim_workdir,
    describe_data,
    keep_identity,
    read_experiment,
)
from experiments.settings.adapting import adapt
from experiments.settings.experiment import (
    UNTRAINED,
    Experiment,
    describe_hardware,
    embed_input,
    load_data,
    load_given,
)
from experiments.settings.methods import (
    fit,
    make_model,
    make_objective,
    untrained_embed,
    whole_tuples,
)
from hierjax import data, evaluation, inference, metrics, training
from hierjax.errors import UserError

_NO_CLASSES = ("simclr", *UNTRAINED)


def train(
    experiment: Experiment,
    workdir: pathlib.Path,
    flag_text: str,
    *,
    num_devices: int | None = None,
) -> None:
    """Train in a workdir, or continue there; evaluate, report, print.

    Args:
      experiment: what to train; where it says 'auto', the data decide.
      workdir: new, or holding this very run.
      flag_text: the flags that chose it, kept as ``flags.txt``.
      num_devices: local devices to use; None: all.
    """
    experiment = adapt(experiment, ())
    dataset = load_data(experiment)
    _measured_split(dataset)
    if dataset.hierarchy.num_classes == 1 and experiment.loss not in _NO_CLASSES:
        raise UserError(
            f"{dataset.name}: one class, {dataset.hierarchy.class_names[0]}, and "
            "nothing to tell it from; give two or more, or --set=loss=simclr, which "
            "takes no labels"
        )
    experiment = whole_tuples(experiment, dataset)
    if training.hosts.is_main():
        claim_workdir(workdir, experiment, flag_text)
        check_same_data(workdir, dataset)
        keep_identity(workdir, dataset)
        print(describe_data(dataset))
    if experiment.loss not in UNTRAINED:
        fit(experiment, dataset, workdir, num_devices=num_devices, verbose=True)
    evaluate(workdir)


def evaluate(workdir: pathlib.Path, *, augmented_probe: bool = False) -> dict:
    """Evaluate a run's best state, write ``results.json`` and ``report/``, print.

    Args:
      workdir: of the run.
      augmented_probe: train the linear probes of contrastive runs on augmented inputs,
        the encoder run anew every epoch, instead of on features computed once.

    Returns:
      The content of ``results.json``.
    """
    experiment = read_experiment(workdir)
    dataset = load_data(experiment)
    check_same_data(workdir, dataset)
    split = _measured_split(dataset)
    results = {"environment": describe_hardware(), "split": split}
    embed, classifier, records = embed_input(dataset), None, []
    probed, trained, per_query = None, None, {}
    probes = experiment.measured == "features"
    if augmented_probe and (
        not probes or experiment.augment == "none" or experiment.loss in UNTRAINED
    ):
        raise UserError(
            "--augmented_probe needs a trained run that measures features, with an "
            f"augmentation; {workdir} has loss {experiment.loss}, measured "
            f"{experiment.measured} and augment {experiment.augment}"
        )
    # Neighbours in the space of raw pixels take longer than the training.
    if experiment.loss == "none" or dataset.features.dtype != np.uint8:
        measured = raw = evaluation.evaluate(embed, dataset, split=split)
        results["input"] = summarize(raw)
        per_query["input"] = raw.per_query
    if experiment.loss == "untrained":
        embed = untrained_embed(experiment, dataset)
    elif experiment.loss != "none":
        model = make_model(experiment, dataset.hierarchy.num_levels)
        objective = make_objective(experiment, dataset)
        state = training.restore_best(model, objective, dataset, experiment, workdir)
        embed = training.embedder(
            model, state.variables, dataset.inputs, method=experiment.measured
        )
        trained = inference.TrainedModel.from_state(
            model, state, dataset, measured=experiment.measured
        )
        if experiment.measured == "embeddings":
            classifier = training.classifier(objective, state)
        if probes:
            probed = probe_state(
                experiment, dataset, state, augmented=augmented_probe, split=split
            )
        results["best_step"] = int(state.step)
        records = training.read_records(workdir / "metrics.jsonl")
    if experiment.loss != "none":
        measured = evaluation.evaluate(embed, dataset, split=split)
        name = "untrained" if experiment.loss == "untrained" else "learned"
        results[name] = summarize(measured)
        per_query[name] = measured.per_query
        if "input" in results:
            results["gain"] = gains(measured, raw)
    if probes and experiment.loss in UNTRAINED:
        probed = probe(embed, dataset, split=split)
    if probed is not None:
        results["probes"] = summarize_probes(probed) | {"augmented": augmented_probe}
        per_query["probes"] = probed.per_query
    results |= {
        "queries": len(dataset.rows(split)),
        "bootstrap_unit": dataset.unit_name,
        "most_frequent": evaluation.most_frequent(dataset, split),
    }
    if experiment.loss == "untrained" or classifier is not None:
        classes = evaluation.evaluate_classes(
            embed,
            dataset,
            classifier=classifier,
            split=split,
            official=experiment.official,
        )
        results["classes"] = summarize_classes(classes)
        per_query["classes"] = classes.per_query
        representatives = classes.representatives
    else:
        seen = np.concatenate([dataset.rows("train"), dataset.rows(split)])
        means = evaluation.mean_directions(
            embed(seen), dataset.labels[seen, -1], dataset.hierarchy.num_classes
        )
        representatives = {"means": means}
    if not training.hosts.is_main():
        return results
    write_json(workdir / "results.json", results)
    if trained is not None:
        inference.save(trained, workdir)
    _write_per_query(workdir / PER_QUERY, per_query, measured, dataset)
    findings = report.Findings(
        experiment,
        results,
        dataset,
        load_given(experiment),
        split,
        measured,
        embed(measured.rows),
        representatives,
        records,
        masks=None if probed is None else probed.kept.get("masks"),
    )
    report.write(workdir / "report", findings)
    print(f"\n{report.summarize_run(results)}\n")
    page = workdir / "report" / "index.html"
    print(f"all measures, a map, the worst mistakes (open in a browser): {page}")
    return results


def _write_per_query(
    path: pathlib.Path,
    per_query: dict[str, dict[str, np.ndarray]],
    measured: evaluation.Evaluation,
    dataset: data.Dataset,
) -> None:
    """Keep the value of every query, so that runs can be compared query by query.

    Arrays are ``<part>/<measure>``, float64 ``[Q]``, with ``part`` as in
    ``results.json``, and ``rows``, ``units`` and ``labels`` of the queries.
    """
    arrays = {
        f"{part}/{name}": values
        for part, of_part in per_query.items()
        for name, values in of_part.items()
    }
    rows = measured.rows
    np.savez_compressed(
        path, rows=rows, units=measured.units, labels=dataset.labels[rows], **arrays
    )


def _measured_split(dataset: data.Dataset) -> str:
    """The test split, or validation where there is none."""
    for split in ("test", "validation"):
        if split in dataset.splits:
            return split
    raise UserError(
        f"{dataset.name}: nothing to measure on; give array split some rows 'test' or "
        "'validation', or leave it out to have one drawn"
    )


def summarize(measured: evaluation.Evaluation) -> dict:
    """Measures with their bootstrap intervals, as plain numbers."""
    intervals = measured.intervals()
    return {
        "neighbors": list(measured.neighbors),
        "measures": {
            name: {"value": value, **_bounds(intervals.get(name))}
            for name, value in measured.measures.items()
        },
    }


def summarize_classes(measured: evaluation.ClassEvaluation) -> dict:
    """Measures of classes with bootstrap intervals where queries have values."""
    intervals = measured.intervals()
    return {
        "measures": {
            name: {"value": value, **_bounds(intervals.get(name))}
            for name, value in measured.measures.items()
        },
        "untrained_classes": measured.untrained_classes,
        "untested_classes": measured.untested_classes,
    }


def summarize_probes(probed: Probed) -> dict:
    """Measures of a frozen encoder, with bootstrap intervals over rows."""
    intervals = evaluation.intervals(probed.per_query, probed.units)
    return {
        "measures": {
            name: {"value": value, **_bounds(intervals.get(name))}
            for name, value in probed.measures.items()
        },
        "chosen": probed.chosen,
    }


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
