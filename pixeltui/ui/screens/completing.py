"""How the sampling screen completes an image: which one, what of it is kept, and when the rest is drawn."""

from typing import TYPE_CHECKING, Final

from textual.timer import Timer

from pixeltui.session.wishes import Find, Found
from pixeltui.ui import completion
from pixeltui.ui.drawings import Easel

if TYPE_CHECKING:
    from pixeltui.ui.screens.sampling import SamplingScreen

REST_SECONDS: Final = 0.4
"""what of an image is kept has to rest for so long before the rest of it is drawn"""


class Completing:
    """Keeps an Easel in step with the fields "image" and "keeps"."""

    def __init__(self, screen: "SamplingScreen") -> None:
        self._screen = screen
        self.easel = Easel()
        self._rest: Timer | None = None

    @property
    def note(self) -> str:
        draft = self._screen.draft
        image, keeps = draft.values["image"], draft.values["keeps"]
        kept = completion.described(keeps, draft.shape.height) if draft.shape else ""
        size = draft.sizes.get(image.partition(":")[0])
        return f"{kept}, {image}{f' of {size}' if size else ''}"

    def find(self) -> None:
        """Asks for the image and, where a file says what is kept, for its mask."""
        screen, draft = self._screen, self._screen.draft
        screen.forget("complete")
        screen.canvas.why_empty = ""
        if draft.run is None or draft.first_problem_of_completing:
            screen.sorry(draft.first_problem_of_completing)
            return
        mask = draft.values["keeps"].strip() if self._drawn_mask() is None else ""
        screen.ask("found", Find(id=0, model=draft.model, source=draft.values["image"].strip(), mask=mask))

    def take(self, found: Found) -> None:
        split, colon, _ = found.source.partition(":")
        if colon and split in completion.SPLITS:
            self._screen.draft.sizes[split] = found.count
        self.easel.original = found
        self._uncover(found.mask)

    def move(self, columns: int, rows: int) -> None:
        """The box or, where rows are kept, the last of them and, to the sides, to other images."""
        draft = self._screen.draft
        if columns and completion.box_of(draft.values["keeps"]) is None:
            self._set("image", draft.stepped("image", columns))
        elif draft.shape is not None and not draft.problem("keeps"):
            size = draft.shape.height, draft.shape.width
            self._set("keeps", completion.moved(draft.values["keeps"], columns, rows, *size))

    def next_split(self) -> None:
        self._set("image", completion.next_split(self._screen.draft.values["image"]))

    def next_kind(self) -> None:
        if (shape := self._screen.draft.shape) is not None:
            self._set("keeps", completion.next_kind(self._screen.draft.values["keeps"], shape.height, shape.width))

    def grow(self, by: int) -> None:
        if (shape := self._screen.draft.shape) is not None:
            self._set("keeps", completion.grown(self._screen.draft.values["keeps"], by, shape.height, shape.width))

    def changed(self, key: str) -> None:
        """A field is another: what is to be completed is shown and, after a rest, completed."""
        screen = self._screen
        if screen.draft.problem(key):
            return
        if self.easel.original is None or key == "image" or (key == "keeps" and self._drawn_mask() is None):
            self.find()
        elif key == "keeps":
            screen.forget("complete")
            self._uncover()

    @property
    def _seen(self) -> bool:
        return self._screen.mode == "complete" and self._screen.heat is None

    def _complete(self) -> None:
        if self._seen:
            self._screen.draw()

    def _set(self, key: str, text: str) -> None:
        draft = self._screen.draft
        if not self._seen:
            self._screen.say("2 completes images of the data")
        elif draft.values[key] != text:
            draft.values[key] = text
            self._screen.form.show()
            self.changed(key)

    def _drawn_mask(self) -> bytes | None:
        """What the field says is kept; None where that takes a file, or cannot be."""
        draft = self._screen.draft
        if draft.shape is None or draft.problem("keeps"):
            return None
        return completion.mask_of(draft.values["keeps"].strip(), draft.shape.height, draft.shape.width)

    def _uncover(self, of_file: bytes = b"") -> None:
        drawn, shape = self._drawn_mask(), self._screen.draft.shape
        edge = completion.outline(drawn, shape.width) if drawn is not None and shape is not None else []
        mask = of_file if drawn is None else drawn
        if not mask:
            return
        self.easel.uncover(mask, edge)
        if self._seen:
            self._screen.show(fit=len(self._screen.gallery.pictures) != 2)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self._screen.set_timer(REST_SECONDS, self._complete)
