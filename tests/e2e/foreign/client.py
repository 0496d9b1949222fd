"""Tristore as a client in another language sees it: from sign-up to a refund, with grpcio and nothing of ours.

There is no generated code: every message comes from the servers' reflection, those of error details too.

    ADMIN_PASSWORD=... client.py <user service> <order service> <session service> <admin's e-mail address>
"""

import os
import sys
import uuid

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PASSWORD = "correct horse battery staple"
SECONDS = 30


class Refused(Exception):
    """An error of a service: its code, and its details by the names of their messages."""

    def __init__(self, service, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code = error.code().name
        trailers = dict(error.trailing_metadata() or ())
        status = service.message("google.rpc.Status").FromString(trailers.get("grpc-status-details-bin", b""))
        self.details = {}
        for detail in status.details:
            name = detail.type_url.rpartition("/")[2]
            self.details[name] = service.message(name).FromString(detail.value)

    @property
    def reason(self):
        info = self.details["google.rpc.ErrorInfo"]
        return f"{info.reason} of {info.domain}"

    @property
    def violations(self):
        return [f"{it.field} {it.reason}" for it in self.details["google.rpc.BadRequest"].field_violations]


class Service:
    """A service of which only the address is known."""

    def __init__(self, address):
        # A proxy is for other machines: grpcio would ask it even for 127.0.0.1.
        self.channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self.reflection = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.reflection)

    def message(self, name):
        return GetMessageClass(self.pool.FindMessageTypeByName(name))

    def __call__(self, method, token=None, **fields):
        service, _, name = method.rpartition("/")
        method = self.pool.FindServiceByName(service).methods_by_name[name]
        call = self.channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = [("authorization", f"Bearer {token}")] if token else []
        try:
            return call(GetMessageClass(method.input_type)(**fields), metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            raise Refused(self, error) from None


def extensions(service):
    """What reflection tells of the option by which each method says who may call it."""
    extended, number = "google.protobuf.MethodOptions", 51001
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Symbol"),
        reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type=extended),
        reflection_pb2.ServerReflectionRequest(
            file_containing_extension={"containing_type": extended, "extension_number": number}
        ),
    ]
    # On one stream: a miss is an answer and not its end.
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    miss, numbers, found = stub.ServerReflectionInfo(iter(asked), timeout=SECONDS)
    file = FileDescriptorProto.FromString(found.file_descriptor_response.file_descriptor_proto[0])
    service.pool.FindExtensionByName("auth.v1.policy")
    method = service.pool.FindServiceByName("user.v1.UserService").methods_by_name["CreateUser"]
    options = service.message(extended).FromString(method.GetOptions().SerializeToString())
    said = [f"{field.full_name} {str(value).strip()}" for field, value in options.ListFields() if field.is_extension]
    numbers = list(numbers.all_extension_numbers_response.extension_number)
    return f"{miss.error_response.error_code}, {numbers}, {file.name}, {' '.join(said)}"


def refused(call, *arguments, **fields):
    try:
        answer = call(*arguments, **fields)
    except Refused as error:
        return error
    raise AssertionError(f"{arguments[0]} should be refused, and answers {answer}")


def new_id():
    return str(uuid.uuid4())


def euros(cents):
    return {"currency_code": "EUR", "minor_units": cents}


def main(user_address, order_address, session_address, admin_email):
    user, order, session = Service(user_address), Service(order_address), Service(session_address)
    for service in (user, order, session):
        print("offers", *sorted(service.reflection.get_services()))

    print("extensions", extensions(user))

    def log_in(email, password=PASSWORD):
        return session("session.v1.SessionService/Login", email=email, password=password).access_token

    def sign_up(name):
        email = f"{name.lower()}.{new_id()}@example.com"
        fields = {"request_id": new_id(), "email": email, "display_name": name, "password": PASSWORD}
        return email, user("user.v1.UserService/CreateUser", **fields).user.id

    wrong = refused(user, "user.v1.UserService/CreateUser", email="nobody", password="short")
    print("refused", wrong.code, wrong.reason, "|", *wrong.violations, sep=" ")
    wrong = refused(session, "session.v1.SessionService/Login", email=admin_email, password="a wrong password")
    print("refused", wrong.code, wrong.reason)

    ann_email, ann_id = sign_up("Ann")
    ben_email, ben_id = sign_up("Ben")
    ann, admin = log_in(ann_email), log_in(admin_email, os.environ["ADMIN_PASSWORD"])
    print("signed up Ann and Ben")

    fields = {"request_id": new_id(), "user_id": ann_id, "amount": euros(5000)}
    wrong = refused(user, "user.v1.WalletService/GrantCredit", ann, **fields)
    print("refused", wrong.code, wrong.reason)
    user("user.v1.WalletService/GrantCredit", admin, **fields)
    user(
        "user.v1.UserService/ChangeUserRole", admin, request_id=new_id(), user_id=ben_id, role="ROLE_MERCHANT"
    )
    ben = log_in(ben_email)
    print("granted Ann 5000, made Ben a merchant")

    product = order(
        "order.v1.CatalogService/CreateProduct",
        ben,
        request_id=new_id(),
        name="Tea",
        unit_price=euros(1250),
        stock=10,
    ).product

    def place(quantity):
        items = [{"product_id": product.id, "quantity": quantity}]
        return order("order.v1.OrderService/PlaceOrder", ann, request_id=new_id(), items=items).order

    placed = place(2)
    fields = {"request_id": new_id(), "order_id": placed.id}
    paid = order("order.v1.TransferService/PayOrder", ann, **fields)
    repeated = order("order.v1.TransferService/PayOrder", ann, **fields)
    assert repeated == paid, f"a repeat answers {repeated}, not {paid}"
    state = paid.transfer.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[paid.transfer.state]
    print("paid", paid.transfer.amount.minor_units, state.name, "and a repeat got the same answer")

    wrong = refused(
        order, "order.v1.TransferService/PayOrder", ann, request_id=new_id(), order_id=place(3).id
    )
    print("refused", wrong.code, wrong.reason)

    refund = {"order_id": placed.id, "amount": euros(100)}
    answer = order("order.v1.TransferService/RefundOrder", ben, request_id=new_id(), **refund)
    print("refunded", answer.order.refunded.minor_units)

    wallet = user("user.v1.WalletService/GetWallet", ann, currency_code="EUR").wallet
    account = order("order.v1.AccountService/GetAccount", ben, currency_code="EUR").account
    print("Ann's wallet has", wallet.balance.minor_units, "Ben's account has", account.balance.minor_units)


if __name__ == "__main__":
    main(*sys.argv[1:])
