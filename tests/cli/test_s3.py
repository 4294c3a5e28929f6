"""`rhapsode s3` with a real S3 server, a real Rhapsode server and real runners.

The server reads and writes the bucket by links; the command only asks and watches.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jiwer
import pytest

from rhapsode.cli.s3_batch import Batch, Order, Outcome, Standing
from rhapsode.cli.s3_plan import Naming, plan
from rhapsode.cli.s3_store import Access, Store
from rhapsode.cli.s3_watch import watching
from rhapsode.domain.jobs import Job, JobState
from rhapsode.domain.urls import shown
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.support.site import Site, offered, runner, running_site
from tests.support.speech import model_path, models_folder, plain, sample, sample_text

BUCKET = "tests"
HERE = "127.0.0.0/8"
PUPPET = ("--engine", "puppet", "--model", "quick")
_numbers = count()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, s3_server: S3) -> Iterator[Site]:
    """A server that may speak to this machine, where the bucket is, and has its own key."""
    s3_input = {
        "endpoint": s3_server.endpoint,
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        "buckets": [BUCKET],
    }
    sections = {"outbound": {"allow_networks": [HERE]}, "s3_input": s3_input}
    with running_site(tmp_path_factory.mktemp("site"), **sections) as running:
        yield running


@dataclass
class Bucket:
    """A folder of its own in the bucket, and the command on it."""

    s3: S3
    site: Site
    folder: str
    sound: bytes

    def put(self, *names: str, body: bytes | None = None) -> None:
        for name in names:
            content = self.sound if body is None else body
            self.s3.client().put_object(Bucket=BUCKET, Key=self.folder + name, Body=content)

    def text(self, name: str) -> str:
        found = self.s3.client().get_object(Bucket=BUCKET, Key=self.folder + name)
        return str(found["Body"].read().decode())

    def names(self) -> list[str]:
        listed = self.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=self.folder)
        return sorted(
            item["Key"].removeprefix(self.folder) for item in listed.get("Contents", ())
        )

    async def start(self, *arguments: str, **variables: str) -> Process:
        """The program, started; `s3 submit` of all that is in the folder, unless told else."""
        place = ("--input-bucket", BUCKET, "--endpoint", self.s3.endpoint)
        return await self.program("s3", *arguments, *place, **variables)

    async def program(self, *arguments: str, **variables: str) -> Process:
        """Any command, as somebody with a login and a key for the bucket."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rhapsode", *arguments),
            env={
                **os.environ,
                "RHAPSODE_SERVER": self.site.server.url,
                "RHAPSODE_API_KEY": self.site.key,
                "S3_ACCESS_KEY": ACCESS_KEY,
                "S3_SECRET_KEY": SECRET_KEY,
                **variables,
            },
            stdout=PIPE,
            stderr=PIPE,
        )

    async def submit(self, *options: str, **variables: str) -> "Ended":
        """A batch over the folder, to its end, told as JSON."""
        options = ("--prefix", self.folder, *options)
        return await ended(await self.start("submit", "--json", *options, **variables))

    def store(self) -> Store:
        return Store(Access(endpoint=self.s3.endpoint))

    async def jobs(self) -> list[Job]:
        """All jobs for the folder, the newest first."""
        below = f"{self.s3.endpoint}/{BUCKET}/{self.folder}"
        async with self.site.client() as client:
            return list((await client.job_page(source=below, limit=200)).items)


@dataclass
class Ended:
    code: int
    out: str
    err: str

    def results(self) -> dict[str, str]:
        """What became of each recording, by the last part of its key."""
        return {item["key"].rpartition("/")[2]: item["result"] for item in self.documents()}

    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


