"""More than two views: official numbers, loops, the papers' identities, and what is refused."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.stacked import each_view, one_view, stacked, view_scores
from dipole.losses import DCL, MVDHEL, InfoNCE, MVInfoNCE, PolyView, PolyViewArithmetic, PolyViewSufficient, SupCon
from dipole.pairwise.scores.cosine import Cosine
from dipole.views.multi_view import MultiView
from tests.golden_case import EXACT, Case

ALL = [MVInfoNCE, MVDHEL, PolyView, PolyViewArithmetic, PolyViewSufficient]


def views(n=6, v=3, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, v, d, generator=gen, dtype=torch.float64), dim=2).requires_grad_()


def table(x, t):
    """exp of every view's score with every view, as nested lists [i][a][j][b]."""
    return torch.einsum("iad,jbd->iajb", x, x).div(t).exp().tolist()


def golden(stem):
    case = Case(stem)
    z = case.leaf("z")
    return case, z, stacked(z.transpose(0, 1), score=Cosine())


def test_mv_infonce_is_the_authors():
    case, z, pairs = golden("mv-infonce-dhel__MVINFONCE__base")
    case.agrees(MVInfoNCE(temperature=0.5)(pairs).mean(), z=z)


@pytest.mark.parametrize("symbol", ["MVDHEL", "NTXentHPS"])
def test_mv_dhel_is_the_authors(symbol):
    case, z, pairs = golden(f"mv-infonce-dhel__{symbol}__base")
    case.agrees(MVDHEL(temperature=0.5)(pairs).mean(), z=z)


def test_poly_view_is_the_published_code_and_the_papers_formulas():
    case, z, pairs = golden("poly-view__PVCLoss__geo")
    case.agrees(PolyView(temperature=0.5)(pairs).mean(), z=z)
    torch.testing.assert_close(PolyViewArithmetic(temperature=0.5)(pairs).mean(), case.array("paper_arithmetic"), **EXACT)
    plain = stacked(normalize(z, dim=2).transpose(0, 1))  # dot: the mean of the other views is not normalised again
    torch.testing.assert_close(PolyViewSufficient(temperature=0.5)(plain).mean(), case.array("paper_sufficient_statistics"), **EXACT)


def test_ordinary_losses_on_each_view_are_the_authors_baselines():
    case, z, pairs = golden("mv-infonce-dhel__NTXent__mv")
    case.agrees(SupCon(temperature=0.5)(each_view(pairs)).mean(), z=z)
    case, z, pairs = golden("mv-infonce-dhel__NTXent__pwe")
    two = [(a, b) for a in range(3) for b in range(a + 1, 3)]
    each = [SupCon(temperature=0.5)(each_view(stacked(pairs.queries[:, [a, b]], score=Cosine()))).mean() for a, b in two]
    case.agrees(sum(each) / 3, z=z)
    case, z, _ = golden("mv-infonce-dhel__NTXent__average")
    unit = normalize(z, dim=2)
    each = []
    for a in range(3):
        both = stacked(torch.stack([unit[a], (unit.sum(0) - unit[a]) / 2], dim=1))
        each.append(SupCon(temperature=0.5)(each_view(both)).mean())
    case.agrees(sum(each) / 3, z=z)


def test_mv_infonce_and_mv_dhel_by_loops():
    x, t = views(), 0.4
    k = table(x.detach(), t)
    infonce, dhel = MVInfoNCE(temperature=t)(stacked(x)), MVDHEL(temperature=t)(stacked(x))
    for i in range(6):
        top = sum(k[i][a][i][b] for a in range(3) for b in range(3) if a != b)
        rest = sum(k[i][a][j][b] for a in range(3) for j in range(6) for b in range(3) if (j, b) != (i, a))
        assert math.isclose(infonce[i].item(), -math.log(top / rest), rel_tol=1e-10)
        apart = sum(math.log(sum(k[i][a][j][a] for j in range(6) if j != i)) for a in range(3))
        assert math.isclose(dhel[i].item(), apart - math.log(top / 2), rel_tol=1e-10)


def test_poly_views_by_loops():
    x, t = views(v=4).detach(), 0.4
    k = table(x, t)
    geometric, arithmetic, sufficient = (cls(temperature=t)(stacked(x)) for cls in (PolyView, PolyViewArithmetic, PolyViewSufficient))
    for i in range(6):
        geo = ari = suf = 0.0
        for a in range(4):
            others = sum(k[i][a][j][c] for j in range(6) if j != i for c in range(4))
            shares = [k[i][a][i][b] / (k[i][a][i][b] + others) for b in range(4) if b != a]
            geo -= sum(map(math.log, shares)) / 12
            ari -= math.log(sum(shares) / 3) / 4
            mean = (x[i].sum(0) - x[i, a]) / 3
            f = ((x @ mean) / t).exp()
            suf -= math.log(f[i, a] / (f[i, a] + f[[j for j in range(6) if j != i]].sum())) / 4
        for got, want in ((geometric, geo), (arithmetic, ari), (sufficient, suf)):
            assert math.isclose(got[i].item(), want, rel_tol=1e-10)


