"""The page, as somebody meets it who comes for the first time: it finds the GPU, fetches a model, and chats."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from frames import frames_of_answers
from playwright.async_api import Browser
from reader import Reader, drop_files, visit

from scripted_model import scripted_model
from shaderlm.tokenizer_json import TokenType
from site_server import SiteServer, serving
from tiny_model import TINY, goldens

CHAT, TALE, SYSTEM, MEMORY, COUNTING = (goldens()[name] for name in ("chat", "tale", "system", "memory", "counting"))
LONG = "a-model-whose-name-is-longer-than-the-header-of-a-page-on-a-phone"
GREEDY = {"temperature": "0"}
Running = tuple[asyncio.Runner, Browser]


@pytest.fixture(scope="module")
def web(site) -> Iterator[SiteServer]:
    with serving("--model", str(TINY)) as server:
        yield server


@pytest.fixture(scope="module")
def reader(browser: Running, web: SiteServer) -> Iterator[Reader]:
    """Has loaded the default model, which is the tiny one, and draws the likeliest token."""

    async def come() -> Reader:
        reader = await visit(browser[1], web.address)
        await reader.start_default()
        await reader.set_options(**GREEDY)
        return reader

    reader = browser[0].run(come())
    yield reader
    browser[0].run(reader.context.close())


def question(golden) -> str:
    return golden.messages[-1]["content"]


# The first visit


async def test_it_is_drawn_before_any_webassembly_is_fetched(browser, web):
    reader = await visit(browser[1], web.address)
    async with reader.context.expect_event("request", lambda request: request.url.endswith(".wasm")) as expected:
        pass
    request = await expected.value
    await request.response()
    painted = await reader.page.evaluate(
        "performance.timeOrigin + performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    assert painted < request.timing["startTime"]
    await reader.context.close()


async def test_it_tells_what_this_browser_can_run(browser, reader):
    await reader.button(re.compile("^Model: ")).click()
    await reader.see("Ready: ")
    await reader.page.get_by_text("Details").click()
    await reader.see("Largest buffer")
    await reader.button("Back to the chat").click()


async def test_an_answer_is_the_models(browser, reader):
    await reader.button("New chat").click()
    assert await reader.say(question(CHAT)) == CHAT.text
    tokens = len(CHAT.ids) - 1
    assert re.fullmatch(rf"{tokens} tokens · [\d.,]+ tokens/s · first after [\d.,]+ s", await reader.stats())


async def test_the_model_knows_what_was_said_before(browser, reader):
    await reader.button("New chat").click()
    told, _, _ = (message["content"] for message in MEMORY.messages)
    await reader.say(told)
    assert await reader.say(question(MEMORY)) == MEMORY.text


async def test_the_model_is_told_the_system_prompt(browser, reader):
    await reader.button("New chat").click()
    await reader.set_options(system=SYSTEM.messages[0]["content"], **GREEDY)
    assert await reader.say(question(SYSTEM)) == SYSTEM.text
    await reader.set_options(**GREEDY)


async def test_an_answer_ends_at_the_limit_that_is_set(browser, reader):
    await reader.button("New chat").click()
    await reader.set_options(max_tokens="3", **GREEDY)
    answer = await reader.say(question(TALE))
    assert TALE.text.startswith(answer)
    assert (await reader.stats()).startswith("3 tokens ")
    await reader.set_options(**GREEDY)


async def test_settings_stay_within_their_bounds(browser, reader):
    await reader.set_options(temperature="7", top_p="0.333", top_k="-1", seed="1.5")
    await reader.button("Settings").click()
    fields = {name: await reader.page.locator(f"#option-{name}").input_value() for name in ("temperature", "top_p")}
    fields |= {name: await reader.page.locator(f"#option-{name}").input_value() for name in ("top_k", "seed")}
    await reader.button("Done").click()
    assert fields == {"temperature": "2", "top_p": "0.35", "top_k": "0", "seed": "2"}
    await reader.set_options(**GREEDY)


# What the engine has computed, when the worker is told to stop and at any time.
ROWS = """() => {
  const python = "[*__import__('shaderlm.web.worker').web.worker.desk.models.values()][-1]._core.engine.rows_computed";
  globalThis.rowsComputed = () => shaderlm.pyodide.runPython(python);
  addEventListener("message", ({ data }) => data.call === "cancel" && (globalThis.rowsAtStop = rowsComputed()));
}"""


async def test_an_answer_can_be_stopped_within_two_steps(browser, reader):
    await reader.button("New chat").click()
    [worker] = reader.page.workers
    await worker.evaluate(ROWS)
    await reader.page.evaluate("""() => {
      const watch = new MutationObserver(() => {
        if (document.querySelector(".answer > .text")?.textContent) {
          watch.disconnect();
          document.getElementById("stop").click();
        }
      });
      watch.observe(document.getElementById("messages"), { subtree: true, childList: true, characterData: true });
    }""")
    answer = await reader.say(question(TALE))
    assert TALE.text.startswith(answer)
    assert len(answer) < len(TALE.text) / 2
    assert (await reader.stats()).endswith(" · stopped")
    assert await worker.evaluate("rowsComputed() - rowsAtStop") <= 2


async def test_a_new_chat_forgets_an_answer_that_is_still_coming(browser, reader):
    await reader.prompt.fill(question(TALE))
    await reader.prompt.press("Enter")
    await reader.button("New chat").click()
    assert await reader.answers.count() == 0
    assert await reader.say(question(CHAT)) == CHAT.text


async def test_an_answer_can_be_generated_anew(browser, reader):
    await reader.button("New chat").click()
    await reader.set_options(max_tokens="2", **GREEDY)
    await reader.say(question(COUNTING))
    await reader.set_options(**GREEDY)
    await reader.button("Regenerate").click()
    assert await reader.answer() == COUNTING.text
    assert await reader.answers.count() == 1


async def test_all_works_by_keyboard(browser, reader):
    await reader.button("New chat").focus()
    await reader.page.keyboard.press("Enter")
    await reader.page.keyboard.type(question(CHAT))  # the message has the focus
    await reader.page.keyboard.press("Shift+Enter")
    await reader.page.keyboard.press("Backspace")
    await reader.page.keyboard.press("Enter")
    assert await reader.answer() == CHAT.text
    await reader.page.keyboard.press("Shift+Tab")
    assert await reader.page.evaluate("document.activeElement.textContent") == "Regenerate"


async def test_screen_readers_hear_whole_sentences(browser, reader):
    await reader.button("New chat").click()
    await reader.page.evaluate("document.getElementById('spoken').replaceChildren()")
    await reader.say(question(TALE))
    heard = await reader.page.locator("#spoken p").all_inner_texts()
    assert " ".join(heard) == TALE.text
    assert heard[1] == "Pip lived in a red house by the river."


async def test_frames_stay_short_while_answers_come(browser, reader):
    await reader.button("New chat").click()
    frames = await frames_of_answers(reader, question(TALE), 4)
    print(frames)
    assert frames.p95 < 250, frames  # here others compute as well; test_bench.py holds what was measured alone to 50
    assert max(frames.long_tasks, default=0) < 500, frames


# One conversation of ten messages after another, each begun by a new chat.
CONVERSATIONS = """async (count) => {
  const [prompt, send, stop, anew] = ["prompt", "send", "stop", "new-chat"].map((id) => document.getElementById(id));
  for (let number = 0; number < count; number += 1) {
    if (number % 10 === 0) anew.click();
    prompt.value = `This is number ${number % 10}`;
    send.click();
    while (!stop.hidden) await new Promise(requestAnimationFrame);
  }
  return document.querySelectorAll(".stats").length;
}"""


async def test_two_hundred_messages_leave_nothing_on_the_gpu(browser, reader):
    await reader.set_options(max_tokens="3", **GREEDY)
    [worker] = reader.page.workers
    assert await reader.page.evaluate(CONVERSATIONS, 10) == 10
    tenth = await worker.evaluate("shaderlm.gpu.liveObjects()")
    assert await reader.page.evaluate(CONVERSATIONS, 190) == 10
    assert await worker.evaluate("shaderlm.gpu.liveObjects()") == tenth
    await reader.set_options(**GREEDY)


async def test_nothing_is_asked_of_other_origins_and_nothing_complains(browser, reader):
    assert any(url.endswith(f"/models/{TINY.name}") for url in reader.asked)
    assert reader.strangers() == []
    assert reader.complaints == []


@pytest.fixture(scope="module")
def thinker(browser: Running, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The reader, with a model that reasons, dropped as a file that is to be kept. Leaves what it asked for since."""
    marks = {"<think>": TokenType.CONTROL, "</think>": TokenType.CONTROL}
    script = ["<think>", "They", " greet me.", "</think>", "Hello", " there!"]
    file = scripted_model(tmp_path_factory.mktemp("dropped") / f"{LONG}.gguf", script, marks=marks)

    async def drop() -> None:
        await reader.button(re.compile("^Model: ")).click()
        await reader.page.get_by_label("Keep a copy").check()
        reader.asked.clear()
        await drop_files(reader.page, [file])
        await reader.see(f"Loading {LONG}.gguf")
        await reader.prompt.wait_for()

    browser[0].run(drop())
    return reader