async def ended(process: Process) -> Ended:
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    assert SECRET_KEY not in (out + err).decode()
    assert "X-Amz-Signature" not in (out + err).decode()
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def bucket(s3_server: S3, site: Site, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("S3_SECRET_KEY", SECRET_KEY)
    return Bucket(s3_server, site, f"s3/{next(_numbers)}/", sample("jfk").read_bytes())


@pytest.fixture
async def puppet(site: Site, tmp_path: Path) -> AsyncIterator[Process]:
    """A runner that fetches from this machine and says at once what it is told."""
    async with runner(site, tmp_path / "puppet", "--allow-network", HERE) as process:
        async with site.client() as client:
            await offered(client)
        yield process


async def until(holds: Any, what: str) -> None:
    async with asyncio.timeout(40):
        while not await holds():
            await asyncio.sleep(0.1)
    assert what


async def test_speech_in_a_bucket_becomes_a_transcript_in_a_bucket(
    bucket: Bucket, tmp_path: Path
) -> None:
    model_path("tiny.en")
    bucket.put("jfk.wav", body=sample("jfk").read_bytes())
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--threads", "2")
    async with runner(bucket.site, tmp_path / "real", *options, "--allow-network", HERE):
        result = await ended(
            await bucket.start(
                *("submit", bucket.folder + "jfk.wav", "--model", "tiny.en"),
                *("--language", "en", "-f", "txt", "--vtt", "{folder}subs/{stem}.vtt"),
                *("--meta", "{folder}record.json"),
            )
        )

    assert (result.code, result.err.count("error:")) == (0, 0)
    assert bucket.names() == ["jfk.wav", "jfk.wav.txt", "record.json", "subs/jfk.vtt"]
    assert jiwer.wer(plain(sample_text("jfk")), plain(bucket.text("jfk.wav.txt"))) < 0.1
    assert bucket.text("subs/jfk.vtt").startswith("WEBVTT")
    record = json.loads(bucket.text("record.json"))
    assert (record["name"], record["spec"]["model"]) == ("jfk.wav", "tiny.en")
    assert record["started_at"] < record["transcribed_at"]
    assert "done" in result.out
    assert bucket.site.stored() == []


async def test_the_server_reads_by_its_own_key_what_is_named_as_s3(
    bucket: Bucket, puppet: Process
) -> None:
    bucket.put("talk one.wav")
    url = f"s3://{BUCKET}/{bucket.folder}talk one.wav"
    result = await ended(
        await bucket.program("submit", url, *PUPPET, "--prompt", "say hello", "--json")
    )

    (document,) = result.documents()
    assert (result.code, document["job"]["name"]) == (0, "talk one.wav")
    assert document["job"]["source"] == {"url": url, "keep": False}
    assert document["transcript"]["text"].endswith("hello")


async def test_a_bucket_that_is_not_open_is_not_read(bucket: Bucket) -> None:
    result = await ended(await bucket.program("submit", "s3://secrets/talk.wav"))

    assert result.code == 1
    assert "Recordings in the bucket 'secrets' may not be read here." in result.err


async def test_a_prefix_is_done_once(bucket: Bucket, puppet: Process) -> None:
    bucket.put("a.wav", "b/c d ü.wav", "notes.txt")

    first = await bucket.submit(*PUPPET, "-f", "txt", "-f", "srt")
    second = await bucket.submit(*PUPPET, "-f", "txt", "-f", "srt")
    third = await bucket.submit(*PUPPET, "-f", "txt", "-f", "srt", "--again")

    assert (first.code, first.results()) == (0, {"a.wav": "done", "c d ü.wav": "done"})
    assert set(second.results().values()) == {"had outputs"}
    assert (third.code, set(third.results().values())) == (0, {"done"})
    assert len(await bucket.jobs()) == 4
    outputs = [f"{n}.{kind}" for n in ("a.wav", "b/c d ü.wav") for kind in ("srt", "txt")]
    assert bucket.names() == sorted(["a.wav", "b/c d ü.wav", "notes.txt", *outputs])


async def test_a_batch_that_is_killed_goes_on(bucket: Bucket, puppet: Process) -> None:
    """Killed when two are done and others run or were not asked for yet."""
    names = [f"{number}.wav" for number in range(6)]
    bucket.put(*names)
    options = ("--prefix", bucket.folder, *PUPPET, "--in-flight", "2", "-f", "txt")
    spoken = ("--prompt", "sleep 0.7")

    async def two_are_done() -> bool:
        return len(bucket.names()) >= len(names) + 2

    batch = await bucket.start("submit", *options, *spoken)
    await until(two_are_done, "two are done")
    batch.kill()
    await batch.communicate()
    between = await bucket.jobs()
    resumed = await bucket.submit(*options[2:], *spoken)

    jobs = await bucket.jobs()
    assert len(between) in {3, 4, 5}
    assert (resumed.code, sorted(resumed.results())) == (0, names)
    assert set(resumed.results().values()) == {"had outputs", "done"}
    assert len(jobs) == len(names)  # none was asked for twice
    assert {job.id for job in between} <= {job.id for job in jobs}
    assert {(job.state, job.attempt) for job in jobs} == {(JobState.FINISHED, 1)}
    assert bucket.names() == sorted(names + [f"{name}.txt" for name in names])


async def test_ctrl_c_leaves_jobs_running_and_tells(bucket: Bucket, puppet: Process) -> None:
    bucket.put("a.wav", "b.wav")
    batch = await bucket.start(
        "submit", "--prefix", bucket.folder, *PUPPET, "--prompt", "sleep 5", "--in-flight", "1"
    )

    async def one_runs() -> bool:
        return any(job.state is JobState.RUNNING for job in await bucket.jobs())

    await until(one_runs, "one runs")
    batch.send_signal(signal.SIGINT)
    result = await ended(batch)

    rows = [line.split() for line in result.out.splitlines()]
    assert result.code == 130
    assert [row[1] for row in rows[1:]] == ["running", "not"]
    assert "1 still running on the server" in result.err
    (job,) = await bucket.jobs()
    assert job.state in {JobState.RUNNING, JobState.DELIVERING, JobState.FINISHED}


async def test_so_many_are_in_flight(bucket: Bucket, puppet: Process) -> None:
    bucket.put(*(f"{number}.wav" for number in range(5)))
    batch = await bucket.start(
        *("submit", "--prefix", bucket.folder, *PUPPET, "--in-flight", "2"),
        *("--prompt", "sleep 0.3"),
    )
    most = 0
    while batch.returncode is None:
        states = [job.state for job in await bucket.jobs()]
        most = max(most, sum(state is not JobState.FINISHED for state in states))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(batch.wait(), 0.1)

    assert (batch.returncode, most) == (0, 2)


async def test_two_batches_at_once_make_one_job_of_each(
    bucket: Bucket, puppet: Process
) -> None:
    names = [f"{number}.wav" for number in range(8)]
    bucket.put(*names)

    results = await asyncio.gather(*(bucket.submit(*PUPPET) for _ in range(3)))

    assert [result.code for result in results] == [0, 0, 0]
    assert sorted(job.name for job in await bucket.jobs()) == names


async def test_what_fails_does_not_stop_the_others(bucket: Bucket, puppet: Process) -> None:
    bucket.put("good.wav")
    bucket.put("page.wav", body=b"<html><title>Not here</title></html>")
    keys = [bucket.folder + name for name in ("page.wav", "gone.wav", "good.wav")]

    result = await ended(await bucket.start("submit", "--json", *keys, *PUPPET))

    assert result.code == 1
    assert result.results() == {"page.wav": "failed", "gone.wav": "failed", "good.wav": "done"}
    errors = {item["key"]: item["error"] for item in result.documents() if item["error"]}
    assert errors[keys[0]]["code"] == "input_not_media"
    assert errors[keys[1]]["code"] == "no_object"
    assert result.err.count("error:") == 2


async def test_the_next_run_tries_again_what_failed(bucket: Bucket, puppet: Process) -> None:
    bucket.put("talk.wav", body=b"<html></html>")
    failed = await bucket.submit(*PUPPET)
    bucket.put("talk.wav")

    result = await bucket.submit(*PUPPET)

    assert (failed.code, result.code, result.results()) == (1, 0, {"talk.wav": "done"})
    (job,) = await bucket.jobs()
    assert (job.state, result.documents()[0]["resumed"]) == (JobState.FINISHED, True)


async def test_outputs_that_vanished_are_delivered_not_transcribed_again(
    bucket: Bucket, puppet: Process
) -> None:
    bucket.put("talk.wav")
    await bucket.submit(*PUPPET, "-f", "txt", "-f", "vtt")
    before = bucket.text("talk.wav.vtt")
    bucket.s3.client().delete_object(Bucket=BUCKET, Key=bucket.folder + "talk.wav.vtt")

    result = await bucket.submit(*PUPPET, "-f", "txt", "-f", "vtt")

    (job,) = await bucket.jobs()
    assert (result.code, job.state, job.attempt) == (0, JobState.FINISHED, 1)
    assert bucket.text("talk.wav.vtt") == before


async def test_a_server_that_restarts_holds_up_nothing(bucket: Bucket, puppet: Process) -> None:
    names = [f"{number}.wav" for number in range(4)]
    bucket.put(*names)
    batch = await bucket.start(
        *("submit", "--json", "--prefix", bucket.folder, *PUPPET),
        *("--in-flight", "2", "--prompt", "sleep 1"),
    )

    async def one_is_done() -> bool:
        return len(bucket.names()) > len(names)

    await until(one_is_done, "one is done")
    await asyncio.to_thread(bucket.site.server.kill)
    await asyncio.to_thread(bucket.site.server.start)
    result = await ended(batch)

    assert (result.code, set(result.results().values())) == (0, {"done"})
    assert len(await bucket.jobs()) == len(names)


class Hasty(Store):
    """Its first link to read anything holds for four seconds only."""

    hasty = True

    def get_link(self, bucket: str, key: str) -> str:
        if not self.hasty:
            return super().get_link(bucket, key)
        self.hasty, self._seconds = False, 4
        try:
            return super().get_link(bucket, key)
        finally:
            self._seconds = 600


async def test_links_that_expire_in_the_queue_are_made_anew(
    s3_server: S3, bucket: Bucket, tmp_path: Path
) -> None:
    """No runner is there when the job is made; when one comes, the link is void."""
    model_path("tiny.en")
    bucket.put("talk.wav")
    (item,) = plan([bucket.folder + "talk.wav"], Naming(patterns={}), same_bucket=True)
    outcome, seen = Outcome(item), list[JobState]()

    def report(it: Outcome) -> None:
        if it.job is not None and seen[-1:] != [it.job.state]:
            seen.append(it.job.state)

    order = Order(
        input_bucket=BUCKET, output_bucket=BUCKET, spec={"model": "tiny.en"}, wishes={}
    )
    store = Hasty(Access(endpoint=s3_server.endpoint))
    outbound = {"allow_networks": [HERE], "least_url_seconds": 0}
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--allow-network", HERE)
    (tmp_path / "own").mkdir()
    with running_site(tmp_path / "own", outbound=outbound) as site:
        async with site.client() as client, watching(client) as watch:
            batch = Batch(client=client, store=store, order=order, watch=watch, report=report)
            running = asyncio.create_task(batch.run([outcome], 1))
            await asyncio.sleep(4.5)  # the link's own time, whose passing no event tells
            async with runner(site, tmp_path / "late", *options):
                await asyncio.wait_for(running, 60)

    assert (outcome.standing, outcome.error) == (Standing.DONE, None)
    assert (seen[0], seen[-1]) == (JobState.QUEUED, JobState.FINISHED)
    assert JobState.EXPIRED in seen
    assert "talk.wav.vtt" in bucket.names()


async def test_jobs_by_key(bucket: Bucket, puppet: Process) -> None:
    bucket.put("a.wav", "b c.wav", "d.wav")
    await bucket.submit(*PUPPET, "-f", "txt")
    keys = [bucket.folder + name for name in ("d.wav", "b c.wav", "a.wav")]

    async def command(*arguments: str) -> Ended:
        return await ended(await bucket.start(*arguments))

    listed = await command("list", "--prefix", bucket.folder, "--json")
    info = await command("info", keys[1])
    none = await command("info", bucket.folder + "x.wav")
    deleted = await command("delete", keys[0], keys[1])
    left = await command("list", "--prefix", bucket.folder)
    purged = await command("purge", "--prefix", bucket.folder, "--yes")

    assert sorted(item["key"] for item in listed.documents()) == sorted(keys)
    assert "1 of 1 arrived" in info.out
    assert (none.code, deleted.out, purged.out) == (3, "2 deleted.\n", "1 deleted.\n")
    assert [line.split()[:2] for line in left.out.splitlines()[1:]] == [[keys[2], "finished"]]
    assert await bucket.jobs() == []
    assert len(bucket.names()) == 6


async def test_a_purge_asks_and_spares_what_has_not_ended(bucket: Bucket) -> None:
    bucket.put("a.wav")
    async with bucket.site.client() as client:
        key = bucket.folder + "a.wav"
        ended_job = await client.submit(bucket.store().get_link(BUCKET, key))
        await client.cancel(ended_job.id)
        waiting = await client.submit(bucket.store().get_link(BUCKET, key))

    process = await bucket.start("purge", "--prefix", bucket.folder)
    result = await ended(process)  # nobody is there to say yes
    kept = len(await bucket.jobs())
    agreed = await ended(await bucket.start("purge", "--prefix", bucket.folder, "-y"))

    assert (result.code, kept, agreed.out) == (1, 2, "1 deleted.\n")
    assert [job.id for job in await bucket.jobs()] == [waiting.id]
    async with bucket.site.client() as client:
        await client.delete_job(waiting.id)


@pytest.mark.parametrize(
    ("arguments", "variables", "code"),
    [
        (("submit",), {}, 2),
        (("submit", "a.wav", "--prefix", "x"), {}, 2),
        (("submit", "a.wav", "-f", "pdf"), {}, 2),
        (("submit", "--prefix", "there is nothing here"), {}, 3),
        (("submit", "a.wav", "--output-bucket", "no-such-bucket"), {}, 3),
        (("submit", "a.wav"), {"S3_SECRET_KEY": "wrong"}, 4),
        (("submit", "a.wav"), {"RHAPSODE_API_KEY": "wrong"}, 4),
        (("submit", "a.wav"), {"RHAPSODE_SERVER": "http://127.0.0.1:9"}, 5),
        (("submit", "a.wav", "--profile", "none"), {}, 4),
    ],
)
async def test_exit_codes(
    bucket: Bucket, arguments: tuple[str, ...], variables: dict[str, str], code: int
) -> None:
    result = await ended(await bucket.start(*arguments, **variables))

    assert result.code == code, result.err
    assert result.err


async def test_no_link_is_shown_with_its_secrets(bucket: Bucket, puppet: Process) -> None:
    bucket.put("a.wav")
    result = await bucket.submit(*PUPPET, "-f", "txt")

    (document,) = result.documents()
    assert document["job"]["source"]["url"] == shown(document["job"]["source"]["url"])
    assert document["outputs"] == {"txt": bucket.folder + "a.wav.txt"}
