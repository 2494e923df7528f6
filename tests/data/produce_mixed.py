"""Hands in COUNT jobs in turn as raw bytes, JSON with data, URL, path, S3 and CloudEvents, each confirmed.

produce_mixed.py COUNT PICTURE URL PATH S3: the picture's file, and where a worker finds the same one. AMQP_URL is the broker's.
"""
import base64
import json
import os
import pathlib
import sys

import pika

count, picture, url, path, s3 = int(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes(), *sys.argv[3:6]
data = base64.b64encode(picture).decode()
kinds = [
    ("image/png", lambda n: picture),
    ("application/json", lambda n: json.dumps({"id": n, "image": {"data": data}})),
    ("application/json", lambda n: json.dumps({"id": n, "image": {"url": url}})),
    ("application/json", lambda n: json.dumps({"id": n, "image": {"path": path}})),
    ("application/json", lambda n: json.dumps({"id": n, "image": {"s3": s3}})),
    ("application/cloudevents+json", lambda n: json.dumps(
        {"specversion": "1.0", "id": n, "source": "/mixed", "type": "photo.added", "data": {"image": {"data": data}}})),
]
channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.confirm_delivery()
for i in range(count):
    content_type, body = kinds[i % len(kinds)]
    name = f"mixed-{i}"
    channel.basic_publish("face.jobs", "job", body(name), pika.BasicProperties(message_id=name, content_type=content_type, delivery_mode=2), mandatory=True)
print(count)
