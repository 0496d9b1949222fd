// Reads a product from order service, as often as wanted, and prints what the answers were.
//
// Needs @grpc/grpc-js and @grpc/proto-loader. TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an
// access token. Arguments: the id of a product, and how many calls.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const path = (name) => fileURLToPath(new URL(`../../../../${name}`, import.meta.url));
const { order } = grpc.loadPackageDefinition(
  loadSync("order/v1/catalog_service.proto", { includeDirs: [path("proto")] }),
);

const target = process.env.TRISTORE_ORDER_TARGET;
const catalog = new order.v1.CatalogService(target, grpc.credentials.createInsecure(), {
  "grpc.service_config": readFileSync(path("deploy/grpc/service-config.json"), "utf8"),
});
const token = new grpc.Metadata();
token.set("authorization", `Bearer ${process.env.TRISTORE_TOKEN}`);

const [productId, calls] = process.argv.slice(2);
const answers = {};
for (let call = 0; call < Number(calls); call += 1) {
  // Without a deadline of its own, the call has the timeout of the service config.
  const answer = await new Promise((resolve) => {
    catalog.GetProduct({ productId }, token, (error) =>
      resolve(error ? `${grpc.status[error.code]}: ${error.details}` : "OK"),
    );
  });
  answers[answer] = (answers[answer] ?? 0) + 1;
}
console.log(answers);
catalog.close();
