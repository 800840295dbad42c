"""What tables measure of a run: a value on validation, and all of the test split."""

import dataclasses

import numpy as np

from experiments.runs.obtaining import Obtained
from experiments.runs.probing import probe_obtained
from experiments.settings.loading import load_data
from hierjax import evaluation


def validation_value(obtained: Obtained) -> float:
    """What trials are compared by."""
    if obtained.state is not None:
        return obtained.best_value
    measured = evaluation.evaluate(
        obtained.embed,
        obtained.dataset,
        split="validation",
        neighbors=obtained.neighbors(),
        distance=obtained.neighbor_distance,
    )
    return measured.measures["knn/average"]


def measure(
    kind: str,
    obtained: Obtained,
    *,
    neighbors: tuple[int, ...] | None,
    targets: tuple[str, ...],
) -> tuple[dict, dict[str, np.ndarray]]:
    """Measures of the test split, and the arrays that they are means of.

    Args:
      kind: 'neighbors', 'classes' or 'probes', see `tables.Table`.
      obtained: what is measured.
      neighbors: how many at each level, in tables of neighbours.
      targets: of the linear probes, in tables of probes.
    """
    if kind == "classes":
        return _measure_classes(obtained)
    if kind == "probes":
        return _measure_probes(obtained, targets)
    return _measure_neighbors(obtained, neighbors)


def _measure_neighbors(
    obtained: Obtained, neighbors: tuple[int, ...]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Measures of the embedding, on the true tree too where it was shuffled."""
    options = {"neighbors": neighbors, "distance": obtained.neighbor_distance}
    measured = evaluation.evaluate(obtained.embed, obtained.dataset, **options)
    arrays = {"rows": measured.rows}
    arrays |= {f"value/{k}": v for k, v in measured.per_query.items()}
    result = {"neighbors": measured.neighbors, "measures": measured.measures}
    experiment = obtained.experiment
    if experiment.shuffle_hierarchy:
        plain = dataclasses.replace(experiment, shuffle_hierarchy=False)
        true_data = load_data(plain)
        on_true = evaluation.evaluate(obtained.embed, true_data, **options)
        result["measures_true_tree"] = on_true.measures
        arrays |= {f"true_tree/{k}": v for k, v in on_true.per_query.items()}
        result["sibling_overlap"] = true_data.hierarchy.sibling_overlap(
            obtained.dataset.hierarchy
        )
    return result, arrays


def _measure_classes(obtained: Obtained) -> tuple[dict, dict[str, np.ndarray]]:
    """Measures of classes and their representatives."""
    measured = evaluation.evaluate_classes(
        obtained.embed,
        obtained.dataset,
        classifier=obtained.classifier,
        official=obtained.experiment.official_measures,
        num_permutations=999,
    )
    result = {
        "measures": measured.measures,
        "untrained_classes": measured.untrained_classes,
        "untested_classes": measured.untested_classes,
    }
    arrays = {f"class/{k}": v for k, v in measured.per_class.items()}
    arrays |= {
        f"representatives/{k}": v.astype(np.float32)
        for k, v in measured.representatives.items()
    }
    return result, arrays


def _measure_probes(
    obtained: Obtained, targets: tuple[str, ...]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Linear and nearest-neighbour probes of the frozen encoder."""
    probed = probe_obtained(obtained, targets=targets)
    arrays = {"rows": probed.rows}
    arrays |= {f"kept/{k}": v.astype(np.float16) for k, v in probed.kept.items()}
    arrays |= {f"value/{k}": v for k, v in probed.per_query.items()}
    measures = probed.measures | {
        # Mean share of rows whose masks had to be mended; NaN where none can be.
        "guarded/all": float(
            np.mean([r.get("guarded", np.nan) for r in obtained.records or [{}]])
        ),
        "validation/all": obtained.best_value,
    }
    result = {"neighbors": [], "measures": measures, "chosen": probed.chosen}
    return result, arrays
