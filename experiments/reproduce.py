"""Reproduce a table: ``python -m experiments.reproduce --table=NAME --workdir=W``."""

import functools
import pathlib

from absl import flags

from experiments.cli import command_line
from experiments.papers.tables import (
    SCALES,
    TABLES,
    Block,
    Row,
    Table,
    cell_rows,
)
from experiments.report import document
from experiments.runs.environment import describe_hardware
from experiments.runs.files import read_json, write_json
from experiments.tables import completing, figures, fingerprints, render
from experiments.tables.aggregate import aggregate
from experiments.tables.completing import STALE
from experiments.tables.formats import read_table
from experiments.tables.jobs import Jobs
from hierjax.errors import UserError


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_enum("table", None, list(TABLES), "Table to compute.")
    flags.DEFINE_enum("figure", None, list(figures.FIGURES), "Figure to draw.")
    flags.DEFINE_string("workdir", None, "Folder of the runs; continued where present.")
    flags.DEFINE_list("rows", [], "Rows to run; default all.")
    flags.DEFINE_list("datasets", [], "Blocks or data sets to run; default all.")
    flags.DEFINE_list("seed_list", [], "Seeds to run; default those of each block.")
    flags.DEFINE_enum("scale", "cpu", list(SCALES), "Size of the runs.")
    flags.DEFINE_string("data_dir", "", "Folder of downloaded data.")
    flags.DEFINE_integer(
        "jobs",
        1,
        "Processes that run a table; 0 writes the table of what is finished.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "stale",
        STALE[0],
        list(STALE),
        "Results of other settings, data or code: refused, run again, or kept beside "
        "the others where only the code is another.",
    )


def chosen_rows(table: Table) -> list[Row]:
    """The rows of a table that ``--rows`` names."""
    rows = table.shown_rows()
    names = [row.name for row in rows]
    wanted = flags.FLAGS.rows or names
    for name in wanted:
        if name not in names:
            raise UserError(
                f"--rows: no row {name!r} in {table.name}, did you mean "
                f"{command_line.nearest(name, names)!r}?"
            )
    return [row for row in rows if row.name in wanted]


def chosen_blocks(table: Table) -> list[Block]:
    """The blocks of a table that ``--datasets`` names, or whose data set it names."""
    wanted = flags.FLAGS.datasets
    known = {block.name for block in table.blocks}
    known |= {block.fields["dataset"] for block in table.blocks}
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--datasets: no data set {name!r} in {table.name}, did you mean "
                f"{command_line.nearest(name, sorted(known))!r}?"
            )
    return [
        block
        for block in table.blocks
        if not wanted or {block.name, block.fields["dataset"]} & set(wanted)
    ]


def _seeds() -> list[int] | None:
    try:
        seeds = [int(text) for text in flags.FLAGS.seed_list]
    except ValueError:
        seeds = [-1]
    if any(seed < 0 for seed in seeds):
        raise UserError(
            f"--seed_list takes whole numbers from 0, got {flags.FLAGS.seed_list}"
        )
    return seeds or None


def _claim(workdir: pathlib.Path, scale: str) -> None:
    """A workdir holds runs of one scale only."""
    path = workdir / "reproduce.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if any(workdir.iterdir()):
                raise UserError(
                    f"workdir {workdir} holds something else; choose another"
                )
            write_json(path, {"scale": scale})
    except OSError as error:
        raise UserError(
            f"workdir {workdir} cannot be written: {error.strerror}"
        ) from None
    held = read_json(path)["scale"]
    if held != scale:
        raise UserError(
            f"workdir {workdir} holds runs at --scale={held}, not {scale}; choose "
            "another --workdir"
        )


def main() -> None:
    """Run what is missing of a table or figure, then print or draw it."""
    values = flags.FLAGS
    if bool(values.table) == bool(values.figure):
        raise UserError(
            f"give either --table, one of {', '.join(TABLES)}, or --figure, one of "
            f"{', '.join(figures.FIGURES)}"
        )
    if not values.workdir:
        raise UserError("--workdir is missing: a folder for the runs")
    workdir = pathlib.Path(values.workdir)
    data_dir = str(pathlib.Path(values.data_dir).resolve()) if values.data_dir else ""
    if values.table:
        _reproduce_table(TABLES[values.table], workdir, data_dir)
        return
    _claim(workdir, values.scale)
    jobs = Jobs(workdir / "jobs", values.scale, data_dir, "probes")
    for path in figures.FIGURES[values.figure](jobs, workdir):
        print(f"written: {path}")


