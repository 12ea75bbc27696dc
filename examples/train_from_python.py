"""A training loop of one's own: any data set, cosine schedule, averaged weights; a PNG of samples at the end.

python examples/train_from_python.py --steps 500 --out digits.png
"""

import argparse
import math
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pixeltui.config import Data, Model
from pixeltui.core import PixelCNNLoss, build_model
from pixeltui.data import load
from pixeltui.data.grid import grid_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a name, a folder of images or a .npz (default: digits)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    args = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = load(Data(name=args.data)).to(device)
    config = Model(channels=args.channels, blocks=args.blocks, head="dmol", dropout=0.2)
    model = build_model(config, data.image_shape, data.levels, data.num_classes).to(device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    criterion = PixelCNNLoss()

    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * (1 + math.cos(math.pi * step / args.steps)) / 2
        batch = torch.randint(len(data.train), (32,), device=device)
        labels = None if data.train.labels is None else data.train.labels[batch]
        loss = criterion(model, data.train.images[batch], labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if step % 50 == 0 or step == args.steps:
            print(f"step {step}  {loss.bits_per_dim.item():.3f} bits/dim")

    best = average.module.eval()
    with torch.no_grad():
        test = criterion(best, data.test.images, data.test.labels)
    print(f"test {test.bits_per_dim.item():.3f} bits/dim, perplexity {test.perplexity.item():.2f}")
    labels = torch.arange(20, device=device) % data.num_classes if data.num_classes else None
    images = best.sample(batch_size=20, labels=labels, temperature=0.9, seed=0)
    names = [] if labels is None else [data.classes[label] for label in labels.tolist()]
    args.out.write_bytes(grid_png(images, levels=data.levels, names=names))
    print(f"samples in {args.out}")


if __name__ == "__main__":
    main()
