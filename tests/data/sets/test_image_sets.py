import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hierjax.data import image_sets, load, prepare
from hierjax.data.building import image_builders
from hierjax.errors import MissingDataError, UserError
from hierjax.hierarchy import Hierarchy

PLANKTON = {"micro_s": "MicroS", "micro_l": "MicroL", "meso_z": "MesoZ"}
TAXONOMY = (
    "Microplankton/Myzozoa/Tripos/Tripos furca",
    "Microplankton/Myzozoa/Tripos/Tripos furca/Tripos furca duplets",
    "Copepoda/Copepoda sp1",
)
BIRDS = (
    ("0817", "Birds//Jays, and Allies//Blue Jay"),
    ("0295", "Birds//Ducks//Common Eider//Common Eider (Adult male)"),
    ("0463", "Birds//Ducks//Common Eider//Common Eider (Female/juvenile)"),
)
NUM_IMAGES = 25


def size_of(number):
    return 20 + number, 150 - 3 * number


def colour_of(number):
    return (number * 10, 255 - number * 7, number)


def write_image(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    # PNG whatever the ending: PIL reads the content, and a colour stays what it is.
    Image.new("RGB", size_of(number), colour_of(number)).save(path, "PNG")


def write_plankton(folder, name):
    """The published layout; the files lie without the placeholder's folders."""
    start = f"/DATA_init/plankton_datasets/{name}"
    rows = list(enumerate(TAXONOMY))
    table = [f"{path.split('/')[-1]},{start}/{path},{i}" for i, path in rows[::-1]]
    (folder / f"{name}_cls.csv").write_bytes(
        "\r\n".join(["Class,Path,Number", *table, ""]).encode()
    )
    table = ["Filepath,Class"]
    for number in range(NUM_IMAGES):
        path = TAXONOMY[number % 3]
        table.append(f"{start}/{path}/im +{number}.jpg,{path.split('/')[-1]}")
        write_image(folder / name / path / f"im +{number}.jpg", number)
    (folder / f"{name}_info.csv").write_text("\n".join(table))


def write_birds(folder, images="images"):
    start = "/DATA_init/nabirds/images_128"
    table = ["Class number|Class name|Path|Hierarchy|Number"]
    for number, (label, path) in enumerate(BIRDS):
        name = path.split("//")[-1]
        table.append(f"{label}|{name}|{start}/{label}|{path}|{number}")
    (folder / "nabirds_cls2.csv").write_text("\n".join(table))
    table = [f"{label},{start}/{label},{i}" for i, (label, _) in enumerate(BIRDS)]
    (folder / "nabirds_cls.csv").write_text("\n".join(["Class,Path,Number", *table]))
    table = ["Filepath,Class"]
    for number in range(NUM_IMAGES):
        label = BIRDS[number % 3][0]
        table.append(f"{start}/{label}/{number:08x}.jpg,{label}")
        ending = "JPG" if number % 5 == 0 and images == "images" else "jpg"
        write_image(folder / images / label / f"{number:08x}.{ending}", number)
    (folder / "nabirds_info.csv").write_text("\n".join(table))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """All four sets, prepared through the command line."""
    data_dir = tmp_path_factory.mktemp("tfds")
    for name in image_sets.NAMES:
        manual_dir = tmp_path_factory.mktemp(name)
        if name in PLANKTON:
            write_plankton(manual_dir, PLANKTON[name])
        else:
            write_birds(manual_dir)
        arguments = [name, f"--manual_dir={manual_dir}", f"--data_dir={data_dir}"]
        assert prepare.main(arguments) == 0
    return data_dir


def test_names_agree():
    assert set(image_sets.NAMES) == set(image_builders.BUILDERS)
    for name in image_sets.NAMES:
        builder = image_builders.BUILDERS[name]
        assert builder.name == name
        assert "github.com/hjk92g" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        assert f"{builder.FOLDER}_info.csv" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS


@pytest.mark.parametrize("name", image_sets.NAMES)
def test_from_files_to_data_set(prepared, name):
    dataset = load(name, data_dir=prepared)
    channels = 1 if name == "meso_z" else 3
    assert dataset.name == name and dataset.unit_name == "image"
    assert dataset.features.dtype == np.uint8
    assert dataset.features.shape == (NUM_IMAGES, 128, 128, channels)
    assert set(dataset.inputs) == {"image", "size"}
    for number in range(NUM_IMAGES):
        red, green, blue = colour_of(number)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        expected = (red, green, blue) if channels == 3 else (grey,)
        pixels = dataset.features[number].astype(float)
        assert abs(pixels - expected).max() <= (0 if channels == 3 else 0.51)
        assert tuple(dataset.sizes[number].tolist()) == size_of(number)
        assert dataset.labels[number, -1] == number % 3


def test_trees(prepared):
    for name in PLANKTON:
        tree = load(name, data_dir=prepared).hierarchy
        assert tree.paths == tuple(tuple(path.split("/")) for path in TAXONOMY)
        assert tree.path_length().tolist() == [[0, 1, 6], [1, 0, 7], [6, 7, 0]]
    tree = load("nabirds", data_dir=prepared).hierarchy
    assert tree.paths == tuple(tuple(path.split("//")) for _, path in BIRDS)
    assert tree.nodes_per_level == (1, 2, 2, 3)


def test_splits_are_70_10_20_and_drawn_by_the_seed(prepared):
    first, second = (image_sets.load("micro_s", prepared, seed) for seed in (0, 1))
    assert first.features is second.features
    for dataset in (first, second):
        assert [len(rows) for rows in dataset.splits.values()] == [17, 2, 6]
        rows = np.concatenate(list(dataset.splits.values()))
        assert sorted(rows.tolist()) == [*range(NUM_IMAGES)]
    assert first.rows("test").tolist() != second.rows("test").tolist()
    again = image_sets.load("micro_s", prepared)
    assert first.rows("test").tolist() == again.rows("test").tolist()


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (48_562, [33_993, 4_856, 9_713]),
        (6_738, [4_716, 673, 1_349]),
        (8_348, [5_843, 834, 1_671]),
        (6_653, [4_657, 665, 1_331]),
    ],
)
def test_published_counts(monkeypatch, size, counts):
    tree = Hierarchy.from_paths([("a",)])
    arrays = (np.zeros((size, 1), np.uint8), None, np.zeros(size, int), tree)
    monkeypatch.setattr(image_sets, "_read", lambda *args: arrays)
    monkeypatch.setattr(image_sets, "find_prepared", lambda *args: None)
    monkeypatch.setattr(image_sets, "fingerprint", lambda *args: None)
    dataset = image_sets.load("micro_s", "folder")
    assert [len(rows) for rows in dataset.splits.values()] == counts


