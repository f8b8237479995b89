"""Entries that are modules of PyTorch: counted by PyTorch's own counter, exported as device maps."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import placer
from placer.errors import UsageError
from placer.imports.model import Kind, Model
from tests.zoo.entries import Torch, UnobtainableError
from tests.zoo.stages import DisagreementError, Stages

__all__ = ["TorchStages"]


class TorchStages(Stages):
    """The stages of a module."""

    options = MappingProxyType({"tied": "colocate"})

    def obtain(self) -> None:
        source = self.entry.source
        assert isinstance(source, Torch)
        self.make = source.make
        try:
            import torch
        except ImportError:
            raise UnobtainableError("torch is not installed") from None
        with torch.device("meta"):
            self.module = self.make()[0]

    def read(self) -> Model:
        from placer.imports.torch_model import read_torch

        return read_torch(self.make)

    def count(self) -> None:
        """Parameters and products, against those of a run without numbers."""
        model = self.model
        assert model is not None
        try:
            products, biases, parameters = _counted(self.make, "meta")
        except Exception:  # it reads numbers: the same with some
            products, biases, parameters = _counted(self.make, "cpu")
        if not products <= model.flops(Kind.PRODUCT) <= products + biases:
            counted = f"{products:.0f} to {products + biases:.0f}"
            raise DisagreementError(f"{model.flops(Kind.PRODUCT):.0f} operations of products, not {counted}")
        if parameters != model.parameters:
            raise DisagreementError(f"{model.parameters} parameters, not {parameters}")
        self.record.counted = "agrees"

    def export(self) -> None:
        """Write a device map, or where the plan is none, the table."""
        out = self.scratch / "map.json"
        try:
            placer.export(self.result, "device-map", out, instance=self.instance)
        except UsageError as error:
            self.record.parts = f"no device map: {error}"[:160]
            placer.export(self.result, "table", self.scratch / "plan.csv", instance=self.instance)

    def run(self) -> None:
        """Each tensor of the module is on one device."""
        if self.record.parts:
            return
        keys = json.loads((self.scratch / "map.json").read_text())
        for tensor in self.module.state_dict():
            found = [key for key in keys if not key or tensor == key or tensor.startswith(key + ".")]
            if len(found) != 1:
                raise DisagreementError(f"{tensor} has {len(found)} devices in the device map")
        self.record.parts = "device map"


def _counted(make: Any, device: str) -> tuple[float, float, int]:
    """Operations of products in a run, and of the biases of layers; parameters that it reads."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device(device), torch.no_grad(), _attention_in_products():
        module, inputs = make()
        for part in module.modules():
            if hasattr(getattr(part, "config", None), "_experts_implementation"):
                part.config._experts_implementation = "batched_mm"
        biases: list[float] = []
        for part in module.modules():
            if getattr(part, "bias", None) is not None and getattr(part, "weight", None) is not None:
                part.register_forward_hook(lambda _, __, out: biases.append(float(out.numel())))
        reads = _reads()
        with FlopCounterMode(display=False) as counter, reads, sdpa_kernel(SDPBackend.MATH):
            module(**inputs)
    trained = {id(p): p.numel() for p in module.parameters() if p.requires_grad and id(p) in reads.seen}
    return float(counter.get_total_flops()), sum(biases), sum(trained.values())


def _reads() -> Any:
    """Make a mode that notes every tensor which an operator is given."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Reads(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: set[int] = set()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen.update(map(id, tree_leaves((args, kwargs))))
            return func(*args, **(kwargs or {}))

    return Reads()


@contextlib.contextmanager
def _attention_in_products() -> Iterator[None]:
    """Have no encoder layer run as one kernel, which the counter does not know."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
