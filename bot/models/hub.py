"""Files of a model hub by name: fetched with progress, resumed, and checked before they count.

The hub is Hugging Face's, or any that answers as it does. The only user of huggingface_hub.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bot.errors import WeightsError
from bot.models.catalog import AdapterRef
from bot.models.client import Endpoint
from bot.models.local import KnownFiles, LocalModel
from bot.servers import Servers

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

PREFIX = "hf:"
TIMEOUT_SECONDS = 30.0
"""The longest silence of the hub."""

_PIECE_BYTES = 1 << 20
_SPARE_BYTES = 50_000_000
_NAME = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?/"
    r"(?P<path>(?:[\w .+-]+/)*[\w .+-]+\.gguf)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A GGUF file of a hub.

    Args:
        repo: "owner/name".
        path: inside the repository.
        revision: a branch, a tag or a commit.
    """

    repo: str
    path: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Hub:
    """A model hub, and the folder its files are kept in.

    Args:
        address: such as "https://huggingface.co".
        token: for files that are not public; empty for none.
    """

    folder: Path
    address: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How much of a file is here, in bytes."""

    done_bytes: int
    total_bytes: int


def parse(name: str) -> HubFile:
    """The file that "hf:owner/repo/file.gguf" or "hf:owner/repo@revision/file.gguf" names.

    Raises:
        WeightsError: it names none.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not found or any(part in (".", "..") for part in re.split(r"[/@]", name[len(PREFIX) :])):
        raise WeightsError(
            f"{name} names no file of a model hub.",
            cure="Write hf:owner/repository/file.gguf.",
        )
    return HubFile(found["repo"], found["path"], found["revision"] or "main")


def local_path(hub: Hub, file: HubFile) -> Path:
    """Where a file lies once it is fetched and checked."""
    return hub.folder / file.repo.replace("/", "--") / file.revision / file.path


def fetch(hub: Hub, file: HubFile) -> Iterator[FetchProgress]:
    """Fetch a file, going on where an earlier attempt stopped; the last value says it is whole.

    It is put in its place only when its size and its SHA-256 are those that the hub promises.

    Raises:
        WeightsError: the hub does not give it, the connection broke, the disk is full, another
            process is fetching it, or what came is not what was promised.
    """
    from filelock import FileLock, Timeout

    final = local_path(hub, file)
    promised = _promised(hub, file)
    size_bytes, sha256 = promised.size or 0, promised.etag or ""
    if final.is_file() and final.stat().st_size == size_bytes and _sha256(final) == sha256:
        yield FetchProgress(size_bytes, size_bytes)
        return
    partial = final.with_name(f".{final.name}.{sha256[:12]}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock", timeout=0):
            yield from _download(hub, promised, partial)
            _check(partial, file, size_bytes, sha256)
            partial.replace(final)
    except Timeout as error:
        raise WeightsError(
            f"{final.name} is being fetched already.", cure="Wait for that to end."
        ) from error
    except OSError as error:
        raise _disk(error, final) from error
    Path(f"{partial}.lock").unlink(missing_ok=True)
    yield FetchProgress(size_bytes, size_bytes)


def _promised(hub: Hub, file: HubFile) -> HfFileMetadata:
    """Size, SHA-256 and place of a file, as the hub tells them."""
    import httpx2
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        url = hf_hub_url(file.repo, file.path, revision=file.revision, endpoint=hub.address)
        found = get_hf_file_metadata(
            url, token=hub.token or False, timeout=TIMEOUT_SECONDS, endpoint=hub.address
        )
    except HfHubHTTPError as error:
        raise _refused(hub, file, error.response.status_code) from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise WeightsError(
            f"The model hub {_host(hub)} cannot be reached.",
            cure="Check the network, or TRIPTYCH_HUB_URL.",
        ) from error
    if not found.size or not re.fullmatch(r"[0-9a-f]{64}", found.etag or ""):
        raise WeightsError(
            f"The model hub {_host(hub)} promises no checksum for {file.path}.",
            cure="Choose a file that it keeps as a large one (LFS).",
        )
    return found


