"""What ``docs/scale.md`` takes from ``bench/results/million.json``: what was measured, and what follows for 100 million."""

from __future__ import annotations

import math
from typing import Any

from reading import measured

from dipole.search.approximate import cells_of

PLANNED = 100_000_000
CORES = 512  # the example's: an assumption, not a measurement


def million() -> str:
    """A million vectors on one machine, as measured."""
    if (found := measured("million")) is None:
        return "Not measured yet: `python -m bench.million --data FOLDER`."
    build, serve, index = found["build"], found["serve"], found["build"]["index"]
    times, exact, rows = serve["milliseconds"], serve["exact, milliseconds"], found["rows"]
    disk = build["bytes on disk"]
    lines = [
        f"| {rows:,} vectors of {found['dimension']} dimensions | |",
        "|---|---|",
        f"| texts, fields and vectors stored, words indexed | {build['store seconds']:.0f} s |",
        f"| index built, its recall measured | {build['index seconds']:.0f} s, {index['seconds']:.0f} s of it building |",
        f"| together | **{build['seconds'] / 60:.1f} minutes** |",
        f"| recall@10 on {serve['queries']} queries held out | **{serve['recall@10']:.3f}**; {index['recall']:.3f} on those drawn |",
        f"| a query, with the documents found: p50, p95, p99 | **{times['p50']:.1f}**, {times['p95']:.1f}, {times['p99']:.1f} ms |",
        f"| the same exactly, out of the table: p50, p95 | {exact['p50']:,.0f}, {exact['p95']:,.0f} ms |",
        f"| opening, the first query included | {serve['opening and the first query, seconds']:.1f} s |",
        f"| most memory, building | {_gib(build['peak bytes'])} |",
        f"| most memory, serving; with exact search | {_gib(serve['peak bytes'])}; {_gib(serve['peak bytes with exact search'])} |",
        f"| disk | {_gib(disk['texts, words and vectors'])} and {_gib(disk['index'])} of index |",
        "",
        f"{index['kind']}, {index['probes']} of {index['cells']} cells, {index['refine']} x k scored again. The vectors:",
        f"{found['vectors']['from']}. The queries: {found['vectors']['queries']}; the mean cosine of the nearest is",
        f"{serve['mean cosine of the first and the tenth'][0]:.2f}, of the tenth {serve['mean cosine of the first and the tenth'][1]:.2f}.",
        f"{found['machine']['cores']} cores of an {found['machine']['cpu']}, {found['date']}, `bench/results/million.json`.",
    ]
    return "\n".join(lines)


def kinds() -> str:
    """The kinds of index, side by side."""
    found = measured("million")
    if found is None:
        return ""
    rows = ["| kind | built | bytes an item | cells looked into | recall@10, held out | a query, p50 |", "|---|---|---|---|---|---|"]
    for one in found["kinds"]:
        if "refused" in one:
            rows.append(f"| `{one['kind']}` | refused: {one['refused']} | | | | |")
            continue
        cells = f"{one['build seconds']:.0f} s | {one['bytes an item']:.0f} | {one['probes']} of {one['cells']}"
        rows.append(f"| `{one['kind']}` | {cells} | {one['recall@10']:.3f} | {one['milliseconds']['p50']:.1f} ms |")
    wanted = found["build"]["index"]["wanted"]
    return "\n".join([*rows, "", f"{found['kinds'][0]['rows']:,} items, each index told to reach {wanted} on drawn queries; same machine."])


def plan() -> str:
    """What 100 million take: formula, figure."""
    found = measured("million")
    if found is None:
        return ""
    n, many = found["rows"], PLANNED / found["rows"]
    encoded, build, serve, index = found["vectors"]["encoded"], found["build"], found["serve"], found["build"]["index"]
    rate = encoded["texts a second"] / encoded["threads"]
    hours = PLANNED / rate / 3600
    encoding = f"{hours:,.0f} core hours; {hours / CORES:,.1f} hours on {CORES} cores"
    disk = build["bytes on disk"]
    item, code = disk["texts, words and vectors"] / n, disk["index"] / n
    cores = found["machine"]["cores"]
    cells = cells_of(PLANNED)
    building = index["seconds"] * cores * many * cells / index["cells"] / 3600
    storing = build["store seconds"] * cores * many / 3600
    memory = serve["peak bytes"] - disk["index"] + code * PLANNED
    query = serve["milliseconds"]["p50"] * many
    share = index["probes"] / index["cells"]
    index_time = f"{index['seconds']:.0f} s x {cores} cores x N / n x {cells} / {index['cells']} cells"
    exact, asked = serve["exact, milliseconds"]["p50"], f"{serve['milliseconds']['p50']:.1f} ms x N / n x share / {share:.2f}"
    rows = [
        "| what | formula | 100 million |",
        "|---|---|---|",
        f"| encoding on CPUs | N / {rate:.1f} texts a second a core | {encoding} |",
        f"| encoding on GPUs | | {_gpu()} |",
        f"| storing, indexing words | {build['store seconds']:.0f} s x {cores} cores x N / n | {storing:,.0f} core hours |",
        f"| disk: texts, fields, vectors, words | {item:,.0f} bytes an item | {_gib(item * PLANNED)} |",
        f"| disk: index | {code:,.0f} bytes an item | {_gib(code * PLANNED)} |",
        f"| building the index, at most | {index_time} | {building:,.0f} core hours |",
        f"| memory to serve | {_gib(serve['peak bytes'] - disk['index'])} + the index | {_gib(memory)} |",
        f"| a query, p50, at most | {asked} on {cores} cores | {_query(found, query)} |",
        f"| the same exactly | {exact:,.0f} ms x N / n | {exact * many / 1000:,.0f} s |",
        f"| recall@10 | measured when the index is built | at least what was asked; here {serve['recall@10']:.3f} at n |",
        "",
        f"N = 100,000,000, n = {n:,}; texts of {encoded['tokens a text']:.0f} tokens by MiniLM on {encoded['threads']} thread(s).",
    ]
    return "\n".join(rows)


def _query(found: dict[str, Any], constant: float) -> str:
    """At a share of cells as at n; and where the share goes on to fall as it fell between the two sizes measured."""
    index = found["build"]["index"]
    small = next((one for one in found["kinds"] if one["kind"] == index["kind"] and "probes" in one), None)
    said = f"{constant / 1000:,.1f} s where the share stays {index['probes'] / index['cells']:.2f}"
    if small is None or small["rows"] == found["rows"]:
        return said
    before, now = small["probes"] / small["cells"], index["probes"] / index["cells"]
    slope = math.log(now / before) / math.log(found["rows"] / small["rows"])
    if slope >= 0:
        return said
    share = now * (PLANNED / found["rows"]) ** slope
    return f"{said}; {constant * share / now / 1000:,.2f} s where it falls on as from {before:.2f} at {small['rows']:,}, to {share:.2f}"


def _gpu() -> str:
    found = measured("encode_gpu")
    if found is None:
        return "not measured"
    return f"{PLANNED / found['texts a second'] / 3600:,.1f} hours of one {found['machine']['gpu']}"


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
