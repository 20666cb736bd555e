"""`shaderlm perplexity`: every token is scored once, in windows, and the figures are those of its definition."""

import json
import math

import numpy as np
import pytest

from command_line import MODEL, CommandLine
from shaderlm.cli.perplexity import mean_and_error, perplexity, windows
from shaderlm.hosts.native.host import log_probabilities
from tiny_model import TINY

TEXT = "Once there was a fox named Mila. Mila lived in a red house by the river. One day Mila went for a walk. " * 4


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )


def scores_of(tiny, ids: list[int]) -> np.ndarray:
    """Log probability of each token but the first, given those before it."""
    return log_softmax(tiny.logits(ids))[np.arange(len(ids) - 1), ids[1:]]


def test_in_one_window_it_is_the_definition(tiny):
    ids = tiny.tokenizer.encode(TEXT, add_special=False)
    scores = scores_of(tiny, ids)
    result = perplexity(tiny, TEXT, 512, 256)
    assert (result.tokens, result.windows) == (len(ids) - 1, 1)
    assert result.perplexity == pytest.approx(math.exp(-scores.mean()), rel=1e-6)
    error = scores.std(ddof=1) / math.sqrt(len(scores))
    assert result.standard_error == pytest.approx(result.perplexity * error, rel=1e-6)


def test_windows_score_what_the_ones_before_left_over(tiny):
    ids = tiny.tokenizer.encode(TEXT, add_special=False)
    context, stride = 40, 15
    scores = list(scores_of(tiny, ids[:context]))
    for end in range(context, len(ids), stride):
        new = min(end + stride, len(ids))
        scores += list(scores_of(tiny, ids[new - context : new]))[end - new :]
    result = perplexity(tiny, TEXT, context, stride)
    assert result.tokens == len(scores) == len(ids) - 1
    assert result.perplexity == pytest.approx(math.exp(-np.mean(scores)), rel=1e-6)


@pytest.mark.parametrize("room", [2, 7, 64])
@pytest.mark.parametrize("tokens", [1, 2, 6, 7, 8, 63, 64, 65, 200])
@pytest.mark.parametrize("first_scored", [0, 1])
def test_every_token_is_scored_once_with_enough_before_it(tokens, room, first_scored):
    for stride in range(1, room):
        cut = list(windows(tokens, room, stride, first_scored=first_scored))
        scored = [token for window in cut for token in range(window.scored, window.end)]
        assert scored == list(range(first_scored, tokens))
        assert all(window.end - window.first <= room for window in cut)
        assert all(window.scored - window.first >= room - stride for window in cut[1:])


def test_the_error_of_a_mean_is_that_of_a_sample():
    mean, error = mean_and_error([-1.0, -2.0, -3.0, -6.0])
    assert (mean, error) == pytest.approx((-3.0, np.std([1, 2, 3, 6], ddof=1) / 2))


def test_log_probabilities_are_exact_for_large_logits():
    rows = np.array([[1000.0, 1000.0], [-1000.0, 0.0], [3.0, 3.0]], dtype="<f4")
    assert log_probabilities(rows.tobytes(), 2, [0, 0]) == pytest.approx([-math.log(2), -1000.0])


def test_the_command_prints_the_figure_and_tells_the_rest(shaderlm, tmp_path, tiny):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    done = shaderlm.run("perplexity", "--kv-dtype", "f32", "--context", "40", "--stride", "15", MODEL, str(text))
    expected = perplexity(tiny, TEXT, 40, 15)
    assert (done.code, done.out) == (0, f"perplexity {expected.perplexity:.4f} +- {expected.standard_error:.4f}\n")
    assert f"{expected.tokens} tokens in {expected.windows} windows of 40, moved on by 15" in done.err
    found = json.loads(shaderlm.run("perplexity", "--json", MODEL, str(text)).out)
    assert (found["context"], found["stride"], found["windows"]) == (512, 256, 1)


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, [], "cannot be read: No such file"),
        (b"", [], "The text is too short"),
        (b"caf\xe9", [], "is no text in UTF-8"),
        (b"One day", ["--stride", "512"], "--stride: must be from 1 to 511"),
        (b"One day", ["--stride", "0"], "--stride: must be from 1 to 511"),
    ],
)
def test_what_cannot_be_scored_is_told(shaderlm, tmp_path, content, options, said):
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    done = shaderlm.run("perplexity", *options, str(TINY), str(text))
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_text_is_needed(shaderlm):
    assert "Which text?" in shaderlm.run("perplexity", MODEL).err
