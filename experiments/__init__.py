"""Command-line experiments: flags, presets and tables on top of the library."""

import sys

# Python looks for a module that it was told to run: signals during the imports count.
if sys.argv[:1] == ["-m"]:
    from experiments.cli import signals

    signals.WATCH.start()
    signals.WATCH.owns_process = True
