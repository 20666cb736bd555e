"""A chat's messages and options, and the slash commands that change them."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..messages import Message
from ..options import ChatOptions
from .arguments import UsageError, check_options
from .writing import write_json

HELP = """\
/set NAME VALUE   an option of the next answers: /set temperature 0.5; "none" takes it back; /set alone lists them;
                  what else the template reads: /set chat_template_kwargs {"enable_thinking": false}
/system TEXT      the system message; without TEXT, shows it; "none" takes it back
/clear            forget all messages but the system message
/save FILE        write the messages to FILE, as JSON
/help             this list
/quit             end, as Ctrl-D does
\"\"\"               opens and closes a message of many lines; a message that begins with / is typed with //"""

_WORDS: dict[str, Any] = {"on": True, "off": False, "true": True, "false": False, "none": None}


@dataclass
class Conversation:
    """What was said, and how the next answer is drawn."""

    system: str | None = None
    turns: list[Message] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> list[Message]:
        """The turns, behind the system message."""
        return [*([] if self.system is None else [{"role": "system", "content": self.system}]), *self.turns]

    @property
    def answer_options(self) -> ChatOptions:
        """The options as `stream_chat` takes them."""
        return cast(ChatOptions, self.options)

    def say(self, role: str, text: str) -> None:
        """Add a turn."""
        self.turns.append({"role": role, "content": text})

    def drop_oldest_exchange(self) -> bool:
        """Forget the oldest question and its answer; False if only the last question is left."""
        if len(self.turns) < 3:
            return False
        del self.turns[:2]
        return True


def command(line: str, conversation: Conversation) -> str:
    """Carry a slash command out; returns what to tell. Raises UsageError; EOFError for /quit."""
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if name == "/set":
        return _set(rest, conversation)
    if name == "/system":
        return _system(rest, conversation)
    if name == "/clear":
        conversation.turns.clear()
        return "All messages are forgotten."
    if name == "/save":
        return _save(rest, conversation)
    if name == "/help":
        return HELP
    if name in ("/quit", "/exit", "/bye"):
        raise EOFError
    raise UsageError(f"There is no command {name}; /help lists them. A message that begins with / is typed with //.")


def _set(text: str, conversation: Conversation) -> str:
    if not text:
        listed = [f"{name} {value!r}" for name, value in conversation.options.items()]
        return "\n".join(listed) or "Every option has its default; `shaderlm chat --help` tells them."
    name, value = re.split(r"[\s=]+|$", text, maxsplit=1)
    name = name.strip("-").replace("-", "_")
    if not value:
        raise UsageError(f"Which value shall {name} have? For instance: /set temperature 0.5")
    options = conversation.options | {name: _value(value)}
    check_options({name: options[name]} if options[name] is not None else {})
    conversation.options = {key: kept for key, kept in options.items() if kept is not None}
    return f"{name} is {conversation.options.get(name, 'at its default again')}"


def _value(text: str) -> Any:
    """What was typed, as a number, a list or a word."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _system(text: str, conversation: Conversation) -> str:
    if text:
        conversation.system = None if text.lower() == "none" else text
    return f"System message: {conversation.system}" if conversation.system is not None else "No system message is set."


def _save(name: str, conversation: Conversation) -> str:
    if not name:
        raise UsageError("To which file? For instance: /save chat.json")
    path = Path(name).expanduser()
    try:
        write_json(path, conversation.messages)
    except OSError as error:
        raise UsageError(f"{path} could not be written: {error.strerror or error}.") from error
    return f"{len(conversation.messages)} messages are in {path}"
