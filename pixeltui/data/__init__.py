"""Names to uint8 tensors on a device: `load`, `DataSet`, `Split`.

The names are looked up when they are first used, so that the processes which decode a folder's images need not wait for
torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixeltui.data.loading import load
    from pixeltui.data.sets import Arrays, DataSet, Expected, Source, Split

__all__ = ["Arrays", "DataSet", "Expected", "Source", "Split", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "loading" if name == "load" else "sets"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
