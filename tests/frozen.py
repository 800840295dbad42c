"""A frozen encoder that needs no weights: a fixed projection of shrunk images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Projection:
    """What `models.frozen_encoder` gives, and how many images it has seen."""

    name: str = "efficientnet_lite0"
    weights: str = ""
    side: int = 4
    digest: str = "0123456789abcdef"
    num_features: int = 6
    seen: list = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, images):
        self.seen.append(len(images))
        return np.asarray(self.forward(images))

    def forward(self, images):
        x = jnp.asarray(images, jnp.float32) / 255
        x = x.mean(axis=-1) if x.ndim == 4 else x
        x = jax.image.resize(x, (x.shape[0], self.side, self.side), "linear")
        seed = int(self.digest[:8], 16)
        kernel = np.random.default_rng(seed).normal(size=(self.side**2, 6))
        exact = jax.lax.Precision.HIGHEST
        x = x.reshape(x.shape[0], self.side**2)
        return jax.nn.relu(jnp.dot(x, np.float32(kernel), precision=exact))


def projection(name, *, weights="", side=0):
    """In the place of `models.frozen_encoder`."""
    return Projection(name, weights, side or Projection.side)
