import importlib.resources
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from hierjax.data.building import build_gm_notes
from hierjax.errors import UserError

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

needs_fluidsynth = pytest.mark.skipif(
    not (shutil.which("fluidsynth") and SOUNDFONT.is_file()),
    reason="needs fluidsynth and the soundfont FluidR3",
)


@pytest.fixture(scope="module")
def shipped():
    files = importlib.resources.files("hierjax.data.sets") / "files"
    with (files / "gm_mini_fluidr3.npz").open("rb") as file:
        return dict(np.load(file))


def parse_midi(content: bytes) -> list[tuple[int, bytes]]:
    """Times and messages of a format-0 file, read byte by byte."""
    assert content[:4] == b"MThd"
    assert struct.unpack(">IHHH", content[4:14]) == (6, 0, 1, 500)
    assert content[14:18] == b"MTrk"
    track = content[22:]
    assert struct.unpack(">I", content[18:22])[0] == len(track)
    events, position, now = [], 0, 0
    while position < len(track):
        delta = 0
        while True:
            byte = track[position]
            position += 1
            delta = delta * 128 + byte % 128
            if byte < 128:
                break
        now += delta
        length = {0xC0: 2}.get(track[position], 3)
        events.append((now, track[position : position + length]))
        position += length
    return events


def test_midi_file_plays_every_note_in_turn():
    program, *events, end = parse_midi(build_gm_notes.midi_file(77))
    assert program == (0, bytes([0xC0, 77]))
    assert end == (30_000, bytes([0xFF, 0x2F, 0]))
    expected = []
    for pitch in (46, 51, 55, 60, 67, 72):
        for velocity in (60, 110):
            start = 2500 * (len(expected) // 3)
            expected += [
                (start, bytes([0x90, pitch, velocity])),
                (start + 1500, bytes([0x80, pitch, 0])),
                (start + 2100, bytes([0xB0, 120, 0])),
            ]
    assert events == expected


def test_quantise_rounds_and_clips():
    decibels = np.array([-200.0, -80.0, -79.8, -79.7, -20.0, 40.0, 41.0])
    steps = build_gm_notes.quantise(decibels)
    assert steps.dtype == np.uint8
    np.testing.assert_array_equal(steps, [0, 0, 0, 1, 128, 255, 255])


def test_log_mel_of_silence_and_of_a_tone():
    time = np.arange(32_000) / 16_000
    signals = np.stack([0 * time, np.sin(2 * np.pi * 1000 * time)])
    notes = build_gm_notes.log_mel(signals)
    assert notes.shape == (2, 24, 32)
    assert notes.dtype == np.uint8
    assert not notes[0].any()
    assert len(np.unique(notes[1].argmax(axis=1))) == 1
    band = notes[1, 0].argmax()
    edges = 2595 * np.log10(1 + np.array([40, 1000, 7900]) / 700)
    assert band == int((edges[1] - edges[0]) / (edges[2] - edges[0]) * 65 - 0.5) // 2


def test_log_mel_counts_decibels():
    rng = np.random.default_rng(0)
    signal = 0.1 * rng.normal(size=(1, 32_000))
    louder = build_gm_notes.log_mel(10 * signal).astype(int)
    difference = louder - build_gm_notes.log_mel(signal)
    np.testing.assert_allclose(difference, 20 * 255 / 120, atol=1.5)


def test_dither_is_triangular_high_passed_and_unbiased():
    samples = np.zeros((200_000, 2))
    steps = build_gm_notes.to_16_bits(samples, key=3) * 32768
    values, counts = np.unique(steps, return_counts=True)
    np.testing.assert_array_equal(values, [-1, 0, 1])
    # P(|u - v| > 1/2) = 1/4 for independent uniform u and v.
    np.testing.assert_allclose(counts / steps.size, [1 / 8, 3 / 4, 1 / 8], atol=0.005)
    power = np.abs(np.fft.rfft(steps[:, 0])) ** 2
    assert power[: len(power) // 4].mean() < 0.5 * power[-len(power) // 4 :].mean()
    loud = build_gm_notes.to_16_bits(np.array([[2.0, -2.0]]), key=0) * 32768
    np.testing.assert_array_equal(loud, [[32767, -32768]])


def test_names_are_those_of_the_shipped_notes(shipped):
    names = [
        name for group in build_gm_notes.FAMILIES.values() for name in group.split(", ")
    ]
    assert names == shipped["instrument_names"].tolist()
    assert list(build_gm_notes.FAMILIES) == shipped["family_names"].tolist()


def test_missing_program_and_soundfont_give_one_sentence(monkeypatch, tmp_path, capsys):
    out = f"--out={tmp_path / 'notes.npz'}"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert build_gm_notes.main([out]) == 2
    error = capsys.readouterr().err
    assert "fluidsynth is not on the PATH" in error
    assert error.count("\n") == 1
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert build_gm_notes.main([out, "--soundfont=nowhere.sf2"]) == 2
    assert "soundfont nowhere.sf2 is not a file" in capsys.readouterr().err
    assert build_gm_notes.main([f"--out={tmp_path / 'notes.csv'}"]) == 2
    assert "npz file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_fluidsynth
@pytest.mark.parametrize(("program", "num_notes"), [(43, 6), (11, 12)])
def test_rendered_notes_agree_with_the_shipped_ones(shipped, program, num_notes):
    notes = build_gm_notes.render_instrument(program, SOUNDFONT)
    rows = shipped["instrument"] == program
    for key in ("instrument", "family", "pitch", "velocity"):
        assert len(notes[key]) == num_notes
        assert notes[key].dtype == np.uint8
        np.testing.assert_array_equal(notes[key], shipped[key][rows])
    reference = shipped["logmel"][rows].astype(int)
    difference = np.abs(notes["logmel"].astype(int) - reference)
    assert difference.mean() < 2.5
    assert difference[reference >= 50].mean() < 0.25


def test_a_file_that_is_no_soundfont_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(b"no soundfont")
    with pytest.raises(UserError, match="broken.sf2 is not an sf2 soundfont"):
        build_gm_notes.render_instrument(0, broken)
