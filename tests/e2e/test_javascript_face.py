"""shaderlm.js as a program meets it: where models come from, reports, the store, OpenAI's shape, giving up."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser
from site_tab import SiteTab

import shaderlm
from site_server import serving
from split_files import split
from tiny_model import TINY, goldens

GOLDENS = goldens()
NO_END = {"0": -100, "2": -100}  # a bias that lets no answer of the tiny model end
OPTIONS = "{ context: 256, kv_dtype: 'f32' }"

# `files(names)` are Files as a reader chooses them; `code(work)` is the code that a call throws, and its name.
OPEN = """() => {
  globalThis.files = (names) => Promise.all(names.map(async (name) =>
    new File([await (await fetch(`/models/${name}`)).blob()], name)));
  globalThis.code = (work) => work().then(() => "nothing", ({ name, code, message }) => [name, code, message]);
  globalThis.ask = (request, options) => model.chat.completions.create({ temperature: 0, ...request }, options);
  globalThis.all = async (stream, chunks = []) => {
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  };
}"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split(TINY, tmp_path_factory.mktemp("parts"), 3)


@pytest.fixture(scope="module")
def tab(browser: tuple[asyncio.Runner, Browser], site: Path, parts: list[Path]) -> Iterator[SiteTab]:
    """A tab in which `model` is the tiny model, loaded from the address of the first of its three files."""
    with serving("--model", str(parts[0])) as server:
        tab = SiteTab.open(*browser, server.address)
        tab.evaluate(OPEN)
        tab.evaluate(f"async (url) => {{ globalThis.model = await load(url, {OPTIONS}); }}", url(parts))
        yield tab
        tab.close()


def url(parts: list[Path]) -> str:
    return f"/models/{parts[0].name}"


# Where models come from


def test_the_address_of_the_first_of_several_files_stands_for_all(tab: SiteTab) -> None:
    golden = GOLDENS["story"]
    answer = tab.evaluate("([p, n]) => model.complete(p, { temperature: 0, max_tokens: n })", [golden.prompt, 12])
    assert answer["tokens"] == golden.ids[:12]


def test_several_files_of_this_computer_are_one_model(tab: SiteTab, parts: list[Path]) -> None:
    golden = GOLDENS["story"]
    answer = tab.evaluate(
        f"""async ([names, prompt]) => {{
          const local = await load(await files(names), {OPTIONS});
          const answer = await local.complete(prompt, {{ temperature: 0, max_tokens: 8 }});
          await local.unload();
          return answer;
        }}""",
        [[part.name for part in reversed(parts)], golden.prompt],
    )
    assert answer["tokens"] == golden.ids[:8]


def test_files_that_are_no_whole_model_are_refused(tab: SiteTab, parts: list[Path]) -> None:
    names = [part.name for part in parts]
    name, code, message = tab.evaluate("(names) => code(async () => load(await files(names)))", names[:2])
    assert (name, code) == ("ShaderLMError", "ModelNotFound")
    assert names[2] in message
    lone = "(name) => code(async () => load((await files([name]))[0]))"
    assert tab.evaluate(lone, names[1])[1] == "ModelNotFound"
    two = """(name) => code(async () => {
      const [file] = await files([name]);
      return load([new File([file], "one.gguf"), new File([file], "two.gguf")]);
    })"""
    assert tab.evaluate(two, names[0])[1] == "InvalidOption"
    assert tab.evaluate("() => code(() => load('http://'))")[1] == "InvalidOption"


# Reports, and what is stored


def test_a_report_is_that_of_the_desktop(tab: SiteTab, parts: list[Path]) -> None:
    here = json.loads(json.dumps(asdict(shaderlm.inspect(parts[0]))))
    there = tab.evaluate("(url) => inspect(url)", url(parts))
    assert "swiftshader" in there["adapter"]["name"]
    names = [part.name for part in parts]
    assert tab.evaluate("async (names) => inspect(await files(names))", names) == there
    for of_the_machine in ("adapter", "memory"):
        here.pop(of_the_machine), there.pop(of_the_machine)
    assert there == here


