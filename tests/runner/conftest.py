"""What the runner's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import runners
from tests.support.faulty import FaultyServer, serving
from tests.support.ports import free_port
from tests.support.speech import sample


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in runners.environment(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyServer]:
    async with serving(FaultyServer(free_port())) as server:
        yield server


@pytest.fixture(scope="session")
def speech() -> bytes:
    return sample("jfk").read_bytes()
