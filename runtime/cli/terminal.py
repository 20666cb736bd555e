"""What people see: notes, warnings and progress bars on stderr, answers on stdout. Plain where it is no terminal."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

SHOW_AFTER = 0.5  # seconds: what is done sooner needs no bar
# A model may write any character, and its file hold any name; what would steer a terminal is shown as U+FFFD.
_CONTROLS = {code: 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def note(text: str, *, style: str = "dim") -> None:
    """A line on stderr."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    Console(stderr=True).print(text.translate(_CONTROLS), style=style, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """A line on stderr that is to be seen."""
    note(text, style="yellow")


def fail(message: str, code: int) -> int:
    """Say what went wrong; returns `code`."""
    note(message if message.startswith("shaderlm") else f"shaderlm: {message}", style="red")
    return code


def line(text: str, *, style: str = "none") -> None:
    """A line of an answer on stdout, `style`d where that is a terminal."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console

    Console().print(text.translate(_CONTROLS), style=style, markup=False, highlight=False, soft_wrap=True)


def write(text: str) -> None:
    """A piece of an answer on stdout, at once."""
    out: TextIO = sys.stdout
    text = text.translate(_CONTROLS) if out.isatty() else text
    try:
        out.write(text)
    except UnicodeEncodeError:  # an old terminal's encoding
        out.write(text.encode(out.encoding, "replace").decode(out.encoding))
    out.flush()


def aside(text: str) -> None:
    """A piece of what a model reasons, dim, on stderr at once; nothing where that is no terminal."""
    if not text or not sys.stderr.isatty():
        return
    from rich.console import Console

    console = Console(stderr=True)
    console.print(text.translate(_CONTROLS), style="dim", markup=False, highlight=False, soft_wrap=True, end="")
    console.file.flush()


class Bar:
    """A progress bar on stderr, called with what is done and what there is in all, from any thread.

    It shows where the work takes over half a second and stderr is a terminal, and leaves no trace behind.
    """

    def __init__(self, label: str, unit: Literal["bytes", "tokens"]) -> None:
        self._label = label
        self._unit = unit
        self._first_call: float | None = None
        self._progress: Progress | None = None
        self._closed = not sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self._closed:
            return
        if self._progress is None:
            now = time.perf_counter()
            self._first_call = self._first_call or now
            if done >= total or now - self._first_call < SHOW_AFTER:
                return
            self._progress = self._start(total)
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)
        if self._closed:  # while it was started, which the other thread could not see
            self._progress.stop()

    def close(self) -> None:
        """Wipe the bar away; later calls do nothing."""
        self._closed = True
        if self._progress is not None:
            self._progress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, total: int) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        amount: ProgressColumn = DownloadColumn() if self._unit == "bytes" else MofNCompleteColumn()
        progress = Progress(
            TextColumn(self._label),
            BarColumn(),
            amount,
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        progress.add_task(self._label, total=total)
        progress.start()
        return progress
