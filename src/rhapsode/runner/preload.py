"""Models that are in memory before the first job asks for them."""

import structlog

from rhapsode.domain.jobs import DEFAULT_ENGINE, JobSpec, Progress
from rhapsode.runner.handle import Child
from rhapsode.runner.messages import Failed

log = structlog.get_logger()


async def preload(child: Child, names: tuple[str, ...]) -> None:
    """Fetch these models and load them in turn, so that the last one stays in memory.

    A name is `engine/model`, or the model alone for the default engine. A model that cannot
    be had is logged and keeps nobody from working.
    """
    for name in names:
        engine, slash, model = name.rpartition("/")
        spec = JobSpec(engine=engine if slash else DEFAULT_ENGINE, model=model)
        await child.ensure()
        work = child.prepare(f"preload/{name}", spec, _tell)
        failed = await work.until_loaded()
        if isinstance(failed, Failed):
            log.warning("model not preloaded", model=name, error=failed.message)
        else:
            log.info("model preloaded", model=name)


def _tell(progress: Progress) -> None:
    log.debug("preloading", stage=progress.stage, percent=round(100 * progress.fraction))
