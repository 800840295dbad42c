"""A run in its workdir: claim it, train or continue, evaluate, report."""

import dataclasses
import json
import math
import os
import pathlib

import numpy as np

from experiments import report
from experiments.adapting import adapt
from experiments.experiment import (
    UNTRAINED,
    Experiment,
    describe_hardware,
    embed_input,
    load_data,
    load_given,
)
from experiments.methods import (
    fit,
    make_model,
    make_objective,
    untrained_embed,
    whole_tuples,
)
from experiments.probing import Probed, probe, probe_state
from hierjax import data, evaluation, inference, metrics, training
from hierjax.errors import UserError

_NO_CLASSES = ("simclr", *UNTRAINED)
PER_QUERY = "per_query.npz"
"""File of a workdir with the values of single queries."""
_DATA = "data.json"


def claim_workdir(workdir: pathlib.Path, experiment: Experiment, flag_text: str):
    """Make the workdir of a run, or check that it holds this very run.

    Raises:
      UserError: the folder cannot be written, holds something else, or holds a run
        with other settings (naming the fields that differ).
    """
    wanted = dataclasses.asdict(experiment)
    path = workdir / "config.json"
    try:
        # A run that failed before its first step left nothing worth keeping.
        records = workdir / "metrics.jsonl"
        if (workdir / "results.json").exists() or (
            records.exists() and records.stat().st_size
        ):
            held = _read_fields(workdir)
            differing = [
                f"{key} was {held.get(key)!r} and is now {value!r}"
                for key, value in wanted.items()
                if held.get(key) != value
            ]
            if differing:
                raise UserError(
                    f"workdir {workdir} holds a run of another configuration: "
                    f"{'; '.join(differing)}; choose another --workdir"
                )
            return
        workdir.mkdir(parents=True, exist_ok=True)
        if any(workdir.iterdir()) and not path.exists():
            raise UserError(
                f"workdir {workdir} is not empty and holds no run; choose another "
                "--workdir"
            )
        (workdir / "flags.txt").write_text(flag_text)
        write_json(workdir / "environment.json", describe_hardware())
        write_json(path, wanted)
    except OSError as error:
        raise UserError(
            f"workdir {workdir} cannot be written: {error.strerror}; choose another "
            "--workdir"
        ) from None


def _read_fields(workdir: pathlib.Path) -> dict:
    """The content of a run's ``config.json``."""
    path = workdir / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} holds no run: {path} is missing")
    try:
        return dict(read_json(path))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a run: {error}") from None


def read_experiment(workdir: pathlib.Path) -> Experiment:
    """The experiment of a workdir.

    Raises:
      UserError: there is no readable run.
    """
    fields = _read_fields(workdir)
    known = {field.name for field in dataclasses.fields(Experiment)}
    if set(fields) != known:
        raise UserError(
            f"{workdir / 'config.json'} was written by another version: it differs in "
            f"the fields {', '.join(sorted(set(fields) ^ known))}"
        )
    return Experiment(**fields)


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
        _check_same_data(workdir, dataset)
        write_json(workdir / _DATA, _identity(dataset))
        print(describe_data(dataset))
    if experiment.loss not in UNTRAINED:
        fit(experiment, dataset, workdir, num_devices=num_devices, verbose=True)
    evaluate(workdir)


def _identity(dataset: data.Dataset) -> dict[str, str]:
    return {"described": describe_data(dataset), "digest": dataset.digest()}


def _check_same_data(workdir: pathlib.Path, dataset: data.Dataset) -> None:
    """Refuse rows that are not those of the run: splits are drawn from all of them.

    Otherwise a file that is added could move training rows into the test split.
    """
    path = workdir / _DATA
    # A run that has trained nothing yet, or is older than this file, may go on.
    if not path.exists() or not (workdir / "metrics.jsonl").exists():
        return
    held, found = read_json(path), _identity(dataset)
    if held["digest"] != found["digest"]:
        raise UserError(
            f"workdir {workdir} holds a run on other rows, labels or splits: then "
            f"{held['described']}; now {found['described']}; bring the data back as "
            "they were, or train anew in another --workdir"
        )


def describe_data(dataset: data.Dataset) -> str:
    """One line about a data set."""
    hierarchy = dataset.hierarchy
    levels = " -> ".join(
        f"{count} {name}"
        for name, count in zip(
            hierarchy.level_names, hierarchy.nodes_per_level, strict=True
        )
    )
    splits = ", ".join(f"{name} {len(rows)}" for name, rows in dataset.splits.items())
    return f"{dataset.name}: {levels}; {splits}"


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
    _check_same_data(workdir, dataset)
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


def read_json(path: pathlib.Path):
    """Content of a JSON file."""
    return json.loads(path.read_text())


def write_json(path: pathlib.Path, content) -> None:
    """Write JSON through a temporary file, so that a kill leaves no half of it."""
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")
    temporary.write_text(json.dumps(plain(content), indent=1) + "\n")
    temporary.replace(path)


def plain(content):
    """Only what JSON knows: NaN and infinity become null, numpy numbers Python's."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, np.ndarray)):
        return [plain(value) for value in content]
    if isinstance(content, np.integer):
        return int(content)
    if isinstance(content, (float, np.floating)):
        return float(content) if math.isfinite(content) else None
    return content
