"""Messages, tools and template arguments: what is taken, what is refused, and that the message says where."""

import enum
from collections import UserDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from shaderlm.errors import InvalidOption
from shaderlm.messages import DEPTH_LIMIT, checked_arguments, checked_messages, checked_tools

HELLO: dict[str, Any] = {"role": "user", "content": "Hello!"}
CALL: dict[str, Any] = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}


class Role(enum.StrEnum):
    USER = "user"


def assistant(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", **more}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "message",
    [
        {**HELLO, "name": "Ann"},
        {"role": "developer", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "!"}]},
        {"role": "user", "content": []},
        assistant(content=None, tool_calls=[CALL]),
        assistant(tool_calls=[CALL, CALL]),
        assistant(content="I look.", tool_calls=[CALL], reasoning_content="Hm."),
        assistant(content="", tool_calls=[{"name": "look", "arguments": '{"at": "it"}'}]),
        assistant(content="", tool_calls=[{"function": {"name": "look"}}]),
        {"role": "tool", "content": "3", "tool_call_id": "1", "name": None},
    ],
)
def test_messages_of_every_role_are_taken_as_they_are(message: dict[str, Any]) -> None:
    (copied,) = checked_messages([message])
    assert copied == message
    assert copied is not message


def test_calls_of_nothing_are_left_out() -> None:
    """A template that looks for the key would take null for a call."""
    for nothing in (None, []):
        assert checked_messages([assistant(content="Hi", tool_calls=nothing)]) == [assistant(content="Hi")]


def test_all_becomes_plain_data() -> None:
    message = MappingProxyType(
        {"role": Role.USER, "content": UserDict({"a": 1}) and "Hi", "n": np.float64(1.5), "t": (1, True)}
    )
    (copied,) = checked_messages((message,))
    assert copied == {"role": "user", "content": "Hi", "n": 1.5, "t": [1, True]}
    assert [type(value) for value in copied.values()] == [str, str, float, list]
    assert checked_tools([UserDict({"name": "look"})]) == [{"name": "look"}]
    assert type(checked_arguments(UserDict({"flag": enum.IntEnum("N", "a").a}))["flag"]) is int  # type: ignore[attr-defined]


def test_nothing_given_is_nothing() -> None:
    assert checked_tools(None) is None
    assert checked_tools([]) is None, "some templates write an opening for an empty list"
    assert checked_arguments(None) == {}
    assert checked_arguments({"enable_thinking": False}) == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: the list is empty"),
        ("Hello!", r"messages: must be a list .* not str"),
        (HELLO, "messages: must be a list .* not dict"),
        (None, "messages: must be a list .* not NoneType"),
        ([HELLO, "Hi"], r"messages\[1\]: must be a mapping .* not str"),
        ([{"role": "user"}], r'messages\[0\]: has no "content"'),
        ([HELLO, {"content": "x"}], r'messages\[1\]: has no "role"'),
        ([{"role": "user", "content": None}], r'\[0\]\["content"\]: must be a str or a list of parts, not NoneType'),
        ([{"role": "user", "content": 3}], r'messages\[0\]\["content"\]: must be a str or a list of parts, not int'),
        ([{"role": 1, "content": ""}], r'messages\[0\]\["role"\]: must be a str, not int'),
        ([{"role": "", "content": ""}], r'messages\[0\]\["role"\]: is empty; usual are "system", "user"'),
        ([{**HELLO, "name": 3}], r'messages\[0\]\["name"\]: must be a str, not int'),
        ([{"role": "tool", "content": "", "tool_call_id": 3}], r'\[0\]\["tool_call_id"\]: must be a str, not int'),
        ([{"role": "user", "content": ["Hi"]}], r"\[\"content\"\]\[0\]: must be like \{\"type\": .*, not 'Hi'"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {}}]}],
            r"messages\[0\]\[\"content\"\]\[1\]: is a part of type 'image_url'; this model reads \"text\" alone",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], r'messages\[0\]\["content"\]\[0\]: has no "text"'),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], r'\[0\]\["text"\]: must be a str, not int'),
        ([assistant(tool_calls={})], r'messages\[0\]: has no "content"'),
        ([assistant(tool_calls="look")], r'messages\[0\]\["tool_calls"\]: must be a list of calls, not str'),
        ([assistant(tool_calls=["look"])], r'messages\[0\]\["tool_calls"\]\[0\]: must be a mapping, not str'),
        ([assistant(tool_calls=[{"function": "look"}])], r'\[0\]\["function"\]: must be a mapping, not str'),
        ([assistant(tool_calls=[{"function": {}}])], r'\["tool_calls"\]\[0\]\["function"\]: has no "name"'),
        ([assistant(tool_calls=[{"id": "1"}])], r'messages\[0\]\["tool_calls"\]\[0\]: has no "name"'),
        (
            [assistant(tool_calls=[{"name": "look", "arguments": ["it"]}])],
            r'\["tool_calls"\]\[0\]: its arguments must be a mapping, or JSON as a str, not list',
        ),
        ([{**HELLO, 3: 4}], r"messages\[0\]: has the key 3, which is no str"),
        ([{**HELLO, "at": {"x": {1, 2}}}], r'\[0\]\["at"\]\["x"\]: is of type set; a template reads text'),
        ([{**HELLO, "at": nested(DEPTH_LIMIT)}], f"messages: its values stand .* more than {DEPTH_LIMIT} deep"),
        ([{**HELLO, "image": b"PNG"}], r'messages\[0\]\["image"\]: is of type bytes'),
    ],
)  # fmt: skip
def test_messages_of_another_form_are_refused(messages: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        checked_messages(messages)


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (checked_tools, {"name": "look"}, "tools: must be a list of function definitions, not dict"),
        (checked_tools, ["look"], r"tools\[0\]: must be a mapping like .*, not str"),
        (checked_tools, [{}, {"function": 1}], r'tools\[1\]\["function"\]: must be a mapping, not int'),
        (checked_tools, [{"type": "function", "function": {"description": ""}}], r'\[0\]\["function"\]: has no "name"'),
        (checked_tools, [{"name": len}], r'tools\[0\]\["name"\]: is of type builtin_function_or_method'),
        (checked_arguments, [("a", 1)], r'kwargs: must be a mapping like \{"enable_thinking": False\}, not list'),
        (checked_arguments, {"messages": []}, "chat_template_kwargs: messages is nothing to be set here"),
        (checked_arguments, {"add_generation_prompt": False}, "add_generation_prompt is nothing to be set here"),
        (checked_arguments, {"a": {"b": object()}}, r'chat_template_kwargs\["a"\]\["b"\]: is of type object'),
    ],
)  # fmt: skip
def test_tools_and_arguments_of_another_form_are_refused(check: Callable[[Any], Any], given: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        check(given)


def test_what_a_template_sees_is_not_what_the_caller_holds() -> None:
    given: list[Mapping[str, Any]] = [assistant(content=[{"type": "text", "text": "Hi"}], tool_calls=[CALL])]
    (copied,) = checked_messages(given)
    copied["content"][0]["text"] = copied["tool_calls"][0]["function"]["name"] = "changed"
    assert given[0]["content"][0]["text"] == "Hi"
    assert CALL["function"]["name"] == "look"
