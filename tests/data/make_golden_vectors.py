#!/usr/bin/env python3
"""Writes the golden vectors of models/face_embedding.json, after a change that moves vectors: make_golden_vectors.py PATH-OF-face-embed"""
import base64, json, pathlib, re, struct, subprocess, sys

root = pathlib.Path(__file__).parents[2]
card = root / "models/face_embedding.json"
text = card.read_text()
for name in ("astronaut.png", "grace_hopper.jpg"):
    out = subprocess.run([sys.argv[1], "embed", f"tests/data/{name}", "--Faces:DetectionDetail=2"], cwd=root, check=True, capture_output=True, text=True).stdout
    vector = json.loads(out)["embeddings"][0]["vector"]
    golden = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    text = re.sub(f'("{re.escape(name)}": ")[^"]*', lambda m: m[1] + golden, text)
card.write_text(text)
