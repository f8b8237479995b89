"""Building: Cython compiles the kernels; without a C compiler they run as the Python that they are."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

KERNELS = sorted(Path("placer").glob("methods/*/kernels/*.py"))
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
    "annotation_typing": False,  # annotations say what Python sees; the types of C stand in the pxd files
    "infer_types": True,
}
MEMORYVIEWS = "placer.methods.memoryviews"  # Cython's own code, which all kernels would repeat


def extension(name: str, source: str, *, level: str) -> Extension:
    """Describe a module to compile, optimised up to a level."""
    # No fused multiplication and addition: the same digits on all processors.
    flags = [] if os.name == "nt" else [level, "-g0", "-w", "-ffp-contract=off"]
    return Extension(
        name,
        [source],
        extra_compile_args=flags,
        define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one wheel for Python 3.11 and newer
        py_limited_api=True,
    )


class Build(build_ext):
    """Compiles all kernels, or none: compiled and interpreted ones do not know each other's functions."""

    def run(self) -> None:
        """Compile, and say in one line where that is not possible."""
        try:
            super().run()
        except (BaseError, CompileError, LinkError, OSError) as error:
            print(f"the kernels are not compiled and will run many times slower: {error}", file=sys.stderr)
            for module in self.extensions:
                Path(self.get_ext_fullpath(module.name)).unlink(missing_ok=True)
            self.extensions = []


extensions = [
    extension(".".join(path.with_suffix("").parts), str(path), level="-O1" if path.stem == "views" else "-O3")
    for path in KERNELS
    if path.with_suffix(".pxd").exists()
]
extensions.append(extension(MEMORYVIEWS, MEMORYVIEWS.replace(".", "/") + ".c", level="-O1"))
setup(
    cmdclass={"build_ext": Build},
    ext_modules=cythonize(
        extensions,
        compiler_directives=DIRECTIVES,
        build_dir="build/kernels",
        shared_utility_qualified_name=MEMORYVIEWS,
    ),
    options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": os.cpu_count()}},
)
