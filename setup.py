"""Build the compiled modules with CMake and Ninja; torch is never needed. Metadata is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """One CMake configure, build and install into the place where setuptools expects the extension."""

    def run(self) -> None:
        package = Path(self.get_ext_fullpath("mathkernels._C")).resolve().parent
        build = Path(self.build_temp).resolve()
        import pybind11

        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_INSTALL_PREFIX={package.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DMATHKERNELS_VERSION={self.distribution.get_version()}",
        ]
        if ninja := shutil.which("ninja"):  # CMake remembers that of an earlier isolated build, which is gone
            configure.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
        if cuda := os.environ.get("MATHKERNELS_CUDA"):
            configure.append(f"-DMATHKERNELS_CUDA={cuda}")
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)
        subprocess.run(["cmake", "--install", str(build)], check=True)


setup(ext_modules=[Extension("mathkernels._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
