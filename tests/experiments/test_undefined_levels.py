import json

import numpy as np

from experiments import train


def write_set(path, known):
    """100 rows in two groups of five, of which only some have a fine label."""
    rng = np.random.default_rng(0)
    classes = np.arange(100) % 10
    fine = np.array([f"leaf {c}" for c in classes], object)
    fine[[i for i in range(100) if i not in known]] = ""
    rows = rng.normal(size=(10, 6))[classes] + 0.1 * rng.normal(size=(100, 6))
    labels = np.stack([np.array(["left", "right"])[classes // 5], fine], axis=1)
    np.savez(path, features=rows.astype(np.float32), labels=labels.astype(str))


def test_levels_with_few_labels_are_named_and_leave_a_run_whole(tmp_path, run, capsys):
    path = tmp_path / "few.npz"
    write_set(path, known=(0, 57))
    arguments = [
        f"--data_path={path}",
        f"--workdir={tmp_path / 'run'}",
        "--num_steps=4",
        "--num_devices=1",
        "--report=none",
    ]
    assert run(train, *arguments) == 0
    printed = capsys.readouterr()
    notes = [
        line for line in printed.out.splitlines() if line.startswith("note: level")
    ]
    assert len(notes) == 1
    assert "2 of 100 rows have a label, none in " in notes[0]
    assert notes[0].endswith("will be undefined (-)")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    measures = results["learned"]["measures"]
    fine, coarse = (measures[f"knn/level_{i}"]["value"] for i in (1, 0))
    assert fine is None and 0 <= coarse <= 1
