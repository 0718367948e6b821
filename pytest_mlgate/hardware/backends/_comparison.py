"""Times several models against each other in one process, for every backend that opens its own sessions."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .protocol import Answer, Job
from .timing import Run, load_feeds, sample_rounds, warm_up


def compare(job: Job, opened: Callable[[Path], Run], facts: dict[str, Any]) -> Answer:
    """Return the times of the artifact, of its reference and of the others, interleaved row by row.

    `opened` makes a model ready to run. Which of two equal ones is opened first moves the times by percents,
    so chance decides the order; the answer lists them as the job does.
    """
    names = [job.artifact, *([job.reference] if job.reference else []), *job.others]
    order = list(range(len(names)))
    random.Random(job.seed).shuffle(order)  # noqa: S311 - an order, not a secret
    ready = {i: opened(job.path(names[i])) for i in order}
    runs = [ready[i] for i in range(len(names))]
    own = load_feeds(job.path(job.inputs), job.batch)
    feeds = [own for _ in names]
    if job.reference_inputs:
        feeds[1] = load_feeds(job.path(job.reference_inputs), job.batch)
    settled = [warm_up(run, rows) for run, rows in zip(runs, feeds, strict=True)]
    return Answer(
        **facts,
        pairs_ns=sample_rounds(runs, feeds, job.runs, job.least_runs, job.seconds, job.seed, job.precision),
        warm_up_runs=sum(count for count, _ in settled),
        stationary=all(calm for _, calm in settled),
    )
