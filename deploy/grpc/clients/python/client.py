"""Reads a product from order service, as often as wanted, and prints what the answers were.

Needs grpcio and grpcio-tools. TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an access token.
Arguments: the id of a product, and how many calls.
"""

import collections
import os
import pathlib
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "proto"))
protos, services = grpc.protos_and_services("order/v1/catalog_service.proto")

config = (ROOT / "deploy/grpc/service-config.json").read_text()
channel = grpc.insecure_channel(os.environ["TRISTORE_ORDER_TARGET"], [("grpc.service_config", config)])
catalog = services.CatalogServiceStub(channel)
token = [("authorization", f"Bearer {os.environ['TRISTORE_TOKEN']}")]

answers = collections.Counter()
for _ in range(int(sys.argv[2])):
    try:
        # Without a timeout of its own, the call has the one of the service config.
        catalog.GetProduct(protos.GetProductRequest(product_id=sys.argv[1]), metadata=token)
        answers["OK"] += 1
    except grpc.RpcError as error:
        answers[f"{error.code().name}: {error.details()}"] += 1
print(dict(answers))
