"""Keeps the floors: who may import whom, and what may appear in one place only.

Every check goes over all files and names all that break it at once.
"""

import ast
import collections
import configparser
import functools
import importlib.metadata
import pathlib
import subprocess
import sys
import warnings

import pytest

import hierjax
from hierjax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]

# Parts above the ground floor, and the others of them that they may import. All other
# parts stand on the ground floor; everybody may import those, and they nobody else.
UPPER_FLOORS = {
    "losses": set(),
    "metrics": set(),
    "data": set(),
    "models": set(),
    "proxies": {"losses"},
    "objectives": {"losses", "proxies"},
    "evaluation": {"data", "metrics"},
    "training": {"data", "evaluation", "objectives"},
    "plotting": {"data", "evaluation", "metrics"},
    "inference": {"data", "evaluation", "metrics", "models", "training"},
}
COLLECTIVES = {
    "all_gather",
    "all_gather_invariant",
    "all_to_all",
    "axis_index",
    "axis_size",
    "pbroadcast",
    "pcast",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "pshuffle",
    "pswapaxes",
    "psum",
    "psum_scatter",
    "ragged_all_to_all",
}
# Packages, and the only files that may import them.
ONLY_IN = {
    "absl": "experiments/",
    "matplotlib": "hierjax/plotting/",
    "orbax": "hierjax/training/checkpoints.py",
    "ml_collections": "nowhere",
    "torch": "benchmarks/",
    "pytorch_metric_learning": "benchmarks/",
}
# Floors of packages that have folders, lowest first. Whoever is on a floor imports
# from those below it only, and nobody beside it. Files that are not named here, such
# as the commands, are on a floor above them all.
FLOORS = {
    "experiments": (
        {"settings"},
        {"papers"},
        {"runs"},
        {"report"},
        {"tables"},
        {"cli"},
    ),
    "hierjax/data": (
        {"augmentation", "feature_maps", "reading", "samplers", "splitting"},
        {"dataset"},
        {"loader"},
        {"building", "encoded", "inspection", "own", "sets", "transforms"},
        {"registry"},
    ),
}
# Files whose functions JAX traces. A wrong array or option there is the caller's bug:
# a bare ValueError. All other files check what people give: `UserError`.
TRACED = (
    "hierjax/distances.py",
    "hierjax/level_masks.py",
    "hierjax/level_nodes.py",
    "hierjax/losses/",
)
# These have functions of both kinds.
PARTLY_TRACED = (
    "hierjax/losses/frames.py",
    "hierjax/mixtures.py",
    "hierjax/objectives/",
)
# What a user of losses, metrics and training in a notebook waits for in vain: TFDS is
# for prepared data sets, Orbax for runs with a folder, SciPy's parts for some measures.
HEAVY = {
    "grain",
    "h5py",
    "jinja2",
    "matplotlib",
    "orbax",
    "pandas",
    "plotly",
    "scipy.cluster",
    "scipy.optimize",
    "scipy.signal",
    "scipy.spatial",
    "scipy.special",
    "scipy.stats",
    "skbio",
    "sklearn",
    "soundfile",
    "tensorboardX",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
}


