import numpy as np

from experiments.report import tables
from experiments.runs import measuring
from experiments.runs.obtaining import Obtained
from experiments.settings.experiment import Experiment
from tests.training.toy import DATA


def obtained(embed, *records):
    return Obtained(Experiment(), DATA, embed=embed, records=list(records))


def test_the_report_says_that_an_embedding_has_collapsed():
    records = [
        {"step": 10, "loss": 0.1},
        {"step": 20, "validation/collapsed/all": 1.0},
        {"step": 30, "validation/collapsed/all": 1.0},
    ]

    def equal(rows):
        return np.ones((len(rows), 3))

    said = measuring.collapse_of(obtained(equal, *records), "test")["collapse"]
    assert "of the test rows has collapsed: all rows are equal." in said
    assert "at 2 of 3 evaluations, first at step 20" in said
    results = {
        "split": "test",
        "queries": 8,
        "bootstrap_unit": "row",
        "learned": {"measures": {}, "neighbors": [1]},
        "collapse": said,
    }
    assert said in tables.render(results).replace("\n", " ")
    healthy = obtained(DATA.features.__getitem__, records[0])
    assert measuring.collapse_of(healthy, "test") == {}
