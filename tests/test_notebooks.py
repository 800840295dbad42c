"""Every notebook runs from top to bottom, and its two files say the same."""

import ast
import io
import pathlib
import tempfile

import jupytext
import pytest
from matplotlib.figure import Figure

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
# What the tests put in place of the cell of parameters: few steps, everything else.
SETTINGS = {
    "inspect_model": {"NUM_STEPS": 30},
    "own_loss": {"NUM_STEPS": 5, "LEARNING_RATES": (0.01,), "SEEDS": (0, 1)},
    "own_tree_and_data": {"NUM_STEPS": 5},
    "reproduce_row": {"MAX_STEPS": 5, "SEEDS": (0, 1)},
}


def run_cell(source, namespace):
    """Execute a cell; gives the value of its last line, which Jupyter would show."""
    # The one magic: it only tells Jupyter to show figures. Any other is an error.
    source = source.removeprefix("%matplotlib inline\n")
    tree = ast.parse(source)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    if shown is None:
        return None
    return eval(compile(ast.Expression(shown.value), "cell", "eval"), namespace)


def run(notebook, settings):
    """Execute every cell; gives the figures that were shown, drawn."""
    namespace, figures = {"__name__": "notebook"}, []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        shown = run_cell(cell.source, namespace)
        if isinstance(shown, Figure):
            shown.savefig(io.BytesIO(), dpi=50)
            figures.append(shown)
        if "parameters" in cell.metadata.get("tags", []):
            assert settings.keys() <= namespace.keys()
            namespace |= settings
    return figures


def cells(notebook):
    return [
        (cell.cell_type, cell.source, cell.metadata.get("tags", []))
        for cell in notebook.cells
    ]


def test_every_notebook_has_both_files_and_settings():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SETTINGS)
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SETTINGS)
    readme = (FOLDER / "README.md").read_text()
    assert all(f"]({name}.ipynb)" in readme for name in SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_both_files_say_the_same_without_outputs(name):
    script = jupytext.read(FOLDER / f"{name}.py")
    notebook = jupytext.read(FOLDER / f"{name}.ipynb")
    assert cells(script) == cells(notebook), "run jupytext --sync notebooks/*.ipynb"
    assert notebook.metadata.jupytext.formats == "ipynb,py:percent"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("name", SETTINGS)
def test_links_lead_somewhere_and_the_end_points_on(name):
    notebook = jupytext.read(FOLDER / f"{name}.py")
    last = notebook.cells[-1].source
    assert "## Where to go next" in last
    linked = [part.split(")")[0] for part in last.split("](")[1:]]
    assert linked
    for target in linked:
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("name", SETTINGS)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notebook = jupytext.read(FOLDER / f"{name}.ipynb")
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert run(notebook, SETTINGS[name])
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("x = 1\nx / 0", ZeroDivisionError),
        ("missing = undefined\nmissing", NameError),
        ("%pylab", SyntaxError),
    ],
)
def test_a_cell_that_fails_is_noticed(source, error):
    notebook = jupytext.reads("# %%\npass\n\n# %%\npass\n", fmt="py:percent")
    notebook.cells[1].source = source
    with pytest.raises(error):
        run(notebook, {})
