"""Progress bars on standard error."""

from typing import TYPE_CHECKING

from rhapsode.cli.output import console
from rhapsode.domain.jobs import Job, JobState

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

_WAITING = {
    JobState.QUEUED: "waiting for a runner",
    JobState.RUNNING: "starting",
    JobState.DELIVERING: "delivering",
}


def bars() -> "Progress":
    """Bars with what is being done, how fast, and how long it will still take."""
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        """Bytes and bytes per second while bytes move, nothing otherwise."""

        def render(self, task: "Task") -> Text:
            return Text(_speed(task))

    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[stage]}", markup=False, style="dim"),
        BarColumn(),
        TaskProgressColumn(),
        Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        redirect_stdout=False,  # data must not end on standard error
        redirect_stderr=False,
    )


def _speed(task: "Task") -> str:
    from rich.filesize import decimal

    if not task.fields.get("bytes"):
        return ""
    done = f"{decimal(int(task.completed))}/{decimal(int(task.total or 0))}"
    return f"{done} {decimal(int(task.speed))}/s" if task.speed else done


class FileBar:
    """The bar of one recording: first its upload, then its transcription."""

    def __init__(self, progress: "Progress", name: str, size: int) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=size, stage="waiting", bytes=True)
        self._following = False

    def uploaded(self, done: int) -> None:
        """So many bytes are sent."""
        self._progress.update(self._task, completed=done, stage="upload")

    def job(self, job: Job) -> None:
        """The job has come this far."""
        if not self._following:
            self._following = True
            self._progress.reset(self._task, total=1.0, stage="", bytes=False)
        running = job.progress if job.state is JobState.RUNNING else None
        stage = running.stage if running else _WAITING.get(job.state, job.state.value)
        done = 1.0 if job.state is JobState.FINISHED else running.fraction if running else None
        self._progress.update(self._task, stage=stage, completed=done)

    def ended(self, stage: str) -> None:
        """Nothing more will happen to this one."""
        self._progress.update(self._task, stage=stage)
        self._progress.stop_task(self._task)

    def gone(self) -> None:
        """It need not be seen any more."""
        self._progress.remove_task(self._task)
