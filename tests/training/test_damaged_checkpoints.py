"""Damaged files of a run: the checkpoint before is taken, and what is lost is said."""

import json
import shutil
import time
import warnings

import numpy as np
import pytest

from hierjax.errors import DataNotice, UserError
from hierjax.training import read_records, restore_best
from hierjax.training.checkpoints import check_digests
from hierjax.training.records import Written
from hierjax.training.writer import MetricWriter
from tests.training.toy import (
    CONFIG,
    DATA,
    MODEL,
    RANKS,
    assert_identical,
    train,
)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda content: b"",
    "missing": lambda content: None,
}


def damage(path, how):
    content = DAMAGES[how](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 40 steps with checkpoints after 30 and 40, and its workdir."""
    workdir = tmp_path_factory.mktemp("whole")
    return train(workdir), workdir


@pytest.fixture
def copy(tmp_path, whole):
    """A callable that gives a fresh copy of the workdir."""

    def make():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return shutil.copytree(whole[1], tmp_path / "run")

    return make


def record_path(workdir):
    return workdir / "checkpoints" / "40" / "progress" / "metadata"


def files_of(workdir, step):
    folder = workdir / "checkpoints" / str(step)
    return sorted(p.relative_to(workdir) for p in folder.rglob("*") if p.is_file())


def restored(workdir):
    """The best state, and the notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = restore_best(MODEL, RANKS, DATA, CONFIG, workdir)
    assert all(warning.category is DataNotice for warning in caught)
    return state, [str(warning.message) for warning in caught]


def test_every_damage_of_every_file_is_noticed(copy):
    """Only what nothing reads may change without a word."""
    workdir = copy()
    folder = workdir / "checkpoints" / "40"
    check_digests(folder)
    names = files_of(workdir, 40)
    assert len(names) > 15
    unread = {"_CHECKPOINT_METADATA", "commit_success.txt"}
    for name in names:
        content = (workdir / name).read_bytes()
        for how in DAMAGES:
            damage(workdir / name, how)
            if name.parent == folder.relative_to(workdir) and name.name in unread:
                check_digests(folder)
            elif (name.name, how) != ("digests.json", "missing"):
                with pytest.raises(UserError, match=name.name):
                    check_digests(folder)
            (workdir / name).write_bytes(content)


def test_looking_at_a_run_mends_nothing_in_it(copy, whole, caplog):
    workdir = copy()
    damage(workdir / "checkpoints/40/best/_METADATA", "empty")
    state, said = restored(workdir)
    assert state.step == 30 and len(said) == 1
    assert (workdir / "checkpoints" / "40").exists()
    for name in ("_CHECKPOINT_METADATA", "commit_success.txt", "digests.json"):
        workdir = copy()
        (workdir / "checkpoints" / "40" / name).unlink()
        state, said = restored(workdir)
        assert not said
        assert_identical(state, whole[0].state)
    assert not caplog.records


@pytest.mark.parametrize(
    ("file", "how", "why"),
    [
        ("last/_METADATA", "empty", "has 0 bytes and not"),
        ("progress/metadata", "flipped", "does not fit its digest"),
    ],
)
def test_training_goes_on_from_the_one_before(copy, whole, file, how, why):
    workdir = copy()
    damage(workdir / "checkpoints" / "40" / file, how)
    with pytest.warns(DataNotice, match=f"{file} {why}.*step 30 is whole and taken"):
        again = train(workdir)
    assert_identical(again.last_state, whole[0].last_state)
    assert_identical(again.state, whole[0].state)
    assert again.records == whole[0].records
    files = [place / "metrics.jsonl" for place in (workdir, whole[1])]
    assert files[0].read_bytes() == files[1].read_bytes()
    # What was damaged is whole again, and the one before is still there.
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert sorted(names) == ["30", "40"]
    assert not restored(workdir)[1]


def test_none_is_left(copy):
    workdir = copy()
    damage(workdir / "checkpoints/40/last/_METADATA", "empty")
    damage(workdir / "checkpoints/30/progress/metadata", "cut")
    match = "no checkpoint is whole: .*40/last/_METADATA has 0 .*30/progress/metadata"
    for use in (restored, train):
        with pytest.raises(UserError, match=match):
            use(workdir)
    assert (workdir / "checkpoints" / "40").exists()


def test_checkpoints_without_digests(copy, whole, caplog, capfd):
    """Of damaged ones of earlier versions a sentence is said."""
    name = "checkpoints/40/last/_METADATA"
    for how in ("cut", "empty"):
        workdir = copy()
        (workdir / "checkpoints/40/digests.json").unlink()
        damage(workdir / name, how)
        assert "checkpoints/40 is damaged: " in restored(workdir)[1][0]
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"format": "2"}',
        b'{"config": 5, "selection": {}}',
        b'{"config": {"num_steps": -1}, "selection": {}}',
        b'{"config": {}, "selection": {"best_value": "high"}}',
        b'{"config": {}, "selection": {}, "begun": {"loss": 1}}',
        b'{"config": {}, "selection": {}, "written": [1]}',
    ],
)
def test_a_record_of_anything(copy, record):
    workdir = copy()
    for step in ("30", "40"):
        folder = workdir / "checkpoints" / step
        (folder / "digests.json").unlink()
        (folder / "progress" / "metadata").write_bytes(record)
    begin = time.perf_counter()
    with pytest.raises(UserError):
        restored(workdir)
    assert time.perf_counter() - begin < 2


