// For people and tools that look: it reads every collection except the one with the hashes of passwords.
//
// Paste it into mongosh as a user who may create roles and users (`userAdminAnyDatabase`); it asks for the password.
// Another name for the database is put in the place of user_service wherever that stands. For a role or a user that is
// there already, write updateRole and updateUser.

db.adminCommand({
  "createRole": "user_service_reader",
  "privileges": [
    { "resource": { "db": "user_service", "collection": "audit_sum" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "audit_wallet" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "consumer_mark" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "deleted_post" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "entry" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "follow" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "follow_quota" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "erasure" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "hold" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "like" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "job_mark" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "order_statistics" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "outbox" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "outbox_consumer" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "outbox_lease" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "parked_event" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "parked_skip" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "post" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "post_counters" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "post_slug" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "post_view" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "posting" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "request" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "user" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "user_change" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "user_counters" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "username" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "wallet" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "wallet_act" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "wallet_owner" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "worker_lease" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "migration" }, "actions": ["find"] },
    { "resource": { "db": "user_service", "collection": "" }, "actions": ["listCollections", "listIndexes"] }
  ],
  "roles": []
})

db.adminCommand({
  "createUser": "user_service_reader",
  "pwd": passwordPrompt(),
  "roles": ["user_service_reader"],
  "mechanisms": ["SCRAM-SHA-256"]
})
