"""What was decided about a user's data, as lines on the terminal."""

import contextlib
import warnings
from collections.abc import Iterator

from hierjax.errors import DataNotice


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Print every `DataNotice` of the block; other warnings stay as they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataNotice)
        yield
    for warning in caught:
        if issubclass(warning.category, DataNotice):
            print(f"note: {warning.message}")
        else:
            warnings.warn(warning.message, stacklevel=2)
