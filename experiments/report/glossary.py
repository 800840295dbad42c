"""What every measure means: definition, range, which direction is better."""

from typing import NamedTuple

from hierjax.evaluation.names import ALL, parse_measure

HIGHER, LOWER = "higher is better", "lower is better"


class Term(NamedTuple):
    """The explanation of a measure, in words.

    Attributes:
      title: its name in a table.
      definition: one or two sentences.
      range: smallest and largest value, and where useful that of chance.
      better: `HIGHER`, `LOWER`, or '' where neither is.
    """

    title: str
    definition: str
    range: str
    better: str = ""


_CORRELATED = (
    "correlation between the distances of the class representatives and the hops "
    "between the classes in the tree"
)
_MISTAKES = (
    ", where k-NN is wrong; mean over the mistakes alone, so that few mistakes may "
    "have a large one"
)
_PAIRS = "over all pairs of class representatives"
_CALIBRATED = "in 15 equal bins of the largest softmax score"

TERMS = {
    "silhouette": Term(
        "Silhouette, cosine",
        "How much nearer a query is to the other queries of its node than to those of "
        "the nearest other node, (b - a) / max(a, b), by cosine distance; mean over "
        "queries.",
        "-1 to 1; 0 on the border",
        HIGHER,
    ),
    "silhouette_euclidean": Term(
        "Silhouette, Euclidean",
        "As the silhouette by cosine, with Euclidean distance.",
        "-1 to 1; 0 on the border",
        HIGHER,
    ),
    "knn": Term(
        "k-NN accuracy",
        "Share of queries whose k nearest training rows, by cosine, vote for the right "
        "node. k is chosen on validation for every level, or 1 without validation.",
        "0 to 1",
        HIGHER,
    ),
    "linear": Term(
        "Linear classifier of the input",
        "Accuracy of a logistic regression or linear discriminants, whichever is "
        "better on validation, on at most 128 principal components of the input.",
        "0 to 1",
        HIGHER,
    ),
    "nearest_mean": Term(
        "Nearest-mean accuracy",
        "Share of queries that are nearest, by cosine, to the mean of the training "
        "rows of their own node.",
        "0 to 1",
        HIGHER,
    ),
    "mistake_hops": Term(
        "Distance of mistakes",
        f"Hops between the predicted and the true class{_MISTAKES}.",
        "1 to the diameter of the tree",
        LOWER,
    ),
    "mistake_height": Term(
        "Height of mistakes",
        "Height of the lowest common ancestor of the predicted and the true class"
        f"{_MISTAKES}.",
        "1 to the height of the tree",
        LOWER,
    ),
    "accuracy": Term(
        "Accuracy",
        "Share of queries whose class, or whose node where a level is named, has the "
        "best score.",
        "0 to 1",
        HIGHER,
    ),
    "accuracy@5": Term(
        "Accuracy among five",
        "Share of queries whose class is among the five best scores.",
        "0 to 1",
        HIGHER,
    ),
    "cost": Term(
        "Hierarchical cost",
        "Hops from the predicted class to the true one, 0 where it is right; mean over "
        "all queries.",
        "0 to the diameter of the tree",
        LOWER,
    ),
    "hierarchical_distance@5": Term(
        "Distance of the five best",
        "Mean hops from the five classes of best score to the true one.",
        "0 to the diameter of the tree",
        LOWER,
    ),
    "hierarchical_precision@5": Term(
        "Hierarchical precision at 5",
        "Share of the five classes of best score that are among the classes nearest to "
        "the true one in the tree.",
        "0 to 1",
        HIGHER,
    ),
    "similarity": Term(
        "Hierarchical similarity",
        "Similarity in the tree of a query's class to those of its nearest other "
        "queries, up to a rank.",
        "0 to 1",
        HIGHER,
    ),
    "similarity_area": Term(
        "Area under the hierarchical similarity",
        "The hierarchical similarity as an area over all ranks up to 250.",
        "0 to 1",
        HIGHER,
    ),
    "gamma": Term(
        "Goodman-Kruskal gamma",
        "Pairs of class pairs that representatives and tree order alike, less those "
        "ordered oppositely, by their sum.",
        "-1 to 1; chance 0",
        HIGHER,
    ),
    "spearman": Term(
        "Spearman's rho",
        f"Rank {_CORRELATED}, class by class, averaged by Fisher's transform.",
        "-1 to 1; chance 0",
        HIGHER,
    ),
    "pearson": Term(
        "Pearson's r",
        f"Linear {_CORRELATED}, class by class, averaged by Fisher's transform.",
        "-1 to 1; chance 0",
        HIGHER,
    ),
    "kendall": Term(
        "Kendall's tau",
        f"Rank {_CORRELATED}, class by class, averaged by Fisher's transform.",
        "-1 to 1; chance 0",
        HIGHER,
    ),
    **{
        f"elementwise_{method}": Term(
            f"Correlation over pairs, {method.capitalize()}",
            f"The {_CORRELATED}, over all pairs of classes at once.",
            "-1 to 1; chance 0",
            HIGHER,
        )
        for method in ("spearman", "pearson", "kendall")
    },
    "spearman_with_self": Term(
        "Spearman's rho with self",
        "As Spearman's rho, with every class's distance 0 to itself among the pairs, "
        "as published; that raises it.",
        "-1 to 1; chance above 0",
        HIGHER,
    ),
    "mantel_p": Term(
        "Mantel p",
        "Share of random permutations of the classes that agree with the tree at least "
        "as well (Mantel test).",
        "1 / (permutations + 1) to 1",
        LOWER,
    ),
    "precision@1": Term(
        "Precision at 1",
        "Share whose nearest other one is of the same node.",
        "0 to 1",
        HIGHER,
    ),
    "r_precision": Term(
        "R-precision",
        "Share of the same node among the R nearest others, where R is how many there "
        "are.",
        "0 to 1",
        HIGHER,
    ),
    "map_at_r": Term(
        "MAP@R",
        "Precision up to each of the R nearest others that is of the same node, summed "
        "and divided by R (Musgrave et al. 2020).",
        "0 to 1",
        HIGHER,
    ),
    "robinson_foulds": Term(
        "Robinson-Foulds distance",
        "Clades that only one of the learned and the true tree has, by how many there "
        "could be.",
        "0 to 1",
        LOWER,
    ),
    "cophenetic_fit": Term(
        "Cophenetic fit",
        "Correlation of the heights in the learned dendrogram with the distances it "
        "was built from.",
        "-1 to 1",
        HIGHER,
    ),
    "cophenetic_tree": Term(
        "Cophenetic agreement",
        "Correlation of the heights in the learned dendrogram with the hops in the "
        "true tree.",
        "-1 to 1; chance 0",
        HIGHER,
    ),
    "clades": Term(
        "Recovered clades",
        "Share of the true tree's inner nodes that the learned dendrogram has with "
        "exactly the same classes below.",
        "0 to 1",
        HIGHER,
    ),
    "macro_precision": Term(
        "Precision, macro",
        "Of what is predicted to be a node, the share that is; mean over nodes.",
        "0 to 1",
        HIGHER,
    ),
    "macro_recall": Term(
        "Recall, macro",
        "Of what is of a node, the share predicted so; mean over nodes.",
        "0 to 1",
        HIGHER,
    ),
    "macro_f1": Term(
        "F1, macro",
        "Harmonic mean of precision and recall; mean over nodes.",
        "0 to 1",
        HIGHER,
    ),
    "variance_inter": Term(
        "Variance between classes", "Spread of the class means.", "0 upwards"
    ),
    "variance_intra": Term(
        "Variance within classes",
        "Spread of the queries about their class means.",
        "0 upwards",
    ),
    "variance_discriminability": Term(
        "Discriminability",
        "Variance between classes by variance within.",
        "0 upwards",
        HIGHER,
    ),
    "calibration_ece": Term(
        "Calibration error",
        f"Mean distance of accuracy and confidence {_CALIBRATED}.",
        "0 to 1",
        LOWER,
    ),
    "calibration_mce": Term(
        "Largest calibration error",
        f"Largest distance of accuracy and confidence {_CALIBRATED}.",
        "0 to 1",
        LOWER,
    ),
    "calibration_correlation": Term(
        "Confidence and accuracy",
        f"Spearman correlation of confidence and accuracy {_CALIBRATED}.",
        "-1 to 1",
        HIGHER,
    ),
    "tied": Term(
        "Tied best scores",
        "Share of queries whose best score several classes have: precision, recall and "
        "F1 take the first of these, all other measures are expected ones.",
        "0 to 1",
        LOWER,
    ),
    "calibration_point_biserial": Term(
        "Confidence of right answers",
        "Point-biserial correlation of confidence with being right.",
        "-1 to 1",
        HIGHER,
    ),
    "mean_nearest_cosine": Term(
        "Nearest cosine",
        "Cosine of every class representative with the nearest other, on average.",
        "-1 to 1",
    ),
    "largest_cosine": Term("Largest cosine", f"Largest cosine {_PAIRS}.", "-1 to 1"),
    "mean_distance": Term("Mean chord", f"Mean distance {_PAIRS}.", "0 to 2"),
    "std_distance": Term(
        "Spread of chords", f"Standard deviation of the distance {_PAIRS}.", "0 to 1"
    ),
    "min_angle": Term("Smallest angle", f"Radians, {_PAIRS}.", "0 to pi"),
    "max_angle": Term("Largest angle", f"Radians, {_PAIRS}.", "0 to pi"),
    "mean_angle": Term("Mean angle", f"Radians, {_PAIRS}.", "0 to pi"),
    "std_angle": Term(
        "Spread of angles", f"Standard deviation in radians, {_PAIRS}.", "0 to pi / 2"
    ),
    "mean_resultant_norm": Term(
        "Norm of the mean",
        "Length of the mean unit representative; 0 when they spread evenly.",
        "0 to 1",
    ),
    "angle_to_means": Term(
        "Angle to the means",
        "Radians between the proxy and the mean of a class; mean over classes.",
        "0 to pi",
    ),
    "log_sum_exp_cosine": Term(
        "Log-sum-exp of cosines",
        "Over all pairs of representatives; small when they spread evenly.",
        "2 log C - 1 to 2 log C + 1",
    ),
    "probe": Term(
        "Linear probe",
        "Accuracy of a linear classifier on the frozen features, after its last epoch; "
        "its learning rate is chosen on validation.",
        "0 to 1",
        HIGHER,
    ),
    "probe_best": Term(
        "Linear probe, best epoch",
        "As the linear probe, after the epoch that is best on validation.",
        "0 to 1",
        HIGHER,
    ),
    "nn": Term(
        "1-NN accuracy",
        "Share whose nearest training row, by cosine, is of the same node.",
        "0 to 1",
        HIGHER,
    ),
    "effective_rank": Term(
        "Effective rank",
        "Directions that are used, were all used equally (Roy & Vetterli 2007).",
        "1 to the dimension",
    ),
    "explained_variance": Term(
        "Variance in two components",
        "Share of the variance that the first two principal components hold.",
        "0 to 1",
    ),
    "inferred_levels": Term(
        "Inferred levels",
        "Groups that a Dirichlet-process mixture finds among the dimensions of the "
        "mean projection.",
        "1 upwards",
    ),
    "mask_share": Term(
        "Mean mask", "Mean of a level's mask over dimensions and rows.", "0 to 1"
    ),
}
FIRST = (
    "knn",
    "mistake_hops",
    "mistake_height",
    "accuracy",
    "cost",
    "gamma",
    "probe",
)
"""Keys of the measures to look at first."""


def term_of(measure: str) -> tuple[str, str]:
    """Splits the name of a measure into its key in `TERMS` and a label for the rest.

    ``knn/family`` gives ``('knn', 'family')``, ``accuracy@5/class/means`` gives
    ``('accuracy@5', 'class, means')``, ``gamma/all`` gives ``('gamma', '')``. A measure
    that is not explained is its own key.
    """
    name = parse_measure(measure)
    key = name.measure
    at = "" if name.k is None else f"@{name.k}"
    if key + at in TERMS:
        key, at = key + at, ""
    level = "" if name.level == ALL else name.level.replace("_", " ")
    return key, ", ".join(part for part in (at, level, name.kind) if part)
