"""What is missing of a table, done; nothing mixed that rests on different things."""

from collections.abc import Callable, Collection, Sequence

from experiments.papers.tables import Block, Table, cell_rows, cell_seeds
from experiments.tables import fingerprints
from experiments.tables.jobs import Jobs, Task
from experiments.tables.scheduling import Queue, Step
from experiments.tables.stored import CODE, Stored, keep_failure
from experiments.tables.workers import work_off
from hierjax.errors import UserError

REFUSE, RERUN, MIX = STALE = ("refuse", "rerun", "mix")
"""What is done with results that do not rest on what a table rests on now."""

_NAMED = 5


def tasks_of(
    table: Table,
    jobs: Jobs,
    blocks: Sequence[Block],
    names: Collection[str],
    seeds: list[int] | None,
) -> list[Task]:
    """All tasks of some rows on some blocks, in the order of the table.

    Args:
      table: that they are of.
      jobs: where they lie.
      blocks: those that have their data.
      names: of rows.
      seeds: to run; None: those of each cell.
    """
    found = []
    for block in blocks:
        here = {row.name for row in cell_rows(block, table, jobs.scale)} & {*names}
        parts = [part for row in table.rows for part in row.narrowed(here)]
        for part in parts:
            found += jobs.tasks(block, part, seeds or cell_seeds(block, part))
    return found


def settle(jobs: Jobs, table_tasks: list[Task], wanted: list[Task], stale: str) -> None:
    """See to it that what is stored of a table and what is missing go together.

    Other settings and other data never go together with those of now. Other code goes
    if all of the table is of it, that of before jobs said so too.

    Args:
      jobs: where they lie.
      table_tasks: all tasks of the table.
      wanted: those that are to be done.
      stale: one of `STALE`. 'rerun' removes of `wanted` what is not of now, 'mix'
        keeps beside each other what differs in code alone.

    Raises:
      UserError: what is stored does not go together, and `stale` does not help.
    """
    held = [one for task in table_tasks for one in jobs.stored(task)]
    again = {path for task in wanted for path in jobs.files(task)}
    removed = [
        one for one in held if one.differing and one.path in again and stale == RERUN
    ]
    held = [one for one in held if one not in removed]
    others = [one for one in held if one.differing - {CODE}]
    if others:
        what = " and ".join(sorted({k for one in others for k in one.differing}))
        raise UserError(
            f"{_rows(jobs, others)}: computed with other {what} than now; give "
            "--stale=rerun to compute them again, or another --workdir"
        )
    others = [one for one in held if CODE in one.differing]
    codes = {one.code for one in held}
    if removed or any(not is_done(jobs, task) for task in wanted):
        codes.add(fingerprints.of_code())
    if others and len(codes) > 1 and stale != MIX:
        raise UserError(
            f"{_rows(jobs, others)}: computed by other code "
            f"({fingerprints.difference(others[0].code)}) than the rest of the table "
            "would be; give --stale=rerun to compute them again, --stale=mix to keep "
            "them beside the others, or another --workdir"
        )
    for one in removed:
        one.path.unlink(missing_ok=True)


def is_done(jobs: Jobs, task: Task) -> bool:
    """Whether all results of a task are there."""
    return all(path.exists() for path in jobs.files(task))


def complete(
    jobs: Jobs, tasks: list[Task], *, num_workers: int, say: Callable[[str], None]
) -> list[str]:
    """Do what is missing in processes; a task that fails stops its own row only.

    Args:
      jobs: where they lie.
      tasks: in order, see `tasks_of`.
      num_workers: processes.
      say: gets a line for everything that is finished or fails.

    Returns:
      The tasks that failed, with the reason.
    """
    queue = Queue(
        Step(
            key=_name(jobs, task),
            cell=(task.block.name, task.row.name),
            needs=None if task.tuning is None else _name(jobs, task.tuning),
            work=task,
        )
        for task in tasks
        if not is_done(jobs, task)
    )
    failures = []

    def failed(step: Step, why: str, details: str) -> None:
        failures.append(f"{step.key} ({why})")
        for path in jobs.files(step.work):
            if not path.exists():
                keep_failure(path, why, details)
        say(f"{step.key}  failed: {why}")

    def finished(line: str) -> None:
        # The task that says it is about to be over.
        say(f"[{queue.over + 1:{len(str(queue.total))}}/{queue.total}] {line}")

    work_off(
        queue,
        jobs.do,
        num_workers=num_workers,
        report=finished,
        failed=failed,
        waits=lambda: say("what is left is done by another process; waiting for it"),
    )
    return failures


def _name(jobs: Jobs, task: Task) -> str:
    return jobs.name_of(jobs.files(task)[0])


def _rows(jobs: Jobs, found: Sequence[Stored]) -> str:
    """The first few rows that some results are of."""
    places = [jobs.name_of(one.path).rsplit("/", 2)[0] for one in found]
    names = list(dict.fromkeys(places))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
