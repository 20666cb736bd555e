"""The command line: what stands on stdout and what on stderr, exit codes, and what is said when something is wrong."""

import json
import os
import signal
import subprocess

import pytest

from command_line import COMMAND, MODEL, CommandLine, run_process
from shaderlm import cli
from shaderlm.cli import complete
from shaderlm.hosts.native import adapters
from tiny_model import END_OF_TEXT, END_OF_TURN, Golden, goldens

GOLDENS = goldens()
GREEDY = ("--temperature", "0")
ENDLESS = ("--logit-bias", f"{END_OF_TEXT}=-inf", "--logit-bias", f"{END_OF_TURN}=-inf", "--shift")
CHAT = GOLDENS["chat"]
QUESTION = CHAT.messages[0]["content"]


@pytest.fixture
def shaderlm(capsys, monkeypatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


# complete


def test_an_answer_stands_alone_on_stdout(shaderlm):
    done = shaderlm.run("complete", "--chat", *GREEDY, MODEL, QUESTION)
    assert (done.code, done.out) == (0, CHAT.text + "\n")


def test_the_adapter_the_model_and_the_speed_are_told_on_stderr(shaderlm):
    done = shaderlm.run("complete", "--chat", *GREEDY, MODEL, QUESTION)
    chosen = adapters.choose(adapters.find_adapters()).facts
    lines = done.err.splitlines()
    assert lines[0] == f"adapter: {adapters.describe(chosen)}"
    if chosen.kind == "software":
        assert "software adapter" in lines[1]
    assert any(line.startswith("tiny.gguf: loaded in") and "context 512 tokens" in line for line in lines)
    assert f"{len(CHAT.prompt_ids)} tokens" in lines[-1]
    assert "tokens/s" in lines[-1]
    assert "end: stop" in lines[-1]
    assert "\x1b" not in done.err


@pytest.mark.parametrize("name", ["cut", "facts"])
def test_a_prompt_is_gone_on_from(shaderlm, name):
    golden: Golden = GOLDENS[name]
    options = (*GREEDY, "--max-tokens", str(golden.max_tokens))
    assert shaderlm.run("complete", MODEL, *options, golden.prompt).out == golden.text + "\n"


def test_the_words_of_a_prompt_need_no_quotes_and_options_may_stand_anywhere(shaderlm):
    words = QUESTION.split()
    done = shaderlm.run("complete", MODEL, "--chat", *words[:2], *GREEDY, *words[2:])
    assert done.out == CHAT.text + "\n"
    done = shaderlm.run("complete", "--model", MODEL, "--chat", *GREEDY, "--", *words)
    assert done.out == CHAT.text + "\n"


def test_words_behind_two_dashes_are_no_options(shaderlm):
    plain = shaderlm.run("complete", MODEL, *GREEDY, "--max-tokens", "5", "a --chat b")
    apart = shaderlm.run("complete", MODEL, *GREEDY, "--max-tokens", "5", "--", "a", "--chat", "b")
    assert (plain.code, apart.code, plain.out) == (0, 0, apart.out)


def test_a_prompt_may_come_on_stdin(shaderlm):
    assert shaderlm.run("complete", "--chat", *GREEDY, MODEL, stdin=QUESTION + "\n").out == CHAT.text + "\n"


def test_a_system_message_goes_before_the_question(shaderlm):
    golden = GOLDENS["system"]
    system, user = (message["content"] for message in golden.messages)
    assert shaderlm.run("complete", "--chat", "--system", system, *GREEDY, MODEL, user).out == golden.text + "\n"


def test_json_gives_the_whole_answer(shaderlm):
    done = shaderlm.run("complete", "--chat", "--json", *GREEDY, "--seed", "7", "--logprobs", "2", MODEL, QUESTION)
    answer = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert (answer["text"], answer["tokens"]) == (CHAT.text, CHAT.ids[:-1])
    assert (answer["finish_reason"], answer["seed"]) == ("stop", 7)
    assert answer["usage"] == {
        "prompt_tokens": len(CHAT.prompt_ids),
        "completion_tokens": len(CHAT.ids) - 1,
        "reused_tokens": 0,
    }
    assert answer["timings"]["time_to_first_token"] > 0
    assert [len(entry["top"]) for entry in answer["logprobs"]] == [2] * (len(CHAT.ids) - 1)


def test_every_option_reaches_the_model(shaderlm):
    spec = (
        "--top-k",
        "5",
        "--top-p",
        "0.9",
        "--min-p",
        "0.02",
        "--repeat-penalty",
        "1.1",
        "--frequency-penalty",
        "0.1",
    )
    more = ("--presence-penalty", "0.1", "--repeat-last-n", "32", "--seed", "3", "--kv-dtype", "f32", "--context", "96")
    asked = ("complete", "--chat", "--json", "--max-tokens", "12", "--no-prefix-reuse", *spec, *more, MODEL)
    first, again = (json.loads(shaderlm.run(*asked, "Tell me a story about an owl.").out) for _ in range(2))
    assert first["tokens"] == again["tokens"]
    assert len(first["tokens"]) == 12
    assert first["finish_reason"] == "length"


def test_stop_strings_and_biases_change_the_end(shaderlm):
    assert (
        shaderlm.run("complete", "--chat", *GREEDY, "--stop", " is", MODEL, QUESTION).out == "The capital of France\n"
    )
    banned = f"{CHAT.ids[-2]}=-inf"  # the full stop
    assert not shaderlm.run("complete", "--chat", *GREEDY, "--logit-bias", banned, MODEL, QUESTION).out.endswith(".\n")


def test_no_answer_is_no_success(shaderlm):
    done = shaderlm.run("complete", *GREEDY, "--logit-bias", f"{END_OF_TEXT}=1000", MODEL, "Hello")
    assert (done.code, done.out) == (1, "")
    assert "before the first word" in done.err


def test_a_full_context_shows_what_there_was_and_fails(shaderlm):
    done = shaderlm.run(
        "complete", *GREEDY, *ENDLESS[:-1], "--context", "32", MODEL, "Once there was a fox named Mila."
    )
    assert done.code == 1
    assert GOLDENS["story"].text.startswith(done.out.removesuffix("\n"))
    assert "The context of 32 tokens is full" in done.err


def test_a_shifted_context_goes_on(shaderlm):
    done = shaderlm.run("complete", *GREEDY, *ENDLESS, "--context", "32", "--max-tokens", "60", "--json", MODEL, "Once")
    assert len(json.loads(done.out)["tokens"]) == 60


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal to send")
def test_ctrl_c_ends_with_130_and_without_a_traceback():
    command = [*COMMAND, "complete", *GREEDY, *ENDLESS, MODEL, GOLDENS["story"].prompt]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(20).decode() == GOLDENS["story"].text[:20]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err.decode()


@pytest.mark.skipif(os.name == "nt", reason="a pipe breaks otherwise there")
def test_a_reader_that_goes_away_ends_the_program_quietly():
    command = [*COMMAND, "complete", *GREEDY, *ENDLESS, MODEL, GOLDENS["story"].prompt]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read().decode()
    assert process.returncode == cli.BROKEN_PIPE
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["complet"], "did you mean complete?"),
        (["qqq"], "there are complete, chat"),
        (["complete", "--max-token", "5", "m", "p"], "did you mean --max-tokens"),
        (["complete", "--frobnicate", "m", "p"], "there is no option --frobnicate"),
        (["complete", "--top-k", "many", "m", "p"], "--top-k: invalid int value: 'many'"),
        (["complete", "--top-k", "-1", "m", "p"], "top_k: must be a whole number from 0"),
        (["complete", "--temperature", "nan", "m", "p"], "temperature: must be a number"),
        (["complete", "--max-tokens", "0", "m", "p"], "max_tokens: must be a whole number from 1"),
        (["complete", "--context", "1", "m", "p"], "context: must be at least 2"),
        (["complete", "--kv-dtype", "f8", "m", "p"], "invalid choice: 'f8'"),
        (["complete", "--logit-bias", "4", "m", "p"], "not of the form ID=X"),
        (["complete", "--system", "s", "m", "p"], "--system goes with --chat"),
        (["complete"], "Which model?"),
        (["complete", "m"], "The prompt on stdin is empty"),
        (["chat"], "Which model?"),
        (["chat", "m", "hello"], "a word too many: 'hello'"),
        (["devices", "x"], "a word too many: 'x'"),
    ],
)
def test_bad_usage_is_told_and_ends_with_2(shaderlm, arguments, said):
    done = shaderlm.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err, done.err
    assert "Traceback" not in done.err


