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
# # Inspect what a model learned
#
# `hierjax.load(workdir)` gives the encoder of a finished run with its preprocessing and
# its tree. Here it is asked which classes it finds alike, whether that is the true
# tree, how far its mistakes go up the tree, and what lies beside a single example.
# Without a run of your own a short one is trained first, on scikit-learn's digits under
# a small ragged tree of shapes.

# %%
# %matplotlib inline
import dataclasses
import pathlib
import tempfile

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import hierjax
from experiments.papers import PRESETS
from experiments.runs import measuring
from experiments.runs.workdir import read_experiment
from experiments.settings.loading import load_data
from hierjax import evaluation, metrics, plotting

# %% tags=["parameters"]
WORKDIR = ""  # the folder of a run of yours; '' trains one
PRESET = "hierarchical_contrastive/npz/hmce"  # of that one
NUM_STEPS = 300

# %% [markdown]
# ## A run
#
# `measuring.train` is what `python -m experiments.train` calls. HMCE is told of the
# tree, so that finding it again is no discovery. `class_hierarchies/npz/proxydr` is
# told of the digits only: try it for comparison.

# %%
PATHS = (
    *("loop/0", "1", "curve/2", "curve/hooked/3", "angular/4"),
    *("curve/hooked/5", "loop/tailed/6", "angular/7", "loop/8", "loop/tailed/9"),
)


def train_on_digits(folder):
    """Writes the data as a user would, trains the preset on it, gives the workdir."""
    images, digit = load_digits(return_X_y=True)
    rows = [(PATHS[d].split("/") + ["", ""])[:3] for d in digit]
    features = (images / 16).reshape(-1, 8, 8).astype(np.float32)
    np.savez(folder / "digits.npz", features=features, labels=np.array(rows))
    experiment = dataclasses.replace(
        PRESETS[PRESET].experiment,
        data_path=str(folder / "digits.npz"),
        embed_dim=16,
        measured="embeddings",
        num_steps=NUM_STEPS,
    )
    measuring.train(experiment, folder / "run", f"--experiment={PRESET}\n")
    return folder / "run"


workdir = pathlib.Path(WORKDIR or train_on_digits(pathlib.Path(tempfile.mkdtemp())))

# %% [markdown]
# ## Load it
#
# The model takes data as they were read and does its own preprocessing, so the data set
# of the run is loaded without. Everything below looks at the test split.

# %%
model = hierjax.load(workdir)
experiment = read_experiment(workdir)
dataset = load_data(dataclasses.replace(experiment, standardize=False, pca=0))
tree = model.hierarchy
split = "test" if "test" in dataset.splits else "validation"
rows = dataset.rows(split)
labels = dataset.labels[rows]


def embed(rows):
    """Embeddings `[N, D]` of rows of the data set."""
    sizes = None if dataset.sizes is None else dataset.sizes[rows]
    return model.embed(dataset.features[rows], sizes)


def raw(rows):
    """The raw input `[N, features]` of the same rows."""
    return dataset.float_features(rows).reshape(len(rows), -1)


embeddings = embed(rows)
print(tree, embeddings.shape)

# %% [markdown]
# ## Which classes are alike?
#
# `class_means` are the mean directions of the training rows. If the tree was learned,
# dark blocks lie on the diagonal. Gamma compares the order of the distances with that
# of the tree: 1 if they always agree, 0 if they agree as often as not. Hops and the
# height of the lowest common ancestor order the pairs of a ragged tree differently:
# across its top, hops also tell deep classes from shallow ones, which no loss was asked
# for here.

# %%
train_rows = dataset.rows("train")
input_means = evaluation.mean_directions(
    raw(train_rows), dataset.train_labels[train_rows, -1], tree.num_classes
)
for name, means in (("model", model.class_means), ("raw input", input_means)):
    distances = metrics.representative_distances(means)
    by_hops = metrics.goodman_kruskal_gamma(distances, tree.path_length())
    by_height = metrics.goodman_kruskal_gamma(distances, tree.lca_height())
    print(f"{name:10} gamma with hops {by_hops:.3f}, with heights {by_height:.3f}")
plotting.class_distances(model.class_means, tree)

# %%
plotting.dendrograms(model.class_means, tree)

# %% [markdown]
# ## How far up do mistakes go?
#
# A mistake between siblings has an LCA height of 1; one across the top of the tree has
# the greatest. Beside them: the heights if the same mistakes fell on any other class. A
# model that learned the tree makes its mistakes further left; with a handful of
# mistakes the bars are rough.

