"""The damages of a run in short: a few of every kind that the script does."""

import collections

import pytest

from tests.soak.damages import MENDED, REFUSED, SILENT, TRACEBACK, Bench, damages


@pytest.mark.slow
def test_ten_damages(tmp_path):
    bench = Bench(tmp_path)
    found = list(damages(bench, 10, seed=3))
    bad = [entry for entry in found if entry[0] in (TRACEBACK, SILENT)]
    assert not bad
    counts = collections.Counter(kind for kind, _, _ in found)
    assert counts[REFUSED]
    # The kinds are told apart: the checkpoint before, said; other weights, refused.
    bench.restore()
    newest = bench.workdir / "checkpoints" / "12" / "last" / "manifest.ocdbt"
    newest.write_bytes(b"")
    assert bench.outcome("continue")[0] == MENDED
    bench.restore()
    (bench.workdir / "model" / "arrays.msgpack").write_bytes(b"x")
    assert bench.outcome("load")[0] == REFUSED
