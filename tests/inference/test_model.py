"""Embedding and naming new rows."""

import dataclasses

import numpy as np
import pytest

from hierjax import decoding, training
from hierjax.errors import UserError


def test_new_rows_are_embedded_as_the_run_does(case, unmapped):
    model, data = case
    features, sizes = unmapped(data)
    embed = training.embedder(model.encoder, model.variables, data.inputs)
    rows = np.arange(len(features))
    found = model.embed(features, sizes)
    np.testing.assert_allclose(found, embed(rows), atol=2e-6)
    # Alone as among others.
    alone = model.embed(features[7:8], None if sizes is None else sizes[7:8])
    np.testing.assert_allclose(alone, found[7:8], atol=2e-6)


def test_any_number_of_rows(model):
    rows = np.random.default_rng(0).standard_normal((600, 5))
    whole = model.embed(rows)
    assert whole.shape == (600, 3)
    np.testing.assert_allclose(model.embed(rows[250:261]), whole[250:261], atol=1e-6)
    assert model.embed(rows[:0]).shape == (0, 3)
    none = model.predict(rows[:0])
    assert none.nodes.shape == none.labels.shape == (0, 3)


def test_what_cannot_be_embedded(model, case):
    with pytest.raises(UserError, match=r"\[N, 5\] as in training, got shape \(2, 4\)"):
        model.embed(np.zeros((2, 4)))
    with pytest.raises(UserError, match="row 1 has a feature that is not finite"):
        model.embed(np.array([[0.0] * 5, [np.nan] * 5]))
    with pytest.raises(UserError, match="must be numbers"):
        model.embed(np.full((2, 5), "x"))
    of_case, data = case
    with pytest.raises(UserError, match="sizes"):
        sizes = None if of_case.has_sizes else np.ones((48, 2))
        of_case.embed(np.zeros((1, *of_case.input_shape)), sizes)


def test_nodes_and_confidences_follow_from_the_prototypes(model):
    embeddings = model.embed(np.random.default_rng(3).standard_normal((9, 5)))
    found = model.classify(embeddings)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert len(model.scales) == 3
    for row in range(9):
        above = 1.0
        for level in range(3):
            weights = np.exp(model.scales[level] * (units[row] @ model.prototypes.T))
            weights /= weights.sum()
            chances = np.zeros(model.hierarchy.nodes_per_level[level])
            for weight, path in zip(weights, model.prototype_labels, strict=True):
                chances[path[level]] += weight
            assert found.nodes[row, level] == chances.argmax()
            above = min(above, chances.max())
            np.testing.assert_allclose(found.confidences[row, level], above, rtol=1e-5)
    assert (np.diff(found.confidences, axis=1) <= 1e-6).all()


def test_answers_back_off_to_the_level_they_are_sure_of(model):
    embeddings = model.embed(np.random.default_rng(4).standard_normal((50, 5)))
    for threshold in (0.0, 0.4, 0.7, 1.0):
        found = model.classify(embeddings, threshold=threshold)
        for labels, nodes, sure in zip(
            found.labels, found.nodes, found.confidences, strict=True
        ):
            reached = [level for level in range(3) if sure[level] >= threshold]
            depth = max(reached) + 1 if reached else 0
            assert (labels[:depth] >= 0).all() and (labels[depth:] == -1).all()
            if depth:
                assert labels[depth - 1] == nodes[depth - 1]
        # Every answer is a path of the tree.
        paths = model.hierarchy.decode(found.labels)
        known = {path[:end] for path in model.hierarchy.paths for end in range(4)}
        assert set(paths) <= known
    assert all(
        path
        for path in model.hierarchy.decode(
            model.classify(embeddings, threshold=0.0).labels
        )
    )
    with pytest.raises(UserError, match="threshold must be in 0..1, got 1.5"):
        model.classify(embeddings, threshold=1.5)


def test_no_node_is_named_where_training_knew_none(model):
    coarse = np.where(np.arange(3) < 1, model.prototype_labels, -1)
    blind = dataclasses.replace(model, prototype_labels=coarse)
    found = blind.classify(model.prototypes, threshold=0.0)
    np.testing.assert_array_equal(found.labels, coarse)
    assert (found.confidences[:, 1:] == 0).all()


def test_class_means(model):
    means = model.class_means
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, rtol=1e-6)
    fewer = dataclasses.replace(
        model,
        prototypes=model.prototypes[1:],
        prototype_labels=model.prototype_labels[1:],
    )
    gone = model.prototype_labels[0, -1]
    assert np.isnan(fewer.class_means[gone]).all()
    np.testing.assert_array_equal(
        np.delete(fewer.class_means, gone, 0), np.delete(means, gone, 0)
    )


def test_the_scale_comes_from_validation_if_there_is_one(without_validation, model):
    assert model.scale_split == "validation"
    assert without_validation.scale_split == "train"


def test_answers_by_probabilities_of_the_classes(model):
    data = np.random.default_rng(4).standard_normal((20, 5))
    embeddings = model.embed(data)
    probabilities = model.probabilities(embeddings)
    assert probabilities.shape == (len(data), model.hierarchy.num_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    tree = model.hierarchy
    expected = {
        "min_cost": tree.labels_of((probabilities @ tree.path_length()).argmin(axis=1)),
        "f1": decoding.f_beta_labels(probabilities, tree),
        "climb": decoding.climb_labels(probabilities, tree, threshold=0.6),
    }
    for name, labels in expected.items():
        found = model.classify(embeddings, threshold=0.6, decode=name)
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(
            model.predict(data, threshold=0.6, decode=name).labels, labels
        )
    with pytest.raises(UserError, match="decode must be one of back_off, climb"):
        model.classify(embeddings, decode="best")