def test_published_trees(shared_data, tmp_path):
    """Reads the tables as they are, and as they are published."""
    levels = {
        "nabirds": (1, 22, 228, 495, 555),
        "micro_s": (8, 11, 45, 78, 108, 109),
        "micro_l": (3, 10, 23, 53, 73, 99, 102),
        "meso_z": (2, 13, 28, 42, 47, 52),
    }
    for name, nodes in levels.items():
        builder = image_builders.BUILDERS[name](data_dir=tmp_path)
        paths, class_ids = builder.read_classes(shared_data / "taxonomies")
        tree = Hierarchy.from_paths(paths, allow_internal_classes=True)
        assert len(class_ids) == tree.num_classes == nodes[-1]
        # A class that ends above a level counts as its own node there.
        found = [
            len({path[:depth] for path in tree.paths})
            for depth in range(1, len(nodes) + 1)
        ]
        assert found == list(nodes), name


def test_the_generator_alone(tmp_path):
    write_plankton(tmp_path, "MesoZ")
    # Where the table of classes has no placeholder, all of the path is the tree.
    table = tmp_path / "MesoZ_cls.csv"
    table.write_text(
        table.read_text().replace("/DATA_init/plankton_datasets/MesoZ", "")
    )
    builder = image_builders.MesoZ(data_dir=tmp_path / "tfds")
    paths, class_ids = builder.read_classes(tmp_path)
    assert ["/".join(path) for path in paths] == list(TAXONOMY)
    examples = list(builder._generate_examples(tmp_path, class_ids))
    assert [key for key, _ in examples] == [*range(NUM_IMAGES)]
    assert examples[4][1]["size"] == (24, 138) and examples[4][1]["label"] == 1
    assert examples[4][1]["image"].shape == (128, 128, 1)


