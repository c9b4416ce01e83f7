"""Models in folders and from the hub: what is safe to open, where to look first, what to say when nothing is found."""

from __future__ import annotations

import difflib
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dipole.core.errors import CheckpointError, UsageError
from dipole.core.extras import need

T = TypeVar("T")
log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_MOST = 500  # folders looked into for a name to offer
_PATIENCE = 5.0  # seconds
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def find(name: str, packaged: Sequence[str] = ()) -> tuple[str, bool]:
    """Where a model lies: (its folder, True) or (a hub id, False). What cannot be a hub id, or lies in a folder that is here, is a path.

    Raises UsageError where there is no such folder, with the nearest names there are, ``packaged`` ones among them.
    """
    path = Path(name).expanduser()
    if name and path.is_dir():
        return str(model_folder(path)), True
    if path.is_file():
        raise UsageError(f"model {name!r} is a file; give the folder it lies in")
    if not _HUB_ID.fullmatch(name) or ("/" in name and path.parent.is_dir() and not _cached(name)):
        raise UsageError(f"model {name!r}: no such folder; {_offer(name, packaged)}")
    return name, False


def opened(name: str, place: str, local: bool, how: Callable[[str, bool], T], packaged: Sequence[str] = ()) -> T:
    """``how(place, offline)``, first without the network, which is asked only where the hub answers at once.

    Raises CheckpointError where a local folder cannot be opened, UsageError where the model cannot be found.
    """
    with without_bars():
        if local:
            try:
                return how(place, True)
            except Exception as error:
                rule = f"{place}: the model cannot be opened ({_first_line(error)}); save it again or fetch a fresh copy"
                raise CheckpointError(rule) from error
        try:
            return how(place, True)
        except Exception as error:
            log.debug("%s is not in the local cache: %s", name, error)
        nowhere, offer = f"model {name!r} is no folder, not in the local cache", _offer(name, packaged)
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            raise UsageError(f"{nowhere}, and HF_HUB_OFFLINE is set; {offer}; to fetch a model of the hub, unset it once")
        if missing := _unreachable():
            raise UsageError(f"{nowhere}, and the hub does not answer ({missing}); {offer}")
        try:
            return how(place, False)
        except Exception as error:
            raise UsageError(f"{nowhere}, and could not be fetched ({_first_line(error)}); {offer}") from error


def _offer(name: str, packaged: Sequence[str]) -> str:
    """The nearest names of models that are here, or what a name may be."""
    folders = [Path(name).expanduser().parent, Path(), *itertools.islice((p for p in Path().iterdir() if p.is_dir()), _MOST)]
    here = (p for f in dict.fromkeys(folders) if f.is_dir() for p in itertools.islice(f.iterdir(), _MOST) if _looks_like_a_model(p))
    near = difflib.get_close_matches(name, [*packaged, *dict.fromkeys(map(str, here))], n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"give {''.join(f'{one!r}, ' for one in packaged)}a model folder, a run folder or a hub id"


def _looks_like_a_model(path: Path) -> bool:
    marks = ("modules.json", "config.json", "recipe.toml", "model")
    return path.is_dir() and (any((path / mark).exists() for mark in marks) or any(path.glob("*.safetensors")))


def _cached(name: str) -> bool:
    """Whether the hub's local cache holds the model of this id."""
    hub = need("huggingface_hub", "text", "pretrained models")
    try:
        return isinstance(hub.try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # no id the hub would give
        return False


def _unreachable() -> str:
    """Why the hub does not answer; empty where it does. One request without a repetition: fetching tries again for a minute."""
    utils, constants = (need(f"huggingface_hub.{part}", "text", "pretrained models") for part in ("utils", "constants"))
    try:
        utils.get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:
        return _first_line(error)
    return ""


def model_folder(path: Path) -> Path:
    """The folder with the model's files: ``path``, or ``path/model`` of a run."""
    for folder in (path, path / "model"):
        if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
            refuse_pickles(folder)
            return folder
    if (path / "checkpoints").is_dir():
        raise UsageError(f"run {path} has no finished model yet; resume it with: dipole train --resume {path}")
    raise UsageError(f"folder {path} holds no model: modules.json or config.json is missing")


def refuse_pickles(folder: Path) -> None:
    """Raise CheckpointError where a weight file of the model folder would have to be unpickled."""
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "checkpoints")):
        for name in _PICKLED:
            if (place / name).is_file() and not any(place.glob("*.safetensors")):
                raise CheckpointError(
                    f"{place / name}: weights must be safetensors, a pickle can run code when opened; "
                    "convert it with transformers' save_pretrained(..., safe_serialization=True)"
                )


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence transformers' own progress bars for a while."""
    logging_of = need("transformers.utils.logging", "text", "pretrained models")
    shown = logging_of.is_progress_bar_enabled()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging_of.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
