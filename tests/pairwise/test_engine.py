"""What the engine promises beyond right numbers: bounded memory, nothing of N x M saved, refusals that explain."""

import gc
import sys
from dataclasses import replace

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import EngineError
from dipole.losses import DCL, AlignUniform, InfoNCE, SigLIP, SupCon
from dipole.pairwise import Count, LogSumExp, Max, Sum, TopK, estimate, reduce, scores_as_they_are, topk_search
from dipole.pairwise.scores.max_sim import MaxSim
from dipole.pairwise.scores.pair_function import PairFunction
from tests.held import Held


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tiles on several threads measure the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LOSSES = [InfoNCE(two_sided=True), DCL(), SigLIP(), AlignUniform(), SupCon()]


def pairs_of(loss, n, d=16):
    torch.manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(n, d), dim=1).requires_grad_() for _ in range(2))
    return Pairs.labelled(q, torch.arange(n) // 4) if isinstance(loss, SupCon) else Pairs.aligned(q, k)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_no_matrix_is_saved_for_backward(loss):
    """Bytes of all saved tensors grow with N, not with N^2."""
    saved = {}
    for n in (512, 2048):
        pairs, kept = pairs_of(loss, n), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.untyped_storage()) or t, lambda t: t):
            value = loss(pairs).mean()
        saved[n] = sum({s.data_ptr(): s.nbytes() for s in kept}.values())
        value.backward()
    assert saved[2048] <= 4.2 * saved[512]
    assert saved[2048] < 2048 * 2048  # a quarter of one float32 matrix


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("workspace", [2**17, 2**19])
def test_the_workspace_is_bounded_as_promised(loss, workspace, monkeypatch):
    """Peak bytes held at once stay within the bound plus what grows as N: gradients, results and their copies."""
    front = sys.modules["dipole.pairwise.reduce"]
    real = front.plan
    monkeypatch.setattr(front, "plan", lambda p, t, _, cost, side: real(p, t, workspace, cost, side))
    n, d = 1024, 4
    pairs = pairs_of(loss, n, d)
    loss(pairs)  # the probe's own tiles are counted once, not here
    gc.collect()
    with Held() as held:
        loss(pairs).mean().backward()
    linear = 8 * n * d * 4 + 24 * n * 8
    assert workspace / 8 < held.peak <= workspace + linear
    assert workspace + linear < n * n  # a quarter of one float32 matrix: the bound would see one


def test_the_meter_of_these_tests_sees_what_is_held():
    with Held() as held:
        a = torch.ones(1000)
        b = a + 1
        assert held.now == 8000
        del a
        assert held.now == 4000 and held.peak == 8000
        assert b.sum() == 2000


def test_the_estimate_is_there_before_the_run():
    pairs = pairs_of(InfoNCE(), 4096)
    planned = estimate(lambda t: t.scores / 0.1, pairs, workspace_bytes=2**20, z=LogSumExp("rows"))
    assert planned.bytes <= 2**20
    assert planned.tile_rows * planned.tile_cols * planned.cost.per_entry <= planned.bytes
    assert planned.gradient_bytes == 2 * 4096 * 16 * 4
    assert "workspace" in str(planned)


def test_token_scores_get_small_tiles_of_their_own_accord():
    """A tile of token scores costs L x L per entry: the plan sees that by itself."""
    q, k = ((torch.randn(64, 20, 8).requires_grad_(), torch.ones(64, 20, dtype=torch.bool)) for _ in range(2))
    pairs = Pairs.aligned(q, k, score=MaxSim())
    planned = estimate(lambda t: t.scores, pairs, workspace_bytes=2**20, z=LogSumExp("rows"))
    assert planned.cost.per_entry > 20 * 20 * 4
    gc.collect()
    with Held() as held:
        reduce(lambda t: t.scores, pairs, backend="eager", workspace_bytes=2**20, z=LogSumExp("rows")).z.sum().backward()
    assert held.peak <= 2**20 + 12 * 64 * 20 * 8 * 4


