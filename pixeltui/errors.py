"""What goes wrong in a way that the user can mend, and the help that goes with it."""

import difflib
import math
from collections.abc import Iterable


class UserError(Exception):
    """One line that says what is wrong and what to do. The command ends with `exit_status`, without a traceback."""

    exit_status = 1


class UsageError(UserError):
    """A wrong command line or config: exit status 2."""

    exit_status = 2


def did_you_mean(name: str, valid: Iterable[str], *, most: int = 3) -> str:
    """The nearest valid names, as the end of an error message: "; did you mean 'train.lr'?"."""
    valid, name = sorted(set(valid), key=lambda option: (option != option.lower(), option)), name.lower()
    lower = [option.lower() for option in valid]

    def nearest(cutoff: float) -> list[str]:
        near = difflib.get_close_matches(name, dict.fromkeys(lower), n=most, cutoff=cutoff)
        return [option for one in near for option, other in zip(valid, lower, strict=True) if other == one][:most]

    near = nearest(0.5) or [option for option in valid if name and option.lower().startswith(name[:2])][:most]
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    if len(valid) > 12:
        return f"; of {len(valid)} the nearest are {', '.join(nearest(0.0))}"
    return f"; there are {', '.join(valid)}" if valid else ""


def wrong_number(text: str, *, over: float = -math.inf, least: float = -math.inf, most: float = math.inf) -> str:
    """Why it is no finite number in the range, or ""."""
    try:
        value = float(text)
    except ValueError:
        return "expected a number"
    if math.isfinite(value) and over < value and least <= value <= most:
        return ""
    bounds = [f"over {over:g}"] * (over > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
    return "expected a number " + " and ".join(bounds + [f"at most {most:g}"] * (most < math.inf))


def printable(text: object) -> str:
    """Text of others without what could steer a terminal: escapes, other controls and direction marks become "?"."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def printable_lines(text: object) -> str:
    """The same of a text of several lines."""
    return "\n".join(map(printable, str(text).split("\n")))
