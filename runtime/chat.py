"""Chat messages to the prompt that a model was trained on, by the Jinja template that its file brings along."""

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidOption, TemplateError

LENGTH_LIMIT = 1_000_000  # characters of a template; the longest in use have some twenty thousand
INSTEAD = "Write the prompt yourself and use complete()"

Message = Mapping[str, Any]


class ChatTemplate:
    """A compiled template. Its source is not trusted: see `template_sandbox`."""

    def __init__(self, source: str | None, *, bos_token: str = "", eos_token: str = "") -> None:
        """Raises TemplateError where there is no template, or it does not compile."""
        if not source:
            raise TemplateError(f"The model's file has no chat template. {INSTEAD}.")
        if len(source) > LENGTH_LIMIT:
            raise TemplateError(
                f"The chat template has {len(source):,} characters; at most {LENGTH_LIMIT:,} are read. {INSTEAD}."
            )
        self._template = _compiled(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The prompt for `messages`: mappings with the texts "role" and "content", and what else the template knows.

        The result holds the text of special tokens; BOS too, if the template writes it: encode with `parse_special`.
        add_generation_prompt: end with the opening of the model's answer.

        Raises InvalidOption for messages of another form, TemplateError where the template refuses them or fails.
        """
        from .template_sandbox import output

        variables = {
            "messages": checked_messages(messages),
            "add_generation_prompt": add_generation_prompt,
            "tools": None,
            "documents": None,
            **self._tokens,
        }
        try:
            return output(self._template, variables)
        except Exception as error:  # a template's expressions can raise anything
            raise _explained(error) from error


def checked_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Copies of `messages`. Raises InvalidOption unless they are a list of mappings with the texts role and content."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise InvalidOption(
            f'messages: must be a list like [{{"role": "user", "content": "Hello!"}}], not {type(messages).__name__}.'
        )
    if not messages:
        raise InvalidOption("messages: the list is empty; a chat needs at least one message.")
    return [_checked_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _checked_message(message: Message, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidOption(f'{where}: must be a mapping with "role" and "content", not {type(message).__name__}.')
    for key in ("role", "content"):
        if key not in message:
            raise InvalidOption(f'{where}: has no "{key}".')
        if not isinstance(message[key], str):
            raise InvalidOption(f'{where}["{key}"]: must be a str, not {type(message[key]).__name__}.')
    if not message["role"]:
        raise InvalidOption(f'{where}["role"]: is empty; usual roles are "system", "user" and "assistant".')
    return dict(message)


def _compiled(source: str) -> Any:
    from jinja2 import TemplateSyntaxError

    from .template_sandbox import SandboxedTemplates

    try:
        return SandboxedTemplates().compile_template(source)
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"Line {error.lineno} of the chat template does not compile: {error.message}. {INSTEAD}."
        ) from error
    except (RecursionError, MemoryError, SyntaxError) as error:  # Python's own limits on what jinja2 makes of it
        raise TemplateError(f"The chat template is nested too deep to compile. {INSTEAD}.") from error


def _explained(error: Exception) -> TemplateError:
    from .template_sandbox import BudgetExceeded, Refusal

    if isinstance(error, Refusal):
        return TemplateError(f"The model's chat template refuses these messages: {error}")
    if isinstance(error, BudgetExceeded):
        return TemplateError(f"The chat template was stopped, because {error}. {INSTEAD}.")
    reason = str(error).rstrip(".")
    return TemplateError(
        f"The chat template fails{_line(error)} on these messages: {type(error).__name__}: {reason}. {INSTEAD}."
    )


def _line(error: Exception) -> str:
    """Where in the template; jinja2 gives the frames of a template its own line numbers."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f" at line {lines[-1]}" if lines else ""