async def test_a_dropped_file_is_not_uploaded_and_kept_if_wished(browser, thinker):
    assert thinker.asked == []
    await thinker.button(re.compile("^Model: ")).click()
    await thinker.page.locator("#stored li", has_text=LONG).wait_for()
    await thinker.button("Back to the chat").click()


async def test_reasoning_is_folded_away(browser, thinker):
    await thinker.button("New chat").click()
    assert await thinker.say("Hi") == "Hello there!"
    thoughts = thinker.page.get_by_text("They greet me.")
    assert await thoughts.is_hidden()
    await thinker.page.get_by_text("How it came to this").click()
    assert await thoughts.is_visible()


async def test_nothing_is_wider_than_a_phone_and_the_middle_alone_scrolls(browser, thinker):
    await thinker.page.set_viewport_size({"width": 360, "height": 640})
    sizes = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight, main.scrollWidth]"
    seen = "[innerWidth, innerHeight, main.clientWidth]"
    assert await thinker.page.evaluate(sizes) == await thinker.page.evaluate(seen)
    await thinker.button(re.compile("^Model: ")).click()
    assert await thinker.page.evaluate(sizes) == await thinker.page.evaluate(seen)
    await thinker.button("Back to the chat").click()
    await thinker.page.set_viewport_size({"width": 1280, "height": 720})


async def test_a_kept_model_can_be_deleted(browser, reader):
    await reader.button(re.compile("^Model: ")).click()
    delete = reader.page.get_by_label(re.compile("^Delete tiny.gguf"))
    await delete.click()
    await reader.button("Really delete 681 kB?").click()
    await delete.wait_for(state="detached")
    await reader.see("Download and start (681 kB)")
