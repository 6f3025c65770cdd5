# SPDX-License-Identifier: Apache-2.0
"""Train the demo network: a CIFAR-style ResNet-20 (widths 32/64/128) on Fashion-MNIST, saved as safetensors.

Tensor names follow torchvision's ResNet (conv1, bn1, layerS.B.conv1, ..., fc), so any tool that reads those reads this file.
"""
import argparse, gzip, json, struct, sys, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

def idx(path):
    with gzip.open(path) as f:
        magic, = struct.unpack(">I", f.read(4)); dims = [struct.unpack(">I", f.read(4))[0] for _ in range(magic & 255)]
        return np.frombuffer(f.read(), np.uint8).reshape(dims)

class Block(nn.Module):
    def __init__(s, i, o, st):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, st, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.downsample = nn.Sequential(nn.Conv2d(i, o, 1, st, bias=False), nn.BatchNorm2d(o)) if st != 1 or i != o else None
    def forward(s, x):
        r = x if s.downsample is None else s.downsample(x)
        return F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))) + r)

class Net(nn.Module):
    def __init__(s, w=32, n=3, classes=10, ch=1):
        super().__init__()
        s.conv1 = nn.Conv2d(ch, w, 3, 1, 1, bias=False); s.bn1 = nn.BatchNorm2d(w)
        def stage(i, o, st): return nn.Sequential(*[Block(i if b == 0 else o, o, st if b == 0 else 1) for b in range(n)])
        s.layer1, s.layer2, s.layer3 = stage(w, w, 1), stage(w, 2*w, 2), stage(2*w, 4*w, 2)
        s.fc = nn.Linear(4*w, classes)
    def forward(s, x):
        x = F.relu(s.bn1(s.conv1(x))); x = s.layer3(s.layer2(s.layer1(x)))
        return s.fc(x.mean((2, 3)))

def save_safetensors(path, tensors, meta):
    head, off, blobs = {"__metadata__": meta}, 0, []
    for k in sorted(tensors):
        a = tensors[k].detach().contiguous().float().numpy(); b = a.tobytes()
        head[k] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [off, off + len(b)]}; off += len(b); blobs.append(b)
    h = json.dumps(head).encode(); h += b" " * (-len(h) % 8)
    with open(path, "wb") as f: f.write(struct.pack("<Q", len(h))); f.write(h); [f.write(b) for b in blobs]

ap = argparse.ArgumentParser(); ap.add_argument("--data", default="/usr/share/datasets/fashion-mnist"); ap.add_argument("--epochs", type=int, default=7)
ap.add_argument("--width", type=int, default=32); ap.add_argument("--blocks", type=int, default=3); ap.add_argument("--seed", type=int, default=0); ap.add_argument("--out", default="resnet20_fashion_mnist.safetensors")
a = ap.parse_args(); torch.manual_seed(a.seed); rng = np.random.default_rng(a.seed)
X = idx(a.data + "/train-images-idx3-ubyte.gz").astype(np.float32) / 255; Y = torch.from_numpy(idx(a.data + "/train-labels-idx1-ubyte.gz").astype(np.int64))
Xt = idx(a.data + "/t10k-images-idx3-ubyte.gz").astype(np.float32) / 255; Yt = torch.from_numpy(idx(a.data + "/t10k-labels-idx1-ubyte.gz").astype(np.int64))
mean, std = 0.2860, 0.3530
X = torch.from_numpy((X - mean) / std)[:, None]; Xt = torch.from_numpy((Xt - mean) / std)[:, None]
Xp = F.pad(X, (2, 2, 2, 2), value=-mean/std)
net = Net(a.width, a.blocks).to(memory_format=torch.channels_last); B = 128; steps = len(X) // B
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
    save_safetensors(a.out, {k: v for k, v in net.state_dict().items() if "num_batches" not in k}, {"arch": f"cifar-resnet blocks={a.blocks} width={a.width}", "dataset": "Fashion-MNIST", "mean": str(mean), "std": str(std), "epoch": str(e), "top1": f"{acc:.4f}"})
