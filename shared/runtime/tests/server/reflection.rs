//! Reflection, by both versions of its protocol: what is there, what is not, and who asks badly or much.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::{DescriptorPool, Value};
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::{Harness, PATIENCE, refusal};

const VERSIONS: [&str; 2] = ["v1", "v1alpha"];
const METHOD_OPTIONS: &str = "google.protobuf.MethodOptions";
/// Of `auth.v1.policy`.
const POLICY: i32 = 51_001;

/// One stream of questions and answers.
struct Talk {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Talk {
    /// The messages of both versions are the same on the wire, which a test below shows.
    async fn start(harness: &Harness, version: &str) -> Result<Self, tonic::Status> {
        let (questions, waiting) = mpsc::channel(1000);
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let mut client = tonic::client::Grpc::new(harness.channel.clone());
        client.ready().await.unwrap();
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let stream = tonic::Request::new(ReceiverStream::new(waiting));
        let answers = client.streaming(stream, PathAndQuery::try_from(path).unwrap(), codec).await?;
        Ok(Self { questions, answers: answers.into_inner() })
    }

    async fn ask(&mut self, question: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: "a.host".to_owned(), message_request: Some(question) };
        self.questions.send(request.clone()).await.unwrap();
        let answer = self.answer().await;
        assert_eq!(answer.valid_host, "a.host");
        assert_eq!(answer.original_request, Some(request));
        answer.message_response.unwrap()
    }

    async fn answer(&mut self) -> ServerReflectionResponse {
        timeout(PATIENCE, self.answers.message()).await.unwrap().unwrap().expect("the stream goes on")
    }

    /// The names of the files of an answer, in order.
    async fn files(&mut self, question: MessageRequest) -> Vec<String> {
        let named =
            |file: &Vec<u8>| prost_types::FileDescriptorProto::decode(&**file).unwrap().name().to_owned();
        match self.ask(question.clone()).await {
            MessageResponse::FileDescriptorResponse(files) => {
                files.file_descriptor_proto.iter().map(named).collect()
            }
            other => panic!("{question:?}: {other:?}"),
        }
    }

    async fn numbers(&mut self, message: &str) -> Vec<i32> {
        match self.ask(MessageRequest::AllExtensionNumbersOfType(message.to_owned())).await {
            MessageResponse::AllExtensionNumbersResponse(numbers) => {
                assert_eq!(numbers.base_type_name, message);
                numbers.extension_number
            }
            other => panic!("{message}: {other:?}"),
        }
    }
}

fn code(answer: &MessageResponse) -> Option<Code> {
    match answer {
        MessageResponse::ErrorResponse(error) if !error.error_message.is_empty() => {
            Some(Code::from_i32(error.error_code))
        }
        _ => None,
    }
}

fn symbol(name: &str) -> MessageRequest {
    MessageRequest::FileContainingSymbol(name.to_owned())
}

fn extension(containing_type: &str, extension_number: i32) -> MessageRequest {
    let containing_type = containing_type.to_owned();
    MessageRequest::FileContainingExtension(ExtensionRequest { containing_type, extension_number })
}

