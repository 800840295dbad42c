"""Audio files of any length as log-mel spectrograms of one size (extra ``audio``)."""

import fractions
import math
import os
import pathlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import scipy

from hierjax.data.reading.mel import mel_filters
from hierjax.errors import UserError

if TYPE_CHECKING:
    import soundfile

SUFFIXES = frozenset(".aif .aiff .flac .mp3 .oga .ogg .opus .wav".split())
"""Endings of the names of audio files, in lower case."""

SAMPLE_RATE = 16_000
HOP = 400
_DECIBELS = (-80.0, 40.0)
_RATES = (1_000, 1_000_000)
_BLOCK = 2**20
# Of a rate that shares little with 16 kHz the nearest ratio so simple is taken, which
# is a millionth off; the exact filter would have millions of taps.
_SIMPLE = 2_000
_CANCELLED = 1e-3


class Recording(NamedTuple):
    """What was read of a recording.

    Attributes:
      spectrogram: float32 ``[T, M]``, see `log_mel`.
      cancels: Whether its channels, averaged, cancel out: less than a thousandth of
        their energy is left.
      is_cut: Whether the file ends before the samples that its head announces.
    """

    spectrogram: np.ndarray
    cancels: bool
    is_cut: bool


def read_spectrogram(
    source: str | os.PathLike | BinaryIO,
    bands: int,
    name: str = "",
    frames: int | None = None,
) -> Recording:
    """Reads a recording, channels averaged, as `log_mel` of it.

    Memory is that of the part that is taken, however long the recording is.

    Args:
      source: A file that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF.
      bands: M, mel bands.
      name: What to call it in messages, if not by ``source``.
      frames: T; None for 2 M.

    Raises:
      UserError: It is no recording, is damaged or empty; soundfile is missing.
    """
    name = name or str(source)
    try:
        import soundfile
    except ImportError:
        raise UserError(
            f"{name}: reading audio takes soundfile; run pip install 'hierjax[audio]'"
        ) from None
    try:
        with soundfile.SoundFile(source) as file:
            _check_rate(file.samplerate, name)
            length = (frames or 2 * bands) * HOP * file.samplerate // SAMPLE_RATE + 1
            signal, cancels, total = _loudest(file, length, name)
            is_cut = total < file.frames or _lacks_bytes(source)
            mel = log_mel(signal, file.samplerate, bands, name, frames)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(
            f"{name}: cannot be read as audio ({error}); mend or remove it"
        ) from None
    return Recording(mel, cancels, is_cut)