def test_a_workspace_too_small_for_one_entry_is_refused():
    with pytest.raises(EngineError, match="cannot hold one entry"):
        reduce(lambda t: t.scores, pairs_of(DCL(), 300), workspace_bytes=4, z=LogSumExp("rows"))


@pytest.mark.parametrize("backend", ["eager", "dense"])
@pytest.mark.parametrize(
    ("fn", "what"),
    [
        (lambda t: t.scores.softmax(1), "columns"),
        (lambda t: t.scores.softmax(0), "rows"),
        (lambda t: t.scores - t.scores.mean(), "rows"),
        (lambda t: t.scores.cumsum(0), "rows"),
        (lambda t: t.scores.cumsum(1), "columns"),
        (lambda t: t.scores - t.scores[:, :1], "columns"),
        (lambda t: t.scores - t.scores[:1], "rows"),
        (lambda t: t.scores + torch.rand_like(t.scores), "rows"),
    ],
)
def test_functions_that_mix_entries_are_refused(fn, what, backend):
    with pytest.raises(EngineError, match=f"mixes {what}.*LogSumExp"):
        reduce(fn, pairs_of(DCL(), 40), backend=backend, z=Sum("rows"))


def test_a_sound_function_does_not_vouch_for_another_of_the_same_code():
    def through(act):
        return lambda t: act(t.scores)

    pairs = pairs_of(DCL(), 40)
    reduce(through(torch.tanh), pairs, z=Sum("rows"))
    with pytest.raises(EngineError, match="mixes columns"):
        reduce(through(lambda s: s.softmax(1)), pairs, z=Sum("rows"))


def test_the_cost_of_one_function_is_not_anothers():
    """Same code, other closures, scores, metadata, parameters or segments: each is counted for itself."""
    q = torch.randn(64, 8)
    cheap, dear = (PairFunction(lambda r, c, k=k: -(r[0].repeat(1, k)[:, None] - c[0].repeat(1, k)[None]).abs().sum(-1)) for k in (1, 16))
    costs = [estimate(scores_as_they_are, Pairs.aligned(q, q, score=s), z=Sum("rows")).cost.per_entry for s in (cheap, dear)]
    assert costs[1] > 8 * costs[0]
    wide = [replace(Pairs.aligned(q, q), cols={"v": torch.randn(64, d)}) for d in (2, 512)]
    costs = [estimate(lambda t: (t.scores[..., None] * t.cols["v"]).sum(-1), p, z=Sum("rows")).cost.per_entry for p in wide]
    assert costs[1] > 50 * costs[0]
    pairs = Pairs.aligned(q, q)
    costs = [
        estimate(lambda t: (t.scores[..., None] * t.params["v"]).sum(-1), pairs, params={"v": torch.randn(d)}, z=Sum("rows")).cost.per_entry
        for d in (2, 512)
    ]
    assert costs[1] > 50 * costs[0]
    classes = [replace(pairs, cols={"c": torch.arange(64) % s}) for s in (4, 60)]
    costs = [estimate(scores_as_they_are, p, z=Sum("rows", by="c")).cost.of(16, 16) for p in classes]
    assert costs[1] > costs[0]


def test_a_tiny_matrix_of_dear_entries_is_streamed_too():
    """128 x 128 entries of MaxSim over 64 tokens are 64 MiB a copy: not what 'tiny' means."""
    q, k = ((torch.randn(128, 64, 4), torch.ones(128, 64, dtype=torch.bool)) for _ in range(2))
    pairs = Pairs.aligned(q, k, score=MaxSim())
    gc.collect()
    with Held() as held:
        reduce(scores_as_they_are, pairs, workspace_bytes=2**23, z=LogSumExp("rows"))
    assert held.peak < 2**23 + 2**21