def _reproduce_table(table: Table, workdir: pathlib.Path, data_dir: str) -> None:
    values, seed_list = flags.FLAGS, _seeds()
    rows, blocks = chosen_rows(table), chosen_blocks(table)
    _claim(workdir, values.scale)
    jobs = Jobs(workdir / "jobs", values.scale, data_dir, table.measured)
    present = [b for b in table.blocks if _is_present(jobs, b, rows[0], b in blocks)]
    chosen = [block for block in present if block in blocks]
    for block in chosen:
        here = cell_rows(block, table, values.scale)
        for row in rows:
            if row not in here and values.rows:
                print(f"{block.name}: {row.name} is not run at --scale={values.scale}")
    every = [row.name for row in table.shown_rows()]
    names = [row.name for row in rows] if values.jobs else []
    wanted = completing.tasks_of(table, jobs, chosen, names, seed_list)
    everything = completing.tasks_of(table, jobs, present, every, seed_list)
    completing.settle(jobs, everything, wanted, values.stale)
    say = functools.partial(print, flush=True)
    failed = completing.complete(jobs, wanted, num_workers=values.jobs, say=say)
    content = aggregate(table, jobs, seed_list)
    content["run"] = {
        "command": f"python -m experiments.reproduce --table={table.name} "
        f"--scale={values.scale} --workdir=W --data_dir=D",
        "scale": values.scale,
        "settings": ", ".join(
            f"{k} {v}" for k, v in table.blocks[0].scales[values.scale].items()
        ),
        "environment": describe_hardware(),
        "seconds": sum(
            row["seconds"] for b in content["blocks"] for row in b["rows"].values()
        ),
        "code": _about_code(content["blocks"], values.stale),
    }
    _write(content, workdir / f"{table.name}.json")
    if failed:
        raise UserError(
            f"{len(failed)} failed: {'; '.join(failed)}; the same command tries again"
        )


def _is_present(jobs: Jobs, block: Block, row: Row, chosen: bool) -> bool:
    """Whether a block has its data; if it is chosen, say why it has not."""
    problem = jobs.data_problem(block, row)
    if problem and chosen:
        print(f"{block.name}: not run, {problem}")
    return not problem


def _about_code(blocks: list[dict], stale: str) -> str:
    """What to say of the code behind a table; nothing if it is all of now.

    Raises:
      UserError: it is of more than one, and they are not to be mixed.
    """
    rows: dict[str, list[str]] = {}
    for block in blocks:
        for name, codes in block.pop("codes").items():
            for code in codes:
                rows.setdefault(code, []).append(f"{block['name']}/{name}")
    now = fingerprints.of_code()
    if len(rows) > 1 and stale != completing.MIX:
        raise UserError(
            "another process added results of other code to the table meanwhile; give "
            "--stale=rerun to compute them again, or --stale=mix to keep them"
        )
    if len(rows) == 1:
        return "".join(
            f"All of it was computed by other code: {fingerprints.difference(code)}."
            for code in rows.keys() - {now}
        )
    return " ".join(
        f"By other code ({fingerprints.difference(code)}): {', '.join(of_code)}."
        for code, of_code in rows.items()
        if code != now
    )


def _write(content: dict, path: pathlib.Path) -> None:
    """Write a table in all its forms, and print it."""
    write_json(path, content)
    content = read_table(path)
    parts = render.parts(content)
    path.with_suffix(".md").write_text(document.markdown(parts))
    path.with_suffix(".tex").write_text(document.latex(parts))
    path.with_suffix(".csv").write_text(render.comma_separated(content))
    print(document.markdown(parts))
    print(f"written: {path}, .md, .tex and .csv")


if __name__ == "__main__":
    command_line.run(main, define_flags)
