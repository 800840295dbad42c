"""Signatures as a reader wants them: short names of types, no plumbing."""

import re

from sphinx.application import Sphinx

# How types are spelt in full, and what readers call them.
_SHORT = (
    (r"jax\.jaxlib\._jax\.Array|jaxlib\._jax\.Array|jax\.Array", "Array"),
    (r"numpy\.ndarray", "ndarray"),
    (r"collections\.abc\.", ""),
    (r"typing\.", ""),
    (
        r"(Union\[)?Array(,| \|) ndarray, (numpy\.)?bool, (numpy\.)?number, bool, int, "
        r"float, complex\]?",
        "ArrayLike",
    ),
    (r"str \| type\[Any\] \| dtype \| SupportsDType", "DType"),
    (r"<class 'jax\.numpy\.(\w+)'>", r"\1"),
    (r"hierjax\.[a-z_.]*\.(?=[A-Z])", ""),
)
# Arguments that Linen adds to every module.
_LINEN = re.compile(r", (parent|name): [^=]*? = (<[^>]*>|None)(?=[,)])")


def _shorten(text: str | None) -> str | None:
    if text is None:
        return None
    for pattern, short in _SHORT:
        text = re.sub(pattern, short, text)
    return text


def _process(app, what, name, obj, options, signature, returns):
    if signature and name.startswith("hierjax.models."):
        signature = _LINEN.sub("", signature)
    return _shorten(signature), _shorten(returns)


def setup(app: Sphinx) -> dict:
    """Listen for signatures."""
    app.connect("autodoc-process-signature", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
