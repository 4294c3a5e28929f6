"""A user's bucket on a real S3 server: looked through, and opened to others by links."""

from pathlib import Path

import httpx
import pytest

from rhapsode.cli.s3_store import Access, Store
from rhapsode.domain.errors import Denied, DomainError, NotFound, Unavailable
from rhapsode.domain.urls import shown
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY

BUCKET = "tests"


@pytest.fixture
def access(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setenv("S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("S3_SECRET_KEY", SECRET_KEY)
    return Access(endpoint=s3_server.endpoint)


def put(s3: S3, key: str, body: bytes = b"sound", **more: str) -> None:
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=body, **more)


def test_links_read_and_write_one_object(s3_server: S3, access: Access) -> None:
    store = Store(access)
    put(s3_server, "links/ü b.wav")

    read = httpx.get(store.get_link(BUCKET, "links/ü b.wav"))
    written = httpx.put(
        store.put_link(BUCKET, "links/c.vtt"),
        content=b"WEBVTT",
        headers={"Content-Type": "text/vtt"},
    )

    assert (read.content, written.status_code) == (b"sound", 200)
    found = s3_server.client().get_object(Bucket=BUCKET, Key="links/c.vtt")
    assert (found["Body"].read(), found["ContentType"]) == (b"WEBVTT", "text/vtt")


@pytest.mark.parametrize("virtual_host", [True, False, None])
@pytest.mark.parametrize("endpoint", [None, "https://S3.example.org:8333/"])
@pytest.mark.parametrize("key", ["a/b c+d.wav", "ü/%20?#&=.wav", "x//y", "/z~_-.wav"])
def test_the_address_is_the_link_without_its_secrets(
    access: Access, endpoint: str | None, virtual_host: bool | None, key: str
) -> None:
    store = Store(Access(endpoint=endpoint, region="eu-west-3", virtual_host=virtual_host))

    assert store.address(BUCKET, key) == shown(store.get_link(BUCKET, key))
    assert store.address(BUCKET, key).startswith(store.below(BUCKET, key[:3]))


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "https://tests.s3.amazonaws.com/a"),
        ({"region": "eu-west-3"}, "https://tests.s3.eu-west-3.amazonaws.com/a"),
        ({"virtual_host": False}, "https://s3.amazonaws.com/tests/a"),
        ({"endpoint": "https://s3.example.org"}, "https://s3.example.org/tests/a"),
        (
            {"endpoint": "https://s3.example.org", "virtual_host": True},
            "https://tests.s3.example.org/a",
        ),
    ],
)
def test_path_style_and_virtual_host(
    access: Access, given: dict[str, object], address: str
) -> None:
    assert Store(Access(**given)).address(BUCKET, "a") == address  # type: ignore[arg-type]


def test_links_hold_for_a_week_at_most(access: Access) -> None:
    assert "X-Amz-Expires=604799" in Store(access, 1e9).get_link(BUCKET, "a")
    assert "X-Amz-Expires=60&" in Store(access, 60).get_link(BUCKET, "a")


def test_recordings_are_known_by_suffix_or_content_type(s3_server: S3, access: Access) -> None:
    for key in (
        "a.mp3",
        "b.WAV",
        "c.mka",
        "d.wav.vtt",
        "e.txt",
        "f.json",
        "g.pdf",
        "sub/h.opus",
    ):
        put(s3_server, f"kinds/{key}")
    put(s3_server, "kinds/plain")
    put(s3_server, "kinds/sound", ContentType="audio/mpeg")
    put(s3_server, "kinds/film.archive", ContentType="video/mp4")
    put(s3_server, "kinds/empty.mp3", b"")
    put(s3_server, "kindsless.mp3")

    found = list(Store(access).recordings(BUCKET, "kinds/"))

    names = ["a.mp3", "b.WAV", "c.mka", "empty.mp3", "film.archive", "sound", "sub/h.opus"]
    assert sorted(found) == [f"kinds/{name}" for name in names]


@pytest.mark.parametrize("count", [3, 30])
def test_which_objects_are_present(s3_server: S3, access: Access, count: int) -> None:
    for number in range(0, count, 2):
        put(s3_server, f"present-{count}/{number}.txt")
    wanted = {f"present-{count}/{number}.txt" for number in range(count)}

    found = Store(access).present(BUCKET, wanted)

    assert found == {f"present-{count}/{number}.txt" for number in range(0, count, 2)}


def test_whether_an_object_exists(s3_server: S3, access: Access) -> None:
    put(s3_server, "exists/a.wav")
    store = Store(access)

    assert store.exists(BUCKET, "exists/a.wav")
    assert not store.exists(BUCKET, "exists/b.wav")


def test_a_bucket_that_is_not_there(access: Access) -> None:
    store = Store(access)
    store.ensure_bucket(BUCKET)

    with pytest.raises(NotFound) as refusal:
        store.ensure_bucket("no-such-bucket")

    assert refusal.value.code == "no_bucket"


def refusal_of(access: Access) -> DomainError:
    with pytest.raises(DomainError) as refusal:
        Store(access).ensure_bucket(BUCKET)
    return refusal.value


def test_a_wrong_key_is_told(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "wrong")

    refusal = refusal_of(access)

    assert (type(refusal), refusal.code) == (Denied, "s3_denied")
    assert "S3_SECRET_KEY" in str(refusal.hint)


def test_no_key_at_all_is_told(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert refusal_of(access).code == "s3_credentials"


def test_a_server_that_is_not_there_is_told(access: Access) -> None:
    refusal = refusal_of(Access(endpoint="http://127.0.0.1:9"))

    assert (type(refusal), refusal.code) == (Unavailable, "s3_unavailable")


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://example.org"])
def test_what_is_no_endpoint_is_told(access: Access, endpoint: str) -> None:
    assert refusal_of(Access(endpoint=endpoint)).code == "url_invalid"


def test_amazons_variables_count_where_ours_are_not_set(
    s3_server: S3, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("S3_SECRET_KEY")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)

    Store(access).ensure_bucket(BUCKET)


def test_a_profile_that_is_named_comes_before_the_variables(
    s3_server: S3, access: Access, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "wrong")
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[archive]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    (home / ".aws" / "config").write_text("[profile archive]\nregion = eu-west-3\n")
    named = Access(endpoint=s3_server.endpoint, profile="archive")

    Store(named).ensure_bucket(BUCKET)

    assert "eu-west-3" in Store(named).get_link(BUCKET, "a")
    assert refusal_of(Access(profile="other")).code == "s3_credentials"