def rewritten(workdir, written):
    """The records that a run finds as it goes on, and the notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writer = MetricWriter(workdir, 45, written)
        writer.close()
    return writer, [str(warning.message) for warning in caught]


def test_what_is_lost_of_the_records_is_said(copy, whole):
    path = copy() / "metrics.jsonl"
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    assert len(lines) == 4
    other = lines[1].replace(b'"loss": 0.', b'"loss": 1.')
    assert other != lines[1]
    record = json.loads(record_path(path.parent).read_text())
    written = Written(**record["written"])
    # Behind the last checkpoint nothing is lost: it is done again.
    for behind in (b"", b'{"step": 45, "lo', b'{"step": 50}\n'):
        path.write_bytes(content + behind)
        writer, said = rewritten(path.parent, written)
        assert not said and writer.records == whole[0].records
        assert writer.written == written and path.read_bytes() == content
    for damaged, words in (
        (b"", "4 of the 4 records up to step 40 are lost"),
        (None, "4 of the 4 records up to step 40 are lost"),
        (lines[0] + lines[1][:9] + b"\n" + b"".join(lines[2:]), "1 of the 4"),
        (b"".join(lines[1:]), "1 of the 4"),
        (content[:-3], "1 of the 4"),
        (lines[0] + other + b"".join(lines[2:]), "are not those that were written"),
        (b"\x00" * 50, "4 of the 4"),
        (b"[" * 10**6, "4 of the 4"),
    ):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        writer, said = rewritten(path.parent, written)
        assert len(said) == 1 and "metrics.jsonl is damaged: " in said[0]
        assert words in said[0]
        # What is left is written again, as lines that can be read.
        assert read_records(path) == writer.records
    # An earlier version did not say what there must be.
    assert not rewritten(path.parent, None)[1]


def test_training_goes_on_without_its_records(copy, whole):
    workdir = copy()
    (workdir / "metrics.jsonl").unlink()
    with pytest.warns(DataNotice, match="4 of the 4 records"):
        assert_identical(train(workdir).state, whole[0].state)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 0}',
        '{"step": 10}',
        '{"step": true}',
        '{"step": 1e3}',
        '{"step": 20, "loss": "low"}',
        '{"step": 20, "loss": NaN}',
        '{"step": 20, "loss": 1e999}',
        '{"step": 20, "loss": {}}',
        '{"loss": 1.0}',
        "[20]",
        "",
        "\ufeff{}",
        f'{{"step": 20, "loss": 1{"0" * 400}}}',
        f'{{"step": 20, "loss": 1{"0" * 5000}}}',
    ],
)
def test_lines_that_are_no_records(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 10}}\n{line}\n{{"step": 30, "loss": null}}\n')
    with pytest.warns(DataNotice, match="no records and are left out: 2$"):
        assert read_records(path) == [{"step": 10}, {"step": 30, "loss": None}]


def test_digests_cost_little(whole):
    """Their file names every other one, by its size and digest."""
    folder = whole[1] / "checkpoints" / "40"
    held = json.loads((folder / "digests.json").read_text())
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    unread = {"_CHECKPOINT_METADATA", "commit_success.txt", "digests.json"}
    assert found - unread == held["files"].keys()
    assert np.all([len(entry["sha256"]) == 64 for entry in held["files"].values()])
