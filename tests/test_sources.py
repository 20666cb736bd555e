"""What a source names: a path, a name of the catalogue, a model on the Hub."""

import os
import subprocess
import sys
import time

import pytest

from shaderlm.catalogue import SMOLLM2, HubName, hub_name
from shaderlm.errors import InvalidOption, ModelNotFound
from shaderlm.hosts.native import cache, sources


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:owner/repo", HubName("owner/repo")),
        ("hf:owner/repo/", HubName("owner/repo")),
        ("hf:owner/repo@v1.0", HubName("owner/repo", None, "v1.0")),
        ("hf:Own_er/re.po-1/model.gguf", HubName("Own_er/re.po-1", "model.gguf")),
        ("hf:owner/repo/Q4/m-00001-of-00002.gguf", HubName("owner/repo", "Q4/m-00001-of-00002.gguf")),
        ("hf:owner/repo/model.gguf@refs/pr/1", HubName("owner/repo", "model.gguf", "refs/pr/1")),
    ],
)
def test_a_name_on_the_hub_has_a_repository_and_may_have_a_file_and_a_revision(text, name):
    assert hub_name(text) == name
    assert hub_name(str(name)) == name


@pytest.mark.parametrize("text", ["owner/repo", "model.gguf", "smollm2", "", "./hf:owner/repo"])
def test_other_names_are_none_on_the_hub(text):
    assert hub_name(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:repo",
        "hf:/owner/repo",
        "hf://owner/repo",
        "hf:owner/repo/../x.gguf",
        "hf:../..",
        "hf:o/r@../../x",
        "hf:o/r@",
    ],
)
def test_what_only_begins_like_a_name_on_the_hub_is_refused(text):
    with pytest.raises(InvalidOption, match=r"is not of the form hf:OWNER/REPOSITORY, hf:OWNER/REPOSITORY/FILE or"):
        hub_name(text)


def test_a_path_is_a_model_and_so_is_a_name_in_the_catalogue(tmp_path, smollm2, monkeypatch):
    monkeypatch.setenv("SHADERLM_CACHE", str(tmp_path / "cache"))
    assert sources.locate(smollm2) == (smollm2,)
    cached = cache.model_path(SMOLLM2)
    cached.parent.mkdir(parents=True)
    cached.symlink_to(smollm2)
    assert sources.locate("smollm2") == (cached,)


def test_what_is_fetched_is_marked_as_used_whenever_it_is_located(hub):
    hub.add("o/r", {"m.gguf": b"GGUF"})
    (file,) = sources.locate("hf:o/r")
    os.utime(file, (0, 12345))
    before = time.time()
    sources.locate("hf:o/r")
    assert before - 1 <= file.stat().st_atime <= time.time() + 1
    assert file.stat().st_mtime == 12345


def test_a_file_that_may_not_be_marked_is_used_all_the_same(hub, monkeypatch):
    hub.add("o/r", {"m.gguf": b"GGUF"})

    def refuse(path, times):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert sources.locate("hf:o/r")[0].read_bytes() == b"GGUF"


def test_what_is_neither_a_file_nor_a_name_is_said_to_be_neither():
    with pytest.raises(ModelNotFound, match=r"nothing\.gguf.*smollm2.*hf:OWNER/REPOSITORY"):
        sources.locate("nothing.gguf")


def test_pull_takes_names_alone(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidOption, match=r"m\.gguf is nothing that can be fetched\. Take a name .*\(smollm2\)"):
        sources.pull(str(tmp_path / "m.gguf"))


def test_the_command_prints_the_path_or_the_reason(tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    command = [sys.executable, "-m", "shaderlm.hosts.native.sources"]
    done = subprocess.run([*command, str(model)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(model), "")
    done = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no model nothing" in done.stderr
