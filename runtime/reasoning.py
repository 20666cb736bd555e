"""Reasoning apart from the answer: what a model writes between marks such as <think> and </think> before it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .stops import longest_beginning


@dataclass(frozen=True)
class Marks:
    """The texts that begin and end a model's reasoning, each one token in some models and several in others."""

    begin: str
    end: str


MARKS = (
    Marks("<think>", "</think>"),  # DeepSeek-R1, Qwen 3, SmolLM3, Phi-4-reasoning and most others
    Marks("[THINK]", "[/THINK]"),  # Magistral
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A and R
)


@dataclass(frozen=True)
class Reasoning:
    """How the answer to one prompt reasons."""

    marks: Marks
    opened: bool  # by the prompt itself, so that the answer begins inside
    tokens: Mapping[int, str] = field(default_factory=dict)  # marks that are special tokens, which else have no text


def marks_of(template: str, is_token: Callable[[str], bool]) -> Marks | None:
    """The marks that a chat template writes or looks for, else those that the vocabulary has as tokens."""
    for marks in MARKS:
        if marks.begin in template or marks.end in template:
            return marks
    return next((marks for marks in MARKS if is_token(marks.begin) and is_token(marks.end)), None)


def is_opened(prompt: str, marks: Marks) -> bool:
    """Whether a prompt ends with the mark that begins the reasoning."""
    return prompt.rstrip().endswith(marks.begin)


class ReasoningSplit:
    """Parts streamed text into reasoning and answer; never passes on what may yet be part of a mark.

    Reasoning comes first: a begin mark counts where nothing but white space stands before it, an end mark once. What
    looks like a mark later belongs to the answer. White space next to a mark belongs to neither part.
    """

    def __init__(self, marks: Marks, *, opened: bool) -> None:
        self._marks = marks
        self._held = ""
        self._place: Callable[[], tuple[str, str]] = self._inside if opened else self._before
        self._begun = False  # something of the part that is under way has been passed on

    @property
    def awaited(self) -> str | None:
        """The mark that would count next, None behind the reasoning."""
        return {self._before: self._marks.begin, self._inside: self._marks.end}.get(self._place)

    def push(self, text: str) -> tuple[str, str]:
        """The reasoning and the answer that may be shown now."""
        self._held += text
        return self._place()

    def flush(self) -> str:
        """What was held back of an answer, once it is sure that no more comes.

        What is held back of reasoning is white space, or part of the mark that would have ended it.
        """
        held, self._held = self._held, ""
        return held if self._place == self._before else ""

    def _before(self) -> tuple[str, str]:
        """Nothing but white space has come, and perhaps the beginning of a mark."""
        start, begin = self._held.lstrip(), self._marks.begin
        if start.startswith(begin):
            self._held, self._place = start[len(begin) :], self._inside
            return self._inside()
        if begin.startswith(start):
            return "", ""
        self._place, self._begun = self._after, True
        return self._after()

    def _inside(self) -> tuple[str, str]:
        text = self._held if self._begun else self._held.lstrip()
        end = self._marks.end
        if end in text:
            reasoning, _, self._held = text.partition(end)
            self._place, self._begun = self._after, False
            return reasoning.rstrip(), self._after()[1]
        safe = len(text[: len(text) - longest_beginning(text, (end,))].rstrip())
        self._held = text[safe:]
        self._begun = self._begun or safe > 0
        return text[:safe], ""

    def _after(self) -> tuple[str, str]:
        text, self._held = self._held if self._begun else self._held.lstrip(), ""
        self._begun = self._begun or bool(text)
        return "", text
