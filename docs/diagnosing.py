"""What ``docs/diagnostics.md`` takes from the code: the diagnostics' docstrings, the verdicts' bounds, and figures of growth."""

from __future__ import annotations

import ast
import re
import textwrap

from reading import ROOT, cell, measured, prose

from dipole.report.bounds import BOUNDS

FOLDER = ROOT / "src" / "dipole" / "diagnostics"
# Module -> heading, in the order of the page. A module that is not here fails the generation, so that none is forgotten.
ORDER = {
    "geometry": "Where vectors lie",
    "dense": "Vectors of places",
    "cosines": "Pairs beside strangers",
    "spectrum": "How many directions are used",
    "isotropy": "Whether all directions are used alike",
    "hubs": "Hubs",
    "gap": "Two kinds of vectors, and classes, told apart",
    "collapse": "Neural collapse",
    "temperature": "What temperature does",
    "negatives": "Negatives",
    "augmentation": "Views and the classes they make",
    "surface": "Length and shared words",
    "association": "Associations",
    "analogies": "Analogies",
    "models": "Two models",
    "layers": "Layers",
    "latent_classes": "Latent classes",
    "generalisation": "Generalisation",
    "sufficiency": "Sufficiency",
    "estimate": "",
}
FIELDS = ("Range", "Healthy", "Source", "Cost", "Shapes", "Errors")
_FIELD = re.compile(rf"^(?:{'|'.join(FIELDS)}|Values): ")


def homes() -> dict[str, str]:
    """Public name -> module, as ``dipole.diagnostics`` exports them."""
    tree = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))
    held = next(node for node in tree.body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "HOMES")
    found: dict[str, str] = ast.literal_eval(held.value)
    return found


def summary_table() -> str:
    """One row a diagnostic: what it says, and what is healthy."""
    rows = ["| diagnostic | what it says | healthy |", "|---|---|---|"]
    for module, names in _by_module().items():
        for name, node in names.items():
            said = _taken_apart(ast.get_docstring(node) or "")
            if module != "estimate":
                rows.append(
                    f"| [`{name}`](#{name.replace('_', '-')}) | {cell(said['first'])} | {cell(said['fields'].get('Healthy', ''))} |"
                )
    return "\n".join(rows)


def definitions() -> str:
    """Every diagnostic in full."""
    out: list[str] = []
    for module, names in _by_module().items():
        if module == "estimate":
            continue
        out += [f"## {ORDER[module]}", ""]
        for name, node in names.items():
            assert isinstance(node, ast.FunctionDef)
            said = _taken_apart(ast.get_docstring(node) or "")
            out += [f"### {name}", "", f"`{name}({ast.unparse(node.args)})`", "", said["first"], ""]
            for block in said["blocks"]:
                out += ["```text", textwrap.dedent(block), "```", ""] if block.startswith("    ") else [prose(block), ""]
            out += [f"* **{field}**: {prose(text)}" for field, text in said["fields"].items()] + [""]
            answer = ast.unparse(node.returns) if node.returns else ""
            about = _of_the_answer(module, re.sub(r"list\[(\w+)\]", r"\1", answer))
            out += [f"Gives `{answer}`: {prose(about)}" if about else f"Gives `{answer}`.", ""]
    return "\n".join(out).rstrip()


def bounds() -> str:
    """The bounds of ``dipole diagnose``."""
    rows = ["| verdict | healthy | ill | why there |", "|---|---|---|---|"]
    for name, bound in BOUNDS.items():
        side = "above" if bound.bad > bound.good else "below"
        rows.append(f"| {name} | {bound.text} | {side} {bound.bad:g} | {bound.why} |")
    return "\n".join(rows)


