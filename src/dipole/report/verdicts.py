"""Verdicts: what a number says, against a bound that says why it is there, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dipole.report.bounds import BOUNDS

ORDER = ("ill", "watch", "healthy", "unknown")
FEW = 50  # different items below which most figures move too much to be judged firmly


@dataclass(frozen=True)
class Verdict:
    """``status`` healthy, watch, ill, or unknown where it could not be measured; ``value`` the number that says so; ``healthy`` the range
    that counts as healthy and ``why`` it does; ``message`` what the number means here; ``remedy`` what to try, empty where healthy."""

    name: str
    status: str
    value: float | None
    healthy: str
    message: str
    remedy: str = ""
    why: str = ""

    def json(self) -> dict[str, Any]:
        """As programs read it."""
        said = {"name": self.name, "status": self.status, "value": self.value, "healthy": self.healthy, "message": self.message}
        return {**said, "try": self.remedy, "why": self.why}


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts on what :func:`dipole.report.measure.measure` found."""
    said = [_rows(found), _zero(found), _cut(found), *_spread(found)]
    if found["pairs"] is not None:
        said += _pairs(found)
    else:
        said.append(
            Verdict("alignment", "unknown", None, BOUNDS["alignment"].text, "the rows hold no pairs, so nothing says what belongs together")
        )
    if found["negatives"] is not None:
        said.append(_given(found["negatives"]))
    if found["surface"] is not None:
        said += _surface(found["surface"])
    return [one for one in said if one is not None]


