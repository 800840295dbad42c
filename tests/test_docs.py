"""What README and documentation show runs, parses, leads somewhere and still holds."""

import inspect
import json
import pathlib
import re
import shlex
import subprocess
import sys
import zlib

import pytest
from absl import flags

import hierjax
from experiments import reproduce
from experiments.cli import command_line, help_text
from experiments.papers import QUICKSTART
from experiments.papers.tables import TABLES
from hierjax.objectives import Method

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if "_build" not in page.parts
}
# A snippet, and the output if the page shows one right below.
SNIPPET = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
COMMAND = re.compile(r"python -m (experiments\.\w+)((?:[^\n`|&;#\\\"]|\\\n)*)")
# What stands for a name of the reader's choice, and a name to try it with.
PLACEHOLDERS = {
    "--experiment=NAME": f"--experiment={QUICKSTART}",
    "--table=NAME": f"--table={next(iter(TABLES))}",
    "--figure=NAME": "--figure=level_masks",
}


def of_pages(pattern):
    return [
        pytest.param(page, id=page)
        for page, text in PAGES.items()
        if pattern.search(text)
    ]


@pytest.mark.parametrize("page", of_pages(SNIPPET))
def test_python_runs_and_prints_what_is_shown(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # What a page declares is forgotten after it.
    monkeypatch.setattr(Method, "kinds", dict(Method.kinds))
    namespace = {}
    for number, found in enumerate(SNIPPET.finditer(PAGES[page]), start=1):
        source, shown = found.groups()
        exec(compile(source, f"{page}, snippet {number}", "exec"), namespace)
        printed = capsys.readouterr().out
        if shown is not None:
            assert printed.split() == shown.split(), source


@pytest.fixture
def parsed(monkeypatch):
    """A callable that parses a command line with the flags of its command."""
    present = set(help_text.own_flags())

    def parse(module, arguments):
        __import__(module)
        sys.modules[module].define_flags()
        return flags.FLAGS(["command", *arguments])

    yield parse
    for name in set(help_text.own_flags()) - present:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def commands():
    for page, text in PAGES.items():
        for number, found in enumerate(COMMAND.finditer(text)):
            module, rest = found.groups()
            yield pytest.param(module, rest, id=f"{page}-{number}-{module}")


@pytest.mark.parametrize("module, rest", list(commands()))
def test_commands_parse(module, rest, parsed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # Choosing a network by the reader's own data would have to load them.
    monkeypatch.setattr(
        command_line, "adapt", lambda experiment, given: experiment, raising=False
    )
    # Redirections and whatever a shell would put in are not the command's.
    rest = re.sub(r"[<>]\s*\S+", "", rest.replace("\\\n", " "))
    arguments = [
        PLACEHOLDERS.get(argument, re.sub(r"\$\w+", "1", argument))
        for argument in shlex.split(rest)
    ]
    for path in re.findall(r"--data_path=(\S+)", rest):
        # The reader's own; what kind it is may be told from it.
        if pathlib.Path(path).suffix:
            pathlib.Path(path).touch()
        else:
            pathlib.Path(path).mkdir()
    left = parsed(module, arguments)
    if not inspect.signature(sys.modules[module].main).parameters:
        assert left == ["command"], "what follows a command are flags"
    values = flags.FLAGS
    if "experiment" in values and not values.list:
        command_line.experiment_from_flags()
    if "table" in values and values.table:
        reproduce.chosen_rows(TABLES[values.table])
        reproduce.chosen_blocks(TABLES[values.table])


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", PAGES["README.md"])
    local = [target for target in targets if "://" not in target]
    assert local
    for target in local:
        assert (ROOT / target).exists(), target


def shown(number, digits=3, sign=""):
    """A number as the tables of results show it: without a leading zero."""
    return f"{number:{sign}.{digits}f}".replace("0.", ".", 1)


def figure_of(source):
    """Figure and seeds of ``file block row [vs other] measure``."""
    name, place, row, *rest = source.split()
    path = next((ROOT / "results").glob(f"*/{name}.json"))
    blocks = {block["name"]: block for block in json.loads(path.read_text())["blocks"]}
    block = blocks[place]
    measure = rest[-1]
    entry = block["rows"][row]
    if rest[0] != "vs":
        found = entry["measures"][measure]
        spread = f"{shown(found['mean'])} ± {shown(found['sd'])}"
        if found.get("low") is not None:
            spread += f" [{shown(found['low'])}, {shown(found['high'])}]"
        return spread, entry["seeds"]
    other = rest[1]
    if "gain" in entry:
        found, seeds = entry["gain"][other][measure], entry["seeds"]
        value = found["value"]
    else:
        pair = next(
            each
            for each in block["comparisons"]
            if (each["row"], each["against"]) == (row, other)
        )
        found, seeds = pair["differences"][measure], pair["seeds"]
        value = found["mean"]
    interval = f"[{shown(found['low'])}, {shown(found['high'])}]"
    return f"{shown(value, sign='+')} {interval}", seeds


FIGURES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGES["docs/results.md"].splitlines()
    if re.match(r"\|.*\| *`[^`|]+ [^`|]+` *\|$", line)
]


def test_results_has_figures():
    assert len(FIGURES) > 25


@pytest.mark.parametrize("cells", FIGURES, ids=lambda cells: cells[-1].strip("`"))
def test_figures_of_results_are_those_of_the_committed_json(cells):
    *_, figure, seeds, source = cells
    assert (figure, int(seeds)) == figure_of(source.strip("`"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, DOCS, folder], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_public_name_is_in_the_reference(site):
    # Four lines of header, then a line an object: name, kind, priority, place, title.
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    documented = {
        line.split()[0] for line in zlib.decompress(packed).decode().splitlines()
    }
    for name in hierjax.__all__:
        part = getattr(hierjax, name)
        for public in getattr(part, "__all__", ()):
            value = getattr(part, public)
            place = value.__name__ if inspect.ismodule(value) else None
            assert (place or f"hierjax.{name}.{public}") in documented
    assert "hierjax.Hierarchy.from_paths" in documented


def test_pages_need_no_network_and_no_script_for_formulas(site):
    formulas = 0
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)\"", text)
        loaded += re.findall(
            r"<link[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]+)\"", text
        )
        assert not [url for url in loaded if "//" in url], page
        assert "<merror" not in text, page
        formulas += text.count("<math")
    assert formulas > 50


def test_pages_of_losses_have_their_pictures(site):
    pictures = {path.stem for path in (site / "_images").iterdir()}
    wanted = set(re.findall(r"```\{picture\} (\w+)", "".join(PAGES.values())))
    assert wanted and wanted <= pictures