def test_ties_and_listed_weights_stay_within_the_workspace():
    workspace, n = 2**19, 600
    tied = torch.ones(n, 2)
    nobody = torch.full((n,), -1)
    listed = Pairs.weighted(tied, tied, torch.arange(n), (torch.arange(n) + 300) % n, torch.ones(n))
    for pairs, fn, wanted in (
        (Pairs.labelled(tied, nobody, tied, nobody), scores_as_they_are, {"t": TopK("rows", k=3)}),
        (listed, lambda t: t.scores * t.weight, {"s": Sum("rows")}),
    ):
        gc.collect()
        with Held() as held:
            reduce(fn, pairs, backend="eager", workspace_bytes=workspace, **wanted)
        assert held.peak < workspace + 400 * n


@pytest.mark.parametrize("backend", ["eager", "dense"])
def test_a_parameter_read_only_where_there_are_positives_is_seen(backend):
    margin = torch.ones((), requires_grad=True)

    def fn(t):
        mask = t.positive_or_none
        return t.scores if mask is None else t.scores - margin * mask

    n = 200
    far = Pairs.weighted(torch.randn(n, 3), torch.randn(n, 3), torch.arange(n), (torch.arange(n) + 100) % n, torch.ones(n))
    with pytest.raises(EngineError, match="pass it on"):
        reduce(fn, far, backend=backend, z=Sum("rows"))


def test_evaluation_without_gradients_may_capture_parameters():
    scale = torch.nn.Parameter(torch.tensor(2.0))
    with torch.no_grad():
        got = reduce(lambda t: t.scores * scale, pairs_of(DCL(), 200), z=Sum("total")).z
    torch.testing.assert_close(got, 2 * reduce(scores_as_they_are, pairs_of(DCL(), 200), z=Sum("total")).z.detach())


def test_half_precision_terms_and_mixed_vectors():
    torch.manual_seed(0)
    q, k = torch.randn(200, 4), torch.randn(200, 4, dtype=torch.float64)
    near = reduce(lambda t: t.scores.bfloat16(), Pairs.aligned(q, k.float()), backend="eager", z=LogSumExp("rows")).z
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, (q @ k.float().T).logsumexp(1), rtol=2e-2, atol=2e-2)
    for kind in (LogSumExp, Max, Sum):
        streamed, whole = (reduce(scores_as_they_are, Pairs.aligned(q, k), backend=b, z=kind("rows")).z for b in ("eager", "dense"))
        assert streamed.dtype == whole.dtype == torch.float64
        torch.testing.assert_close(streamed, whole)


def test_a_nan_is_not_hidden_by_a_maximum():
    q = torch.randn(200, 3)
    q[5] = torch.nan
    got = reduce(scores_as_they_are, Pairs.aligned(q, torch.randn(200, 3)), backend="eager", m=Max("rows"), t=Max("total"))
    assert bool(got.m[5].isnan()) and bool(got.t.isnan()) and int(got.m.isnan().sum()) == 1


@pytest.mark.parametrize("backend", ["eager", "dense"])
def test_a_gradient_that_would_be_lost_is_refused(backend):
    log_scale = torch.zeros((), requires_grad=True)
    with pytest.raises(EngineError, match=r"pass it on.*params"):
        reduce(lambda t: t.scores * log_scale.exp(), pairs_of(DCL(), 40), backend=backend, z=LogSumExp("rows"))


def test_double_backward_is_refused():
    pairs = pairs_of(DCL(), 200)
    value = DCL()(pairs).sum()
    with pytest.raises(EngineError, match="double backward"):
        torch.autograd.grad(value, pairs.queries, create_graph=True)


def test_scores_that_are_no_numbers_are_refused():
    whole = torch.ones(4, 3, dtype=torch.long)
    with pytest.raises(EngineError, match="floating-point vectors"):
        reduce(lambda t: t.scores, Pairs.aligned(whole, whole), z=Sum("rows"))
    with pytest.raises(EngineError, match=r"floating-point terms.*use Count"):
        reduce(lambda t: t.scores > 0, pairs_of(DCL(), 40), z=Sum("rows"))


