"""What the report shows of privacy: what is claimed, recomputed and audited, and what each cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_mlgate.evidence import MOST_POINTS, Cell, Chart, Series, Table
from pytest_mlgate.privacy.accounting import Cost
from pytest_mlgate.privacy.mechanism import (
    distance_p_value,
    fresh_p_value,
    normal_p_value,
    scale_interval,
    scale_p_value,
    smallest_visible_deficit,
)
from pytest_mlgate.privacy.record import Noise, Record

from ._privacy_run import TrainingRun


def tables(
    runs: Sequence[TrainingRun], result: Cost | None, delta: float, refuted: Sequence[str]
) -> tuple[Table, ...]:
    """Return the tables: figures, claims that are not so, the training, its mechanism, and all runs."""
    found = [_figures(runs[0], result, delta)]
    if refuted:
        found.append(
            Table(
                title="Claims of the training that are not so",
                columns=("claim",),
                rows=tuple((text,) for text in refuted),
            )
        )
    record = runs[0].record
    if record is not None:
        found.append(_training(record))
        tests = _mechanism(record)
        found += [tests] if tests.rows else []
    if len(runs) > 1:
        found.append(_all_runs(runs))
    return tuple(found)


def charts(run: TrainingRun, result: Cost | None, bound: float | None) -> tuple[Chart, ...]:
    """Return the drawings: epsilon as claimed and recomputed, and the noise of each layer."""
    found = []
    if result is not None:
        values = {"claimed": run.claim, "recomputed (PLD)": result.epsilon, "recomputed (RDP)": result.by_rdp}
        shown = {name: value for name, value in values.items() if value is not None}
        found.append(
            Chart(
                title="Epsilon as claimed and as recomputed",
                kind="bars",
                x_label="",
                y_label="epsilon",
                series=(Series(name="epsilon", x=tuple(shown), y=tuple(shown.values())),),
                bound=bound,
                note="Recomputed figures are upper bounds on what the recorded steps reveal.",
            )
        )
    layers = [layer for layer in run.record.ending.layers if layer.values] if run.record else []
    if layers:
        shown_layers = layers[:MOST_POINTS]
        ends = [scale_interval(layer.values, layer.squares, 0.99) for layer in shown_layers]
        found.append(
            Chart(
                title="Noise that the training added, relative to what it declared",
                kind="bars",
                x_label="tensor of weights",
                y_label="standard deviation / declared",
                series=(
                    Series(
                        name="noise",
                        x=tuple(layer.name for layer in shown_layers),
                        y=tuple(math.sqrt(layer.squares / layer.values) for layer in shown_layers),
                        low=tuple(low for low, _ in ends),
                        high=tuple(high for _, high in ends),
                    ),
                ),
                bound=1.0,
                note="99% intervals; 1 is noise of the declared scale.",
            )
        )
    return tuple(found)


def _figures(run: TrainingRun, result: Cost | None, delta: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    if run.claim is not None:
        rows.append(
            (
                "claimed",
                run.claim,
                f"{run.claimant}, delta {run.delta:g}",
                "what the training says of itself",
                "anything: it decides nothing",
            )
        )
    rows.append(
        (
            "recomputed",
            None if result is None else result.epsilon,
            f"{run.endless or (result.method if result else '')}, delta {delta:g}",
            "an upper bound on what the recorded steps reveal of one unit",
            "that the released weights come from these steps"
            if run.record is not None
            else "that these steps happened: the figures were stated",
        )
    )
    if result is not None:
        rows.append(
            ("cross-check", result.by_rdp, "RDP", "that two accountants agree on the order", "a tight figure")
        )
    if run.record is not None and run.record.ending.noise is not None:
        rows.append(
            (
                "audited",
                None,
                "noise, clipping and batches as the recorder saw them",
                "that the steps are those of the mechanism that was accounted for",
                "that the noise is secret, or what else was published about the rows",
            )
        )
    return Table(
        title="Epsilon: claimed, recomputed, audited",
        columns=("figure", "epsilon", "how it came about", "shows", "does not show"),
        rows=tuple(rows),
    )


def _training(record: Record) -> Table:
    header, steps, ending = record.header, record.steps, record.ending
    sizes = [step.rows for step in steps]
    noises = sorted({step.noise_multiplier for step in steps})
    norms = sorted({step.max_grad_norm for step in steps if step.max_grad_norm is not None})
    uses = [count for count, rows in ending.participation if rows]
    facts: list[tuple[Cell, ...]] = [
        ("rows of the table", f"{header.dataset_size:,}"),
        ("sampling", f"{header.sampler.law} ({header.sampler.kind})"),
        ("sampling rate", "none" if header.sampler.rate is None else f"{header.sampler.rate:g}"),
        ("steps", f"{len(steps):,}"),
        ("batches drawn", f"{ending.drawn:,}"),
        ("batches used", f"{sum(step.draws for step in steps):,}"),
        ("batches processed by the device", f"{sum(step.physical for step in steps):,}"),
        ("rows of a step", f"{sum(sizes) / len(sizes):.4g} ({min(sizes):,} to {max(sizes):,})"),
        ("uses of a row", f"{min(uses):,} to {max(uses):,}" if uses else "not told"),
        ("noise multiplier", _range(noises)),
        ("clipping norm", _range(norms) if norms else "none"),
        ("clips and adds noise", header.mechanism),
        ("seal", record.seal),
    ]
    if header.layer_norms is not None:
        facts.insert(
            -2, ("clipping norm of each layer", ", ".join(f"{x:g}" for x in header.layer_norms[:20]))
        )
    return Table(title="What the training did", columns=("what", "recorded"), rows=tuple(facts))


def _mechanism(record: Record) -> Table:
    rows: list[tuple[Cell, ...]] = []
    ending = record.ending
    probed = None if ending.probe is None else ending.probe.noise
    for where, noise in (("training", ending.noise), ("probe", probed)):
        if noise is not None and noise.values:
            rows += _noise_rows(where, noise)
    if ending.probe is not None:
        p_value = distance_p_value(ending.probe)
        rows.append(
            ("probe", "noise is normal (Kolmogorov-Smirnov)", f"{ending.probe.distance:.3g}", p_value)
        )
        rows.append(
            ("probe", "clipped sum, deviation for each row", f"{ending.probe.clip_deviation:.2g}", None)
        )
    compared = [step.clip_deviation for step in record.steps if step.clip_deviation is not None]
    if compared:
        what = f"clipped sum, deviation for each row, in {len(compared):,} steps"
        rows.append(("training", what, f"{max(compared):.2g}", None))
    return Table(
        title="Tests of the mechanism",
        columns=("where", "test", "found", "p-value"),
        rows=tuple(rows),
        note="A test refuses the record below one in a million, all tests of one place together.",
    )


def _noise_rows(where: str, noise: Noise) -> list[tuple[Cell, ...]]:
    low, high = scale_interval(noise.values, noise.squares, 0.99)
    visible = smallest_visible_deficit(noise.values)
    ratio = math.sqrt(noise.squares / noise.values)
    return [
        (
            where,
            f"noise has the declared scale ({noise.values:,} values; {visible:.1%} too little would be seen)",
            f"{ratio:.4g} (99% CI {low:.4g} to {high:.4g})",
            scale_p_value(noise.values, noise.squares),
        ),
        (
            where,
            "noise is normal (kurtosis)",
            f"{noise.values * noise.fourths / noise.squares**2:.4g}" if noise.squares else "none",
            normal_p_value(noise),
        ),
        (
            where,
            "noise is drawn anew in every step",
            f"{noise.walk_squares / noise.walk_values:.4g}",
            fresh_p_value(noise),
        ),
    ]


def _all_runs(runs: Sequence[TrainingRun]) -> Table:
    return Table(
        title="All trainings on these rows",
        columns=("run", "seal", "sampling", "noise multiplier", "grade"),
        rows=tuple(
            ("released" if not i else f"other {i}", r.seal, r.law, r.noise_multiplier, r.grade.value)
            for i, r in enumerate(runs)
        ),
        note="Finding the released run cost what all of them cost together.",
    )


def _range(values: Sequence[float]) -> str:
    return (
        f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}, {len(values):,} values"
    )
