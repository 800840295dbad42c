"""Published numbers, printed beside ours; each with its source."""

RANK_BASED_SOURCE = (
    "Nolasco & Stowell 2021, README of the authors' published code: test split, "
    "silhouette (cosine) and k-NN accuracy"
)

# Silhouette fine, coarse, average; k-NN fine, coarse. Leaf classes seen in training.
RANK_BASED = {
    "birds": {
        "init": (0.01, 0.21, 0.11, 0.74, 0.95),
        "quadruplet": (-0.17, 0.31, 0.07, 0.29, 0.74),
        "rbl": (-0.08, 0.42, 0.17, 0.41, 0.82),
        "rbl_unconstrained": (-0.22, 0.22, 0.00, 0.29, 0.63),
        "rbl_random_hierarchy": (-0.15, -0.09, -0.12, 0.31, 0.33),
    },
    "nsynth": {
        "init": (0.15, 0.30, 0.22, 0.94, 1.00),
        "quadruplet": (0.01, 0.60, 0.31, 0.74, 0.93),
        "rbl": (-0.08, 0.46, 0.19, 0.61, 0.85),
        "rbl_unconstrained": (-0.16, 0.38, 0.11, 0.64, 0.84),
        "rbl_random_hierarchy": (0.04, 0.41, 0.23, 0.72, 0.81),
    },
    "tut2016": {
        "init": (0.21, 0.26, 0.24, 0.96, 1.00),
        "quadruplet": (-0.19, 0.14, -0.02, 0.40, 0.63),
        "rbl": (0.03, 0.59, 0.31, 0.60, 0.87),
        "rbl_unconstrained": (0.14, 0.67, 0.41, 0.40, 0.90),
        "rbl_random_hierarchy": (-0.23, -0.04, -0.14, 0.33, 0.56),
    },
}

# The same for leaf classes never seen in training; k-NN fine is 0 by construction.
RANK_BASED_UNSEEN = {
    "birds": {
        "init": (0.17, 0.39, 0.28, 0.0, 0.90),
        "quadruplet": (-0.07, 0.57, 0.25, 0.0, 0.86),
        "rbl": (-0.05, 0.48, 0.22, 0.0, 0.80),
        "rbl_unconstrained": (-0.19, 0.32, 0.07, 0.0, 0.69),
        "rbl_random_hierarchy": (-0.16, -0.12, -0.14, 0.0, 0.31),
    },
    "nsynth": {
        "init": (0.18, 0.14, 0.16, 0.0, 0.65),
        "quadruplet": (-0.09, -0.02, -0.06, 0.0, 0.43),
        "rbl": (-0.04, 0.13, 0.05, 0.0, 0.50),
        "rbl_unconstrained": (-0.33, 0.06, -0.14, 0.0, 0.55),
        "rbl_random_hierarchy": (-0.10, -0.12, -0.11, 0.0, 0.21),
    },
    "tut2016": {
        "init": (0.47, 0.39, 0.43, 0.0, 0.91),
        "quadruplet": (0.14, 0.27, 0.21, 0.0, 0.40),
        "rbl": (0.15, 0.80, 0.48, 0.0, 0.97),
        "rbl_unconstrained": (0.20, 0.74, 0.47, 0.0, 0.97),
        "rbl_random_hierarchy": (-0.02, 0.04, 0.01, 0.0, 0.37),
    },
}
