"""torch modules and scikit-learn estimators to ONNX, with the export checked against its source."""

from __future__ import annotations

import importlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from ..dataset import Frame, matrix
from ..errors import CandidateRefused, CheckError, MissingExtra

if TYPE_CHECKING:
    from .model import Output

#: Rows on which the exported graph is compared with its source.
PARITY_ROWS = 64
#: Of these, so many are compared alone as well: a branch on the whole batch shows up there.
_SINGLE_ROWS = 16
#: Gradient-boosting libraries that onnxmltools converts, with the module of their estimators' converter.
_BOOSTERS = {"lightgbm": "LightGbm", "xgboost": "XGBoost"}
_BOOSTER_OPSETS = {"": 15, "ai.onnx.ml": 3}
#: Largest difference that float32 arithmetic in another order explains: of probabilities and logits, or as a
#: share of the largest value.
PARITY_TOLERANCE = 1e-4


def is_torch_module(model: Any) -> bool:
    """Return whether the object is a torch module, without importing torch."""
    return any(t.__module__.startswith("torch.nn") and t.__name__ == "Module" for t in type(model).__mro__)


def is_sklearn_estimator(model: Any) -> bool:
    """Return whether the object is a scikit-learn estimator, without importing scikit-learn."""
    return any(
        t.__name__ == "BaseEstimator" and t.__module__.startswith("sklearn.") for t in type(model).__mro__
    )


def export_torch(
    module: Any, frame: Frame, features: tuple[str, ...], name: str, output: Output = "probability"
) -> bytes:
    """Return the module as ONNX with a free batch dimension.

    Tracing freezes data-dependent control flow without a word, so the graph must give the module's answers
    on rows that it was not traced with, together and one by one.

    Raises:
        CandidateRefused: the module cannot be exported or the graph disagrees with it.
    """
    import torch

    torch.set_num_threads(1)
    modes = [(part, part.training) for part in module.modules()]
    # The fused attention of evaluation mode is no operator that ONNX knows; its parts are.
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    rows = matrix(frame, features)[:PARITY_ROWS]
    buffer = io.BytesIO()
    try:
        module.eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (torch.from_numpy(rows[:2]),),
                buffer,  # pyright: ignore[reportArgumentType] - the tracing exporter writes to buffers too
                dynamo=False,
                input_names=["features"],
                output_names=["score"],
                dynamic_axes={"features": {0: "rows"}, "score": {0: "rows"}},
            )
            batches = [rows, *(rows[i : i + 1] for i in range(min(len(rows), _SINGLE_ROWS)))]
            answers = [(b, module(torch.from_numpy(b)).numpy()) for b in batches]
    except Exception as error:  # the exporter raises whatever the module's own code raises
        raise CandidateRefused(f"candidate {name!r} cannot be exported to ONNX: {error}") from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)
        for part, was_training in modes:
            part.training = was_training
    data = buffer.getvalue()
    for batch, expected in answers:
        _require_parity(data, {"features": batch}, expected, name, output)
    return data