def test_a_stored_model_is_listed_until_it_is_deleted(tab: SiteTab, parts: list[Path]) -> None:
    rows = {row["url"]: row for row in tab.evaluate("() => listModels()")}
    addresses = [f"{tab.address}models/{part.name}" for part in parts]
    assert set(rows) == set(addresses)
    for part, address in zip(parts, addresses, strict=True):
        assert (rows[address]["name"], rows[address]["size"]) == (part.name, part.stat().st_size)
        assert rows[address]["complete"]
    assert tab.evaluate("(url) => deleteModel(url)", addresses[0]) is True
    assert tab.evaluate("(url) => deleteModel(url)", addresses[0]) is False
    assert tab.evaluate("(url) => inspect(url)", url(parts))["verdict"] == "runs"  # fetches, and stores nothing
    assert {row["url"] for row in tab.evaluate("() => listModels()")} == set(addresses[1:])


def test_only_with_refresh_is_the_server_asked_for_newer_files(tab: SiteTab, parts: list[Path]) -> None:
    asked: list[tuple[str, str]] = []
    again = "([url, refresh]) => load(url, { context: 64, refresh }).then((other) => other.unload())"
    tab.evaluate(again, [url(parts), False])  # stores what an earlier test deleted

    async def listen() -> None:  # Playwright asks for the loop that runs
        tab.page.on("request", lambda request: asked.append((request.method, request.url.rsplit("/")[-1])))

    tab.runner.run(listen())
    tab.evaluate(again, [url(parts), False])
    assert asked == []
    tab.evaluate(again, [url(parts), True])
    assert sorted(asked) == [("HEAD", part.name) for part in parts]


# OpenAI's shape


def chat() -> Any:
    return next(golden for golden in GOLDENS.values() if golden.messages)


def test_a_whole_answer_has_the_shape_of_openai(tab: SiteTab) -> None:
    golden = chat()
    request = {"model": "any", "messages": golden.messages, "max_completion_tokens": golden.max_tokens}
    answer = tab.evaluate("(request) => ask(request)", request)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["created"] > 1_700_000_000
    assert answer["model"].startswith("tiny")
    [choice] = answer["choices"]
    message = {"role": "assistant", "content": golden.text, "refusal": None}
    assert choice == {"index": 0, "message": message, "logprobs": None, "finish_reason": golden.finish_reason}
    usage = answer["usage"]
    assert usage["prompt_tokens"] == len(golden.prompt_ids)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert set(usage["prompt_tokens_details"]) == {"cached_tokens"}


