"""`shaderlm chat` through a pipe, and its commands. tests/test_terminal.py has it on a terminal."""

import json

import pytest

from command_line import MODEL, CommandLine, run_process
from shaderlm.cli.arguments import UsageError
from shaderlm.cli.conversation import Conversation, command
from shaderlm.cli.writing import write_json
from tiny_model import goldens

GOLDENS = goldens()
GREEDY = ("--temperature", "0")


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


# Through a pipe


def test_each_line_is_a_message_and_stdout_holds_the_answers_alone(shaderlm):
    lines = [GOLDENS[name].messages[0]["content"] for name in ("chat", "counting", "emoji")]
    talk = "".join(f"{line}\n/clear\n" for line in lines)
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=talk)
    assert done.code == 0
    assert done.out.splitlines() == [GOLDENS[name].text for name in ("chat", "counting", "emoji")]
    assert done.err.count("All messages are forgotten.") == 3


def test_what_was_said_is_remembered(shaderlm):
    golden = GOLDENS["memory"]
    first, answer, second = (message["content"] for message in golden.messages)
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=f"{first}\n\n{second}\n")
    assert done.out.splitlines() == [answer, golden.text]


def test_no_marker_of_a_turn_is_shown(shaderlm):
    done = shaderlm.run("chat", MODEL, "--seed", "5", stdin="Who are you?\nTell me a story about an owl.\n")
    assert done.code == 0
    assert "<|" not in done.out


def test_three_quotes_hold_a_message_of_many_lines(shaderlm, tmp_path):
    saved = tmp_path / "chat.json"
    talk = f'"""\nCount\nto seven.\n"""\n"""Who are\nyou?"""\n"""one line"""\n/save {saved}\n"""\nnever\nclosed'
    shaderlm.run("chat", *GREEDY, "--max-tokens", "4", MODEL, stdin=talk)
    questions = [message["content"] for message in json.loads(saved.read_text()) if message["role"] == "user"]
    assert questions == ["Count\nto seven.", "Who are\nyou?", "one line"]


def test_save_writes_messages_that_chat_takes(shaderlm, tmp_path):
    saved = tmp_path / "chat.json"
    talk = f"/system You are a small and friendly helper.\nWho are you?\n/save {saved}\n/quit\nnever asked\n"
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=talk)
    golden = GOLDENS["system"]
    assert json.loads(saved.read_text()) == [*golden.messages, {"role": "assistant", "content": golden.text}]
    assert [path.name for path in tmp_path.iterdir()] == ["chat.json"]
    assert done.out == golden.text + "\n"


def test_a_file_that_cannot_be_written_ends_nothing(shaderlm, tmp_path):
    talk = f"/save {tmp_path / 'no/such/folder.json'}\n/save\n{GOLDENS['chat'].messages[0]['content']}\n"
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=talk)
    assert done.out == GOLDENS["chat"].text + "\n"
    assert "could not be written: No such file" in done.err
    assert "To which file?" in done.err


def test_set_changes_the_next_answers(shaderlm):
    question = GOLDENS["counting"].messages[0]["content"]
    talk = f"/set max_tokens 3\n{question}\n/clear\n/set max_tokens none\n{question}\n/set\n"
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=talk)
    short, whole = done.out.splitlines()
    assert whole == GOLDENS["counting"].text
    assert whole.startswith(short)
    assert len(short) < len(whole)
    assert "cut at max_tokens" in done.err
    assert "temperature 0.0" in done.err.splitlines()


def test_a_full_context_is_told_with_the_remedy(shaderlm):
    story = "Tell me a story about an owl.\n"
    done = shaderlm.run("chat", *GREEDY, "--context", "64", MODEL, stdin=story + "And then?\n/clear\nWho are you?\n")
    assert done.code == 1
    assert done.err.count("The context of 64 tokens is full. /clear forgets the messages") == 2
    assert "--context up to 512" in done.err
    assert GOLDENS["tale"].text.startswith(done.out.splitlines()[0])
    assert done.out.splitlines()[-1].startswith("I am")


def test_with_shift_a_chat_goes_on_without_its_oldest_turns(shaderlm):
    story = "Tell me a story about an owl.\n"
    talk = story + "Who are you?\nWhat is the capital of France?\n"
    done = shaderlm.run("chat", *GREEDY, "--shift", "--context", "64", "--max-tokens", "30", MODEL, stdin=talk)
    assert done.code == 0
    assert "the oldest question and its answer are forgotten" in done.err
    assert done.out.splitlines()[-1] == GOLDENS["chat"].text


def test_a_refused_message_is_taken_back(shaderlm):
    talk = "word " * 600 + f"\n{GOLDENS['chat'].messages[0]['content']}\n"
    done = shaderlm.run("chat", *GREEDY, MODEL, stdin=talk)
    assert done.code == 1
    assert done.out == GOLDENS["chat"].text + "\n"


def test_input_that_is_no_text_is_read_as_far_as_it_goes():
    done = run_process("chat", *GREEDY, "--max-tokens", "2", MODEL, stdin=b"caf\xe9\n")
    assert done.code == 0
    assert done.out.strip()


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path):
    path = tmp_path / "chat.json"
    write_json(path, ["é"])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text(encoding="utf-8")) == ["é"]
    assert list(tmp_path.iterdir()) == [path]


# The commands


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("/set temperature 0.5", {"temperature": 0.5}),
        ("/set top-k=3", {"top_k": 3}),
        ("/set --min-p 0.1", {"min_p": 0.1}),
        ("/set stop END", {"stop": "END"}),
        ('/set stop ["a", "b"]', {"stop": ["a", "b"]}),
        ("/set reuse_prefix off", {"reuse_prefix": False}),
        ("/set on_context_full shift", {"on_context_full": "shift"}),
    ],
)
def test_set_understands_values_as_people_type_them(line, options):
    conversation = Conversation()
    command(line, conversation)
    assert conversation.options == options
    command(line.replace("=", " ").rsplit(maxsplit=1)[0].split("[")[0] + " none", conversation)
    assert conversation.options == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/set temperature", "Which value shall temperature have?"),
        ("/set temperature hot", "temperature: must be a number"),
        ("/set top_k 1.5", "top_k: must be a whole number"),
        ("/set max_tokens 0", "max_tokens: must be a whole number"),
        ("/set max_tokens true", "max_tokens: must be a whole number"),
        ("/set on_context_full maybe", "on_context_full"),
        ("/set temprature 1", "did you mean temperature?"),
        ("/nonsense", "There is no command /nonsense"),
        ("/save", "To which file?"),
    ],
)
def test_a_wrong_command_changes_nothing(line, said):
    conversation = Conversation("Be short.", [{"role": "user", "content": "Hello"}], {"seed": 1})
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        command(line, conversation)
    assert conversation == Conversation("Be short.", [{"role": "user", "content": "Hello"}], {"seed": 1})


def test_system_sets_shows_and_takes_back():
    conversation = Conversation()
    assert command("/system", conversation) == "No system message is set."
    command("/system  Answer in verse. ", conversation)
    conversation.say("user", "Hello")
    assert conversation.messages[0] == {"role": "system", "content": "Answer in verse."}
    assert command("/system", conversation).endswith("Answer in verse.")
    command("/clear", conversation)
    assert [message["role"] for message in conversation.messages] == ["system"]
    command("/system none", conversation)
    assert conversation.messages == []


def test_help_names_every_command():
    assert all(
        name in command("/help", Conversation()) for name in ("/set", "/system", "/clear", "/save", "/quit", '"""')
    )
    with pytest.raises(EOFError):
        command("/quit", Conversation())
