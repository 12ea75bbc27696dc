"""Whether processes were all started to train the same: else each would train another model, and nobody notice."""

from typing import Any

from pixeltui import __version__
from pixeltui.config import Config, as_dict
from pixeltui.data import DataSet
from pixeltui.errors import UsageError, UserError
from pixeltui.train.processes import Processes

TABLES = ("data", "model", "train")
PLACES = ("data.name", "data.root")
"""may be others on each machine"""


def check_alike(processes: Processes, config: Config, data: DataSet) -> None:
    """Raises UserError in all processes where one has another config or version, or other data, than the first."""
    own = _by_key(config), data.checksum
    first = processes.agree(own)

    def compare() -> None:
        keys = [key for key in own[0] if own[0][key] != first[0][key]]
        if keys:
            raise UsageError(
                f"process {processes.rank} was started with another {' and '.join(keys)} than process 0: start all by "
                "the same command"
            )
        if own[1] != first[1]:
            raise UserError(
                f"the data set {data.name} of process {processes.rank} is not that of process 0 (other images, labels "
                "or splits): give all machines the same"
            )

    processes.each(compare)


def _by_key(config: Config) -> dict[str, Any]:
    tree = as_dict(config)
    return {"pixeltui": __version__} | {
        f"{table}.{key}": value
        for table in TABLES
        for key, value in tree[table].items()
        if f"{table}.{key}" not in PLACES
    }
