"""How busy, full, hot and hungry this machine is: the GPU through nvidia-ml-py where there is one, the rest from /proc.

A reading that cannot be had is None; nothing here ever raises.
"""

import contextlib
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Shares are 0 to 1, memory is in bytes. What is busy is meant over the time since the reading before."""

    gpu_busy: float | None = None
    gpu_memory: int | None = None
    """in use by all processes"""
    gpu_memory_total: int | None = None
    gpu_temperature: float | None = None
    """degrees Celsius"""
    gpu_power: float | None = None
    """watts"""
    cores_busy: float | None = None
    """CPU cores that this process kept busy"""
    cores: int | None = None
    """CPU cores that it may use"""
    host_busy: float | None = None
    """share of all of the machine's cores, whoever kept them busy"""
    memory: int | None = None
    """of this process"""
    host_memory: int | None = None
    host_memory_total: int | None = None


class Meter:
    """Reads one GPU, this process and its machine."""

    def __init__(self, gpu_uuid: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """gpu_uuid: as the driver writes it, with or without "GPU-" before; None: no GPU is asked."""
        self._now = now
        self._nvml: Any = None
        self._gpu: Any = None
        if gpu_uuid:
            with contextlib.suppress(Exception):
                self._nvml = importlib.import_module("pynvml")
                self._nvml.nvmlInit()
                self._gpu = self._find(gpu_uuid)
        self._process = self._now(), time.process_time()
        self._host = _try(_host_ticks)

    def _find(self, uuid: str) -> Any:
        for prefix in ("", "GPU-", "MIG-"):
            with contextlib.suppress(Exception):
                return self._nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}")
        return None

    def read(self) -> Readings:
        busy, memory, temperature, power = self._gpu_readings()
        host_memory = _try(_host_memory) or (None, None)
        return Readings(
            gpu_busy=busy,
            gpu_memory=memory[0],
            gpu_memory_total=memory[1],
            gpu_temperature=temperature,
            gpu_power=power,
            cores_busy=self._cores_busy(),
            cores=_try(lambda: len(os.sched_getaffinity(0))) or os.cpu_count(),
            host_busy=self._host_busy(),
            memory=_try(_process_memory),
            host_memory=host_memory[0],
            host_memory_total=host_memory[1],
        )

    def _gpu_readings(self) -> tuple[float | None, tuple[int | None, int | None], float | None, float | None]:
        nvml, gpu = self._nvml, self._gpu
        if gpu is None:
            return None, (None, None), None, None
        # One at a time: a card that tells no power may well tell its temperature.
        memory: Any = _try(lambda: nvml.nvmlDeviceGetMemoryInfo(gpu))
        return (
            _try(lambda: min(max(float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu) / 100, 0.0), 1.0)),
            (_try(lambda: max(int(memory.used), 0)), _try(lambda: max(int(memory.total), 0))),
            _try(lambda: max(float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)), 0.0)),
            _try(lambda: max(float(nvml.nvmlDeviceGetPowerUsage(gpu)) / 1000, 0.0)),
        )

    def _cores_busy(self) -> float | None:
        (wall_before, cpu_before), (wall, cpu) = self._process, (self._now(), time.process_time())
        self._process = wall, cpu
        return max(cpu - cpu_before, 0.0) / (wall - wall_before) if wall > wall_before else None

    def _host_busy(self) -> float | None:
        before, self._host = self._host, _try(_host_ticks)
        if before is None or self._host is None or self._host[1] <= before[1]:
            return None
        idle = max(self._host[0] - before[0], 0)
        return max(1 - idle / (self._host[1] - before[1]), 0.0)


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception:
        return None


def _host_ticks() -> tuple[int, int]:
    """Ticks that all cores have spent idle, and altogether, since the machine started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _process_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _host_memory() -> tuple[int, int]:
    """Bytes in use and in all."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return total - free, total