def test_a_streamed_answer_has_the_shape_of_openai(tab: SiteTab) -> None:
    golden = chat()
    request = {"messages": golden.messages, "max_tokens": golden.max_tokens, "stream": True}
    chunks = tab.evaluate("async (request) => all(await ask(request))", request)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    first, *_, last = choices = [chunk["choices"][0] for chunk in chunks]
    assert first["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == golden.text
    assert (last["delta"], last["finish_reason"]) == ({}, golden.finish_reason)
    assert {choice["finish_reason"] for choice in choices[:-1]} == {None}
    assert "usage" not in chunks[-1]


def test_a_stream_tells_its_usage_if_asked(tab: SiteTab) -> None:
    request = {"messages": chat().messages, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    *others, last = tab.evaluate("async (request) => all(await ask(request))", request)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert {json.dumps(chunk["usage"]) for chunk in others} == {"null"}
    assert others[-1]["choices"][0]["finish_reason"] == "length"


def test_log_probabilities_name_tokens_by_their_text(tab: SiteTab) -> None:
    request = {"messages": chat().messages, "max_tokens": 6, "logprobs": True, "top_logprobs": 3}
    [choice] = tab.evaluate("(request) => ask(request)", request)["choices"]
    entries = choice["logprobs"]["content"]
    assert len(entries) == 6
    text = b"".join(bytes(entry["bytes"]) for entry in entries).decode()
    assert text.removeprefix(" ") == choice["message"]["content"].removeprefix(" ")
    for entry in entries:
        assert entry["token"] == bytes(entry["bytes"]).decode(errors="replace")
        assert len(entry["top_logprobs"]) == 3
        assert entry["top_logprobs"][0]["logprob"] == pytest.approx(entry["logprob"])  # greedy
        assert entry["top_logprobs"][0]["token"] == entry["token"]


def test_stop_strings_and_a_full_context_end_as_openai_says(tab: SiteTab) -> None:
    golden = chat()
    stop = golden.text[10:14]
    [choice] = tab.evaluate("(r) => ask(r)", {"messages": golden.messages, "stop": [stop], "max_tokens": 99})["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == golden.text.split(stop)[0]
    answer = tab.evaluate("(r) => ask(r)", {"messages": golden.messages, "logit_bias": NO_END, "reuse_prefix": False})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] > 250


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"max_tokenz": 3}, "max_tokenz"),
        ({"n": 2}, "n: must be 1"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"top_logprobs": 3}, "logprobs: true"),
        ({"logprobs": 3}, "logprobs: must be true or false"),
        ({"temperature": -1}, "temperature"),
        ({"messages": []}, "messages"),
    ],
    ids=str,
)
def test_options_that_do_not_map_are_refused(tab: SiteTab, option: dict[str, Any], said: str) -> None:
    refused = tab.evaluate("(request) => code(() => ask(request))", {"messages": chat().messages, **option})
    assert refused[:2] == ["ShaderLMError", "InvalidOption"]
    assert said in refused[2]


# Giving up


def test_an_aborted_signal_ends_answers_in_openais_shape(tab: SiteTab) -> None:
    chunks = tab.evaluate(
        """async (request) => {
          const aborting = new AbortController();
          const chunks = [];
          for await (const chunk of await ask({ ...request, stream: true }, { signal: aborting.signal })) {
            chunks.push(chunk);
            if (chunks.length === 3) aborting.abort();
          }
          return chunks;
        }""",
        {"messages": chat().messages, "logit_bias": NO_END},
    )
    assert 3 <= len(chunks) < 100
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks} == {None}
    whole = "(request) => code(() => ask(request, { signal: AbortSignal.timeout(50) }))"
    given_up = tab.evaluate(whole, {"messages": chat().messages, "logit_bias": NO_END})
    assert given_up[:2] == ["AbortError", "Cancelled"]


def test_every_call_can_be_given_up(tab: SiteTab, parts: list[Path]) -> None:
    gone = ["AbortError", "Cancelled"]
    early = "{ signal: AbortSignal.abort() }"
    for call in (f"load(url, {early})", f"inspect(url, {early})", f"listModels({early})", f"deleteModel(url, {early})"):
        assert tab.evaluate(f"(url) => code(() => {call})", url(parts))[:2] == gone, call
    for call in (f"tokenize('Once', {early})", f"detokenize([5], {early})"):
        assert tab.evaluate(f"() => code(() => model.{call})")[:2] == gone, call
    assert tab.evaluate(f"() => model.complete('Once', {early}).then((a) => a.finish_reason)") == "cancelled"


@pytest.mark.parametrize("stage", ["load", "compile"])
def test_a_load_that_is_given_up_leaves_nothing_behind(tab: SiteTab, parts: list[Path], stage: str) -> None:
    """Whatever it was at, and the next load works."""
    given_up = tab.evaluate(
        """([url, stage]) => code(() => {
          const aborting = new AbortController();
          const onProgress = (told) => told.stage === stage && aborting.abort();
          return load(url, { context: 65, signal: aborting.signal, onProgress });
        })""",
        [url(parts), stage],
    )
    assert given_up[:2] == ["AbortError", "Cancelled"]
    assert tab.worker("() => shaderlm.gpu.closed")
    again = "(url) => load(url, { context: 64 }).then((other) => other.unload()).then(() => 'loaded')"
    assert tab.evaluate(again, url(parts)) == "loaded"
