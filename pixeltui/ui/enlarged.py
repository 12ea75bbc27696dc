"""One sample in large: what is asked for the bits of its pixels, and its picture as a PNG file."""

import io
from collections.abc import Sequence
from pathlib import Path

from pixeltui.errors import UserError
from pixeltui.session.wishes import Model, Score
from pixeltui.store.files import write_atomic
from pixeltui.store.rundir import RunDir
from pixeltui.ui.sheets import ImageShape, image_levels
from pixeltui.ui.widgets.gallery import Picture

ENLARGED = 8
GAP = 8


def wish_for_bits(run: RunDir, picture: Picture, classes: Sequence[str]) -> Score:
    """Of the rows that are drawn, by the newest weights of a run that trains, by the best of one that is over.

    Raises UserError where nothing can be scored.
    """
    shape = ImageShape.of(run)
    if shape is None:
        raise UserError("the run's meta.json does not say what its images are")
    rows = picture.height if picture.rows_done is None else picture.rows_done
    if not rows:
        raise UserError("no row of it is drawn yet")
    names = ("last", "best") if run.is_locked() else ("best", "last")
    checkpoint = next((name for name in names if (run.checkpoints_dir / f"{name}.safetensors").exists()), None)
    if checkpoint is None:
        raise UserError("there is no checkpoint yet to score it with: w writes one")
    label = list(classes).index(picture.label) if picture.label in classes else None
    pixels = image_levels(picture.rgb, shape)
    return Score(id=0, model=Model(run=str(run.path), checkpoint=checkpoint), pixels=pixels, rows=rows, label=label)


def write_png(path: Path, pictures: Sequence[Picture]) -> None:
    """One picture pixel by pixel; several side by side, in large. Raises OSError."""
    from PIL import Image

    images = [Image.frombytes("RGB", (one.width, one.height), one.rgb) for one in pictures]
    if len(images) > 1:
        size = images[0].width * ENLARGED, images[0].height * ENLARGED
        whole = Image.new("RGB", (len(images) * (size[0] + GAP) - GAP, size[1]), "white")
        for i, image in enumerate(images):
            whole.paste(image.resize(size, Image.Resampling.NEAREST), (i * (size[0] + GAP), 0))
        images = [whole]
    content = io.BytesIO()
    images[0].save(content, "PNG")
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, content.getvalue())
