"""What networks take of a Cortex-M4 as C source: code, memory, stack, instructions.

    python benchmarks/microcontroller.py --nets lenet5,ds_cnn [--json FILE]

Needs arm-none-eabi-gcc with newlib; with qemu-system-arm they also run, and outputs are compared.
"""

from standalone.microcontroller import main

if __name__ == "__main__":
    raise SystemExit(main())
