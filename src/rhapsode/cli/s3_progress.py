"""Bars of a batch: one for all of it, and one for each recording in flight."""

from typing import TYPE_CHECKING

from rhapsode.cli.progress import FileBar
from rhapsode.cli.s3_batch import Outcome, Standing

if TYPE_CHECKING:
    from rich.progress import Progress

_ENDED = frozenset({Standing.SKIPPED, Standing.DONE, Standing.FAILED})


class BatchBars:
    """Shows outcomes as they change, in the bars of `cli.progress.bars`."""

    def __init__(self, progress: "Progress", total: int) -> None:
        self._progress = progress
        self._bars: dict[str, FileBar] = {}
        self._ended = 0
        self._all = progress.add_task(_noun(total), total=total, stage="", bytes=False)

    def show(self, outcome: Outcome) -> None:
        """It has come further."""
        if outcome.standing in _ENDED:
            self._end(outcome)
        elif outcome.job is not None:
            self._bar(outcome.item.key).job(outcome.job)

    def _bar(self, key: str) -> FileBar:
        if key not in self._bars:
            self._bars[key] = FileBar(self._progress, key, 0)
        return self._bars[key]

    def _end(self, outcome: Outcome) -> None:
        self._ended += 1
        self._progress.update(self._all, completed=self._ended)
        bar = self._bars.pop(outcome.item.key, None)
        if bar is not None:
            bar.gone()


def _noun(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"