def _download(hub: Hub, promised: HfFileMetadata, partial: Path) -> Iterator[FetchProgress]:
    """Bring the partial file to its whole size."""
    import httpx2

    total_bytes = promised.size or 0
    done_bytes = partial.stat().st_size if partial.exists() else 0
    if done_bytes > total_bytes:
        partial.unlink()
        done_bytes = 0
    if shutil.disk_usage(partial.parent).free < total_bytes - done_bytes + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, "not enough room")
    yield FetchProgress(done_bytes, total_bytes)
    if done_bytes == total_bytes:
        return
    headers = {"Range": f"bytes={done_bytes}-", "Accept-Encoding": "identity"}
    if hub.token and urlsplit(promised.location).netloc == urlsplit(hub.address).netloc:
        headers["Authorization"] = f"Bearer {hub.token}"
    try:
        with httpx2.stream(
            "GET", promised.location, headers=headers, timeout=TIMEOUT_SECONDS
        ) as response:
            if response.status_code not in (200, 206):
                raise _refused_download(hub, partial, response.status_code)
            if response.status_code == 200:  # a server that cannot go on begins again
                done_bytes = 0
            with partial.open("ab" if done_bytes else "wb") as opened:
                for piece in response.iter_bytes(_PIECE_BYTES):
                    opened.write(piece[: total_bytes - done_bytes + 1])
                    done_bytes += len(piece)
                    if done_bytes > total_bytes:
                        break
                    yield FetchProgress(done_bytes, total_bytes)
                opened.flush()
                os.fsync(opened.fileno())
    except httpx2.HTTPError as error:
        raise _cut(done_bytes, total_bytes) from error
    if done_bytes < total_bytes:
        raise _cut(done_bytes, total_bytes)


def _check(partial: Path, file: HubFile, size_bytes: int, sha256: str) -> None:
    if partial.stat().st_size != size_bytes or _sha256(partial) != sha256:
        partial.unlink()
        raise WeightsError(
            f"What came as {file.path} is not what the hub promised: its checksum is another.",
            cure="Fetch it again; nothing of it was kept.",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(hub: Hub, file: HubFile, status: int) -> WeightsError:
    if status in (401, 403):
        return WeightsError(
            f"The model hub {_host(hub)} does not give {file.repo} to everybody, or it does not "
            "exist.",
            cure="Check the name; for a file that is not public, set HF_TOKEN.",
        )
    if status == 404:
        return WeightsError(
            f"The model hub {_host(hub)} has no {file.path} in {file.repo}.",
            cure="Check the name: capitals count.",
        )
    return WeightsError(f"The model hub {_host(hub)} failed ({status}).", cure="Try again later.")


def _refused_download(hub: Hub, partial: Path, status: int) -> WeightsError:
    if status == 416:  # what is here is no beginning of what is there
        partial.unlink(missing_ok=True)
    return WeightsError(f"The model hub {_host(hub)} failed ({status}).", cure="Try again later.")


def _cut(done_bytes: int, total_bytes: int) -> WeightsError:
    return WeightsError(
        f"The connection to the model hub broke after {done_bytes / 1e6:.1f} of "
        f"{total_bytes / 1e6:.1f} MB.",
        cure="Fetch it again: it goes on where it stopped.",
    )


def _disk(error: OSError, path: Path) -> WeightsError:
    if error.errno == errno.ENOSPC:
        return WeightsError(
            f"There is not enough room on the disk for {path.name}.", cure="Make room, try again."
        )
    return WeightsError(
        f"{path.name} cannot be written to {path.parent}.", cure="Check its permissions."
    )


def _host(hub: Hub) -> str:
    return urlsplit(hub.address).netloc.rpartition("@")[2]


class HubModel(LocalModel):
    """A file of a hub as a model; it answers once it was fetched."""

    def __init__(
        self,
        name: str,
        hub: Hub,
        known_files: KnownFiles,
        servers: Servers,
        context_tokens: int,
        threads: int,
    ) -> None:
        self.hub = hub
        self.file = parse(name)
        path = local_path(hub, self.file)
        super().__init__(name, path, known_files, servers, context_tokens, threads)

    @property
    def is_fetched(self) -> bool:
        """The file is here, whole."""
        return self.path.is_file()

    def fetch(self) -> Iterator[FetchProgress]:
        """Fetch the file (see `fetch`)."""
        return fetch(self.hub, self.file)

    def endpoint(self, adapter: AdapterRef | None = None, *, scale: float = 1.0) -> Endpoint:
        """Where the model answers (see `LocalModel`).

        Raises:
            WeightsError: the file was not fetched yet, is damaged or cannot be served.
        """
        if not self.is_fetched:
            raise WeightsError(
                f"{self.path.name} was not fetched yet.",
                cure=f"Fetch it on the Models page, or with: python -m bot fetch {self.name}",
            )
        return super().endpoint(adapter, scale=scale)
