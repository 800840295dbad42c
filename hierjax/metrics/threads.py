"""One thread a block instead of one a share of every matrix product.

Products of blocks are small: BLAS would spend its time handing them out, and on a busy
machine waiting for its other threads, while what comes between two products would run
on one core.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

from threadpoolctl import ThreadpoolController

_MOST_THREADS = 8


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def block_map() -> Iterator[Callable[[Callable, Iterable], Iterator]]:
    """Gives a ``map`` whose calls run in as many threads as BLAS has, at most 8.

    Results come in order. Within the context BLAS has one thread everywhere in the
    process.
    """
    libraries = _controller().lib_controllers
    number = max((library.get_num_threads() for library in libraries), default=1)
    with (
        _controller().limit(limits=1),
        futures.ThreadPoolExecutor(min(number, _MOST_THREADS)) as pool,
    ):
        yield pool.map
