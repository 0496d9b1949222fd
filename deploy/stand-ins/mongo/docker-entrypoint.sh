#!/bin/bash
# Starts the server, makes the first user where there is none, and waits for its end.
set -eu
if [ "${1#-}" != "$1" ]; then
    set -- mongod "$@"
fi
[ "$1" = mongod ] || exec "$@"

"$@" &
server=$!
trap 'kill -TERM $server' TERM INT

url="mongodb://127.0.0.1:27017/admin?directConnection=true"
[[ " $* " != *" --tlsMode=requireTLS "* ]] || url+="&tls=true&tlsAllowInvalidCertificates=true"
export url
# It forgets its parameters when it stops.
mongosh --quiet --norc --nodb --eval '
const { readFileSync } = require("fs");
const [user, password] = [process.env.MONGO_INITDB_ROOT_USERNAME, readFileSync(process.env.MONGO_INITDB_ROOT_PASSWORD_FILE, "utf8").trim()];
let admin;
for (let tries = 0; !admin; tries++) {
  try { admin = connect(process.env.url).getSiblingDB("admin"); } catch (error) { if (tries > 100) throw error; sleep(200); }
}
try { admin.createUser({ user, pwd: password, roles: ["root"] }); } catch (error) { print("there is a first user"); }
admin.auth(user, password);
admin.adminCommand({ setParameter: 1, transactionLifetimeLimitSeconds: 3 });
' || { kill -TERM "$server"; exit 1; }
while kill -0 "$server" 2>/dev/null; do wait "$server" || true; done
