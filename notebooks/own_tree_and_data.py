# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own tree and data
#
# A label tree comes from whatever you have: paths in a CSV, pairs of child and parent,
# a label array, a ragged tree whose inner nodes are labels too. Then arrays become a
# `Dataset`, unknown labels included, and a model is trained and measured on it. The
# images are scikit-learn's handwritten digits; the tree over them is made up here.

# %%
# %matplotlib inline
import pathlib
import tempfile

import jax
import numpy as np
from sklearn.datasets import load_digits

from hierjax import (
    Hierarchy,
    data,
    evaluation,
    models,
    objectives,
    plotting,
    proxies,
    training,
)
from hierjax.data.splitting import split_rows
from hierjax.errors import UserError

# %% tags=["parameters"]
NUM_STEPS = 1000  # of every training

# %% [markdown]
# ## A CSV of paths
#
# One row a class, its path in the column `Path` (or `Hierarchy`), coarsest name first.
# Branches may have different depths. With a column `Number` the classes are in that
# order, else in that of the file.

# %%
folder = pathlib.Path(tempfile.mkdtemp())
csv_file = folder / "tree.csv"
csv_file.write_text(
    """Number,Path
0,loop/0
1,1
2,curve/2
3,curve/hooked/3
4,angular/4
5,curve/hooked/5
6,loop/tailed/6
7,angular/7
8,loop/8
9,loop/tailed/9
"""
)
tree = Hierarchy.from_csv(csv_file, level_names=("shape", "detail", "digit"))
print(tree)
print("depths:", tree.depths.tolist())
hops = tree.path_length()[6].tolist()
print("hops from 6:", dict(zip(tree.class_names, hops, strict=True)))

# %% [markdown]
# Labels always have one column a level. The class `1` ends at depth 1 and repeats below
# as a node of its own, so its column entries are ids, not names.

# %%
for name, path, label in zip(tree.class_names, tree.paths, tree.ancestors, strict=True):
    print(f"{name}  {'/'.join(path):16} {label.tolist()}")

# %% [markdown]
# ## Pairs of child and parent
#
# `from_edges` takes (parent, child). A single root is not a level of its own; here the
# three shapes and the class `1` hang below `digit`.

# %%
child_parent = [
    *(("loop", "digit"), ("curve", "digit"), ("angular", "digit"), ("1", "digit")),
    *(("0", "loop"), ("8", "loop"), ("tailed", "loop"), ("6", "tailed")),
    *(("9", "tailed"), ("2", "curve"), ("hooked", "curve"), ("3", "hooked")),
    *(("5", "hooked"), ("4", "angular"), ("7", "angular")),
]
edges = [(parent, child) for child, parent in child_parent]
digits = [str(number) for number in range(10)]
print(Hierarchy.from_edges(edges, classes=digits) == tree)

# %% [markdown]
# ## A label array
#
# Rows of labels, coarsest first, are enough: the tree is read off them. A row that
# stops at a node which has children in other rows is *unknown* below it; one that stops
# at a node without children is a class of that depth.

# %%
rows = [
    ("loop", "tailed", "6"),
    ("loop", "tailed", ""),
    ("loop", "0", ""),
    ("1", "", ""),
]
small = Hierarchy.from_level_labels(rows)
print(small.class_names)
print(small.encode(rows))

# %% [markdown]
# ## WordNet-like trees: labels at inner nodes
#
# Where `dog` is a label of its own and `poodle` lies below it, `dog` is a class *and*
# an ancestor. `allow_internal_classes=True` says that this is meant. A row `dog` then
# is that class; without it, it is some dog of unknown breed. A node that is no class,
# such as `animal`, always leaves the rest unknown.

# %%
paths = [
    ("animal", "dog"),
    ("animal", "dog", "poodle"),
    ("animal", "dog", "hound", "beagle"),
    ("animal", "cat"),
    ("plant",),
]
given = [("animal", "dog"), ("animal",), ("animal", "dog", "poodle"), ()]
internal = Hierarchy.from_paths(paths, allow_internal_classes=True)
leaves_only = Hierarchy.from_paths(paths[1:])
for name, some_tree in (("dog is a class", internal), ("leaves only", leaves_only)):
    print(f"{name}: {some_tree.class_names}")
    for path, label in zip(given, some_tree.encode(given).tolist(), strict=True):
        leaf = some_tree.class_names[label[-1]] if label[-1] >= 0 else "unknown"
        print(f"  {'/'.join(path) or '(empty)':20} {label} {leaf}")
print("hops dog to poodle:", internal.path_length()[0, 1])

# %% [markdown]
# Two measures of distance between classes matter. `path_length` counts hops;
# `lca_height` is the height of the lowest common ancestor. On ragged trees they order
# pairs differently. A tree that cannot be right is refused with one sentence:

# %%
for wrong in (
    lambda: Hierarchy.from_paths(paths),
    lambda: Hierarchy.from_edges([("animal", "dog"), ("pet", "dog")]),
    lambda: Hierarchy.from_edges([("a", "b"), ("b", "c"), ("c", "a")]),
    lambda: small.encode([("loop", "tailed", "7")]),
):
    try:
        wrong()
    except UserError as error:
        print("-", error)

# %% [markdown]
# ## Look at the tree
#
# `mds_proxies` places a point a class so that distances follow the tree. Their
# dendrogram, beside the tree itself, is the best that a learned one can look like. A
# binary tree has to order even children that are equally far from each other.

# %%
ideal = proxies.mds_proxies(tree, 10, key=jax.random.key(0))
plotting.dendrograms(np.asarray(ideal), tree)

