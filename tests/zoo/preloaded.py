"""What all entries need, loaded once; processes start from it, and what is not installed is passed over."""

import contextlib
import importlib
import sys
import types

# Torchvision's operators, which a build for another torch cannot load, are not asked for.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))

for name in ("onnx", "onnxruntime", "torch.onnx", "transformers.modeling_utils", "tests.zoo.processes"):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

with contextlib.suppress(ImportError):
    import torch

    torch.export.export(torch.nn.Linear(1, 1), (torch.zeros(1, 1),))  # loads what every export needs
