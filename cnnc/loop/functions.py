"""Mathematical functions of the loop language."""

PRIMITIVES = frozenset({"sqrt", "abs", "ldexp", "exponent", "mantissa", "copysign"})
"""Functions every backend implements; `ldexp(x, n)` takes an integral float n.

`exponent(x)` and `mantissa(x)` split a positive normal x = mantissa * 2**exponent with mantissa in
[1, 2).
"""
ELEMENTARY = frozenset({"exp", "log", "tanh", "erf", "pow", "expm1", "log1p", "sigmoid", "silu"})
"""Functions that lowering replaces by primitives; silu(x) is x sigmoid(x)."""
FUNCTIONS = PRIMITIVES | ELEMENTARY
