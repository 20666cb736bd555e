"""Answers survive the loss of their device, where somebody can open another: no token is lost, repeated or changed."""

from collections.abc import Iterator
from typing import Any

import pytest

import shaderlm
from shaderlm import Model
from shaderlm.errors import DeviceLost, NoAdapter, OutOfMemory
from shaderlm.host import ByteSource, Gpu
from shaderlm.hosts.native import host as native
from shaderlm.hosts.native.files import FileSource
from tiny_model import NO_END, TINY

PROMPT = "Once upon a time"
OPTIONS: dict[str, Any] = {"max_tokens": 24, "logit_bias": NO_END, "reuse_prefix": False}
GREEDY = {"temperature": 0}
DRAWN = {"temperature": 1.0, "seed": 7, "repeat_penalty": 1.3, "top_k": 0}


class Losses:
    """Devices that are lost at a read: `at[i]` counts the reads of the `i`th device before that; the next ones stay."""

    def __init__(self, model: Model, *at: int) -> None:
        self.left = list(at)
        self.opened = 0
        self.core = model._core
        self._lose(self.core.gpu)
        self.core.reopen = self.reopen

    async def reopen(self) -> tuple[Gpu, ByteSource]:
        self.opened += 1
        gpu = native.open_gpu(native.choose_adapter(None))
        self._lose(gpu)
        return gpu, FileSource(TINY)

    def _lose(self, gpu: Any) -> None:
        if not self.left:
            return
        left, intact = [self.left.pop(0)], gpu.finish_read

        async def finish_read(readback: Any) -> bytes:
            if left[0] == 0:
                raise DeviceLost("The GPU went away.")
            left[0] -= 1
            data: bytes = await intact(readback)
            return data

        gpu.finish_read = finish_read


@pytest.fixture
def model() -> Iterator[Model]:
    with shaderlm.load(TINY, context=128, kv_dtype="f32") as model:
        yield model


@pytest.mark.parametrize("drawing", [GREEDY, DRAWN], ids=["greedy", "drawn, with penalties"])
@pytest.mark.parametrize("at", [0, 1, 2, 9], ids=["in the prompt", "at the first token", "at the second", "later"])
def test_an_answer_goes_on_after_its_device_was_lost(model: Model, drawing: dict[str, Any], at: int) -> None:
    undisturbed = model.complete(PROMPT, **OPTIONS, **drawing)
    losses = Losses(model, at)
    chunks = list(model.stream(PROMPT, **OPTIONS, **drawing))
    answer = chunks[-1].completion
    assert losses.opened == 1
    assert answer is not None
    assert answer.tokens == undisturbed.tokens
    assert "".join(chunk.text for chunk in chunks) == undisturbed.text == answer.text
    assert answer.finish_reason == "length"


def test_losing_one_device_after_the_other_is_survived_as_long_as_tokens_are_drawn(model: Model) -> None:
    undisturbed = model.complete(PROMPT, **OPTIONS, **GREEDY)
    losses = Losses(model, 4, 6, 5)
    assert model.complete(PROMPT, **OPTIONS, **GREEDY).tokens == undisturbed.tokens
    assert losses.opened == 3


def test_a_device_that_is_lost_before_it_draws_anything_ends_the_answer(model: Model) -> None:
    losses = Losses(model, 4, 0)
    with pytest.raises(DeviceLost):
        model.complete(PROMPT, **OPTIONS, **GREEDY)
    assert losses.opened == 1


def test_the_next_answer_has_a_new_device_after_one_was_lost_in_between(model: Model) -> None:
    undisturbed = model.complete(PROMPT, **(OPTIONS | {"reuse_prefix": True}), **GREEDY)
    losses = Losses(model, 0)
    again = model.complete(PROMPT, **(OPTIONS | {"reuse_prefix": True}), **GREEDY)
    assert again.tokens == undisturbed.tokens
    assert losses.opened == 1


class Refusals(Losses):
    """As losses; the first other device is not to be had, or has no room for the model."""

    def __init__(self, model: Model, *, what: str) -> None:
        self.what = what
        self.refused: list[Gpu] = []
        super().__init__(model, 5)

    async def reopen(self) -> tuple[Gpu, ByteSource]:
        gpu, source = await super().reopen()
        if self.opened == 1:
            self.refused.append(gpu)
            if self.what == "no device":
                gpu.close()
                raise NoAdapter("There is no adapter.")
            gpu.create_buffer = self._no_room  # type: ignore[method-assign]
        return gpu, source

    def _no_room(self, *given: Any) -> Any:
        raise OutOfMemory("There is no room.")


@pytest.mark.parametrize(("what", "error"), [("no device", NoAdapter), ("no room", OutOfMemory)])
def test_where_no_other_device_can_be_had_the_next_answer_asks_again(model: Model, what: str, error: type) -> None:
    undisturbed = model.complete(PROMPT, **OPTIONS, **GREEDY)
    refusals = Refusals(model, what=what)
    with pytest.raises(error):
        model.complete(PROMPT, **OPTIONS, **GREEDY)
    assert set(refusals.refused[0].live_objects().values()) <= {0}
    assert model.complete(PROMPT, **OPTIONS, **GREEDY).tokens == undisturbed.tokens
    assert refusals.opened == 2


def test_a_model_whose_device_was_lost_for_good_can_be_closed() -> None:
    with shaderlm.load(TINY, context=128, kv_dtype="f32") as model:
        Refusals(model, what="no device")
        with pytest.raises(NoAdapter):
            model.complete(PROMPT, **OPTIONS, **GREEDY)


def test_nothing_of_the_lost_device_stays(model: Model) -> None:
    model.complete(PROMPT, **OPTIONS, **GREEDY)
    lost, objects = model._core.gpu, model._core.gpu.live_objects()
    Losses(model, 5)
    model.complete(PROMPT, **OPTIONS, **GREEDY)
    assert model._core.gpu is not lost
    assert set(lost.live_objects().values()) <= {0}
    now = model._core.gpu.live_objects()
    assert {name: now[name] for name in ("buffers", "bytes")} == {name: objects[name] for name in ("buffers", "bytes")}


def test_without_another_device_the_loss_is_told(model: Model) -> None:
    Losses(model, 5)
    model._core.reopen = None
    with pytest.raises(DeviceLost):
        model.complete(PROMPT, **OPTIONS, **GREEDY)
