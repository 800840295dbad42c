"""The order of tasks, and processes that die, wait and end."""

import os
import signal
import time

import pytest

from experiments.tables import workers
from experiments.tables.scheduling import Queue, Step
from tests.experiments import toy_tasks


def steps(*names, needs=True):
    """Steps called ``cell/task``; those of a cell need its first."""
    firsts = {}
    return [
        Step(
            name,
            cell := name.split("/")[0],
            None
            if firsts.setdefault(cell, name) == name or not needs
            else firsts[cell],
            None,
        )
        for name in names
    ]


def key(step):
    return None if step is None else step.key


def test_a_process_stays_then_starts_then_helps():
    queue = Queue(steps("a/t", "a/0", "a/1", "b/t", "b/0"))
    first = queue.take(None, elsewhere=True)
    second = queue.take(None, elsewhere=True)
    assert (key(first), key(second)) == ("a/t", "b/t")
    # Nothing is ready before its tuning.
    assert queue.take(None, elsewhere=True) is None
    queue.done(second)
    assert key(queue.take("b", elsewhere=True)) == "b/0"
    queue.done(first)
    assert key(queue.take("a", elsewhere=True)) == "a/0"
    # Its own cell has nothing left: it helps.
    assert key(queue.take("b", elsewhere=True)) == "a/1"
    assert (queue.over, queue.total) == (2, 5)


def test_what_fails_stops_its_cell_and_what_needs_it():
    other_fold = Step("a/t1", "a", None, None)
    sharing = Step("b/0", "b", "a/t", None), Step("d/0", "d", "a/t1", None)
    queue = Queue([*steps("a/t", "a/0", "c/t", "c/0"), other_fold, *sharing])
    queue.failed(queue.take(None, elsewhere=True))
    rest = []
    while (step := queue.take(None, elsewhere=True)) is not None:
        rest.append(step.key)
        queue.done(step)
    assert rest == ["c/t", "c/0"]
    assert queue.over == queue.total == 7


def test_cells_of_another_run_come_last_and_are_looked_at_again():
    queue = Queue(steps("a/t", "a/0", "b/t"))
    queue.met_elsewhere(queue.take(None, elsewhere=True))
    assert not queue.only_elsewhere
    last = queue.take("a", elsewhere=True)
    assert key(last) == "b/t"
    queue.done(last)
    assert queue.only_elsewhere and queue.over == 1
    assert queue.take("b", elsewhere=False) is None
    again = queue.take("b", elsewhere=True)
    assert key(again) == "a/t"
    # It is done meanwhile: what needs it is free.
    queue.done(again)
    assert key(queue.take("b", elsewhere=False)) == "a/0"


def test_equal_tasks_are_one():
    assert Queue(steps("a/t", "a/t", needs=False)).total == 1


def work_off(works, num_workers=2, report=None):
    """Lines, failures and warnings of tasks, each in a cell of its own."""
    said, failed, waited = [], {}, []
    tasks = [Step(str(i), i, None, work) for i, work in enumerate(works)]
    workers.work_off(
        Queue(tasks),
        toy_tasks.do,
        num_workers=num_workers,
        report=report or said.append,
        failed=lambda step, why, details: failed.update({step.key: (why, details)}),
        waits=lambda: waited.append(True),
    )
    return said, failed, waited


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(workers, "_SECONDS_TO_LOOK_AGAIN", 0.1)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_dies_takes_one_task_with_it(tmp_path, monkeypatch, num_workers):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(workers, "num_cores", lambda: 6)
    said, failed, waited = work_off(
        [
            ("note", "first"),
            ("raise",),
            ("signal", signal.SIGKILL),
            ("exit",),
            ("busy", tmp_path / "held"),
            ("note", "last"),
        ],
        num_workers,
    )
    assert {line.split()[0] for line in said} == {"first", "free", "last"}
    share = {1: "None", 2: "3"}[num_workers]
    assert all(x.split()[2] == share for x in said if x != "free")
    assert "NPROC" not in os.environ
    assert failed.keys() == {"1", "2", "3"}
    assert failed["1"][0] == "ValueError: two lines"
    assert failed["1"][1].startswith("Traceback") and "toy_tasks" in failed["1"][1]
    killed = "ended by SIGKILL, as it does where memory runs out; its last line: what "
    assert killed in failed["2"][0]
    assert failed["3"][0].endswith("code 3; its last line: Fatal: no such device")
    # Two may find it free before all else is done.
    assert waited == [True] or (num_workers == 2 and not waited)


def test_all_processes_end_with_what_interrupts_their_parent():
    pids = []

    def interrupt(line):
        pids.append(int(line.split()[1]))
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_off([("sleep",), ("sleep",)], report=interrupt)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_processes_hear_no_interrupt_of_their_own():
    def interrupt(line):
        pid = int(line.split()[1])
        os.kill(pid, signal.SIGINT)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)

    _, failed, _ = work_off([("sleep",)], report=interrupt)
    assert "SIGKILL" in failed["0"][0]
