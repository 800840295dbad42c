"""ModelNet40 as rendered views or as point sets, read from the user's copy."""

import concurrent.futures
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.sets import modelnet40_groups
from hierjax.data.sets.unit_points import unit_points
from hierjax.data.splitting import deal_parts
from hierjax.errors import MissingDataError, UserError

VIEWS = "modelnet40_images_new_12x"
MESHES = "ModelNet40"
POINTS = "modelnet40_ply_hdf5_2048"
NUM_POINTS = 1024
_SIDE = 64
_SIDES = (8, 512)
_SEED = 0
_PARTS = ("train", "test")


def load(data_dir: str | pathlib.Path, protocol: str = "views") -> Dataset:
    """Loads the models of 40 classes of objects: group (11) -> class (40).

    The groups are ours; see `modelnet40_groups`. Classes of which there are no files
    stay in the tree without rows.

    Protocols:
      'views' or 'views,S': uint8 ``[N, S, S, 3]``, images squashed to S x S pixels
        (bilinear; 64 if S is not given, at most 512). Every image is a row; the whole
        set, twelve views of 12,311 models, takes 1.8 GB at 64 pixels and 22 GB at 224.
        Read from ``modelnet40_images_new_12x/CLASS/{train,test}/
        CLASS_MODEL_VIEW.png`` (or ``.jpg``).
      'points': float32 ``[N, 1024, 3]``, unordered, centred on the mean point and
        scaled so that the farthest is at distance 1. Every model is a row. Read from
        ``modelnet40_ply_hdf5_2048/`` if it is there (the first 1,024 points in
        ``ply_data_{train,test}*.h5``, classes in ``shape_names.txt``), which takes
        h5py, otherwise from the meshes ``ModelNet40/CLASS/{train,test}/*.off``, which
        takes far longer (see `read_off` and `sample_surface`; the draw depends on the
        file's name only).

    The published test part is the test split; of the training part's models a tenth,
    seeded and stratified by class, is for validation. Either is left out where it
    would be empty. The bootstrap unit is the model.

    Args:
      data_dir: Folder with the folder that the protocol reads, or with ``modelnet40/``
        around it.
      protocol: See above.

    Raises:
      UserError: Unknown protocol; the data are missing, damaged or of other classes;
        h5py is needed and missing.
    """
    data_dir = pathlib.Path(data_dir)
    kind, comma, side = protocol.partition(",")
    if kind == "views" and (not comma or side.isdecimal()):
        rows = _read_views(data_dir, int(side) if comma else _SIDE)
    elif protocol == "points":
        folder = _find(data_dir, POINTS)
        rows = _read_meshes(data_dir) if folder is None else _read_hdf5(folder)
    else:
        raise UserError(
            "modelnet40: protocol must be 'views', 'views,S' with a side of S pixels "
            f"or 'points', got {protocol!r}"
        )
    hierarchy = modelnet40_groups.hierarchy()
    return Dataset(
        name="modelnet40",
        features=rows.features,
        labels=hierarchy.labels_of(rows.class_ids),
        hierarchy=hierarchy,
        splits=_splits(rows),
        units=rows.models,
        unit_name="model",
    )


