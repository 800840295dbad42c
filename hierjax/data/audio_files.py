"""Audio files of any length as log-mel spectrograms of one size (extra ``audio``)."""

import os
import pathlib
from typing import BinaryIO

import numpy as np

from hierjax.errors import UserError

SUFFIXES = frozenset(".aif .aiff .flac .mp3 .oga .ogg .opus .wav".split())
"""Endings of the names of audio files, in lower case."""

SAMPLE_RATE = 16_000
HOP = 400
_DECIBELS = (-80.0, 40.0)


def read_spectrogram(
    source: str | os.PathLike | BinaryIO, bands: int, name: str = ""
) -> np.ndarray:
    """Reads a recording, channels averaged, as `log_mel` of it.

    Args:
      source: A file that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF.
      bands: M, mel bands.
      name: What to call it in messages, if not by ``source``.

    Returns:
      float32 ``[2 M, M]``.

    Raises:
      UserError: It is no recording, is damaged or empty; the packages are missing.
    """
    name = name or str(source)
    try:
        import soundfile
    except ImportError:
        raise _missing(name) from None
    try:
        signal, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(
            f"{name}: cannot be read as audio ({error}); mend or remove it"
        ) from None
    return log_mel(signal.mean(axis=1), rate, bands, name)


def log_mel(signal: np.ndarray, rate: int, bands: int, name: str) -> np.ndarray:
    """Returns the log-mel spectrogram of a signal, frames by bands, in 0 to 1.

    Resampled to 16 kHz, 2 M frames 25 ms apart: 3.2 s for 64 bands. Of a longer signal
    the loudest stretch of that length is taken, behind a shorter one there is silence.
    0 to 1 are -80 to 40 dB of mel power at full scale 1, as in ``gm_notes``.

    Args:
      signal: ``[samples]`` floats, full scale 1.
      rate: Samples a second.
      bands: M, mel bands from 40 Hz to 8 kHz.
      name: Opens messages.

    Returns:
      float32 ``[2 M, M]``.

    Raises:
      UserError: There are no samples, or one is not finite; librosa is missing.
    """
    if not signal.size or not np.isfinite(signal).all():
        raise UserError(
            f"{name}: has no samples, or some that are not finite; remove it"
        )
    try:
        import librosa
    except ImportError:
        raise _missing(name) from None
    frames = 2 * bands
    length = frames * HOP
    signal = librosa.resample(signal, orig_sr=rate, target_sr=SAMPLE_RATE)
    if len(signal) > length:
        energy = np.concatenate([[0], np.cumsum(signal.astype(np.float64) ** 2)])
        start = np.argmax(energy[length:] - energy[:-length])
        signal = signal[start : start + length]
    power = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(signal, size=length),
        sr=SAMPLE_RATE,
        # Long enough for the lowest bands to hold a bin each.
        n_fft=max(1024, 2 ** int(np.ceil(np.log2(16 * bands)))),
        hop_length=HOP,
        n_mels=bands,
        fmin=40,
    )[:, :frames]
    low, high = _DECIBELS
    decibels = 10 * np.log10(np.maximum(power, 10 ** (low / 10)))
    return np.clip((decibels - low) / (high - low), 0, 1).T.astype(np.float32)


def is_audio(path: pathlib.Path) -> bool:
    """Whether a file is called like a recording."""
    return path.suffix.lower() in SUFFIXES


def _missing(name: str) -> UserError:
    return UserError(
        f"{name}: reading audio takes soundfile and librosa; run pip install "
        "'hierjax[audio]'"
    )