def judge_training(training: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts on a run's log."""
    said = []
    if training["loss_share"] is not None:
        share = training["loss_share"]
        text = f"the last losses average {training['last_loss']:.3f}, {share:.0%} of log N = {training['last_log_candidates']:.2f}"
        remedy = "check that positives belong together; raise learning_rate; train longer; lower temperature"
        said.append(_bounded("loss", share, text, remedy))
    alarms = training["alarms"]
    names = ", ".join(dict.fromkeys(alarm["text"].partition(":")[0] for alarm in alarms))
    if alarms:
        first = f"at step {alarms[0]['step']}: {alarms[0]['text']}"
        text = f"the doctor raised {len(alarms)} alarm{'s' if len(alarms) > 1 else ''}: {names}; the first {first}"
        said.append(
            Verdict(
                "alarms",
                "ill",
                float(len(alarms)),
                "none",
                text,
                "see the alarm's own advice",
                "each alarm has its own rule: docs/doctor.md",
            )
        )
    else:
        said.append(
            Verdict("alarms", "healthy", 0.0, "none", "the doctor raised no alarm", "", "each alarm has its own rule: docs/doctor.md")
        )
    return said


def _bounded(name: str, value: float, message: str, remedy: str, shown: float | None = None, healthy: str = "") -> Verdict:
    bound = BOUNDS[name]
    status = bound.status(value)
    return Verdict(
        name, status, value if shown is None else shown, healthy or bound.text, message, "" if status == "healthy" else remedy, bound.why
    )


def _rows(found: Mapping[str, Any]) -> Verdict:
    n = found["vectors"]["different"]
    why = f"below {FEW} different items a figure says more about the draw than about the model"
    if n < FEW:
        return Verdict("rows", "watch", float(n), f"at least {FEW}", f"{n} different items: figures move a lot", "give more rows", why)
    return Verdict("rows", "healthy", float(n), f"at least {FEW}", f"{n} different items were looked at", "", why)


def _zero(found: Mapping[str, Any]) -> Verdict | None:
    zero = found["counts"]["zero_vectors"]
    if not zero:
        return None
    text = f"{zero} rows have a vector of 0, which has no direction, and were left out"
    return Verdict(
        "zero vectors", "ill", float(zero), "none", text, "look for empty items, or units that died", "no cosine is defined for them"
    )


def _cut(found: Mapping[str, Any]) -> Verdict | None:
    cut, of, tokens = found["counts"]["cut"]
    if not cut:
        return None
    text = f"{cut} of {of} texts were cut to {tokens} tokens"
    return _bounded("truncation", cut / of, text, "a larger --max-tokens where the model allows it; split long texts")


def _spread(found: Mapping[str, Any]) -> list[Verdict]:
    spread = found["vectors"]
    uniformity, rank, most = found["uniformity"], found["effective_rank"], spread["isotropic_rank"]
    said = [
        _bounded(
            "uniformity",
            uniformity,
            f"log mean exp(-2 d²) is {uniformity:.2f}; 0 is all in one point, -4 fully spread",
            "more negatives or a lower temperature; a uniformity or covariance term; whitening without training",
        )
    ]
    if rank is not None:
        remedy = "lower learning_rate; a variance or covariance term; more varied rows; a smaller dimension would do as well"
        text = f"{rank:.0f} of {most:.0f} directions that evenly spread vectors of that number and size use ({rank / most:.0%})"
        said.append(
            _bounded(
                "effective rank", rank / most, text, remedy, shown=rank, healthy=f"at least {BOUNDS['effective rank'].good * most:.0f}"
            )
        )
    if found["isotropy"] is not None:
        share = found["isotropy"]
        directions = 1 + share * (spread["dimension"] - 1)
        of = f"{directions:.0f} equal directions of {spread['dimension']}"
        text = f"variance is spread as over {of} (IsoScore {share:.3f}, corrected for few rows)"
        said.append(_bounded("isotropy", share, text, "whitening; remove the strongest directions; a covariance term"))
    else:
        said.append(Verdict("isotropy", "unknown", None, BOUNDS["isotropy"].text, "the variance is undefined here; see the notes"))
    mean = spread["anisotropy"]
    text = f"two different items have a mean cosine of {mean:.2f}"
    said.append(_bounded("anisotropy", mean, text, "subtract the mean vector; more negatives or a lower temperature; lower learning_rate"))
    if "hubness" in spread:
        hubs = spread["hubness"]
        ends = f"the most frequent neighbour is one of {hubs['largest']} items, {hubs['antihubs']:.1%} are nobody's"
        text = f"skewness {hubs['skewness']:.2f}: {ends}"
        remedy = "subtract the mean vector; whitening; rank by similarity local to the query (CSLS)"
        said.append(_bounded("hubness", hubs["skewness"], text, remedy))
    return said


def _pairs(found: Mapping[str, Any]) -> list[Verdict]:
    pairs, said = found["pairs"], []
    if pairs["relative_alignment"] is None:
        text = "every two items have the same vector, so pairs are no nearer than strangers"
        said.append(
            Verdict(
                "alignment",
                "ill",
                found["alignment"],
                BOUNDS["alignment"].text,
                text,
                "see uniformity: this is collapse",
                BOUNDS["alignment"].why,
            )
        )
    else:
        share = pairs["relative_alignment"]
        text = f"pairs lie {found['alignment']:.2f} apart (squared), {share:.0%} of what strangers do"
        remedy = "check that positives belong together; train longer; a lower temperature; fewer false negatives"
        limit = BOUNDS["alignment"].good * 2 * (1 - pairs["random"])
        said.append(_bounded("alignment", share, text, remedy, shown=found["alignment"], healthy=f"at most {limit:.2f}"))
    said.append(_overlap(pairs))
    if "separability_of_sides" in pairs:
        share = pairs["separability_of_sides"]
        text = (
            f"a line tells the two sides apart for {share:.0%} of held-out items; their centres lie {pairs['gap_between_sides']:.2f} apart"
        )
        said.append(
            _bounded(
                "gap between sides",
                share,
                text,
                "if both sides go into one collection: subtract each side's mean, or train with uniformity terms",
            )
        )
    share = pairs["repeated_positives"]
    text = f"{share:.1%} of rows have a positive that another row has, too"
    said.append(_bounded("false negatives", share, text, "dipole audit DATA --fix CLEAN; give ids, which losses then leave out"))
    return said


def _overlap(pairs: Mapping[str, Any]) -> Verdict:
    """Two numbers: overlap counts every stranger alike, and is low even where each query has one stranger above its positive."""
    text = (
        f"the cosines of pairs and of strangers overlap by {pairs['overlap']:.0%}; "
        f"a stranger outscores the positive for {pairs['confused']:.0%} of queries"
    )
    healthy = f"at most {BOUNDS['confused'].good:g} of queries with a stranger above"
    remedy = "harder negatives; train longer; look at the pairs in the overlap"
    bounded = _bounded("overlap", pairs["overlap"], text, remedy)
    confused = replace(_bounded("confused", pairs["confused"], text, remedy, healthy=healthy), name="overlap")
    return min(bounded, confused, key=lambda verdict: ORDER.index(verdict.status))  # the worse; of equals, the overlap


def _given(negatives: Mapping[str, Any]) -> Verdict:
    text = f"for {negatives['unsafe']:.0%} of queries a given negative scores at least as high as the positive (ECI {negatives['eci']:.3f})"
    return _bounded("given negatives", negatives["unsafe"], text, "filter by a teacher's score; mine below the positive's score")


def _surface(surface: Mapping[str, Any]) -> list[Verdict]:
    said = []
    if surface["length"] is not None:
        value = surface["length"]["correlation"]
        text = f"rank correlation of the cosine with the difference in length: {value:+.2f} ({surface['among']})"
        said.append(
            _bounded(
                "length bias",
                max(0.0, -value),
                text,
                "vary lengths in the views, by word repetition or crops",
                shown=value,
                healthy="at least -0.2",
            )
        )
    if surface["overlap"] is not None:
        value = surface["overlap"]["correlation"]
        text = f"rank correlation of the cosine with the share of common words: {value:+.2f} ({surface['among']})"
        said.append(
            _bounded(
                "overlap bias",
                max(0.0, value),
                text,
                "positives with other words, negatives with the same",
                shown=value,
                healthy="at most 0.4",
            )
        )
    return said
