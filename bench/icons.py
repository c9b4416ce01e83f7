"""Icons that find their tags and tags that find their icons: two small towers trained by ``clip-pairs`` on the Lucide icons.

    python -m bench.icons DATA            writes bench/results/icons.json; DATA holds images/lucide_icons

A fifth of the icons is held out by chance (near relatives of a held-out icon may be among the others). A held-out icon's query is
its tags without its name; what it must find is the icon among all held-out ones, and the other way round.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from numpy import load as load_arrays
from PIL import Image

from bench.record import circumstances, write
from dipole.assembly.build import build
from dipole.assembly.spec import load
from dipole.evaluate.kinds.retrieval import Retrieval
from dipole.evaluate.task import RetrievalTask
from dipole.train.run import train


def icons(folder: Path) -> list[dict[str, Any]]:
    """Pictures and words of all icons that have tags."""
    place = folder / "images" / "lucide_icons"
    pictures = load_arrays(place / "icons_48x48_gray.npz")["images"]
    lines = (place / "meta.jsonl").read_text(encoding="utf-8").splitlines()
    found = [{**json.loads(line), "picture": picture} for line, picture in zip(lines, pictures, strict=True)]
    return [icon for icon in found if icon["tags"]]


def laid_out(some: list[dict[str, Any]], folder: Path) -> Path:
    """The icons as PNG files with a table of captions beside them, as a user's data would lie there."""
    (folder / "pictures").mkdir(parents=True)
    with open(folder / "captions.jsonl", "w", encoding="utf-8") as table:
        for icon in some:
            Image.fromarray(icon["picture"]).save(folder / "pictures" / f"{icon['name']}.png")
            captions = [icon["name"].replace("-", " "), ", ".join(icon["tags"]), *icon["tags"]]
            table.write(json.dumps({"image": f"pictures/{icon['name']}.png", "captions": captions}) + "\n")
    return folder / "captions.jsonl"


def measured(encoder: Any, held: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Both directions; metric -> figure and 95% interval."""
    images = [torch.from_numpy(icon["picture"].copy()) for icon in held]
    texts = [", ".join(icon["tags"]) for icon in held]
    ids = [icon["name"] for icon in held]
    same = {name: {name: 1} for name in ids}
    found = {}
    for way, asked, answers in (("tags to icon", texts, images), ("icon to tags", images, texts)):
        result = Retrieval()(RetrievalTask(way, ids, asked, ids, answers, same), encoder.encode)
        found[way] = {
            name: {"value": round(result.metrics[name], 4), "interval": [round(x, 4) for x in result.intervals[name]]}
            for name in ("recall@1", "recall@10", "mrr@10")
        }
    return found


def once(every: list[dict[str, Any]], seed: int, steps: int) -> dict[str, Any]:
    """Split, train, measure before and after."""
    order = random.Random(seed).sample(range(len(every)), len(every))
    held, rest = [every[i] for i in order[: len(every) // 5]], [every[i] for i in order[len(every) // 5 :]]
    with tempfile.TemporaryDirectory() as folder:
        data = laid_out(rest, Path(folder))
        small = ["encoder.image.size=32", "encoder.image.width=16", "encoder.image.channels=1", "rows.grey=true", "rows.size=32"]
        changes = [
            *small,
            "encoder.text.max_tokens=16",
            "step.micro_batch_size=0",
            "step.batch_size=128",
            f"step.max_steps={steps}",
            f"step.seed={seed}",
        ]
        spec = load("clip-pairs", variant="images", changes=changes)
        recipe = build(spec.changed({"rows": {"path": str(data)}}, "data"))
        before = measured(recipe.encoder, held)
        start = time.perf_counter()
        train(recipe, Path(folder) / "run", show=True)
        seconds = round(time.perf_counter() - start, 1)
    return {
        "seed": seed,
        "held out": len(held),
        "trained on": len(rest),
        "seconds": seconds,
        "before": before,
        "after": measured(recipe.encoder, held),
    }


def main() -> None:
    """Run the seeds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    every = icons(arguments.data)
    runs = [once(every, seed, arguments.steps) for seed in range(arguments.seeds)]
    found = {**circumstances("transformers", "sentence-transformers"), "steps": arguments.steps, "runs": runs}
    print(f"written: {write('icons.json', found).name}")


if __name__ == "__main__":
    main()
