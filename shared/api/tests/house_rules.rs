//! The rules of `proto/README.md` that buf does not know.

use api::descriptor::pool;
use prost_reflect::{Cardinality, Kind, MethodDescriptor, Value};

/// Methods that change something and take no `request_id`, each with its reason.
const WITHOUT_REQUEST_ID: [(&str, &str); 9] = [
    ("session.v1.SessionService.Login", "the answer is a secret and is not stored"),
    ("session.v1.SessionService.RefreshSession", "the answer is a secret and is not stored"),
    ("session.v1.SessionService.ValidateSession", "a repeat counts as use of the session once more"),
    (
        "user.v1.UserService.VerifyPassword",
        "a repeat checks once more; what it may hash anew stays the same password",
    ),
    ("user.v1.PostService.RecordPostViews", "a repeat within 24 hours counts nothing more"),
    ("event.v1.EventService.Acknowledge", "a repeat writes the same position"),
    ("order.v1.TransferService.GetDecision", "a repeat reads the decision"),
    ("order.v1.AuditService.RunAudit", "a repeat audits once more; nothing else changes"),
    ("user.v1.AuditService.AuditBook", "a repeat audits once more; nothing else changes"),
];

fn methods() -> Vec<MethodDescriptor> {
    let methods: Vec<_> =
        pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(methods.len() > 30, "the descriptor set has {} methods only", methods.len());
    methods
}

fn has_no_side_effects(method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name("idempotency_level");
    matches!(level.as_deref(), Some(Value::EnumNumber(1)))
}

fn is_idempotent(method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name("idempotency_level");
    matches!(level.as_deref(), Some(Value::EnumNumber(2)))
}

fn broken(rule: &str, names: Vec<String>) {
    assert!(names.is_empty(), "{rule}: {}", names.join(", "));
}

#[test]
fn a_changing_request_begins_with_its_request_id() {
    let breaks = |method: &&MethodDescriptor| {
        let first = method.input().get_field(1);
        let has = first.is_some_and(|field| field.name() == "request_id" && field.kind() == Kind::String);
        let exempt = WITHOUT_REQUEST_ID.iter().any(|(name, _)| *name == method.full_name());
        has == (exempt || has_no_side_effects(method))
    };
    let names = methods().iter().filter(breaks).map(|method| method.full_name().to_owned()).collect();
    broken("request_id is field 1 of every changing request, and of no other", names);
}

#[test]
fn get_and_list_declare_that_they_change_nothing() {
    let reads = |name: &str| {
        ["Get", "List", "Watch", "Explain", "Snapshot"].iter().any(|verb| name.starts_with(verb))
    };
    let names = methods()
        .iter()
        .filter(|method| reads(method.name()) && !has_no_side_effects(method))
        .map(|method| method.full_name().to_owned())
        .filter(|name| name != "order.v1.TransferService.GetDecision")
        .collect();
    broken("a reading method has idempotency_level = NO_SIDE_EFFECTS", names);
}

#[test]
fn what_is_written_down_on_the_way_is_a_side_effect() {
    for name in ["session.v1.SessionService.ValidateSession", "user.v1.UserService.VerifyPassword"] {
        let methods = methods();
        let method = methods.iter().find(|method| method.full_name() == name).expect("the method exists");
        assert!(is_idempotent(method), "{name}");
    }
}

#[test]
fn a_list_has_pages() {
    let names = methods()
        .iter()
        .filter(|method| method.name().starts_with("List"))
        .filter(|method| {
            let (input, output) = (method.input(), method.output());
            ["page_size", "page_token"].iter().any(|field| input.get_field_by_name(field).is_none())
                || output.get_field_by_name("next_page_token").is_none()
        })
        .map(|method| method.full_name().to_owned())
        .collect();
    broken("List has page_size, page_token and next_page_token", names);
}

#[test]
fn no_number_is_a_float() {
    let names = pool()
        .all_messages()
        .filter(|message| !message.package_name().starts_with("google."))
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| matches!(field.kind(), Kind::Float | Kind::Double))
        .map(|field| field.full_name().to_owned())
        .collect();
    broken("no field is a float", names);
}

#[test]
fn each_package_with_services_names_its_reasons() {
    let names = pool()
        .services()
        .map(|service| service.parent_file().package_name().to_owned())
        .filter(|package| pool().get_enum_by_name(&format!("{package}.ErrorReason")).is_none())
        .collect();
    broken("each package has an ErrorReason", names);
}

#[test]
fn reasons_fit_the_wire() {
    let names = pool()
        .all_enums()
        .filter(|reasons| reasons.name() == "ErrorReason")
        .flat_map(|reasons| reasons.values().map(|value| value.name().to_owned()).collect::<Vec<_>>())
        .filter(|name| name.strip_prefix("ERROR_REASON_").is_none_or(|reason| reason.len() > 63))
        .collect();
    broken("a reason has at most 63 characters behind its prefix", names);
}

/// Published in 2022 as `io.cloudevents.v1.CloudEvent`; numbers and types are what makes the bytes equal.
#[test]
fn our_cloud_event_is_the_standard_one_on_the_wire() {
    let fields = |name: &str| -> Vec<(u32, String, String)> {
        let message = pool().get_message_by_name(name).expect("the message exists");
        message
            .fields()
            .map(|field| (field.number(), field.name().to_owned(), format!("{:?}", field.kind())))
            .collect()
    };
    let event = fields("event.v1.CloudEvent");
    let numbers: Vec<_> = event.iter().map(|(number, name, _)| (*number, name.as_str())).collect();
    assert_eq!(
        numbers,
        [
            (1, "id"),
            (2, "source"),
            (3, "spec_version"),
            (4, "type"),
            (5, "attributes"),
            (6, "binary_data"),
            (7, "text_data")
        ]
    );
    let values = fields("event.v1.CloudEventAttributeValue");
    let kinds: Vec<_> = values.iter().map(|(number, name, _)| (*number, name.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (1, "ce_boolean"),
            (2, "ce_integer"),
            (3, "ce_string"),
            (4, "ce_bytes"),
            (5, "ce_uri"),
            (6, "ce_uri_ref"),
            (7, "ce_timestamp")
        ]
    );
    let attributes = pool().get_message_by_name("event.v1.CloudEvent").expect("the message exists");
    let attributes = attributes.get_field(5).expect("the field exists");
    assert!(attributes.is_map() && attributes.cardinality() == Cardinality::Repeated);
}

#[test]
fn packages_import_only_what_they_may() {
    let allowed = |own: &str, file: &str| {
        let shared = ["google/protobuf/", "common/v1/", "event/v1/", "auth/v1/"];
        let own = format!("{}/", own.replace('.', "/"));
        shared.iter().any(|prefix| file.starts_with(prefix)) || file.starts_with(&own)
    };
    let names = pool()
        .files()
        .filter(|file| !file.package_name().starts_with("google."))
        .flat_map(|file| {
            let package = file.package_name().to_owned();
            file.dependencies()
                .filter(|import| !allowed(&package, import.name()))
                .map(|import| format!("{} imports {}", file.name(), import.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    broken("imports are well-known types, common.v1, event.v1, auth.v1 and the own package", names);
}
