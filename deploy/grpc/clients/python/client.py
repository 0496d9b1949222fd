"""Reads a product from order service and buys it now and then, as often as wanted, and prints what the answers were.

Needs grpcio and grpcio-tools. TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an access token,
TRISTORE_CA a file with the authorities to trust; without it there is no TLS. Arguments: the id of a product, how many calls,
and how many of them a second; without that, one after the other.
"""

import collections
import concurrent.futures
import os
import pathlib
import sys
import time
import uuid

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "proto"))
products, catalogs = grpc.protos_and_services("order/v1/catalog_service.proto")
orders, order_services = grpc.protos_and_services("order/v1/order_service.proto")
transfers, transfer_services = grpc.protos_and_services("order/v1/transfer_service.proto")

config = (ROOT / "deploy/grpc/service-config.json").read_text()
options = [("grpc.service_config", config)]
target = os.environ["TRISTORE_ORDER_TARGET"]
if ca := os.environ.get("TRISTORE_CA"):
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target, options)
catalog = catalogs.CatalogServiceStub(channel)
order_service = order_services.OrderServiceStub(channel)
transfer_service = transfer_services.TransferServiceStub(channel)
token = [("authorization", f"Bearer {os.environ['TRISTORE_TOKEN']}")]

product_id, calls, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0
AT_ONCE = 16 if rate else 1
# Of so many calls one buys.
BUYS = 10
began = time.monotonic()


def call(number):
    # Without a timeout of its own, a call has the one of the service config.
    if number % BUYS:
        catalog.GetProduct(products.GetProductRequest(product_id=product_id), metadata=token)
        return
    # By the request id the service knows a repeat, so the channel may make one.
    item = orders.OrderItem(product_id=product_id, quantity=1)
    order = orders.PlaceOrderRequest(request_id=str(uuid.uuid4()), items=[item])
    order = order_service.PlaceOrder(order, metadata=token).order
    pay = transfers.PayOrderRequest(request_id=str(uuid.uuid4()), order_id=order.id)
    transfer_service.PayOrder(pay, metadata=token)


def answer(number):
    if rate:
        time.sleep(max(0, began + number / rate - time.monotonic()))
    try:
        call(number)
        return "OK"
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
    print(dict(collections.Counter(threads.map(answer, range(1, calls + 1)))))
