"""Building: Cython compiles the kernels; without a C compiler they run as the Python that they are."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

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
FLAGS = [] if os.name == "nt" else ["-O3", "-g0"]

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        extra_compile_args=FLAGS,
        define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one wheel for Python 3.11 and newer
        py_limited_api=True,
        optional=True,
    )
    for path in KERNELS
    if path.with_suffix(".pxd").exists()
]
setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, build_dir="build/cython"),
    options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": os.cpu_count()}},
)