def export_sklearn(
    estimator: Any, frame: Frame, features: tuple[str, ...], name: str, output: Output = "probability"
) -> bytes:
    """Return the fitted estimator or pipeline as ONNX.

    Numeric features go in as one matrix, as most estimators take them; text, and pipelines that pick
    columns by name, go in as one input for each column.

    Raises:
        CandidateRefused: skl2onnx has no conversion for it, or the graph disagrees with it.
        MissingExtra: skl2onnx is not installed.
    """
    try:
        import skl2onnx  # noqa: F401 - only whether it is there
    except ImportError:
        raise MissingExtra("skl2onnx", "sklearn") from None
    rows = frame.head(PARITY_ROWS)
    numeric = {n: frame[n].dtype.is_numeric() or frame[n].dtype == nw.Boolean for n in features}
    refusals = []
    for as_matrix in (True, False) if all(numeric.values()) else (False,):
        try:
            return _converted(estimator, rows, numeric, name, output, as_matrix=as_matrix)
        except CandidateRefused as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _teach_boosters(estimator: Any) -> dict[str, int] | None:
    """Teach skl2onnx the gradient-boosting libraries' estimators, wherever they stand in a pipeline.

    Returns the operator sets that their converters know; `None` where there is no such estimator.

    Raises:
        MissingExtra: onnxmltools is not installed.
    """
    parts = [estimator, *(step for _, step in getattr(estimator, "steps", ()))]
    opsets = None
    for part in parts:
        library = type(part).__module__.partition(".")[0]
        if library not in _BOOSTERS:
            continue
        opsets = _BOOSTER_OPSETS
        try:
            operators = importlib.import_module(f"onnxmltools.convert.{library}.operator_converters")
        except ImportError:
            raise MissingExtra(f"onnxmltools, which converts {library}", "trees") from None
        from skl2onnx import update_registered_converter
        from skl2onnx.common import shape_calculator as shapes

        module = importlib.import_module(f"{operators.__name__}.{_BOOSTERS[library]}")
        classifies = hasattr(part, "predict_proba")
        update_registered_converter(
            type(part),
            f"{library}{type(part).__name__}",
            shapes.calculate_linear_classifier_output_shapes
            if classifies
            else shapes.calculate_linear_regressor_output_shapes,
            getattr(module, f"convert_{library}"),
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]} if classifies else {},
        )
    return opsets


def _converted(
    estimator: Any, rows: Frame, numeric: dict[str, bool], name: str, output: Output, *, as_matrix: bool
) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    features = tuple(numeric)
    feeds: dict[str, NDArray[Any]]
    if as_matrix:
        types: list[tuple[str, Any]] = [("features", FloatTensorType([None, len(features)]))]
        feeds = {"features": matrix(rows, features)}
    else:
        types = [(n, (FloatTensorType if numeric[n] else StringTensorType)([None, 1])) for n in features]
        feeds = {n: matrix(rows, [n]) if numeric[n] else _texts(rows, n) for n in features}
    opsets = _teach_boosters(estimator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
            graph: Any = to_onnx(estimator, initial_types=types, options=options, target_opset=opsets)
            answer = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.predict
            expected = np.asarray(answer(_pandas_or_matrix(estimator, rows, features)))
    except Exception as error:  # converters and estimators raise their own kinds
        raise CandidateRefused(f"candidate {name!r} cannot be exported to ONNX: {error}") from None
    data = bytes(graph.SerializeToString())
    _require_parity(data, feeds, expected, name, output)
    return data


def _texts(rows: Frame, name: str) -> NDArray[Any]:
    return np.asarray([str(v) for v in rows[name].to_list()], dtype=object).reshape(-1, 1)


def _pandas_or_matrix(estimator: Any, rows: Frame, features: tuple[str, ...]) -> Any:
    if hasattr(estimator, "feature_names_in_"):
        return rows.select(*features).to_pandas()
    return matrix(rows, features)


def _require_parity(
    data: bytes, feeds: dict[str, NDArray[Any]], expected: NDArray[Any], name: str, output: Output
) -> None:
    from .model import _scores_among, cpu_session

    try:
        answer = _scores_among(cpu_session(data).run(None, feeds))
    except CheckError as error:
        raise CandidateRefused(f"candidate {name!r} was exported, but {error}") from None
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise CandidateRefused(f"candidate {name!r} was exported, but does not run: {error}") from None
    if answer.size != expected.size:
        raise CandidateRefused(
            f"candidate {name!r}: the exported graph answers with shape {answer.shape}, the model with "
            f"{expected.shape}"
        )
    # Answers that are no numbers are refused where they are used; here they must only agree.
    pairs = np.nan_to_num(answer.reshape(expected.shape)), np.nan_to_num(expected)
    difference = float(np.max(np.abs(pairs[0] - pairs[1]), initial=0.0))
    largest = float(np.max(np.abs(pairs[1]), initial=0.0))
    # Values may all be small, and then a small difference is a large one.
    scale = (largest or 1.0) if output == "value" else max(1.0, largest)
    if not difference <= PARITY_TOLERANCE * scale:
        raise CandidateRefused(
            f"candidate {name!r}: the exported graph differs from the model by {difference:.3g} on "
            f"{len(expected)} rows (accepted: {PARITY_TOLERANCE * scale:.3g}); does it branch on its input?"
        )