def read_off(path: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a mesh in the Object File Format.

    The counts may stand on the line of the word OFF, even without a space between, as
    in some files of ModelNet40. A polygon of more than three corners becomes a fan of
    triangles round its first corner, which is exact where it is flat and convex.

    Args:
      path: The file.

    Returns:
      Vertices float64 ``[V, 3]`` and triangles int ``[T, 3]``, indices of vertices.

    Raises:
      UserError: The file is no such mesh, is cut short, or names a vertex that is not
        there.
    """
    text = pathlib.Path(path).read_text(errors="replace").lstrip()
    if not text.startswith("OFF"):
        raise UserError(f"{path}: must start with the word OFF, got {text[:20]!r}")
    lines = (line.partition("#")[0].split() for line in text[3:].splitlines())
    lines = [line for line in lines if line]
    try:
        num_vertices, num_faces = map(int, lines[0][:2])
        faces = lines[1 + num_vertices : 1 + num_vertices + num_faces]
        if len(faces) < num_faces:
            raise UserError(f"{num_faces} faces announced, {len(faces)} found")
        vertices = np.array(
            [line[:3] for line in lines[1 : 1 + num_vertices]], np.float64
        ).reshape(-1, 3)
        triangles = np.array(list(_triangles(faces)), np.intp).reshape(-1, 3)
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: damaged or cut short ({error})") from None
    outside = (triangles < 0) | (triangles >= num_vertices)
    if outside.any():
        raise UserError(
            f"{path}: a face names vertex {triangles[outside][0]}, there are 0 to "
            f"{num_vertices - 1}"
        )
    return vertices, triangles


def _triangles(faces: list[list[str]]) -> Iterator[tuple[int, int, int]]:
    for face in faces:
        count = int(face[0])
        corners = [int(corner) for corner in face[1 : 1 + count]]
        if len(corners) < count:
            raise UserError(f"a face of {count} corners names {len(corners)}")
        for second, third in zip(corners[1:-1], corners[2:], strict=True):
            yield corners[0], second, third


def sample_surface(
    vertices: np.ndarray,
    triangles: np.ndarray,
    num_points: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws points uniformly by area on a surface of triangles.

    Args:
      vertices: ``[V, 3]``.
      triangles: ``[T, 3]`` indices of vertices.
      num_points: How many.
      rng: Draws them.

    Returns:
      float64 ``[num_points, 3]``.

    Raises:
      UserError: The area of the surface is zero or not finite.
    """
    origin, second, third = np.moveaxis(vertices[triangles], 1, 0)
    u, v = second - origin, third - origin
    area = np.linalg.norm(np.cross(u, v), axis=1)
    total = area.sum()
    if not (total > 0 and np.isfinite(total)):
        raise UserError(f"the surface must have an area, got {total / 2:g}")
    chosen = rng.choice(len(area), size=num_points, p=area / total)
    a, b = rng.random((2, num_points, 1))
    # The far half of the parallelogram is turned back into the triangle.
    far = a + b > 1
    a, b = np.where(far, 1 - a, a), np.where(far, 1 - b, b)
    return origin[chosen] + a * u[chosen] + b * v[chosen]


class _Rows(NamedTuple):
    """Features ``[N, ...]``; class, model and whether it is a test row, ``[N]``."""

    features: np.ndarray
    class_ids: np.ndarray
    models: np.ndarray
    is_test: np.ndarray


class _File(NamedTuple):
    """A file of one class and part."""

    path: pathlib.Path
    class_id: int
    is_test: bool


def _splits(rows: _Rows) -> dict[str, np.ndarray]:
    _, first, model = np.unique(rows.models, return_index=True, return_inverse=True)
    training = np.flatnonzero(~rows.is_test[first])
    held_out = np.zeros(len(first), bool)
    held_out[training] = deal_parts(
        rows.class_ids[first][training], training, (9, 1), _SEED
    )
    splits = {
        "train": np.flatnonzero(~rows.is_test & ~held_out[model]),
        "validation": np.flatnonzero(held_out[model]),
        "test": np.flatnonzero(rows.is_test),
    }
    return {split: found for split, found in splits.items() if len(found)}


def _find(data_dir: pathlib.Path, name: str) -> pathlib.Path | None:
    places = (data_dir / "modelnet40" / name, data_dir / name)
    return next((place for place in places if place.is_dir()), None)


def _list_files(
    data_dir: pathlib.Path, name: str, endings: tuple[str, ...], layout: str
) -> list[_File]:
    """All files of a folder of classes, sorted by class, part and name.

    Raises:
      UserError: There are none in the training part, or one of its folders is no class.
    """
    folder = _find(data_dir, name)
    class_names = modelnet40_groups.hierarchy().class_names
    files = []
    for place in sorted(folder.iterdir()) if folder else ():
        if not place.is_dir() or place.name.startswith("."):
            continue
        if place.name not in class_names:
            raise UserError(
                f"{place}: no class of ModelNet40; accepted are "
                f"{', '.join(class_names)}"
            )
        files += [
            _File(path, class_names.index(place.name), part == "test")
            for part in _PARTS
            for path in sorted((place / part).glob("*"))
            if path.suffix.lower() in endings and not path.name.startswith(".")
        ]
    if all(file.is_test for file in files):
        raise MissingDataError(
            f"{folder or data_dir / name}: no training files; put there {layout}"
        )
    return files


def _read_views(data_dir: pathlib.Path, side: int) -> _Rows:
    smallest, largest = _SIDES
    if not smallest <= side <= largest:
        raise UserError(
            f"modelnet40: views must be {smallest} to {largest} pixels wide, got {side}"
        )
    files = _list_files(
        data_dir,
        VIEWS,
        (".png", ".jpg"),
        f"the published views {VIEWS}/CLASS/{{train,test}}/CLASS_0001_001.png",
    )
    names = []
    for path, *_ in files:
        match = re.fullmatch(r"(.+)_(\d+)_\d+", path.stem)
        if not match or match[1] != path.parts[-3]:
            raise UserError(
                f"{path}: a view must be called {path.parts[-3]}_MODEL_VIEW"
                f"{path.suffix} with two numbers"
            )
        names.append("/".join((*path.parts[-3:-1], match[2])))
    images = np.empty((len(files), side, side, 3), np.uint8)

    def read(row: int) -> None:
        images[row] = _read_image(files[row].path, side)

    # Pillow decodes outside Python's lock.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for _ in pool.map(read, range(len(files))):
            pass
    _, models = np.unique(names, return_inverse=True)
    return _Rows(images, **_columns(files), models=models)


def _columns(files: list[_File]) -> dict[str, np.ndarray]:
    return {
        "class_ids": np.array([file.class_id for file in files], np.int32),
        "is_test": np.array([file.is_test for file in files], bool),
    }


def _read_image(path: pathlib.Path, side: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            squashed = image.convert("RGB").resize(
                (side, side), Image.Resampling.BILINEAR
            )
            return np.asarray(squashed)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image ({error})") from None


def _read_meshes(data_dir: pathlib.Path) -> _Rows:
    files = _list_files(
        data_dir,
        MESHES,
        (".off",),
        f"the meshes {MESHES}/CLASS/{{train,test}}/CLASS_0001.off, or beside it "
        f"{POINTS}/ply_data_{{train,test}}*.h5",
    )
    points = np.empty((len(files), NUM_POINTS, 3), np.float32)
    for row, (path, *_) in enumerate(files):
        vertices, triangles = read_off(path)
        name = "/".join(path.parts[-3:])
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        try:
            drawn = sample_surface(vertices, triangles, NUM_POINTS, rng)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        points[row] = unit_points(drawn[None])[0]
    return _Rows(points, **_columns(files), models=np.arange(len(files)))


def _read_hdf5(folder: pathlib.Path) -> _Rows:
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{folder}: reading it takes h5py, which is not installed; run pip install "
            "'hierjax[modelnet40]'"
        ) from None
    class_of = _read_class_numbers(folder / "shape_names.txt")
    points, class_ids, is_test = [], [], []
    for part in _PARTS:
        for path in sorted(folder.glob(f"ply_data_{part}*.h5")):
            try:
                with h5py.File(path) as file:
                    points.append(file["data"][:, :NUM_POINTS])
                    labels = file["label"][:].reshape(-1).astype(np.int64)
            except (OSError, KeyError, ValueError) as error:
                raise UserError(
                    f"{path}: must hold arrays data [n, 2048, 3] and label [n, 1] "
                    f"({error})"
                ) from None
            found = points[-1].shape
            if found != (len(labels), NUM_POINTS, 3):
                raise UserError(
                    f"{path}: data must be [n, {NUM_POINTS} or more, 3] for "
                    f"{len(labels)} labels, got {found} of it"
                )
            if ((labels < 0) | (labels >= len(class_of))).any():
                raise UserError(
                    f"{path}: labels must be 0 to {len(class_of) - 1}, the lines of "
                    f"shape_names.txt, got {labels.min()} to {labels.max()}"
                )
            class_ids.append(class_of[labels])
            is_test.append(np.full(len(labels), part == "test"))
    if all(part.all() for part in is_test):
        raise MissingDataError(
            f"{folder}: no training files; put ply_data_train0.h5 and the others there"
        )
    points = unit_points(np.concatenate(points))
    return _Rows(
        points,
        np.concatenate(class_ids),
        np.arange(len(points)),
        np.concatenate(is_test),
    )


def _read_class_numbers(path: pathlib.Path) -> np.ndarray:
    """Class ids of the lines of shape_names.txt, in their order."""
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such file; put it there, with a class of ModelNet40 a line"
        )
    class_names = modelnet40_groups.hierarchy().class_names
    names = path.read_text().split()
    unknown = [name for name in names if name not in class_names]
    if unknown:
        raise UserError(
            f"{path}: {unknown[0]!r} is no class of ModelNet40; accepted are "
            f"{', '.join(class_names)}"
        )
    return np.array([class_names.index(name) for name in names], np.int32)


LOADERS = {
    "modelnet40": Loader(
        load,
        "data_dir",
        f"the folder with {VIEWS}, {POINTS} or {MESHES}",
        has_protocols=True,
    )
}
"""By name."""
