import sys
import time

import numpy as np
import pytest
import soundfile

from hierjax.data.reading import audio
from hierjax.data.reading.audio import log_mel, read_spectrogram, without_silence
from hierjax.errors import UserError


def tone(frequency, seconds, rate, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(seconds * rate) / rate)


def peak_band(spectrogram):
    return np.argmax(spectrogram.mean(axis=0))


def test_a_tone_lights_up_its_band_at_any_rate(tmp_path):
    bands = {}
    for rate in (8_000, 16_000, 44_100):
        for frequency in (300, 2000):
            file = tmp_path / f"{rate}_{frequency}.wav"
            soundfile.write(file, tone(frequency, 4, rate), rate)
            found = read_spectrogram(file, 32).spectrogram
            assert found.shape == (64, 32) and found.dtype == np.float32
            assert found.min() >= 0 and found.max() <= 1
            bands.setdefault(frequency, set()).add(peak_band(found))
    low, high = bands[300], bands[2000]
    assert len(low) == len(high) == 1 and max(low) < min(high)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_formats_agree_with_wav(tmp_path, ending):
    signal = tone(700, 2, 16_000)
    soundfile.write(tmp_path / "a.wav", signal, 16_000)
    soundfile.write(tmp_path / f"a.{ending}", signal, 16_000)
    one, other = (
        read_spectrogram(tmp_path / f"a.{end}", 16).spectrogram
        for end in ("wav", ending)
    )
    assert abs(one[:24] - other[:24])[:, peak_band(one)].max() < 0.02


def test_channels_are_averaged(tmp_path):
    signal = tone(700, 1, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([signal, -signal], axis=1), 16_000)
    # All that is left is the rounding to 16 bits.
    found = read_spectrogram(tmp_path / "a.wav", 16)
    assert found.spectrogram.max() < 0.1 and found.cancels
    soundfile.write(tmp_path / "b.wav", np.stack([signal, 0 * signal], axis=1), 16_000)
    found = read_spectrogram(tmp_path / "b.wav", 16)
    assert found.spectrogram.max() > 0.4 and not found.cancels and not found.is_cut


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_a_cut_recording_is_read_as_far_as_it_goes(tmp_path, seconds):
    file = tmp_path / "a.wav"
    soundfile.write(file, tone(700, seconds, 16_000), 16_000)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    found = read_spectrogram(file, 16)
    assert found.is_cut and found.spectrogram[:8].max() > 0.4
    file.write_bytes(whole)
    assert not read_spectrogram(file, 16).is_cut


@pytest.mark.parametrize("block", [1000, 2**20])
@pytest.mark.parametrize("rate", [16_000, 16_001, 48_000])
def test_the_loudest_part_is_found_anywhere_in_blocks(
    tmp_path, monkeypatch, rate, block
):
    monkeypatch.setattr(audio, "_BLOCK", block)
    noise = np.random.default_rng(0).normal(size=3 * rate) * 0.001
    loud = tone(700, 0.8, rate)
    for start in (0, rate // 3, len(noise) - len(loud)):
        signal = noise.copy()
        signal[start : start + len(loud)] += loud
        soundfile.write(tmp_path / "a.wav", signal, rate, subtype="FLOAT")
        found = read_spectrogram(tmp_path / "a.wav", 16).spectrogram
        expected = log_mel(signal, rate, 16, "x")
        assert abs(found - expected)[1:-1].max() < 0.02
        assert found.max(axis=1).min() > 0.4


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_rates_of_no_recording_are_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(700, 0.1, 16_000), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match="a second, accepted are 1,000 to 1,000,000"):
        read_spectrogram(tmp_path / "a.wav", 16)


def test_a_rate_that_shares_nothing_with_ours_is_quick():
    start = time.perf_counter()
    found = log_mel(tone(700, 1, 999_983), 999_983, 16, "x")
    assert time.perf_counter() - start < 2
    assert peak_band(found) == peak_band(log_mel(tone(700, 1, 16_000), 16_000, 16, "x"))


def test_short_signals_end_in_silence_and_long_ones_give_their_loudest_part():
    # 32 frames of 25 ms are .8 s.
    short = log_mel(tone(700, 0.3, 16_000), 16_000, 16, "x")
    assert short[:10].max() > 0.4 and not short[16:].any()
    quiet = np.concatenate([np.zeros(32_000), tone(700, 0.8, 16_000), np.zeros(9000)])
    assert log_mel(quiet, 16_000, 16, "x").max(axis=1).min() > 0.4


def test_silence_behind_all_is_cut():
    short, longer = (
        log_mel(tone(700, seconds, 16_000), 16_000, 16, "x") for seconds in (0.2, 0.4)
    )
    both = without_silence(np.stack([short, longer]))
    assert 16 <= both.shape[1] < 20 and both[1, -1].any()
    np.testing.assert_array_equal(both[0], short[: both.shape[1]])
    again = log_mel(tone(700, 0.4, 16_000), 16_000, 16, "x", frames=both.shape[1])
    np.testing.assert_array_equal(again, both[1])
    assert without_silence(np.stack([short])).shape == (1, 10, 16)
    assert without_silence(np.zeros((2, 32, 16))).shape == (2, 32, 16)


def test_louder_by_ten_decibels_is_a_twelfth_of_the_range():
    one, other = (
        log_mel(tone(700, 1, 16_000, amplitude), 16_000, 16, "x").max()
        for amplitude in (0.05, 0.05 * 10**0.5)
    )
    assert other - one == pytest.approx(10 / 120, abs=1e-3)


def test_damaged_and_empty_files_are_named(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"a.wav: cannot be read as audio"):
        read_spectrogram(file, 16)
    soundfile.write(file, np.zeros(0), 16_000)
    with pytest.raises(UserError, match=r"a.wav: has no samples"):
        read_spectrogram(file, 16)
    soundfile.write(file, np.array([0.1, np.nan]), 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a.wav: .*not finite"):
        read_spectrogram(file, 16)


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.ones(9), 16_000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"pip install 'hierjax\[audio\]'"):
        read_spectrogram(tmp_path / "a.wav", 16)
