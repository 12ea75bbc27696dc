"""The library of compiled steps by itself: its functions, and which files are taken for it."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixeltui.core.native import library, program

EDGES = [0.0, 1e-30, 1e-7, 1e-3, 0.3, 1.0, 8.5, 20.0, 86.0, 88.0, 104.0, 200.0, 1e4, 1e30, 3e38]
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tanh_gate": lambda a, b: a.tanh() * b.sigmoid(),
    "silu_gate": lambda a, b: a * torch.nn.functional.silu(b),
    "silu": lambda a, b: torch.cat([torch.nn.functional.silu(a), torch.nn.functional.silu(b)]),
    "relu": lambda a, b: torch.cat([a.relu(), b.relu()]),
}


@pytest.mark.parametrize("kind", list(FUNCTIONS))
def test_functions_are_accurate_from_the_smallest_to_the_largest(built: library.Library, lanes: int, kind: str) -> None:
    edges = torch.tensor([*EDGES, *(-x for x in EDGES)])
    a = torch.cat([edges.repeat_interleave(len(edges)), torch.linspace(-12, 12, 2003)])
    b = torch.cat([edges.repeat(len(edges)), torch.linspace(9, -9, 2003)])
    expected = FUNCTIONS[kind](a.double(), b.double())
    x = torch.cat([a, b])[None]
    y = torch.empty(1, len(expected))
    steps = program.Steps(lanes)
    steps.add(kind, x, y)
    levels = torch.zeros(1, 1, 1, dtype=torch.int64)
    noise, known, current, scaled = (torch.zeros(1, 1, 1) for _ in range(4))
    nothing = program.Steps(lanes).array()
    row = library.CProgram(
        *(steps.array(), nothing, nothing, 1, 0, 0, 1, 1, 1, 1, 2, 1, 0),
        *(noise.data_ptr(), known.data_ptr(), levels.data_ptr(), program.place_of(current), scaled.data_ptr()),
    )
    built.row(row, ctypes.addressof(ctypes.c_uint8(0)), lanes, 1, 1)
    usual = (a.abs() < 1e5) if kind.endswith("gate") else torch.ones(len(expected), dtype=torch.bool)
    torch.testing.assert_close(y[0][usual], expected.float()[usual], atol=1e-30, rtol=1e-6)


def test_a_library_of_another_version_is_refused(built: library.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "FORMAT", library.FORMAT + 1)
    with pytest.raises(ValueError, match="built for format"):
        library.Library(built.path)


def test_the_environment_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELTUI_COMPILED", "0")
    assert library.load.__wrapped__() == library.TURNED_OFF


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "steps.so").write_text("no code")
    with pytest.raises(OSError, match=r"steps\.so"):
        library.Library(str(tmp_path / "steps.so"))
