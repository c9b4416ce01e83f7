"""gCooL's terms: the authors' code, the densest partition of two triangles, and who learns from what."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.losses import InfoNCE
from dipole.regularizers import Communities
from tests.golden_case import Case


def neighbours_of(edges, nodes):
    """(n, m) from (2, E), -1 beyond a node's number."""
    lists = [edges[1][edges[0] == i] for i in range(nodes)]
    return torch.nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=-1)


@pytest.mark.parametrize("kernel", ["cos", "RBF"])
def test_they_are_the_authors(kernel):
    """The official sum of the node term (one-directional, cosine), the edge density of both views and the community term."""
    case = Case(f"gcool__node-DeCA-community__{kernel}")
    (h1, h2), hyper = case.leaves("h1", "h2"), case.hyper
    nearness = hyper["gamma"] if kernel == "RBF" else 0.0
    term = Communities(
        dimension=5, communities=hyper["K"], temperature=hyper["tau"], softness=hyper["lamda"], nearness=nearness, gaussian=kernel == "RBF"
    ).double()
    term.centres = center = torch.nn.Parameter(case.array("in_center"))
    near = [term.shares(h) for h in (h1, h2)]
    torch.testing.assert_close(near[0], case.array("out_R1"), rtol=1e-6, atol=1e-9)
    edges = neighbours_of(case.array("in_edge_index"), len(h1))
    density = (term.density(near[0], edges) + term.density(near[1], edges)) / 2
    torch.testing.assert_close(density, case.array("out_deca"), rtol=1e-6, atol=1e-9)
    community = (term.contrast(h1, h2, near[1]) + term.contrast(h2, h1, near[0])) / 2
    torch.testing.assert_close(community, case.array("out_community"), rtol=1e-6, atol=1e-9)
    node = InfoNCE(temperature=hyper["tau"])(Pairs.aligned(h1, h2)).mean()
    case.agrees(node + density + community, h1=h1, h2=h2, center=center)


def test_two_triangles():
    """n = 6: the true halves give -1.5, every other split at least -0.7, soft halves -0.55, and one big community ties."""
    edges = torch.tensor([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])
    term = Communities(dimension=2, communities=2)
    density = lambda shares: float(term.density(shares, edges))  # noqa: E731
    for split in itertools.product((0, 1), repeat=6):
        found = density(F.one_hot(torch.tensor(split), 2).float())
        if split in ((0, 0, 0, 1, 1, 1), (1, 1, 1, 0, 0, 0)) or len(set(split)) == 1:
            assert found == pytest.approx(-1.5, abs=1e-6)
        else:
            assert found >= -0.7 - 1e-6
    assert density(torch.full((6, 2), 0.5)) == pytest.approx(-0.55, abs=1e-6)


def test_only_centres_learn_from_the_density():
    term, h = Communities(dimension=3, communities=2), torch.randn(6, 3, requires_grad=True)
    term.density(term.shares(h), torch.tensor([[1], [0], [3], [2], [5], [4]])).backward()
    assert h.grad is None and float(term.centres.grad.norm()) > 0


def test_a_node_a_community_is_the_node_term():
    h1, h2 = (F.normalize(torch.randn(5, 4, dtype=torch.float64), dim=1) for _ in range(2))
    term = Communities(dimension=4, communities=5, nearness=0.0)
    got = term.contrast(h1, h2, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(got, InfoNCE(temperature=0.4)(Pairs.aligned(h1, h2)).mean())


def test_the_schedule_ends():
    x = torch.randn(6, 3)
    side = Encoded(x, meta={"neighbours": torch.tensor([[1], [0], [3], [2], [5], [4]])})
    term = Communities(dimension=3, communities=2, stride=10, fade=0.2)
    values = [float(term.over_encoded({"queries": side, "keys": side}).detach()) for _ in range(4)]
    near = term.shares(x)
    assert values[0] == pytest.approx(float(term.density(near, side.meta["neighbours"]).detach()), rel=1e-5)  # alpha 1, c 1
    assert values[1] != 0 and values[2:] == [0.0, 0.0] and int(term.step) == 4


def test_one_view_is_refused():
    with pytest.raises(DataError, match="two views of the same nodes"):
        Communities(dimension=2).over_encoded({"queries": Encoded(torch.eye(2), meta={"neighbours": torch.zeros(2, 1).long()})})
