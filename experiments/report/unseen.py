"""A sentence on the classes that training has not seen."""

from experiments.report.values import number

_MOST_NAMED = 3


def describe_unseen(results: dict) -> str:
    """How many queries of unseen classes k-NN names right, '' where there are none.

    Args:
      results: content of ``results.json``.
    """
    unseen = results.get("unseen")
    if unseen is None:
        return ""
    parts = [name for name in ("learned", "untrained", "input") if name in unseen]
    shown = []
    for level in unseen["nodes"]:
        own, *others = (
            number(unseen[part]["measures"][f"knn/{level}"]["value"]) for part in parts
        )
        compared = f" (input {others[0]})" if others else ""
        shown.append(f"{level} {own}{compared}")
    return (
        f"Never seen in training: {_named(unseen['nodes'])}. Of its "
        f"{unseen['queries']} rows k-NN finds, in a gallery that holds it beside all "
        f"others: {', '.join(shown)}."
    )


def _named(nodes: dict[str, list[str]]) -> str:
    """Few new nodes of a level by name, many by number."""
    levels = [(level, names) for level, names in nodes.items() if names]
    return ", ".join(
        f"{level} {', '.join(names)}"
        if len(names) <= _MOST_NAMED
        else f"{len(names)} nodes of level {level}"
        for level, names in levels
    )