# %% [markdown]
# ## A data set from arrays
#
# Suppose annotators named the digit on three images in five, only the shape or the
# detail on others, and nothing on some. Unknown levels are empty strings, always at the
# end of a row.

# %%
images, digit = load_digits(return_X_y=True)
images = (images / 16).reshape(-1, 8, 8)
rng = np.random.default_rng(0)
kept = rng.choice(4, size=len(digit), p=(0.05, 0.2, 0.15, 0.6))
annotated = [
    [*tree.paths[d][:depth], *[""] * (3 - len(tree.paths[d][:depth]))]
    for d, depth in zip(digit, kept, strict=True)
]
labels = tree.encode(annotated)
dataset = data.Dataset(
    name="my digits",
    features=images,
    labels=labels,
    hierarchy=tree,
    splits=split_rows(labels[:, -1], np.arange(len(labels))),
)
for split, of_split in dataset.splits.items():
    unknown = (labels[of_split] < 0).mean(axis=0)
    shares = zip(tree.level_names, unknown, strict=True)
    listed = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    print(f"{split:11}{len(of_split):5} rows, unknown: {listed}")

# %%
titles = [" / ".join(filter(None, row)) or "(nothing)" for row in annotated[:16]]
plotting.example_grid(images[:16], titles, columns=8)

# %% [markdown]
# The class `1` is complete as soon as its shape is known: nothing lies below it.
#
# `units` would name what the bootstrap resamples (a place, a patient; here every row is
# its own), `train_labels` what training may see where that is less than the truth.
#
# ## Train on it
#
# Incomplete labels still teach. HMCE contrasts at every level, each pair at the levels
# where its relation is known: two images of unknown digit and known shapes count at the
# level of shapes. Other objectives do what they can: the rank-based loss gives such a
# pair an interval of ranks (on a ragged tree pass it
# `tree_distance=tree.path_length()`), classifiers skip rows of unknown class. Rows of
# which nothing is known are never drawn. For comparison all incomplete rows are
# dropped.


# %%
def train(dataset):
    """One training of a small network."""
    config = training.Config(
        num_steps=NUM_STEPS,
        batch_size=48,
        sampler="uniform",
        optimizer="adam",
        learning_rate=0.01,
        eval_every=100,
    )
    objective = objectives.HMCE().build(dataset.hierarchy)
    return training.fit(models.MLP(embed_dim=16), objective, dataset, config)


dataset = data.transforms.standardize(dataset)
incomplete = train(dataset)
complete = train(data.transforms.drop_incomplete(dataset))

# %% [markdown]
# ## Measure it
#
# A query whose label is unknown at a level has no value there (NaN) and does not count;
# it counts at the levels that are known. The gallery keeps its unknown rows: a
# neighbour of unknown digit does not vote, and where nobody votes the query is wrong.


# %%
def flat_input(rows):
    """The raw input as an embedding, `[N, features]`."""
    return images[rows].reshape(len(rows), -1)


measured = {
    "raw input": evaluation.evaluate(flat_input, dataset),
    "all rows": evaluation.evaluate(incomplete.embed, dataset),
    "complete rows": evaluation.evaluate(complete.embed, dataset),
}
shown = [f"knn/{name}" for name in tree.level_names] + ["silhouette/average"]
print(" " * 15 + "".join(f"{name:>24}" for name in shown))
for name, found in measured.items():
    cells = [found.intervals()[measure] for measure in shown]
    cells = [f"{i.mean:.3f} [{i.low:.3f}, {i.high:.3f}]" for i in cells]
    print(f"{name:15}" + "".join(f"{cell:>24}" for cell in cells))
test_labels = labels[dataset.rows("test")]
for level, name in enumerate(tree.level_names):
    without = int(np.isnan(measured["all rows"].per_query[f"knn/{name}"]).sum())
    assert without == (test_labels[:, level] < 0).sum()
    print(f"knn/{name}: {without} of {len(test_labels)} queries without a value")

# %% [markdown]
# One training each: whether the incomplete rows help is a question for several seeds.
# `results/rank_based/rank_based_incomplete.md` asks it of the rank-based loss.
#
# ## Pictures
#
# Grey points are unknown at that level.

# %%
test_rows = dataset.rows("test")
plotting.embedding_map(incomplete.embed(test_rows), test_labels, tree)

# %%
known = test_labels[:, -1] >= 0
means = evaluation.mean_directions(
    incomplete.embed(test_rows[known]), test_labels[known, -1], tree.num_classes
)
plotting.dendrograms(means, tree)

# %% [markdown]
# ## The same from the command line
#
# An `.npz` with `features` and `labels`, and the CSV, are all that a run needs.

# %%
np.savez(folder / "mine.npz", features=images, labels=np.array(annotated))
reread = data.load("npz", data_path=folder / "mine.npz", hierarchy=csv_file)
assert (reread.labels == dataset.labels).all()
print(
    "python -m experiments.train --experiment=hierarchical_contrastive/npz/hmce "
    "--data_path=mine.npz --hierarchy=tree.csv"
)

# %% [markdown]
# ## Where to go next
#
# - [`inspect_model`](inspect_model.ipynb): what a run has learned of the tree.
# - [`own_loss`](own_loss.ipynb): train with a loss of your own.
# - `Hierarchy` also reads and writes Newick and edges (`from_newick`, `to_newick`,
#   `to_edges`) and can be changed: `coarsen`, `subset`, `shuffled`.
# - `data.transforms`: standardise, PCA, hide labels, shuffle the tree as a control.
