"""--trace: layers make of a prompt what the float64 reference makes of it, and a NaN is found where it begins."""

from pathlib import Path

import gguf
import numpy as np
import pytest

import shaderlm
from command_line import MODEL, CommandLine
from reference import Cache, Reference, reference_of, rms_norm
from shaderlm.cli.trace import is_suspect
from shaderlm.core import Core
from shaderlm.engine.trace import Spread, Trace, trace_prefill
from tiny_model import TINY, golden_logits, goldens

LAYERS = 4


def traced(model: shaderlm.Model, tokens: list[int]) -> Trace:
    async def job(core: Core) -> Trace:
        return await trace_prefill(core.engine, tokens)

    return model.run_on_engine(job)


def residuals(reference: Reference, tokens: list[int]) -> list[np.ndarray]:
    """The residual stream behind the embedding and every layer, [tokens, hidden] each."""
    c, w, cache = reference.config, reference.weights, Cache()
    x = w["token_embd.weight"][np.asarray(tokens)]
    streams = [x]
    for i in range(c.n_layers):
        normed = rms_norm(x, w[f"blk.{i}.attn_norm.weight"], c.norm_eps)
        x = x + reference._attention(i, normed, np.arange(len(tokens)), cache)
        x = x + reference._mlp(i, rms_norm(x, w[f"blk.{i}.ffn_norm.weight"], c.norm_eps))
        streams.append(x)
    return streams


@pytest.mark.parametrize("repeats", [1, 5], ids=["one chunk", "several chunks"])
def test_a_trace_gives_the_range_of_every_layer(tiny, repeats):
    tokens = golden_logits().prompt_ids * repeats
    trace = traced(tiny, tokens)
    assert [spread.part for spread in trace.spreads] == ["embedding", *(f"layer {i}" for i in range(LAYERS)), "logits"]
    for spread, stream in zip(trace.spreads, residuals(reference_of(TINY), tokens), strict=False):
        assert (spread.nans, spread.values) == (0, stream.size)
        assert (spread.minimum, spread.maximum) == pytest.approx((stream.min(), stream.max()), abs=2e-3), spread.part


def test_a_trace_ends_in_the_likeliest_next_tokens(tiny):
    golden = golden_logits()
    trace = traced(tiny, golden.prompt_ids)
    last = golden.logits[-1]
    assert [token for token, _ in trace.top] == np.argsort(-last, kind="stable")[:10].tolist()
    assert [logit for _, logit in trace.top] == pytest.approx(np.sort(last)[::-1][:10].tolist(), abs=2e-3)


def test_a_trace_leaves_the_model_as_it_was(tiny):
    golden = goldens()["chat"]
    before = tiny.chat(golden.messages, temperature=0)
    traced(tiny, golden.prompt_ids)
    assert tiny.chat(golden.messages, temperature=0, reuse_prefix=False).tokens == before.tokens


@pytest.fixture
def spoilt(tmp_path) -> Path:
    """The tiny model with a NaN among the weights of its third layer."""
    path = tmp_path / "spoilt.gguf"
    path.write_bytes(TINY.read_bytes())
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(TINY).tensors}
    with path.open("r+b") as file:
        file.seek(int(tensors["blk.2.ffn_down.weight"].data_offset))
        file.write(np.array([np.nan], dtype="<f2").tobytes())
    return path


def test_the_first_layer_with_a_nan_is_found(spoilt, capsys, monkeypatch):
    done = CommandLine(capsys, monkeypatch).run(
        "complete", "--trace", "--max-tokens", "1", "--temperature", "0", str(spoilt), "One day Mila went"
    )
    rows = {row[:11].strip(): row.split() for row in (line[2:] for line in done.err.splitlines())}
    nans = {part: int(rows[part][-1].replace(",", "")) for part in ("embedding", "layer 0", "layer 1", "layer 2")}
    assert nans["embedding"] == nans["layer 0"] == nans["layer 1"] == 0
    assert nans["layer 2"] > 0


def test_a_trace_is_shown_on_stderr_for_a_prompt_and_for_each_message(capsys, monkeypatch):
    shaderlm_ = CommandLine(capsys, monkeypatch)
    golden = goldens()["chat"]
    question = golden.messages[0]["content"]
    options = ("--trace", "--temperature", "0")
    for done in (
        shaderlm_.run("complete", "--chat", *options, MODEL, question),
        shaderlm_.run("chat", *options, MODEL, stdin=question + "\n"),
    ):
        assert done.out == golden.text + "\n"
        assert f"trace of {len(golden.prompt_ids)} tokens" in done.err
        assert f"layer {LAYERS - 1}" in done.err
        assert "' The'" in done.err or "'The'" in done.err


@pytest.mark.parametrize(
    ("spread", "suspect"),
    [
        (Spread("layer 0", -1.0, 2.0, 0, 4), False),
        (Spread("layer 0", -1.0, 2.0, 1, 4), True),
        (Spread("layer 0", 0.0, 0.0, 0, 4), True),
        (Spread("layer 0", -1.0, float("inf"), 0, 4), True),
        (Spread("layer 0", float("nan"), float("nan"), 4, 4), True),
    ],
)
def test_what_no_working_model_makes_is_marked(spread, suspect):
    assert is_suspect(spread) == suspect
