import numpy as np
import pytest

from hierjax import data
from hierjax.errors import UserError


def test_loads_by_name(tmp_path):
    assert data.load("digits").name == "digits"
    default = data.load("gm_notes")
    assert len(default.rows("test")) == 510
    unseen = data.load("gm_notes", protocol="unseen", fold=2)
    np.testing.assert_array_equal(
        unseen.rows("test"), data.gm_notes.load("unseen", 2).rows("test")
    )
    swapped = data.load("hierarchical_digits", protocol="swapped")
    assert swapped.hierarchy.level_names == ("class", "category")
    np.savez(tmp_path / "own.npz", features=np.eye(20), labels=np.arange(20) % 2)
    (tmp_path / "tree.nwk").write_text("((q,p)top,r);")
    own = data.load(
        "npz", data_path=tmp_path / "own.npz", hierarchy=tmp_path / "tree.nwk"
    )
    assert own.hierarchy.class_names == ("q", "p", "r")
    assert data.load("npz", data_path=tmp_path / "own.npz").hierarchy.num_levels == 1


def test_the_seed_goes_to_random_splits_only(monkeypatch):
    calls = []
    for name, loader in data.LOADERS.items():
        fake = loader._replace(load=lambda *place, **options: calls.append(options))
        monkeypatch.setitem(data.LOADERS, name, fake)
        data.load(name, data_dir="x", data_path="y", seed=7)
    seeded = {
        name
        for name, options in zip(data.LOADERS, calls, strict=True)
        if options.get("seed") == 7
    }
    assert seeded == {"cifar100", "nabirds", "micro_s", "micro_l", "meso_z"}


def test_protocols_and_folds_go_to_those_that_have_them(monkeypatch):
    taken = {name: [] for name in data.LOADERS}
    for name, loader in data.LOADERS.items():
        fake = loader._replace(load=lambda *place, **options: options)
        monkeypatch.setitem(data.LOADERS, name, fake)
        for asked in ({"protocol": "p"}, {"fold": 1}):
            try:
                options = data.load(name, data_dir="x", data_path="y", **asked)
            except UserError:
                options = {}
            taken[name].append(options)
    with_protocols = {name for name in taken if "protocol" in taken[name][0]}
    with_folds = {name for name in taken if taken[name][1].get("fold") == 1}
    assert with_folds == {"gm_notes", "omniglot", "tut2016"}
    assert with_protocols == with_folds | {
        "cifar100",
        "hierarchical_digits",
        "hierarchical_mnist",
        "modelnet40",
        "psb",
    }


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gm_note", {}, "unknown data set 'gm_note', did you mean 'gm_notes'"),
        (
            "zzz",
            {},
            "There are cifar100, csv, digits, folder, .*, tut2016$",
        ),
        ("cifar100", {}, "needs data_dir, the folder that .*hierjax.data.prepare"),
        ("micro_s", {}, "'micro_s' needs data_dir"),
        ("cifar100", {"data_dir": "x", "fold": 1}, "'cifar100' has only fold 0, got 1"),
        ("modelnet40", {"data_dir": "x", "fold": 1}, "has only fold 0, got 1"),
        ("hierarchical_digits", {"fold": 2}, "has only fold 0, got 2"),
        ("hierarchical_digits", {"protocol": "x"}, "must be '' or 'swapped', got 'x'"),
        ("hierarchical_mnist", {}, "needs data_dir, the folder of TFDS with mnist/"),
        ("modelnet40", {}, "the folder with modelnet40_images_new_12x, .*ModelNet40"),
        ("psb", {"data_dir": "x", "protocol": "x"}, "psb: protocol must be"),
        ("psb", {}, "'psb' needs data_dir, the folder with psb_points1024.npz"),
        ("tut2016", {}, "needs data_dir, the folder with tut2016_vggish.npz, made"),
        ("npz", {"data_dir": "x"}, "'npz' needs data_path"),
        ("digits", {"protocol": "seen"}, "no protocols to choose from, got 'seen'"),
        ("digits", {"fold": 1}, "has only fold 0, got 1"),
        ("gm_notes", {"hierarchy": "t.csv"}, "own tree, got hierarchy 't.csv'"),
        ("gm_notes", {"protocol": "x"}, "must be 'seen' or 'unseen'"),
    ],
)
def test_errors(name, arguments, message):
    with pytest.raises(UserError, match=message):
        data.load(name, **arguments)
