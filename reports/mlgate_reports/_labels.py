"""Finds room for the labels of points in a drawing, so that none lies on another or on a point."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

#: Width of a letter and height of a line of the drawing's text, on the generous side.
_LETTER, _LINE = 6.4, 12.0
#: Half the side of the square that a point's mark keeps free.
_MARK = 6.0
#: Room between two labels, lest two numbers be read as one.
_GAP = 3.0
#: Distances from the point at which a label may stand; beyond the first a line leads to it.
_REACH = (9.0, 20.0, 32.0, 46.0, 62.0)
#: Right first, as people read, then the other sides.
_DIRECTIONS = (
    *((1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 1.0)),
    *((0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7)),
)
_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A point and the texts that would do as its label, the best first."""

    x: float
    y: float
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """A text where there is room for it, with the line that leads to its point."""

    text: str
    x: int
    y: int
    anchor: Literal["start", "middle", "end"]
    #: End of the line from the point; `None` where the label stands beside it.
    leader: tuple[int, int] | None


def place(
    points: Sequence[Wanted], area: _Box, line: Sequence[tuple[float, float]] = ()
) -> list[Label | None]:
    """Return a label for each point, the first points served first; `None` where no text has room.

    Args:
        points: what to label.
        area: left, top, right and bottom of where labels may stand.
        line: corners of a line that labels keep off.
    """
    taken = [_around(point.x, point.y, _MARK, _MARK) for point in points]
    taken += [_around(x, y, 1.0, 1.0) for x, y in _along(line)]
    labels: list[Label | None] = []
    for point in points:
        # Where no line reaches the label freely it may cross others: a crossed line is better than no label.
        free = (
            (label, box)
            for crossing in (False, True)
            for text in point.texts
            for label, box in _positions(point, text)
            if _inside(box, area)
            and not _meets(box, taken)
            and (crossing or not any(_meets(part, taken) for part in _leader(point, label)))
        )
        found = next(free, None)
        labels.append(found[0] if found else None)
        if found:
            taken.append(found[1])
    return labels


def text_width(text: str) -> float:
    """Return about how wide the text is when drawn."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return (len(text) + wide) * _LETTER


def fitted(text: str, width: float) -> str:
    """Return the text, cut with an ellipsis where it would be wider than there is room."""
    kept = text
    while kept and text_width(kept + "…" * (kept != text)) > width:
        kept = kept[:-1]
    return kept if kept == text else kept.rstrip() + "…"


def _positions(point: Wanted, text: str) -> Iterator[tuple[Label, _Box]]:
    width = text_width(text)
    for reach in _REACH:
        for across, down in _DIRECTIONS:
            x, y = point.x + reach * across, point.y + reach * down
            anchor: Literal["start", "middle", "end"] = "middle"
            middle = x
            if across:
                anchor = "start" if across > 0 else "end"
                middle = x + (width / 2 if across > 0 else -width / 2)
            else:
                y += down * _LINE / 2
            leader = (round(x), round(y)) if reach > _REACH[0] else None
            # Text is placed by its base line, which is a third of a line below its middle.
            label = Label(text=text, x=round(x), y=round(y + _LINE / 3), anchor=anchor, leader=leader)
            yield label, _around(middle, y, width / 2 + _GAP, _LINE / 2)


def _along(corners: Sequence[tuple[float, float]], step: float = 4.0) -> Iterator[tuple[float, float]]:
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        parts = max(1, round(math.hypot(to_x - x, to_y - y) / step))
        for i in range(parts + 1):
            yield x + (to_x - x) * i / parts, y + (to_y - y) * i / parts


def _leader(point: Wanted, label: Label) -> list[_Box]:
    """Return what the line to a label covers, from where it leaves the mark of its own point."""
    if label.leader is None:
        return []
    x, y = label.leader
    away = 1.6 * _MARK / math.hypot(x - point.x, y - point.y)
    start = point.x + away * (x - point.x), point.y + away * (y - point.y)
    return [_around(px, py, 0.5, 0.5) for px, py in _along((start, label.leader))]


def _around(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _meets(box: _Box, taken: Sequence[_Box]) -> bool:
    return any(_overlap(box, other) for other in taken)


def _inside(box: _Box, area: _Box) -> bool:
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]
