"""Chat messages to the prompt that a model was trained on, by the Jinja template that its file brings along."""

import json
import traceback
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from .errors import TemplateError
from .messages import Message, Tool, checked_arguments, checked_messages, checked_tools

LENGTH_LIMIT = 1 << 18  # characters of a template; the longest in use have some twenty thousand
SHOWN = 300  # characters of an error that a template caused
INSTEAD = "Write the prompt yourself and use complete()"
MARK = "Zmark"  # a text that no template has of itself
CALL_ID = "call00001"  # some templates want nine letters and digits


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
        self.source = source
        self._template = _compiled(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] | None = None,
        arguments: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt for `messages`: mappings with "role" and "content", and what else the template knows.

        The result holds the text of special tokens; BOS too, if the template writes it: encode with `parse_special`.
        tools: definitions of functions that the model may call.
        arguments: what else the template reads, such as `enable_thinking`.
        add_generation_prompt: end with the opening of the model's answer.

        Raises InvalidOption for what is of another form, TemplateError where the template refuses it or fails.
        """
        checked = checked_messages(messages)
        variables = checked_arguments(arguments) | {"tools": checked_tools(tools)}
        try:
            read = [self._readable(message) for message in checked]
            return self._output(read, add_generation_prompt=add_generation_prompt, **variables)
        except Exception as error:  # a template's expressions can raise anything
            raise _explained(error) from error

    def _output(self, messages: list[dict[str, Any]], *, part: int = 1, **variables: Any) -> str:
        from .template_sandbox import output

        given = {**self._tokens, "documents": None, "messages": messages, **variables}
        return output(self._template, given, part=part)

    def _readable(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message in the form that this template reads."""
        content = message.get("content")
        if isinstance(content, str) and self._needs_parts:
            message["content"] = [{"type": "text", "text": content}]
        elif isinstance(content, list) and not self._reads_parts:
            message["content"] = "\n".join(part["text"] for part in content)
        for call in message.get("tool_calls", ()):
            function = call.get("function", call)
            if "arguments" in function:
                function["arguments"] = self._readable_arguments(function["arguments"])
        return message

    def _readable_arguments(self, arguments: Any) -> Any:
        """Arguments of a call: some templates write a mapping as JSON, others want the JSON, some read both."""
        if isinstance(arguments, dict):
            wants_json = self._reads_json and not self._reads_mappings
            return json.dumps(arguments, ensure_ascii=False) if wants_json else arguments
        if self._reads_json or not self._reads_mappings:
            return arguments
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError):  # a model wrote it
            return arguments
        return parsed if isinstance(parsed, dict) else arguments

    @cached_property
    def _reads_parts(self) -> bool:
        """Whether the template looks for the parts of a content, and does not print them as Python does."""
        shown = self._tried([{"role": "user", "content": [{"type": "text", "text": MARK}]}])
        return MARK in shown and "'type'" not in shown and '"type"' not in shown

    @cached_property
    def _needs_parts(self) -> bool:
        """Whether the template reads contents as parts alone, as those of some models that see do."""
        return MARK not in self._tried([{"role": "user", "content": MARK}]) and self._reads_parts

    @cached_property
    def _reads_mappings(self) -> bool:
        """Whether the arguments of a call may be a mapping."""
        return self._shows_call({MARK: 1}, MARK)

    @cached_property
    def _reads_json(self) -> bool:
        """Whether the arguments of a call may be JSON, which is then not quoted once more."""
        arguments = f'{{"{MARK}": 1}}'
        return self._shows_call(arguments, arguments)

    def _shows_call(self, arguments: Any, shown: str) -> bool:
        """Whether `shown` stands in the prompt of a chat in which a function was called."""
        call = {"id": CALL_ID, "type": "function", "function": {"name": "look", "arguments": arguments}}
        answer = {"role": "tool", "tool_call_id": CALL_ID, "name": "look", "content": "Seen."}
        chats: list[list[dict[str, Any]]] = [
            [{"role": "user", "content": "Look."}, {"role": "assistant", "content": said, "tool_calls": [call]}, answer]
            for said in ("", None)  # some want an empty content, some none
        ]
        parameters = {"type": "object", "properties": {MARK: {"type": "integer", "description": "Where."}}}
        tool = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": parameters}}
        return any(shown in self._tried(chat, tools=[tool]).rpartition("Look.")[2] for chat in chats)

    def _tried(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
        """What the template makes of `messages`; nothing where it fails."""
        from .template_budget import PROBE

        try:
            return self._output(messages, add_generation_prompt=False, tools=tools, part=PROBE)
        except Exception:
            return ""


def _compiled(source: str) -> Any:
    from jinja2 import TemplateSyntaxError

    from .template_sandbox import SandboxedTemplates

    try:
        return SandboxedTemplates().compile_template(source)
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"Line {error.lineno} of the chat template does not compile: {_shortened(error.message)}. {INSTEAD}."
        ) from error
    except (RecursionError, MemoryError, SyntaxError) as error:  # Python's own limits on what jinja2 makes of it
        raise TemplateError(f"The chat template is nested too deep to compile. {INSTEAD}.") from error
    except Exception as error:  # jinja2 lets errors of Python through: a number of too many digits, half a character
        raise TemplateError(f"The chat template does not compile: {_shortened(error)}. {INSTEAD}.") from error


def _explained(error: Exception) -> TemplateError:
    from .template_budget import BudgetExceeded
    from .template_sandbox import Refusal

    if isinstance(error, Refusal):
        return TemplateError(f"The model's chat template refuses these messages: {_shortened(error)}")
    if isinstance(error, BudgetExceeded):
        return TemplateError(f"The chat template was stopped, because {error}. {INSTEAD}.")
    reason = f"{type(error).__name__}: {_shortened(error).rstrip('.')}"
    return TemplateError(f"The chat template fails{_line(error)} on these messages: {reason}. {INSTEAD}.")


def _line(error: Exception) -> str:
    """Where in the template; jinja2 gives the frames of a template its own line numbers."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f" at line {lines[-1]}" if lines else ""


def _shortened(what: object) -> str:
    said = str(what)
    return said if len(said) <= SHOWN else said[:SHOWN] + "..."
