"""Trainings that are asked to stop save where they are, and go on to the same bits."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hierjax.errors import UserError
from hierjax.locking import InUseError, locked
from hierjax.training import read_records, stopping
from hierjax.training.stopping import Stopped
from hierjax.training.writer import Progress
from tests.training.toy import assert_identical, train


@pytest.fixture
def ask_at(monkeypatch):
    """A callable: a request to stop comes in when that step is done."""
    update = Progress.update

    def choose(chosen):
        heard = []

        def asking(self, step, status):
            if step == chosen:
                heard.append(stopping.ask())
            update(self, step, status)

        monkeypatch.setattr(Progress, "update", asking)
        return heard

    return choose


@pytest.mark.parametrize("step", [15, 20, 40])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path, ask_at, step):
    whole = train(tmp_path / "whole")
    heard = ask_at(step)
    with pytest.raises(Stopped, match=f"stopped at step {step} of 40") as stopped:
        train(tmp_path / "run")
    assert heard == [True]
    assert (stopped.value.step, stopped.value.num_steps) == (step, 40)
    assert not stopping.asked() and not stopping.ask()
    assert not (tmp_path / "run" / "lock.json").exists()
    ask_at(None)
    again = train(tmp_path / "run")
    assert_identical(again.last_state, whole.last_state)
    assert_identical(again.state, whole.state)
    paths = [tmp_path / name / "metrics.jsonl" for name in ("whole", "run")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert read_records(paths[1])[-1]["step"] == 40


def test_nothing_is_saved_of_a_run_without_a_folder(ask_at):
    heard = ask_at(15)
    assert int(train().last_state.step) == 40
    # Who receives signals ends the process then.
    assert heard == [False]


def test_a_request_while_the_last_checkpoint_is_written_is_heard(tmp_path, monkeypatch):
    from hierjax.training.checkpoints import Checkpoints

    close = Checkpoints.close

    def asking(self):
        assert stopping.ask()
        close(self)

    monkeypatch.setattr(Checkpoints, "close", asking)
    with pytest.raises(Stopped, match="stopped at step 40 of 40"):
        train(tmp_path)


def test_earlier_requests_are_forgotten():
    with stopping.listening():
        assert stopping.ask() and stopping.asked()
    assert stopping.asked()
    with stopping.listening():
        assert not stopping.asked()


def test_two_runs_do_not_share_a_folder(tmp_path):
    with locked(tmp_path, "training"), ThreadPoolExecutor(1) as pool:
        with pytest.raises(InUseError, match=f"{tmp_path} is in use by process"):
            pool.submit(train, tmp_path).result()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_ends_the_run(tmp_path, monkeypatch):
    update = Progress.update

    def removing(self, step, status):
        if step == 20:
            (tmp_path / "run").rename(tmp_path / "moved")
        update(self, step, status)

    monkeypatch.setattr(Progress, "update", removing)
    with pytest.raises(UserError, match="run was removed while it was in use"):
        train(tmp_path / "run")
