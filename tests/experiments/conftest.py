"""Start a command in this process with its real flags."""

import sys

import pytest
from absl import flags

from experiments import report
from experiments.cli import command_line
from experiments.report import points
from experiments.tables import completing


@pytest.fixture
def whole_report():
    """For tests that look at the pictures of a run: asks for them."""


@pytest.fixture
def draw_no_more(monkeypatch):
    """A callable: what runs after it is spared the drawing."""

    def stop():
        monkeypatch.setattr(report, "figures", lambda findings: {})
        monkeypatch.setattr(points, "MAX_POINTS", 30)

    return stop


@pytest.fixture(autouse=True)
def _short_report(request, draw_no_more):
    """Spares the other tests the drawing, which takes longer than their training."""
    if "whole_report" not in request.fixturenames:
        draw_no_more()


@pytest.fixture(autouse=True)
def _tasks_in_this_process(monkeypatch):
    """Spares tables the processes, which would not know what a test has changed."""

    def work_off(queue, do, *, report, failed, **others):
        while (step := queue.take(None, elsewhere=True)) is not None:
            try:
                do(step.work, report)
            except Exception as error:
                queue.failed(step)
                failed(step, f"{type(error).__name__}: {error}", "")
            else:
                queue.done(step)

    monkeypatch.setattr(completing, "work_off", work_off)


@pytest.fixture
def run(monkeypatch):
    """A callable that runs a command as its ``__main__`` does; gives the exit code."""

    def start(command, *arguments, positional=False):
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        try:
            with pytest.raises(SystemExit) as stop:
                if callable(command):  # A file of the user's own.
                    command()
                else:
                    command_line.run(
                        command.main, command.define_flags, arguments=positional
                    )
            return stop.value.code or 0
        finally:
            # Not those of libraries that were imported along the way.
            own = flags.FLAGS.flags_by_module_dict().items()
            flags.FLAGS.remove_flag_values(
                {
                    flag.name
                    for module, of_module in own
                    if module.startswith("experiments.")
                    for flag in of_module
                }
            )

    return start


@pytest.fixture
def fails(run, capsys):
    """A callable that expects one sentence on stderr, exit code 2, no traceback."""

    def check(command, arguments, *words):
        capsys.readouterr()
        code = run(command, *arguments)
        output = capsys.readouterr().err
        assert code == 2, output
        *progress, error = output.splitlines()
        assert error.startswith("error: "), output
        assert all(line.startswith("step ") for line in progress), output
        for word in words:
            assert word in error, error

    return check
