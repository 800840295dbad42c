"""Encoders: what all share, and the small ones for vectors, spectrograms and images.

Every encoder has two methods: ``features(inputs, train)``, what comes before the head,
and ``__call__(inputs, train)``, the embeddings ``[B, num_heads * embed_dim]`` after the
head, unit vectors if ``normalize`` (the losses on pairs expect those). Inputs are an
array ``[B, ...]`` or a dict ``{"image": [B, ...], "size": [B, 2]}``.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from hierjax import distances
from hierjax.errors import UserError

Inputs = jax.Array | Mapping[str, jax.Array]

TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(±1/sqrt(fan_in)), how PyTorch initialises convolutions and linear layers."""


class UniformDense(nn.Module):
    """Affine layer in float32, weight and bias from U(±1/sqrt(fan_in)) as in PyTorch.

    Attributes:
      features: size of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[B, F]`` to ``[B, features]``."""
        bound = x.shape[-1] ** -0.5

        def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        kernel = self.param("kernel", uniform, (x.shape[-1], self.features))
        bias = self.param("bias", uniform, (self.features,))
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST) + bias[None]


class _Heads(nn.Module):
    """Projection heads side by side on the same features.

    Attributes:
      affine: the layer that ends a head; every layer is a copy of it, in its own width.
      num_layers: 1, or 2 with a ReLU between; a hidden layer is as wide as the features
        (Khosla et al. 2020).
      num_heads: number of heads.
    """

    affine: nn.Module
    num_layers: int
    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[B, F]`` to ``[B, num_heads * affine.features]``."""
        embeddings = []
        for head in range(self.num_heads):
            y = x
            if self.num_layers == 2:
                hidden = self.affine.clone(
                    parent=self, name=f"hidden_{head}", features=x.shape[-1]
                )
                y = nn.relu(hidden(x))
            output = self.affine.clone(parent=self, name=f"output_{head}")
            embeddings.append(output(y))
        return jnp.concatenate(embeddings, axis=-1)


class Encoder(nn.Module):
    """Head, size information and normalisation; subclasses give ``extract``.

    Parameters, the head and all after it are float32 whatever ``dtype`` is.

    Attributes:
      embed_dim: size D of the embedding, of each head's part if there are several.
      normalize: return unit vectors; a zero embedding stays zero. With several heads
        each one's part is a unit vector.
      size_inform: add an affine function of log(width, height), the size of the
        original image in pixels, to the embedding before it is normalised (Kim et al.
        2023, for plankton); inputs must then be a dict with 'size'.
      dtype: what ``extract`` computes in, float32 or bfloat16.
      head_layers: 1, an affine head, or 2, the projection head of SupContrast (Khosla
        et al. 2020): affine to the width of the features, ReLU, affine.
      num_heads: so many heads side by side on the same features; the embedding is their
        concatenation ``[B, num_heads * embed_dim]``, head by head. Heads are not
        combined with ``size_inform``.

    Example:
      A network of one's own says what comes before the head.

      >>> class Spectrum(Encoder):
      ...     def extract(self, x, train):
      ...         return jnp.abs(jnp.fft.rfft(x))
      >>> encoder = Spectrum(embed_dim=2)
      >>> signals = jnp.sin(jnp.arange(12.0).reshape(3, 4))
      >>> embeddings, variables = encoder.init_with_output(jax.random.key(0), signals)
      >>> jnp.linalg.norm(embeddings, axis=1).round(3).tolist()
      [1.0, 1.0, 1.0]
      >>> encoder.apply(variables, signals, method="features").shape
      (3, 3)
    """

    embed_dim: int
    normalize: bool = True
    size_inform: bool = False
    dtype: DTypeLike = jnp.float32
    head_layers: int = 1
    num_heads: int = 1

    def __post_init__(self):
        """Checks the settings of the head.

        Raises:
          UserError: a setting of the head is out of range.
        """
        if self.head_layers not in (1, 2):
            raise UserError(f"head_layers must be 1 or 2, got {self.head_layers}")
        if self.num_heads < 1:
            raise UserError(f"num_heads must be at least 1, got {self.num_heads}")
        if self.size_inform and self.num_heads > 1:
            raise UserError(
                f"size_inform takes one head, got num_heads {self.num_heads}; leave "
                "one of the two out"
            )
        super().__post_init__()

    def setup(self):
        """Creates the head."""
        if self.head_layers == self.num_heads == 1:
            self.head = self._make_head()
        else:
            affine = self._make_head().clone()  # Without a place among the parameters.
            self.head = _Heads(affine, self.head_layers, self.num_heads)
        if self.size_inform:
            self.size_head = UniformDense(self.embed_dim)

    def _make_head(self) -> nn.Module:
        """The affine layer that ends every head."""
        return nn.Dense(self.embed_dim, precision=jax.lax.Precision.HIGHEST)

    def __call__(self, inputs: Inputs, train: bool = False) -> jax.Array:
        """Embeddings ``[B, num_heads * embed_dim]``.

        Raises:
          UserError: ``size_inform`` is set and the inputs have no size.
        """
        embeddings = self.head(self.features(inputs, train))
        if self.size_inform:
            if not (isinstance(inputs, Mapping) and "size" in inputs):
                raise UserError(
                    "size_inform needs the size of every image and the inputs have "
                    "none; give a dict with 'image' [B, ...] and 'size' [B, 2], or "
                    "data that record sizes"
                )
            embeddings += self.size_head(jnp.log(inputs["size"].astype(jnp.float32)))
        if not self.normalize:
            return embeddings
        parts = embeddings.reshape(-1, self.num_heads, self.embed_dim)
        return distances.unit_normalize(parts).reshape(embeddings.shape)

    def features(self, inputs: Inputs, train: bool = False) -> jax.Array:
        """What comes before the head, ``[B, F]`` float32."""
        x = inputs["image"] if isinstance(inputs, Mapping) else inputs
        return self.extract(x.astype(jnp.float32), train).astype(jnp.float32)

    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """From float32 inputs ``[B, ...]`` to features ``[B, F]``."""
        raise NotImplementedError


class Linear(Encoder):
    """One affine layer on the flattened input, the network of Nolasco & Stowell.

    Example:
      >>> images = jnp.ones((2, 8, 8))
      >>> embeddings, variables = Linear(3).init_with_output(
      ...     jax.random.key(0), images
      ... )
      >>> embeddings.shape, sum(x.size for x in jax.tree.leaves(variables))
      ((2, 3), 195)
    """

    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """The flattened input ``[B, F]``."""
        del train
        return x.reshape(x.shape[0], -1)


def start_linear(kind: str, rows: np.ndarray, variables: dict) -> dict:
    """Gives a `Linear` weights that keep its input, so that training starts there.

    Args:
      kind: 'identity': the input in the first dimensions and zeros behind; 'pca': its
        principal components, the largest first.
      rows: ``[N, ...]`` of the training split, on which components are fitted.
      variables: as the encoder made them, with one affine head.

    Returns:
      The same tree with other numbers. Embeddings ``[N, D]`` have zeros in dimensions
      beyond those of the input, and have the input's angles where D is large enough.

    Raises:
      UserError: the encoder has more than one affine layer, 'identity' and D below the
        features of a row, or an unknown kind.

    Example:
      >>> rows = np.array([[3.0, 0.0], [-3.0, 0.5], [0.0, -0.5]])
      >>> encoder = Linear(1, normalize=False)
      >>> fresh = encoder.init(jax.random.key(0), rows)
      >>> start = start_linear("pca", rows, fresh)
      >>> jnp.abs(encoder.apply(start, rows)[:, 0]).round(1).tolist()
      [3.0, 3.0, 0.0]
    """
    head = variables["params"].get("head", {})
    if set(head) != {"kernel", "bias"} or set(variables["params"]) != {"head"}:
        raise UserError(
            f"init {kind!r} is of the model linear with head_layers 1 and one head; "
            "choose those or init random"
        )
    size, dim = head["kernel"].shape
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    kernel, bias = np.zeros((size, dim)), np.zeros(dim)
    if kind == "identity":
        if dim < size:
            raise UserError(
                f"init identity needs embed_dim of at least the {size} features of a "
                f"row, got {dim}; choose init pca"
            )
        kernel[:, :size] = np.eye(size)
    elif kind == "pca":
        # Imported here: scikit-learn is slow to load.
        from sklearn.decomposition import PCA

        found = PCA(min(dim, *rows.shape), random_state=0).fit(rows)
        kernel[:, : len(found.components_)] = found.components_.T
        bias = -found.mean_ @ kernel
    else:
        raise UserError(f"init must be 'identity' or 'pca', got {kind!r}")
    start = {"kernel": np.float32(kernel), "bias": np.float32(bias)}
    return {**variables, "params": {"head": jax.tree.map(jnp.asarray, start)}}


class MLP(Encoder):
    """Hidden ReLU layers on the flattened input.

    Attributes:
      hidden_sizes: width of each hidden layer.

    Example:
      >>> mlp = MLP(embed_dim=3, hidden_sizes=(16, 5))
      >>> vectors = jnp.ones((2, 4))
      >>> variables = mlp.init(jax.random.key(0), vectors)
      >>> mlp.apply(variables, vectors, method="features").shape
      (2, 5)
    """

    hidden_sizes: Sequence[int] = (256,)

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """The last hidden layer ``[B, hidden_sizes[-1]]``."""
        del train
        x = x.reshape(x.shape[0], -1)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size, dtype=self.dtype)(x))
        return x


class BatchNormEncoder(Encoder):
    """Encoder with BatchNorm.

    Attributes:
      axis_name: mapped axis over which BatchNorm takes its statistics in training, so
        that N devices see the statistics of the whole batch; None: this device's.
    """

    axis_name: str | None = None

    def _batch_norm(self, train: bool, **settings: float) -> Callable[..., nn.Module]:
        return functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            axis_name=self.axis_name if train else None,
            dtype=self.dtype,
            **settings,
        )


class ImageEncoder(BatchNormEncoder):
    """Encoder with BatchNorm of images ``[B, H, W]`` (one channel) or ``[B, H, W, C]``.

    Attributes as those of `BatchNormEncoder`.
    """

    def _as_images(self, x: jax.Array) -> jax.Array:
        if x.ndim not in (3, 4):
            name = type(self).__name__
            raise UserError(
                f"{name} takes images [B, H, W(, C)], got {x.shape}; the models linear "
                "and mlp take any shape"
            )
        return x if x.ndim == 4 else x[..., None]


class ConvNet(ImageEncoder):
    """Convolution, BatchNorm and ReLU with strides, then the mean over positions.

    Attributes:
      channels: channels of each stage; every stage halves height and width.
      flatten: keep the positions of the last map instead of their mean: for writing and
        other images where it tells much where a stroke is. The head grows with the
        size of the image.

    Example:
      Shapes alone; nothing is computed.

      >>> net = ConvNet(embed_dim=8, channels=(4, 6), num_heads=2)
      >>> images = jnp.ones((2, 16, 16, 3))
      >>> embeddings, variables = jax.eval_shape(
      ...     net.init_with_output, jax.random.key(0), images
      ... )
      >>> embeddings.shape, sorted(variables)
      ((2, 16), ['batch_stats', 'params'])
    """

    channels: Sequence[int] = (32, 64, 128)
    flatten: bool = False

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """Channels ``[B, channels[-1]]``, or those of all positions side by side."""
        x = self._as_images(x)
        conv = functools.partial(nn.Conv, strides=2, use_bias=False, dtype=self.dtype)
        norm = self._batch_norm(train)
        for channels in self.channels:
            x = nn.relu(norm()(conv(channels, (3, 3))(x)))
        if self.flatten:
            return x.reshape(x.shape[0], -1)
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
