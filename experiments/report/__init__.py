"""The report of one run: tables, pictures, class trees, and a page with all of it."""

import importlib.util
import pathlib
import warnings

import numpy as np

from experiments.report import page
from experiments.report.summary import summarize_run
from experiments.report.tables import render
from experiments.report.unseen import describe_unseen
from experiments.runs.findings import Findings
from hierjax import metrics, plotting
from hierjax.data import Dataset
from hierjax.hierarchy import Hierarchy

__all__ = ["KINDS", "present", "summarize_run", "write"]

KINDS = ("page", "pictures", "none")
"""How much of a report: all of it, all but the page, nothing."""


MAX_CLASSES = 200
"""Classes in one picture of a tree; more are averaged, and drawn by subtree."""
MAX_OF_SUBTREE = 100
NUM_SUBTREES = 3


def write_trees(
    folder: pathlib.Path, kind: str, representatives: np.ndarray, dataset: Dataset
) -> None:
    """Write the trees that representatives suggest, in Newick notation.

    By UPGMA and WPGMA, and by neighbour joining where scikit-bio is installed.
    """
    distances = metrics.representative_distances(representatives)
    methods = ["upgma", "wpgma"]
    if importlib.util.find_spec("skbio"):
        methods.append("neighbor_joining")
    if np.sum(~np.isnan(distances).all(axis=1)) < 3:
        return
    for method in methods:
        tree = metrics.infer_tree(distances, method=method)
        names = dataset.hierarchy.class_names
        (folder / f"{kind}_{method}.nwk").write_text(tree.to_newick(names) + "\n")


def present(workdir: pathlib.Path, findings: Findings, kind: str) -> None:
    """Write the report of a run and print its summary.

    Args:
      workdir: of the run; the report goes to the folder ``report`` in it.
      findings: of the run.
      kind: one of `KINDS`.
    """
    folder = workdir / "report"
    if kind != "none":
        write(folder, findings, with_page=kind == "page")
    print(f"\n{summarize_run(findings.results)}\n")
    if "collapse" in findings.results:
        print(f"note: {findings.results['collapse']}\n")
    if unseen := describe_unseen(findings.results):
        print(f"{unseen}\n")
    if kind == "page":
        page_path = folder / "index.html"
        print(
            f"all measures, a map, the worst mistakes (open in a browser): {page_path}"
        )


def write(folder: pathlib.Path, findings: Findings, *, with_page: bool = True) -> None:
    """Write ``report.md``, the pictures of a run, its trees and ``index.html``.

    Args:
      folder: made where it is not there.
      findings: what to write.
      with_page: write the page too.
    """
    folder.mkdir(exist_ok=True)
    (folder / "report.md").write_text(render(findings.results))
    for kind, vectors in findings.representatives.items():
        write_trees(folder, kind, vectors, findings.dataset)
    drawn = []
    for name, figure in figures(findings).items():
        with warnings.catch_warnings():
            # A font without a glyph draws a box; the page has the name.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            plotting.save_png(figure, folder / f"{name}.png")
        drawn.append(name)
    if with_page:
        text = page.render(folder, findings, drawn)
        (folder / "index.html").write_text(text, "utf-8")


def subtrees(hierarchy: Hierarchy, present: np.ndarray) -> list[tuple[int, int]]:
    """Nodes whose classes get pictures of their own, where all are too many for one.

    Args:
      hierarchy: the label tree.
      present: ``[C]``, which classes are drawn.

    Returns:
      Level and id of at most `NUM_SUBTREES` nodes that lie apart: those with most of
      the classes, but no more than `MAX_OF_SUBTREE` and at least 3. None where all
      classes fit into one picture.
    """
    if present.sum() <= MAX_CLASSES:
        return []
    ancestors = np.asarray(hierarchy.ancestors)
    sizes = [
        (np.sum(present & (column == node)), -level, -node)
        for level, column in enumerate(ancestors.T)
        for node in np.unique(column)
    ]
    chosen, left = [], present.copy()
    for size, level, node in sorted(sizes, reverse=True):
        below = ancestors[:, -level] == -node
        if 3 <= size <= MAX_OF_SUBTREE and left[below & present].all():
            chosen.append((int(-level), int(-node)))
            left &= ~below
    return chosen[:NUM_SUBTREES]


def figures(findings: Findings) -> dict:
    """Name to figure, in the order of the page."""
    dataset, embeddings = findings.dataset, findings.embeddings
    hierarchy, labels = dataset.hierarchy, dataset.labels[findings.measured.rows]
    drawn = {}
    if findings.records:
        drawn["training_curves"] = plotting.training_curves(
            findings.records, best_step=findings.results["best_step"]
        )
    title = findings.split
    drawn["embeddings"] = plotting.embedding_map(
        embeddings, labels, hierarchy, title=title
    )
    if embeddings.shape[1] >= 3:
        drawn["embeddings_3d"] = plotting.embedding_space(
            embeddings, labels, hierarchy, title=title
        )
    for kind, vectors in findings.representatives.items():
        if not np.isfinite(vectors).all(axis=1).any():
            continue
        suffix = "" if kind == "means" else f"_{kind}"
        drawn |= {
            f"dendrograms{suffix}": plotting.dendrograms(vectors, hierarchy),
            f"class_distances{suffix}": plotting.class_distances(vectors, hierarchy),
        }
    kind, vectors = list(findings.representatives.items())[-1]
    present = np.isfinite(vectors).all(axis=1)
    for place, node in enumerate(subtrees(hierarchy, present), 1):
        for name, draw in (
            ("dendrograms", plotting.dendrograms),
            ("class_distances", plotting.class_distances),
        ):
            figure = draw(vectors, hierarchy, within=node)
            drawn[f"subtree_{place}_{name}"] = figure
    if findings.masks is not None:
        drawn["level_masks"] = plotting.mask_heatmap(
            findings.masks, hierarchy.level_names
        )
    return drawn
