"""TOML against typed tables: entries with the place they came from, every problem at once, documented defaults.

Knows msgspec structs, nothing of pixeltui's own tables.
"""

import contextlib
import difflib
import errno
import math
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from pixeltui.errors import did_you_mean, printable

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same code under its name on the package index
    import tomli as tomllib

S = TypeVar("S", bound=msgspec.Struct)
Key = tuple[str, ...]
LARGEST_FILE = 1 << 20
AS_TOML = {"True": "true", "False": "false"}
LEADING_POINT, TRAILING_POINT = re.compile(r"(?<![\w.])\.(?=\d)"), re.compile(r"(?<=\d)\.(?![\w.])")


class Entry(NamedTuple):
    key: Key
    value: Any
    where: str


class Problem(NamedTuple):
    where: str
    what: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


def parsed(content: bytes) -> tuple[str, dict[str, Any]]:
    """A file's text and what it says. Raises ValueError or RecursionError where that is no TOML."""
    text = content.decode("utf-8-sig")
    return text, tomllib.loads(text)


def read_file(path: Path, problems: list[Problem]) -> list[Entry]:
    """The file's leaves, each with its line."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise OSError(errno.EFBIG, f"it is larger than {LARGEST_FILE >> 10} KiB")
        text, tree = parsed(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(Problem(str(path), f"cannot be read as TOML: {reason}"))
        return []
    lines = _key_lines(text)

    def where(key: Key) -> str:
        while key and key not in lines:
            key = key[:-1]
        return f"{path}:{lines[key]}" if key else str(path)

    return [Entry(key, value, where(key)) for key, value in _leaves(tree)]


def read_override(text: str, schema: type[msgspec.Struct], problems: list[Problem]) -> list[Entry]:
    """The entries of one "key=value"; a value that is no TOML is a string, as `name=runs/a.npz` is.

    Numbers and truths as Python and shells write them count: .5, 1., True.
    """
    dotted, separator, raw = text.partition("=")
    where = f"--set {_shorten(text)}"
    key = tuple(part.strip() for part in dotted.split("."))
    if not separator or not all(key):
        problems.append(Problem(where, "expected KEY=VALUE, as in --set train.lr=5e-4"))
        return []
    field_type, _ = _field(schema, key)
    raw = raw.strip()
    value: Any = raw
    if _bare(field_type) is not str:
        for spelling in (raw, AS_TOML.get(raw, LEADING_POINT.sub("0.", TRAILING_POINT.sub(".0", raw)))):
            with contextlib.suppress(ValueError, RecursionError):
                tree = tomllib.loads(f"value = {spelling}")
                value = tree["value"] if len(tree) == 1 else raw
                break
    elif len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "\"'":
        value = raw[1:-1]
    if isinstance(value, dict):
        return [Entry(key + inner, leaf, where) for inner, leaf in _leaves(value)]
    return [Entry(key, value, where)]


def build(schema: type[S], entries: list[Entry], problems: list[Problem]) -> S:
    """The struct from those entries that fit it, later ones winning; what is wrong with the others in `problems`."""
    tree: dict[str, Any] = {}
    for entry in entries:
        field_type, unknown = _field(schema, entry.key)
        if unknown is not None:
            problems.append(Problem(entry.where, unknown))
            continue
        if _is_table(field_type):
            if entry.value != {}:
                problems.append(Problem(entry.where, f"{'.'.join(entry.key)}: expected a table, got {entry.value!r}"))
            continue
        try:
            value = msgspec.convert(entry.value, field_type)
        except UnicodeEncodeError:
            problems.append(Problem(entry.where, f"{'.'.join(entry.key)}: bytes that are no UTF-8"))
            continue
        except msgspec.ValidationError as error:
            words = _choices(field_type)
            wanted = f"one of {', '.join(words)}" if words else _wanted(error)
            got = _shorten(repr(entry.value))
            problems.append(Problem(entry.where, f"{'.'.join(entry.key)}: expected {wanted}, got {got}"))
            continue
        node = tree
        for part in entry.key[:-1]:
            node = node.setdefault(part, {})
        node[entry.key[-1]] = value
    return msgspec.convert(tree, schema)


def numbers(struct: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number in the struct and the structs in it, with its dotted key."""
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            yield from numbers(value, f"{prefix}{name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield f"{prefix}{name}", number


class Field(NamedTuple):
    name: str
    value: Any
    meaning: str
    limits: str
    """the range, as in ">= 0, <= 64"; "" where there is none"""


def fields(struct: msgspec.Struct) -> Iterator[Field]:
    """The fields of one table, with what their annotations say."""
    for name, annotation in typing.get_type_hints(type(struct), include_extras=True).items():
        meaning = next((meta.description for meta in _metas(annotation) if meta.description), "")
        yield Field(name, getattr(struct, name), meaning, _limits(annotation))


def documented(struct: msgspec.Struct, prefix: str = "") -> str:
    """TOML of the struct, each key under its meaning and range."""
    import tomli_w

    lines, tables = [], []
    for name, value, meaning, limits in fields(struct):
        if isinstance(value, msgspec.Struct):
            tables.append(f"\n# {meaning}\n[{prefix}{name}]\n" + documented(value, f"{prefix}{name}."))
        elif isinstance(value, dict):
            tables.append(f"\n# {meaning}\n[{prefix}{name}]\n" + tomli_w.dumps(value))
        else:
            lines.append(f"# {meaning}{f' ({limits})' if limits else ''}\n")
            lines.append(tomli_w.dumps({name: list(value) if isinstance(value, tuple) else value}))
    return "".join(lines + tables)


def flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    return {".".join(key): value for key, value in _leaves(tree)}


def differences(trees: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys, of flat tables, whose values are not all the same: key to the values."""
    keys = dict.fromkeys(key for tree in trees for key in tree)
    values = {key: [tree.get(key) for tree in trees] for key in keys}
    return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def _leaves(tree: dict[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def _field(schema: type[msgspec.Struct], key: Key) -> tuple[Any, str | None]:
    """The annotation at a dotted key, or what is wrong with the key."""
    current: Any = schema
    for depth, part in enumerate(key):
        if typing.get_origin(_bare(current)) is dict:
            current = typing.get_args(_bare(current))[1]
            continue
        if not _is_table(current):
            return None, f"{'.'.join(key[:depth])} is a value, not a table: there is no {'.'.join(key)}"
        hints = typing.get_type_hints(_bare(current), include_extras=True)
        if part not in hints:
            return None, f"unknown key {'.'.join(key)}{_nearest_key(key, schema)}"
        current = hints[part]
    return current if _is_table(current) or _metas(current) else _bare(current), None


def _nearest_key(key: Key, schema: type[msgspec.Struct]) -> str:
    """The end of a message about a key that is not there."""
    valid = list(_leaf_keys(schema))
    likeness, option = max((_likeness(key, option), option) for option in valid)
    if likeness >= 0.6:
        return f"; did you mean {option!r}?"
    if key[0] not in schema.__struct_fields__:
        return did_you_mean(key[0], schema.__struct_fields__)
    return did_you_mean(".".join(key), valid, most=1)


def _likeness(key: Key, option: str) -> float:
    """0 to 1. The key's own name counts more than its table: `lr` is `train.lr`, `train.dropout` is `model.dropout`."""
    table, _, leaf = option.rpartition(".")
    name = key[-1].lower()
    of_name = difflib.SequenceMatcher(None, name, leaf).ratio()
    if len(name) > 1 and (leaf.startswith(f"{name}_") or leaf == _initials(name) or name == _initials(leaf)):
        of_name = max(of_name, 0.9)
    return 0.8 * of_name + 0.2 * difflib.SequenceMatcher(None, ".".join(key[:-1]), table).ratio()


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))


