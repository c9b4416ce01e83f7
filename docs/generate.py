"""Write what is generated: into the pages the table of commands, the table of recipes, the demo's and the engine's figures,
the worked examples; and ``dipole/losses/__init__.py`` and ``dipole/regularizers/__init__.py``, which name every part of theirs.

python docs/generate.py            writes
python docs/generate.py --check    exit code 1 where something is out of date
"""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import diagnosing
import parts
import scaling
from reading import measured

from dipole.assembly.discover import discover
from dipole.assembly.tags import FACETS
from dipole.cli.main import command_names, summary
from dipole.core.part import schema
from dipole.evaluate.kind import kinds as evaluations
from dipole.serve.guard.key import WRONG_BURST, WRONG_RATE
from dipole.serve.settings import Settings

ROOT = Path(__file__).parents[1]


def commands() -> str:
    """The table of commands, from their docstrings."""
    return "\n".join(["| command | what it does |", "|---|---|", *(f"| `dipole {name}` | {summary(name)} |" for name in command_names())])


def recipes() -> str:
    """The table of recipes, from their files."""
    rows = []
    for path in sorted((ROOT / "src" / "dipole" / "recipes").rglob("*.toml")):
        paper = tomllib.loads(path.read_text(encoding="utf-8"))["paper"]
        rows.append(f"| `{path.stem}` | {path.parent.name} | [{paper['title']}]({paper['url']}) | {paper['status']} |")
    return "\n".join(["| recipe | area | paper | status |", "|---|---|---|---|", *rows])


def tags() -> str:
    """The vocabulary of tags, facet by facet."""
    rows = [f"| {facet} | `{tag}` | {about} |" for facet, tags in FACETS.items() for tag, about in tags.items()]
    return "\n".join(["| facet | tag | said of a recipe whose subject is |", "|---|---|---|", *rows])


def demo() -> str:
    """The demo's figures, as measured."""
    rows = ["| | MRR@10 | recall@1 | recall@10 | gain in MRR@10, 95% interval | wall time |", "|---|---|---|---|---|---|"]
    machine = ""
    for name, title in (("demo", "`dipole demo`"), ("demo_fast", "`dipole demo --fast`")):
        if (found := measured(name)) is not None:
            cells = [f"{found['before'][m]:.3f} → **{found['after'][m]:.3f}**" for m in ("mrr@10", "recall@1", "recall@10")]
            low, high = found["gain"]["mrr@10"]
            rows.append(f"| {title} | {' | '.join(cells)} | +{low:.3f} to +{high:.3f} | {found['wall_seconds']:.0f} s |")
            where = f"{found['machine']['cores']} cores of an {found['machine']['cpu']}"
            machine = f"Measured on {where}, {found['date']}; paired bootstrap over the held-out docstrings."
    return "\n".join([*rows, "", machine])


def example(name: str) -> str:
    """A worked example's file."""
    return f"```python\n{(ROOT / 'examples' / 'engine' / f'{name}.py').read_text(encoding='utf-8')}```"


def icons() -> str:
    """What the two towers learned from the Lucide icons, as measured."""
    if (found := measured("icons")) is None:
        return ""
    run = found["runs"][0]
    rows = [f"| {run['held out']} held-out icons | recall@1 | recall@10 | MRR@10 |", "|---|---|---|---|"]
    for way, after in run["after"].items():
        cells = [f"{run['before'][way][m]['value']:.3f} → **{after[m]['value']:.3f}**" for m in ("recall@1", "recall@10", "mrr@10")]
        rows.append(f"| {way} | {' | '.join(cells)} |")
    chance = f"Chance finds the right one among ten of {run['held out']} in {10 / run['held out']:.3f} of the cases."
    where = f"{found['machine']['threads']} threads of an {found['machine']['cpu']}, {found['date']}, `bench/results/icons.json`"
    said = (
        f"`clip-pairs`, variant `images`, on {run['trained on']} drawings of the Lucide set and their tags, {found['steps']} steps of 128"
    )
    return "\n".join([f"{said}, {run['seconds']:.0f} s on {where}. {chance}", "", *rows])


