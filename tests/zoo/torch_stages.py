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
    """Operations of products that an input reaches, and of the biases of layers; parameters."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device(device), torch.no_grad(), _attention_in_products():
        module, inputs = make()
        for part in module.modules():
            if hasattr(getattr(part, "config", None), "_experts_implementation"):
                part.config._experts_implementation = "batched_mm"
        products = _products_seen(inputs)
        for part in module.modules():
            if getattr(part, "bias", None) is not None and getattr(part, "weight", None) is not None:
                part.register_forward_pre_hook(lambda *_: products.enter())
                part.register_forward_hook(lambda _, __, out: products.leave(out))
        with FlopCounterMode(display=False) as counter, products, sdpa_kernel(SDPBackend.MATH):
            module(**inputs)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return float(counter.get_total_flops() - products.apart), products.added, trained


def _products_seen(inputs: Any) -> Any:
    """Make a mode that counts the products which no input reaches, and the additions of biases.

    The former are made once, not in every run.  The latter are those of modules with a bias, and of products
    that functions make outside of such.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    def memory(values: Any) -> dict[int, Any]:
        held = [t.untyped_storage() for t in tree_leaves(values) if isinstance(t, torch.Tensor)]
        return {storage._cdata: storage for storage in held}  # views share it

    biases = {torch.ops.aten.convolution: lambda args: args[2] is not None}
    biases[torch.ops.aten.addmm] = lambda _: True

    class Products(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.reached = memory(inputs)  # kept, lest another takes its place
            self.apart = 0
            self.added = 0.0
            self.inside = 0

        def enter(self) -> None:
            self.inside += 1

        def leave(self, out: Any) -> None:
            self.inside -= 1
            self.added += out.numel()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if not self.reached.keys().isdisjoint(memory((args, kwargs))):
                self.reached.update(memory(out))
                if not self.inside and biases.get(func._overloadpacket, lambda _: False)(args):
                    self.added += out.numel()
            elif func._overloadpacket in flop_registry:
                self.apart += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
            return out

    return Products()


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
