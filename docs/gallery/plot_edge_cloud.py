"""
Where to cut between camera and cloud
=====================================

AlexNet on a Jetson Nano beside the camera, with an A100 behind an uplink. The slower the uplink, the later
the cut: what leaves a late layer is small.
"""

import matplotlib.pyplot as plt

import placer

instance = placer.load("../../data/edge_cloud.json")
sweep = placer.sweep(instance, ["bandwidth:edge=1e6,2e6,4e6,8e6,16e6,32e6,64e6"])
uplinks = [point.settings["bandwidth:edge"] / 1e6 for point in sweep.points]
on_camera = [
    sum(device.startswith("edge") for device in result.assignment.values()) for _, result in sweep.results
]

figure, (times, cut) = plt.subplots(2, 1, sharex=True, figsize=(6, 4), layout="constrained")
times.plot(uplinks, [point.objective for point in sweep.points], "o-", color="#3d6fb4")
times.set_ylabel("ms per image")
times.set_ylim(bottom=0)
cut.step(uplinks, on_camera, where="mid", color="#d98324")
cut.set_ylabel("layers on the camera")
cut.set_xscale("log", base=2)
cut.set_xticks(uplinks, [f"{uplink:g}" for uplink in uplinks])
cut.set_xlabel("uplink, MB/s")
