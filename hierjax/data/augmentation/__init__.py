"""Random changes of examples, on the device and one example at a time.

Each is ``(key, example [...]) -> views [V, ...]``, and the training step maps it over
the batch. Those here return one view; `with_views` makes several of it.
"""

from hierjax.data.augmentation.drawn import drawn_views
from hierjax.data.augmentation.images import (
    affine,
    crop_flip_views,
    random_affine_flip,
    random_flip,
    random_resized_crop,
    random_slant,
    resized_crop,
    shift_jitter_noise,
    simclr_views,
)
from hierjax.data.augmentation.points import points_256, points_rotate_jitter
from hierjax.data.augmentation.spectrograms import random_shift_noise, spec_augment
from hierjax.data.augmentation.views import with_views

AUGMENTATIONS = {
    "crop_flip": crop_flip_views,
    "points_256": points_256,
    "points_rotate_jitter": points_rotate_jitter,
    "random_affine_flip": random_affine_flip,
    "random_shift_noise": random_shift_noise,
    "random_slant": random_slant,
    "shift_jitter_noise": shift_jitter_noise,
    "simclr": simclr_views,
    "spec_augment": spec_augment,
}
"""Augmentations by name."""

__all__ = [
    "AUGMENTATIONS",
    "affine",
    "crop_flip_views",
    "drawn_views",
    "points_256",
    "points_rotate_jitter",
    "random_affine_flip",
    "random_flip",
    "random_resized_crop",
    "random_shift_noise",
    "random_slant",
    "resized_crop",
    "shift_jitter_noise",
    "simclr_views",
    "spec_augment",
    "with_views",
]
