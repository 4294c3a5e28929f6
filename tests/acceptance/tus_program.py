"""A program of somebody else's, with the tus project's own client: `tuspy`.

Run as `python tus_program.py URL KEY FILE NOTES`. It tells each address and offset.
"""

import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

MEGABYTE = 1024 * 1024


def main(url: str, key: str, file: str, notes: str) -> None:
    client = TusClient(f"{url}/api/uploads", headers={"Authorization": f"Bearer {key}"})
    uploader = client.uploader(
        file,
        chunk_size=MEGABYTE,
        metadata={"filename": "talk.wav"},
        store_url=True,
        url_storage=FileStorage(notes),
        upload_checksum=True,
        retries=30,
        retry_delay=1,
    )
    print("at", uploader.offset, flush=True)
    while uploader.offset < uploader.get_file_size():
        uploader.upload_chunk()
        print("at", uploader.offset, uploader.url, flush=True)
    print("media", uploader.request.response_headers["rhapsode-media-id"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
