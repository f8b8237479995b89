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
# No fused multiplication and addition: the same digits on all processors.
FLAGS = [] if os.name == "nt" else ["-O3", "-g0", "-w", "-ffp-contract=off"]


class Build(build_ext):
    """Compiles all kernels, or none: compiled and interpreted ones do not know each other's functions."""

    def run(self) -> None:
        """Compile, and say in one line where that is not possible."""
        try:
            super().run()
        except (BaseError, CompileError, LinkError, OSError) as error:
            print(f"the kernels are not compiled and will run many times slower: {error}", file=sys.stderr)
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []


extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        extra_compile_args=FLAGS,
        define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one wheel for Python 3.11 and newer
        py_limited_api=True,
    )
    for path in KERNELS
    if path.with_suffix(".pxd").exists()
]
setup(
    cmdclass={"build_ext": Build},
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, build_dir="build/cython"),
    options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": os.cpu_count()}},
)
