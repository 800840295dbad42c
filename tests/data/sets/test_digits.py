import numpy as np

from hierjax.data import digits


def test_digits():
    dataset = digits.load()
    assert dataset.features.shape == (1797, 8, 8)
    assert dataset.features.max() == 1 and dataset.features.min() == 0
    assert dataset.hierarchy.class_names == tuple("0123456789")
    tree = dataset.hierarchy
    stroke = [tree.node_names(0)[node] for node in tree.ancestors[:, 0]]
    assert [name[0] for name in stroke] == list("csoosocscc")
    sizes = [len(dataset.rows(split)) for split in ("train", "validation", "test")]
    assert sum(sizes) == 1797
    np.testing.assert_allclose(np.array(sizes) / 1797, [0.6, 0.2, 0.2], atol=0.005)
    for rows in dataset.splits.values():
        counts = np.bincount(dataset.labels[rows, -1], minlength=10)
        assert counts.min() > 0.9 * counts.max()
