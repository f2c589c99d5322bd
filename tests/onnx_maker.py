"""Small ONNX files whose features NumPy can compute, too."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
WEIGHTS = np.random.default_rng(0).normal(0, 1, (4, 3)).astype(np.float32)


def activation(pictures, mean=0.0, std=1.0, *, bgr=False):
    """Give what `write_onnx` computes, (n, rows, columns, 4): a 1 x 1 convolution and a ReLU."""
    pixels = (pictures / 255 - np.asarray(mean)) / np.asarray(std)
    return np.maximum(pixels[..., ::-1] @ WEIGHTS.T if bgr else pixels @ WEIGHTS.T, 0)


def write_onnx(
    path,
    *,
    layout="NCHW",
    shape=None,
    kind=TensorProto.FLOAT,
    outputs=("features",),
    fixed_batch=0,
    external=False,
    one_file=True,
):
    """Write a network whose nodes are called map, tokens, classed, windows and features.

    tokens are the places in a row, (n, 64, 4), classed has a token of ones before them, windows
    are two a picture on the first axis; `fixed_batch` pictures go in at a time, any if 0.
    """
    shape = shape or (["n", 3, SIZE, SIZE] if layout == "NCHW" else ["n", SIZE, SIZE, 3])
    is_bytes = kind == TensorProto.UINT8
    dtype = np.float32 if is_bytes else helper.tensor_dtype_to_np_dtype(kind)
    channels = shape[1] if isinstance(shape[1], int) and layout == "NCHW" else 3
    constants = {
        "w": np.resize(WEIGHTS, (4, 3 if len(shape) == 3 else channels, 1, 1)).astype(dtype),
        "batch": np.array([0], np.int64),
        "row": np.array([fixed_batch, -1], np.int64),
        "square": np.array([0, SIZE * SIZE, 4], np.int64),
        "one": np.ones((1, 1, 4), dtype),
        "axes": np.array([2, 3], np.int64),
    }
    first = []
    if len(shape) == 3:
        first = [helper.make_node("Unsqueeze", ["pixels", "batch"], ["turned"])]
    elif layout == "NHWC":
        first = [helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2])]
    if is_bytes:
        first = [helper.make_node("Cast", ["pixels"], ["turned"], to=TensorProto.FLOAT)]
    nodes = [
        *first,
        helper.make_node("Conv", ["turned" if first else "pixels", "w"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["map"]),
        helper.make_node("ReduceMean", ["map", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "row"], ["features"]),
    ]
    ends = {"map": ["n", 4, SIZE, SIZE], "features": ["n", 4]}
    if "windows" in outputs:
        nodes.append(helper.make_node("Reshape", ["map", "halves"], ["windows"]))
        constants["halves"] = np.array([-1, 2, SIZE, SIZE], np.int64)
        ends["windows"] = ["m", 2, SIZE, SIZE]
    if {"tokens", "classed"} & set(outputs):
        nodes += [
            helper.make_node("Transpose", ["map"], ["places"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["places", "square"], ["tokens"]),
            helper.make_node("Shape", ["tokens"], ["length"], start=0, end=1),
            helper.make_node("Concat", ["length", "others"], ["wide"], axis=0),
            helper.make_node("Expand", ["one", "wide"], ["ones"]),
            helper.make_node("Concat", ["ones", "tokens"], ["classed"], axis=1),
        ]
        constants["others"] = np.array([1, 4], np.int64)
        ends |= {"tokens": ["n", SIZE * SIZE, 4], "classed": ["n", SIZE * SIZE + 1, 4]}
    ends_in = TensorProto.FLOAT if is_bytes else kind
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info(name, ends_in, ends[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        all_tensors_to_one_file=one_file,
        location=f"{path.name}.data" if one_file else None,
        size_threshold=0,
    )
    return path
