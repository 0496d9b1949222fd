// For `user-service serve`, `bootstrap-admin` and `new-epoch`: the documents of its collections and nothing of their form.
//
// Paste it into mongosh as a user who may create roles and users (`userAdminAnyDatabase`); it asks for the password.
// Another name for the database is put in the place of user_service wherever that stands. For a role or a user that is
// there already, write updateRole and updateUser.

db.adminCommand({
  "createRole": "user_service_runtime",
  "privileges": [
    { "resource": { "db": "user_service", "collection": "audit_sum" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "audit_wallet" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "consumer_mark" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "credential" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "deleted_post" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "entry" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "follow" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "follow_quota" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "erasure" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "hold" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "like" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "job_mark" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "order_statistics" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "outbox" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "outbox_consumer" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "outbox_lease" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "parked_event" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "parked_skip" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "post" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "post_counters" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "post_slug" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "post_view" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "posting" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "request" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "user" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "user_change" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "user_counters" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "username" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "wallet" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "wallet_act" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "wallet_owner" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "worker_lease" }, "actions": ["find", "insert", "update", "remove"] },
    { "resource": { "db": "user_service", "collection": "migration" }, "actions": ["find"] },
    { "resource": { "cluster": true }, "actions": ["getParameter", "replSetGetConfig"] }
  ],
  "roles": []
})

db.adminCommand({
  "createUser": "user_service_runtime",
  "pwd": passwordPrompt(),
  "roles": ["user_service_runtime"],
  "mechanisms": ["SCRAM-SHA-256"]
})
