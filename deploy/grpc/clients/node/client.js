// Reads a product from order service and buys it now and then, as often as wanted, and prints as JSON what the answers were.
// Each failed call is told on standard error when it fails.
//
// Needs @grpc/grpc-js and @grpc/proto-loader. TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an
// access token, or TRISTORE_TOKEN_FILE a file with one, which may change, TRISTORE_CA a file with the authorities to trust;
// without it there is no TLS. With TRISTORE_NO_SERVICE_CONFIG it does without the service config. Arguments: the id of a product,
// how many calls, where 0 means until it is told to end (SIGTERM), and how many of them a second; without that, one after the
// other.

import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const path = (name) => fileURLToPath(new URL(`../../../../${name}`, import.meta.url));
const files = ["catalog", "order", "transfer"].map((name) => `order/v1/${name}_service.proto`);
const { order } = grpc.loadPackageDefinition(loadSync(files, { includeDirs: [path("proto")] }));

const { TRISTORE_ORDER_TARGET: target, TRISTORE_CA: ca, TRISTORE_NO_SERVICE_CONFIG: noConfig } = process.env;
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const config = readFileSync(path("deploy/grpc/service-config.json"), "utf8");
const options = noConfig ? { "grpc.enable_retries": 0 } : { "grpc.service_config": config };
const [catalog, orders, transfers] = [order.v1.CatalogService, order.v1.OrderService, order.v1.TransferService].map(
  (Client) => new Client(target, credentials, options),
);
const { TRISTORE_TOKEN: accessToken, TRISTORE_TOKEN_FILE: tokenFile } = process.env;

const [productId, calls, rate] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] ?? 0)];
const AT_ONCE = rate ? 16 : 1;
// Of so many calls one buys.
const BUYS = 10;

// A call has the timeout of the service config. Without that, the same.
const send = (client, method, request) =>
  new Promise((resolve, reject) => {
    const token = new grpc.Metadata();
    token.set("authorization", `Bearer ${tokenFile ? readFileSync(tokenFile, "utf8") : accessToken}`);
    const how = noConfig ? { deadline: Date.now() + 5000 } : {};
    client[method](request, token, how, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

async function call(number) {
  if (number % BUYS) return send(catalog, "GetProduct", { productId });
  // By the request id the service knows a repeat, so the channel may make one.
  const placed = await send(orders, "PlaceOrder", { requestId: randomUUID(), items: [{ productId, quantity: 1 }] });
  return send(transfers, "PayOrder", { requestId: randomUUID(), orderId: placed.order.id });
}

const ended = new AbortController();
setMaxListeners(AT_ONCE, ended.signal);
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => ended.abort());
const answers = {};
const began = performance.now();
let next = 1;
async function caller() {
  while ((!calls || next <= calls) && !ended.signal.aborted) {
    const number = next++;
    const wait = rate ? Math.max(0, began + (number / rate) * 1000 - performance.now()) : 0;
    const isWanted = await setTimeout(wait, true, { signal: ended.signal }).catch(() => false);
    if (!isWanted) return;
    const answer = await call(number).then(
      () => "OK",
      (error) => `${grpc.status[error.code]}: ${error.details}`,
    );
    if (answer !== "OK") console.error(`failed: ${answer}`);
    answers[answer] = (answers[answer] ?? 0) + 1;
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, caller));
console.log(JSON.stringify(answers));
for (const client of [catalog, orders, transfers]) client.close();
