"""Names that measures had in files of earlier versions."""

from collections.abc import Sequence

from hierjax.evaluation.names import ALL, KINDS, MeasureName

NEIGHBORS, CLASSES, PROBES = "neighbors", "classes", "probes"
"""Where measures are from: of the embedding, `evaluation.evaluate`; of classes and
their representatives, `evaluation.evaluate_classes`; of a frozen encoder,
`experiments.runs.probing`."""

_WHOLE = {
    "mistake_distance/hops": MeasureName("mistake_hops"),
    "mistake_distance/lca_height": MeasureName("mistake_height"),
    "angle_proxies_means": MeasureName("angle_to_means", kind="proxies"),
    "projection_effective_rank": MeasureName("effective_rank", kind="projections"),
    "projection_explained_variance": MeasureName(
        "explained_variance", kind="projections"
    ),
    "inferred_levels": MeasureName("inferred_levels", kind="projections"),
}
_WORDS = {
    "precision@5": "hierarchical_precision@5",
    "distance@5": "hierarchical_distance@5",
    "precision_at_1": "precision@1",
}
# Their level stood behind an underscore.
_OF_A_LEVEL = (
    "accuracy",
    "clades",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "map_at_r",
    "precision_at_1",
    "r_precision",
)
_OF_THE_FINEST = ("accuracy", "accuracy@5")
_KIND_OF_PROBES = {"mask_share": "projections", "guarded": "", "validation": ""}


def current_name(name: str, levels: Sequence[str], source: str = NEIGHBORS) -> str:
    """The name of a measure today; a name of today is returned as it is.

    Args:
      name: as some version wrote it.
      levels: names of the levels of the tree, coarsest first.
      source: `NEIGHBORS`, `CLASSES` or `PROBES`.
    """
    if name in _WHOLE:
        return str(_WHOLE[name])
    rest, _, last = name.rpartition("/")
    has_kind = last in KINDS and (source == CLASSES or "/" in rest)
    text, kind = (rest, last) if has_kind else (name, "")
    measure, _, level = text.partition("/")
    if not level:
        measure, level = _split(measure, levels)
    if source == PROBES:
        kind = kind or _KIND_OF_PROBES.get(measure, "features")
    measure = _WORDS.get(measure, measure)
    return f"{measure}/{level}" + (f"/{kind}" if kind else "")


def current_names(
    entries: dict, levels: Sequence[str], source: str = NEIGHBORS
) -> dict:
    """A dict by measure under the names of today."""
    return {current_name(name, levels, source): e for name, e in entries.items()}


def current_results(results: dict) -> dict:
    """The content of a ``results.json`` under the names of today."""
    levels = list(results["most_frequent"])
    current = dict(results)
    for part, content in results.items():
        source = part if part in (CLASSES, PROBES) else NEIGHBORS
        if part == "gain":
            current[part] = current_names(content, levels)
        elif isinstance(content, dict) and "measures" in content:
            named = current_names(content["measures"], levels, source)
            current[part] = content | {"measures": named}
    return current


def _split(measure: str, levels: Sequence[str]) -> tuple[str, str]:
    """Measure and level of a name without a slash."""
    for known in _OF_A_LEVEL:
        level = measure.removeprefix(f"{known}_")
        if level != measure and level in levels:
            return known, level
    if measure == "clades_overall":
        return "clades", ALL
    return measure, levels[-1] if measure in _OF_THE_FINEST else ALL
