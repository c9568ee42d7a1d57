"""Training behind a button, in a process of its own: the kernel stays free, and stop is at once."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import ipywidgets
from transformers import TrainerCallback

from ..runs import Checkpoint, Setting, StoredRun, from_record
from .controls import row, status


class Progress(TrainerCallback):
    """Reports every step, with its loss, to the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if logs and "loss" in logs:
            self.pipe.send(("step", (state.global_step, logs["loss"])))


def work(pipe: Connection) -> None:
    """What the process does: trains each setting that comes through the pipe."""
    from ..grid import make_live  # loads the training libraries; only this process needs them

    while True:
        try:
            setting, base = pipe.recv()
        except EOFError:  # the kernel is gone
            return
        try:
            made = make_live(setting, callbacks=[Progress(pipe)], base=base)
        except Exception as error:  # to be shown beside the button, whatever it is
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
        else:
            pipe.send(("done", {"setting": setting._asdict(), "origin": {}, **made}))


class Trainer:
    """The process, as the panel sees it. It is kept from one run to the next."""

    def __init__(self) -> None:
        self.process: multiprocessing.process.BaseProcess | None = None
        self.pipe: Connection | None = None

    def warm(self) -> None:
        """Start the process, unless it is there: loading the libraries takes it some seconds."""
        if self.process is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs,), daemon=True)
            with _environment(TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false"):
                self.process.start()
            theirs.close()

    def start(self, setting: NamedTuple, base: Checkpoint | None = None) -> None:
        """Begin a run; what is known of the base need not be found again."""
        self.warm()
        self.pipe.send((setting, base and asdict(base)))

    def events(self) -> list[tuple[str, Any]]:
        """What has happened since the last call: ("step", …), ("done", …) or ("failed", …)."""
        found = []
        try:
            while self.pipe.poll():
                found.append(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join(1)  # until then there is no exit code
            code = self.process.exitcode
            found.append(("failed", f"The training process ended by itself (exit code {code})."))
        return found

    def stop(self) -> None:
        """End the process, and with it the run."""
        if self.process is not None:
            self.process.terminate()
            self.process.join(1)
            if self.process.is_alive():
                self.process.kill()
            self.process = None


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for the length of a `with` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


class LivePanel:
    """A button that trains, a button that stops, a bar, and a line that says how it goes.

    Args:
        choose: the setting to train, from a seed.
        stored: the stored runs of that setting: for the base's scores and the time estimate.
        show: called with the finished run; it may return where the run is to be seen.
    """

    SEEDS = (3, 4, 5, 6, 7, 8, 9)
    mark = "It is the green diamond."  # in the figure, unless `show` tells otherwise

    def __init__(
        self,
        choose: Callable[[int], Setting],
        stored: Callable[[], list[StoredRun]],
        show: Callable[[StoredRun], str | None],
    ) -> None:
        self.choose, self.stored, self.show = choose, stored, show
        self.trainer = Trainer()
        self.pace = 1.0  # how much slower this machine is than the estimate says
        self.running: asyncio.Future | None = None
        wide = ipywidgets.Layout(width="auto")
        self.seed = ipywidgets.Dropdown(
            options=self.SEEDS, value=self.SEEDS[0], description="seed",
            style={"description_width": "3em"}, layout=ipywidgets.Layout(width="8em"),
        )  # fmt: skip
        self.train = ipywidgets.Button(description="Train this one live", layout=wide)
        self.stop = ipywidgets.Button(description="Stop", disabled=True, layout=wide)
        self.bar = ipywidgets.IntProgress(value=0, max=1, layout=ipywidgets.Layout(width="14em"))
        self.status = ipywidgets.HTML()
        self.train.on_click(self.press_train)
        self.stop.on_click(self.press_stop)
        controls = row(self.seed, self.train, self.stop, self.bar)
        self.widget = ipywidgets.VBox([controls, self.status])
        self.tell_estimate()

    def estimate(self) -> float:
        """Seconds the run will take, after those that are stored and those that ran here.

        Measured on two cores: a second thread gains nothing at this size, scoring takes six
        seconds and loading the libraries seven. Whatever else runs only adds to a stored time, so
        the shortest is taken.
        """
        training = min(run.seconds for run in self.stored())
        loading = 0 if self.trainer.process is not None else 7
        return self.pace * (training + 6) + loading

    def tell(self, text: str) -> None:
        self.status.value = status(text)

    def tell_estimate(self) -> None:
        """Say what the button would do, unless it is doing it."""
        if self.running is None:
            seconds = 5 * round(self.estimate() / 5)
            self.tell(f"A seed of your own, beside the stored ones: about {seconds} seconds.")

    def prepare(self) -> None:
        """Load the libraries before the button is pressed, for whoever has begun to choose."""
        with contextlib.suppress(OSError):  # pressing the button will tell
            self.trainer.warm()
        self.tell_estimate()

    def press_train(self, _button: ipywidgets.Button | None = None) -> None:
        """Start a run; while one is under way, nothing happens."""
        if self.running is None:
            self.running = asyncio.ensure_future(self.run())
            self.running.add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Future) -> None:
        # Not in `run`: a task that is cancelled before its first step never gets there.
        self.running = None
        self.train.disabled, self.stop.disabled = False, True

    def press_stop(self, _button: ipywidgets.Button | None = None) -> None:
        """End the run; what is stored stays as it is."""
        if self.running is not None:
            self.trainer.stop()
            self.running.cancel()

    async def run(self) -> None:
        """Train, follow the progress, and show the result."""
        setting = self.choose(self.seed.value)
        name, steps = self.name(setting), self.steps(setting)
        expected, started = self.estimate(), time.perf_counter()
        self.train.disabled, self.stop.disabled = True, False
        self.bar.value, self.bar.max = 0, steps
        self.tell(f"Training {name}: loading the libraries.")
        try:
            self.begin(setting)
            run = await self._follow(name, steps)
            took = time.perf_counter() - started
            self.pace = min(10, max(0.1, self.pace * took / expected))
            where = self.show(run) or self.mark
            self.tell(run.diverged or f"{name[0].upper()}{name[1:]}: done in {took:.0f} s. {where}")
        except asyncio.CancelledError:
            self.tell(f"Stopped. {name[0].upper()}{name[1:]} is not kept. You can train again.")
        except (RuntimeError, OSError) as error:
            self.tell(f"{error} You can train again.")

    # What the panel of another kind of run does in its own way:

    def name(self, setting: Setting) -> str:
        """What a run is called while it trains."""
        return f"rate {setting.lr:g}, rank {setting.rank}, seed {setting.seed}"

    def steps(self, setting: Setting) -> int:
        """How many steps it takes."""
        return setting.steps

    def begin(self, setting: Setting) -> None:
        """Have it trained."""
        self.trainer.start(setting, self.stored()[0].base)

    def read(self, record: dict[str, Any]) -> StoredRun:
        """The finished run from its record."""
        return from_record(record)

    async def _follow(self, name: str, steps: int) -> StoredRun:
        began = first = None  # when the first step was reported, and which it was
        while True:
            await asyncio.sleep(0.1)
            for kind, value in self.trainer.events():
                if kind == "done":
                    return self.read(value)
                if kind == "failed":
                    self.trainer.stop()
                    raise RuntimeError(value)
                step, loss = value
                self.bar.value = step
                told = f"step {step} of {steps}, loss {loss:.2f}" if step < steps else "scoring"
                now = time.perf_counter()
                if began is None:
                    began, first = now, step
                elif first < step < steps:
                    left = (now - began) / (step - first) * (steps - step)
                    told += f", {left:.0f} s to the last step"
                self.tell(f"Training {name}: {told}.")
