"""Measuring the operators of a PyTorch model on the device that is there, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from placer.errors import InputError, UsageError
from placer.imports.profiles import BACKWARD, ROOT
from placer.imports.torch_costs import tensors_in
from placer.imports.torch_export import Exported, exported, torch_for
from placer.imports.torch_model import model_of
from placer.measuring.settings import check_counts

__all__ = ["TorchTimes", "profile_torch"]


@dataclass(frozen=True)
class TorchTimes:
    """What a model takes on a device.

    Parameters
    ----------
    ms
        Median milliseconds of each operator, named as `placer.imports.torch_model.read_torch` names them;
        ``NAME/backward`` for the gradients that training needs.
    modules
        The module of each operator; `ROOT` for those of the model itself.
    forward_ms, training_ms
        The model as it is, run as a whole; forward and backward together (None where nothing is trained).
    forward_bytes, training_bytes
        Largest sum of bytes of tensors alive meanwhile, weights not counted, gradients counted.
    """

    ms: dict[str, float]
    modules: dict[str, str]
    forward_ms: float
    training_ms: float | None
    forward_bytes: float
    training_bytes: float | None

    def by_module(self) -> dict[str, float]:
        """Add up the times of operators by module, whose names last across versions of torch."""
        out: dict[str, float] = {}
        for name, ms in self.ms.items():
            operator = name.removesuffix(BACKWARD)
            key = self.modules[operator] + name.removeprefix(operator)
            out[key] = out.get(key, 0.0) + ms
        return out


def profile_torch(
    factory: str | Callable[[], Any] | tuple[Any, ...],
    *,
    device: str = "cpu",
    backward: bool = True,
    repeats: int = 20,
    warmup: int = 3,
    threads: int = 1,
    seed: int = 0,
) -> TorchTimes:
    """Measure every operator of a model.

    The exported graph is run node by node, whole runs one after the other, so that caches are as warm as in
    a real run.  The backward pass of an operator is that of its inputs that training needs gradients of.

    Parameters
    ----------
    factory
        As for `placer.import_torch`, but called with ``device`` as default: weights and inputs are real.
    device
        ``cpu``, ``cuda`` or ``cuda:N``.
    backward
        Whether to measure the backward pass too.
    repeats, warmup
        Runs that count, and runs before them that do not.
    threads, seed
        Threads of operators on the host, and the seed of random weights and inputs.

    Raises
    ------
    InputError
        When the model cannot be made, exported or run.
    UsageError
        When torch is not installed, there is no such device, or an option does not fit.
    """
    check_counts(repeats=repeats, warmup=warmup, threads=threads)
    torch, place = _device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        found = exported(factory, device=device)
        modules = {o.id: o.module or ROOT for o in model_of(found).operators}
        try:
            return _measured(found, modules, place, backward, warmup, repeats)
        except (NotImplementedError, RuntimeError) as error:  # torch has no type of its own for most of them
            said = next(iter(str(error).splitlines()), "")
            raise InputError(f"it cannot be run on {device}: {said:.200}", source=found.name) from None
    finally:
        torch.set_num_threads(before)


def _device(name: str) -> tuple[Any, Any]:
    torch = torch_for("PyTorch models")
    try:
        place = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: torch knows no such device; try cpu or cuda") from None
    if place.type == "cuda" and not (
        torch.cuda.is_available() and (place.index or 0) < torch.cuda.device_count()
    ):
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda devices are measured")
    return torch, place


def _measured(
    found: Exported, modules: dict[str, str], place: Any, backward: bool, warmup: int, repeats: int
) -> TorchTimes:
    from placer.measuring.torch_run import run_operators, run_whole

    args, kwargs = found.program.example_inputs
    for tensor in (*found.module.parameters(), *found.module.buffers(), *tensors_in([args, kwargs])):
        if tensor.device.type != place.type:
            raise InputError(
                f"the factory puts tensors on {tensor.device}; leave the device to the default, and they are "
                f"made on {place}",
                source=found.name,
            )
    backward = backward and any(p.requires_grad for p in found.module.parameters())
    ms = run_operators(found.program, place, backward, warmup, repeats)
    forward_ms, forward_bytes = run_whole(found, place, False, warmup, repeats)
    training_ms, training_bytes = run_whole(found, place, True, warmup, repeats) if backward else (None, None)
    return TorchTimes(
        ms={name: t for name, t in ms.items() if name.removesuffix(BACKWARD) in modules},
        modules=modules,
        forward_ms=forward_ms,
        training_ms=training_ms,
        forward_bytes=forward_bytes,
        training_bytes=training_bytes,
    )
