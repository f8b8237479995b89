"""The shared measured profiles, beside the shared workloads."""

import pytest

from tests.support import workloads

ROOT = workloads.ROOT.parent / "profiles"
PROFILES = ("densenet121", "gnmt", "nasnetamobile", "resnet50", "vgg16")

needs_profiles = pytest.mark.skipif(
    not (ROOT / "vgg16.graph.txt").is_file(),
    reason="the shared measured profiles are not beside the checkout (set PLACER_WORKLOADS)",
)
