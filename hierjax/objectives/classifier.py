"""Classification with one representative a class, and every way to train those.

Kim et al. 2023, "Inspecting class hierarchies in classification-based metric learning
models" (arXiv 2301.11065): softmax, NormFace, ProxyDR and CORR with learned,
moving-average or fixed proxies, and a constant or dynamic scale.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import distances, proxies, reductions
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.objectives.criteria import Criterion, CrossEntropy
from hierjax.objectives.lifted import flatten_views
from hierjax.objectives.method import Method
from hierjax.objectives.objective import Objective
from hierjax.objectives.representatives import FixedFrame, Learned, Representatives
from hierjax.objectives.scales import Constant, Scale
from hierjax.objectives.scores import ProxyDR, Score
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class Classification(Method):
    """Classify the leaves: score x representatives x scale x criterion.

    The tree is used for the number of classes only, except where representatives or
    criterion read it, and for rows of unknown leaf. Moving averages and the dynamic
    scale take nothing from such rows. The representatives of the objective are unit
    vectors; scores by others than its own use the same formula, softmax without biases.
    """

    name = "classifier"
    family = "class_hierarchies"

    score: Score = option(ProxyDR(), "'softmax', 'normface', 'proxydr' or 'arcface'.")
    representatives: Representatives = option(
        Learned(), "vectors of the classes: 'learned', 'ema', 'mds' or 'haframe'."
    )
    scale: Scale = option(Constant(), "of the scores: 'constant' or 'dynamic'.")
    criterion: Criterion = option(
        CrossEntropy(), "what is minimised, such as 'cross_entropy'."
    )
    class_priors: bool = option(
        False, "add the log share of every class to its score (logit adjustment)."
    )

    def __post_init__(self):
        super().__post_init__()
        score, criterion = self.score, self.criterion
        ours, needed = self.representatives.name, criterion.representatives
        if needed is not None and ours != needed:
            raise UserError(
                f"{criterion.name} needs the representatives {needed!r}, got {ours!r}"
            )
        if criterion.score is not None and score.name != criterion.score:
            raise UserError(
                f"{criterion.name} needs the score {criterion.score!r}, got "
                f"{score.name!r}"
            )
        free = isinstance(self.representatives, (Learned, FixedFrame))
        constant = isinstance(self.scale, Constant)
        if not score.has_scale and not (free and constant):
            raise UserError(
                f"{score.name} has neither proxies nor a scale to choose, only the "
                "representatives 'learned' or 'haframe'"
            )
        if not constant and not criterion.reads_scale:
            raise UserError(
                f"{criterion.name} has no dynamic scale: its loss does not read the "
                "scale"
            )
        if not constant and score.name not in proxies.METHODS:
            raise UserError(
                f"a dynamic scale is known for {' and '.join(proxies.METHODS)}, not "
                f"for {score.name}"
            )

    @property
    def unit_rows(self) -> bool:
        """As the score takes them."""
        return self.score.unit_rows

    def reads(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None
    ) -> tuple[Hierarchy, tuple[int, ...] | None]:
        """The tree, and the counts where they become priors."""
        if not self.class_priors:
            return hierarchy, None
        if class_counts is None or len(class_counts) != hierarchy.num_classes:
            raise UserError(
                f"class_priors need the rows of {hierarchy.num_classes} classes, got "
                f"{'none' if class_counts is None else len(class_counts)}"
            )
        return hierarchy, tuple(class_counts)

    def make(self, read: tuple[Hierarchy, tuple[int, ...] | None]) -> Objective:
        """The four put together."""
        hierarchy, counts = read
        priors = 0.0 if counts is None else _log_shares(counts)[None, :]

        def init(key, example_embeddings):
            dim = example_embeddings.shape[-1]
            params, state = self.representatives.init(key, hierarchy, dim, self.score)
            params |= self.score.parameters(hierarchy.num_classes)
            return params, state | self.scale.init(hierarchy.num_classes, self.score)

        def vectors_of(params, state):
            return (params | state)[self.score.vectors]

        def scores(params, state, embeddings, representatives=None):
            vectors = representatives
            if vectors is None:
                vectors = vectors_of(params, state)
            else:
                params = {}
            scale = self.scale.of(state)
            return self.score.logits(params, embeddings, vectors, scale) + priors

        def apply(params, state, embeddings, labels, *, key, where, axis_name):
            del key
            rows, labels, where = flatten_views(embeddings, labels, where)
            # Padding may hold NaN, which times a gradient of 0 would be NaN in the
            # gradient of the vectors.
            rows = jnp.where(where[:, None], rows, 0.0)
            batch = Batch(rows, labels, where, axis_name)
            vectors, ids = vectors_of(params, state), batch.class_ids
            logits = self.score.training_logits(
                params, rows, vectors, self.scale.of(state), ids
            )
            loss = self.criterion.loss(hierarchy, logits + priors, vectors, batch)
            found = jnp.argmax(scores(params, state, rows), -1)
            correct = (found == ids).astype(jnp.float32)
            metrics = {
                "accuracy": reductions.masked_mean(
                    correct, where & (ids >= 0), axis_name=axis_name
                )
            }
            rows, vectors = jax.lax.stop_gradient((rows, vectors))
            batch = batch._replace(embeddings=rows)
            scaled = self.scale.update(state, self.score, vectors, batch)
            moved = self.representatives.update(state, batch)
            if scaled:
                metrics["scale"] = self.scale.of(scaled)
            return loss, (state | scaled | moved, metrics)

        def representatives(params, state):
            return distances.unit_normalize(vectors_of(params, state))

        return Objective(
            apply=apply,
            init=init,
            scores=scores,
            representatives=representatives,
            num_classes=hierarchy.num_classes,
        )


def _log_shares(counts: Sequence[int]) -> jax.Array:
    # A class without rows is as unlikely as half a row.
    counts = np.maximum(np.asarray(counts, np.float64), 0.5)
    return jnp.asarray(np.log(counts / counts.sum()), jnp.float32)
