"""What is sent to a terminal that shows most of it already."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pyte
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from pixeltui.ui.shown import Shown

WIDTH, HEIGHT = 12, 4
CUTS = (0, 5, 9, WIDTH)
CONSOLE = Console(color_system="truecolor")
STYLES = [Style.parse(name) for name in ("red on blue", "bold", "green on blue", "on blue", "reverse", "not bold")]


def whole(rows: Sequence[Sequence[Strip]]) -> LayoutUpdate:
    return LayoutUpdate([list(row) for row in rows], Region(0, 0, sum(s.cell_length for s in rows[0]), len(rows)))


def row(*texts: tuple[str, str]) -> list[Strip]:
    return [Strip([Segment(text, Style.parse(style))]) for text, style in texts]


def seen(screen: pyte.Screen) -> list[tuple[object, ...]]:
    """Every cell as a person sees it: blanks have no ink."""
    cells = [screen.buffer[y][x] for y in range(HEIGHT) for x in range(WIDTH)]
    return [(c.data, c.bg, c.reverse, *(() if c.data == " " and not c.reverse else (c.fg, c.bold))) for c in cells]


def some_strip(dice: random.Random, width: int) -> Strip:
    segments, left = [], width
    while left:
        text = dice.choice(["ab", " ", "  ", "▀", "模", "x"])
        text = text if Segment(text).cell_length <= left else " "
        segments.append(Segment(text, dice.choice(STYLES)))
        left -= segments[-1].cell_length
    return Strip(segments, width)


def test_the_terminal_shows_what_it_would_with_everything_sent() -> None:
    dice = random.Random(0)
    shown = Shown()
    screen, plain = pyte.Screen(WIDTH, HEIGHT), pyte.Screen(WIDTH, HEIGHT)
    stream, plain_stream = pyte.Stream(screen), pyte.Stream(plain)
    pieces = [[some_strip(dice, b - a) for a, b in pairwise(CUTS)] for _ in range(HEIGHT)]
    sent = asked = 0
    for _ in range(400):
        for strips in dice.sample(pieces, dice.randrange(HEIGHT)):
            place = dice.randrange(len(strips))
            strips[place] = some_strip(dice, strips[place].cell_length)
        update: LayoutUpdate | ChopsUpdate = whole(pieces)
        if dice.random() < 0.5:
            chops = [dict(zip(CUTS, strips, strict=False)) for strips in pieces]
            first, last = sorted(dice.sample(CUTS, 2))
            spans = [(y, first, last) for y in sorted(dice.sample(range(HEIGHT), 2))]
            update = ChopsUpdate(chops, spans, [list(CUTS[1:])] * HEIGHT)
        everything = update.render_segments(CONSOLE)
        changes = shown.write(update, CONSOLE)
        plain_stream.feed(everything)
        stream.feed(changes)
        sent, asked = sent + len(changes), asked + len(everything)
        assert seen(screen) == seen(plain)
    assert sent < asked * 0.7


def test_what_is_there_is_not_sent_again() -> None:
    shown = Shown()
    first = whole([row(("name", "red on blue"), ("day", "red on blue")), row(("abc", ""), ("    ", "on green"))])
    assert "name" in shown.write(first, CONSOLE)
    assert not shown.write(first, CONSOLE)
    cut_elsewhere = whole([row(("na", "red on blue"), ("meday", "red on blue")), row(("abc    ", ""))])
    sent = shown.write(cut_elsewhere, CONSOLE)
    assert "me" not in sent
    assert "abc" in sent, "its end has another colour"


def test_spaces_are_alike_whatever_the_ink_but_not_in_reverse() -> None:
    shown = Shown()
    shown.write(whole([row(("   ", "red on blue"))]), CONSOLE)
    assert not shown.write(whole([row(("   ", "bold green on blue"))]), CONSOLE)
    assert shown.write(whole([row(("   ", "reverse green on blue"))]), CONSOLE)
    assert shown.write(whole([row(("   ", "reverse red on blue"))]), CONSOLE)


def test_all_is_sent_in_another_size_and_where_what_is_shown_is_not_known() -> None:
    shown = Shown()
    shown.write(whole([row(("abc", ""))] * 2), CONSOLE)
    assert shown.write(whole([row(("abc", ""))]), CONSOLE)
    assert not shown.write(whole([row(("abc", ""))]), CONSOLE)
    shown.forget()
    assert shown.write(whole([row(("abc", ""))]), CONSOLE)
