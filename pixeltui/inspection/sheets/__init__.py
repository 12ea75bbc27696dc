"""The pictures of an inspection as PNG files; docs/INSPECT.md says how to read them."""

from collections.abc import Callable

from pixeltui.inspection.findings import Findings
from pixeltui.inspection.sheets.images import bits_sheet, samples_sheet
from pixeltui.inspection.sheets.sight import channels_sheet, field_sheet
from pixeltui.inspection.sheets.units import activations_sheet, features_sheet


def sheets(found: Findings, title: str, levels: int, classes: tuple[str, ...]) -> dict[str, bytes]:
    """PNG files by name. title: the run and its checkpoint."""
    makers: dict[str, Callable[[], bytes]] = {
        "bits.png": lambda: bits_sheet(found, title, levels, classes),
        "samples.png": lambda: samples_sheet(found, title, levels, classes),
        "features.png": lambda: features_sheet(found, title, levels),
        "activations.png": lambda: activations_sheet(found, title),
        "receptive-field.png": lambda: field_sheet(found, title),
        "channels.png": lambda: channels_sheet(found, title),
    }
    return {name: make() for name, make in makers.items()}
