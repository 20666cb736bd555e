"""Models on the Hugging Face Hub: which file a name means, what is said where there is none, what is taken unasked."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hub_server import Hub, Repository, commit_of
from shaderlm.catalogue import hub_name
from shaderlm.errors import (
    AccessDenied,
    CacheNotWritable,
    InvalidOption,
    ModelNotFound,
    NetworkError,
    ShaderLMError,
)
from shaderlm.hosts.native import hub as native_hub
from shaderlm.hosts.native import sources
from tiny_model import TINY

MB = 1_000_000
SET = {f"big-{i:05}-of-00003.gguf": bytes([i]) * MB for i in (1, 2, 3)}


def fetched(source: str) -> list[str]:
    """The names of the files that a source brings, from the folder of its commit on."""
    name = hub_name(source)
    assert name is not None
    files = native_hub.fetch(name).files
    return [path.relative_to(native_hub.repository_folder(name.repo) / "snapshots").as_posix() for path in files]


def refusal(source: str, kind: type[ShaderLMError]) -> str:
    with pytest.raises(kind) as caught:
        sources.locate(source)
    assert type(caught.value) is kind
    return str(caught.value)


# Which file


def test_the_only_model_of_a_repository_needs_no_name(hub: Hub) -> None:
    files = {"README.md": b"a model", "model.gguf": b"GGUF", "config.json": b"{}"}
    hub.add("o/r", files)
    assert fetched("hf:o/r") == [f"{commit_of(files)}/model.gguf"]


def test_a_set_of_parts_is_one_model(hub: Hub) -> None:
    hub.add("o/r", SET)
    expected = [f"{commit_of(SET)}/{path}" for path in SET]
    assert fetched("hf:o/r") == expected
    assert fetched("hf:o/r/big-00001-of-00003.gguf") == expected


def test_a_file_may_lie_in_a_folder_of_the_repository(hub: Hub) -> None:
    files = {f"Q4/{path}": data for path, data in SET.items()} | {"Q8/model.gguf": b"GGUF"}
    hub.add("o/r", files)
    assert fetched("hf:o/r/Q8/model.gguf") == [f"{commit_of(files)}/Q8/model.gguf"]
    assert fetched("hf:o/r/Q4/big-00001-of-00003.gguf") == [f"{commit_of(files)}/Q4/{path}" for path in SET]


def test_a_revision_is_a_branch_a_tag_a_commit_or_a_pull_request(hub: Hub) -> None:
    versions = {name: {"model.gguf": name.encode()} for name in ("main", "v1", "refs/pr/1")}
    for revision, files in versions.items():
        hub.add("o/r", files, revision)
    for revision, files in [*versions.items(), (commit_of(versions["v1"]), versions["v1"])]:
        (path,) = sources.locate(f"hf:o/r@{revision}")
        assert path.read_bytes() == files["model.gguf"]
        assert sources.locate(f"hf:o/r/model.gguf@{revision}") == (path,)


def test_among_several_models_one_has_to_be_named(hub: Hub) -> None:
    hub.add("o/r", {**SET, "small.gguf": bytes(2 * MB), "README.md": b"models"}, "v1")
    assert refusal("hf:o/r@v1", ModelNotFound).splitlines() == [
        "o/r at v1 holds 2 models.",
        "Give one of them, as in hf:o/r/big-00001-of-00003.gguf@v1:",
        "          3 MB  big-00001-of-00003.gguf (3 parts)",
        "          2 MB  small.gguf",
    ]


def test_a_long_list_is_cut(hub: Hub) -> None:
    hub.add("o/r", {f"{i:02}.gguf": bytes([i]) for i in range(43)})
    lines = refusal("hf:o/r", ModelNotFound).splitlines()
    assert len(lines) == 2 + native_hub.LISTED + 1
    assert lines[-1] == "  and 3 more"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "hf:o/r/other.gguf",
            r"o/r at main holds no GGUF file other\.gguf\.\nGive one of them, as in hf:o/r/big-00001-",
        ),
        ("hf:o/r/README.md", r"o/r at main holds no GGUF file README\.md\.\n"),
        (
            "hf:o/r/big-00002-of-00003.gguf",
            r"is part 2 of a model of 3\. Give the first: hf:o/r/big-00001-of-00003\.gguf\.",
        ),
        ("hf:o/r@v9", r"o/r has no revision v9: .*http://.*/o/r/tree/main lists them; without @REVISION it is main"),
        ("hf:o/none", r"http://.* shows no repository o/none\. Check its name; .* `hf auth login`, .* HF_TOKEN"),
        ("hf:o/empty", r"o/empty at main holds no GGUF file\. Look for a repository .* ends in GGUF"),
        ("hf:o/half", r"o/half at main lacks 1 of the 3 parts of a model: big-00003-of-00003\.gguf\. Look for another"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(hub: Hub, source: str, says: str) -> None:
    hub.add("o/r", {**SET, "README.md": b"a model"})
    hub.add("o/empty", {"model.safetensors": b"no"})
    hub.add("o/half", dict(list(SET.items())[:2]))
    assert re.search(says, refusal(source, ModelNotFound))


def test_a_name_that_no_repository_can_have_is_refused(hub: Hub) -> None:
    assert "source: hf:o/r--x is no name of a repository. " in refusal("hf:o/r--x", InvalidOption)
    assert hub.took("/api/models") == []


# Who is let in


def test_a_gated_repository_says_where_to_ask_and_how_to_log_in(hub: Hub) -> None:
    hub.repositories["o/r"] = Repository({"main": {"model.gguf": b"GGUF"}}, gated=True)
    says = refusal("hf:o/r/model.gguf", AccessDenied)
    assert says.startswith("o/r is for those alone who have accepted its terms. Ask for access on http://")
    assert says.endswith("/o/r, then log in with `hf auth login`, or put a token into HF_TOKEN.")


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_a_token_opens_what_is_gated_or_private_and_follows_to_no_other_host(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hub.repositories["o/r"] = Repository({"main": {"model.gguf": TINY.read_bytes()}}, **{kind: True})
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert fetched("hf:o/r/model.gguf")
    assert {asked.token for asked in hub.took("/o/r")} == {f"Bearer {hub.token}"}
    assert {asked.token for asked in hub.took("/bytes")} == {None}


def test_a_private_repository_is_as_good_as_none(hub: Hub) -> None:
    hub.repositories["o/r"] = Repository({"main": {"model.gguf": b"GGUF"}}, private=True)
    assert "shows no repository o/r. Check its name; if it is a private one, log in" in refusal("hf:o/r", ModelNotFound)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_reason_is_one_all_the_same(hub: Hub, status: int) -> None:
    hub.add("o/r", {"model.gguf": b"GGUF"})
    hub.statuses = [status]
    with pytest.raises(AccessDenied, match=rf"refused hf:o/r with status {status}: .*To be let in, log in"):
        native_hub.fetch(hub_name("hf:o/r"))  # type: ignore[arg-type]


# A Hub that is none, or not there


def test_a_hub_that_is_not_to_be_reached_is_told_with_what_to_check(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        says = refusal("hf:o/r", NetworkError)
    assert "could not be asked for hf:o/r: ConnectError: " in says
    assert "Check the network, HTTPS_PROXY and HF_ENDPOINT, then start again" in says


def test_a_hub_that_goes_away_between_bytes_and_links_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/r", {"model.gguf": b"GGUF"})
    intact = native_hub.hf_hub_download

    def unplugged(*arguments: Any, **options: Any) -> str:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        return intact(*arguments, **options)

    monkeypatch.setattr(native_hub, "hf_hub_download", unplugged)
    assert "HF_HUB_OFFLINE keeps hf:o/r from being fetched" in refusal("hf:o/r", NetworkError)


LISTING: dict[str, Any] = {"id": "o/r", "sha": "0" * 40}
FILE: dict[str, Any] = {"rfilename": "m.gguf", "size": 4, "blobId": "1" * 40}
NONSENSE = [
    b"<html>Sign in</html>",
    b"[]",
    json.dumps({**LISTING, "sha": "../.."}).encode(),
    json.dumps({**LISTING, "sha": None}).encode(),
    json.dumps({**LISTING, "siblings": [{**FILE, "size": None}]}).encode(),
    json.dumps({**LISTING, "siblings": [{**FILE, "blobId": "../../escaped"}]}).encode(),
    json.dumps({**LISTING, "siblings": [{**FILE, "rfilename": "../../escaped.gguf"}]}).encode(),
    json.dumps({**LISTING, "siblings": [{**FILE, "rfilename": "..\\escaped.gguf"}]}).encode(),
    json.dumps({**LISTING, "siblings": [{**FILE, "lfs": {"sha256": "/x", "size": 4, "pointerSize": 9}}]}).encode(),
]


@pytest.mark.parametrize("listing", NONSENSE)
def test_what_answers_but_is_no_hub_is_told_so_and_writes_nowhere(hub: Hub, tmp_path: Path, listing: bytes) -> None:
    hub.add("o/r", {"m.gguf": b"GGUF"})
    hub.listing = listing
    says = refusal("hf:o/r", NetworkError)
    assert "does not answer as the Hugging Face Hub does: " in says
    assert says.endswith("Check HF_ENDPOINT, and whether a proxy or a login page of your network stands in between.")
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]


# Without asking


def test_what_was_fetched_is_taken_without_asking_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/r", SET)
    files = sources.locate("hf:o/r")
    hub.asked.clear()
    for source in ("hf:o/r", "hf:o/r/big-00001-of-00003.gguf", f"hf:o/r@{commit_of(SET)}"):
        assert sources.locate(source) == files
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sources.locate("hf:o/r") == files


def test_offline_what_is_not_in_the_cache_is_refused_without_asking(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/r", {"model.gguf": b"GGUF"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    says = refusal("hf:o/r", NetworkError)
    assert says.startswith(
        "HF_HUB_OFFLINE keeps hf:o/r from being fetched. Unset it, or name a model that is in the cache"
    )
    assert hub.asked == []


def test_a_set_of_which_a_part_lacks_is_completed(hub: Hub) -> None:
    hub.add("o/r", SET)
    files = sources.locate("hf:o/r")
    files[1].resolve().unlink()
    files[1].unlink()
    hub.sent = 0
    assert sources.locate("hf:o/r") == files
    assert hub.sent == MB


def test_several_models_in_the_cache_want_a_name_too(hub: Hub) -> None:
    hub.add("o/r", {"a.gguf": bytes(MB), "b.gguf": bytes(2 * MB)})
    for name in ("a", "b"):
        sources.locate(f"hf:o/r/{name}.gguf")
    assert refusal("hf:o/r", ModelNotFound).splitlines() == [
        "The cache holds 2 models of o/r.",
        "Give one of them, as in hf:o/r/a.gguf:",
        "          1 MB  a.gguf",
        "          2 MB  b.gguf",
    ]


def test_a_cache_that_may_not_be_read_is_told_with_a_remedy(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/r", {"a.gguf": b"GGUF"})
    sources.locate("hf:o/r")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "snapshots")

    monkeypatch.setattr(Path, "rglob", refuse)
    says = refusal("hf:o/r", CacheNotWritable)
    assert "cannot be used for fetched models: Permission denied (snapshots). Put it right, or name another" in says


def test_pull_asks_whether_there_is_a_newer_file(hub: Hub) -> None:
    hub.add("o/r", {"model.gguf": b"old"})
    assert sources.locate("hf:o/r")[0].read_bytes() == b"old"
    hub.add("o/r", {"model.gguf": b"new"})
    assert sources.locate("hf:o/r")[0].read_bytes() == b"old"
    done = sources.pull("hf:o/r")
    assert done.received == {*done.files}
    assert done.repaired == frozenset()
    assert sources.locate("hf:o/r") == done.files
    assert done.files[0].read_bytes() == b"new"


def test_pull_of_what_is_whole_brings_nothing(hub: Hub) -> None:
    hub.add("o/r", SET)
    files, told = sources.pull("hf:o/r").files, []
    hub.sent = 0
    done = sources.pull("hf:o/r", checking=lambda now, total: told.append((now, total)))
    assert (done.files, done.received, hub.sent) == (files, frozenset(), 0)
    assert told[-1] == (3 * MB, 3 * MB)


@pytest.mark.parametrize("small", [False, True], ids=["published digest", "digest beside it"])
@pytest.mark.parametrize("damage", [b"\2" * (MB - 1) + b"!", b"\2"], ids=["a byte", "the length"])
def test_pull_repairs_what_is_damaged_and_nothing_else(hub: Hub, damage: bytes, small: bool) -> None:
    hub.add("o/r", SET)
    hub.small = frozenset(SET if small else ())
    files = sources.pull("hf:o/r").files
    files[1].write_bytes(damage)
    hub.sent = 0
    done = sources.pull("hf:o/r")
    assert (done.received, done.repaired, hub.sent) == ({files[1]}, {files[1]}, MB)
    assert [path.read_bytes() for path in done.files] == list(SET.values())
