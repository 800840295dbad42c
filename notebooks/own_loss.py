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
# # Write your own loss
#
# A loss is a pure function of unit embeddings `[B, D]` and labels `[B, L]`, coarsest
# level first, that returns a scalar. `objectives.from_loss` makes it trainable by the
# same loop as every loss of the library. Here one is written in ten lines, trained on
# 1,530 recorded notes (16 families, 128 instruments), and compared with three others at
# the same budget. All of it takes under a minute on a CPU.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from matplotlib.figure import Figure

from hierjax import (
    collectives,
    data,
    evaluation,
    losses,
    masks,
    metrics,
    models,
    objectives,
    reductions,
    training,
)

# %% tags=["parameters"]
NUM_STEPS = 300  # of every training
LEARNING_RATES = (0.001, 0.01, 0.1)  # validation chooses among them, loss by loss
SEEDS = (0, 1, 2)

# %%
dataset = data.transforms.standardize(data.gm_notes.load(protocol="seen"))
hierarchy = dataset.hierarchy
print(hierarchy)
print("first labels:", dataset.labels[:3].tolist())

# %% [markdown]
# ## Ten lines
#
# Two notes should have a cosine equal to the share of levels that they have in common:
# 1 for the same instrument, 1/2 for the same family, 0 otherwise. Pairs of each kind
# count alike, however rare they are; otherwise the many unrelated pairs would decide
# alone. `masks.shared_levels` reads the tree off the labels. All notes are labelled at
# both levels; the last version below can do with unknown ones.


# %%
def tree_cosine_loss(embeddings, labels):
    """Squared error of the cosines against the share of levels in common."""
    num_levels = labels.shape[1]
    shared = masks.shared_levels(labels, labels)
    errors = (embeddings @ embeddings.T - shared / num_levels) ** 2
    pairs = ~jnp.eye(len(labels), dtype=bool)
    kinds = [pairs & (shared == k) for k in range(num_levels + 1)]
    means = [reductions.masked_mean(errors, kind) for kind in kinds]
    return jnp.mean(jnp.stack(means))


# %% [markdown]
# ## Check the gradient before training
#
# `check_grads` compares the gradient with finite differences on notes of two families.
# A batch in which no two notes are related must give a finite gradient too:
# `masked_mean` over no pairs is 0, where a plain mean would be NaN.

# %%
keys = jax.random.split(jax.random.key(0), 2)
train_rows = dataset.rows("train")
of_two_families = train_rows[dataset.labels[train_rows, 0] < 2]
rows = np.asarray(jax.random.choice(keys[0], of_two_families, (16,), replace=False))
labels = jnp.asarray(dataset.labels[rows])
embeddings = jax.random.normal(keys[1], (16, 8))
embeddings /= jnp.linalg.norm(embeddings, axis=1, keepdims=True)


@jax.jit
def of_embeddings(embeddings):
    """The loss with these labels."""
    return tree_cosine_loss(embeddings, labels)


