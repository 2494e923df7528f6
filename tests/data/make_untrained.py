#!/usr/bin/env python3
"""Makes untrained.onnx with PyTorch (Debian 12: python3-torch 1.13): a network of the original service's shape, [1,3,160,160] -> 512, as it is
before any training. It runs and gives unit vectors, and they say nothing of a face. Run: python3 tests/data/make_untrained.py
"""
import pathlib

import torch
from torch import nn

torch.manual_seed(9)
layers = []
for inputs, outputs in ((3, 8), (8, 16), (16, 24)):
    layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.PReLU(outputs)]
network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 512)).eval()
path = pathlib.Path(__file__).parent / "untrained.onnx"
torch.onnx.export(network, torch.zeros(1, 3, 160, 160), str(path), input_names=["input"], output_names=["embedding"], opset_version=13)
