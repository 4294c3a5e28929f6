"""The model hub: where a repository's files are, and what the hub knows about them."""

from fnmatch import fnmatch

from rhapsode.catalogue.download import CONNECT_SECONDS, Remote
from rhapsode.catalogue.kinds import Entry, File, HubSource
from rhapsode.domain.errors import Unavailable

_WANTED = (
    *("config.json", "preprocessor_config.json", "tokenizer.json", "model.bin"),
    "vocabulary.*",
)
"""What a model of faster-whisper consists of."""


def remotes(entry: Entry, source: HubSource) -> list[Remote]:
    """The entry's files at the hub; asks the hub for the list where none is pinned.

    Honours the hub client's own variables (endpoint, token, offline). Unavailable
    (`hub_offline`, `hub_unreachable`) where the hub must not or cannot be asked.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        raise Unavailable("hub_offline", "the hub is switched off by HF_HUB_OFFLINE")
    if entry.files:
        revision, listed = source.revision, [_pinned(file) for file in entry.files]
    else:
        revision, listed = _asked(source)
    headers = build_hf_headers()
    return [
        Remote(
            item.path,
            hf_hub_url(source.repo, item.path, revision=revision),
            item.size,
            item.sha256,
            item.git_sha1,
            headers,
        )
        for item in listed
    ]


def _pinned(file: File) -> Remote:
    return Remote(file.path, "", file.size, file.sha256)


def _asked(source: HubSource) -> tuple[str, list[Remote]]:
    """The commit behind a branch, and its files with the hub's own digests."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(
            source.repo, revision=source.revision, files_metadata=True, timeout=CONNECT_SECONDS
        )
    except Exception as error:
        # The client raises its own errors, its HTTP library's and the system's.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable("hub_unreachable", f"the hub does not answer: {reason}") from error
    files = [
        Remote(
            item.rfilename,
            "",
            item.size,
            item.lfs.sha256 if item.lfs else None,
            item.blob_id if not item.lfs else None,
        )
        for item in info.siblings or ()
        if any(fnmatch(item.rfilename, pattern) for pattern in source.wanted or _WANTED)
    ]
    if not any(file.sha256 for file in files):
        raise Unavailable("hub_unreachable", f"{source.repo} holds no model with a digest")
    return info.sha or source.revision, files
