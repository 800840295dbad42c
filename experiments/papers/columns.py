"""What a table shows: its columns, its differences and the words around them.

Every paper says so once, in a `Style` of its own beside its tables.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Column:
    """A measure under a heading.

    Attributes:
      heading: as printed; ``{target}`` stands for the level or other labelling.
      measure: its name, see `hierjax.evaluation.names`. ``{fine}`` and ``{coarse}`` are
        the finest and the coarsest level; ``{target}`` makes a column of every level
        and labelling that any row has the measure of.
      otherwise: measure of a row that does not have the first one.
      digits: decimals; None: the style's.
      show_interval: print the interval beside the mean.
    """

    heading: str
    measure: str
    otherwise: str = ""
    digits: int | None = None
    show_interval: bool = False


@dataclasses.dataclass(frozen=True)
class Style:
    """How the tables of a paper look.

    Attributes:
      columns: of every row; one that no row has a value for is left out.
      compared: those of which differences are shown.
      introduction: paragraphs under the title, with ``{scale}``, ``{settings}``,
        ``{trials}`` and ``{needed}``; one that mentions the accuracy needed is left
        out where none is.
      differences: where they stand: 'beside' the rows, in a table for 'each baseline',
        or in one table of 'pairs'.
      marks: behind a difference whose interval includes 0, lies above, lies below it.
      digits: decimals.
      show_seeds: print the number of seeds of every row.
      tested: heading and measures of the p values over classes.
      settings: remark on the ``{settings}`` of a block.
      chosen: remark on what validation ``{chosen}`` for each row.
      chosen_field: the one field of what was chosen that is shown; '' shows all.
      shares: heading and measure of a remark with a value a level and row.
    """

    columns: tuple[Column, ...]
    compared: tuple[Column, ...]
    introduction: tuple[str, ...]
    differences: str
    marks: tuple[str, str, str] = ("=", "↑", "↓")
    digits: int = 3
    show_seeds: bool = False
    tested: tuple[str, tuple[str, ...]] = ("", ())
    settings: str = ""
    chosen: str = ""
    chosen_field: str = ""
    shares: tuple[str, str] = ("", "")
