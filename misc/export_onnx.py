"""Export shipped networks as ONNX files, for programs without torch.

    python misc/export_onnx.py fast --out runs/onnx

Inputs are `feats` (B, T, F), as returned by `main.tracks.features.features`, and `length` (B,) int64. There is one
output for each head, with the name and shape of `TrackNet.forward`. B and T are free. The part of a network that fills
missing frames is not exported. Tracewise itself uses torch, see `misc/LOG.md`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from main.models.heads import HEAD_SIZES, INTERVAL_HEADS
from main.models.tracks.conv_bilstm import ConvBiLSTM
from main.models.tracks.network import TrackNet
from main.utils.weights import load_weights

OPSET, IR_VERSION = 17, 9  # of 2022 and 2023: ONNX Runtime 1.16 and later


class Graph:
    """Nodes and constants of a graph while it is built."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, values) -> str:
        """Name of an array that is stored with the graph."""
        values = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, kind: str, *inputs: str, out: str | None = None, **attributes) -> str:
        """Name of the output of a new node."""
        out = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def linear(self, x: str, layer, out: str | None = None) -> str:
        """torch's Linear on the last axis."""
        product = self.add("MatMul", x, self.constant(layer.weight.t()))
        return self.add("Add", product, self.constant(layer.bias), out=out)


def to_onnx(net: TrackNet) -> onnx.ModelProto:
    """Convert a network of convolutions and BiLSTM layers to an ONNX model.

    Parameters
    ----------
    net : TrackNet
        Network with a body of class `ConvBiLSTM`; dropout is left out.

    Raises
    ------
    ValueError
        For another body.

    Notes
    -----
    The bidirectional LSTM of ONNX reads backwards from the end of each track, given by `length`. In torch, tracks are
    flipped for that.
    """
    if not isinstance(getattr(net, "body", None), ConvBiLSTM):
        raise ValueError(
            f"only networks with a conv_bilstm body can be exported, not {type(net).__name__} of "
            f"{type(getattr(net, 'body', net)).__name__}"
        )
    graph = Graph()
    x = _layers(graph, net.body, *_convolutions(graph, net.body))
    outputs = [_head(graph, x, name, head) for name, head in net.heads.items()]
    inputs = [
        helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", net.body.convs[0].in_channels]),
        helper.make_tensor_value_info("length", TensorProto.INT64, ["B"]),
    ]
    built = helper.make_graph(graph.nodes, "tracewise", inputs, outputs, graph.constants)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _convolutions(graph, body) -> tuple[str, str]:
    """Add the convolutions; returns the names of their output and of the features, both (B, C, T)."""
    frames = graph.add("Gather", graph.add("Shape", "feats"), graph.constant(1))
    time = graph.add("Range", graph.constant(0), frames, graph.constant(1))
    valid = graph.add("Less", time, graph.add("Unsqueeze", "length", graph.constant([1])))  # (B, T)
    mask = graph.add("Cast", graph.add("Unsqueeze", valid, graph.constant([1])), to=TensorProto.FLOAT)
    feats = y = graph.add("Transpose", "feats", perm=[0, 2, 1])
    for conv in body.convs:
        weights = graph.constant(conv.weight), graph.constant(conv.bias)
        y = graph.add("Relu", graph.add("Conv", graph.add("Mul", y, mask), *weights, pads=[*conv.padding] * 2))
    return y, feats


def _layers(graph, body, y: str, feats: str) -> str:
    """Add the BiLSTM layers; returns the name of their output, (B, T, C)."""
    length = graph.add("Cast", "length", to=TensorProto.INT32)
    x = graph.add("Transpose", graph.add("Concat", y, feats, axis=1), perm=[2, 0, 1])  # (T, B, C)
    for layer in body.layers:
        weights = [
            graph.constant(torch.stack([_gates(lstm, kind) for lstm in (layer.ahead, layer.back)]))
            for kind in ("weight_ih", "weight_hh", "bias")
        ]
        size = layer.ahead.hidden_size
        x = graph.add("LSTM", x, *weights, length, hidden_size=size, direction="bidirectional")  # (T, 2, B, H)
        x = graph.add("Reshape", graph.add("Transpose", x, perm=[0, 2, 1, 3]), graph.constant([0, 0, 2 * size]))
    return graph.add("Transpose", x, perm=[1, 0, 2])


def _gates(lstm, kind: str) -> torch.Tensor:
    """Reorder the weights of the gates: torch has input, forget, cell, output; ONNX has input, output, forget, cell."""
    if kind == "bias":
        return torch.cat([_gates(lstm, "bias_ih"), _gates(lstm, "bias_hh")])
    i, f, c, o = getattr(lstm, kind + "_l0").split(lstm.hidden_size)
    return torch.cat([i, o, f, c])


def _head(graph, x: str, name: str, head):
    """Add one head; returns the name, type and shape of its output."""
    if name in INTERVAL_HEADS:
        first, _, last = head.layers
        graph.add("Softplus", graph.linear(graph.add("Relu", graph.linear(x, first)), last), out=name)
    elif HEAD_SIZES[name] == 1:
        graph.add("Squeeze", graph.linear(x, head), graph.constant([2]), out=name)
    else:
        graph.linear(x, head, out=name)
    shape = ["B", "T"] + ([HEAD_SIZES[name]] if HEAD_SIZES[name] > 1 else [])
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


class OnnxNet(torch.nn.Module):
    """A network in ONNX Runtime that is called like a `TrackNet`, one thread for each call."""

    def __init__(self, model: onnx.ModelProto):
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        self.names = [output.name for output in self.session.get_outputs()]

    def forward(self, feats, length, log10_scale=None, group=1):
        """Outputs of all heads, as returned by `TrackNet.forward`."""
        found = self.session.run(None, {"feats": feats.numpy(), "length": length.numpy()})
        return dict(zip(self.names, map(torch.from_numpy, found), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Write NAME_NET.onnx for every network of the weights; 2 with one sentence if they cannot be exported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "weights",
        nargs="+",
        metavar="NAME",
        help="weights to export: default, fast, or a folder of conv_bilstm networks",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write the ONNX files to (required)"
    )
    args = parser.parse_args(arguments)
    try:
        models = {
            f"{Path(weights).name}_{name}": to_onnx(net)
            for weights in args.weights
            for name, net in load_weights(weights)[0].items()
        }
        args.out.mkdir(parents=True, exist_ok=True)
        for name, model in models.items():
            onnx.save(model, args.out / f"{name}.onnx")
    except (OSError, ValueError) as error:
        print(f"export_onnx.py: {error}", file=sys.stderr)
        return 2
    print(f"{', '.join(f'{name}.onnx' for name in models)} in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
