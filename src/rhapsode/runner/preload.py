"""Models that are in memory before the first job asks for them."""

import structlog

from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.runner.config import key_of
from rhapsode.runner.handle import Child
from rhapsode.runner.messages import Failed

log = structlog.get_logger()


async def preload(child: Child, names: tuple[str, ...]) -> None:
    """Fetch these models and load them in turn; they stay in memory as far as it reaches.

    A name is `engine/model`, or the model alone for the default engine. A model that cannot
    be had is logged and keeps nobody from working.
    """
    for name in names:
        engine, model = key_of(name)
        spec = JobSpec(engine=engine, model=model)
        await child.ensure()
        work = child.prepare(f"preload/{name}", spec, _tell)
        failed = await work.until_loaded()
        if isinstance(failed, Failed):
            log.warning("model not preloaded", model=name, error=failed.message)
        else:
            log.info("model preloaded", model=name)


def _tell(progress: Progress) -> None:
    log.debug("preloading", stage=progress.stage, percent=round(100 * progress.fraction))
