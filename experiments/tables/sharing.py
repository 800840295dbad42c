"""Experiments that are one training: they differ in what they select of it alone."""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.runs.obtaining import Obtained, obtain, of_state
from experiments.settings.experiment import Experiment
from experiments.settings.loading import load_data
from experiments.settings.methods import fit, whole_tuples
from hierjax import options, training
from hierjax.errors import DivergedError

_SELECTING = ("selection", "num_steps")


def groups(experiments: Mapping[str, Experiment]) -> list[list[str]]:
    """Names of experiments that one training serves, in order.

    They differ in the measure that selects. Those that are trained on validation rows
    as well, and so run to their last step, may also differ in the number of steps where
    the longer run begins exactly as the shorter one.
    """
    found: list[list[str]] = []
    for name, experiment in experiments.items():
        for group in found:
            if all(_shared(experiments[other], experiment) for other in group):
                group.append(name)
                break
        else:
            found.append([name])
    return found


def obtain_each(
    experiments: Mapping[str, Experiment],
) -> dict[str, Obtained | DivergedError]:
    """Run experiments with as few trainings as they need.

    Returns:
      By name what came of each, as if it had been run alone, or why that failed.
    """
    found = {}
    for names in groups(experiments):
        together = [experiments[name] for name in names]
        found |= zip(names, _obtain_together(together), strict=True)
    return {name: found[name] for name in experiments}


def _shared(one: Experiment, other: Experiment) -> bool:
    """Whether a training of the one with more steps holds that of the other."""
    fields = [options.to_plain(experiment) for experiment in (one, other)]
    for key in _SELECTING:
        for plain in fields:
            del plain[key]
    if fields[0] != fields[1]:
        return False
    short, long = sorted((one, other), key=lambda experiment: experiment.num_steps)
    return short.num_steps == long.num_steps or (
        short.refit
        and short.num_steps % short.eval_every == 0
        and training.why_not_extend(long.config(), short.num_steps) is None
    )


def _obtain_together(
    experiments: Sequence[Experiment],
) -> list[Obtained | DivergedError]:
    """What comes of experiments that are one training."""
    longest = max(experiments, key=lambda experiment: experiment.num_steps)
    dataset = load_data(longest)
    longest = whole_tuples(longest, dataset)
    same = [
        dataclasses.replace(longest, **{key: getattr(each, key) for key in _SELECTING})
        for each in experiments
    ]
    if not longest.method.trains:
        return [obtain(each, dataset) for each in same]
    steps = {each.num_steps for each in same} - {longest.num_steps}
    try:
        fitted = fit(
            longest,
            dataset,
            selections=[each.selection for each in same],
            keep_steps=steps,
            num_devices=1,
        )
    except DivergedError as error:
        if len(experiments) == 1:
            return [error]
        # One that would have ended before is not to suffer from the others.
        return [found for each in experiments for found in _obtain_together([each])]
    obtained = []
    for each in same:
        best = fitted.best[each.selection]
        state, end = best.state, best.end
        if each.num_steps in steps:
            state, end = fitted.kept[each.num_steps], each.num_steps
        records = [record for record in fitted.records if record["step"] <= end]
        obtained.append(
            of_state(each, dataset, state, best_value=best.value, records=records)
        )
    return obtained
