"""Audio files of any length as log-mel spectrograms of one size (extra ``audio``)."""

import math
import os
import pathlib
from typing import BinaryIO

import numpy as np
from scipy.signal import resample_poly
from scipy.signal.windows import hann

from hierjax.data.reading.mel import mel_filters
from hierjax.errors import UserError

SUFFIXES = frozenset(".aif .aiff .flac .mp3 .oga .ogg .opus .wav".split())
"""Endings of the names of audio files, in lower case."""

SAMPLE_RATE = 16_000
HOP = 400
_DECIBELS = (-80.0, 40.0)


def read_spectrogram(
    source: str | os.PathLike | BinaryIO,
    bands: int,
    name: str = "",
    frames: int | None = None,
) -> np.ndarray:
    """Reads a recording, channels averaged, as `log_mel` of it.

    Args:
      source: A file that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF.
      bands: M, mel bands.
      name: What to call it in messages, if not by ``source``.
      frames: T; None for 2 M.

    Returns:
      float32 ``[T, M]``.

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
        signal, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(
            f"{name}: cannot be read as audio ({error}); mend or remove it"
        ) from None
    return log_mel(signal.mean(axis=1), rate, bands, name, frames)


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
      UserError: There are no samples, or one is not finite.
    """
    if not signal.size or not np.isfinite(signal).all():
        raise UserError(
            f"{name}: has no samples, or some that are not finite; remove it"
        )
    frames = frames or 2 * bands
    length = frames * HOP
    common = math.gcd(rate, SAMPLE_RATE)
    signal = resample_poly(signal, SAMPLE_RATE // common, rate // common)
    if len(signal) > length:
        energy = np.concatenate([[0], np.cumsum(signal.astype(np.float64) ** 2)])
        start = np.argmax(energy[length:] - energy[:-length])
        signal = signal[start : start + length]
    # Long enough for the lowest bands to hold a bin each.
    window = max(1024, 2 ** math.ceil(math.log2(16 * bands)))
    padded = np.zeros(length + window)
    padded[window // 2 : window // 2 + len(signal)] = signal
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[:length:HOP]
    spectrum = np.fft.rfft(windows * hann(window, sym=False))
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
