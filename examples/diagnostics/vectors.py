"""Three sets of vectors, and what tells them apart: healthy pairs, a common offset, and a model that uses two directions."""

import torch

from dipole.diagnostics import alignment, anisotropy, cosine_gap, effective_rank, isotropic_rank, isotropy, uniformity

draw = torch.Generator().manual_seed(0)
x = torch.randn(500, 64, generator=draw)
y = x + 0.5 * torch.randn(500, 64, generator=draw)  # the positive of each row

two = (torch.arange(64) < 2).float()
sets = {"healthy": (x, y), "offset": (x + 2, y + 2), "flat": (x * two, y * two)}
for name, (queries, keys) in sets.items():
    gap = cosine_gap(queries, keys)
    print(f"{name:8} alignment {alignment(queries, keys):.2f}  uniformity {uniformity(queries):.2f}  mean cosine {anisotropy(queries):.2f}")
    print(f"{'':8} pairs {gap.matched:.2f} against strangers {gap.random:.2f}")
    share = effective_rank(queries) / isotropic_rank(*queries.shape)
    print(f"{'':8} {share:.0%} of the directions that evenly spread vectors use, IsoScore {isotropy(queries):.2f}")

assert alignment(x + 2, y + 2) < alignment(x, y)  # an offset makes pairs look closer ...
assert cosine_gap(x + 2, y + 2).gap < cosine_gap(x, y).gap  # ... and strangers even more
assert uniformity(x) < -3.5 < -1 < uniformity(x + 2)

few = uniformity(x, rows=100)  # 100 rows against all, with its standard error
assert abs(few - uniformity(x)) < 4 * few.error
