"""What a terminal shows: prompts, answers, progress, colours; Ctrl-C there stops an answer and not the chat."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("termios", reason="pseudo-terminals are POSIX's")

from command_line import COMMAND, MODEL
from pseudo_terminal import CTRL_C, CTRL_D, PseudoTerminal
from shaderlm.cli import report
from shaderlm.cli import terminal as shown
from tiny_model import END_OF_TEXT, END_OF_TURN, goldens

GOLDENS = goldens()
FIGURES = sorted((Path(__file__).resolve().parent.parent / "bench/results").glob("*.json"))
GREEDY = ("--temperature", "0")
ENDLESS = ("--logit-bias", f"{END_OF_TEXT}=-inf", "--logit-bias", f"{END_OF_TURN}=-inf", "--shift")


class Tty(io.StringIO):
    """A text that takes itself for a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def chatting(*options: str) -> PseudoTerminal:
    return PseudoTerminal([*COMMAND, "chat", *GREEDY, *options, MODEL], dict(os.environ))


def test_ctrl_c_stops_the_answer_and_not_the_program():
    with chatting(*ENDLESS) as chat:
        chat.wait_for(">>> ")
        chat.enter("Tell me a story about an owl.\n")
        chat.wait_for("Once there")
        chat.enter(CTRL_C)
        chat.wait_for("stopped")
        chat.wait_for(">>> ")
        chat.enter("half a thought")
        chat.wait_for("half a thought")
        chat.interrupt_until("Ctrl-D or /quit ends the chat.")
        chat.wait_for(">>> ")
        chat.enter("/set max_tokens 2\n")
        chat.wait_for("max_tokens is 2")
        chat.wait_for(">>> ")
        chat.enter("Who are you?\n")
        chat.wait_for("cut at max_tokens")
        chat.wait_for(">>> ")
        chat.enter(CTRL_D)
        assert chat.wait() == 0
    assert "Traceback" not in chat.text


def test_a_terminal_shows_prompts_answers_and_no_markers():
    with chatting() as chat:
        chat.wait_for(">>> ")
        chat.enter('"""\nWhat is the\n')
        chat.wait_for("... What is the")
        chat.enter('capital of France?\n"""\n')
        answer = chat.wait_for(">>> ")
        chat.enter("/quit\n")
        assert chat.wait() == 0
    assert "Paris." in answer
    assert "<|im_end|>" not in chat.text
    assert b"\x1b[2m" in chat.raw  # notes are dim


def test_an_answer_that_goes_to_a_file_has_no_prompts_in_it(tmp_path):
    out = tmp_path / "answers.txt"
    command = ["sh", "-c", f"exec {' '.join(COMMAND)} chat {' '.join(GREEDY)} {MODEL} > {out}"]
    with PseudoTerminal(command, dict(os.environ)) as chat:
        chat.wait_for(">>> ")
        chat.enter(GOLDENS["chat"].messages[0]["content"] + "\n")
        chat.wait_for(">>> ")
        chat.enter(CTRL_D)
        assert chat.wait() == 0
    assert out.read_text() == GOLDENS["chat"].text + "\n"


def test_names_of_devices_are_bold():
    with PseudoTerminal([*COMMAND, "devices"], dict(os.environ)) as screen:
        assert screen.wait() == 0
    assert b"\x1b[1m0  " in screen.raw
    assert "largest buffer" in screen.text


def test_figures_are_a_table_on_a_terminal(monkeypatch):
    screen = Tty()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for path in FIGURES:
        found = json.loads(path.read_text(encoding="utf-8"))
        report.show(report.conditions(found), report.rows(found))
        for what, figure, spread, _ in report.rows(found):
            assert any(what in line and figure in line and spread in line for line in screen.getvalue().splitlines())
    assert "\u2500" in screen.getvalue()


def test_notes_are_dim_on_a_terminal_and_plain_where_colours_are_not_wanted(monkeypatch):
    for no_color, styled in (("", True), ("1", False)):
        screen = Tty()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", no_color)
        shown.warn("[b]look[/b]")
        assert "[b]look[/b]" in screen.getvalue()
        assert ("\x1b[33m" in screen.getvalue()) == styled


def test_a_bar_shows_what_takes_long_and_leaves_nothing(monkeypatch):
    screen = Tty()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with shown.Bar("loading", "bytes") as bar:
        bar(1, 100)
        assert screen.getvalue() == ""  # half a second has not passed
        monkeypatch.setattr(shown, "SHOW_AFTER", 0.0)
        bar(50, 100)
        assert "loading" in screen.getvalue()
    written = len(screen.getvalue())
    bar(60, 100)  # by the other thread, too late
    assert len(screen.getvalue()) == written


def test_what_is_done_at_once_shows_no_bar(monkeypatch):
    screen = Tty()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(shown, "SHOW_AFTER", 0.0)
    with shown.Bar("loading", "bytes") as bar:
        bar(100, 100)
    assert screen.getvalue() == ""


def test_where_stderr_is_no_terminal_there_is_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(shown, "SHOW_AFTER", 0.0)
    with shown.Bar("loading", "bytes") as bar:
        bar(1, 100)
    assert capsys.readouterr().err == ""


def test_a_model_cannot_steer_the_terminal(monkeypatch, capsys):
    text = "a\x1b[31mb\x07\tc\n\x9b2J"
    shown.write(text)
    assert capsys.readouterr().out == text  # a pipe gets what the model wrote
    screen = Tty()
    monkeypatch.setattr(sys, "stdout", screen)
    shown.write(text)
    assert screen.getvalue() == "a\ufffd[31mb\ufffd\tc\n\ufffd2J"


def test_a_file_cannot_steer_the_terminal_by_its_names(monkeypatch):
    out, err = Tty(), Tty()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    shown.line("a\x1b]0;name\x07")
    shown.fail("b\x9b2J is stored as Q4_0", 1)
    for screen, text in ((out, "a\ufffd]0;name\ufffd"), (err, "b\ufffd2J is stored as Q4_0")):
        assert text in screen.getvalue()
        assert not {"\x07", "\x9b"} & {*screen.getvalue()}


def test_letters_that_the_encoding_lacks_are_replaced(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    shown.write("né 🦊")
    assert raw.getvalue() == "né ?".encode("latin-1")
