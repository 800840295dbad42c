"""Renders the General-MIDI notes that ship with the library.

    python -m hierjax.data.building.build_gm_notes --out=gm_notes.npz

Needs the program ``fluidsynth`` and the soundfont FluidR3 (MIT licence), which Debian
packages as ``fluidsynth`` and ``fluid-soundfont-gm``. Each of the 128 instruments
plays 6 pitches at 2 velocities, held for 1.5 s and released for 0.5 s, at 16 kHz
without reverb and chorus. Notes without a sample in the soundfont come out silent
and are dropped.

The parameters behind the shipped ``gm_mini_fluidr3.npz`` were not written down; those
below were fitted to it. Measured with fluidsynth 2.3.1 and fluid-soundfont-gm 3.1 on
all 1,530 notes: the same 6 notes are silent; correlation 0.9996; mean absolute
difference 0.69 steps of uint8 (0.33 dB); 67 % of the values equal, 83 % within one
step, the largest difference 14. Nearly all of it lies at the noise floor, which is
random dither: where the shipped value is at least 50 (65 % of all), the mean
difference is 0.10, 90 % are equal and 99.7 % within one step.
"""

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.signal.windows import hann

from hierjax.data.reading.mel import mel_filters
from hierjax.errors import UserError

PITCHES = (46, 51, 55, 60, 67, 72)
VELOCITIES = (60, 110)
FAMILIES = {
    "Piano": (
        "Acoustic Grand Piano, Bright Acoustic Piano, Electric Grand Piano, "
        "Honky-tonk Piano, Electric Piano 1, Electric Piano 2, Harpsichord, Clavinet"
    ),
    "Chromatic Percussion": (
        "Celesta, Glockenspiel, Music Box, Vibraphone, Marimba, Xylophone, Tubular "
        "Bells, Dulcimer"
    ),
    "Organ": (
        "Drawbar Organ, Percussive Organ, Rock Organ, Church Organ, Reed Organ, "
        "Accordion, Harmonica, Tango Accordion"
    ),
    "Guitar": (
        "Acoustic Guitar (nylon), Acoustic Guitar (steel), Electric Guitar (jazz), "
        "Electric Guitar (clean), Electric Guitar (muted), Overdriven Guitar, "
        "Distortion Guitar, Guitar Harmonics"
    ),
    "Bass": (
        "Acoustic Bass, Electric Bass (finger), Electric Bass (pick), Fretless Bass, "
        "Slap Bass 1, Slap Bass 2, Synth Bass 1, Synth Bass 2"
    ),
    "Strings": (
        "Violin, Viola, Cello, Contrabass, Tremolo Strings, Pizzicato Strings, "
        "Orchestral Harp, Timpani"
    ),
    "Ensemble": (
        "String Ensemble 1, String Ensemble 2, Synth Strings 1, Synth Strings 2, "
        "Choir Aahs, Voice Oohs, Synth Voice, Orchestra Hit"
    ),
    "Brass": (
        "Trumpet, Trombone, Tuba, Muted Trumpet, French Horn, Brass Section, Synth "
        "Brass 1, Synth Brass 2"
    ),
    "Reed": (
        "Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax, Oboe, English Horn, Bassoon, "
        "Clarinet"
    ),
    "Pipe": (
        "Piccolo, Flute, Recorder, Pan Flute, Blown Bottle, Shakuhachi, Whistle, "
        "Ocarina"
    ),
    "Synth Lead": (
        "Lead 1 (square), Lead 2 (sawtooth), Lead 3 (calliope), Lead 4 (chiff), Lead "
        "5 (charang), Lead 6 (voice), Lead 7 (fifths), Lead 8 (bass + lead)"
    ),
    "Synth Pad": (
        "Pad 1 (new age), Pad 2 (warm), Pad 3 (polysynth), Pad 4 (choir), Pad 5 "
        "(bowed), Pad 6 (metallic), Pad 7 (halo), Pad 8 (sweep)"
    ),
    "Synth Effects": (
        "FX 1 (rain), FX 2 (soundtrack), FX 3 (crystal), FX 4 (atmosphere), FX 5 "
        "(brightness), FX 6 (goblins), FX 7 (echoes), FX 8 (sci-fi)"
    ),
    "Ethnic": ("Sitar, Banjo, Shamisen, Koto, Kalimba, Bagpipe, Fiddle, Shanai"),
    "Percussive": (
        "Tinkle Bell, Agogo, Steel Drums, Woodblock, Taiko Drum, Melodic Tom, Synth "
        "Drum, Reverse Cymbal"
    ),
    "Sound Effects": (
        "Guitar Fret Noise, Breath Noise, Seashore, Bird Tweet, Telephone Ring, "
        "Helicopter, Applause, Gunshot"
    ),
}

