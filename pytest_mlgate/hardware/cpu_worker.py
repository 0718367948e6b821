"""Times one ONNX file in a process of its own and prints the figures as JSON.

Called as `python -m pytest_mlgate.hardware.cpu_worker MODEL INPUTS RUNS PERCENTILE`. A fresh process for
every repeat is what makes the interval honest: the spread inside one process does not cover the next one.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

#: Runs that are thrown away while caches, frequency and allocator settle.
WARM_UP = 50


def main(arguments: list[str]) -> int:
    """Time the model, one row per run, rotating over the rows, and print the percentile in milliseconds."""
    import numpy as np

    from ..candidate.model import cpu_session

    model_path, inputs_path, runs, percentile = arguments
    with open(model_path, "rb") as file:
        session = cpu_session(file.read())
    stored = np.load(inputs_path, allow_pickle=False)
    columns = {name: _restore(stored[name]) for name in stored.files}
    rows = len(next(iter(columns.values())))
    feeds = [{name: values[i : i + 1] for name, values in columns.items()} for i in range(rows)]
    elapsed = [_timed(session, feeds[i % rows]) for i in range(WARM_UP + int(runs))][WARM_UP:]
    print(
        json.dumps(
            {
                "percentile_ms": float(np.percentile(elapsed, float(percentile), method="higher")) / 1e6,
                "median_ms": float(np.median(elapsed)) / 1e6,
                "runs": len(elapsed),
                "providers": session.get_providers(),
            }
        )
    )
    return 0


def _timed(session: Any, feed: dict[str, Any]) -> int:
    start = time.perf_counter_ns()
    session.run(None, feed)
    return time.perf_counter_ns() - start


def _restore(values: Any) -> Any:
    return values.astype(object) if values.dtype.kind == "U" else values


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