def engine() -> str:
    """The engine beside dense PyTorch and the peers, as measured."""
    if (found := measured("pairwise_all")) is None:
        return ""
    rows = ["| loss | B | d | engine | x dense | x four bare products | peak memory, engine / dense |", "|---|---|---|---|---|---|---|"]
    for case in found["cases"]:
        memory = case["extra peak bytes"]
        size = f"{memory['engine'] / 2**20:.0f} / {memory['dense'] / 2**20:.0f} MiB"
        times = f"{case['seconds']['engine']:.2f} s | {case['engine / dense']:.2f} | {case['engine / four products']:.2f}"
        rows.append(f"| {case['loss']} | {case['batch']} | {case['dim']} | {times} | {size} |")
    rows += ["", "| peer, same work, B = 4096, d = 384 | peer | engine | peak memory, engine / peer |", "|---|---|---|---|"]
    for peer in found["peers"]:
        if "not run" in peer:
            rows.append(f"| {peer['peer']} | not run: {peer['not run']} | | |")
            continue
        memory = peer["extra peak bytes"]
        size = f"{memory['engine'] / 2**20:.0f} / {memory['peer'] / 2**20:.0f} MiB"
        rows.append(f"| {peer['peer']} | {peer['seconds']['peer']:.2f} s | {peer['seconds']['engine']:.2f} s | {size} |")
    where = f"{found['machine']['threads']} threads of an {found['machine']['cpu']}, torch {found['versions']['torch']}"
    rows += ["", f"Forward and backward, float32, {where}, {found['date']}: interleaved, medians of {found['rounds']} rounds over"]
    return "\n".join([*rows, f"{found['seeds']} seeds. Memory: high-water mark of a fresh process above what it held before the step."])


EXAMPLES = ("infonce", "hardest_negative", "hn_nce")


def engine_short() -> str:
    """The engine's figures in two sentences."""
    if (found := measured("pairwise_all")) is None:
        return ""
    cases = found["cases"]
    dense, bare = ([c[f"engine / {what}"] for c in cases] for what in ("dense", "four products"))
    largest = [c for c in cases if c["batch"] == max(c["batch"] for c in cases)]
    memory = max(c["memory engine / dense"] for c in largest)
    times = f"{min(dense):.2f} to {max(dense):.2f} times what dense PyTorch takes"
    lines = [
        f"On {found['machine']['threads']} CPU cores, over {len(cases)} cases (four losses, batches of 4,096 to {largest[0]['batch']:,}),",
        f"forward and backward take {times}, {min(bare):.2f} to {max(bare):.2f} times the",
        f"four bare matrix products, and at the largest batch at most {memory:.1%} of dense's extra memory ({found['date']},",
        "`bench/results/pairwise_all.json`).",
    ]
    return "\n".join(lines)


def kinds() -> str:
    """The table of kinds of evaluation, from their docstrings and what they declare."""
    rows = ["| kind | what it measures | files | primary metric |", "|---|---|---|---|"]
    for name, kind in evaluations().items():
        rows.append(f"| `{name}` | {_first_line(kind)} | {_cell(kind.files)} | `{kind.primary}` |")
    return "\n".join(rows)


def definitions() -> str:
    """Every kind's metrics, options and policy."""
    blocks = []
    for name, kind in evaluations().items():
        lines = [f"### {name}", "", _first_line(kind), "", "| metric | definition |", "|---|---|"]
        lines += [f"| `{metric}` | {_cell(meant)} |" for metric, meant in kind().definitions().items()]
        options = schema(kind)
        if options:
            lines += ["", "| option | default | rule | |", "|---|---|---|---|"]
            lines += [f"| `{p.name}` | `{p.default!r}` | {p.rule} | {_cell(p.about)} |" for p in options]
        lines += ["", *(f"* {what}: {rule}" for what, rule in kind.policy.items())]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def suite() -> str:
    """The example suite's file."""
    return f"```toml\n{(ROOT / 'examples' / 'evaluate' / 'suite.toml').read_text(encoding='utf-8')}```"


def reference() -> str:
    """The packaged model's figures, beside published ones."""
    if (found := measured("reference_figures")) is None:
        return ""
    rows = ["| task | kind | metric | figure | 95% interval | published |", "|---|---|---|---|---|---|"]
    sources: dict[str, int] = {}
    for name, entry in found["figures"].items():
        for metric in entry.get("published", {entry["primary_metric"]: None}):
            low, high = entry["interval"][metric]
            beside = "none known to us"
            if "published" in entry:
                number = sources.setdefault(entry["source"], len(sources) + 1)
                beside = f"{entry['published'][metric]:.4f} [{number}]{'' if entry['reproduced'] else ' **not reproduced**'}"
            rows.append(f"| {name} | {entry['kind']} | `{metric}` | {entry[metric]:.4f} | {low:.4f} to {high:.4f} | {beside} |")
    rows += ["", *(f"[{number}] {source}.  " for source, number in sources.items())]
    cpu = f"{found['machine']['cpu']}, {found['machine']['threads']} threads"
    return "\n".join([*rows, "", f"{found['command']}, {found['date']}, {cpu}; all metrics: `bench/results/reference_figures.json`."])


