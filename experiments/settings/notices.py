"""What was decided about a user's data, as lines on the terminal."""

import contextlib
import warnings
from collections.abc import Iterator

from hierjax.errors import DataNotice


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Print every `DataNotice` of the block as it comes; other warnings stay."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataNotice)
        shown = warnings.showwarning

        def show(message, category, *place, **options):
            if issubclass(category, DataNotice):
                print(f"note: {' '.join(str(message).split())}", flush=True)
            else:
                shown(message, category, *place, **options)

        warnings.showwarning = show
        yield