def test_images_are_squashed_bilinearly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image, size = image_builders.read_image(tmp_path / "x.png", "RGB")
    assert size == (64, 256) and image.shape == (128, 128, 3)

    def weights(number, wanted):
        """Triangles of the width of an output pixel, or of an input pixel if wider."""
        centres = (np.arange(wanted) + 0.5) * number / wanted
        reach = max(number / wanted, 1)
        distance = abs(np.arange(number) + 0.5 - centres[:, None])
        triangles = np.maximum(1 - distance / reach, 0)
        return triangles / triangles.sum(axis=1, keepdims=True)

    narrow = np.einsum("xj,ijc->ixc", weights(64, 128), pixels)
    expected = np.einsum("yi,ixc->yxc", weights(256, 128), narrow)
    assert abs(image - expected).max() <= 1.01


@pytest.mark.parametrize("images", ["images", "images_128", "nabirds/images"])
def test_birds_are_found_wherever_they_lie(tmp_path, images):
    write_birds(tmp_path, images)
    builder = image_builders.Nabirds(data_dir=tmp_path / "tfds")
    class_ids = builder.read_classes(tmp_path)[1]
    assert class_ids == {"0817": 0, "0295": 1, "0463": 2}
    for number, (path, label) in enumerate(builder._list_files(tmp_path, class_ids)):
        assert path.parent == tmp_path / images / BIRDS[label][0]
        assert label == number % 3


def test_original_images_come_before_shrunk_ones(tmp_path):
    write_birds(tmp_path, "images_128")
    write_birds(tmp_path, "images")
    builder = image_builders.Nabirds(data_dir=tmp_path / "tfds")
    files = builder._list_files(tmp_path, builder.read_classes(tmp_path)[1])
    assert {path.parents[1].name for path, _ in files} == {"images"}


def replace(file, old, new):
    def change(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "MicroS_cls.csv").unlink(),
            "MicroS_cls.csv: no such file; the manual folder needs the folder MicroS, "
            "downloaded from https://doi.org/10.21335/NMDC-2102309336, and",
        ),
        (
            lambda folder: (folder / "MicroS_info.csv").unlink(),
            "MicroS_info.csv: no such file; the manual folder needs",
        ),
        (
            lambda folder: (folder / "MicroS_cls.csv").write_bytes(b"Class\n\xff\n"),
            "MicroS_cls.csv: not a table in UTF-8",
        ),
        (
            lambda folder: (folder / "MicroS_info.csv").write_text("Filepath,Class\n"),
            "MicroS_info.csv: row 0 has nothing in the column 'Filepath'; needed are",
        ),
        (
            replace("MicroS_cls.csv", "Path", "Pfad"),
            "MicroS_cls.csv: row 0 has nothing in the column 'Path'; needed are Class",
        ),
        (replace("MicroS_cls.csv", ",2", ",3"), "'Number' must count the 3 classes"),
        (replace("MicroS_cls.csv", ",2", ",1"), "'Number' must count the 3 classes"),
        (
            replace("MicroS_cls.csv", "Tripos furca duplets,", "Tripos furca,"),
            "MicroS_cls.csv: the column 'Class' has a name twice",
        ),
        (
            replace("MicroS_cls.csv", "/Tripos furca duplets", ""),
            "MicroS_cls.csv: classes 0 and 1 have the same path",
        ),
        (
            replace("MicroS_info.csv", "im +5.jpg,Copepoda sp1", "im +5.jpg,Copepod"),
            "MicroS_info.csv: row 5 has the class 'Copepod', which is not in the table",
        ),
        (
            replace("MicroS_info.csv", "im +6", "im +99"),
            "MicroS_info.csv: row 6 names .*im .99.jpg, but no ending of this path is",
        ),
        (
            lambda folder: (folder / "MicroS" / TAXONOMY[1] / "im +7.jpg").write_text(
                "no image"
            ),
            "im .7.jpg: cannot be read as an image",
        ),
    ],
)
def test_errors(tmp_path, capsys, change, message):
    folder = tmp_path / "manual"
    folder.mkdir()
    write_plankton(folder, "MicroS")
    change(folder)
    with pytest.raises(UserError, match=message):
        prepare.prepare("micro_s", tmp_path / "tfds", folder)
    with pytest.raises(MissingDataError, match="no prepared data set"):
        image_sets.load("micro_s", tmp_path / "tfds")
    arguments = ["micro_s", f"--manual_dir={folder}", f"--data_dir={tmp_path}/tfds"]
    assert prepare.main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_birds_need_the_table_with_the_tree(tmp_path):
    write_birds(tmp_path)
    (tmp_path / "nabirds_cls2.csv").unlink()
    with pytest.raises(
        UserError, match="nabirds_cls.csv: .* the column 'Class number'"
    ):
        prepare.prepare("nabirds", tmp_path / "tfds", tmp_path)


