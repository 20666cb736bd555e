"""Messages, tools and template arguments as people pass them: checked, and copied into plain data.

A template sees the copies alone: text, numbers, true, false, none, lists and mappings, none of which has a method
that does more than look.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidOption

DEPTH_LIMIT = 50  # of lists and mappings in each other
RESERVED = ("messages", "tools", "add_generation_prompt")  # what a template gets anyway

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


def checked_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Copies of `messages`. Raises InvalidOption, which names the message and what is wrong with it."""
    if not _is_list(messages):
        raise InvalidOption(
            f'messages: must be a list like [{{"role": "user", "content": "Hello!"}}], not {type(messages).__name__}.'
        )
    if not messages:
        raise InvalidOption("messages: the list is empty; a chat needs at least one message.")
    return [_checked_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def checked_tools(tools: Sequence[Tool] | None) -> list[dict[str, Any]] | None:
    """Copies of `tools`, None for none. Raises InvalidOption."""
    if tools is None:
        return None
    if not _is_list(tools):
        raise InvalidOption(f"tools: must be a list of function definitions, not {type(tools).__name__}.")
    return [_checked_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)] or None


def checked_arguments(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of what a template gets beside messages and tools. Raises InvalidOption."""
    where = "chat_template_kwargs"
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise InvalidOption(
            f'{where}: must be a mapping like {{"enable_thinking": False}}, not {type(arguments).__name__}.'
        )
    for name in RESERVED:
        if name in arguments:
            raise InvalidOption(f"{where}: {name} is nothing to be set here; the template gets it from the call.")
    copied: dict[str, Any] = _plain(arguments, where)
    return copied


def _checked_message(message: Message, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidOption(f'{where}: must be a mapping with "role" and "content", not {type(message).__name__}.')
    copied: dict[str, Any] = _plain(message, where)
    if not copied.get("tool_calls", True):
        del copied["tool_calls"]  # null or an empty list: some templates take the key itself for a call
    _check_text(copied, "role", where)
    if not copied["role"]:
        raise InvalidOption(f'{where}["role"]: is empty; usual are "system", "user", "assistant" and "tool".')
    for key in ("name", "tool_call_id"):
        if copied.get(key) is not None:
            _check_text(copied, key, where)
    if "tool_calls" in copied:
        _check_calls(copied["tool_calls"], f'{where}["tool_calls"]')
    if "tool_calls" not in copied or copied.get("content") is not None:
        _check_content(copied, where)
    return copied


def _check_content(message: dict[str, Any], where: str) -> None:
    """A text, or a list of parts that are texts."""
    if not isinstance(message.get("content"), list):
        _check_text(message, "content", where, "a str or a list of parts")
        return
    for i, part in enumerate(message["content"]):
        place = f'{where}["content"][{i}]'
        if not isinstance(part, dict):
            raise InvalidOption(f'{place}: must be like {{"type": "text", "text": "Hello!"}}, not {part!r:.40}.')
        if part.get("type") != "text":
            raise InvalidOption(f'{place}: is a part of type {part.get("type")!r:.40}; this model reads "text" alone.')
        _check_text(part, "text", place)


def _check_calls(calls: Any, where: str) -> None:
    """What an assistant called: names with arguments, as text or as a mapping, mostly below "function"."""
    if not isinstance(calls, list):
        raise InvalidOption(f"{where}: must be a list of calls, not {type(calls).__name__}.")
    for i, call in enumerate(calls):
        place = f"{where}[{i}]"
        if not isinstance(call, dict):
            raise InvalidOption(f"{place}: must be a mapping, not {type(call).__name__}.")
        function = _function(call, place)
        if not isinstance(function.get("arguments", ""), (str, dict)):
            kind = type(function["arguments"]).__name__
            raise InvalidOption(f"{place}: its arguments must be a mapping, or JSON as a str, not {kind}.")


def _checked_tool(tool: Tool, where: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise InvalidOption(
            f'{where}: must be a mapping like {{"type": "function", "function": {{"name": ...}}}}, '
            f"not {type(tool).__name__}."
        )
    copied: dict[str, Any] = _plain(tool, where)
    if "function" in copied:
        _function(copied, where)
    return copied


def _function(holder: dict[str, Any], where: str) -> dict[str, Any]:
    """What stands below "function", or the mapping itself where that is the function."""
    function = holder.get("function", holder)
    if not isinstance(function, dict):
        raise InvalidOption(f'{where}["function"]: must be a mapping, not {type(function).__name__}.')
    _check_text(function, "name", f'{where}["function"]' if "function" in holder else where)
    return function


def _check_text(holder: dict[str, Any], key: str, where: str, kinds: str = "a str") -> None:
    if key not in holder:
        raise InvalidOption(f'{where}: has no "{key}".')
    if not isinstance(holder[key], str):
        raise InvalidOption(f'{where}["{key}"]: must be {kinds}, not {type(holder[key]).__name__}.')


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy of `value` out of Python's own simple types."""
    if depth > DEPTH_LIMIT:
        raise InvalidOption(f"{where.split('[')[0]}: its values stand in each other more than {DEPTH_LIMIT} deep.")
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidOption(f"{where}: has the key {key!r:.40}, which is no str.")
        return {str.__str__(key): _plain(part, f'{where}["{key}"]', depth + 1) for key, part in value.items()}
    if _is_list(value):
        return [_plain(part, f"{where}[{i}]", depth + 1) for i, part in enumerate(value)]
    raise InvalidOption(
        f"{where}: is of type {type(value).__name__}; "
        "a template reads text, numbers, booleans, None, lists and mappings."
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
