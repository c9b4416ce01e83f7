"""Put a sentence-transformers model together from a name, a pooling, a limit and a normalisation."""

from __future__ import annotations

from typing import Any

from dipole.core.errors import ParameterError, UsageError
from dipole.core.extras import need
from dipole.modality.hub import opened
from dipole.modality.text.load import PACKAGED, locate


def assemble(model: str, pool: str, max_tokens: int, normalize: bool) -> Any:
    """A SentenceTransformer: the model's own modules, with the pooling, limit and normalisation asked for.

    Raises UsageError, ParameterError or CheckpointError; see :mod:`dipole.modality.text.load`.
    """
    need("sentence_transformers", "text", "text.transformer")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    sentence = _load(model)
    modules = list(sentence)
    if pool:
        places = [i for i, m in enumerate(modules) if isinstance(m, Pooling)]
        if len(places) != 1:
            raise ParameterError("text.transformer", "pool", "empty for a model without exactly one pooling layer", pool)
        modules[places[0]] = Pooling(modules[places[0]].embedding_dimension, pool)
    modules = [m for m in modules if normalize or not isinstance(m, Normalize)]
    if normalize and not any(isinstance(m, Normalize) for m in modules):
        modules.append(Normalize())
    if [type(m) for m in modules] != [type(m) for m in sentence] or pool:
        sentence = _rebuilt(sentence, modules)
    if getattr(sentence.tokenizer, "backend_tokenizer", None) is None:
        raise UsageError(f"model {model!r} has no fast tokenizer (tokenizer.json); convert it with transformers' AutoTokenizer first")
    most = int(getattr(sentence[0].config, "max_position_embeddings", 0) or 0)
    if max_tokens:
        if max_tokens < 3 or (most and max_tokens > most):
            raise ParameterError("text.transformer", "max_tokens", f"from 3 to {most or 'any number'} for {model}", max_tokens)
        sentence.max_seq_length = max_tokens
    elif not sentence.max_seq_length or sentence.max_seq_length > 1_000_000:
        sentence.max_seq_length = most or 512
    if any(isinstance(m, Pooling) for m in sentence):
        _freeze_unread(sentence[0])
    return sentence


def _freeze_unread(transformer: Any) -> None:
    """BERT's pooler layer: nothing reads it where tokens are pooled, so it would only wait for a gradient that never comes."""
    for name, module in transformer.named_modules():
        if name.rpartition(".")[2] == "pooler":
            module.requires_grad_(False)


def _rebuilt(sentence: Any, modules: list[Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    again = SentenceTransformer(modules=modules, device="cpu", prompts=sentence.prompts, default_prompt_name=sentence.default_prompt_name)
    again.max_seq_length = sentence.max_seq_length
    return again


def _load(model: str) -> Any:
    place, local = locate(model)
    return opened(model, place, local, _open, (PACKAGED,))


def _open(place: str, offline: bool) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        place,
        device="cpu",
        local_files_only=offline,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )
