"""The channel of notifications: a job's document of `/transcription/`, put where it was asked.

One attempt at a time, like every delivery: a receiver that is not there holds up nothing, and
the job has ended before the first one.
"""

import json

from rhapsode.database import transcription as table
from rhapsode.domain.deliveries import Delivery
from rhapsode.domain.formats import Format
from rhapsode.domain.transcription import document
from rhapsode.outbound.http import Outbound
from rhapsode.services.channels import Outcome, dead
from rhapsode.services.context import Context
from rhapsode.services.puts import put


async def send(outbound: Outbound, context: Context, delivery: Delivery) -> Outcome:
    """One attempt. The document tells where the request's URLs lead, but not their secrets."""
    record = None
    if delivery.job_id is not None:
        async with context.database.read() as connection:
            record = await table.of_job(connection, delivery.job_id)
    if record is None:
        return dead("The job that this tells of is gone.")
    body = json.dumps(document(record, with_secrets=False), ensure_ascii=False).encode()
    return await put(outbound, delivery, body, Format.JSON.media_type)
