"""shaderlm as one of the engines of `bench --peers`: commands as engines.py has them, through the public interface.

A kept context is what the prefix cache holds of an earlier prompt, so that its last token alone is computed again.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import shaderlm
from shaderlm import Completion, Model
from shaderlm.core import Core

PAGE = 32  # positions: what is taken up of a prefix may cost one more


class Ours:
    """A loaded model and how it answers."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self.banned: dict[int, float] = {}

    def load(
        self, *, model: str, short: int, kept: list[int], adapter: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """`options` go to `shaderlm.load` as they are."""
        context = short + sum(kept) + 3 * PAGE * (1 + len(kept))
        started = time.perf_counter()
        self.model = shaderlm.load(model, context=context, adapter=adapter, **options)
        seconds = time.perf_counter() - started
        tokenizer = self.model.tokenizer
        self.banned = dict.fromkeys(tokenizer.eos_ids, float("-inf"))
        facts = self.model.adapter
        return {
            "seconds": seconds,
            "context": context,
            "adapter": facts.name,
            "backend": facts.backend,
            "driver": facts.driver,
            "versions": {"shaderlm": version("shaderlm"), "wgpu": version("wgpu")},
        }

    def answer(self, *, tokens: list[int], steps: int, kept: bool) -> dict[str, Any]:
        done = self._complete(tokens, steps + 1, reuse=kept)
        timings, by = done.timings, done.provenance
        return {
            "first_token_seconds": timings.time_to_first_token,
            "decode_seconds": steps / timings.decode_tokens_per_second if steps else 0.0,
            "drawn": done.tokens[0],
            "reused": done.usage.reused_tokens,
            "computed_by": {"arithmetic": by.arithmetic, "kv_dtype": by.kv_dtype, "kernels": asdict(by.kernels)},
        }

    def keep(self, *, tokens: list[int], positions: int, state: str) -> dict[str, Any]:
        """The other engines take `positions` for it, and hand each other the `state`."""
        return {"seconds": self._complete(tokens, 2, reuse=True).timings.time_to_first_token}

    def memory(self) -> dict[str, Any]:
        """The sizes of all buffers that are alive."""

        async def live_bytes(core: Core) -> int:
            return core.gpu.live_objects()["bytes"]

        return {"gpu_bytes": self._loaded().run_on_engine(live_bytes)}

    def _complete(self, tokens: list[int], max_tokens: int, *, reuse: bool) -> Completion:
        """The likeliest tokens, and no end before the last of them."""
        return self._loaded().complete(
            tokens, max_tokens=max_tokens, temperature=0, repeat_penalty=1, logit_bias=self.banned, reuse_prefix=reuse
        )

    def _loaded(self) -> Model:
        if self.model is None:
            raise ValueError("no model was loaded")
        return self.model


def main() -> int:
    engine = Ours()
    actions: dict[str, Callable[..., dict[str, Any]]] = {
        "load": engine.load,
        "answer": engine.answer,
        "keep": engine.keep,
        "memory": engine.memory,
    }
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = actions[command.pop("do")](**command)
        except Exception as error:  # whatever it is, the other side has to be told
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
