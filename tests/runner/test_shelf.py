"""Which models stay in memory, with real ones: each is measured as it is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.engines import faster_whisper, moonshine
from rhapsode.engines.base import Engine, LoadSettings, Transcriber
from rhapsode.runner.memory import allowed_bytes, resident_bytes
from rhapsode.runner.models import folder_bytes
from rhapsode.runner.shelf import Key, Shelf
from tests.support import speech

WHISPER, MOONSHINE = ("faster-whisper", "tiny.en"), ("moonshine", "tiny-en")
SETTINGS = LoadSettings(device="cpu", threads=1)


class Room:
    """A shelf with a clock to turn, and what it tells."""

    def __init__(self, budget: int, idle: float = 60.0, *keep: Key) -> None:
        self.now = 0.0
        self.told: list[tuple[str, ...]] = []
        self.shelf = Shelf(budget, idle, frozenset(keep), self.told.append, lambda: self.now)

    def take(self, key: Key) -> Transcriber:
        found = self.shelf.find(key)
        return found or self.shelf.load(key, folder_bytes(folder(key)), loader(key))


def folder(key: Key) -> Path:
    return speech.engine_model(*key)


def loader(key: Key) -> Callable[[], Transcriber]:
    engines: dict[str, Engine] = {e.name: e for e in (faster_whisper.ENGINE, moonshine.ENGINE)}
    return lambda: engines[key[0]].load(folder(key), SETTINGS)


def test_models_stay_while_there_is_room() -> None:
    room = Room(4 << 30)
    first, second = room.take(WHISPER), room.take(MOONSHINE)
    assert room.take(WHISPER) is first
    assert room.take(MOONSHINE) is second
    assert room.told == [
        ("faster-whisper/tiny.en",),
        ("faster-whisper/tiny.en", "moonshine/tiny-en"),
        ("moonshine/tiny-en", "faster-whisper/tiny.en"),
        ("faster-whisper/tiny.en", "moonshine/tiny-en"),
    ]
    room.shelf.clear()
    assert room.told[-1] == ()


def test_the_least_recently_used_goes_when_room_runs_out() -> None:
    room = Room(folder_bytes(folder(WHISPER)) + 10_000_000)
    first = room.take(WHISPER)
    room.take(MOONSHINE)
    assert room.told[-1] == ("moonshine/tiny-en",)
    assert room.take(WHISPER) is not first
    assert room.told[-1] == ("faster-whisper/tiny.en",)
    room.shelf.clear()


def test_memory_goes_back_to_the_system() -> None:
    room = Room(4 << 30)
    room.take(WHISPER)
    room.shelf.clear()  # from now on the library itself is there
    before = resident_bytes()
    room.take(WHISPER)
    held = resident_bytes() - before
    room.shelf.clear()
    # How much of it is new to the system depends on what ran in this process before.
    assert resident_bytes() - before < max(held / 2, 20_000_000)


def test_a_model_larger_than_the_budget_is_held_alone() -> None:
    room = Room(1)
    room.take(MOONSHINE)
    room.take(WHISPER)
    assert room.told[-1] == ("faster-whisper/tiny.en",)
    room.shelf.clear()


def test_idle_models_go_and_kept_ones_stay() -> None:
    room = Room(4 << 30, 60.0, MOONSHINE)
    assert room.shelf.next_due() is None
    room.take(MOONSHINE)
    assert room.shelf.next_due() is None
    room.take(WHISPER)
    room.now = 59.0
    assert room.shelf.next_due() == 1.0
    room.shelf.tidy()
    assert len(room.told[-1]) == 2
    room.now = 60.0
    room.shelf.tidy()
    assert room.told[-1] == ("moonshine/tiny-en",)
    room.shelf.clear()


def test_without_a_limit_nothing_is_due() -> None:
    room = Room(4 << 30, 0)
    room.take(MOONSHINE)
    room.now = 1e9
    room.shelf.tidy()
    assert room.shelf.next_due() is None
    assert room.told[-1] == ("moonshine/tiny-en",)
    room.shelf.clear()


def test_what_does_not_fit_beside_others_is_tried_alone() -> None:
    room, tries = Room(4 << 30), list[int]()
    room.take(MOONSHINE)

    def load() -> Transcriber:
        tries.append(len(room.told[-1]))
        if tries == [1]:
            raise Unavailable("model_unloadable", "CUDA failed with error out of memory")
        return loader(WHISPER)()

    room.shelf.load(WHISPER, 0, load)
    assert (tries, room.told[-1]) == ([1, 0], ("faster-whisper/tiny.en",))
    room.shelf.clear()


def test_a_model_that_fails_alone_is_not_tried_again() -> None:
    def load() -> Transcriber:
        raise Unavailable("model_unloadable", "broken")

    room = Room(4 << 30)
    with pytest.raises(Unavailable):
        room.shelf.load(WHISPER, 0, load)
    assert room.told == []


def test_the_machines_memory_is_known() -> None:
    assert 0 < resident_bytes() < allowed_bytes()
