"""ONNX's own way to write a plan down: device configurations on every operator (IR version 11).

``ModelProto.configuration`` names the devices; on each operator, ``pipeline_stage`` is the part it runs in
and the sharding of its outputs names the one device that holds them.  Source: ONNX specification,
"Multi-device configuration".
"""

from __future__ import annotations

from pathlib import Path

from placer.errors import InputError
from placer.exports.onnx_nodes import branch_remarks, read_model
from placer.exports.placement import Placement
from placer.imports.onnx_file import light_model

__all__ = ["CONFIGURATION", "write"]

CONFIGURATION = "placer"
"""Name of the device configuration."""
IR_VERSION = 11
"""First version of the format with device configurations."""


def write(placement: Placement, path: Path) -> list[str]:
    """Write the model with the plan in it; weights in files of their own stay where they are.

    Raises
    ------
    UsageError, InputError
        When the model is missing or another one.
    """
    import onnx

    plan = read_model(placement)
    model = plan.model
    model.ir_version = max(model.ir_version, IR_VERSION)
    devices = placement.instance.devices
    del model.configuration[:]
    configuration = model.configuration.add(name=CONFIGURATION, num_devices=len(devices))
    configuration.device.extend(device.name for device in devices)
    for stage, part in enumerate(plan.parts):
        for i in part.nodes:
            node = model.graph.node[i]
            del node.device_configurations[:]
            annotation = node.device_configurations.add(configuration_id=CONFIGURATION, pipeline_stage=stage)
            for name in filter(None, node.output):
                annotation.sharding_spec.add(tensor_name=name, device=[placement.part_device(part).index])
    remarks = branch_remarks(plan)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        if _is_valid(str(placement.model)):
            raise InputError(f"the ONNX checker says: {error}", source=str(placement.model)) from None
        remarks.append("the ONNX checker objects to the model, with the plan as without")
    path.write_bytes(model.SerializeToString())
    return remarks


def _is_valid(path: str) -> bool:
    """Whether the checker has nothing against the model as it came."""
    import onnx

    try:
        onnx.checker.check_model(onnx.load(light_model(path), load_external_data=False))
    except onnx.checker.ValidationError:
        return False
    return True