def _first_line(kind: type) -> str:
    return _cell((kind.__doc__ or "").partition("\n")[0])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def doctor() -> str:
    """What the doctor costs, as measured."""
    if (found := measured("doctor")) is None:
        return ""
    rows = ["| encoder | small run of | a step | the doctor, by its own clock | difference of wall times |", "|---|---|---|---|---|"]
    for case in found["cases"]:
        step, own, added = case["seconds a step without"], case["own share"], case["added share"]
        rows.append(f"| {case['encoder']} | {case['recipe']} | {step * 1000:.1f} ms | {own:.1%} | {added:+.1%} |")
    where = f"{found['machine']['threads']} threads of an {found['machine']['cpu']}, {found['date']}"
    return "\n".join([*rows, "", f"Readings every {found['every']} steps; {where}. `python -m bench.doctor`"])


def audit() -> str:
    """What an audit costs, as measured."""
    if (found := measured("audit")) is None:
        return ""
    rows = ["| rows | file | time | of it computing | most memory |", "|---|---|---|---|---|"]
    for size in found["sizes"]:
        spent = f"{size['seconds']:.0f} s | {size['cpu seconds']:.0f} s"
        rows.append(f"| {size['rows']:,} | {size['file bytes'] / 2**20:.0f} MiB | {spent} | {size['peak bytes'] / 2**20:.0f} MiB |")
    where = f"one process on an {found['machine']['cpu']}, {found['date']}"
    return "\n".join([*rows, "", f"{found['bytes a row']:.0f} bytes a row beyond the start; {where}. `python -m bench.audit`"])


def language() -> str:
    """How often the language of a sentence is named rightly, as measured."""
    if (found := measured("language")) is None:
        return ""
    rows = ["| Tatoeba's sentences | languages | right | sure | right where sure |", "|---|---|---|---|---|"]
    for name in ("common languages", "all known languages"):
        one = found[name]
        right, sure, both = one["right, mean over languages"], one["sure, mean over languages"], one["right where sure"]
        rows.append(f"| {name} | {one['languages']} | {right:.1%} | {sure:.1%} | {both:.1%} |")
    return "\n".join([*rows, "", f"Sentences of about eight words, lines nobody looked at; {found['date']}. `python -m bench.language`"])


def digest() -> str:
    """What a digest's threshold lets pass, as measured."""
    if (found := measured("digest")) is None:
        return ""
    rows = ["| `share` | false alarms promised | measured | related that pass | documents a mail |", "|---|---|---|---|---|"]
    for row in found["shares"]:
        alarms = f"{row['promised']:.2%} | {row['false alarms']:.2%}"
        rows.append(f"| {row['share']} | {alarms} | {row['recall']:.0%} of {row['related']} | {row['passed a claim']:.1f} |")
    what = f"SciFact: {found['claims']} claims as queries, {found['before']:,} abstracts before, {found['new']:,} new, {found['model']}"
    return "\n".join([*rows, "", f"{what}; {found['date']}. `python -m bench.digest`"])


def serve() -> str:
    """What a server answered under load, as measured."""
    if (found := measured("serve")) is None:
        return ""
    rows = ["| queries | clients | requests a second | p50 | p95 | p99 | failed | memory after |", "|---|---|---|---|---|---|---|---|"]
    for line in found["lines"]:
        times = " | ".join(f"{line[f'p{p} ms']:.0f} ms" for p in (50, 95, 99))
        rows.append(
            f"| {line['queries']} | {line['clients']} | {line['requests/s']:.0f} | {times} | {line['failed']} of {line['requests']:,} "
            f"| {line['MB after']:.0f} MB |"
        )
    what = (
        f"`/search` on {found['documents']:,} documents by MiniLM, {found['seconds']:.0f} s a line; memory before {found['MB before']} MB"
    )
    where = f"clients and server share {found['machine']['cores']} cores of an {found['machine']['cpu']}, {found['date']}"
    text, soak = f"{what}; {where}.", found["soak"]
    more = f"{soak['clients']} clients with {soak['requests']:,} more {soak['queries']} queries"
    half = len(soak["MB"]) // 2
    spans = [
        f"{min(part)} to {max(part)} MB in the {name} half" for part, name in ((soak["MB"][:half], "first"), (soak["MB"][half:], "second"))
    ]
    return "\n".join([*rows, "", f"{text} Then {more}, {' and '.join(spans)}. `python -m bench.serve`"])


