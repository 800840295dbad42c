"""Figures of `experiments.reproduce`: drawn from the jobs of the tables."""

import pathlib

import numpy as np

from experiments.papers.tables import TABLES, Block, Row, scaled_experiment
from experiments.settings.loading import load_data
from experiments.tables.jobs import Jobs
from hierjax import evaluation, metrics, plotting
from hierjax.errors import UserError

_SEED = 0
_NUM_EXAMPLES = 24
# The methods that the paper's figure compares, and the control.
TSNE_ROWS = ("hmce", "ghmlc_sample", "ghmlc_mean", "unmasked")
_TSNE_TARGETS = ("category", "class_name")
MASK_ROWS = ("ghmlc_sample", "ghmlc_mean", "ahmlc")
PERPLEXITY = 30.0


def _block(name: str) -> Block:
    return next(
        block
        for block in TABLES["hierarchical_contrastive"].blocks
        if block.name == name
    )


def _row(name: str) -> Row:
    rows = TABLES["hierarchical_contrastive"].rows
    return next(row for row in rows if row.name == name)


def _kept(jobs: Jobs, block: Block, name: str) -> dict[str, np.ndarray]:
    """Arrays of the first seed of a row, which is run if it was not."""
    row = _row(name)
    jobs.run(block, row, [_SEED])
    path = jobs.result_path(block, row, 0, _SEED).with_suffix(".npz")
    with np.load(path) as arrays:
        return dict(arrays)


def _check_data(jobs: Jobs, block: Block) -> None:
    problem = jobs.data_problem(block, _row("input"))
    if problem:
        raise UserError(problem)


def mnist_examples(jobs: Jobs, folder: pathlib.Path) -> list[pathlib.Path]:
    """Test images of hierarchical MNIST with their labels."""
    block = _block("hierarchical_mnist")
    _check_data(jobs, block)
    dataset = load_data(
        scaled_experiment(block, _row("input"), jobs.scale, jobs.data_dir)
    )
    rows = dataset.rows("test")[:_NUM_EXAMPLES]
    told = evaluation.targets_of(dataset).only(_TSNE_TARGETS)
    category, digit = told.ids[rows].T
    titles = [f"category {c}\nclass {d}" for c, d in zip(category, digit, strict=True)]
    path = folder / "mnist_examples.png"
    figure = plotting.example_grid(dataset.features[rows], titles)
    figure.savefig(path, dpi=100)
    return [path]


def mnist_tsne(jobs: Jobs, folder: pathlib.Path) -> list[pathlib.Path]:
    """Test embeddings in the plane: does a method separate both levels?

    Same rows, perplexity and seed for all. What stands under a column is measured on
    the embeddings, not on the plane.
    """
    block = _block("hierarchical_mnist")
    _check_data(jobs, block)
    coordinates, footers, labels = {}, {}, None
    for name in TSNE_ROWS:
        kept = _kept(jobs, block, name)
        embeddings = kept["kept/projections"].astype(np.float32)
        dataset = jobs.load(block, _row(name))
        rows = kept["rows"][: len(embeddings)]
        told = evaluation.targets_of(dataset).only(_TSNE_TARGETS)
        labels = dict(zip(told.names, told.ids[rows].T, strict=True))
        coordinates[name] = metrics.tsne_coordinates(
            embeddings, perplexity=PERPLEXITY, seed=_SEED
        )
        footers[name] = "\n".join(
            [
                *(
                    f"silhouette {target} "
                    f"{metrics.silhouette_score(embeddings, ids):.3f}"
                    for target, ids in labels.items()
                ),
                f"variance in two components "
                f"{metrics.explained_variance(embeddings):.3f}",
                f"effective rank {metrics.effective_rank(embeddings):.1f}",
            ]
        )
    path = folder / "mnist_tsne.png"
    figure = plotting.tsne_grid(coordinates, labels, footers=footers)
    figure.savefig(path, dpi=100)
    return [path]


def level_masks(jobs: Jobs, folder: pathlib.Path) -> list[pathlib.Path]:
    """Mean masks a level of G-HMLC and A-HMLC, a picture a data set and method."""
    paths = []
    for block in TABLES["hierarchical_contrastive"].blocks:
        if block.folds > 1 or jobs.data_problem(block, _row("input")):
            continue
        allowed = block.rows.get(jobs.scale, MASK_ROWS)
        for name in (row for row in MASK_ROWS if row in allowed):
            masks = _kept(jobs, block, name)["kept/masks"].astype(np.float32)
            levels = jobs.load(block, _row(name)).hierarchy.level_names
            figure = plotting.mask_heatmap(masks, levels, title=f"{block.name} {name}")
            path = folder / f"masks_{block.name.replace('/', '_')}_{name}.png"
            figure.savefig(path, dpi=100)
            paths.append(path)
    if not paths:
        raise UserError("no data set of the table is there; give --data_dir")
    return paths


FIGURES = {
    function.__name__: function
    for function in (mnist_examples, mnist_tsne, level_masks)
}
"""Figures by name."""
