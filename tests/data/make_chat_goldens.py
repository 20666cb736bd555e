"""Writes chat_goldens.json: what `transformers` makes of chats by the templates in templates/, which are our own.

The templates use what those of well-known models use, one manner each. Needs `pip install -e '.[train]'`.
"""

import copy
import json
from pathlib import Path
from typing import Any

from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent
NOW = (2025, 3, 9, 12, 30)  # year to minute
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class StandingClock(chat_template_utils.datetime):
    """It is always NOW."""

    @classmethod
    def now(cls, tz: Any = None) -> "StandingClock":
        return cls(*NOW)


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather of a <place> & its "sky", as far as one knows it.',
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A city"},
                "unit": {"type": "string", "enum": ["°C", "°F"]},
                "days": {"type": "array", "items": {"type": "integer"}},
                "box": {"type": "object", "properties": {"x": {"type": ["number", "null"]}, "y": {"type": "number"}}},
            },
            "required": ["place"],
        },
        "return": {"type": "string"},
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "The time", "parameters": {"type": "object", "properties": {}}},
}
SYSTEM = {"role": "system", "content": "Be brief.\n\tAnd kind."}
ASKS = {"role": "user", "content": "  What's the weather in Köln, <b>now</b> & later? 🦊\n"}
GOES_ON = {"role": "user", "content": "And tomorrow?"}


def says(content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def calls(arguments: Any, content: str | None = "", name: str = "get_weather", id: str = "call00001") -> dict[str, Any]:
    return says(
        content, tool_calls=[{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]
    )


def result(content: str, name: str = "get_weather", id: str = "call00001") -> dict[str, Any]:
    return {"role": "tool", "name": name, "tool_call_id": id, "content": content}


MIXED = {"place": "Köln", "days": [1, 2], "box": {"y": -1.5, "x": None}, "exact": True}
TWO_CALLS = says(
    None, tool_calls=[calls(MIXED)["tool_calls"][0], calls({}, name="clock", id="call00002")["tool_calls"][0]]
)
CHATS: dict[str, dict[str, Any]] = {
    "question": {"messages": [ASKS]},
    "system": {"messages": [SYSTEM, ASKS]},
    "talk": {"messages": [SYSTEM, ASKS, says("Cold."), GOES_ON]},
    "long talk": {"messages": [ASKS, says("\nCold.\n"), GOES_ON, says("Colder."), GOES_ON]},
    "thoughts in the text": {"messages": [ASKS, says("<think>\nHm.\n</think>\n\nCold."), GOES_ON]},
    "thoughts apart": {"messages": [ASKS, says("Cold.", reasoning_content="\nHm.\n"), GOES_ON]},
    "thoughts of this turn": {"messages": [ASKS, says("<think>Hm.</think>Cold.")]},
    "no thinking": {"messages": [ASKS], "arguments": {"enable_thinking": False}},
    "thinking": {"messages": [SYSTEM, ASKS], "arguments": {"enable_thinking": True}},
    "no thinking, by the system": {"messages": [{"role": "system", "content": "Be brief. /no_think"}, ASKS]},
    "tools": {"messages": [ASKS], "tools": [WEATHER]},
    "tools and system": {"messages": [SYSTEM, ASKS], "tools": [WEATHER, CLOCK]},
    "call": {"messages": [SYSTEM, ASKS, calls(MIXED)], "tools": [WEATHER, CLOCK]},
    "call and result": {"messages": [ASKS, calls(MIXED), result('{"t": 3}')], "tools": [WEATHER]},
    "call, result, answer": {
        "messages": [ASKS, calls({"place": "Köln"}), result("3"), says("3 degrees."), GOES_ON],
        "tools": [WEATHER],
    },
    "call as JSON": {"messages": [ASKS, calls('{"place": "Köln"}', None), result("3")], "tools": [WEATHER]},
    "call with words": {"messages": [ASKS, calls({"place": "Köln"}, "I look."), result("3")], "tools": [WEATHER]},
    "two calls": {
        "messages": [ASKS, TWO_CALLS, result("3"), result("noon", "clock", "call00002")],
        "tools": [WEATHER, CLOCK],
    },
    "a tool of the model's own": {
        "messages": [ASKS, calls({"query": "Köln"}, name="search"), result("...", "search")],
        "arguments": {"builtin_tools": ["search", "interpreter"], "date": "1 Jan 1970"},
    },
    "tools elsewhere": {"messages": [ASKS], "tools": [CLOCK], "arguments": {"tools_in_question": False}},
    "an id that is too long": {"messages": [ASKS, calls({}, id="call_0123456789"), result("3")]},
    "two questions": {"messages": [ASKS, GOES_ON]},
    "an unknown role": {"messages": [{"role": "narrator", "content": "Once upon a time"}]},
    "in parts": {
        "messages": [
            SYSTEM,
            {"role": "user", "content": [{"type": "text", "text": " Hi "}, {"type": "text", "text": "you"}]},
        ]
    },
    "nothing to say": {"messages": [{"role": "user", "content": ""}]},
}


def golden(template: str, chat: dict[str, Any], add_generation_prompt: bool) -> dict[str, str]:
    """The prompt; else, where the template refuses, what it says."""
    try:
        (prompt,), _ = chat_template_utils.render_jinja_template(
            [copy.deepcopy(chat["messages"])],
            tools=chat.get("tools"),
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            **TOKENS,
            **chat.get("arguments", {}),
        )
    except Exception as error:
        return {"refusal": str(error)} if type(error).__name__ == "TemplateError" else {"failure": str(error)}
    return {"prompt": prompt}


def main() -> None:
    chat_template_utils.datetime = StandingClock
    goldens = {
        path.stem: {
            name: [golden(path.read_text(encoding="utf-8"), chat, opened) for opened in (True, False)]
            for name, chat in CHATS.items()
        }
        for path in sorted((HERE / "templates").glob("*.jinja"))
    }
    out = {"now": NOW, "tokens": TOKENS, "chats": CHATS, "goldens": goldens}
    text = json.dumps(out, ensure_ascii=False, indent=1)
    (HERE / "chat_goldens.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
