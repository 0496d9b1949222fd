"""Reads a product from order service and buys it now and then, as often as wanted, and prints as JSON what the answers were.
Each failed call is told on standard error when it fails.

Needs grpcio and grpcio-tools. TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an access token, or
TRISTORE_TOKEN_FILE a file with one, which may change, TRISTORE_CA a file with the authorities to trust; without it there is no
TLS. With TRISTORE_NO_SERVICE_CONFIG it does without the service config. Arguments: the id of a product, how many calls, where 0
means until it is told to end (SIGTERM), and how many of them a second; without that, one after the other.
"""

import collections
import itertools
import json
import os
import pathlib
import signal
import sys
import threading
import time
import uuid

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "proto"))
products, catalogs = grpc.protos_and_services("order/v1/catalog_service.proto")
orders, order_services = grpc.protos_and_services("order/v1/order_service.proto")
transfers, transfer_services = grpc.protos_and_services("order/v1/transfer_service.proto")

has_config = not os.environ.get("TRISTORE_NO_SERVICE_CONFIG")
config = (ROOT / "deploy/grpc/service-config.json").read_text()
options = [("grpc.service_config", config)] if has_config else [("grpc.enable_retries", 0)]
# A call has the timeout of the service config. Without that, the same.
timeout = None if has_config else 5
target = os.environ["TRISTORE_ORDER_TARGET"]
if ca := os.environ.get("TRISTORE_CA"):
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target, options)
catalog = catalogs.CatalogServiceStub(channel)
order_service = order_services.OrderServiceStub(channel)
transfer_service = transfer_services.TransferServiceStub(channel)

product_id, calls, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0
AT_ONCE = 16 if rate else 1
# Of so many calls one buys.
BUYS = 10


def token():
    file = os.environ.get("TRISTORE_TOKEN_FILE")
    return pathlib.Path(file).read_text() if file else os.environ["TRISTORE_TOKEN"]


def call(number):
    how = {"metadata": [("authorization", f"Bearer {token()}")], "timeout": timeout}
    if number % BUYS:
        catalog.GetProduct(products.GetProductRequest(product_id=product_id), **how)
        return
    # By the request id the service knows a repeat, so the channel may make one.
    item = orders.OrderItem(product_id=product_id, quantity=1)
    order = orders.PlaceOrderRequest(request_id=str(uuid.uuid4()), items=[item])
    order = order_service.PlaceOrder(order, **how).order
    pay = transfers.PayOrderRequest(request_id=str(uuid.uuid4()), order_id=order.id)
    transfer_service.PayOrder(pay, **how)


ended = threading.Event()
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda *_: ended.set())
answers, lock = collections.Counter(), threading.Lock()
numbers, began = iter(range(1, calls + 1)) if calls else itertools.count(1), time.monotonic()


def caller():
    while True:
        with lock:
            number = next(numbers, None)
        if number is None or ended.wait(max(0, began + number / rate - time.monotonic()) if rate else 0):
            return
        try:
            call(number)
            answer = "OK"
        except grpc.RpcError as error:
            answer = f"{error.code().name}: {error.details()}"
            print(f"failed: {answer}", file=sys.stderr, flush=True)
        with lock:
            answers[answer] += 1


threads = [threading.Thread(target=caller) for _ in range(AT_ONCE)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(answers))
