"""What a terminal sends, in the pieces in which it comes."""

import pytest
from textual.events import Key, Paste

from pixeltui.ui.driver import Typed


def keys(*pieces: bytes) -> list[str]:
    """Of pieces that are read one after another, without a rest between them; then a rest."""
    typed = Typed()
    found = [message for piece in pieces for message in typed.feed(piece)]
    found += typed.rest()
    return [message.key for message in found if isinstance(message, Key)]


def test_an_esc_on_its_own_is_a_key_at_the_first_rest() -> None:
    typed = Typed()
    assert not list(typed.feed(b"\x1b"))
    assert typed.escape
    assert [message.key for message in typed.rest() if isinstance(message, Key)] == ["escape"]
    assert not typed.escape
    assert not list(typed.rest())


@pytest.mark.parametrize(("behind", "name"), [(b"j", "j"), (b"2", "2"), (b":", "colon"), (b"b", "b"), (b"\r", "enter")])
def test_a_key_at_once_behind_an_esc_takes_nothing_from_either(behind: bytes, name: str) -> None:
    assert keys(b"\x1b", behind) == ["escape", name]


def test_keys_before_an_esc_do_not_wait_for_it() -> None:
    typed = Typed()
    assert [message.key for message in typed.feed(b"jk\x1b") if isinstance(message, Key)] == ["j", "k"]


def test_an_arrow_in_two_pieces_is_an_arrow() -> None:
    assert keys(b"j\x1b", b"[Ak") == ["j", "up", "k"]
    assert keys(b"\x1b[A\x1bOP") == ["up", "f1"]


def test_an_esc_before_an_esc_is_one_of_two() -> None:
    assert keys(b"\x1b", b"\x1b", b"j") == ["escape", "escape", "j"]


def test_a_character_in_two_pieces_is_one_and_not_the_end() -> None:
    assert keys("é".encode()[:1], "é".encode()[1:], b"j") == ["é", "j"]


def test_what_is_pasted_in_pieces_is_whole() -> None:
    typed = Typed()
    pieces = (b"\x1b", b"[200~a\xc3", b"\xa9b\x1b", b"[201~")
    found = [message for piece in pieces for message in typed.feed(piece)]
    assert [message.text for message in found if isinstance(message, Paste)] == ["aéb"]
