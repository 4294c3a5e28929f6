"""The transcription service's client, unchanged: a real bucket, a real runner, real speech."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.ports import until
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.support.server import EMAIL, Server, running_server, settings_for
from tests.support.speech import (
    engine_model,
    model_path,
    models_folder,
    plain,
    sample,
    sample_text,
)

PROGRAM = Path(__file__).with_name("transcription_program.py")
JFK = plain(sample_text("jfk"))
HAS_WHISPER = find_spec("whisper") is not None
STAND_IN = (
    ""
    if HAS_WHISPER
    else " No runner offers openai-whisper tiny.en, so faster-whisper tiny.en does it."
)


@dataclass
class Site:
    """A server with its runner, a bucket with a recording, and somebody with a token."""

    server: Server
    s3: S3
    bucket: str
    token: str

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        variables = {
            **os.environ,
            "TRANSCRIPTION_TOKEN": self.token,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
        }
        return subprocess.run(
            [sys.executable, str(PROGRAM), self.server.url, *map(str, arguments)],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def say(self, *arguments: object) -> Any:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, action: str, model: str, *options: object, key: str = "jfk.wav") -> Any:
        place = (self.s3.endpoint, self.bucket, key)
        return self.say(action, *place, "--model", model, *options)

    def listed(self) -> dict[int, str]:
        return {job["id"]: job["state"] for job in self.say("list")}

    def wait(self, job: dict[str, Any]) -> None:
        """Until it has ended; the list reads nothing."""
        until(
            lambda: self.listed()[job["id"]] not in {"queued", "running"}, 120, "the job ends"
        )

    def stored(self, key: str) -> str:
        found = self.s3.client().get_object(Bucket=self.bucket, Key=key)
        return bytes(found["Body"].read()).decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, s3_server: S3) -> Iterator[Site]:
    model_path("tiny.en")
    engine_model("whisper.cpp", "tiny")
    if HAS_WHISPER:
        engine_model("openai-whisper", "tiny.en")
    folder = tmp_path_factory.mktemp("transcription")
    settings = settings_for(
        folder,
        runner={"enabled": True, "models": ["tiny.en"]},
        models={"folder": models_folder(), "hub": False, "registry": False},
        outbound={"allow_networks": ["127.0.0.0/8"]},
    )
    with running_server(settings, folder) as server:
        token = f"{EMAIL}:{server.secret('--api-key', 'transcription')}"
        made = Site(server, s3_server, f"seed-{uuid4().hex[:8]}", token)
        s3_server.client().create_bucket(Bucket=made.bucket)
        s3_server.client().upload_file(str(sample("jfk")), made.bucket, "jfk.wav")
        until(lambda: "1 online" in _ready(server), 60, "a runner is there")
        yield made


def _ready(server: Server) -> str:
    return httpx.get(f"{server.url}/ready").text


def cue_texts(vtt: str) -> str:
    assert vtt.startswith("WEBVTT\n\n")
    return " ".join(re.findall(r"^\d.+ --> .+\n(.+)$", vtt, re.MULTILINE))


def test_whisper_job_ends_in_the_bucket(site: Site) -> None:
    keys = [f"--{name}=w.{name}" for name in ("json", "vtt", "txt", "meta")]
    job = site.submit("whisper", "tiny.en", *keys)
    assert (job["state"], job["owner"], job["priority"]) == ("queued", EMAIL, 1)
    site.wait(job)
    info = site.say("info", job["id"])
    assert info["state"] == "finished"
    assert info["message"] == f"Transcription has completed successfully.{STAND_IN}"
    assert (info["language_used"], round(info["media_length"])) == ("en", 11)
    assert 0 < info["processing_time"] <= info["finish_time"] - info["start_time"]

    result = json.loads(site.stored("w.json"))
    assert plain(result["text"]) == JFK
    assert plain("".join(part["text"] for part in result["segments"])) == JFK
    words = [word for part in result["segments"] for word in part["words"]]
    assert plain("".join(word["word"] for word in words)) == JFK
    assert all(word["start"] <= word["end"] <= 11.5 for word in words)
    assert plain(site.stored("w.txt")) == JFK
    assert plain(cue_texts(site.stored("w.vtt"))) == JFK
    meta = json.loads(site.stored("w.meta"))
    assert (meta["id"], meta["state"]) == (job["id"], "finished")
    assert "X-Amz-Signature" not in meta["request"]
    assert job["id"] not in site.listed()


def test_whispercpp_job_ends_in_the_bucket(site: Site) -> None:
    pytest.importorskip("_pywhispercpp")
    keys = [f"--{name}=c.{name}" for name in ("json", "vtt", "txt", "csv")]
    job = site.submit("whispercpp", "tiny", *keys)
    site.wait(job)
    info = site.say("info", job["id"])
    assert (info["state"], info["message"]) == (
        "finished",
        "Transcription has completed successfully.",
    )
    result = json.loads(site.stored("c.json"))
    assert (result["result"]["language"], result["model"]["type"]) == ("en", "tiny")
    assert plain("".join(part["text"] for part in result["transcription"])) == JFK
    assert plain(cue_texts(site.stored("c.vtt"))) == JFK
    first, *rows = site.stored("c.csv").splitlines()
    assert first == "start,end,text"
    assert all(re.fullmatch(r'\d+,\d+," .+"', row) for row in rows)


def test_what_is_not_media_is_an_error_that_says_so(site: Site) -> None:
    site.s3.client().put_object(
        Bucket=site.bucket, Key="page.html", Body=b"<html><title>Sign in</title></html>"
    )
    job = site.submit("whisper", "tiny.en", "--txt=n.txt", key="page.html")
    site.wait(job)
    info = site.say("info", job["id"])
    assert info["state"] == "error"
    assert "page.html" in info["message"] or "Sign in" in info["message"]
    assert "X-Amz" not in info["message"]


def test_what_is_not_there_is_expired(site: Site) -> None:
    job = site.submit("whisper", "tiny.en", "--txt=gone.txt", key="gone.wav")
    site.wait(job)
    info = site.say("info", job["id"])
    assert info["state"] == "expired"
    assert f"{site.bucket}/gone.wav" in info["message"]


def test_notification_url_is_put_to(site: Site) -> None:
    place = {"Bucket": site.bucket, "Key": "told.json"}
    url = site.s3.client().generate_presigned_url("put_object", Params=place, ExpiresIn=3600)
    job = site.submit("whisper", "tiny.en", "--txt=t.txt", "--notify", url)
    until(lambda: site.say("info", job["id"])["url_notified"], 120, "the document is there")
    told = json.loads(site.stored("told.json"))
    assert (told["id"], told["state"]) == (job["id"], "finished")


def test_list_delete_and_purge(site: Site) -> None:
    job = site.submit("whisper", "tiny.en", "--txt=p.txt")
    other = site.submit("whisper", "tiny.en", "--txt=q.txt")
    assert site.say("delete", other["id"]) == {"ok": True}
    site.wait(job)
    assert job["id"] in site.say("purge")
    left = site.listed()
    assert job["id"] not in left
    assert left.get(other["id"], "canceled") == "canceled"


def test_lock(site: Site) -> None:
    assert site.say("lock", "on") == {"ok": True}
    try:
        place = (site.s3.endpoint, site.bucket, "jfk.wav")
        refused = site.run("whisper", *place, "--txt=l.txt")
        assert refused.returncode == 1
        assert refused.stderr.startswith("503 ")
    finally:
        assert site.say("lock", "off") == {"ok": True}


def test_an_unusable_request_is_told_of(site: Site) -> None:
    refused = site.run("whisper", site.s3.endpoint, site.bucket, "jfk.wav")
    assert refused.stderr.startswith("422 ")
    assert "at least one output" in refused.stderr


def test_no_secret_is_in_the_servers_log(site: Site) -> None:
    log = site.server.log.read_text()
    assert "/transcription/" in log
    assert "X-Amz-Signature" not in log
    assert site.token.partition(":")[2] not in log