def imported_modules(tree):
    """Dotted names of all imports, functions' own included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attribute_chains(tree):
    """Dotted uses such as ``jax.lax.psum``."""
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(parts)])


class Source:
    """A file, parsed once for all checks."""

    def __init__(self, name, text):
        self.name = name
        self.tree = ast.parse(text)
        self.imports = set(imported_modules(self.tree))
        self.mentions = self.imports | set(attribute_chains(self.tree))


@functools.cache
def sources():
    """Every file of library and experiments."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text())
        for folder in ("hierjax", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def part_of(name):
    return name.split("/")[1].removesuffix(".py")


def upward_parts(source):
    """Imports between the parts of the library that go up, or out of it."""
    part = part_of(source.name)
    for module in source.imports:
        package, *rest = module.split(".")
        if package in ("experiments", "tests", "benchmarks"):
            yield module
        if package == "hierjax" and rest[0] in UPPER_FLOORS and rest[0] != part:
            if rest[0] not in UPPER_FLOORS.get(part, set()):
                yield module


def upward_folders(source, package, floors):
    """Folders and files of a package that a file of it may not import."""
    floor_of = collections.defaultdict(lambda: len(floors))
    floor_of |= {name: floor for floor, names in enumerate(floors) for name in names}
    own = source.name.removeprefix(f"{package}/").split("/")[0].removesuffix(".py")
    dotted = package.replace("/", ".")
    for module in source.imports:
        if module.startswith(f"{dotted}."):
            other = module.removeprefix(f"{dotted}.").split(".")[0]
            if other != own and floor_of[other] >= floor_of[own]:
                yield other


def test_the_floors_exist():
    parts = {part_of(source.name) for source in sources()}
    assert set(UPPER_FLOORS) < parts
    assert {"collectives", "distances", "hierarchy", "masks", "reductions"} <= parts


@pytest.mark.parametrize("package", FLOORS)
def test_every_folder_has_its_floor(package):
    named = set().union(*FLOORS[package])
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    files = {path.stem for path in (ROOT / package).glob("*.py")}
    assert folders <= named <= folders | files


def test_imports_go_down():
    assert [
        (source.name, module)
        for source in sources()
        if source.name.startswith("hierjax/")
        for module in upward_parts(source)
    ] == []


def test_imports_between_folders_go_down():
    assert [
        (source.name, other)
        for package, floors in FLOORS.items()
        for source in sources()
        if source.name.startswith(f"{package}/")
        for other in upward_folders(source, package, floors)
    ] == []


def test_an_import_that_goes_up_or_beside_is_noticed():
    floors = ({"low", "beside"}, {"high"})
    for line, forbidden in (
        ("from shop.high import a", ["high"]),
        ("import shop.beside.a", ["beside"]),
        ("def f():\n    from shop import high", ["high"]),
        ("from shop.low import b", []),
        ("from shop import command", ["command"]),
    ):
        source = Source("shop/low/a.py", line)
        assert list(upward_folders(source, "shop", floors)) == forbidden
    for file, imported in (("high", "low"), ("command", "high")):
        source = Source(f"shop/{file}.py", f"from shop.{imported} import a")
        assert not list(upward_folders(source, "shop", floors))
    assert list(upward_parts(Source("hierjax/losses/a.py", "import hierjax.data")))
    assert list(upward_parts(Source("hierjax/masks.py", "import hierjax.losses")))
    down = Source("hierjax/training/a.py", "import hierjax.data")
    assert not list(upward_parts(down))


def test_collectives_are_called_in_one_place():
    found = {
        source.name
        for source in sources()
        for *owner, last in (name.split(".") for name in source.mentions)
        if "lax" in owner and last in COLLECTIVES
    }
    assert found == {"hierjax/collectives.py"}


def test_mapping_over_devices_happens_in_one_place():
    mapped = {"jax.pmap", "jax.shard_map", "jax.experimental.shard_map.shard_map"}
    found = {source.name: mapped & source.mentions for source in sources()}
    assert {name: names for name, names in found.items() if names} == {
        "hierjax/training/step.py": {"jax.pmap", "jax.shard_map"}
    }


def test_heavy_packages_stay_in_their_corner():
    assert [
        (source.name, module)
        for source in sources()
        for module in source.imports
        if not source.name.startswith(ONLY_IN.get(module.split(".")[0], ""))
    ] == []


def test_no_module_of_odds_and_ends():
    odds = {"utils", "util", "helpers", "common", "misc"}
    stems = {pathlib.PurePath(source.name).stem for source in sources()}
    assert not odds & stems


def public_definitions(tree):
    """Public classes, functions and methods, not those inside functions."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public_definitions(node)


# Linen reads a module's `setup`; it is nobody's to call.
INHERITED = {"setup"}


def test_everything_public_says_what_it_is():
    assert [
        (source.name, getattr(node, "name", "the module"))
        for source in sources()
        for node in (source.tree, *public_definitions(source.tree))
        if getattr(node, "name", "") not in INHERITED and not ast.get_docstring(node)
    ] == []


def test_no_old_or_global_randomness():
    assert [
        (source.name, name)
        for source in sources()
        for name in source.mentions
        if name in ("jax.random.PRNGKey", "np.random.seed")
        or name.split(".")[0] == "random"
    ] == []


def raised(source):
    """Names of the exceptions that a file raises."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield ast.unparse(node.exc.func)


def test_people_get_user_errors_and_traced_code_bare_ones():
    wrong = {
        source.name: exception
        for source in sources()
        for exception in raised(source)
        if not source.name.startswith(PARTLY_TRACED)
        and exception
        in (
            {"UserError", "MissingDataError"}
            if source.name.startswith(TRACED)
            else {"ValueError", "TypeError", "KeyError"}
        )
    }
    assert wrong == {}
    # So that `except ValueError` around any function of the library catches both.
    assert issubclass(UserError, ValueError)


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning])
def test_what_our_own_code_uses_is_not_deprecated(category):
    for module in ("hierjax", "hierjax.losses.rank", "experiments.train"):
        with pytest.raises(category):
            warnings.warn_explicit("old", category, "file.py", 1, module)
    with pytest.warns(category):
        warnings.warn_explicit("old", category, "file.py", 1, "hierjaxed")


def loaded_by(code):
    """Names of the modules that are there after some code in a new interpreter."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(printed.split())


def test_importing_the_package_is_light():
    loaded = loaded_by("import hierjax; hierjax.Hierarchy")
    assert "hierjax.hierarchy" in loaded
    assert not loaded & (HEAVY | {"absl.flags", "flax", "optax", "hierjax.losses"})


def test_importing_its_parts_is_light():
    parts = ["losses", "objectives", "training", "data", "metrics"]
    loaded = loaded_by(f"from hierjax import {', '.join(parts)}")
    assert {f"hierjax.{part}" for part in parts} < loaded
    assert not loaded & HEAVY


def test_parts_are_found_on_first_use():
    for name in hierjax.__all__:
        assert getattr(hierjax, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hierjax.nonsense  # noqa: B018


def test_dir_shows_the_public_names_and_only_those():
    assert dir(hierjax) == sorted(hierjax.__all__)
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} - {"index"}
    # One page has the class, that of inference the function to load a model.
    assert pages - {"hierarchy"} == {*hierjax.__all__} - {"Hierarchy", "load"}


def test_the_version_is_written_once():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: hierjax.__version__"
    assert importlib.metadata.version("hierjax") == hierjax.__version__
