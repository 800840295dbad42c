import io

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text


@pytest.fixture
def render():
    def check(figure: Figure) -> None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=30)
        assert buffer.getbuffer().nbytes > 500

    return check


@pytest.fixture
def texts_apart():
    """Checks that no two texts overlap and that all lie within the figure."""

    def check(figure: Figure) -> None:
        figure.draw_without_rendering()
        edge = figure.bbox
        boxes = [
            (text.get_text(), text.get_window_extent())
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip()
        ]
        assert boxes
        for index, (name, box) in enumerate(boxes):
            assert box.x0 >= edge.x0 - 1 and box.x1 <= edge.x1 + 1, name
            assert box.y0 >= edge.y0 - 1 and box.y1 <= edge.y1 + 1, name
            for other, second in boxes[:index]:
                assert not box.overlaps(second), f"{name!r} on {other!r}"

    return check
