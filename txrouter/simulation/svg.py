"""A drawing, as SVG: shapes and text whose looks are left to a style sheet. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

__all__ = ["Drawing"]


class Drawing:
    """What is drawn later lies above. Lengths are in pixels, from the top left corner.

    A class is one or more names of the style sheet. A hint is what a browser shows when the pointer rests on a shape.
    """

    def __init__(self, width: float, style: str) -> None:
        self.width = width
        self.style = style
        self._shapes: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str, anchor: str = "start", hint: str = "") -> None:
        """A line of text that starts, has its middle or ends (`anchor`) at x, and stands on y."""
        self._add("text", f'x="{_short(x)}" y="{_short(y)}" text-anchor="{anchor}"', kind, hint, text)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str, hint: str = "") -> None:
        """A straight line."""
        self._add("path", f'd="M{_short(x1)} {_short(y1)}L{_short(x2)} {_short(y2)}"', kind, hint)

    def curve(self, points: Iterable[tuple[float, float]], kind: str, hint: str = "") -> None:
        """Straight lines from point to point."""
        steps = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
        if steps:
            self._add("path", f'd="M{steps}"', kind, hint)

    def box(self, x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> None:
        """A filled rectangle."""
        place = f'x="{_short(x)}" y="{_short(y)}" width="{_short(width)}" height="{_short(height)}"'
        self._add("rect", place, kind, hint)

    def dot(self, x: float, y: float, radius: float, kind: str, hint: str = "") -> None:
        """A filled circle."""
        self._add("circle", f'cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}"', kind, hint)

    def _add(self, name: str, attributes: str, kind: str, hint: str, text: str = "") -> None:
        inside = (f"<title>{escape(hint)}</title>" if hint else "") + escape(text)
        self._shapes.append(f"<{name} class={quoteattr(kind)} {attributes}>{inside}</{name}>")

    def as_svg(self, height: float, title: str) -> str:
        """The whole of it, as the text of a file.

        :param title: what it is, for those who cannot see it.
        """
        size = f'width="{_short(self.width)}" height="{_short(height)}"'
        view = f'viewBox="0 0 {_short(self.width)} {_short(height)}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img" aria-label={quoteattr(title)}>',
                f"<style>{escape(self.style)}</style>",
                f'<rect class="paper" {size}/>',
                *self._shapes,
                "</svg>\n",
            ]
        )


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
