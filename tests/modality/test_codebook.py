"""A codebook that images and texts share: the official code's values, and what its sparsity means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.modality.image.encoders.codebook import Codebook, Reading
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.load import open_encoder
from dipole.modality.toy.encoders.bag import Bag
from tests.golden_case import EXACT, Case


def reading_of(case: Case) -> Reading:
    """With the official code's weights."""
    reading = Reading(["all"], 6, 12, 5, case.hyper["temperature"]).double()
    first, one, _, second, two = reading.maps["all"]
    names = {"ln0w": first.weight, "ln0b": first.bias, "W1": one.weight, "b1": one.bias, "ln1w": second.weight, "ln1b": second.bias}
    with torch.no_grad():
        for name, parameter in {**names, "W2": two.weight, "b2": two.bias, "codes": reading.codes}.items():
            parameter.copy_(case.array(f"in_{name}"))
    return reading


def test_queries_and_codes_are_those_of_fdt_whatever_reads_them() -> None:
    """The authors' variant with a softmax of summed scores, which the part does not offer, from the part's queries and codes."""
    case = Case("fdt__Query_model__softmax_sum")
    reading, x = reading_of(case), case.leaf("x")
    shares = (reading.maps["all"](x) @ reading.codes.T / 5**0.5).sum(1).softmax(1)
    torch.testing.assert_close(shares, case.array("out_weights"), **EXACT)
    case.agrees((shares @ reading.codes * case.array("in_cotangent")).sum(), x=x, codes=reading.codes, W2=reading.maps["all"][4].weight)


@pytest.mark.parametrize(("stem", "key", "grad"), [("sparsemax_max", "out_", "grad_"), ("sparsemax_max_padded", "paper_", "paper_grad_")])
def test_it_is_that_of_fdt(stem: str, key: str, grad: str) -> None:
    """Where tokens are masked: the value with a true mask. The authors' code scores them 0."""
    case = Case(f"fdt__Query_model__{stem}")
    reading, x = reading_of(case), case.leaf("x")
    mask = case.array("in_valid").bool() if "in_valid" in case.arrays else torch.ones(x.shape[:2], dtype=torch.bool)
    shares = reading.shares(x, mask, "all")
    torch.testing.assert_close(shares, case.array(f"{key}weights"), **EXACT)
    mixed = shares @ reading.codes
    torch.testing.assert_close(mixed, case.array(f"{key}z"), **EXACT)
    value = "paper_value" if key == "paper_" else "out_loss"
    cotangent = case.array("in_cotangent")
    case.agrees((mixed * cotangent).sum(), value=value, grad=grad, x=x, codes=reading.codes, W2=reading.maps["all"][4].weight)


def made(temperature: float = 1.0, codes: int = 20) -> Codebook:
    torch.manual_seed(0)
    towers = TwoTowers(image=Conv(size=8, channels=1, width=4, depth=1, dimension=8), text=Bag(dimension=8, dropout=0.0), dimension=8)
    return Codebook(towers, codes=codes, dimension=6, temperature=temperature)


IMAGES = [torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(n)) for n in range(5)]


def test_codes_that_nobody_reads_get_no_gradient() -> None:
    encoder = made(0.1)
    inputs = encoder.prepare(IMAGES)
    read = (encoder.shares(inputs) > 0).any(0)
    assert 0 < int(read.sum()) < 20
    encoder(inputs).pooled[:, 0].sum().backward()
    slopes = encoder.reading.codes.grad
    assert slopes is not None and torch.equal(slopes.abs().sum(1) > 0, read)


def test_a_high_temperature_reads_all_codes_and_a_low_one_reads_one() -> None:
    inputs = made().prepare(IMAGES)
    many, one = (made(temperature) for temperature in (1000.0, 0.001))
    torch.testing.assert_close(many.shares(inputs), torch.full((5, 20), 1 / 20), atol=1e-2, rtol=0)
    shares = one.shares(inputs)
    assert shares.max(1).values.tolist() == [1.0] * 5
    torch.testing.assert_close(one(inputs).pooled, torch.nn.functional.normalize(one.reading.codes[shares.argmax(1)], dim=1))


def test_the_order_of_tokens_does_not_matter_and_padding_is_not_read() -> None:
    reading = Reading(["text"], 8, 20, 6, 0.3).double()
    tokens = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    want = reading.shares(tokens, mask, "text")
    turned = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(reading.shares(tokens[:, turned], mask[:, turned], "text"), want)
    torch.testing.assert_close(reading.shares(tokens[:1, :3], mask[:1, :3], "text"), want[:1])
    nobody = reading.shares(tokens, torch.zeros(2, 4, dtype=torch.bool), "text")
    torch.testing.assert_close(nobody, torch.full((2, 20), 1 / 20, dtype=torch.float64))


def test_the_temperature_falls_in_steps_and_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    encoder = Codebook(made().encoder, codes=20, dimension=6, temperature=8.0, decay=0.5, every=10, floor=1.5)
    seen = []
    for step in (9, 10, 25, 40):
        encoder.after_step(step, 100)
        seen.append(float(encoder.reading.temperature))
    assert seen == [8.0, 4.0, 2.0, 1.5]
    encoder.save(tmp_path)
    again = open_encoder(tmp_path)
    assert again.identity == encoder.identity and float(again.reading.temperature) == 1.5
    assert torch.equal(again.encode(["a word"], side="keys"), encoder.encode(["a word"], side="keys"))


def test_an_encoder_without_fitting_tokens_is_refused() -> None:
    class Mute(torch.nn.Module):
        dimension = 4

        def prepare(self, items: list[str], side: str = "queries") -> dict[str, torch.Tensor]:
            return {"x": torch.zeros(len(items), 4)}

        def forward(self, inputs: dict[str, torch.Tensor]) -> Encoded:
            return Encoded(inputs["x"])

    encoder = Codebook(Mute(), codes=3, dimension=2)
    with pytest.raises(DataError, match=r"image\.codebook: the encoder must return tokens"):
        encoder(encoder.prepare(["a"]))