# %%
predicted = model.classify(embeddings)
known = labels[:, -1] >= 0
leaf, truth = predicted.nodes[known, -1], labels[known, -1]
height = tree.lca_height()
wrong = leaf != truth
heights = np.arange(1, height.max() + 1)


def shares(of_mistakes):
    """Share of each height, the 0 of a class with itself left out."""
    counts = np.bincount(of_mistakes.ravel(), minlength=len(heights) + 1)[1:]
    return counts / max(counts.sum(), 1)


made, at_random = shares(height[leaf, truth][wrong]), shares(height[truth[wrong]])
print(f"{wrong.sum()} mistakes in {len(truth)} queries")

figure = Figure((5, 2.6), layout="constrained")
axes = figure.subplots()
axes.bar(heights - 0.2, made, 0.4, label="this model")
axes.bar(heights + 0.2, at_random, 0.4, color="0.75", label="any other class")
axes.set(xlabel="LCA height of a mistake", ylabel="share", xticks=heights)
axes.legend(frameon=False, fontsize=8)
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# ## Name only what is certain
#
# `classify` (or `predict`, from the data themselves) gives the most probable node of
# every level with its confidence, and `labels` backs off to the deepest level that
# reaches the threshold. A higher threshold names fewer leaves and should err less.

# %%
for threshold in (0.5, 0.9, 0.99):
    named = model.classify(embeddings, threshold=threshold).labels
    print(f"threshold {threshold}")
    for level, name in enumerate(tree.level_names):
        asked = labels[:, level] >= 0
        given = asked & (named[:, level] >= 0)
        right = given & (named[:, level] == labels[:, level])
        print(
            f"  {name:10} {given.sum()} of {asked.sum()} named, {right.sum()} rightly"
        )

# %% [markdown]
# ## Neighbours of one example
#
# The query is the mistake that goes furthest up the tree, or the first row if there is
# none. Its neighbours come from the training split; each is shown with its distance.

# %%
worst = np.argmax(np.where(known, height[predicted.nodes[:, -1], labels[:, -1]], -1))
found, distances = metrics.nearest_neighbors(embeddings[[worst]], embed(train_rows), 7)
shown = np.concatenate([rows[[worst]], train_rows[found[0]]])
names = ["/".join(path) or "unknown" for path in tree.decode(dataset.labels[shown])]
captions = [f"query\n{names[0]}"]
captions += [f"{d:.3f}\n{n}" for d, n in zip(distances[0], names[1:], strict=True)]
print("predicted:", tree.class_names[predicted.nodes[worst, -1]])
pictures = dataset.float_features(shown)
drawable = pictures.ndim == 3 and 0 <= pictures.min() and pictures.max() <= 1
plotting.example_grid(pictures, captions, columns=8) if drawable else print(*captions)

# %% [markdown]
# ## Silhouettes level by level
#
# Near 1 where the nodes of a level are tight and apart, 0 where they touch, negative
# where rows lie nearer to another node. Intervals resample the data's units.

# %%
units = dataset.units[rows]
for name, vectors in (("model", embeddings), ("raw input", raw(rows))):
    print(name)
    for measure, values in evaluation.silhouettes(vectors, labels, tree).items():
        mean, low, high = metrics.bootstrap_interval(
            values, units=units, num_resamples=2000
        )
        print(f"  {measure:22} {mean:.3f} [{low:.3f}, {high:.3f}]")

# %% [markdown]
# Which nodes of the finest level hold together least?

# %%
finest = tree.level_names[-1]
values = evaluation.silhouettes(embeddings, labels, tree)[f"silhouette/{finest}"]
of_class = {
    name: np.nanmean(values[labels[:, -1] == c])
    for c, name in enumerate(tree.class_names)
    if np.isfinite(values[labels[:, -1] == c]).any()
}
for name in sorted(of_class, key=of_class.get)[:5]:
    print(f"{name:12} {of_class[name]:.3f}")

# %%
plotting.embedding_map(embeddings, labels, tree)

# %% [markdown]
# ## Where to go next
#
# - Set `WORKDIR` to a run of yours; `python -m experiments.evaluate --workdir=W` writes
#   all measures with intervals and a report.
# - `python -m experiments.embed --workdir=W --data_path=new.npz --out=embeddings.npz`
#   embeds and names new data; `experiments.export` gives a function for servers.
# - `evaluation.evaluate_classes` has what the tables of class hierarchies use: Mantel
#   test, inferred trees, hierarchical precision and cost.
# - [`own_loss`](own_loss.ipynb) and [`own_tree_and_data`](own_tree_and_data.ipynb)
#   train what you inspect here.
