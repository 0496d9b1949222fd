// Makes the roles and users of the files in /run/roles, or brings those that are there up to date. Where the server is no
// replica set yet, it makes it one of a single member first. Run by mongosh; it may run any number of times.

const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/mongodb-roles/${name}`, "utf8").trim();

const NOT_YET_INITIALIZED = 94;
const EXISTS = { createRole: 51002, createUser: 51003 };
const UPDATE = { createRole: "updateRole", createUser: "updateUser" };

const admin = connect(secret("admin-url")).getSiblingDB("admin");

function becomeReplicaSet() {
  try {
    admin.adminCommand({ replSetGetStatus: 1 });
  } catch (error) {
    if (error.code !== NOT_YET_INITIALIZED) throw error;
    const members = [{ _id: 0, host: process.env.MEMBER }];
    admin.adminCommand({ replSetInitiate: { _id: "rs0", members } });
    print(`made a replica set of ${process.env.MEMBER}`);
  }
  while (!admin.hello().isWritablePrimary) sleep(200);
}

function apply(command) {
  const create = Object.keys(command)[0];
  try {
    admin.adminCommand(command);
    print(`${create} ${command[create]}`);
  } catch (error) {
    if (error.code !== EXISTS[create]) throw error;
    const { [create]: name, ...rest } = command;
    admin.adminCommand({ [UPDATE[create]]: name, ...rest });
    print(`${UPDATE[create]} ${name}`);
  }
}

becomeReplicaSet();
for (const role of ["migrate", "runtime", "reader"]) {
  const commands = [];
  const db = { adminCommand: (command) => commands.push(command) };
  const file = fs.readFileSync(`/run/roles/${role}.js`, "utf8");
  new Function("db", "passwordPrompt", file)(db, () => secret(role));
  commands.forEach(apply);
}
// For an exporter of metrics, where there is one.
if (fs.existsSync("/run/secrets/mongodb-roles/monitor")) {
  apply({ createUser: "monitor", pwd: secret("monitor"), roles: ["clusterMonitor"], mechanisms: ["SCRAM-SHA-256"] });
}
