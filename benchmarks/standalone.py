"""Networks as code that stands alone: what cnnc builds, plain loops, and other generators.

    pip install -e '.[bench]' emx-onnx-cgen
    python benchmarks/standalone.py --nets resnet18,ds_cnn --rounds 5 --seconds 0.5 --json out.json

Forms are cnnc's native code in process, its object file, its C source compiled by gcc and by clang,
plain loops as simple generators write them, and the C of `emx-onnx-cgen` and `onnx2c` where these
are on the path. The last three are compiled by gcc -O3 -march=native from networks whose batchnorms
are folded. Each form runs in a process of its own on one core; outputs are compared before anything
is timed, and forms take turns. One that cannot be built is left out; the reason stands below.
"""

from standalone.main import main

if __name__ == "__main__":
    raise SystemExit(main())
