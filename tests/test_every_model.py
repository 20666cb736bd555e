"""What every model must do, tried on each one in the folder that `--models` names; without it, nothing here runs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shaderlm
from agreement import agree
from shaderlm import Model
from shaderlm.core import Core
from shaderlm.errors import ShaderLMError, TokenizerError
from shaderlm.parts import models_among

STORY = (
    "Once upon a time there was a lighthouse keeper who lived alone on a small island. Every evening he climbed the "
    "stairs, lit the lamp and looked out over the sea. One night, when the wind had fallen and the water lay as flat "
    "as slate, he saw a boat without lights that came slowly towards the rocks. He took his lantern and"
)
TEXTS = (STORY, "The three primary colours are", "def fibonacci(n):\n    ", "1, 2, 3, 4, 5,")
QUESTION = "What is the capital of France?"
TOKENS = 100  # of the long answer
CHAT_TOKENS = 400  # within which a simple question is answered
TOLERANCE = 0.25  # of log probabilities, with a KV cache in f16: other kernels, or keys and values computed before
MARKERS = re.compile(r"<\|?[\w/ ]+\|?>|\[/?[A-Z_]{2,}\]|#{2,} ?\w+:")  # as templates write them


@dataclass(frozen=True)
class Loaded:
    """A model, or why there is none."""

    path: Path
    model: Model | None
    problem: ShaderLMError | None = None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test here is for each model in the folder; the parts of one in several files are one model."""
    folder = metafunc.config.getoption("--models")
    models = [pytest.param(path, id=name) for name, path in models_in(Path(folder)).items()] if folder else []
    reason = f"there is no .gguf file in {folder}, nor in a folder below it" if folder else "--models names no folder"
    nothing = pytest.param(None, marks=pytest.mark.skip(reason=reason))
    metafunc.parametrize("loaded", models or [nothing], indirect=True, scope="module")


def models_in(folder: Path) -> dict[str, Path]:
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() == ".gguf"]
    return {name: folder / name for name in models_among(files)}


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    try:
        model = shaderlm.load(request.param)
    except ShaderLMError as error:
        yield Loaded(request.param, None, error)
        return
    with model:
        yield Loaded(request.param, model)


@pytest.fixture
def model(loaded: Loaded) -> Model:
    if loaded.model is None:
        pytest.skip(f"{loaded.path.name} does not load")
    return loaded.model


def prompt(model: Model, text: str) -> list[int]:
    """The ids of a text; of a model without a tokenizer, as many ids as there are words."""
    try:
        return model.tokenizer.encode(text)
    except TokenizerError:
        vocab = model.logits([1]).shape[1]
        return [(7 * i + len(word)) % vocab for i, word in enumerate(text.split())]


def whole_text(model: Model, tokens: Sequence[int]) -> str:
    try:
        return model.tokenizer.decode(tokens, continues=True)
    except TokenizerError:
        return ""


def unending(model: Model) -> dict[int, float]:
    """A bias that lets no answer end."""
    try:
        return dict.fromkeys(model.tokenizer.eos_ids, float("-inf"))
    except TokenizerError:
        return {}


def test_it_loads_as_its_inspection_says(loaded: Loaded) -> None:
    if loaded.problem is not None:
        pytest.fail(f"{type(loaded.problem).__name__}: {loaded.problem}", pytrace=False)
    report = shaderlm.inspect(loaded.path)
    assert report.verdict in ("runs", "runs with a smaller context"), report.problems


def test_a_hundred_tokens_are_those_of_prefill_and_their_text_is_whole(model: Model) -> None:
    """Decode and prefill are different kernels: what one draws with, the other computes too."""
    ids = prompt(model, STORY)
    tokens = min(TOKENS, model.context - len(ids))
    answer = model.complete(ids, max_tokens=tokens, temperature=0, logprobs=0, logit_bias=unending(model))
    assert (answer.finish_reason, len(answer.tokens)) == ("length", tokens)
    found = np.array([entry.logprob for entry in answer.logprobs])
    assert np.isfinite(found).all()
    logits = model.logits([*ids, *answer.tokens])[len(ids) - 1 : -1].astype(np.float64)
    logits[:, list(unending(model))] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    agree(found, expected[range(tokens), answer.tokens], abs=TOLERANCE)
    assert answer.text == whole_text(model, answer.tokens)
    answer.text.encode()  # no half of a surrogate pair


def test_the_pieces_of_an_answer_are_its_text(model: Model) -> None:
    *chunks, last = model.stream(prompt(model, TEXTS[1]), max_tokens=24, temperature=0)
    assert last.completion is not None
    assert "".join(chunk.text for chunk in chunks) == last.completion.text
    assert sum((chunk.tokens for chunk in chunks), ()) == last.completion.tokens


def test_a_simple_question_is_answered_to_its_end_without_marks_of_the_template(model: Model) -> None:
    template = model.run_on_engine(template_of)
    if template is None:
        pytest.skip(f"{model.name} has no chat template")
    messages = [{"role": "user", "content": QUESTION}]
    without = {"enable_thinking": False}  # where the template knows it
    answer = model.chat(messages, max_tokens=CHAT_TOKENS, temperature=0, chat_template_kwargs=without)
    assert answer.finish_reason == "stop", f"no end within {CHAT_TOKENS} tokens: {answer.text}"
    assert answer.text.strip()
    assert not [mark for mark in MARKERS.findall(template) if mark in answer.text], answer.text


async def template_of(core: Core) -> str | None:
    return core.chat_template


def test_a_seed_gives_its_text_again_and_others_give_others(model: Model) -> None:
    ids = prompt(model, TEXTS[1])

    def drawn(seed: int) -> tuple[int, ...]:
        options: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "reuse_prefix": False}
        return model.complete(ids, max_tokens=24, seed=seed, logit_bias=unending(model), **options).tokens

    first = drawn(1)
    assert drawn(1) == first
    assert any(drawn(seed) != first for seed in range(2, 6)), "five seeds, one text"


def test_prompts_in_a_row_are_answered_as_each_alone(model: Model) -> None:
    """To the bit, as long as no prefix is taken up, whatever other answers left in the cache."""
    prompts = [prompt(model, text) for text in TEXTS]

    def answers(prompts: list[list[int]], *, reuse: bool) -> list[tuple[Any, ...]]:
        options: dict[str, Any] = {"max_tokens": 16, "temperature": 0, "logprobs": 2, "reuse_prefix": reuse}
        found = [model.complete(ids, **options) for ids in prompts]
        return [(answer.text, answer.tokens, answer.logprobs, answer.finish_reason) for answer in found]

    alone = answers(prompts, reuse=False)
    answers(prompts, reuse=True)
    assert answers(prompts[::-1], reuse=False)[::-1] == alone


def test_a_prefix_that_is_taken_up_changes_little(model: Model) -> None:
    ids = prompt(model, STORY)
    ends = [ids, [*ids[:-3], *ids[:2]]]
    options: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "logprobs": 5, "logit_bias": unending(model)}
    for end in ends:
        alone = model.complete(end, reuse_prefix=False, **options)
        model.complete(ids, **options)  # leaves the prefix
        taken_up = model.complete(end, **options)
        assert alone.usage.reused_tokens == 0 < taken_up.usage.reused_tokens
        before, after = (dict(answer.logprobs[0].top) for answer in (alone, taken_up))
        both = sorted(before.keys() & after.keys())
        assert len(both) >= 3, f"{before} alone, {after} with the prefix"
        agree([after[token] for token in both], [before[token] for token in both], abs=TOLERANCE)
