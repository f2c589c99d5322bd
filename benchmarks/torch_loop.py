"""The loop of the PyTorch tutorials, for another Python that has torch and timm.

    python torch_loop.py NETWORK SIZE FILE...

Embeds the files, one after the other, for each line on its standard input, and answers each.
"""

import sys

import numpy as np
import timm
import torch
from PIL import Image


def main() -> None:
    """Embed when asked to."""
    name, size, *files = sys.argv[1:]
    network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    print("ready", flush=True)
    for _ in sys.stdin:
        with torch.inference_mode():
            for file in files:
                picture = Image.open(file).convert("RGB").resize((int(size), int(size)))
                pixels = (torch.from_numpy(np.array(picture)) / 255 - mean) / std
                network(pixels.permute(2, 0, 1)[None].float())
        print("done", flush=True)


if __name__ == "__main__":
    main()
