"""Readings of the machine: plausible where they can be had, None where not, and never an exception."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pixeltui.telemetry import Meter, Readings

GPU = ("gpu_busy", "gpu_memory", "gpu_memory_total", "gpu_temperature", "gpu_power")


def driver(**broken: Exception) -> Any:
    """As much of pynvml as is used, for one card; what is named in `broken` raises."""

    def call(name: str, value: Any) -> Any:
        def answer(*arguments: Any) -> Any:
            if name in broken:
                raise broken[name]
            return value(*arguments) if callable(value) else value

        return answer

    def find(uuid: str) -> str:
        if uuid != "GPU-12ab":
            raise ValueError("not found")
        return "card"

    answers = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": find,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=40),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=61 << 30, total=80 << 30, free=19 << 30),
        "nvmlDeviceGetTemperature": 71,
        "nvmlDeviceGetPowerUsage": 650_400,
    }
    return SimpleNamespace(NVML_TEMPERATURE_GPU=0, **{name: call(name, value) for name, value in answers.items()})


@pytest.mark.parametrize("uuid", ["12ab", "GPU-12ab"])
def test_a_gpu_is_found_by_its_uuid(uuid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver())
    readings = Meter(uuid).read()
    assert [getattr(readings, name) for name in GPU] == [0.97, 61 << 30, 80 << 30, 71.0, pytest.approx(650.4)]


@pytest.mark.parametrize(
    ("broken", "missing"),
    [
        ("nvmlInit", GPU),
        ("nvmlDeviceGetHandleByUUID", GPU),
        ("nvmlDeviceGetUtilizationRates", ("gpu_busy",)),
        ("nvmlDeviceGetMemoryInfo", ("gpu_memory", "gpu_memory_total")),
        ("nvmlDeviceGetTemperature", ("gpu_temperature",)),
        ("nvmlDeviceGetPowerUsage", ("gpu_power",)),
    ],
)
def test_what_a_driver_refuses_is_missing_and_nothing_else(
    broken: str, missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver(**{broken: OSError("gone")}))
    readings = Meter("12ab").read()
    assert [name for name in GPU if getattr(readings, name) is None] == list(missing)


def test_no_bindings_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    for uuid in (None, "12ab"):
        readings = Meter(uuid).read()
        assert [getattr(readings, name) for name in GPU] == [None] * 5


def test_what_the_process_used_is_measured_between_two_readings() -> None:
    now = [0.0]
    meter = Meter(now=lambda: now[0])
    assert meter.read().cores_busy is None, "no time has passed"
    sum(i * i for i in range(300_000))
    now[0] = 0.001
    busy = meter.read().cores_busy
    assert busy is not None
    assert busy > 1, "more CPU time than a millisecond, by this clock"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_the_host_is_read() -> None:
    readings = Meter().read()
    assert readings.cores is not None
    assert readings.cores >= 1
    assert readings.memory is not None
    assert readings.host_memory is not None
    assert readings.host_memory_total is not None
    assert 1 << 20 < readings.memory <= readings.host_memory_total
    assert 0 < readings.host_memory < readings.host_memory_total


def test_a_machine_without_proc_has_no_readings_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixeltui import telemetry

    def gone() -> Any:
        raise FileNotFoundError

    for name in ("_host_ticks", "_process_memory", "_host_memory"):
        monkeypatch.setattr(telemetry, name, gone)
    readings = Meter().read()
    assert (readings.host_busy, readings.memory, readings.host_memory) == (None, None, None)
    assert isinstance(readings, Readings)
