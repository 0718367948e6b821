"""The YAML block at the top of a Hugging Face model card.

Its format has no field for an interval, a bound or a grade, so that intervals are metrics of their own and
grades stand in names.
`verified` is never set: on the Hub it means that Hugging Face ran the evaluation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from pytest_mlgate.evidence import Grade, Json, Measurement, Run
from pytest_mlgate.text import clean

from ._card import stated
from ._rows import informative, rows
from ._text import NAME_LIMIT

#: The Hub reads the whole block on every page view; the text below it and evidence.json hold the rest.
MOST_MEASUREMENTS = 300
#: Keys of the Hub's format that are taken over as the user wrote them.
_TAKEN_OVER = ("language", "base_model", "datasets")


def front_matter(run: Run) -> str:
    """Return the block with its delimiters: tags, library, license, and the measured values."""
    content = {
        **_license(stated(run, "license")),
        **_library(run),
        **{key: value for key in _TAKEN_OVER if (value := _names(stated(run, key)))},
        "tags": _tags(run),
        **_model_index(run),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"---\n{text}---\n"


def _license(license_: Json) -> dict[str, str]:
    if not isinstance(license_, str) or not license_.strip():
        return {}
    name = clean(license_, NAME_LIMIT)
    # The Hub names licences by a short lower-case word; any other is `other` with its name beside it.
    if re.fullmatch(r"[A-Za-z0-9.-]+", name):
        return {"license": name.lower()}
    return {"license": "other", "license_name": name}


def _library(run: Run) -> dict[str, str]:
    return {"library_name": "onnx"} if run.release and run.release.kind.upper() == "ONNX" else {}


def _tags(run: Run) -> list[str]:
    outcome = f"mlgate-{run.decision.outcome}"
    return list(dict.fromkeys([*_names(stated(run, "tags")), "pytest-mlgate", outcome]))


def _names(value: Json) -> list[str]:
    items = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [clean(item, NAME_LIMIT) for item in items if isinstance(item, str) and item.strip()]


def _model_index(run: Run) -> dict[str, Any]:
    metrics = [entry for m in _measurements(run)[:MOST_MEASUREMENTS] for entry in _metrics(m)]
    if not metrics:
        return {}
    task = (_names(stated(run, "task")) or ["tabular-classification"])[0]
    result = {"task": {"type": task}, "dataset": _dataset(run), "metrics": metrics}
    return {"model-index": [{"name": clean(run.name, NAME_LIMIT) or "model", "results": [result]}]}


def _dataset(run: Run) -> dict[str, str]:
    table = next((d for d in run.data if d.role == "test"), None) or next(iter(run.data), None)
    if table is None:
        return {"type": "unknown", "name": "unknown"}
    name = clean(f"{table.source} ({table.role})", NAME_LIMIT)
    revision = clean(table.digest, NAME_LIMIT)
    return {"type": clean(table.source, NAME_LIMIT) or "unknown", "name": name, "revision": revision}


def _measurements(run: Run) -> list[Measurement]:
    judged = [row.measurement for row in rows(run) if row.measurement is not None]
    return [*dict.fromkeys(judged), *(m for item in run.evidence for m in informative(item))]


def _metrics(m: Measurement) -> Iterator[dict[str, Any]]:
    if m.value is None or not math.isfinite(m.value):
        return
    name = clean(f"{m.metric} [{m.scope}]" if m.scope else m.metric, NAME_LIMIT)
    unit = f" in {clean(m.unit, NAME_LIMIT)}" if m.unit else ""
    if m.grade is not Grade.MEASURED:
        unit += f" ({m.grade})"
    kind = clean(m.metric, NAME_LIMIT) or "unnamed"
    yield {"type": kind, "name": f"{name}{unit}", "value": m.value}
    if m.interval is None or m.interval.low == m.interval.high:
        return
    for end, value in (("low", m.interval.low), ("high", m.interval.high)):
        if value is not None:
            label = f"{name}{unit} ({m.interval.confidence * 100:.3g}% CI {end})"
            yield {"type": kind, "name": label, "value": value}
