"""Write an encoder as a SentenceTransformer folder: whole or not at all, with a model card.

Where the model is a transformer, a pooling and perhaps a normalisation, the settings are written in the form that also
sentence-transformers 2 to 5 read.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipole.core.errors import UsageError
from dipole.core.files import sync
from dipole.modality.hub import without_bars

if TYPE_CHECKING:
    from dipole.modality.text.encoders.transformer import Transformer

_POOLINGS = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}


def save(encoder: Transformer, folder: Path, trained_from: str, notes: str) -> Path:
    """Write ``folder``; an earlier model there is replaced, anything else there is refused (UsageError)."""
    folder = folder.expanduser()
    if folder.exists() and not (folder.is_dir() and ((folder / "modules.json").is_file() or not any(folder.iterdir()))):
        raise UsageError(f"{folder} exists and is no model folder; choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(encoder, temporary, trained_from, notes)
        _settle(temporary)
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent)) if folder.exists() else None
        if old is not None:
            os.replace(folder, old)
        os.replace(temporary, folder)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def _write(encoder: Transformer, folder: Path, trained_from: str, notes: str) -> None:
    os.chmod(folder, 0o777 & ~_umask())
    with without_bars():
        encoder.sentence.save(str(folder), create_model_card=False, safe_serialization=True)
    _older_form(encoder.sentence, folder)
    (folder / "README.md").write_text(model_card(encoder, trained_from, notes), encoding="utf-8")


def _older_form(sentence: Any, folder: Path) -> None:
    kinds = [type(m).__name__ for m in sentence]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return
    pooling = sentence[1]
    if pooling.pooling_mode not in _POOLINGS or not pooling.include_prompt:
        return
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for entry, kind in zip(modules, kinds, strict=True):
        entry["type"] = f"sentence_transformers.models.{kind}"
    _json(folder / "modules.json", modules)
    settings = {f"pooling_mode_{name}": mode == pooling.pooling_mode for mode, name in _POOLINGS.items()}
    _json(folder / modules[1]["path"] / "config.json", {"word_embedding_dimension": pooling.embedding_dimension, **settings})
    _json(folder / "sentence_bert_config.json", {"max_seq_length": int(sentence.max_seq_length), "do_lower_case": False})


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _settle(folder: Path) -> None:
    """Flush every file to the disk before the folder gets its name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def model_card(encoder: Transformer, trained_from: str, notes: str = "") -> str:
    """The text of README.md: front matter that model sites read, what the model is, how to load it."""
    import dipole

    origin = "sentence-transformers/all-MiniLM-L6-v2" if trained_from == "minilm" else trained_from
    named = f"base_model: {json.dumps(origin)}\n" if "/" in origin and not os.path.isabs(origin) and origin.count("/") == 1 else ""
    shown = origin if not os.path.isabs(origin) else Path(origin).name
    normal = "unit length" if any(type(m).__name__ == "Normalize" for m in encoder.sentence) else "not normalised"
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
{named}tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
- dipole
---

# A sentence encoder trained with dipole

Texts of up to {encoder.limit} tokens become vectors of {encoder.dimension} numbers, {normal}. Longer texts are cut.

- Trained from: `{shown}`
- Written by: dipole {dipole.__version__}
- Identity: `{encoder.identity}`

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
vectors = model.encode(["a text", "another text"])
```
{chr(10) + notes.strip() + chr(10) if notes.strip() else ""}"""