def _loudest(
    file: "soundfile.SoundFile", length: int, name: str
) -> tuple[np.ndarray, bool, int]:
    """The stretch of most energy, whether channels cancel, and samples in all.

    One pass and no seeking, which is not exact in all formats.
    """
    stretch, recent = np.zeros(0), np.zeros(0)
    sums = np.zeros(1)  # of squares, up to each of the recent samples
    most, energy, left, total = -1.0, 0.0, 0.0, 0
    while len(block := file.read(max(1, _BLOCK // file.channels), always_2d=True)):
        _check_finite(block, name)
        mono = block.mean(axis=1)
        energy += np.square(block).sum() / file.channels
        left += np.square(mono).sum()
        total += len(mono)
        recent = np.concatenate([recent, mono])
        sums = np.concatenate([sums, sums[-1] + np.cumsum(np.square(mono))])
        if total <= length:
            stretch = recent
            continue
        windows = sums[length:] - sums[:-length]
        best = int(np.argmax(windows))
        if windows[best] > most:
            stretch, most = recent[best : best + length].copy(), windows[best]
        # One sample less than the windows, so that the next block begins new ones.
        recent, sums = recent[-(length - 1) :], sums[-length:]
    cancels = file.channels > 1 and bool(left < _CANCELLED * energy)
    return stretch.astype(np.float32), cancels, total


def _lacks_bytes(source: str | os.PathLike | BinaryIO) -> bool:
    """Whether a WAV file is shorter than it says; libsndfile does not tell."""
    if not isinstance(source, str | os.PathLike):
        return False
    with open(source, "rb") as file:
        head = file.read(8)
        size = file.seek(0, os.SEEK_END)
    said = int.from_bytes(head[4:], "little")
    # What is written to a pipe has no size, or the largest.
    return head[:4] == b"RIFF" and 0 < said < 2**32 - 1 - 8 and said + 8 > size + 1


def _check_finite(signal: np.ndarray, name: str) -> None:
    if not signal.size or not np.isfinite(signal).all():
        raise UserError(
            f"{name}: has no samples, or some that are not finite; remove it"
        )


def _check_rate(rate: int, name: str) -> None:
    low, high = _RATES
    if not low <= rate <= high:
        raise UserError(
            f"{name}: has {rate:,} samples a second, accepted are {low:,} to {high:,}"
        )


def log_mel(
    signal: np.ndarray, rate: int, bands: int, name: str, frames: int | None = None
) -> np.ndarray:
    """Returns the log-mel spectrogram of a signal, frames by bands, in 0 to 1.

    Resampled to 16 kHz, 2 M frames 25 ms apart: 3.2 s for 64 bands. Of a longer signal
    the loudest stretch of that length is taken, behind a shorter one there is silence.
    0 to 1 are -80 to 40 dB of mel power at full scale 1, as in ``gm_notes``.

    Args:
      signal: ``[samples]`` floats, full scale 1.
      rate: Samples a second.
      bands: M, mel bands from 40 Hz to 8 kHz.
      name: Opens messages.
      frames: T; None for 2 M.

    Returns:
      float32 ``[T, M]``.

    Raises:
      UserError: There are no samples, one is not finite, or the rate is below 1 kHz or
        above 1 MHz.
    """
    _check_finite(signal, name)
    _check_rate(rate, name)
    frames = frames or 2 * bands
    length = frames * HOP
    ratio = fractions.Fraction(SAMPLE_RATE, rate).limit_denominator(_SIMPLE)
    signal = scipy.signal.resample_poly(signal, ratio.numerator, ratio.denominator)
    if len(signal) > length:
        energy = np.concatenate([[0], np.cumsum(signal.astype(np.float64) ** 2)])
        start = np.argmax(energy[length:] - energy[:-length])
        signal = signal[start : start + length]
    # Long enough for the lowest bands to hold a bin each.
    window = max(1024, 2 ** math.ceil(math.log2(16 * bands)))
    padded = np.zeros(length + window)
    padded[window // 2 : window // 2 + len(signal)] = signal
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[:length:HOP]
    spectrum = np.fft.rfft(windows * scipy.signal.windows.hann(window, sym=False))
    power = np.abs(spectrum) ** 2 @ mel_filters(
        bands, window=window, rate=SAMPLE_RATE, lowest_hz=40, highest_hz=8000
    )
    low, high = _DECIBELS
    decibels = 10 * np.log10(np.maximum(power, 10 ** (low / 10)))
    return np.clip((decibels - low) / (high - low), 0, 1).astype(np.float32)


def without_silence(spectrograms: np.ndarray) -> np.ndarray:
    """Cuts the frames at the end in which all recordings are silent.

    What is silent alike in all tells nothing, and a network that is trained with noise
    in it meets something else where there is none.

    Args:
      spectrograms: ``[N, 2 M, M]``.

    Returns:
      ``[N, T, M]`` with T from M / 2 to 2 M.
    """
    _, frames, bands = spectrograms.shape
    sounding = np.flatnonzero(spectrograms.any(axis=(0, 2)))
    last = sounding[-1] + 1 if sounding.size else frames
    return np.ascontiguousarray(spectrograms[:, : max(last, bands // 2)])


def is_audio(path: pathlib.Path) -> bool:
    """Whether a file is called like a recording."""
    return path.suffix.lower() in SUFFIXES