def _leaf_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    for name, annotation in typing.get_type_hints(_bare(schema), include_extras=True).items():
        if _is_table(annotation):
            yield from _leaf_keys(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _bare(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def _is_table(annotation: Any) -> bool:
    bare = _bare(annotation)
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _metas(annotation: Any) -> list[msgspec.Meta]:
    return [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, msgspec.Meta)]


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        if typing.get_origin(part) in (typing.Annotated, typing.Union, types.UnionType, tuple):
            yield from _parts(part)


def _choices(annotation: Any) -> list[str]:
    """The words that a value may be, where it is a Literal, or that or a bool; else none."""
    bare = _bare(annotation)
    parts = typing.get_args(bare) if typing.get_origin(bare) in (typing.Union, types.UnionType) else (bare,)
    words = [word for part in parts if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)]
    return ["true", "false", *words] if words and bool in parts else words


def _wanted(error: msgspec.ValidationError) -> str:
    """What msgspec expected, in words: "Expected `int` >= 1 - at `$[0]`" gives "int >= 1"."""
    if str(error).startswith("Number out of range"):
        return "a finite number"
    return str(error).replace("`", "").removeprefix("Expected ").partition(", got")[0].partition(" - at")[0]


def _limits(annotation: Any) -> str:
    if choices := _choices(annotation):
        return " | ".join(choices)
    words = []
    for meta in (m for part in _parts(annotation) for m in _metas(part)):
        for bound, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
            limit = getattr(meta, bound)
            if limit is not None and math.isfinite(limit) and f"{sign} {limit}" not in words:
                words.append(f"{sign} {limit}")
    return ", ".join(words)


def _shorten(text: str, most: int = 60) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


_HEADER = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")


def _key_lines(text: str) -> dict[Key, int]:
    """Line numbers of keys and tables, as far as a look at the beginnings of lines tells."""
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            full_key = table + _split(key[1])
            lines[full_key] = number
    return lines


def _split(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