def test_a_model_that_is_not_there(shaderlm):
    done = shaderlm.run("complete", "no-such-model", "Hello")
    assert (done.code, done.out) == (1, "")
    assert "There is no model no-such-model" in done.err
    assert "smollm2" in done.err


def test_a_file_that_is_no_model(shaderlm, tmp_path):
    (tmp_path / "notes.gguf").write_text("these are notes\n" * 10)
    done = shaderlm.run("complete", str(tmp_path / "notes.gguf"), "Hello")
    assert (done.code, done.out) == (1, "")
    assert "notes.gguf" in done.err
    assert "Traceback" not in done.err


def test_an_adapter_that_is_not_there(shaderlm):
    done = shaderlm.run("complete", "--adapter", "Voodoo", MODEL, "Hello")
    assert done.code == 1
    assert "No adapter matches 'Voodoo'" in done.err


def test_an_adapter_is_taken_by_a_part_of_its_name_or_by_its_index(shaderlm):
    name = adapters.find_adapters()[0].facts.name
    for wanted in ("0", name[:5].upper()):
        done = shaderlm.run("complete", "--adapter", wanted, "--max-tokens", "1", *GREEDY, MODEL, "One day")
        assert done.code == 0
        assert f"adapter: {name}" in done.err


def test_a_prompt_that_is_too_long(shaderlm):
    done = shaderlm.run("complete", "--context", "8", MODEL, "One day Mila went for a walk. " * 4)
    assert (done.code, done.out) == (1, "")
    assert "tokens, but the context holds 8" in done.err
    assert done.err.endswith("On the command line: --context N.\n")