def test_what_the_command_needs(tmp_path, monkeypatch, capsys):
    assert prepare.main(["meso_z", f"--data_dir={tmp_path}"]) == 2
    assert "meso_z needs --manual_dir: the manual folder" in capsys.readouterr().err
    missing = f"--manual_dir={tmp_path}/none"
    assert prepare.main(["meso_z", missing, f"--data_dir={tmp_path}"]) == 2
    assert "MesoZ_cls.csv: no such file" in capsys.readouterr().err
    assert prepare.main(["cifar100", missing, f"--data_dir={tmp_path}"]) == 2
    assert "takes no --manual_dir" in capsys.readouterr().err
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    assert prepare.main(["cifar100", f"--data_dir={tmp_path}"]) == 2
    assert "pip install 'hierjax[prepare]'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["cifar10", f"--data_dir={tmp_path}"])


@pytest.mark.parametrize("name", prepare.DOWNLOADED)
def test_some_are_prepared_by_tfds(name, tmp_path, monkeypatch):
    calls = []

    class Builder:
        def download_and_prepare(self, download_config):
            calls.append("prepared")

    def find(asked, **options):
        calls.append((asked, options))
        return Builder()

    monkeypatch.setattr(prepare.tfds, "builder", find)
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: object())
    prepare.prepare(name, tmp_path)
    options = {"data_dir": tmp_path, "file_format": "array_record"}
    assert calls == [(name, options), "prepared"]


def test_missing_data(tmp_path):
    message = r"nabirds: no prepared data set; run python -m hierjax.data.prepare nabi"
    with pytest.raises(MissingDataError, match=message):
        image_sets.load("nabirds", tmp_path)


def test_neither_preparing_nor_reading_takes_tensorflow(tmp_path):
    trap = tmp_path / "trap" / "tensorflow" / "__init__.py"
    trap.parent.mkdir(parents=True)
    trap.write_text("raise RuntimeError('TensorFlow was imported')")
    manual_dir = tmp_path / "manual"
    manual_dir.mkdir()
    write_plankton(manual_dir, "MicroL")
    places = [f"--manual_dir={manual_dir}", f"--data_dir={tmp_path}"]
    root = pathlib.Path(__file__).parents[3]
    python = os.environ | {"PYTHONPATH": f"{trap.parents[1]}{os.pathsep}{root}"}
    command = [sys.executable, "-m", "hierjax.data.prepare", "micro_l", *places]
    done = subprocess.run(
        command, env=python, check=True, capture_output=True, text=True
    )
    assert f"25 images in {tmp_path}/micro_l/1.0.0" in done.stdout
    code = (
        "import sys; from hierjax import data;"
        f"print(data.load('micro_l', data_dir={str(tmp_path)!r}).features.shape);"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=python, check=True)
