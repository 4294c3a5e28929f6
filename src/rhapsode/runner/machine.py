"""What machine this is, as far as an engine's speed depends on it."""

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rhapsode.engines.base import cpu_threads

_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor's model, how many cores this process may use, the graphics cards."""

    cpu: str
    cores: int
    gpus: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A short name that equal machines share."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


def this_machine() -> Machine:
    """Looked up without any engine's library."""
    return Machine(_cpu(), cpu_threads(most=4096), tuple(_gpus()))


def _cpu() -> str:
    name = _field(Path("/proc/cpuinfo"), "model name")
    return name or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    found = sorted(_GPUS.glob("*/information"))
    return [_field(path, "Model") or "unknown" for path in found]


def _field(path: Path, wanted: str) -> str | None:
    """The value of the first line `wanted: value` of a file, where there is one."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == wanted:
                return value.strip()
    return None
