"""What other frameworks call operators and attributes → the name here."""

from collections.abc import Collection

STAGES = {
    "adaptiveavgpool": "pool(avg, global)",
    "adaptivemaxpool": "pool(max, global)",
    "averagepool": "pool(avg, 2)",
    "averagepooling": "pool(avg, 2)",
    "avgpool": "pool(avg, 2)",
    "convtranspose": "conv_transpose(8, 2, stride = 2)",
    "deconv": "conv_transpose(8, 2, stride = 2)",
    "depthwise": "conv(x.channels, 3, groups = x.channels)",
    "depthwiseconv": "conv(x.channels, 3, groups = x.channels)",
    "fc": "dense(10)",
    "fullyconnected": "dense(10)",
    "globalaveragepool": "pool(avg, global)",
    "globalaveragepooling": "pool(avg, global)",
    "globalavgpool": "pool(avg, global)",
    "globalmaxpool": "pool(max, global)",
    "globalmaxpooling": "pool(max, global)",
    "grouped": "conv(8, 3, groups = 4)",
    "groupedconv": "conv(8, 3, groups = 4)",
    "identity": "id",
    "interpolate": "resize(linear, 2)",
    "linear": "dense(10)",
    "locallyconnected": "unshared(8, 3)",
    "maxpool": "pool(max, 2)",
    "maxpooling": "pool(max, 2)",
    "mean": "reduce(mean, [2, 3])",
    "permute": "transpose([0, 2, 3, 1])",
    "pixelshuffle": "depth_to_space(2, mode = crd)",
    "sum": "reduce(sum, [2, 3])",
    "swish": "silu",
    "upsample": "resize(nearest, 2)",
    "upsampling": "resize(nearest, 2)",
    "view": "reshape([N, -1])",
    "zeropad": "pad(1)",
}
"""Operators of PyTorch, Keras and ONNX that are none here, in lower case without `_` and the
number of axes: a stage that does the same, with numbers as an example."""

_ATTRIBUTES = {
    "alpha": ("slope",),
    "dim": ("axis", "axes"),
    "dims": ("order", "axes"),
    "filters": ("channels",),
    "kernel": ("size",),
    "kernelsize": ("size",),
    "negativeslope": ("slope",),
    "outchannels": ("channels",),
    "outfeatures": ("features",),
    "p": ("rate",),
    "perm": ("order",),
    "poolsize": ("size",),
    "start": ("begin",),
    "stop": ("end",),
    "units": ("features",),
}


def familiar_stage(name: str) -> str | None:
    """Text for `help` where `name` is an operator of other frameworks, else `None`."""
    folded = name.lower().replace("_", "")
    for axes in ("1d", "2d", "3d"):
        folded = folded.removesuffix(axes)
    stage = STAGES.get(folded)
    return f"here it is `{stage}`, for example" if stage else None


def familiar_attribute(name: str, known: Collection[str]) -> str | None:
    """Text for `help` where an operator with attributes `known` calls `name` by another name."""
    for each in _ATTRIBUTES.get(name.lower().replace("_", ""), ()):
        if each in known:
            return f"here it is called `{each}`"
    return None