def test_a_context_beyond_the_model_s_own_is_told(shaderlm):
    done = shaderlm.run("complete", "--context", "600", "--max-tokens", "1", MODEL, "One day")
    assert done.code == 0
    assert "context 600 tokens (the model is made for 512)" in done.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")
def test_a_disk_that_is_full_or_an_output_that_is_closed():
    command = f"{' '.join(COMMAND)} complete --max-tokens 2 {MODEL} Once"
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1] == "shaderlm: No space left on device"
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert closed.returncode == 0


def test_a_prompt_that_is_no_text(shaderlm):
    done = run_process("complete", "--max-tokens", "2", *GREEDY, MODEL, os.fsdecode(b"abc \xff"))
    assert done.code == 0
    assert done.out.strip()


def test_a_defect_is_told_in_a_line_and_shown_to_who_asks(shaderlm, monkeypatch):
    def broken(_: object) -> int:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(complete, "run", broken)
    done = shaderlm.run("complete", MODEL, "Hello")
    assert done.code == 1
    assert "A defect of shaderlm: ZeroDivisionError: of ours" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("SHADERLM_LOG", "debug")
    assert "Traceback" in shaderlm.run("complete", MODEL, "Hello").err


# Help, version, logs


def test_without_a_command_there_is_a_list_of_them(shaderlm):
    done = shaderlm.run()
    assert (done.code, done.out) == (2, "")
    assert all(name in done.err for name in cli.COMMANDS)
    assert shaderlm.run("--help").out == done.err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(shaderlm, name):
    done = shaderlm.run(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: shaderlm {name}")
    assert done.err == ""


def test_the_version_is_told(shaderlm):
    assert shaderlm.run("--version").out.startswith("shaderlm 0.")


def test_logs_as_json_are_objects_a_line(shaderlm, monkeypatch):
    monkeypatch.setenv("SHADERLM_LOG", "json,debug")
    done = shaderlm.run("complete", "--chat", *GREEDY, MODEL, QUESTION)
    logged = {entry["event"]: entry for entry in map(json.loads, filter(is_object, done.err.splitlines()))}
    assert done.out == CHAT.text + "\n"
    assert logged["load"]["file"] == "tiny.gguf"
    assert logged["load"]["context_is"] == "the model's own"
    assert logged["plan"]["level"] == "debug"
    assert logged["answer"]["completion_tokens"] == len(CHAT.ids) - 1


def is_object(line: str) -> bool:
    return line.startswith("{")


def test_logs_as_text_are_lines(shaderlm, monkeypatch):
    monkeypatch.setenv("SHADERLM_LOG", "info")
    done = shaderlm.run("complete", "--chat", *GREEDY, "--context", "64", MODEL, QUESTION)
    assert " info load file=tiny.gguf" in done.err
    assert "context_is=asked for" in done.err
    assert " info answer end=stop" in done.err
    assert " debug " not in done.err


def test_a_wrong_log_setting_is_told(shaderlm, monkeypatch):
    monkeypatch.setenv("SHADERLM_LOG", "loud")
    done = shaderlm.run("devices")
    assert done.code == 1
    assert "SHADERLM_LOG" in done.err
    assert "'loud'" in done.err


def test_python_m_shaderlm_is_the_command_line():
    done = run_process("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("shaderlm ")
