"""How smooth the page stays while answers come."""

import math
from dataclasses import dataclass

from reader import Reader

WATCH = """() => {
  const seen = (globalThis.framesSeen = { frames: [], tasks: [] });
  const note = ({ duration }) => seen.tasks.push(duration);
  const observer = new PerformanceObserver((list) => list.getEntries().forEach(note));
  observer.observe({ type: "longtask" });
  let last = performance.now();
  const tick = () => {
    const now = performance.now();
    seen.frames.push(now - last);
    last = now;
    next = requestAnimationFrame(tick);
  };
  let next = requestAnimationFrame(tick);
  seen.end = () => (observer.disconnect(), cancelAnimationFrame(next), { frames: seen.frames, tasks: seen.tasks });
}"""


@dataclass(frozen=True)
class Frames:
    """Milliseconds between frames, the shortest first, and of the page's tasks that took over 50 of them."""

    times: list[float]
    long_tasks: list[float]

    @property
    def p95(self) -> float:
        """That 95 % of the frames did not exceed."""
        return self.times[math.ceil(0.95 * len(self.times)) - 1]

    def __str__(self) -> str:
        frames = f"{len(self.times)} frames, 95 % within {self.p95:.1f} ms, the longest {self.times[-1]:.1f}"
        return f"{frames}; tasks over 50 ms: {[round(task) for task in self.long_tasks]}"


async def frames_of_answers(reader: Reader, text: str, count: int = 1) -> Frames:
    """From the moment in which the reader says something to that in which so many answers to it are whole."""
    await reader.page.evaluate(WATCH)
    await reader.say(text)
    for _ in range(1, count):
        await reader.button("Regenerate").click()
        await reader.answer()
    seen = await reader.page.evaluate("framesSeen.end()")
    return Frames(sorted(seen["frames"]), seen["tasks"])
