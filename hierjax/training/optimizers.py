"""Optax optimisers from a config."""

import functools

import optax

from hierjax.training.config import Config


@functools.lru_cache(maxsize=32)
def _unit_rate_optimizer(
    name, schedule, warmup_steps, num_steps, momentum, weight_decay
):
    """Optimiser with peak learning rate 1, the same object for the same settings."""
    if schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps, num_steps)
    elif warmup_steps:
        rate = optax.linear_schedule(0.0, 1.0, warmup_steps)
    else:
        rate = 1.0
    if name == "adamw":
        return optax.adamw(rate, weight_decay=weight_decay)
    core = optax.adam(rate) if name == "adam" else optax.sgd(rate, momentum or None)
    if weight_decay:
        return optax.chain(optax.add_decayed_weights(weight_decay), core)
    return core


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The optimiser a config describes.

    The peak learning rate is a value in the optimiser state, not a constant of the
    compiled step: runs that differ in nothing else share one compilation.
    """
    only_cosine = config.num_steps if config.schedule == "cosine" else 0
    core = _unit_rate_optimizer(
        config.optimizer,
        config.schedule,
        config.warmup_steps,
        only_cosine,
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
