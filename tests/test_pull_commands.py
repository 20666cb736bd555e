"""`shaderlm pull`, `list` and `rm`, and --verify: what they say, what they ask, and what they leave."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from command_line import COMMAND, CommandLine, run_process
from gguf_writer import gguf_bytes, tensor
from hub_server import Hub, environment, sha256
from shaderlm.catalogue import SMOLLM2
from shaderlm.hosts.native import cache
from shaderlm.hosts.native.checksums import digest_of, write_checksum
from shaderlm.hosts.native.hub import repository_folder
from shaderlm.hosts.native.inventory import stored_models
from split_files import split
from tiny_model import TINY

MB = 1_000_000
LICENSED = gguf_bytes({"general.architecture": "llama", "general.license": "mit"}, {"w": tensor(np.ones(2), "F32")})


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def names() -> list[str]:
    return [model.name for model in stored_models()]


# pull


def test_pull_prints_the_path_and_tells_what_came(shaderlm, hub: Hub):
    hub.add("o/r", {"model.gguf": b"GGUF"})
    done = shaderlm.run("pull", "hf:o/r")
    path = Path(done.out.strip())
    assert (done.code, path.name, path.read_bytes()) == (0, "model.gguf", b"GGUF")
    assert done.err == "model.gguf: fetched\n"
    again = shaderlm.run("pull", "hf:o/r/model.gguf")
    assert (again.out, again.err) == (done.out, "model.gguf: is here already, and whole\n")
    path.write_bytes(b"GGUG")
    repaired = shaderlm.run("pull", "hf:o/r")
    assert (repaired.out, repaired.err) == (done.out, "model.gguf was damaged: fetched again\n")
    assert path.read_bytes() == b"GGUF"


def test_pull_of_a_set_tells_every_part(shaderlm, hub: Hub, tmp_path):
    (tmp_path / "split").mkdir()
    paths = split(TINY, tmp_path / "split", 2)
    hub.add("o/r", {path.name: path.read_bytes() for path in paths})
    done = shaderlm.run("pull", "hf:o/r")
    assert Path(done.out.strip()).name == paths[0].name
    assert done.err.splitlines() == [f"{path.name}: fetched" for path in paths]


def test_pull_of_the_catalogues_model_takes_what_is_here(shaderlm, tmp_path, monkeypatch, smollm2):
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path))
    path = cache.model_path(SMOLLM2)
    path.parent.mkdir()
    path.symlink_to(smollm2)
    done = shaderlm.run("pull", "smollm2")
    assert (done.code, done.out) == (0, f"{path}\n")
    assert done.err == f"{SMOLLM2.file}: is here already, and whole\n"
    assert path.with_name(f"{SMOLLM2.file}.sha256").read_text() == f"{SMOLLM2.sha256}  {SMOLLM2.file}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Which model? Name one of the catalogue, smollm2, or hf:OWNER/REPOSITORY"),
        (("smollm2", "more"), "There is a word too many: 'more'"),
    ],
)
def test_pull_wants_one_name(shaderlm, arguments, says):
    done = shaderlm.run("pull", *arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_pull_of_what_cannot_be_had_says_why(shaderlm, hub: Hub):
    done = shaderlm.run("pull", "model.gguf")
    assert (done.code, done.out) == (1, "")
    assert "model.gguf is nothing that can be fetched" in done.err
    done = shaderlm.run("pull", "hf:o/none")
    assert (done.code, done.out) == (1, "")
    assert "shows no repository o/none" in done.err


def test_the_commands_need_nothing_but_the_environment(tmp_path, hub: Hub):
    """As a process of its own, which finds the Hub through HF_ENDPOINT and its cache through HF_HUB_CACHE."""
    hub.add("o/r", {"model.gguf": TINY.read_bytes()})
    settings = environment(tmp_path / "home", hub.address)
    done = run_process("pull", "hf:o/r", **settings)
    assert (done.code, done.err) == (0, "model.gguf: fetched\n")
    assert Path(done.out.strip()).is_relative_to(tmp_path / "home" / "hf" / "hub")
    listed = run_process("list", **settings)
    assert [line.split()[0] for line in listed.out.splitlines()] == ["model", "hf:o/r/model.gguf"]
    offline = run_process("complete", "--max-tokens", "3", "hf:o/r", "One day", **{**settings, "HF_HUB_OFFLINE": "1"})
    assert offline.code == 0, offline.err
    gone = run_process("rm", "--yes", "hf:o/r", **settings)
    assert gone.code == 0
    offline = run_process("pull", "hf:o/r", **{**settings, "HF_HUB_OFFLINE": "1"})
    assert offline.code == 1
    assert "HF_HUB_OFFLINE keeps hf:o/r from being fetched" in offline.err


def test_ctrl_c_ends_a_download_that_the_next_pull_goes_on_with(tmp_path, hub: Hub):
    pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")
    from pseudo_terminal import CTRL_C, PseudoTerminal

    data = os.urandom(20 * MB)
    hub.add("o/r", {"model.gguf": data})
    hub.pause = 0.05
    with PseudoTerminal([*COMMAND, "pull", "hf:o/r"], os.environ | environment(tmp_path, hub.address)) as pull:
        pull.wait_for("downloading")
        pull.enter(CTRL_C)
        assert pull.wait() == 130
    assert "Traceback" not in pull.text
    (partial,) = repository_folder("o/r").glob("blobs/*.incomplete")
    received = partial.stat().st_size
    assert 0 < received < len(data)
    hub.pause, hub.sent = 0.0, 0
    done = run_process("pull", "hf:o/r", **environment(tmp_path, hub.address))
    assert Path(done.out.strip()).read_bytes() == data
    assert hub.took("/bytes")[-1].range == f"bytes={received}-"


# list


def test_list_of_nothing_says_how_to_fetch_something(shaderlm, hub: Hub):
    done = shaderlm.run("list")
    assert (done.code, done.out) == (0, "")
    assert "`shaderlm pull smollm2`" in done.err
    assert json.loads(shaderlm.run("list", "--json").out) == {"models": []}


def test_list_shows_name_size_use_and_licence(shaderlm, hub: Hub):
    hub.add("o/r", {"licensed.gguf": LICENSED, "plain.gguf": TINY.read_bytes(), "broken.gguf": b"GGUF"})
    hub.add("o/begun", {"model.gguf": bytes(MB)})
    for name in ("licensed", "plain", "broken"):
        shaderlm.run("pull", f"hf:o/r/{name}.gguf")
    hub.cuts = [10] + [0] * 99
    shaderlm.run("pull", "hf:o/begun")
    path = cache.model_path(SMOLLM2)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(2 * MB))
    used = datetime(2024, 2, 29, 12)
    os.utime(path, (used.timestamp(), used.timestamp()))
    done = shaderlm.run("list")
    today = datetime.now().strftime("%Y-%m-%d")
    size = f"{TINY.stat().st_size / 1e6:.1f} MB"
    assert [line.split(maxsplit=4) for line in done.out.splitlines()] == [
        ["model", "size", "used", "licence"],
        ["smollm2", "2.0", "MB", "2024-02-29", "Apache-2.0"],
        ["hf:o/begun", "0.0", "MB", today, "unfinished: `shaderlm pull` goes on"],
        ["hf:o/r/broken.gguf", "0.0", "MB", today, "unknown"],
        ["hf:o/r/licensed.gguf", "0.0", "MB", today, "mit"],
        ["hf:o/r/plain.gguf", *size.split(), today, "unknown"],
    ]
    listed = json.loads(shaderlm.run("list", "--json").out)["models"]
    assert [model["name"] for model in listed] == names()
    assert listed[0] == {
        "name": "smollm2",
        "size": 2 * MB,
        "files": [str(path)],
        "used": used.astimezone(UTC).isoformat(),
        "licence": "Apache-2.0",
        "unfinished": False,
    }
    assert [(model["licence"], model["unfinished"]) for model in listed[1:]] == [
        (None, True),
        (None, False),
        ("mit", False),
        (None, False),
    ]


# rm


def test_rm_says_what_it_deletes(shaderlm, hub: Hub):
    hub.add("o/r", {"a.gguf": bytes(2 * MB), "b.gguf": b"GGUF"})
    path = shaderlm.run("pull", "hf:o/r/a.gguf").out.strip()
    shaderlm.run("pull", "hf:o/r/b.gguf")
    done = shaderlm.run("rm", "--yes", "hf:o/r/a.gguf")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [f"{path}  (2.0 MB)", "hf:o/r/a.gguf: deleted"]
    assert names() == ["hf:o/r/b.gguf"]


def test_a_repositorys_name_stands_for_all_its_models(shaderlm, hub: Hub):
    hub.add("o/r", {"a.gguf": b"a", "b.gguf": b"b"})
    hub.add("o/other", {"a.gguf": b"c"})
    for name in ("o/r/a.gguf", "o/r/b.gguf", "o/other"):
        shaderlm.run("pull", f"hf:{name}")
    assert shaderlm.run("rm", "--yes", "hf:o/r").code == 0
    assert names() == ["hf:o/other/a.gguf"]


def test_rm_of_what_is_not_there_lists_what_is(shaderlm, hub: Hub):
    assert "No model called smollm2 was fetched. There are: none." in shaderlm.run("rm", "--yes", "smollm2").err
    hub.add("o/r", {"a.gguf": b"a"})
    shaderlm.run("pull", "hf:o/r")
    for name in ("smollm2", "hf:o/s", "hf:o/r/b.gguf"):
        done = shaderlm.run("rm", "--yes", name)
        assert done.code == 1
        assert f"No model called {name} was fetched. There are: hf:o/r/a.gguf." in done.err
    assert names() == ["hf:o/r/a.gguf"]


def test_rm_wants_a_name_and_an_answer(shaderlm, hub: Hub, monkeypatch):
    assert shaderlm.run("rm").code == 2
    hub.add("o/r", {"a.gguf": b"a"})
    shaderlm.run("pull", "hf:o/r")
    done = shaderlm.run("rm", "hf:o/r", stdin="y\n")
    assert done.code == 2
    assert "Nobody can be asked here: `shaderlm rm --yes NAME` deletes without asking." in done.err
    assert names() == ["hf:o/r/a.gguf"]


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 1), ("", 1, 1), ("y", 0, 0), ("YES", 0, 0)])
def test_on_a_terminal_rm_asks(tmp_path, hub: Hub, answer, code, left):
    pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")
    from pseudo_terminal import PseudoTerminal

    hub.add("o/r", {"a.gguf": b"a"})
    run_process("pull", "hf:o/r", **environment(tmp_path, hub.address))
    with PseudoTerminal([*COMMAND, "rm", "hf:o/r"], os.environ | environment(tmp_path, hub.address)) as rm:
        assert "a.gguf  (0.0 MB)" in rm.wait_for("Delete hf:o/r? [y/N] ")
        rm.enter(f"{answer}\n")
        assert rm.wait() == code
    assert ("Nothing was deleted." in rm.text) == bool(left)
    assert len(names()) == left


def test_rm_deletes_the_catalogues_model(shaderlm, hub: Hub):
    path = cache.model_path(SMOLLM2)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    write_checksum(path, sha256(b"GGUF"))
    assert shaderlm.run("rm", "--yes", "smollm2").code == 0
    assert [file.name for file in path.parent.iterdir() if file.name != "lock"] == []


# --verify


@pytest.mark.parametrize("command", ["complete", "inspect"])
def test_verify_refuses_a_file_that_is_not_the_one_that_was_published(shaderlm, tmp_path, command):
    path = Path(shutil.copy(TINY, tmp_path))
    words = ("--max-tokens", "2", str(path), "One day") if command == "complete" else (str(path),)
    done = shaderlm.run(command, "--verify", *words)
    assert done.code == 1
    assert "verify: there is no " in done.err
    write_checksum(path, digest_of(path))
    assert shaderlm.run(command, "--verify", *words).code == 0
    write_checksum(path, "0" * 64)
    done = shaderlm.run(command, "--verify", *words)
    assert (done.code, done.out) == (1, "")
    assert f"has the SHA-256 {digest_of(path)}, but tiny.gguf.sha256 says {'0' * 64}" in done.err
    assert shaderlm.run(command, *words).code == 0


def test_a_model_of_the_hub_is_fetched_and_run_by_its_name(shaderlm, hub: Hub):
    hub.add("o/r", {"model.gguf": TINY.read_bytes()})
    done = shaderlm.run("complete", "--verify", "--max-tokens", "2", "--temperature", "0", "hf:o/r", "One day")
    assert done.code == 0, done.err
    assert done.err.startswith("fetching hf:o/r: 0.7 MB\n")
    assert "fetching" not in shaderlm.run("complete", "--max-tokens", "2", "hf:o/r", "One day").err
    local = shaderlm.run("complete", "--max-tokens", "2", "--temperature", "0", str(TINY), "One day")
    assert done.out == local.out
