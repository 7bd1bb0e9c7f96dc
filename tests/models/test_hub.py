"""A model hub on a real socket: ranges, cuts, wrong content, and what is kept of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bot.errors import WeightsError
from bot.models.hub import FetchProgress, Hub, HubFile, HubModel, fetch, local_path, parse
from bot.models.local import KnownFiles
from bot.servers import Servers
from tests.models.web import Answer, Call, Site, serving

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = HubFile("kilns/small", "kiln.gguf")
PATH = "/kilns/small/resolve/main/kiln.gguf"

Change = Callable[[Call, Answer], Answer]


def hub_answer(call: Call, change: Change | None = None) -> Answer:
    """What the hub says: the promise for HEAD, the content or a part of it for GET."""
    if call.path != PATH:
        answer = Answer({"error": "not found"}, 404, headers={"X-Error-Code": "EntryNotFound"})
    elif call.method == "HEAD":
        promise = {"ETag": '"lfs"', "X-Linked-Etag": f'"{SHA256}"', "X-Repo-Commit": "c" * 40}
        promise |= {"X-Linked-Size": str(len(CONTENT)), "content-length": str(len(CONTENT))}
        answer = Answer(body=b"", headers=promise)
    else:
        begin = int(call.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        answer = Answer(body=CONTENT[begin:], status=206 if begin else 200)
    return change(call, answer) if change else answer


class Fetched(NamedTuple):
    site: Site
    progress: list[FetchProgress]


def fetched(folder: Path, change: Change | None = None, token: str = "") -> Fetched:
    progress: list[FetchProgress] = []
    with serving(lambda call: hub_answer(call, change)) as site:
        for one in fetch(Hub(folder, site.base_url, token), FILE):
            progress.append(one)
    return Fetched(site, progress)


def final(folder: Path) -> Path:
    return local_path(Hub(folder, ""), FILE)


def left_over(folder: Path) -> list[str]:
    """What lies beside the file, apart from locks."""
    return [one.name for one in folder.rglob("*.partial")]


def on_get(**changes: Any) -> Change:
    def change(call: Call, answer: Answer) -> Answer:
        if call.method == "GET":
            vars(answer).update(changes)
        return answer

    return change


def test_a_file_is_fetched_with_progress_and_checked(tmp_path: Path) -> None:
    progress = fetched(tmp_path).progress

    assert final(tmp_path).read_bytes() == CONTENT
    assert progress[0] == FetchProgress(0, len(CONTENT))
    assert progress[-1] == FetchProgress(len(CONTENT), len(CONTENT))
    assert len(progress) >= 4
    assert left_over(tmp_path) == []
    again = fetched(tmp_path)
    assert [call.method for call in again.site.calls] == ["HEAD"], "what is here is not fetched"


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"broke after .* of 3\.0 MB"):
        fetched(tmp_path, on_get(cut_after=1_500_000))
    assert not final(tmp_path).exists()
    assert len(left_over(tmp_path)) == 1

    site, progress = fetched(tmp_path)
    assert final(tmp_path).read_bytes() == CONTENT
    assert progress[0].done_bytes > 1_000_000
    assert int(site.calls[-1].headers["range"][6:-1]) == progress[0].done_bytes


def test_a_hub_that_cannot_go_on_begins_again(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        fetched(tmp_path, on_get(cut_after=1_500_000))
    fetched(tmp_path, on_get(body=CONTENT, status=200))
    assert final(tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"!", CONTENT + b"more", b"\0" * len(CONTENT)])
def test_wrong_content_is_never_kept(tmp_path: Path, wrong: bytes) -> None:
    with pytest.raises(WeightsError, match="checksum"):
        fetched(tmp_path, on_get(body=wrong))
    assert not final(tmp_path).exists()
    assert left_over(tmp_path) == []


def test_a_changed_file_is_fetched_again(tmp_path: Path) -> None:
    fetched(tmp_path)
    final(tmp_path).write_bytes(CONTENT[:-1] + b"!")
    fetched(tmp_path)
    assert final(tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "", "HF_TOKEN"),
        (403, "GatedRepo", "HF_TOKEN"),
        (404, "EntryNotFound", "has no kiln.gguf"),
        (404, "RepoNotFound", "has no kiln.gguf|does not exist"),
        (500, "", "failed"),
    ],
)
def test_a_refusal_is_a_sentence(tmp_path: Path, status: int, code: str, said: str) -> None:
    def refuse(_: Call, __: Answer) -> Answer:
        return Answer(body=b"", status=status, headers={"X-Error-Code": code} if code else {})

    with pytest.raises(WeightsError, match=said) as caught:
        fetched(tmp_path, refuse, token="hf_secret_marker")
    assert "hf_secret_marker" not in str(caught.value)


def test_a_refusal_in_the_middle_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="failed"):
        fetched(tmp_path, on_get(status=503, body=b""))
    assert not final(tmp_path).exists()


def test_a_hub_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be reached"):
        list(fetch(Hub(tmp_path, "http://127.0.0.1:9"), FILE))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(WeightsError, match="not enough room"):
        fetched(tmp_path)
    assert not final(tmp_path).exists()


def test_a_file_without_a_checksum_is_refused(tmp_path: Path) -> None:
    def no_promise(call: Call, answer: Answer) -> Answer:
        answer.headers.pop("X-Linked-Etag", None)
        return answer

    with pytest.raises(WeightsError, match="no checksum"):
        fetched(tmp_path, no_promise)


def test_the_token_goes_to_the_hub_only(tmp_path: Path) -> None:
    with serving(lambda call: hub_answer(call)) as elsewhere:

        def moved(call: Call, answer: Answer) -> Answer:
            if call.method == "HEAD":
                answer.headers["Location"] = elsewhere.base_url + PATH
                answer.status = 302
            return answer

        site, _ = fetched(tmp_path, moved, token="hf_secret")
    assert site.calls[0].headers["authorization"] == "Bearer hf_secret"
    assert elsewhere.calls
    assert not [call for call in elsewhere.calls if "authorization" in call.headers]


def test_names_say_which_file() -> None:
    assert parse("hf:kilns/small/kiln.gguf") == FILE
    assert parse("hf:kilns/small@v1/Q4/kiln-0.5B.gguf") == HubFile(
        "kilns/small", "Q4/kiln-0.5B.gguf", "v1"
    )
    for wrong in ("hf:kiln.gguf", "hf:a/b/kiln.bin", "hf:a/b/../c.gguf", "hf:../b/c.gguf", "hf:"):
        with pytest.raises(WeightsError):
            parse(wrong)


def test_a_model_that_was_not_fetched_says_how(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub", "http://127.0.0.1:9")
    known = KnownFiles(tmp_path / "weights.json")
    model = HubModel("hf:kilns/small/kiln.gguf", hub, known, Servers(tmp_path), 512, 1)

    assert not model.is_fetched
    with pytest.raises(WeightsError, match="python -m bot fetch hf:kilns/small/kiln"):
        model.endpoint()
