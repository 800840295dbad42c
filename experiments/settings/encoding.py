"""Images of an experiment as the features of its frozen encoder."""

import functools

from experiments.settings import notices
from experiments.settings.experiment import Experiment
from hierjax import data, models
from hierjax.data.reading.media import DEFAULT_SIZE


def encode(experiment: Experiment, images: data.Dataset) -> data.Dataset:
    """Replaces images by features as the experiment says, see `data.encode_images`."""
    return _encoded(images, encoder_of(experiment), experiment.cache_dir)


def add_views(
    experiment: Experiment, encoded: data.Dataset, images: data.Dataset
) -> data.Dataset:
    """Adds the copies that a step draws its views of, see `data.add_views`."""
    with notices.printed():
        return data.add_views(
            encoded,
            images,
            experiment.augment,
            experiment.cached_views,
            experiment.cache_dir,
        )


def encoder_of(experiment: Experiment) -> models.FrozenEncoder:
    """The frozen encoder, loaded once for all who ask.

    Raises:
      UserError: its weights are not there, or are those of another network.
    """
    return _loaded(
        experiment.encoder, experiment.encoder_weights, experiment.encoder_side
    )


def side_of_files(experiment: Experiment) -> int:
    """Up to which side images are read from files if nobody says: what is needed."""
    return encoder_of(experiment).side if experiment.encoder else DEFAULT_SIZE


@functools.lru_cache(maxsize=1)
def _loaded(name: str, weights: str, side: int) -> models.FrozenEncoder:
    return models.frozen_encoder(name, weights=weights, side=side)


# As large as the images are; every seed may have splits of its own.
@functools.lru_cache(maxsize=1)
def _encoded(
    images: data.Dataset, encoder: models.FrozenEncoder, cache_dir: str
) -> data.Dataset:
    with notices.printed():
        return data.encode_images(images, encoder, cache_dir)
