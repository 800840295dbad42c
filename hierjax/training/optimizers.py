"""Optax optimisers from a config."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hierjax.training.config import Config


@functools.lru_cache(maxsize=32)
def _unit_rate_optimizer(
    name,
    schedule,
    warmup_steps,
    warmup_start,
    num_steps,
    final_share,
    momentum,
    weight_decay,
):
    """Optimiser with peak learning rate 1, the same object for the same settings."""
    if schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            warmup_start, 1.0, warmup_steps, num_steps, final_share
        )
    elif warmup_steps:
        rate = optax.linear_schedule(warmup_start, 1.0, warmup_steps)
    else:
        rate = 1.0
    if name == "adamw":
        return optax.adamw(rate, weight_decay=weight_decay)
    if name == "lars":
        return optax.lars(
            rate,
            weight_decay=weight_decay,
            weight_decay_mask=_more_than_vectors,
            trust_ratio_mask=_more_than_vectors,
            momentum=momentum,
        )
    core = optax.adam(rate) if name == "adam" else optax.sgd(rate, momentum or None)
    if weight_decay:
        return optax.chain(optax.add_decayed_weights(weight_decay), core)
    return core


def _more_than_vectors(params: Any) -> Any:
    """True for kernels and proxies; False for biases, BatchNorm and scalars."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The optimiser a config describes.

    The peak learning rate is a value in the optimiser state, not a constant of the
    compiled step: runs that differ in nothing else share one compilation.

    LARS (You et al. 2017, arXiv:1708.03888) scales each kernel's step to a thousandth
    of the kernel's norm times the learning rate, so that its learning rates are larger
    than those of SGD by orders of magnitude; one-dimensional parameters take plain
    steps without weight decay.

    The published warm-up with cosine decay of SupContrast (Khosla et al. 2020) changes
    its rate once an epoch and warms up to the value of a cosine that began at step 0;
    here the rate changes every step and the cosine begins at the end of the warm-up.
    Its 0.01 to 0.5 and down to 0.0005 is ``learning_rate=0.5, warmup_start=0.02,
    final_share=0.001``.

    Args:
      config: of which optimiser, rates, schedule, momentum and decay count; the steps
        of the run only under the cosine.

    Returns:
      Its ``update`` is the same object for configs that differ in the learning rate
      alone, or in what does not count.
    """
    is_cosine = config.schedule == "cosine"
    core = _unit_rate_optimizer(
        config.optimizer,
        config.schedule,
        config.warmup_steps,
        config.warmup_start,
        config.num_steps if is_cosine else 0,
        config.final_share if is_cosine else 0.0,
        config.momentum,
        config.weight_decay,
    )
    return optax.GradientTransformation(
        lambda params: (core.init(params), config.learning_rate), _scaled_update(core)
    )


@functools.lru_cache(maxsize=32)
def _scaled_update(core):
    """The update of ``core`` times the learning rate that stands in the state."""

    def update(updates, state, params=None):
        inner, learning_rate = state
        updates, inner = core.update(updates, inner, params)
        return optax.tree.scale(learning_rate, updates), (inner, learning_rate)

    return update
