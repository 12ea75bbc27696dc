"""The process that draws for the console: `python -m pixeltui.session.studio_worker`, wishes in, answers out.

One thread reads wishes, the main thread obeys them: the newest drawing replaces the one in progress between two rows.
"""

import contextlib
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from pixeltui.errors import UserError, printable
from pixeltui.inspection.colors import heat
from pixeltui.session import wishes
from pixeltui.session.studio_models import Models
from pixeltui.session.studio_pictures import rows_of
from pixeltui.session.wishes import (
    AnyWish,
    Draw,
    Find,
    Found,
    Inspect,
    Keep,
    Kept,
    Progress,
    Refused,
    Rows,
    Score,
    Scored,
    Stop,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pixeltui.session.inspecting import Inspector


class Worker:
    """Obeys wishes, and holds what was drawn last."""

    def __init__(self, answers: BinaryIO) -> None:
        self._pipe = answers
        self._todo: queue.Queue[AnyWish | None] = queue.Queue()
        self._models = Models(self._answer)
        self._inspector: Inspector | None = None
        self._drawn: tuple[str, int, Tensor, dict[str, Any], Rows] | None = None
        """run, levels, images, what produced them, and how they were shown"""

    def listen(self, pipe: BinaryIO) -> None:
        """Until the console has gone, and with it this process, whatever it is doing."""
        with contextlib.suppress(Exception):
            while (wish := wishes.read_wish(pipe)) is not None:
                self._todo.put(wish)
        os._exit(0)

    def work(self) -> None:
        while True:
            wish = self._todo.get()
            assert wish is not None
            self._attempt(wish)

    def _attempt(self, wish: AnyWish) -> None:
        try:
            self._obey(wish)
        except UserError as error:
            self._answer(Refused(id=wish.id, message=printable(error)))
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            what = str(error).split("\n")[0][:200] or type(error).__name__
            self._answer(Refused(id=wish.id, message=f"could not be done: {printable(what)}"))

    def _answer(self, answer: wishes.Answer) -> None:
        wishes.send(self._pipe, answer)

    def _obey(self, wish: AnyWish) -> None:
        match wish:
            case Draw():
                self._draw(wish)
            case Find():
                self._find(wish)
            case Score():
                self._score(wish)
            case Inspect():
                self._inspect(wish)
            case Keep():
                self._keep(wish)
            case Stop():
                pass

    def _superseded(self) -> bool:
        """Whether something waits that the drawing in progress must make way for."""
        with self._todo.mutex:
            return any(isinstance(wish, Draw | Stop | Find | Inspect) for wish in self._todo.queue)

    def _score_between_rows(self) -> None:
        """What takes a moment need not wait for the end of the drawing."""
        with self._todo.mutex:
            scores = [wish for wish in self._todo.queue if isinstance(wish, Score)]
            for wish in scores:
                self._todo.queue.remove(wish)
        for wish in scores:
            self._attempt(wish)

    def _draw(self, wish: Draw) -> None:
        loaded = self._models.load(wish.id, wish.model)
        import torch

        from pixeltui.train.draw import completion_plan, draw, make_plan, masked

        options: dict[str, Any] = {
            "label": wish.label or None,
            "temperatures": wish.temperatures,
            "top_p": wish.top_p,
            "guidance": wish.guidance,
            "seed": wish.seed,
        }
        levels = loaded.data["levels"]
        of_completion: dict[str, Any] = {}
        before = torch.zeros(0, *loaded.model.image_shape, dtype=torch.uint8)
        if wish.source:
            image, label = self._models.images(wish.id, wish.model, loaded).find(wish.source)
            known = torch.frombuffer(bytearray(wish.mask), dtype=torch.bool).reshape(image.shape[1:])
            plan = completion_plan(loaded, image[None], [label], known, wish.count or 1, **options)
            before = torch.stack([image, masked(image, known, levels)])
            of_completion = {"completes": wish.source, **wish.kept}
        else:
            plan = make_plan(loaded, count=wish.count, **options)
        settings: dict[str, Any] = {**of_completion, **plan.settings(loaded)}
        began = time.perf_counter()
        for images, row, total in draw(loaded, plan):
            everything = torch.cat([before, images])
            stopped = self._superseded()
            rows = rows_of(wish, loaded, plan, everything, row, row == total or stopped, time.perf_counter() - began)
            self._answer(rows)
            self._score_between_rows()
            if stopped and row < total:
                settings["rows"] = row
                break
        settings["seconds"] = round(time.perf_counter() - began, 3)
        self._drawn = (wish.model.run, levels, everything, settings, rows)

    def _find(self, wish: Find) -> None:
        loaded = self._models.load(wish.id, wish.model)
        from pathlib import Path

        from pixeltui.train.given import read_mask

        images = self._models.images(wish.id, wish.model, loaded)
        image, label = images.find(wish.source)
        channels, height, width = image.shape
        mask = read_mask(Path(wish.mask).expanduser(), height, width).numpy().tobytes() if wish.mask else b""
        self._answer(
            Found(
                id=wish.id,
                source=wish.source,
                shape=(1, channels, height, width),
                levels=loaded.data["levels"],
                pixels=image.numpy().tobytes(),
                name="" if label is None else str(loaded.classes[label]),
                count=images.size_of(wish.source),
                mask=mask,
            )
        )

    def _score(self, wish: Score) -> None:
        loaded = self._models.load(wish.id, wish.model)
        import torch

        model = loaded.model
        device = next(model.parameters()).device
        image = torch.frombuffer(bytearray(wish.pixels), dtype=torch.uint8).reshape(1, *model.image_shape).to(device)
        known = wish.label is not None and model.num_classes
        labels = torch.tensor([wish.label], device=device) if known else None
        bits = (-model.log_prob(image, labels)[0, :, : wish.rows] / math.log(2)).cpu()
        pixels = bits.sum(dim=0).flatten().tolist()
        nothing = [0.0] * (model.image_shape[1] * model.image_shape[2] - len(pixels))
        self._answer(
            Scored(
                id=wish.id,
                bits_per_dim=float(bits.mean()),
                bits=tuple(pixels),
                colors=heat(pixels + nothing, len(bits) * math.log2(loaded.data["levels"])),
            )
        )

    def _inspect(self, wish: Inspect) -> None:
        loaded = self._models.load(wish.id, wish.model)
        images = self._models.images(wish.id, wish.model, loaded)
        from pixeltui.session.inspecting import Inspector, Superseded

        if self._inspector is None or not self._inspector.is_of(loaded, wish.images):
            self._inspector = Inspector(loaded, images.data, wish.images)

        def tell(text: str, share: float) -> None:
            if self._superseded():
                raise Superseded
            self._answer(Progress(id=wish.id, text=text, share=share))

        with contextlib.suppress(Superseded):
            if wish.pane == "files":
                self._answer(Kept(id=wish.id, path=self._inspector.write(wish.model.run, tell)))
            else:
                self._answer(self._inspector.pane(wish.id, wish.pane, tell))

    def _keep(self, wish: Keep) -> None:
        if self._drawn is None:
            raise UserError("there is nothing to keep yet: draw first")
        from pathlib import Path

        from pixeltui.store.rundir import RunDir
        from pixeltui.train.draw import keep

        run, levels, images, settings, rows = self._drawn
        of_rows: dict[str, Any] = {"names": rows.names, "columns": rows.columns, "settings": settings}
        path = keep(RunDir.open(Path(run)), images, levels=levels, **of_rows)
        self._answer(Kept(id=wish.id, path=str(path)))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else writes to stdout must not get between the answers.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(pipe)
    listen: Callable[[BinaryIO], None] = worker.listen
    threading.Thread(target=listen, args=(sys.stdin.buffer,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        worker.work()


if __name__ == "__main__":
    main()