_RATE = 16_000
_HOLD_MS, _NOTE_MS, _SILENCE_MS, _PERIOD_MS = 1500, 2000, 2100, 2500
# fluidsynth sounds a note one block of 64 samples after its time in the file.
_LATENCY = 64
_GAIN = 0.6
_WINDOW, _HOP = 1024, 640
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 64, 40.0, 7900.0
_FLOOR_DB, _RANGE_DB = -80.0, 120.0
_POOL = 2


def _notes() -> Iterator[tuple[int, int]]:
    return ((pitch, velocity) for pitch in PITCHES for velocity in VELOCITIES)


def _variable_length(number: int) -> bytes:
    """Returns a MIDI delta time: 7 bits a byte, high bit set on all but the last."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def midi_file(program: int) -> bytes:
    """Returns a MIDI file in which one instrument plays all notes, one every 2.5 s.

    A tick is a millisecond (500 ticks a quarter note at the default of 120 beats a
    minute). After each note all sound is cut, so that no tail reaches the next one.
    Source: Standard MIDI Files 1.0 (RP-001), format 0.

    Args:
      program: Instrument, 0 to 127.
    """
    events = [(0, bytes([0xC0, program]))]
    for index, (pitch, velocity) in enumerate(_notes()):
        start = index * _PERIOD_MS
        events += [
            (start, bytes([0x90, pitch, velocity])),
            (start + _HOLD_MS, bytes([0x80, pitch, 0])),
            (start + _SILENCE_MS, bytes([0xB0, 120, 0])),
        ]
    events.append((index * _PERIOD_MS + _PERIOD_MS, bytes([0xFF, 0x2F, 0])))
    track, now = b"", 0
    for time, message in events:
        track += _variable_length(time - now) + message
        now = time
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 500)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def quantise(decibels: np.ndarray) -> np.ndarray:
    """Returns uint8 steps of 120 / 255 dB: 0 is -80 dB and below, 255 is 40 dB."""
    steps = np.rint((decibels - _FLOOR_DB) * 255 / _RANGE_DB)
    return steps.clip(0, 255).astype(np.uint8)


def log_mel(signals: np.ndarray) -> np.ndarray:
    """Returns the log-mel spectrogram of notes.

    Hann frames of 1,024 samples every 640, mel power in dB, quantised, then averaged
    over 2 frames x 2 bands and rounded (half to even).

    Args:
      signals: ``[N, 32000]``, 1 = full scale.

    Returns:
      uint8 ``[N, 24, 32]``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signals, _WINDOW, axis=1)
    spectra = np.fft.rfft(frames[:, ::_HOP] * hann(_WINDOW, sym=False))
    power = np.abs(spectra) ** 2 @ mel_filters(
        _BANDS, window=_WINDOW, rate=_RATE, lowest_hz=_LOWEST_HZ, highest_hz=_HIGHEST_HZ
    )
    steps = quantise(10 * np.log10(np.maximum(power, 1e-10))).astype(np.float64)
    num_notes, num_frames = len(steps), steps.shape[1] // _POOL
    steps = steps[:, : num_frames * _POOL]
    pooled = steps.reshape(num_notes, num_frames, _POOL, _BANDS // _POOL, _POOL)
    return np.rint(pooled.mean(axis=(2, 4))).astype(np.uint8)


def to_16_bits(samples: np.ndarray, key: int) -> np.ndarray:
    """Rounds to 16 bits after adding high-passed triangular dither of one step.

    The dither is the difference of successive uniform numbers, as fluidsynth adds it
    to 16-bit output; it is what silence sounds like in the shipped notes.

    Args:
      samples: ``[T, channels]``, 1 = full scale.
      key: Seed of the dither.

    Returns:
      ``[T, channels]`` multiples of 1 / 32768 in [-1, 1).
    """
    shape = (len(samples) + 1, samples.shape[1])
    uniform = np.random.default_rng(key).uniform(-0.5, 0.5, shape)
    steps = np.rint(samples * 32766 + np.diff(uniform, axis=0))
    return steps.clip(-32768, 32767) / 32768


def _render(program: int, soundfont: Path, folder: Path) -> np.ndarray:
    """Returns the notes of one instrument, float32 ``[12, 32000, 2]``."""
    score, sound = folder / "score.mid", folder / "sound.raw"
    score.write_bytes(midi_file(program))
    options = f"-n -i -q -R 0 -C 0 -g {_GAIN} -r {_RATE} -T raw -O float -E little"
    finished = subprocess.run(
        ["fluidsynth", *options.split(), "-F", sound, soundfont, score],
        capture_output=True,
        text=True,
    )
    starts = np.arange(len(PITCHES) * len(VELOCITIES)) * _PERIOD_MS * _RATE // 1000
    span = np.arange(_NOTE_MS * _RATE // 1000) + _LATENCY
    stereo = np.fromfile(sound, "<f4") if sound.exists() else np.empty(0, "<f4")
    if finished.returncode or stereo.size < 2 * (starts[-1] + span[-1] + 1):
        raise UserError(
            f"fluidsynth could not render {soundfont}: {finished.stderr.strip()}"
        )
    return stereo.reshape(-1, 2)[starts[:, None] + span]


def render_instrument(program: int, soundfont: Path) -> dict[str, np.ndarray]:
    """Renders the notes of one instrument for which the soundfont has a sample.

    Args:
      program: Instrument, 0 to 127.
      soundfont: An sf2 file with the General-MIDI programs.

    Returns:
      ``logmel`` uint8 ``[n, 24, 32]`` and uint8 ``[n]`` each: ``instrument``,
      ``family``, ``pitch``, ``velocity``; sorted by pitch, then velocity.

    Raises:
      UserError: fluidsynth or the soundfont is missing, or the rendering fails.
    """
    if not shutil.which("fluidsynth"):
        raise UserError(
            "the program fluidsynth is not on the PATH; Debian's package is fluidsynth"
        )
    if not soundfont.is_file():
        raise UserError(
            f"soundfont {soundfont} is not a file; Debian's package is "
            "fluid-soundfont-gm, which installs /usr/share/sounds/sf2/FluidR3_GM.sf2"
        )
    with soundfont.open("rb") as file:
        # fluidsynth would silently play its default soundfont instead.
        if file.read(12)[8:] != b"sfbk":
            raise UserError(f"{soundfont} is not an sf2 soundfont")
    with tempfile.TemporaryDirectory() as folder:
        stereo = _render(program, soundfont, Path(folder))
    heard = stereo.any(axis=(1, 2))
    dithered = to_16_bits(stereo[heard].reshape(-1, 2), program)
    pitches, velocities = np.array(list(_notes()), dtype=np.uint8).T
    instrument = np.full(heard.sum(), program, dtype=np.uint8)
    return {
        "logmel": log_mel(dithered.mean(axis=1).reshape(-1, stereo.shape[1])),
        "instrument": instrument,
        "family": instrument // 8,
        "pitch": pitches[heard],
        "velocity": velocities[heard],
    }


def build(soundfont: Path) -> dict[str, np.ndarray]:
    """Renders all 128 instruments; see ``render_instrument`` for arguments and errors.

    Returns:
      Its arrays, one instrument after the other, with ``instrument_names`` ``[128]``
      and ``family_names`` ``[16]``.
    """
    parts = [render_instrument(program, soundfont) for program in range(128)]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    names = [name for group in FAMILIES.values() for name in group.split(", ")]
    return arrays | {
        "instrument_names": np.array(names),
        "family_names": np.array(list(FAMILIES)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--soundfont", type=Path, default="/usr/share/sounds/sf2/FluidR3_GM.sf2"
    )
    parser.add_argument("--out", type=Path, required=True, help="npz file to write")
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".npz" or not options.out.parent.is_dir():
            raise UserError(
                f"--out is {options.out}, accepted is an npz file in an existing folder"
            )
        arrays = build(options.soundfont)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    np.savez_compressed(options.out, **arrays)
    print(f"{len(arrays['logmel']):,} notes in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
