// For `user-service migrate`: it makes collections, validators and indexes, and changes them.
//
// Paste it into mongosh as a user who may create roles and users (`userAdminAnyDatabase`); it asks for the password.
// Another name for the database is put in the place of user_service wherever that stands. For a role or a user that is
// there already, write updateRole and updateUser.

db.adminCommand({
  "createRole": "user_service_migrate",
  "privileges": [
    { "resource": { "db": "user_service", "collection": "" }, "actions": ["collMod"] },
    { "resource": { "cluster": true }, "actions": ["getParameter", "replSetGetConfig"] }
  ],
  "roles": [{ "role": "readWrite", "db": "user_service" }]
})

db.adminCommand({
  "createUser": "user_service_migrate",
  "pwd": passwordPrompt(),
  "roles": ["user_service_migrate"],
  "mechanisms": ["SCRAM-SHA-256"]
})