def growth() -> str:
    """Measured time and memory."""
    found = measured("diagnostics")["growth"]
    sizes = found["sizes"]
    head = " | ".join(f"N = {n:,}" for n in sizes)
    rows = [f"| diagnostic | {head} | memory at N = {sizes[-1]:,} |", f"|---|{'---|' * (len(sizes) + 1)}"]
    for entry in found["diagnostics"]:
        times = " | ".join(f"{s:.3f} s" if s < 1 else f"{s:.1f} s" for s in entry["seconds"])
        rows.append(f"| {entry['diagnostic']} | {times} | {entry['bytes'][-1] / 2**20:.0f} MiB |")
    matrix = 4 * sizes[-1] ** 2 / 2**20
    where = f"{found['machine']['threads']} threads of an {found['machine']['cpu']}, {found['date']}"
    rows += [
        "",
        f"d = {found['dim']}, float32, {where}; memory beyond the vectors. The matrix of all pairs alone would take {matrix:,.0f} MiB.",
    ]
    return "\n".join(rows)


def many() -> str:
    """What very many vectors take."""
    found = measured("diagnostics").get("many")
    if found is None:
        return ""
    n, side = found["vectors"], found["bytes of one side"]
    rows = ["| diagnostic | rows | time | all rows would take | memory |", "|---|---|---|---|---|"]
    for entry in found["diagnostics"]:
        whole = _time(entry["cpu seconds for all rows"]) if "cpu seconds for all rows" in entry else ""
        cells = f"{entry['rows']:,} | {_time(entry['cpu seconds'])} | {whole} | {entry['bytes'] / side:.1f} sides"
        rows.append(f"| {entry['diagnostic']} | {cells} |")
    where = f"one thread of an {found['machine']['cpu']}" if found["machine"]["threads"] == 1 else f"an {found['machine']['cpu']}"
    matrix = 4 * n * n / 2**30
    rows += [
        "",
        f"N = {n:,}, d = {found['dim']}, float32; computing time of {where}, {found['date']}; one side is {side / 2**30:.2f} GiB, "
        f"memory is beyond the vectors. The matrix of all pairs would take {matrix:,.0f} GiB. `{found['command']}`",
    ]
    return "\n".join(rows)


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def example() -> str:
    """The worked example's file."""
    return f"```python\n{(ROOT / 'examples' / 'diagnostics' / 'vectors.py').read_text(encoding='utf-8')}```"


def _by_module() -> dict[str, dict[str, ast.stmt]]:
    """Modules in the page's order -> their public functions in the file's order."""
    found: dict[str, dict[str, ast.stmt]] = {module: {} for module in ORDER}
    for module in dict.fromkeys(homes().values()):
        assert module in ORDER, f"docs/diagnosing.py: give the module {module} a heading in ORDER"
        tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
        public = {name for name, home in homes().items() if home == module}
        found[module] = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in public}
    return {module: names for module, names in found.items() if names}


def _taken_apart(text: str) -> dict:
    """``first`` line, ``blocks`` of formula and prose, ``fields`` by label; doctests are left out."""
    first, _, rest = text.partition("\n")
    blocks, fields = [], {}
    for block in re.split(r"\n[ ]*\n", rest.strip("\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines or lines[0].lstrip().startswith(">>>"):
            continue
        plain: list[str] = []
        label = ""
        for line in lines:
            if match := _FIELD.match(line):
                label = match[0][:-2]
                fields[label] = line[match.end() :]
            elif label:
                fields[label] += " " + line.strip()
            else:
                plain.append(line)
        if plain:
            formula = all(line.startswith("    ") for line in plain)
            blocks.append("\n".join(plain) if formula else " ".join(line.strip() for line in plain))
    return {"first": first, "blocks": blocks, "fields": {name: fields[name] for name in FIELDS if name in fields}}


def _of_the_answer(module: str, answer: str) -> str:
    """The docstring of the dataclass that a diagnostic returns."""
    if answer in ("float", "int", "Estimate") or "[" in answer or "." in answer:
        return {"Estimate": "a float with `error`, its standard error, and `rows`, how many it looked at."}.get(answer, "")
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    held = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == answer), None)
    return " ".join((ast.get_docstring(held) or "").split()) if held else ""
