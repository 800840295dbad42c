"""The data of an experiment, loaded and changed as it says."""

import functools
import pathlib

from experiments.settings import encoding, notices
from experiments.settings.experiment import AUTO, Experiment
from hierjax import data, evaluation
from hierjax.data import transforms
from hierjax.errors import MissingDataError

# Sets the user brings, and where their recordings come from.
OWN_FILES = {
    "nsynth": "NSynth (magenta.tensorflow.org/datasets/nsynth)",
    "birds": "the three bird species (doi.org/10.1098/rsif.2018.0940)",
}


def load_given(experiment: Experiment) -> data.Dataset:
    """Load the data set as it is, images as such, loaded once for all who ask."""
    return _load_as_given(
        experiment.dataset,
        experiment.data_dir,
        experiment.data_path,
        experiment.hierarchy,
        experiment.label_fields,
        experiment.image_size,
        encoding.side_of_files(experiment),
        experiment.parents,
        experiment.edge_order,
        experiment.missing_as_names,
        experiment.skip_unreadable,
        experiment.pixel_max,
        experiment.protocol,
        experiment.fold,
        _split_seed(experiment),
    )


def load_data(experiment: Experiment) -> data.Dataset:
    """Load the data set and apply what the experiment does to it; rows stay."""
    given = dataset = load_given(experiment)
    seed = experiment.seed
    if experiment.encoder:
        dataset = encoding.encode(experiment, given)
    if experiment.num_train:
        dataset = transforms.keep_train(dataset, experiment.num_train, seed)
    if experiment.num_evaluated:
        dataset = transforms.keep_evaluated(dataset, experiment.num_evaluated)
    if experiment.long_tail:
        dataset = transforms.long_tail(dataset, experiment.long_tail, seed)
    if experiment.shuffle_hierarchy:
        dataset = transforms.shuffle_hierarchy(dataset, seed)
    if experiment.refit:
        dataset = transforms.refit(dataset)
    if experiment.hidden_labels:
        dataset = transforms.hide_fine_labels(dataset, experiment.hidden_labels, seed)
    if experiment.incomplete == "coarse":
        dataset = transforms.coarse_only(dataset)
    elif experiment.incomplete == "drop":
        dataset = transforms.drop_incomplete(dataset)
    if experiment.encoder and experiment.augment not in ("none", AUTO):
        dataset = encoding.add_views(experiment, dataset, given)
    if experiment.noise:
        dataset = transforms.add_noise(dataset, experiment.noise, seed)
    if experiment.pca:
        dataset = transforms.pca(dataset, experiment.pca)
    if experiment.standardize:
        dataset = transforms.standardize(dataset)
    elif experiment.common_scale:
        dataset = transforms.center(dataset)
    return dataset


def _split_seed(experiment: Experiment) -> int:
    """The run's seed where it draws the split, else always 0 and loaded once."""
    if experiment.dataset in OWN_FILES:
        return 0
    return experiment.seed if data.find_loader(experiment.dataset).has_seed else 0


@functools.lru_cache(maxsize=8)
def _load_as_given(
    name,
    data_dir,
    data_path,
    hierarchy,
    fields,
    image_size,
    default_size,
    parents,
    edge_order,
    missing_as_names,
    skip_unreadable,
    pixel_max,
    protocol,
    fold,
    seed,
):
    if name in OWN_FILES:
        path = pathlib.Path(data_path or pathlib.Path(data_dir) / f"{name}.npz")
        if not path.exists():
            raise MissingDataError(
                f"{path}: no such file; embed {OWN_FILES[name]} and save features "
                f"[N, D] and labels [N, L] there as {name}.npz, in --data_dir, or name "
                "the file with --data_path"
            )
        name, data_path = "npz", str(path)
    with notices.printed():
        return data.load(
            name,
            data_dir=data_dir or None,
            data_path=data_path or None,
            hierarchy=hierarchy or None,
            label_fields=[field.strip() for field in fields.split(",") if field],
            image_size=image_size,
            default_size=default_size,
            parents=parents,
            edge_order=edge_order or None,
            missing_as_names=missing_as_names,
            skip_unreadable=skip_unreadable,
            pixel_max=pixel_max,
            protocol=protocol or None,
            fold=fold,
            seed=seed,
        )


def embed_input(dataset: data.Dataset) -> evaluation.Embed:
    """Embedding function of the row 'init': the input itself, flattened."""
    return lambda rows: dataset.float_features(rows).reshape(len(rows), -1)
