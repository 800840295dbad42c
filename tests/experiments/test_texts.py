"""Training on a table of texts and naming new ones, as a user does."""

import csv

import numpy as np
import pytest

import hierjax
from experiments import embed, export, inspect_data, train
from hierjax import inference

WORDS = {
    ("animal", "owl"): "owl feather hoot beak".split(),
    ("animal", "cod"): "cod fin gill salt".split(),
    ("plant", "oak"): "oak acorn bark timber".split(),
    ("plant", "rose"): "rose petal thorn scent".split(),
    ("", ""): "who what where why".split(),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Thirty texts of each class and of none, and an empty one."""
    path = tmp_path_factory.mktemp("texts") / "t.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "kind", "species"])
        for names, words in WORDS.items():
            for _ in range(30):
                writer.writerow([" the ".join(rng.choice(words, 4)), *names])
        writer.writerow(["", "animal", "owl"])
    return path


def test_from_a_table_to_names_of_new_texts(run, fails, capsys, table, tmp_path):
    assert run(inspect_data, f"--data_path={table}") == 0
    shown = capsys.readouterr().out
    assert ": animal/owl\n" in shown and "remove them" in shown
    assert "empty or have no n-gram of the training texts: 1, such as row 150" in shown

    workdir = tmp_path / "run"
    paths = (f"--workdir={workdir}", f"--data_path={table}")
    assert run(train, *paths, "--num_steps=40", "--num_devices=1") == 0
    shown = capsys.readouterr().out
    assert "for these data: model = 'linear'" in shown
    assert "rows without any label it leaves" in shown

    new, out = tmp_path / "new.txt", tmp_path / "named.npz"
    new.write_text("acorn and bark\n\na fin, a gill\n")
    at = (f"--workdir={workdir}", f"--data_path={new}", f"--out={out}")
    assert run(embed, *at, "--threshold=0") == 0
    assert "n-gram of the training texts: 1, such as row 1" in capsys.readouterr().out
    found = np.load(out)
    assert found["names"].tolist() == ["acorn and bark", "(empty)", "a fin, a gill"]
    assert found["paths"][[0, 2]].tolist() == ["plant/oak", "animal/cod"]
    texts = ["acorn and bark", "", "a fin, a gill"]
    model = hierjax.load(workdir)
    np.testing.assert_array_equal(found["embeddings"], model.embed(texts))

    assert run(embed, f"--workdir={workdir}", f"--out={out}") == 0
    assert len(np.load(out)["embeddings"]) == 151

    out = tmp_path / "f.stablehlo"
    assert run(export, f"--workdir={workdir}", f"--out={out}", "--platforms=cpu") == 0
    found = inference.read_exported(out)(model.text_encoding(texts))
    np.testing.assert_allclose(found, model.embed(texts), atol=1e-5)

    at = (f"--workdir={workdir}", f"--data_path={tmp_path}")
    fails(embed, at, "the model takes texts; give a .csv or .tsv")

    before = table.read_bytes()
    at = (f"--workdir={workdir}", f"--data_path={table}")
    out = table.with_suffix(".npz")
    fails(embed, (*at, f"--out={out}"), "would replace")
    assert table.read_bytes() == before and not out.exists()
