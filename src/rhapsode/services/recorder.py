"""Counts what happens, in the terms of the services, for the operator's metrics."""

from rhapsode.domain.jobs import Change, Job, JobState
from rhapsode.telemetry import Metrics

_SMOOTHING = 10
"""About so many of the latest runs make what is typical."""


class Recorder:
    """Feeds one application's Prometheus series."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._run_seconds: dict[str, float] = {}

    def changed(self, change: Change | str, *jobs: Job) -> None:
        """These jobs went through this change."""
        for job in jobs:
            self.metrics.job_changes.labels(str(change), job.state).inc()
            if change in {Change.LAPSE, Change.EXHAUST}:
                self.metrics.leases_lapsed.inc()

    def claimed(self, job: Job, waited_seconds: float) -> None:
        """A job left the queue after this long."""
        self.changed(Change.CLAIM, job)
        self.metrics.claims.labels("job").inc()
        self.metrics.queue_wait_seconds.observe(waited_seconds)

    def claimed_nothing(self) -> None:
        """A claim waited in vain."""
        self.metrics.claims.labels("empty").inc()

    def finished(self, job: Job, run_seconds: float) -> None:
        """A run ended well after this long."""
        delivering = job.state is JobState.DELIVERING
        self.changed(Change.DELIVER if delivering else Change.RESULT, job)
        labels = (job.spec.engine, job.spec.model)
        self.metrics.run_seconds.labels(*labels).observe(run_seconds)
        self.metrics.audio_seconds.labels(*labels).inc(job.duration or 0.0)
        before = self._run_seconds.get(job.spec.requirement, run_seconds)
        self._run_seconds[job.spec.requirement] = before + (run_seconds - before) / _SMOOTHING

    def typical_run_seconds(self, requirement: str) -> float | None:
        """How long such jobs ran lately, as this process saw it; None where it saw none."""
        return self._run_seconds.get(requirement)

    def heard(self, verdict: str) -> None:
        """A heartbeat was answered like this."""
        self.metrics.heartbeats.labels(verdict).inc()

    def received(self, size: int) -> None:
        """A recording of so many bytes was stored."""
        self.metrics.upload_bytes.inc(size)

    def sent(self, kind: str, outcome: str, seconds: float | None) -> None:
        """A delivery was tried, with this outcome, and the receiver took so long."""
        self.metrics.deliveries.labels(kind, outcome).inc()
        if seconds is not None:
            self.metrics.delivery_seconds.labels(kind).observe(seconds)

    def deleted(self, kind: str, reason: str, count: int = 1) -> None:
        """So many things of a kind were deleted for this reason."""
        self.metrics.deleted.labels(kind, reason).inc(count)
