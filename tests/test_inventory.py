"""What was fetched and lies on this machine: seen by name, and deleted with nothing left but what others need."""

import os
import shutil
from pathlib import Path

import filelock
import pytest

from hub_server import Hub, sha256
from shaderlm.catalogue import SMOLLM2, hub_name
from shaderlm.errors import CacheNotWritable, NetworkError
from shaderlm.hosts.native import cache, sources
from shaderlm.hosts.native.checksums import write_checksum
from shaderlm.hosts.native.hub import lock_of, repository_folder
from shaderlm.hosts.native.inventory import StoredModel, remove, stored_models

MB = 1_000_000
SET = {f"big-{i:05}-of-00003.gguf": bytes([i]) * MB for i in (1, 2, 3)}
A, B = {"a.gguf": b"a" * MB}, {"b.gguf": b"b" * MB}


def of_catalogue() -> Path:
    """A file where the catalogue's would be."""
    path = cache.model_path(SMOLLM2)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    write_checksum(path, sha256(b"GGUF"))
    return path


def stored() -> dict[str, StoredModel]:
    return {model.name: model for model in stored_models()}


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts)


def test_empty_caches_hold_nothing(hub: Hub) -> None:
    assert stored_models() == []


def test_models_of_the_catalogue_and_of_the_hub_are_seen_by_the_names_that_load_takes(hub: Hub) -> None:
    path = of_catalogue()
    os.utime(path, (12345, 6))
    hub.add("o/r", {**SET, **A, "README.md": b"models"})
    hub.add("o/r", B, "v1")
    names = ["hf:o/r/a.gguf", "hf:o/r/b.gguf@v1", "hf:o/r/big-00001-of-00003.gguf"]
    located = [sources.locate(name) for name in names]
    models = stored_models()
    assert [model.name for model in models] == ["smollm2", *names]
    assert models[0] == StoredModel("smollm2", (path,), 4, 12345, "Apache-2.0")
    assert [model.files for model in models[1:]] == located
    assert [model.size for model in models[1:]] == [MB, MB, 3 * MB]
    assert not any(model.unfinished for model in models)


def test_use_is_seen(hub: Hub) -> None:
    hub.add("o/r", A)
    (path,) = sources.locate("hf:o/r")
    os.utime(path, (12345, 6))
    assert stored()["hf:o/r/a.gguf"].used == 12345
    sources.locate("hf:o/r")
    assert stored()["hf:o/r/a.gguf"].used > 12345


def test_an_older_commit_is_called_by_its_name(hub: Hub) -> None:
    hub.add("o/r", A)
    (old,) = sources.pull("hf:o/r").files
    hub.add("o/r", {"a.gguf": b"newer"})
    sources.pull("hf:o/r")
    commit = old.parent.name
    assert set(stored()) == {"hf:o/r/a.gguf", f"hf:o/r/a.gguf@{commit}"}
    assert sources.locate(f"hf:o/r/a.gguf@{commit}") == (old,)


def test_what_other_programs_keep_there_is_no_model(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    hub.add("o/r", {"model.safetensors": b"weights", "a.gguf": b"GGUF"})
    hf_hub_download("o/r", "model.safetensors")
    assert stored_models() == []
    folder = repository_folder("o/r").with_name("datasets--o--d")
    shutil.copytree(repository_folder("o/r"), folder, symlinks=True)
    sources.locate("hf:o/r")
    assert set(stored()) == {"hf:o/r/a.gguf"}


def test_a_download_that_was_interrupted_is_seen_as_unfinished(hub: Hub) -> None:
    hub.add("o/r", A)
    hub.cuts = [MB - 1] + [0] * 99
    with pytest.raises(NetworkError):
        sources.locate("hf:o/r")
    (model,) = stored_models()
    assert (model.name, model.unfinished, model.size) == ("hf:o/r", True, MB - 1)


def test_a_set_of_which_a_part_lacks_is_unfinished(hub: Hub) -> None:
    hub.add("o/r", SET)
    hub.cuts = [MB, 1] + [0] * 99
    with pytest.raises(NetworkError):
        sources.locate("hf:o/r")
    models = stored()
    assert {name: model.unfinished for name, model in models.items()} == {
        "hf:o/r": True,
        "hf:o/r/big-00001-of-00003.gguf": True,
    }
    for model in models.values():
        remove(model)
    assert stored_models() == []
    assert not repository_folder("o/r").exists()


# Deleting


def test_a_model_of_the_catalogue_goes_with_its_checksum(hub: Hub) -> None:
    path = of_catalogue()
    remove(stored()["smollm2"])
    assert [file for file in files_below(path.parent) if file != "lock"] == []
    assert stored_models() == []


def test_a_model_of_the_hub_goes_with_its_checksums_and_the_others_stay(hub: Hub) -> None:
    hub.add("o/r", {**SET, **A})
    sources.locate("hf:o/r/a.gguf")
    sources.locate("hf:o/r/big-00001-of-00003.gguf")
    remove(stored()["hf:o/r/big-00001-of-00003.gguf"])
    assert set(stored()) == {"hf:o/r/a.gguf"}
    assert files_below(repository_folder("o/r")) == ["a.gguf", "a.gguf.sha256", sha256(A["a.gguf"]), "main"]


def test_with_the_last_file_of_a_repository_its_folder_goes(hub: Hub) -> None:
    hub.add("o/r", A)
    sources.locate("hf:o/r")
    remove(stored()["hf:o/r/a.gguf"])
    assert not repository_folder("o/r").exists()


def test_what_other_programs_keep_there_stays(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    hub.add("o/r", {**A, "config.json": b"{}"})
    config = Path(hf_hub_download("o/r", "config.json"))
    sources.locate("hf:o/r")
    remove(stored()["hf:o/r/a.gguf"])
    assert config.read_bytes() == b"{}"


def test_bytes_that_another_commit_has_too_stay(hub: Hub) -> None:
    hub.add("o/r", A)
    hub.add("o/r", {**A, "README.md": b"more"}, "v1")
    both = [sources.locate(f"hf:o/r/a.gguf@{revision}")[0] for revision in ("main", "v1")]
    remove(stored()["hf:o/r/a.gguf"])
    assert [path.exists() for path in both] == [False, True]
    assert both[1].read_bytes() == A["a.gguf"]


def test_an_interrupted_download_goes_unless_another_process_goes_on_with_it(hub: Hub) -> None:
    hub.add("o/r", A)
    hub.cuts = [10] + [0] * 99
    with pytest.raises(NetworkError):
        sources.locate("hf:o/r")
    (model,) = stored_models()
    blob = repository_folder("o/r") / "blobs" / sha256(A["a.gguf"])
    with lock_of(blob), pytest.raises(CacheNotWritable, match=r"hf:o/r is being fetched by another process: wait"):
        remove(model)
    assert stored_models() == [model]
    remove(model)
    assert not repository_folder("o/r").exists()
    assert hub_name(model.name) is not None


def test_locks_are_those_of_huggingface_hub(hub: Hub) -> None:
    """Where one is held, a download by its own hands waits; here it is told not to."""
    from huggingface_hub import file_download

    hub.add("o/r", A)
    seen = []
    intact = file_download.WeakFileLock

    def record(path: str, **options: object) -> object:
        seen.append(Path(path))
        return intact(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_download, "WeakFileLock", record)
        file_download.hf_hub_download("o/r", "a.gguf")
    lock = lock_of(repository_folder("o/r") / "blobs" / sha256(A["a.gguf"]))
    assert isinstance(lock, filelock.BaseFileLock)
    assert seen == [Path(lock.lock_file)]
