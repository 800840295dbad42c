import json

from experiments import replay, train


def test_a_run_that_diverges_says_how_to_find_out_why(tmp_path, run, fails, capsys):
    workdir = tmp_path / "run"
    arguments = [
        f"--workdir={workdir}",
        "--experiment=rank_based/gm_notes/triplet",
        "--learning_rate=1e38",
        "--num_steps=4",
        "--num_devices=1",
        "--report=none",
    ]
    said = f"`python -m experiments.replay --workdir={workdir}` names the first"
    fails(train, arguments, "is nan at step ", "a smaller learning rate", said)
    record = json.loads((workdir / "diverged.json").read_text())
    assert 2 <= record["step"] <= 4 and len(record["rows"]) == 48
    capsys.readouterr()
    assert run(replay, f"--workdir={workdir}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "again from the beginning" in lines[2] and "are equal to" in lines[2]
    assert lines[-1].startswith("first not finite, in step ")
    fails(replay, [f"--workdir={tmp_path}"], "holds no run")
    fails(replay, [], "--workdir is missing")
