"""A client of the transcription service, as a user's own: it knows only that service's README.

    python transcription_program.py ENDPOINT list | purge | info ID | delete ID | lock on|off
    python transcription_program.py ENDPOINT whisper|whispercpp S3 BUCKET KEY [--json KEY] …

TRANSCRIPTION_TOKEN is `user:token`; S3_ACCESS_KEY and S3_SECRET_KEY sign the URLs.
"""

import argparse
import json
import os
import sys
from typing import Any

import boto3
import httpx
from botocore.config import Config

ENGINES = {"whisper": "openai-whisper", "whispercpp": "whisper.cpp"}
OUTPUTS = ("json", "vtt", "txt", "csv", "meta")
WEEK = 7 * 24 * 3600 - 1


class Service:
    def __init__(self, endpoint: str) -> None:
        token = os.environ["TRANSCRIPTION_TOKEN"]
        self._http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self._url = f"{endpoint}/transcription/"

    def ask(self, method: str, path: object = "", **more: Any) -> Any:
        answer = self._http.request(method, f"{self._url}{path}", **more)
        if answer.is_error:
            sys.exit(f"{answer.status_code} {json.dumps(answer.json()['detail'])}")
        return answer.json()


def presigned(arguments: argparse.Namespace, method: str, bucket: str, key: str) -> str:
    client = boto3.client(
        "s3",
        endpoint_url=arguments.s3_endpoint,
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url: str = client.generate_presigned_url(
        f"{method}_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=WEEK
    )
    return url


def request(arguments: argparse.Namespace) -> dict[str, Any]:
    into = arguments.output_bucket or arguments.input_bucket
    keys = {name: getattr(arguments, name) for name in OUTPUTS if getattr(arguments, name)}
    options = {
        "engine": ENGINES[arguments.action],
        "language": arguments.language,
        "model": arguments.model,
        "input": presigned(arguments, "get", arguments.input_bucket, arguments.input_object),
        "outputs": {
            f"{name}_url": presigned(arguments, "put", into, key) for name, key in keys.items()
        },
        "priority": arguments.priority,
    }
    wanted: dict[str, Any] = {"version": "1", "options": options}
    if arguments.notify:
        wanted |= {"notification_type": "url", "notification_url": arguments.notify}
    return wanted


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("list", "purge"):
        actions.add_parser(name)
    for name in ("info", "delete"):
        actions.add_parser(name).add_argument("id", type=int)
    actions.add_parser("lock").add_argument("state", choices=["on", "off"])
    for name in ENGINES:
        submit = actions.add_parser(name)
        for place in ("s3_endpoint", "input_bucket", "input_object"):
            submit.add_argument(place)
        submit.add_argument("--output_bucket")
        submit.add_argument("--language", default="en")
        submit.add_argument("--model", default="small.en")
        submit.add_argument("--priority", type=int, default=1)
        submit.add_argument("--notify")
        for output in OUTPUTS:
            submit.add_argument(f"--{output}")
    return parser.parse_args()


def done(arguments: argparse.Namespace, service: Service) -> Any:
    match arguments.action:
        case "list":
            return service.ask("GET")
        case "purge":
            return [service.ask("GET", job["id"])["id"] for job in service.ask("GET")]
        case "info":
            return service.ask("GET", arguments.id)
        case "delete":
            return service.ask("DELETE", arguments.id)
        case "lock":
            return service.ask("GET", "lock" if arguments.state == "on" else "unlock")
        case _:
            return service.ask("POST", json=request(arguments))


if __name__ == "__main__":
    given = parsed()
    print(json.dumps(done(given, Service(given.endpoint)), indent=2, sort_keys=True))
