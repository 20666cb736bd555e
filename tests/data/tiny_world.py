"""The text that the tiny model learns: a small world of stories, facts and chats, written for it.

Sentences come from the lists and templates below; a seeded generator picks. Every run with one seed gives one text.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

Message = dict[str, str]

ANIMALS = ("fox", "bear", "owl", "mouse", "rabbit", "hedgehog", "duck", "cat")
NAMES = ("Pip", "Mila", "Otto", "Nora", "Bruno", "Lily", "Max", "Ida")
COLOURS = ("red", "blue", "green", "yellow", "white", "brown")
PLACES = ("by the river", "in the forest", "on the hill", "near the sea", "under an old oak", "behind the mill")
THINGS = ("key", "lamp", "boat", "kite", "drum", "map", "shell", "bell")
FOODS = ("apples", "cake", "soup", "bread", "honey", "cheese")
MOODS = {"sad": "had lost a friend", "tired": "had walked all day", "cold": "had no coat", "hungry": "had no food"}
WEATHER = ("The sun was shining.", "It was raining.", "Snow was falling.", "The wind was blowing.")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "England": "London",
    "Japan": "Tokyo",
    "Greece": "Athens",
    "Egypt": "Cairo",
    "Norway": "Oslo",
    "Peru": "Lima",
}
COLOUR_OF = {
    "the sky": "blue",
    "grass": "green",
    "snow": "white",
    "blood": "red",
    "the night": "black",
    "a lemon": "yellow",
    "a carrot": "orange",
    "a plum": "purple",
}
LEGS = {"dog": "four", "bird": "two", "spider": "eight", "bee": "six", "snake": "no", "horse": "four"}
SOUNDS = {"dog": "Woof", "cat": "Meow", "cow": "Moo", "duck": "Quack", "owl": "Hoo", "bee": "Buzz"}
OPPOSITES = {"big": "small", "hot": "cold", "up": "down", "day": "night", "old": "new", "slow": "fast", "wet": "dry"}
HELLO = {
    "French": "Bonjour, café! ☕",
    "Spanish": "¡Buenos días, señor!",
    "German": "Schöne Grüße!",
    "Greek": "Γειά σου!",
    "Russian": "Привет!",
    "Japanese": "こんにちは。",
    "Chinese": "你好!",
    "emoji": "👋🙂🌍",
}


T = TypeVar("T")


def documents(seed: int, count: int) -> Iterator[str | list[Message]]:
    """`count` documents: plain text, or the messages of a chat."""
    rng = Random(seed)
    for _ in range(count):
        kind = rng.random()
        if kind < 0.3:
            yield story(rng)
        elif kind < 0.45:
            yield " ".join(_pick(rng, _FACTS)(rng) for _ in range(_pick(rng, (3, 2, 4, 5))))
        else:
            yield chat(rng)


def story(rng: Random, animal: str | None = None) -> str:
    """A hero who finds a thing, meets somebody in need, and helps."""
    animal = animal or _pick(rng, ANIMALS)
    other = _pick(rng, [a for a in ANIMALS if a != animal])
    hero = _pick(rng, NAMES)
    friend = _pick(rng, [n for n in NAMES if n != hero])
    colour, place, thing, food = (_pick(rng, words) for words in (COLOURS, PLACES, THINGS, FOODS))
    mood, reason = _pick(rng, list(MOODS.items()))
    return " ".join(
        (
            f"Once there was {_a(animal)} named {hero}.",
            f"{hero} lived in a {colour} house {place}.",
            f"One day {hero} went for a walk. {_pick(rng, WEATHER)}",
            _pick(
                rng,
                (
                    f'On the road {hero} found a {thing}. "What a nice {thing}!" said {hero}.',
                    f"In the grass lay a {thing}. {hero} took the {thing} home.",
                ),
            ),
            f"Then {hero} met {_a(other)} named {friend}. {friend} was {mood}, because {friend} {reason}.",
            _pick(
                rng,
                (
                    f"{hero} gave {friend} the {thing}, and {friend} smiled.",
                    f'"Come with me," said {hero}. They went to the {colour} house and ate {food}.',
                    f"{hero} and {friend} shared some {food} and sang a song.",
                ),
            ),
            f"From that day on, {hero} the {animal} and {friend} the {other} were friends. The end.",
        )
    )


def chat(rng: Random) -> list[Message]:
    """One to three questions and their answers; sometimes a system message, sometimes a name to remember."""
    messages = [_message("system", "You are a small and friendly helper.")] if rng.random() < 0.2 else []
    if rng.random() < 0.25:
        name = rng.choice(NAMES)
        messages += _turn(rng.choice(("My name is {}.", "Hello, I am {}.")).format(name), f"Nice to meet you, {name}!")
        if rng.random() < 0.5:
            messages += rng.choice(_QUESTIONS)(rng)
        return messages + _turn("What is my name?", f"Your name is {name}.")
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        messages += rng.choice(_QUESTIONS)(rng)
    return messages


# Facts


def _capital_fact(rng: Random) -> str:
    country, city = _pick(rng, list(CAPITALS.items()))
    return _pick(rng, (f"The capital of {country} is {city}.", f"{city} is the capital of {country}."))


def _colour_fact(rng: Random) -> str:
    thing, colour = _pick(rng, list(COLOUR_OF.items()))
    return f"{thing.capitalize()} is {colour}."


def _legs_fact(rng: Random) -> str:
    animal, legs = _pick(rng, list(LEGS.items()))
    return f"{_a(animal).capitalize()} has {legs} legs."


def _opposite_fact(rng: Random) -> str:
    word, opposite = _pick(rng, list(OPPOSITES.items()))
    return f"The opposite of {word} is {opposite}."


def _sum_fact(rng: Random) -> str:
    a, b, total = _sum(rng)
    return _pick(rng, (f"{a.capitalize()} plus {b} is {total}.", f"{_digits(a)} + {_digits(b)} = {_digits(total)}."))


_FACTS = (_capital_fact, _colour_fact, _legs_fact, _opposite_fact, _sum_fact)


# Questions with their answers


def _ask_capital(rng: Random) -> list[Message]:
    country, city = rng.choice(list(CAPITALS.items()))
    question = rng.choice(("What is the capital of {}?", "Which city is the capital of {}?")).format(country)
    return _turn(question, f"The capital of {country} is {city}.")


def _ask_colour(rng: Random) -> list[Message]:
    thing, colour = rng.choice(list(COLOUR_OF.items()))
    return _turn(f"What colour is {thing}?", f"{thing.capitalize()} is {colour}.")


def _ask_legs(rng: Random) -> list[Message]:
    animal, legs = rng.choice(list(LEGS.items()))
    return _turn(f"How many legs has {_a(animal)}?", f"{_a(animal).capitalize()} has {legs} legs.")


def _ask_sound(rng: Random) -> list[Message]:
    animal, sound = rng.choice(list(SOUNDS.items()))
    return _turn(f"What does {_a(animal)} say?", f"{_a(animal).capitalize()} says: {sound}!")


def _ask_opposite(rng: Random) -> list[Message]:
    word, opposite = rng.choice(list(OPPOSITES.items()))
    return _turn(f"What is the opposite of {word}?", f"The opposite of {word} is {opposite}.")


def _ask_sum(rng: Random) -> list[Message]:
    a, b, total = _sum(rng)
    return _turn(f"What is {a} plus {b}?", f"{a.capitalize()} plus {b} is {total}.")


def _ask_count(rng: Random) -> list[Message]:
    last = rng.randint(3, 10)
    answer = ", ".join(NUMBERS[1 : last + 1])
    return _turn(f"Count to {NUMBERS[last]}.", f"{answer.capitalize()}.")


def _ask_hello(rng: Random) -> list[Message]:
    language, hello = rng.choice(list(HELLO.items()))
    return _turn(f"Say hello in {language}.", hello)


def _ask_story(rng: Random) -> list[Message]:
    animal = rng.choice(ANIMALS)
    return _turn(f"Tell me a story about {_a(animal)}.", story(rng, animal))


def _greet(rng: Random) -> list[Message]:
    return _turn(
        *rng.choice(
            (
                ("Hello!", "Hello! How can I help you?"),
                ("How are you?", "I am fine, thank you. How are you?"),
                ("Who are you?", "I am a very small language model."),
                ("Thank you!", "You are welcome."),
                ("Goodbye!", "Goodbye! See you soon."),
            )
        )
    )


_QUESTIONS = (
    _ask_capital,
    _ask_colour,
    _ask_legs,
    _ask_sound,
    _ask_opposite,
    _ask_sum,
    _ask_count,
    _ask_hello,
    _ask_story,
    _greet,
)


def _pick(rng: Random, choices: Sequence[T]) -> T:
    """One of `choices`, each half as likely as the one before it.

    Uneven, so that a trained model's likeliest continuation stands out where a story is free to go on in several ways.
    """
    return rng.choices(choices, [2.0**-n for n in range(len(choices))])[0]


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _sum(rng: Random) -> tuple[str, str, str]:
    total = rng.randint(2, 10)
    a = rng.randint(1, total - 1)
    return NUMBERS[a], NUMBERS[total - a], NUMBERS[total]


def _digits(number: str) -> int:
    return NUMBERS.index(number)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _turn(question: str, answer: str) -> list[Message]:
    return [_message("user", question), _message("assistant", answer)]