check_grads(of_embeddings, (embeddings,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
unrelated = jnp.stack([jnp.arange(16), jnp.arange(16)], axis=1)
gradient = jax.jit(jax.grad(tree_cosine_loss))(embeddings, unrelated)
assert jnp.isfinite(gradient).all()
print("loss of random embeddings:", float(of_embeddings(embeddings)))

# %% [markdown]
# ## Four losses at the same budget
#
# Same linear map, same number of steps and of notes a step, same learning rates to
# choose from, each chosen on validation with the first seed. SupCon sees the instrument
# only and ProxyDR learns a vector an instrument; neither is told of the families.


# %%
def supcon(embeddings, labels, *, where, axis_name):
    """SupCon on the finest level, one view an example."""
    views, instruments = embeddings[:, None], labels[:, -1]
    return losses.supcon_loss(views, instruments, where=where, axis_name=axis_name)


compared = {
    "yours": objectives.from_loss(tree_cosine_loss),
    "rank-based": objectives.from_loss(losses.rank_based_loss, target="block_edge"),
    "SupCon": objectives.from_loss(supcon),
    "ProxyDR": objectives.Classification().build(hierarchy),
}


def train(objective, learning_rate, seed):
    """One training; the best of its evaluations on validation is kept."""
    config = training.Config(
        seed=seed,
        num_steps=NUM_STEPS,
        batch_size=48,
        sampler="hierarchical",
        optimizer="adam",
        learning_rate=learning_rate,
        eval_every=50,
        selection="nn/average",
    )
    return training.fit(models.Linear(embed_dim=64), objective, dataset, config)


def flat_input(rows):
    """The raw input as an embedding, `[N, features]`."""
    return dataset.float_features(rows).reshape(len(rows), -1)


# %% [markdown]
# The raw input is measured like the rest. A row that does not beat it has learned
# nothing useful for that measure; a learning rate at the edge of the grid says that the
# grid is too small.

# %%
measured = {"raw input": [evaluation.evaluate(flat_input, dataset)]}
for name, objective in compared.items():
    first = {rate: train(objective, rate, SEEDS[0]) for rate in LEARNING_RATES}
    rate = max(first, key=lambda rate: first[rate].best_value)
    results = [first[rate], *(train(objective, rate, seed) for seed in SEEDS[1:])]
    measured[name] = [evaluation.evaluate(r.embed, dataset) for r in results]
    print(f"{name}: learning rate {rate}")

# %% [markdown]
# Intervals resample seeds and instruments together: the notes of one instrument are not
# independent of each other.

# %%
shown = ["knn/family", "knn/instrument", "silhouette/family", "silhouette/instrument"]
units = measured["raw input"][0].units


def of_queries(name, measure):
    """Value of every query in every training, `[S, Q]`."""
    return np.stack([one.per_query[measure] for one in measured[name]])


def interval(name, measure, baseline=None):
    """Mean and 95 % interval, of the gain on the same queries if given a baseline."""
    values = of_queries(name, measure)
    if baseline is not None:
        values = values - of_queries(baseline, measure)
    return metrics.two_way_interval(values, units=units)


for title, baseline in (("value", None), ("gain over the raw input", "raw input")):
    print(f"\n{title:12}" if baseline is None else f"\n{title}")
    print(" " * 12 + "".join(f"{measure:>27}" for measure in shown))
    for name in measured:
        if name != baseline:
            found = [interval(name, measure, baseline) for measure in shown]
            cells = [f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" for i in found]
            print(f"{name:12}" + "".join(f"{cell:>27}" for cell in cells))

# %%
figure = Figure((10, 2.6), layout="constrained")
for axes, measure in zip(figure.subplots(1, 4, sharey=True), shown, strict=True):
    for place, name in enumerate(measured):
        mean, low, high = interval(name, measure)
        color = "0.5" if name == "raw input" else f"C{place - 1}"
        axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot(mean, place, "o", color=color)
    axes.axvline(interval("raw input", measure).mean, color="0.8", zorder=0)
    axes.set_title(measure, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
axes.set_yticks(range(len(measured)), measured)
axes.invert_yaxis()
figure

# %% [markdown]
# ## What this can show
#
# Differences between two losses need the paired interval, here of yours against the
# rank-based loss. It tells how the two differ with *this* data set, a linear map, a few
# hundred steps and three learning rates. It does not tell which loss is better: a
# network, more steps or another grid may turn the order, silhouettes reward losses that
# ask for them, and of many comparisons some intervals miss 0 by chance. The tables in
# `results/` use a larger grid and five seeds or more, and still speak of their data
# only.

# %%
for measure in shown:
    mean, low, high = interval("yours", measure, "rank-based")
    decided = "undecided" if low <= 0 <= high else "differs"
    print(f"{measure:24}{mean:+.3f} [{low:+.3f}, {high:+.3f}]  {decided}")

# %% [markdown]
# ## On many devices
#
# The function above is right on many devices as it stands: a loss that does not name
# `axis_name` is handed the gathered batch of all of them. The price is that every
# device computes all pairs. A loss that names `axis_name` gets its own rows only,
# compares them with the gathered ones and reduces over the axis inside; one that names
# `where` gets `False` for rows that only pad the batch. An unknown label is `-1`: of a
# pair that agrees as far as both are known nobody can say what its cosine should be, so
# it is left out.


# %%
def sharded_loss(embeddings, labels, *, where, axis_name):
    """The same loss: local rows against those of all devices."""
    everyone, their_labels, there = (
        collectives.all_gather_rows(x, axis_name) for x in (embeddings, labels, where)
    )
    start = collectives.axis_index(axis_name) * len(labels)
    own = start + jnp.arange(len(labels))
    others = own[:, None] != jnp.arange(len(everyone))[None, :]
    num_levels = labels.shape[1]
    shared = masks.shared_levels(labels, their_labels)
    known = masks.known_levels(labels)[:, None], masks.known_levels(their_labels)[None]
    decided = (shared < jnp.minimum(*known)) | (jnp.minimum(*known) == num_levels)
    pairs = others & decided & where[:, None] & there[None, :]
    errors = (embeddings @ everyone.T - shared / num_levels) ** 2
    kinds = [pairs & (shared == k) for k in range(num_levels + 1)]
    means = [reductions.masked_mean(errors, k, axis_name=axis_name) for k in kinds]
    return jnp.mean(jnp.stack(means))


# %% [markdown]
# `vmap` with an axis name runs the collectives without any devices, so that a test can
# ask whether the value and the gradient of the parameters are those of the whole batch.
# As in training, the gradient is averaged over the axis. Here one row has no known
# instrument and the last one is padding.

# %%
inputs = jnp.asarray(flat_input(rows))
weights = jax.random.normal(jax.random.key(2), (inputs.shape[1], 8))
where = jnp.arange(16) < 15
partly = labels.at[3, -1].set(-1)


def of_weights(weights, inputs, labels, where, axis_name=None):
    """The loss of a linear map."""
    embeddings = inputs @ weights
    embeddings /= jnp.linalg.norm(embeddings, axis=1, keepdims=True)
    return sharded_loss(embeddings, labels, where=where, axis_name=axis_name)


def on_one_of_four(inputs, labels, where):
    """Loss and averaged gradient on one device's share."""
    found = jax.value_and_grad(of_weights)(weights, inputs, labels, where, "devices")
    return collectives.pmean(found, "devices")


shares = [x.reshape(4, 4, *x.shape[1:]) for x in (inputs, partly, where)]
on_four = jax.jit(jax.vmap(on_one_of_four, axis_name="devices"))
values, gradients = on_four(*shares)
on_one = jax.jit(jax.value_and_grad(of_weights))
value, gradient = on_one(weights, inputs, partly, where)
np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
np.testing.assert_allclose(gradients[0], gradient, rtol=1e-3, atol=1e-5)
print(f"one device {value:.6f}, four {values[0]:.6f}")

# %% [markdown]
# ## Where to go next
#
# - Losses add up: `objectives.weighted_sum([(1.0, yours), (0.1, other)])`.
# - A loss with something to learn (proxies, attention) is an `Objective` with an
#   `init`; `hierjax/objectives/classification.py` is the example.
# - [`own_tree_and_data`](own_tree_and_data.ipynb) trains on your own arrays,
#   [`inspect_model`](inspect_model.ipynb) looks at what was learned.
# - `tests/losses/test_sharding.py` has the checks that every loss of the library
#   passes.
