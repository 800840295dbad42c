"""Flags shared by the commands, and how a command fails: one sentence, exit code 2."""

import contextlib
import dataclasses
import difflib
import os
import pathlib
import sys
import unicodedata
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from experiments import report
from experiments.cli import help_text, signals
from experiments.cli.printing import Printable
from experiments.papers import (
    PRESETS,
    QUICKSTART,
    default_preset,
    fields_on_other_data,
    own_data,
)
from experiments.settings.adapting import adapt
from experiments.settings.experiment import AUTO, Experiment
from experiments.settings.loading import OWN_FILES
from hierjax import data, disk, locking, options
from hierjax.errors import UserError
from hierjax.training import stopping

_LONGEST_FLAG = 100
_PATHS = ("data_dir", "data_path", "hierarchy", "encoder_weights", "cache_dir")
_OF_A_LAUNCH = (
    "workdir",
    "list",
    "dry_run",
    "coordinator_address",
    "num_processes",
    "process_id",
)
_READING = (
    "label_fields",
    "image_size",
    "parents",
    "edge_order",
    "missing_as_names",
    "skip_unreadable",
    "pixel_max",
)
_ENCODING = ("encoder", "encoder_weights", "encoder_side", "cache_dir")
_DATA = ("dataset", *_READING, *_ENCODING, *_PATHS[:3])
_OVERRIDES = ("seed", "num_steps", "batch_size", "learning_rate", *_DATA)


def define_experiment_flags() -> None:
    """Flags that choose an experiment; those left out keep the preset's value."""
    flags.DEFINE_string("experiment", QUICKSTART, "Name of the preset to start from.")
    flags.DEFINE_bool("list", False, "List the presets with a line each, and stop.")
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Build everything, run a few steps, print shapes, memory and time, and stop.",
    )
    flags.DEFINE_string("workdir", None, "Folder of the run; default runs/<preset>.")
    flags.DEFINE_integer("num_devices", None, "Local devices to use; default all.")
    flags.DEFINE_integer("seed", None, "Seed of weights, batches and noise.")
    flags.DEFINE_integer("num_steps", None, "Training steps.")
    flags.DEFINE_integer("batch_size", None, "Examples a step over all devices.")
    flags.DEFINE_float("learning_rate", None, "Peak learning rate.")
    define_data_flags()
    define_encoder_flags()
    flags.DEFINE_multi_string("set", [], "key=value for any other field; repeatable.")


def define_data_flags() -> None:
    """Flags that say which data, and how to read the user's own."""
    flags.DEFINE_string(
        "dataset",
        None,
        "Data set by name; folder, csv, npz or tfds:<name> for your own.",
    )
    flags.DEFINE_string("data_dir", None, "Folder of downloaded data.")
    flags.DEFINE_string(
        "data_path", None, "Your own data: a folder, a .csv, a .tsv or an .npz file."
    )
    flags.DEFINE_string("hierarchy", None, "Your own label tree: .csv, .nwk or .txt.")
    flags.DEFINE_string(
        "label_fields", None, "Label columns of csv or tfds data: coarse,fine."
    )
    flags.DEFINE_integer(
        "image_size", None, "Side of images, or mel bands, read from files."
    )
    flags.DEFINE_enum(
        "parents",
        None,
        ["error", "first", "deepest", "shallowest"],
        "Nodes of several parents in --hierarchy: which one they keep.",
    )
    flags.DEFINE_enum(
        "edge_order",
        None,
        ["parent_child", "child_parent"],
        "Pairs in --hierarchy: what is first; by the header if not given.",
    )
    flags.DEFINE_bool(
        "missing_as_names",
        None,
        "Take NA, nan, None, ... for names, not for unknown.",
    )
    flags.DEFINE_bool(
        "skip_unreadable", None, "Leave out files that cannot be read, and count them."
    )
    flags.DEFINE_integer(
        "pixel_max", None, "White in images of more than 8 bits a pixel."
    )


def define_encoder_flags() -> None:
    """Flags of a frozen encoder of images, and where its features are kept."""
    flags.DEFINE_string(
        "encoder", None, "Pretrained network whose features replace images."
    )
    flags.DEFINE_string("encoder_weights", None, "File of its weights; default pip's.")
    flags.DEFINE_integer("encoder_side", None, "Side of its images; default its own.")
    flags.DEFINE_string("cache_dir", None, "Folder of its features, safe to delete.")


