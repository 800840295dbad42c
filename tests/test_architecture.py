"""Keeps the floors: who may import whom, and what may appear in one place only."""

import ast
import pathlib
import subprocess
import sys

import pytest

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


def source_files(*folders):
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


LIBRARY = source_files("hierjax")
EVERYTHING = source_files("hierjax", "experiments")


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


def parse(path):
    return ast.parse(path.read_text())


def mentions(tree):
    return {*imported_modules(tree), *attribute_chains(tree)}


def part_of(path):
    return path.relative_to(ROOT / "hierjax").parts[0].removesuffix(".py")


def test_the_floors_exist():
    parts = {part_of(param.values[0]) for param in LIBRARY}
    assert set(UPPER_FLOORS) < parts
    assert {"collectives", "distances", "hierarchy", "masks", "reductions"} <= parts


@pytest.mark.parametrize("path", LIBRARY)
def test_imports_go_down(path):
    part = part_of(path)
    for module in imported_modules(parse(path)):
        package, *rest = module.split(".")
        assert package not in ("experiments", "tests", "benchmarks")
        if package == "hierjax" and rest[0] in UPPER_FLOORS and rest[0] != part:
            assert rest[0] in UPPER_FLOORS.get(part, set()), f"{part}: {module}"


@pytest.mark.parametrize("path", EVERYTHING)
def test_collectives_are_called_in_one_place(path):
    if path.name == "collectives.py":
        assert "lax.psum" in mentions(parse(path))
        return
    for name in mentions(parse(path)):
        *owner, last = name.split(".")
        assert not ("lax" in owner and last in COLLECTIVES), name


@pytest.mark.parametrize("path", EVERYTHING)
def test_mapping_over_devices_happens_in_one_place(path):
    mapped = {"jax.pmap", "jax.shard_map", "jax.experimental.shard_map.shard_map"}
    found = mapped & mentions(parse(path))
    if path == ROOT / "hierjax" / "training" / "step.py":
        assert found == {"jax.pmap"}
    else:
        assert not found


@pytest.mark.parametrize("path", EVERYTHING)
def test_heavy_packages_stay_in_their_corner(path):
    for module in imported_modules(parse(path)):
        corner = ONLY_IN.get(module.split(".")[0])
        if corner is not None:
            assert str(path.relative_to(ROOT)).startswith(corner), module


@pytest.mark.parametrize("path", EVERYTHING)
def test_no_module_of_odds_and_ends(path):
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")


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


@pytest.mark.parametrize("path", EVERYTHING)
def test_everything_public_says_what_it_is(path):
    tree = parse(path)
    assert ast.get_docstring(tree), "the module"
    for node in public_definitions(tree):
        if node.name not in INHERITED:
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", EVERYTHING)
def test_no_old_or_global_randomness(path):
    for name in mentions(parse(path)):
        assert name not in ("jax.random.PRNGKey", "np.random.seed"), name
        assert name != "random" and not name.startswith("random."), name


def test_importing_the_package_is_light():
    code = "import sys, hierjax; hierjax.Hierarchy; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "hierjax.hierarchy" in loaded
    packages = {name.split(".")[0] for name in loaded}
    heavy = {"tensorflow", "torch", "matplotlib", "orbax", "sklearn", "absl.flags"}
    assert not packages & heavy


def test_parts_are_found_on_first_use():
    import hierjax

    for name in hierjax.__all__:
        assert getattr(hierjax, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hierjax.nonsense  # noqa: B018