def test_terms_of_another_shape_or_name_are_refused():
    pairs = pairs_of(DCL(), 40)
    with pytest.raises(EngineError, match="one value per entry"):
        reduce(lambda t: t.scores[:, :2], pairs, z=Sum("rows"))
    with pytest.raises(EngineError, match="no term named 'logit'"):
        reduce(lambda t: {"logits": t.scores}, pairs, z=Sum("rows", of="logit"))
    with pytest.raises(EngineError, match="axis must be one of"):
        reduce(lambda t: t.scores, pairs, z=Sum("row"))
    with pytest.raises(EngineError, match="nothing to reduce"):
        reduce(lambda t: t.scores, pairs)
    with pytest.raises(EngineError, match="backend must be one of"):
        reduce(lambda t: t.scores, pairs, backend="fast", z=Sum("rows"))
    with pytest.raises(EngineError, match="no metadata 'label'"):
        reduce(lambda t: t.scores, pairs, z=LogSumExp("rows", by="label"))


def test_count_of_a_mask_and_max_over_everything():
    torch.manual_seed(0)
    q, k = torch.randn(300, 8), torch.randn(200, 8)
    pairs = Pairs.grouped(q, k, torch.arange(300), torch.arange(200))
    got = reduce(lambda t: {"near": t.scores > 1, "s": t.scores}, pairs, n=Count("rows", of="near"), m=Max("total", of="s"))
    assert torch.equal(got.n, (q @ k.T > 1).sum(1))
    torch.testing.assert_close(got.m, (q @ k.T).max())


def test_search_finds_what_sorting_finds():
    torch.manual_seed(0)
    q, k = torch.randn(50, 8), torch.randn(700, 8)
    top = topk_search(q, k, 10)
    want = (q @ k.T).sort(dim=1, descending=True)
    torch.testing.assert_close(top.values, want.values[:, :10])
    assert torch.equal(top.ids, want.indices[:, :10])


def test_search_orders_ties_by_id_and_says_when_keys_run_out():
    q, k = torch.ones(3, 2), torch.ones(500, 2)
    k[7] = 2
    top = reduce(
        lambda t: t.scores, Pairs.grouped(q, k, torch.zeros(3).long(), torch.ones(500).long()), backend="eager", t=TopK("rows", k=4)
    ).t
    assert top.ids.tolist() == [[7, 0, 1, 2]] * 3
    short = topk_search(q, k[:2], 4)
    assert short.ids.tolist() == [[0, 1, -1, -1]] * 3


def test_topk_tiles_agree_on_ties():
    from dipole.pairwise.eager import eager
    from dipole.pairwise.plan import Plan
    from dipole.pairwise.problem import build

    torch.manual_seed(0)
    k = torch.randint(0, 3, (40, 2)).float()
    pairs = Pairs.grouped(k[:9], k, torch.zeros(9).long(), torch.ones(40).long())
    for tile in ((9, 40), (4, 7), (1, 1), (9, 3)):
        problem, tensors = build(lambda t: t.scores, pairs, {"t": TopK("rows", k=6)}, {}, {})
        got = eager(problem, tensors, Plan(*tile, 0))["t"]
        want = (k[:9] @ k.T).sort(dim=1, descending=True, stable=True)
        assert torch.equal(got.ids, want.indices[:, :6])


def test_sparse_weights_and_masks_at_tiny_temperature_stay_numbers():
    """Pain 14: a mask of -inf divided by a learned temperature. Here masks come after scaling, and nothing is NaN."""
    t = torch.tensor(1e-4, requires_grad=True)
    pairs = pairs_of(SupCon(), 300)
    z = reduce(lambda tile: tile.scores / tile.params["t"], pairs, params={"t": t}, backend="eager", z=LogSumExp("rows")).z
    z.sum().backward()
    assert bool(z.isfinite().all()) and bool(t.grad.isfinite()) and bool(pairs.queries.grad.isfinite().all())
