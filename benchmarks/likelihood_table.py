"""What likelihood.py measured, as a table in Markdown, best first: python benchmarks/likelihood_table.py LINES ...

Of a variant with several seeds the mean. The difference is to the first variant of the files, over the seeds that both
have; ± is the standard error over the images of one seed, the same images for all.
"""

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

Seeds = dict[int, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    lines = [json.loads(line) for file in parser.parse_args().files for line in file.read_text().splitlines()]
    variants: dict[str, Seeds] = defaultdict(dict)
    for line in lines:
        variants[line["variant"]][line["seed"]] = line
    default = variants[lines[0]["variant"]]
    print("| variant | bits/dim | difference | seeds | raw | parameters | GFLOP an image | images/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, seeds in sorted(variants.items(), key=lambda item: difference(item[1], default)):
        print(row(name, seeds, default))


def row(name: str, seeds: Seeds, default: Seeds) -> str:
    runs = list(seeds.values())
    bits, raw = (mean(run[key] for run in runs) for key in ("bits_per_dim", "raw_bits_per_dim"))
    speed = mean(run["images_seen"] / (run.get("cpu_seconds") or run["seconds"]) for run in runs)
    own = "" if seeds is default else f"{difference(seeds, default):+.3f}"
    parameters, gflop = runs[0]["parameters"], runs[0]["gflop_per_image"]
    error = runs[0]["bits_per_dim_se"]
    numbers = f"{bits:.3f} ± {error:.3f} | {own} | {len(runs)} | {raw:.3f} | {parameters:,} | {gflop:.3f} | {speed:.0f}"
    return f"| {name} | {numbers} |"


def difference(seeds: Seeds, default: Seeds) -> float:
    """Mean over the seeds that both have; infinite where there are none."""
    both = seeds.keys() & default.keys()
    differences = [seeds[seed]["bits_per_dim"] - default[seed]["bits_per_dim"] for seed in both]
    return mean(differences) if differences else math.inf


if __name__ == "__main__":
    main()