def test_with_two_views_they_are_nt_xent_and_dhel():
    x = views(v=2)
    nt_xent = SupCon(temperature=0.3)(each_view(stacked(x))).reshape(6, 2).mean(1)
    for cls in (PolyView, PolyViewArithmetic, PolyViewSufficient):
        torch.testing.assert_close(cls(temperature=0.3)(stacked(x)), nt_xent)
    assert bool((MVInfoNCE(temperature=0.3)(stacked(x)) >= nt_xent).all())  # log of a mean above the mean of logs
    one = MVDHEL(temperature=0.3)(stacked(x))
    apart = sum(DCL(temperature=0.3)(Pairs.aligned(x[:, a], x[:, a])) + 1 / 0.3 for a in range(2))  # own score 1 taken back out
    torch.testing.assert_close(one, apart - (x[:, 0] * x[:, 1]).sum(1) / 0.3)


def test_arithmetic_is_never_above_geometric_and_equal_where_views_agree():
    x = views(v=4)
    assert bool((PolyViewArithmetic()(stacked(x)) < PolyView()(stacked(x))).all())
    same = stacked(x[:, :1].expand(6, 4, 5))
    values = [cls(temperature=0.3)(same) for cls in (PolyView, PolyViewArithmetic, PolyViewSufficient)]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])


@pytest.mark.parametrize("cls", ALL)
def test_the_order_of_views_does_not_matter(cls):
    x = views()
    torch.testing.assert_close(cls(temperature=0.3)(stacked(x[:, [2, 0, 1]])), cls(temperature=0.3)(stacked(x)))


def test_views_of_another_kind_do_not_repel_in_mv_dhel():
    """Its attraction taken out, the gradient on view 0 does not depend on where the other views of other items are."""
    x = views()
    moved = torch.cat([x[:, :1], views(seed=1)[:, 1:]], dim=1)
    grads = []
    for batch in (x, moved):
        values = MVDHEL(temperature=0.3)(stacked(batch)) + (view_scores(stacked(batch)) / 0.3).masked_fill(
            ~torch.ones(3, 3, dtype=torch.bool).triu(1), -torch.inf
        ).flatten(1).logsumexp(1)
        grads.append(torch.autograd.grad(values.sum(), x)[0][:, 0])
    torch.testing.assert_close(*grads)


def test_equal_items_do_not_repel_each_other():
    x, ids = views(), torch.tensor([7, 8, 9, 7, 10, 11])
    for cls in ALL:
        got = cls(temperature=0.3)(stacked(x, ids=ids))
        rest = [i for i in range(6) if i != 3]
        without = cls(temperature=0.3)(stacked(x[rest]))  # item 0 sees all but item 3
        torch.testing.assert_close(got[0], without[0])


def test_the_pairs_of_a_stack():
    pairs = stacked(views())
    flat = each_view(pairs)
    assert flat.shape == (18, 18) and flat.positives_per_row().tolist() == [2] * 18
    assert flat.rows["item"].tolist()[:4] == [0, 0, 0, 1] and flat.cols["view"].tolist()[:4] == [0, 1, 2, 0]
    assert one_view(pairs, 1).shape == (6, 6) and one_view(pairs, 1).positives_per_row().sum() == 0
    torch.testing.assert_close(view_scores(pairs), torch.einsum("iad,ibd->iab", pairs.queries, pairs.queries))


@pytest.mark.parametrize("cls", ALL)
def test_what_is_refused(cls):
    with pytest.raises(DegenerateBatchError, match="at least one negative"):
        cls()(stacked(views(n=1)))
    with pytest.raises(DataError, match=r"several views of each item.*use views = multi_view"):
        cls()(Pairs.aligned(torch.eye(3), torch.eye(3)))


def test_a_stack_needs_two_views_and_two_view_losses_refuse_it_by_name():
    with pytest.raises(DataError, match=r"two views or more.*\(3, 1, 2\)"):
        stacked(torch.ones(3, 1, 2))
    with pytest.raises(DataError, match=r"one \(N, d\) tensor.*\(6, 3, 5\).*a loss for several views"):
        InfoNCE()(stacked(views()))
    with pytest.raises(DegenerateBatchError, match="no other item that counts"):
        MVDHEL()(stacked(views(n=2), ids=torch.tensor([3, 3])))


def test_multi_view_rows_to_pairs():
    rows = [{"anchor": f"a{i}", "b": f"b{i}", "c": f"c{i}"} for i in range(4)]
    part = MultiView(count=3, roles="anchor b c")
    batch = part(rows)
    assert {side: items[1] for side, items in batch.items.items()} == {"queries": "a1", "keys": "b1", "view2": "c1"}
    sides = {side: torch.full((4, 2), float(number)) for number, side in enumerate(batch.items)}
    pairs = part.pairs(sides, batch.meta, Cosine())
    assert pairs.queries[0, :, 0].tolist() == [0.0, 1.0, 2.0] and isinstance(pairs.score, Cosine)
    assert [len(items) for items in MultiView(count=5)(rows).items.values()] == [4] * 5
    with pytest.raises(ParameterError, match="roles must be one column, or 3, as many as count"):
        MultiView(count=3, roles="anchor b")
