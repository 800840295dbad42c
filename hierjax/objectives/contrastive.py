"""SimCLR, SupCon, HMC, HCE and HMCE as methods."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax

from hierjax import losses
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import from_loss
from hierjax.objectives.method import Method
from hierjax.objectives.objective import Objective
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class Contrastive(Method):
    """What contrastive methods share.

    A subclass defines ``loss_fn``: what of `losses` takes views ``[B, V, D]``, labels
    ``[B, L]`` and these options.
    """

    family = "hierarchical_contrastive"

    temperature: float = option(0.1, "T of the similarities, positive.", above=0)
    block_size: int = option(
        0, "anchors at a time, to bound the memory; 0: all.", minimum=0
    )

    def reads(self, hierarchy: Hierarchy, class_counts: Sequence[int] | None) -> None:
        """Nothing: the labels say it all."""
        del hierarchy, class_counts

    def make(self, read: None) -> Objective:
        """The loss of the views, lifted."""
        del read
        return from_loss(
            self.loss_fn(),
            views=True,
            temperature=self.temperature,
            block_size=self.block_size or None,
        )

    def loss_fn(self) -> Callable[..., jax.Array]:
        """The loss with its other options bound."""
        raise NotImplementedError(f"{type(self).__name__} must define loss_fn")


def _base_temperature(official: bool) -> float | None:
    return losses.OFFICIAL_BASE_TEMPERATURE if official else None


@dataclasses.dataclass(frozen=True)
class SimCLR(Contrastive):
    """SimCLR, no labels (Chen et al. 2020)."""

    name = "simclr"
    min_views = 2
    needs_classes = False

    official: bool = option(False, "the base temperature of SupCon's code, 0.07.")

    def make(self, read: None) -> Objective:
        """Rows without any label teach too."""
        return dataclasses.replace(super().make(read), needs_labels=False)

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.simclr_loss`."""
        base = _base_temperature(self.official)

        def loss(embeddings, labels, **options):
            del labels
            return losses.simclr_loss(embeddings, base_temperature=base, **options)

        return loss


@dataclasses.dataclass(frozen=True)
class SupCon(Contrastive):
    """SupCon at one level (Khosla et al. 2020)."""

    name = "supcon"

    label_level: int = option(-1, "of the labels; 0 is the coarsest, -1 the finest.")
    official: bool = option(False, "the base temperature of its code, 0.07.")

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.supcon_loss`."""
        level, base = self.label_level, _base_temperature(self.official)

        def loss(embeddings, labels, **options):
            if not -labels.shape[1] <= level < labels.shape[1]:
                raise UserError(
                    f"label_level {level} is not among the {labels.shape[1]} levels"
                )
            return losses.supcon_loss(
                embeddings, labels[:, level], base_temperature=base, **options
            )

        return loss


@dataclasses.dataclass(frozen=True)
class HMC(Contrastive):
    """SupCon at every level, finer ones weighing more (Zhang et al. 2022)."""

    name = "hmc"

    official: bool = option(False, "as the published code computes it.")

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.hmc_loss`."""
        return functools.partial(losses.hmc_loss, official=self.official)


@dataclasses.dataclass(frozen=True)
class HCE(Contrastive):
    """SupCon at every level under the hierarchical constraint (Zhang et al. 2022)."""

    name = "hce"

    pairwise_max: bool = option(False, "constrain pairs, see `losses.hce_loss`.")
    official: bool = option(False, "as the published code computes it.")

    def __post_init__(self):
        super().__post_init__()
        if self.pairwise_max and self.official:
            raise UserError("pairwise_max is not an option of the published code")

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.hce_loss`."""
        return self._bound(losses.hce_loss)

    def _bound(self, loss_fn: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return functools.partial(
            loss_fn, pairwise_max=self.pairwise_max, official=self.official
        )


@dataclasses.dataclass(frozen=True)
class HMCE(HCE):
    """HMC under the hierarchical constraint (Zhang et al. 2022)."""

    name = "hmce"

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.hmce_loss`."""
        return self._bound(losses.hmce_loss)
