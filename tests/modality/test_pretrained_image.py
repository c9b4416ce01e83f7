"""Image models of transformers, tiny and random, written to a folder and opened from there; and any encoder from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.core.errors import CheckpointError, ParameterError, UsageError
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.transformer import Transformer
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.image.pretrained import Looks, looks_of
from dipole.modality.load import open_encoder
from dipole.modality.toy.encoders.bag import Bag
from dipole.regularizers import Structure

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 12, "patch_size": 4}
CLIP_LOOKS = {
    "do_center_crop": True,
    "crop_size": {"height": 12, "width": 12},
    "size": {"shortest_edge": 14},
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
}


def vit(folder: Path) -> Any:
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL))
    model.save_pretrained(folder)
    return model.eval()


def clip(folder: Path) -> Any:
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
    config = transformers.CLIPConfig(text_config=text, vision_config={**SMALL, "projection_dim": 10}, projection_dim=10)
    model = transformers.CLIPModel(config)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(CLIP_LOOKS))
    return model.eval()


def test_the_image_tower_of_a_clip_model(tmp_path: Path) -> None:
    """The vectors are those of CLIPModel.get_image_features for the same pixels."""
    whole = clip(tmp_path / "clip")
    encoder = Transformer(model=str(tmp_path / "clip")).eval()
    assert encoder.dimension == 10
    inputs = encoder.prepare([torch.rand(3, 20, 30), torch.rand(3, 12, 12)])
    found = encoder(inputs)
    with torch.no_grad():
        wanted = whole.visual_projection(whole.vision_model(pixel_values=inputs["pixels"]).pooler_output)
    torch.testing.assert_close(found.pre_norm, wanted)
    torch.testing.assert_close(found.pooled.norm(dim=1), torch.ones(2))
    assert found.tokens.shape == (2, 1 + 9, 16) and found.mask.all()
    again = open_encoder(encoder.save(tmp_path / "saved"))
    assert again.identity == encoder.identity and type(again) is Transformer
    image = torch.rand(3, 9, 9)
    torch.testing.assert_close(again.encode([image]), encoder.encode([image]))


def test_looks_against_pillow(tmp_path: Path) -> None:
    """The short side to 14, the middle 12 x 12 cut out, bicubic with antialiasing as Pillow does it."""
    from PIL import Image

    looks = looks_of(CLIP_LOOKS, None)
    assert looks == Looks(12, 14, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)) == looks_of(looks.settings(), None)
    grid = torch.arange(28 * 42).view(28, 42) % 251
    image = Image.fromarray(grid.to(torch.uint8).numpy()).convert("RGB")
    small = image.resize((21, 14), Image.Resampling.BICUBIC).crop((4, 1, 16, 13))
    wanted = (torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(12, 12, 3) / 255 - torch.tensor(looks.mean)) / (
        torch.tensor(looks.std)
    )
    assert (looks.batch([image], "test")[0].permute(1, 2, 0) - wanted).abs().max() < 0.02
    assert looks_of({"size": {"height": 8, "width": 8}}, None) == Looks(8)
    assert looks_of({}, transformers.ViTConfig(**SMALL)).size == 12


@pytest.mark.parametrize("pool", ["", "cls", "mean"])
def test_vit_and_its_poolings(tmp_path: Path, pool: str) -> None:
    whole = vit(tmp_path / "vit")
    encoder = Transformer(model=str(tmp_path / "vit"), pool=pool, normalize=False).eval()
    inputs = encoder.prepare([torch.rand(1, 12, 12)])
    found = encoder(inputs)
    with torch.no_grad():
        hidden = whole(pixel_values=inputs["pixels"])
    wanted = {"": hidden.pooler_output, "cls": hidden.last_hidden_state[:, 0], "mean": hidden.last_hidden_state.mean(1)}[pool]
    torch.testing.assert_close(found.pooled, wanted)
    again = open_encoder(encoder.save(tmp_path / "again"))
    torch.testing.assert_close(again.eval()(inputs).pooled, wanted)
    assert again.pool == pool and again.normalize is False


def test_a_convolutional_model_has_places_as_tokens(tmp_path: Path) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32)
    transformers.ConvNextModel(config).save_pretrained(tmp_path)
    found = Transformer(model=str(tmp_path)).eval()(Transformer(model=str(tmp_path)).prepare([torch.rand(3, 32, 32)]))
    assert found.tokens.shape == (1, 16, 16) and found.pooled.shape == (1, 16)


def test_a_model_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    vit(tmp_path / "vit")
    with pytest.raises(ParameterError, match="the model's own, 12"):
        Transformer(model=str(tmp_path / "vit"), size=16)
    weights = tmp_path / "vit" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be opened"):
        Transformer(model=str(tmp_path / "vit"))
    with pytest.raises(UsageError, match="no such folder"):
        Transformer(model="./nowhere")
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        Transformer(model="somebody/something")


def test_any_encoder_from_its_folder(tmp_path: Path) -> None:
    vit(tmp_path / "vit")
    towers = TwoTowers(image=Transformer(model=str(tmp_path / "vit")), text=Bag(dimension=4), dimension=6, locked="image")
    for name, encoder in (("conv", Conv(size=8)), ("bag", Bag()), ("towers", towers)):
        again = open_encoder(encoder.save(tmp_path / name / "model").parent)  # a run folder holds model/
        assert type(again) is type(encoder) and again.identity == encoder.identity
    image = torch.rand(3, 12, 12)
    assert torch.equal(again.encode([image]), towers.encode([image])) and again.locked == "image"


def test_only_encoders_of_dipole_are_opened_by_name(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name in ("os:system", "dipole.modality.load:open_encoder", "dipole.modality.image.encoders.conv:batch"):
        save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"part": name, "settings": "{}"})
        with pytest.raises(CheckpointError, match="names an encoder that this dipole does not have"):
            open_encoder(tmp_path)


def test_a_locked_tower_keeps_its_weights() -> None:
    towers = TwoTowers(image=Conv(size=8, width=4, depth=1), text=Bag(dropout=0.5), locked="text").train()
    assert towers.image.training and not towers.text.training
    before = {name: p.clone() for name, p in towers.named_parameters()}
    optimizer = torch.optim.SGD([p for p in towers.parameters() if p.requires_grad], lr=1.0)
    images = towers(towers.prepare([torch.rand(3, 8, 8)] * 2, "queries")).pooled
    texts = towers(towers.prepare(["a", "b"], "keys")).pooled
    (images * texts).sum().backward()
    optimizer.step()
    moved = {
        name.split(".")[0] if name.startswith("image") else name
        for name, p in towers.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert moved == {"image", "projections.image.weight", "projections.text.weight"}


def test_both_towers_locked_say_what_they_saw() -> None:
    """Only the projections learn, and each side comes with the tower's own vectors, which ``structure`` reads."""
    towers = TwoTowers(image=Conv(size=8, width=4, depth=1), text=Bag(dropout=0.5), locked="both").train()
    assert not towers.image.training and not towers.text.training
    assert {name for name, p in towers.named_parameters() if p.requires_grad} == {"projections.image.weight", "projections.text.weight"}
    texts = towers(towers.prepare(["a", "b"], "keys"))
    assert torch.equal(texts.meta["frozen"], towers.text.encode(["a", "b"])) and not texts.meta["frozen"].requires_grad
    images = towers(towers.prepare([torch.rand(3, 8, 8)] * 2, "queries"))
    Structure().over_encoded({"queries": images, "keys": texts}).backward()
    assert all(p.grad is not None for p in towers.projections.parameters())
    assert not TwoTowers(image=Conv(size=8, width=4, depth=1), text=Bag())(towers.prepare(["a"], "keys")).meta
