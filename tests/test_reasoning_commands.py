"""Reasoning in the commands: dim on a terminal, on no pipe, in the JSON, and never in what is remembered."""

import json
import os
from pathlib import Path

import pytest

from command_line import COMMAND, CommandLine
from scripted_model import GO, TEMPLATE, scripted_model

SCRIPT = ["<think>", "\nI mu", "se.\n", "</think>", "\n\nHel", "lo!"]
NAMED = TEMPLATE + "{# </think> #}"
CHECKED = "{% if enable_thinking is false %}{{ raise_exception('I must think.') }}{% endif %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(scripted_model(tmp_path_factory.mktemp("scripted") / "model.gguf", SCRIPT, template=CHECKED + NAMED))


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_a_pipe_gets_the_answers_alone_and_the_history_too(shaderlm, model, tmp_path):
    saved = tmp_path / "chat.json"
    done = shaderlm.run("chat", "--temperature", "0", model, stdin=f"Hi\nHow are you?\n/save {saved}\n")
    assert (done.code, done.out) == (0, "Hello!\nHello!\n")
    assert "muse" not in done.err
    assert [message["content"] for message in json.loads(saved.read_text())] == [
        "Hi",
        "Hello!",
        "How are you?",
        "Hello!",
    ]


def test_json_has_the_reasoning(shaderlm, model):
    answer = json.loads(shaderlm.run("complete", "--chat", "--json", "--temperature", "0", model, "Hi").out)
    assert (answer["reasoning"], answer["text"]) == ("I muse.", "Hello!")


def test_without_chat_there_is_no_reasoning(shaderlm, model):
    answer = json.loads(shaderlm.run("complete", "--json", "--temperature", "0", model, GO).out)
    assert (answer["reasoning"], answer["text"]) == ("", "".join(SCRIPT))


def test_an_answer_that_ends_within_the_reasoning_is_no_answer(shaderlm, model):
    done = shaderlm.run("complete", "--chat", "--temperature", "0", "--max-tokens", "3", model, "Hi")
    assert (done.code, done.out) == (1, "")
    assert "ended within the reasoning: allow more --max-tokens" in done.err
    done = shaderlm.run(
        "chat", "--temperature", "0", "--max-tokens", "3", model, stdin="Hi\n/set max_tokens none\nHi\n"
    )
    assert (done.code, done.out) == (1, "Hello!\n")
    assert "ended within the reasoning" in done.err


def test_template_arguments_reach_the_template(shaderlm, model):
    told = ("--chat-template-kwargs", '{"enable_thinking": false}', model)
    for command in (("complete", "--chat", *told, "Hi"), ("chat", *told)):
        done = shaderlm.run(*command, stdin="Hi\n")
        assert (done.code, done.out) == (1, "")
        assert "chat template refuses these messages: I must think." in done.err
    talk = 'Hi\n/set chat_template_kwargs {"enable_thinking": false, "note": "a=b"}\nHi\n/set\n'
    done = shaderlm.run("chat", "--temperature", "0", model, stdin=talk + "/set chat_template_kwargs none\nHi\n")
    assert done.out == "Hello!\nHello!\n"
    assert "chat_template_kwargs {'enable_thinking': False, 'note': 'a=b'}" in done.err
    assert done.err.count("I must think.") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("complete", "--chat-template-kwargs", "{}", "m", "p"), "--chat-template-kwargs goes with --chat"),
        (("complete", "--chat", "--chat-template-kwargs", "think", "m", "p"), "'think' is no JSON"),
        (("chat", "--chat-template-kwargs", "[1]", "m"), "chat_template_kwargs: must be a mapping"),
        (("chat", "--chat-template-kwargs", '{"tools": []}', "m"), "tools is nothing to be set here"),
    ],
)
def test_wrong_template_arguments_are_told_before_a_model_is_loaded(shaderlm, arguments, said):
    done = shaderlm.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_terminal_shows_the_reasoning_dim_and_the_answer_on_a_line_of_its_own(model):
    pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")
    from pseudo_terminal import CTRL_D, PseudoTerminal

    with PseudoTerminal([*COMMAND, "chat", "--temperature", "0", model], dict(os.environ)) as chat:
        chat.wait_for(">>> ")
        chat.enter("Hi\n")
        chat.wait_for("I muse.\n\nHello!\n")
        chat.wait_for(">>> ")
        chat.enter("/set max_tokens 3\nHi\n")
        chat.wait_for("I mu")
        chat.wait_for("ended within the reasoning")
        chat.wait_for(">>> ")
        chat.enter(CTRL_D)
        assert chat.wait() == 0
    assert b"\x1b[2mI mu" in chat.raw
    assert b"\x1b[2mHel" not in chat.raw
    assert "think>" not in chat.text


def test_an_answer_in_a_file_leaves_the_reasoning_on_the_terminal(model, tmp_path: Path):
    pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")
    from pseudo_terminal import PseudoTerminal

    out = tmp_path / "answer.txt"
    command = f"exec {' '.join(COMMAND)} complete --chat --temperature 0 {model} Hi > {out}"
    with PseudoTerminal(["sh", "-c", command], dict(os.environ)) as screen:
        screen.wait_for("I muse.")
        assert screen.wait() == 0
    assert out.read_text() == "Hello!\n"
