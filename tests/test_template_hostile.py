"""Templates that mean harm: every one ends in an error or a prompt, soon and in bounded memory, the same everywhere."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from hostile_grammar import templates
from hostile_templates import ATTACKS, STEPS, UNCOMPILED, twice
from shaderlm import template_budget
from shaderlm.chat import ChatTemplate
from shaderlm.errors import TemplateError

SECONDS = 2.0  # of this thread's CPU time
SLOWED = 1 if sys.gettrace() is None else 10  # by a measurement of coverage, which looks at every line
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello! 🦊"}]


def said(source: str, seconds: float = SECONDS) -> str:
    """What the error says; nothing where there is a prompt. Fails where it takes long."""
    start = time.thread_time()
    try:
        ChatTemplate(source, bos_token="<s>", eos_token="</s>").render(MESSAGES)
        message = ""
    except TemplateError as error:
        message = str(error)
    taken = time.thread_time() - start
    assert taken < SLOWED * seconds, f"{taken:.2f} s: {source[:300]}"
    assert len(message) < 700
    return message


def take_fewer_steps(patch: pytest.MonkeyPatch) -> None:
    """A tenth, because a good many attacks take them all."""
    patch.setattr(template_budget, "STEP_LIMIT", template_budget.STEP_LIMIT // 10)


@pytest.mark.parametrize("what", ATTACKS)
def test_an_attack_ends_in_an_error_that_says_what_it_asked_for(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == STEPS:
        take_fewer_steps(monkeypatch)
    for source in ATTACKS[what]:
        assert what in said(source), source[:300]


@pytest.mark.slow
def test_with_all_steps_every_attack_ends_soon() -> None:
    for what, sources in ATTACKS.items():
        for source in sources:
            assert what in said(source, seconds=5.0), source[:300]


@pytest.mark.parametrize("what", UNCOMPILED)
def test_what_would_be_large_or_deep_is_not_compiled(what: str) -> None:
    for source in UNCOMPILED[what]:
        assert what in said(source), source[:300]


def test_attacks_take_little_memory() -> None:
    """In a process of its own, whose memory nobody else has used."""
    pytest.importorskip("resource", reason="POSIX tells what memory a process took")
    code = (
        "import resource, sys; sys.path.insert(0, 'tests')\n"
        "from hostile_templates import ATTACKS, BYTES, VALUE; from test_template_hostile import said\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "[said(source) for what in (BYTES, VALUE) for source in ATTACKS[what]]\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    megabyte = 1 << 20 if sys.platform == "darwin" else 1 << 10  # in the units of getrusage
    assert int(done.stdout) / megabyte < 400


def test_the_outcome_does_not_depend_on_how_fast_the_machine_is() -> None:
    stopped = "The chat template was stopped, because it takes more than 3,000,000 steps"
    assert {said(twice("")) for _ in range(3)} == {f"{stopped}. Write the prompt yourself and use complete()."}


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates())
def test_templates_out_of_hostile_pieces_end_soon(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    with monkeypatch.context() as patch:
        take_fewer_steps(patch)
        said(source)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates())
def test_many_templates_out_of_hostile_pieces_end_soon(source: str) -> None:
    said(source, seconds=5.0)
