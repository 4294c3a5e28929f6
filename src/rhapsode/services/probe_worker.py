"""The other side of `probing`: reads keys, writes what it found, one JSON line each.

It ends with its input, so that nothing is left behind by a server that was killed.
"""

import contextlib
import json
import os
import resource
import sys
from dataclasses import asdict
from typing import Any

from rhapsode.domain.errors import DomainError
from rhapsode.engines import audio
from rhapsode.storage.objects import ObjectStore, StoreConfig, failure_of, open_store

MEMORY_BYTES = 4 * 1024**3
"""Address space, of which the libraries alone map more than one gigabyte."""


def main() -> None:
    """Serve until the input ends."""
    _limit_memory()
    # Libraries that print must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    store = open_store(StoreConfig(**json.loads(sys.stdin.readline())))
    for line in sys.stdin:
        answers.write(json.dumps(_answer(store, json.loads(line))) + "\n")


def _limit_memory() -> None:
    """A file that makes the library take all memory shall cost this process, not the server."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _answer(store: ObjectStore, key: str) -> dict[str, Any]:
    try:
        with store.open(key) as source:
            try:
                return {"probe": asdict(audio.probe(source))}
            finally:
                if (failure := failure_of(source)) is not None:
                    raise failure
    except DomainError as error:
        return _refusal(type(error).__name__, error.code, error.message, error.hint)
    except Exception as error:  # noqa: BLE001 (whatever a hostile file provokes)
        detail = f"The recording cannot be read ({type(error).__name__})."
        return _refusal("Invalid", "media_unreadable", detail, None)


def _refusal(kind: str, code: str, message: str, hint: str | None) -> dict[str, Any]:
    return {"kind": kind, "code": code, "message": message, "hint": hint}


if __name__ == "__main__":
    main()
