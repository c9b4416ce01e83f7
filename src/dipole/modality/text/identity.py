"""The identity of a sentence encoder: equal identities give equal vectors."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from dipole.modality.weights import INCIDENTAL

_STATEFUL = ("truncation", "padding")  # the last call's settings, not the tokenizer's


def identity(sentence: Any) -> str:
    """sha256 (64 hex digits) of the weights' bytes, the configuration, the tokenizer, prompts and the limit."""
    digest = hashlib.sha256()
    modules = []
    for module in sentence:
        settings = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
        modules.append([type(module).__name__, _plain(settings) if type(module).__name__ != "Transformer" else {}])
    config = {k: v for k, v in sentence[0].config.to_diff_dict().items() if k not in INCIDENTAL}
    tokenizer = {k: v for k, v in json.loads(sentence.tokenizer.backend_tokenizer.to_str()).items() if k not in _STATEFUL}
    prompts = {k: v for k, v in (sentence.prompts or {}).items() if v}
    said = [modules, _plain(config), int(sentence.max_seq_length), prompts, sentence.default_prompt_name, tokenizer]
    digest.update(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(sentence.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """The value with everything JSON does not know turned into its text."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))