#[tokio::test]
async fn a_server_lists_its_services_and_the_protocols_that_it_speaks() {
    let harness = Harness::start().await;
    for version in VERSIONS {
        let mut talk = Talk::start(&harness, version).await.unwrap();
        let MessageResponse::ListServicesResponse(list) =
            talk.ask(MessageRequest::ListServices(String::new())).await
        else {
            panic!("no list")
        };
        let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        let expected = [
            "order.v1.CatalogService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        assert_eq!(names, expected);
        for name in expected {
            assert_eq!(talk.files(symbol(name)).await.len().min(1), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_miss_is_an_answer_and_the_stream_goes_on() {
    let harness = Harness::start().await;
    let misses = [
        symbol("no.such.Symbol"),
        symbol(""),
        // Packages are no symbols that a file declares.
        symbol("auth.v1"),
        MessageRequest::FileByFilename("no/such.proto".to_owned()),
        MessageRequest::FileByFilename("../proto/auth/v1/policy.proto".to_owned()),
        extension(METHOD_OPTIONS, POLICY + 1),
        extension(METHOD_OPTIONS, 0),
        extension(METHOD_OPTIONS, i32::MIN),
        extension(METHOD_OPTIONS, i32::MAX),
        extension("auth.v1.Policy", POLICY),
        extension("no.such.Message", POLICY),
        MessageRequest::AllExtensionNumbersOfType("no.such.Message".to_owned()),
        MessageRequest::AllExtensionNumbersOfType("auth.v1.Role".to_owned()),
    ];
    for version in VERSIONS {
        let mut talk = Talk::start(&harness, version).await.unwrap();
        for miss in &misses {
            let answer = talk.ask(miss.clone()).await;
            assert_eq!(code(&answer), Some(Code::NotFound), "{version} {miss:?}: {answer:?}");
        }
        // A question that is left out, or one that only a later version of the protocol knows.
        talk.questions.send(ServerReflectionRequest::default()).await.unwrap();
        let answer = talk.answer().await;
        assert_eq!(code(&answer.message_response.unwrap()), Some(Code::InvalidArgument));
        assert_eq!(talk.files(symbol("auth.v1.Policy")).await[0], "auth/v1/policy.proto");
    }
}

#[tokio::test]
async fn our_method_option_is_found_by_number_and_by_name() {
    let harness = Harness::start().await;
    let expected = ["auth/v1/policy.proto", "google/protobuf/descriptor.proto"];
    for version in VERSIONS {
        for question in [
            extension(METHOD_OPTIONS, POLICY),
            symbol("auth.v1.policy"),
            MessageRequest::FileByFilename("auth/v1/policy.proto".to_owned()),
        ] {
            let mut talk = Talk::start(&harness, version).await.unwrap();
            assert_eq!(talk.files(question.clone()).await, expected, "with what it imports");
            assert_eq!(talk.files(question).await, expected[..1], "what it imports is there already");
        }
        let mut talk = Talk::start(&harness, version).await.unwrap();
        assert_eq!(talk.numbers(METHOD_OPTIONS).await, [POLICY]);
        assert!(talk.numbers("auth.v1.Policy").await.is_empty(), "known, and nobody extends it");
    }
}

/// Everything that a file declares is found by its full name, and what a client builds from the answers has our option.
#[tokio::test]
async fn a_client_reads_the_policy_of_a_method_by_name() {
    let harness = Harness::start().await;
    let mut talk = Talk::start(&harness, "v1").await.unwrap();
    for name in [
        "order.v1.CatalogService",
        "order.v1.CatalogService.GetProduct",
        "order.v1.Product.id",
        "order.v1.Order.State",
        "order.v1.Order.STATE_PAID",
        "google.rpc.BadRequest",
        "google.rpc.ErrorInfo",
    ] {
        talk.files(symbol(name)).await;
    }
    let mut talk = Talk::start(&harness, "v1").await.unwrap();
    let MessageResponse::FileDescriptorResponse(mut files) =
        talk.ask(symbol("order.v1.CatalogService")).await
    else {
        panic!("no files")
    };
    let mut pool = DescriptorPool::new();
    // As encoded sets of one file each: field 1, length, file.
    let mut set = Vec::new();
    for file in files.file_descriptor_proto.drain(..) {
        prost::encoding::bytes::encode(1, &file, &mut set);
    }
    pool.decode_file_descriptor_set(&*set).unwrap();
    let service = pool.get_service_by_name("order.v1.CatalogService").unwrap();
    let method = service.methods().find(|method| method.name() == "GetProduct").unwrap();
    let options = method.options();
    let (option, value) = options.extensions().next().expect("the method has a policy");
    assert_eq!(option.full_name(), "auth.v1.policy");
    assert!(matches!(value, Value::Message(_)));
}

/// A client that sends many requests and reads no answer holds back itself: the server stops to read.
#[tokio::test]
async fn who_asks_much_and_reads_later_gets_every_answer_in_order() {
    let harness = Harness::start().await;
    let mut talk = Talk::start(&harness, "v1").await.unwrap();
    let all: Vec<MessageRequest> = (0..1000)
        .map(|number| symbol(if number % 2 == 0 { "google.protobuf.FileOptions" } else { "no.such.Symbol" }))
        .collect();
    for question in &all {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(question.clone()) };
        talk.questions.send(request).await.unwrap();
    }
    for question in &all {
        let answer = talk.answer().await;
        assert_eq!(answer.original_request.unwrap().message_request.as_ref(), Some(question));
    }
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let config = ServerConfig { reflection: false, ..ServerConfig::for_tests() };
    let harness = Harness::start_with(config, Readiness::always(), |_| {}).await;
    for version in VERSIONS {
        let status = Talk::start(&harness, version).await.err().expect("there is no reflection");
        assert_eq!(refusal(&status), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()));
    }
}

/// One server answers both versions, and this is why it may.
#[test]
fn both_versions_have_the_same_messages_on_the_wire() {
    let shape = |set: &[u8], package: &str| -> BTreeMap<String, String> {
        let pool = DescriptorPool::decode(set).unwrap();
        let inner = |text: String| text.replace(package, "");
        let messages = pool.all_messages().map(|message| {
            let fields = message.fields().map(|field| (field.number(), field.kind(), field.cardinality()));
            (inner(message.full_name().to_owned()), inner(format!("{:?}", fields.collect::<Vec<_>>())))
        });
        messages.collect()
    };
    let first = shape(v1::FILE_DESCRIPTOR_SET, "grpc.reflection.v1.");
    assert!(first.len() > 5, "{first:?}");
    assert_eq!(first, shape(v1alpha::FILE_DESCRIPTOR_SET, "grpc.reflection.v1alpha."));
}