def limits() -> str:
    """What a server bounds, from its settings."""
    s = Settings(Path())
    rows = [
        ("requests a second and client", f"{s.rate:g} after a burst of {s.burst} (`--rate`)", "429, `Retry-After`"),
        ("wrong keys a client", f"{WRONG_BURST}, then one in {1 / WRONG_RATE:g} s", "429, `Retry-After`"),
        ("requests at once", f"{s.concurrency}", "503, `Retry-After`"),
        ("connections", f"{s.connections}", "503"),
        ("seconds for an answer", f"{s.request_seconds:g}", "503, `Retry-After`"),
        ("seconds for a request's headers, its body", f"{s.header_seconds:g}, {s.body_seconds:g}", "408"),
        ("bytes of an address, of a body", f"{s.max_url_bytes:,}, {s.max_body_bytes:,}", "414, 413"),
        ("characters of a query or an id", f"{s.max_query_chars:,}", "422"),
        ("`k`, `limit`", f"{s.max_k}, {s.max_page}", "422"),
        ("`/encode`", f"{s.max_texts} texts of {s.max_text_chars:,} characters", "422"),
    ]
    return "\n".join(["| limit | value | beyond it |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"commands": commands, "demo": demo, "engine-short": engine_short},
    "docs/recipes.md": {"recipes": recipes, "tags": tags},
    "docs/evaluate.md": {"kinds": kinds, "suite": suite, "reference": reference, "definitions": definitions},
    "docs/audit.md": {"audit": audit, "language": language},
    "docs/digest.md": {"digest": digest},
    "docs/doctor.md": {"doctor": doctor},
    "docs/serve.md": {"limits": limits, "serve": serve},
    "docs/diagnostics.md": {
        "bounds": diagnosing.bounds,
        "diagnostics": diagnosing.example,
        "summary": diagnosing.summary_table,
        "growth": diagnosing.growth,
        "many": diagnosing.many,
        "definitions": diagnosing.definitions,
    },
    "docs/scale.md": {"million": scaling.million, "kinds": scaling.kinds, "plan": scaling.plan},
    "docs/images.md": {"icons": icons},
    "docs/losses.md": {
        "losses": functools.partial(parts.summary, "losses"),
        "costs": parts.circumstances,
        "loss-definitions": functools.partial(parts.definitions, "losses"),
        "regularizers": functools.partial(parts.summary, "regularizers"),
        "regularizer-definitions": functools.partial(parts.definitions, "regularizers"),
        "balances": functools.partial(parts.definitions, "balance"),
    },
    "docs/negatives.md": {
        "negatives": functools.partial(parts.summary, "negatives"),
        "negative-definitions": functools.partial(parts.definitions, "negatives"),
    },
    "docs/engine.md": {"engine": engine, **{name: functools.partial(example, name) for name in EXAMPLES}},
}


INDEXED = {
    "losses": "Objectives over pairs: each returns one value per query, (N,), and leaves the mean to the training step.",
    "regularizers": "Terms over what the encoder returned, beside the losses over pairs: each is a scalar of the whole batch.",
}


def index(slot: str) -> str:
    """``dipole/SLOT/__init__.py``: one import a part."""
    found = sorted(discover(slot).values(), key=lambda f: f.module)
    names = sorted((f.cls for f in found), key=_as_ruff_sorts)
    lines = [f'"""{INDEXED[slot]}"""', ""]
    lines += ["# Written by docs/generate.py from the modules there are.", *(f"from {f.module} import {f.cls}" for f in found), ""]
    return "\n".join([*lines, "__all__ = [", *(f'    "{name}",' for name in names), "]", ""])


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants (all capitals), then classes."""
    return (0 if name.isupper() and len(name) > 1 else 1, name)


FILES: dict[str, Callable[[], str]] = {f"src/dipole/{slot}/__init__.py": functools.partial(index, slot) for slot in INDEXED}


def main(check: bool) -> int:
    """Go through the pages and files; the number of them that are (or were) out of date."""
    stale = 0
    for name, whole in FILES.items():
        path = ROOT / name
        if path.read_text(encoding="utf-8") != (text := whole()):
            stale += 1
            print(f"{name}: {'out of date; run: make generate' if check else 'written'}")
            if not check:
                path.write_text(text, encoding="utf-8")
    for name, blocks in BLOCKS.items():
        path = ROOT / name
        text = was = path.read_text(encoding="utf-8")
        for block, make in blocks.items():
            pattern = re.compile(rf"(<!-- (?:generated|figures|example): {block} -->\n).*?(<!-- end -->)", re.DOTALL)
            found = pattern.findall(text)
            assert len(found) == 1, f"{name}: one block {block!r} expected, found {len(found)}"
            text = pattern.sub("".join((found[0][0], make(), "\n", found[0][1])).replace("\\", r"\\"), text)
        if text != was:
            stale += 1
            print(f"{name}: {'out of date; run: make generate' if check else 'written'}")
            if not check:
                path.write_text(text, encoding="utf-8")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(min(1, main("--check" in sys.argv[1:])))
