# SPDX-License-Identifier: Apache-2.0
"""Train CIFAR-style ResNets of three stages on Fashion-MNIST, saved as safetensors. The defaults train the shipped network.

Tensor names follow torchvision's ResNet (conv1, bn1, layerS.B.conv1, ..., fc), so any tool that reads those reads these files.
README.md beside this file has the commands.
"""
import argparse, gzip, json, struct, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

def idx(path):
    with gzip.open(path) as f:
        magic, = struct.unpack(">I", f.read(4)); dims = [struct.unpack(">I", f.read(4))[0] for _ in range(magic & 255)]
        return np.frombuffer(f.read(), np.uint8).reshape(dims)

class Pad(nn.Module):
    """Shortcut of option A: every second pixel, and zero channels on both sides. It has no weights."""
    def __init__(s, i, o, st):
        super().__init__(); s.st, s.before, s.after = st, (o - i) // 2, o - i - (o - i) // 2
    def forward(s, x): return F.pad(x[:, :, ::s.st, ::s.st], (0, 0, 0, 0, s.before, s.after))

class Block(nn.Module):
    def __init__(s, i, w, st, bottleneck, option):
        super().__init__()
        o = w * 4 if bottleneck else w
        shapes = [(i, w, 1, 1), (w, w, 3, st), (w, o, 1, 1)] if bottleneck else [(i, w, 3, st), (w, o, 3, 1)]
        s.count = len(shapes)
        for n, (a, b, k, stride) in enumerate(shapes, 1):
            setattr(s, f"conv{n}", nn.Conv2d(a, b, k, stride, k // 2, bias=False)); setattr(s, f"bn{n}", nn.BatchNorm2d(b))
        s.downsample = None
        if st != 1 or i != o:
            s.downsample = (Pad(i, o, st) if option == "A" and o >= i else
                            nn.Sequential(nn.Conv2d(i, o, 1, st, bias=False), nn.BatchNorm2d(o)))
    def forward(s, x):
        r = x if s.downsample is None else s.downsample(x)
        for n in range(1, s.count + 1):
            x = getattr(s, f"bn{n}")(getattr(s, f"conv{n}")(x))
            x = F.relu(x if n < s.count else x + r)
        return x

class Net(nn.Module):
    def __init__(s, w, n, bottleneck, option, classes=10, ch=1):
        super().__init__()
        s.conv1 = nn.Conv2d(ch, w, 3, 1, 1, bias=False); s.bn1 = nn.BatchNorm2d(w); s.at = w
        def stage(o, st):
            blocks = []
            for b in range(n):
                blocks.append(Block(s.at, o, st if b == 0 else 1, bottleneck, option)); s.at = o * 4 if bottleneck else o
            return nn.Sequential(*blocks)
        s.layer1, s.layer2, s.layer3 = stage(w, 1), stage(2 * w, 2), stage(4 * w, 2)
        s.fc = nn.Linear(s.at, classes)
    def forward(s, x):
        x = F.relu(s.bn1(s.conv1(x))); x = s.layer3(s.layer2(s.layer1(x)))
        return s.fc(x.mean((2, 3)))

def save_safetensors(path, tensors, meta, half):
    """With `half`, matrices and kernels are stored as f16 and vectors (batch norm, bias) as f32."""
    head, off, blobs = {"__metadata__": meta}, 0, []
    for k in sorted(tensors):
        a = tensors[k].detach().contiguous().float().numpy(); a = a.astype(np.float16) if half and a.ndim > 1 else a
        b = a.tobytes()
        head[k] = {"dtype": "F16" if a.dtype == np.float16 else "F32", "shape": list(a.shape), "data_offsets": [off, off + len(b)]}
        off += len(b); blobs.append(b)
    h = json.dumps(head).encode(); h += b" " * (-len(h) % 8)
    with open(path, "wb") as f: f.write(struct.pack("<Q", len(h))); f.write(h); [f.write(b) for b in blobs]

ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
ap.add_argument("--data", default="/usr/share/datasets/fashion-mnist"); ap.add_argument("--out", default="resnet20_fashion_mnist.safetensors")
ap.add_argument("--epochs", type=int, default=7); ap.add_argument("--seed", type=int, default=0); ap.add_argument("--threads", type=int, default=0)
ap.add_argument("--width", type=int, default=32, help="of the first stage"); ap.add_argument("--blocks", type=int, default=3, help="in each stage")
ap.add_argument("--block", choices=("basic", "bottleneck"), default="basic"); ap.add_argument("--shortcut", choices="AB", default="B")
ap.add_argument("--half", action="store_true", help="store matrices and kernels as f16")
a = ap.parse_args(); torch.manual_seed(a.seed); rng = np.random.default_rng(a.seed)
if a.threads: torch.set_num_threads(a.threads)
bottleneck = a.block == "bottleneck"; depth = 3 * a.blocks * (3 if bottleneck else 2) + 2
X = idx(a.data + "/train-images-idx3-ubyte.gz").astype(np.float32) / 255; Y = torch.from_numpy(idx(a.data + "/train-labels-idx1-ubyte.gz").astype(np.int64))
Xt = idx(a.data + "/t10k-images-idx3-ubyte.gz").astype(np.float32) / 255; Yt = torch.from_numpy(idx(a.data + "/t10k-labels-idx1-ubyte.gz").astype(np.int64))
mean, std = 0.2860, 0.3530
X = torch.from_numpy((X - mean) / std)[:, None]; Xt = torch.from_numpy((Xt - mean) / std)[:, None]
Xp = F.pad(X, (2, 2, 2, 2), value=-mean/std)
net = Net(a.width, a.blocks, bottleneck, a.shortcut).to(memory_format=torch.channels_last); B = 128; steps = len(X) // B
opt = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
sch = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=steps * a.epochs, pct_start=0.25)
def evaluate():
    net.eval(); ok = 0
    with torch.no_grad():
        for i in range(0, len(Xt), 500): ok += (net(Xt[i:i+500].to(memory_format=torch.channels_last)).argmax(1) == Yt[i:i+500]).sum().item()
    net.train(); return ok / len(Xt)
t0 = time.time()
for e in range(a.epochs):
    perm = torch.from_numpy(rng.permutation(len(X)))
    for s in range(steps):
        j = perm[s*B:(s+1)*B]; dy, dx = rng.integers(0, 5, 2); x = Xp[j, :, dy:dy+28, dx:dx+28]
        if rng.random() < 0.5: x = x.flip(3)
        loss = F.cross_entropy(net(x.to(memory_format=torch.channels_last)), Y[j], label_smoothing=0.05)
        opt.zero_grad(); loss.backward(); opt.step(); sch.step()
        if s % 100 == 0: print(f"e{e} s{s}/{steps} loss {loss.item():.3f} {time.time()-t0:.0f}s", flush=True)
    acc = evaluate(); print(f"epoch {e} test top-1 {acc:.4f} {time.time()-t0:.0f}s", flush=True)
    save_safetensors(a.out, {k: v for k, v in net.state_dict().items() if "num_batches" not in k},
                     {"arch": f"cifar-resnet{depth} block={a.block} shortcut={a.shortcut} blocks={a.blocks} width={a.width}",
                      "dataset": "Fashion-MNIST", "mean": str(mean), "std": str(std), "input": "1,28,28", "epoch": str(e), "top1": f"{acc:.4f}"}, a.half)
