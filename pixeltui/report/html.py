"""HTML in which text cannot become markup: whatever is no `Html` is escaped where it is put in."""

import html
from collections.abc import Iterable, Sequence
from importlib import resources

from pixeltui import __version__
from pixeltui.errors import printable

# Nothing is loaded and nothing runs, whatever a run's files may say.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
VOID = ("img", "meta", "line", "path", "circle")


class Html(str):
    """Markup, made by `tag` and `join` only."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """An element. Attributes: a trailing underscore is dropped, others become hyphens; None leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not content:
        return Html(f"<{name}{written}>" if name in ("img", "meta") else f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    return Html("".join(part if isinstance(part, Html) else _escaped(str(part)) for part in parts))


def _escaped(text: str) -> str:
    return html.escape("\n".join(printable(line) for line in text.split("\n")))


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, words: int = 1, **attributes: object) -> Html:
    """In a box that scrolls sideways where the page is narrow; the first cell of a row names it.

    words: how many of the columns, from the left, are no figures.
    """

    def cells(row: Sequence[object], name: str, **more: object) -> Iterable[Html]:
        return (tag(name, cell, class_="word" if i < words else None, **more) for i, cell in enumerate(row))

    body = (tag("tr", tag("th", row[0], scope="row"), *list(cells(row, "td"))[1:]) for row in rows)
    head = tag("thead", tag("tr", *cells(header, "th", scope="col"))) if header else Html()
    return tag("div", tag("table", head, tag("tbody", *body), **attributes), class_="scroll")


def section(title: str, *content: object) -> Html:
    return tag("section", tag("h2", title), *content)


def details(title: str, *content: object) -> Html:
    return tag("details", tag("summary", title), *content)


def document(title: str, *content: object) -> str:
    """The whole file."""
    style = resources.files("pixeltui.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"pixeltui {__version__}"),
        tag("title", title),
        tag("style", Html(style)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *content)), lang='en')}\n"
