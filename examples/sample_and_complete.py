"""From a file of weights: new images, and the rest of images of which only the upper rows are given, each scored.

pixeltui runs export quick --out digits.safetensors
python examples/sample_and_complete.py digits.safetensors --keep-rows 4 --out completed.png
"""

import argparse
import math
from pathlib import Path

import torch

from pixeltui.config import Data
from pixeltui.data import load
from pixeltui.data.grid import grid_png
from pixeltui.train.export import load_exported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="what `pixeltui runs export` wrote")
    parser.add_argument("--data", help="of the images to complete (default: what the model was trained on)")
    parser.add_argument("--keep-rows", type=int, default=4)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--out", type=Path, default=Path("completed.png"))
    args = parser.parse_args()

    model, about = load_exported(args.weights)
    data = load(Data(name=args.data or about["data"]["name"], levels=about["levels"]))
    some = data.test.spread(args.count)
    count = len(some)

    drawn = model.sample(count, labels=some.labels, temperature=args.temperature, seed=0)
    known = torch.zeros(model.image_shape[1:], dtype=torch.bool)
    known[: args.keep_rows] = True
    completed = model.sample(
        count, labels=some.labels, temperature=args.temperature, seed=0, given=some.images, known=known
    )
    assert torch.equal(completed[:, :, known], some.images[:, :, known]), "given pixels come back bit for bit"

    with torch.no_grad():
        for name, images in (("real", some.images), ("completed", completed), ("drawn", drawn)):
            bits = -model.log_prob(images, some.labels).mean() / math.log(2)
            print(f"{name:<10} {float(bits):.3f} bits/dim")
    rows = torch.cat([some.images, some.images * known, completed, drawn])
    names = ("real", "given", "completed", "drawn")
    args.out.write_bytes(grid_png(rows, levels=model.levels, columns=count, row_names=names))
    print(f"images in {args.out}")


if __name__ == "__main__":
    main()
