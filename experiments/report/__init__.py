"""The report of one run: tables, pictures, class trees, and a page with all of it."""

import importlib.util
import pathlib

import numpy as np

from experiments.report import page
from experiments.report.summary import summarize_run
from experiments.report.tables import render
from experiments.runs.findings import Findings
from hierjax import metrics, plotting
from hierjax.data import Dataset

__all__ = ["KINDS", "present", "summarize_run", "write"]

KINDS = ("page", "pictures", "none")
"""How much of a report: all of it, all but the page, nothing."""


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
        figure.savefig(folder / f"{name}.png", dpi=150)
        drawn.append(name)
    if with_page:
        text = page.render(folder, findings, drawn)
        (folder / "index.html").write_text(text, "utf-8")


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
    if findings.masks is not None:
        drawn["level_masks"] = plotting.mask_heatmap(
            findings.masks, hierarchy.level_names
        )
    return drawn