def define_host_flags() -> None:
    """Flags of a run on several hosts: the same command on each, but for the id."""
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "host:port of process 0, or auto on TPU pods and SLURM; default one process.",
    )
    flags.DEFINE_integer("num_processes", None, "Processes of the run.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def define_report_flag() -> None:
    """How much of a report is written."""
    flags.DEFINE_enum(
        "report",
        report.KINDS[0],
        list(report.KINDS),
        "Report to write: the whole page, tables and pictures alone, or nothing.",
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """The known name most like ``name``."""
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]


def experiment_from_flags() -> tuple[str, Experiment]:
    """The experiment after all overrides, which are printed, and a name for its run.

    The name is the preset's with every override, so that different runs have different
    default workdirs.
    """
    values = flags.FLAGS
    name = values.experiment
    overrides = _given(_OVERRIDES)
    typed = _settings(overrides)
    if name not in PRESETS:
        raise UserError(
            f"--experiment: unknown preset {name!r}, did you mean "
            f"{nearest(name, list(PRESETS))!r}? --list prints all"
        )
    dataset = overrides.get("dataset") or _dataset_of_path(
        overrides.get("data_path"), PRESETS[name].experiment.dataset
    )
    kind = own_data.kind_of(dataset)
    if not values["experiment"].present and kind in own_data.KINDS:
        name = default_preset(dataset)
        print(f"experiment: {name}")
    preset = start = PRESETS[name].experiment
    if kind != own_data.kind_of(preset.dataset):
        adapted = fields_on_other_data(name, dataset)
        start = dataclasses.replace(preset, **adapted)
        for key in sorted(adapted.keys() - overrides.keys() - typed.keys()):
            print(f"for {dataset}: {key} = {adapted[key]!r}")
    if dataset != preset.dataset:
        overrides["dataset"] = dataset
    _check_data_path(overrides, dataset)
    for chosen in (overrides, typed):
        _make_absolute(chosen)
    if (overrides | typed).get("encoder") and not start.encoder:
        of_vectors = {
            key: value
            for key, value in fields_of_vectors(start).items()
            if key not in overrides | typed and getattr(start, key) != value
        }
        start = dataclasses.replace(start, **of_vectors)
        for key, value in of_vectors.items():
            print(f"for vectors: {key} = {value!r}")
    experiment = _changed(start, overrides, typed)
    plain, before = dict(options.flat(experiment)), dict(options.flat(start))
    given = [options.path(experiment, key) for key in (*overrides, *typed)]
    if twice := [key for key in given if given.count(key) > 1]:
        raise UserError(f"--set: {twice[0]} is given twice")
    for key in given:
        value = plain[key]
        print(f"override: {key} = {value!r}")
        if value != before.get(key) and key != "cache_dir":
            shown = pathlib.Path(value).name if key in _PATHS else value
            name += f",{key}={shown}"
    return name, adapt(experiment, given)


def fields_of_vectors(experiment: Experiment) -> dict:
    """What a preset of images becomes where an encoder makes vectors of them."""
    # Copies of every image take K times as long as the images themselves.
    augment = "none" if experiment.num_views == 1 else AUTO
    return {
        "model": AUTO,
        "augment": augment,
        "width": 0,
        "weights": "",
        "trainable": "all",
        "model_side": 0,
    }


def data_from_flags() -> Experiment:
    """An experiment of which only the data are chosen, by the flags of data."""
    given = _given(_DATA)
    default = Experiment().dataset
    dataset = given.get("dataset") or _dataset_of_path(given.get("data_path"), default)
    _check_data_path(given, dataset)
    _make_absolute(given)
    return Experiment(**given | {"dataset": dataset})


def _given(names: Sequence[str]) -> dict[str, object]:
    """Values of the flags that are set."""
    values = flags.FLAGS
    return {
        key: values[key].value
        for key in names
        if key in values and values[key].value is not None
    }


def _make_absolute(given: dict) -> None:
    for key in _PATHS:
        if given.get(key):
            given[key] = str(pathlib.Path(given[key]).resolve())


def _check_data_path(given: dict, dataset: str) -> None:
    readers = [
        *(of for of, loader in data.LOADERS.items() if loader.place == "data_path"),
        *OWN_FILES,
    ]
    if "data_path" in given and dataset not in readers:
        raise UserError(
            f"--data_path is read by --dataset={', '.join(readers)}, got {dataset}"
        )


def _dataset_of_path(path: str | None, preset: str) -> str:
    """The data set that ``--data_path`` is, or else the preset's."""
    if path is None or preset in OWN_FILES:
        return preset
    place = pathlib.Path(path)
    if place.is_dir():
        return "folder"
    kinds = {".npz": "npz", ".csv": "csv", ".tsv": "csv"}
    if place.suffix.lower() not in kinds:
        raise UserError(
            f"--data_path {path}: "
            + ("no such folder" if not place.exists() else "of an unknown kind")
            + f"; accepted are a folder and files {', '.join(kinds)}"
        )
    return kinds[place.suffix.lower()]


def _settings(overrides: dict) -> dict[str, options.Text]:
    """What ``--set`` says, by key; the values are still to be read."""
    typed = {}
    for text in flags.FLAGS.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: expected key=value")
        if key in overrides or key in typed:
            raise UserError(f"--set {text}: {key} is given twice")
        typed[key] = options.Text(value)
    return typed


def _changed(
    start: Experiment, overrides: dict, typed: dict[str, options.Text]
) -> Experiment:
    try:
        return options.changed(start, overrides | typed)
    except UserError as error:
        if not typed:
            raise
        said = " ".join(f"--set {key}={value}" for key, value in typed.items())
        raise UserError(f"{said}: {error}") from None


def explicit_flags() -> str:
    """The flags given on the command line, a line each, for ``--flagfile``."""
    lines = []
    own = flags.FLAGS.get_flags_for_module(sys.modules[__name__])
    for flag in own:
        if flag.present and flag.name not in _OF_A_LAUNCH:
            values = flag.value if isinstance(flag.value, list) else [flag.value]
            lines += [f"--{flag.name}={value}" for value in values]
    return "\n".join(lines) + "\n"


def run(
    main: Callable[..., None],
    define_flags: Callable[[], None],
    *,
    arguments: bool = False,
) -> None:
    """Define and parse the flags and run ``main``.

    A user's mistake is one line on standard error and exit code 2; one that a signal
    ended is one with exit code 75, see `signals`.

    Args:
      main: what to run.
      define_flags: defines the command's flags.
      arguments: call ``main`` with the list of the arguments that are no flags; else
        such arguments are refused.
    """
    define_flags()

    def parse(argv):
        # For an unknown one absl looks for the nearest, which takes its length squared.
        names = (word.partition("=")[0] for word in argv[1:] if word.startswith("-"))
        if too_long := next((x for x in names if len(x) > _LONGEST_FLAG), None):
            _fail(f"unknown flag {too_long[:20]}... of {len(too_long)} characters")
        if set(argv) & set(help_text.ASKING):
            print(help_text.render(sys.modules[main.__module__]))
            sys.exit(0)
        app.define_help_flags()
        try:
            left = flags.FLAGS(argv)
        except flags.UnrecognizedFlagError as error:
            known = nearest(error.flagname, list(flags.FLAGS))
            _fail(f"unknown flag --{error.flagname}, did you mean --{known}?")
        except flags.Error as error:
            _fail(error)
        # A file of flags that is none.
        except (UnicodeDecodeError, RecursionError) as error:
            _fail(f"--flagfile cannot be read: {error}")
        _check_visible(left[1:])
        if not flags.FLAGS["verbosity"].present:
            # Orbax reports every step of a save at level INFO.
            logging.set_verbosity(logging.WARNING)
        if len(left) > 1 and not arguments:
            _fail(f"unexpected argument {left[1]!r}; options start with --")
        return left

    def guarded(argv):
        try:
            with contextlib.redirect_stdout(Printable(sys.stdout)):
                main(argv[1:]) if arguments else main()
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader, such as head, has seen enough; nor is there one at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except UserError as error:
            _fail(error)
        except OSError as error:
            said = disk.sentence_of(error)
            if said is None:
                raise
            _fail(said)
        except stopping.Stopped as stopped:
            print(f"{stopped}; {signals.AGAIN}", file=sys.stderr)
            sys.exit(signals.STOPPED)

    with signals.watched(stopping.ask, locking.release_all):
        app.run(guarded, flags_parser=parse)


def _check_visible(arguments: Sequence[str]) -> None:
    """Refuse what no name of a file or field is made of, such as a NUL or a newline."""
    given = [("", text) for text in arguments]
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        values = value if isinstance(value, list) else [value]
        given += [(f"--{name} ", text) for text in values if isinstance(text, str)]
    for name, text in given:
        bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cs")]
        if bad:
            _fail(f"{name}{text!r} holds {bad[0]!r}, which no name and no value does")


def _fail(error: Exception | str) -> None:
    text = f"error: {' '.join(str(error).split())}"
    print(text, file=Printable(sys.stderr))
    signals.WATCH.end_soon(2)
    sys.exit(2)
