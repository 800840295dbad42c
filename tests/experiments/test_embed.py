"""Embedding, naming and exporting with a trained run, as a user does."""

import csv

import numpy as np
import pytest

import hierjax
from experiments import embed, export, train
from hierjax import inference

SMALL = (
    "--num_steps=40",
    "--set=eval_every=20",
    "--num_devices=1",
    "--set=model=linear",
    "--set=embed_dim=3",
    "--set=optimizer=sgd",
    "--learning_rate=0.3",
)


@pytest.fixture(scope="module")
def arrays():
    """Six classes in a ragged tree, 20 rows each."""
    rng = np.random.default_rng(0)
    paths = np.array(
        [
            ("animal", "bird", "owl"),
            ("animal", "bird", "wren"),
            ("animal", "fish", "cod"),
            ("stone", "", ""),
            ("plant", "tree", "oak"),
            ("plant", "tree", "elm"),
        ]
    )
    classes = np.arange(120) % 6
    centers = 3 * rng.standard_normal((6, 7))
    features = centers[classes] + 0.5 * rng.standard_normal((120, 7))
    return {"features": features.astype(np.float32), "labels": paths[classes]}


@pytest.fixture(scope="module")
def data_path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def workdir(run, data_path, tmp_path_factory):
    """One run for all tests of this file."""
    folder = data_path.parent / "run"
    if not folder.exists():
        preset = "--experiment=rank_based/npz/rbl_block_edge"
        paths = (f"--workdir={folder}", f"--data_path={data_path}")
        assert run(train, preset, *paths, *SMALL) == 0
    return folder


def test_new_rows_get_embeddings_and_names(run, capsys, workdir, arrays, tmp_path):
    new, out = tmp_path / "new.npz", tmp_path / "deep" / "out.npz"
    names = [f"photo {row}" for row in range(9)]
    np.savez(new, features=arrays["features"][:9], names=names)
    paths = (f"--workdir={workdir}", f"--data_path={new}", f"--out={out}")
    assert run(embed, *paths, "--threshold=0") == 0
    assert "9 rows of 3 dimensions" in capsys.readouterr().out
    found = dict(np.load(out))
    model = hierjax.load(workdir)
    np.testing.assert_array_equal(
        found["embeddings"], model.embed(arrays["features"][:9])
    )
    assert found["names"].tolist() == names
    truth = ["/".join(filter(None, row)) for row in arrays["labels"][:9].tolist()]
    assert found["paths"].tolist() == truth
    with out.with_suffix(".csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == truth
    assert all(0 < float(row["confidence"]) <= 1 for row in table)

    assert run(embed, *paths, "--threshold=1") == 0
    assert set(np.load(out)["labels"].ravel().tolist()) == {-1}


def test_the_runs_own_data_by_default(run, workdir, arrays):
    assert run(embed, f"--workdir={workdir}") == 0
    found = dict(np.load(workdir / "embeddings.npz"))
    model = hierjax.load(workdir)
    # The run standardised them; here they come as they were read.
    np.testing.assert_allclose(
        found["embeddings"], model.embed(arrays["features"]), atol=2e-6
    )
    assert set(found["split"]) == {"train", "validation", "test"}
    assert found["true_labels"].shape == (120, 3)
    test = found["split"] == "test"
    right = found["nodes"][test, -1] == found["true_labels"][test, -1]
    assert right.mean() > 0.8


def test_an_exported_run(run, capsys, workdir, arrays, tmp_path):
    out = tmp_path / "embed.stablehlo"
    assert run(export, f"--workdir={workdir}", f"--out={out}", "--platforms=cpu") == 0
    assert "float32 [b, 7] -> float32 [b, D]" in capsys.readouterr().out
    found = inference.read_exported(out)(arrays["features"])
    expected = hierjax.load(workdir).embed(arrays["features"])
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_mistakes_are_one_sentence(fails, workdir, arrays, tmp_path):
    at = f"--workdir={workdir}"
    fails(embed, [], "--workdir is missing")
    fails(embed, [f"--workdir={tmp_path}"], "model.json", "experiments.evaluate")
    fails(embed, [at, "--out=x.csv"], "must end in .npz")
    fails(embed, [at, "--threshold=2"], "threshold", "0..1")
    fails(embed, [at, "--data_path=none.npz"], "none.npz")
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, features=arrays["features"][:, :3])
    fails(embed, [at, f"--data_path={wrong}"], "wrong.npz", "[N, 7]", "(120, 3)")
    np.savez(wrong, data=arrays["features"])
    fails(embed, [at, f"--data_path={wrong}"], "'features' is missing", "data")
    fails(export, [], "--workdir is missing")
    fails(export, [at, "--platforms=cpu,abacus"], "abacus", "cuda")
