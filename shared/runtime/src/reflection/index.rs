//! Where everything is declared that a reflection client can ask for.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use prost_reflect::{DescriptorError, DescriptorPool, FileDescriptor};

/// Our packages, the protocols that every server speaks, and the messages of `google.rpc`, which no method names:
/// clients look them up to show the details of an error.
const SETS: [&[u8]; 5] = [
    api::descriptor::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
];

/// One for the process, made when the first client asks: most processes are never asked.
pub(super) static INDEX: LazyLock<Index> =
    LazyLock::new(|| Index::of(&SETS).expect("the descriptor sets are compiled in, and a test reads them"));

/// A file of an [`Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId(usize);

/// Files with what they declare. The descriptors themselves are not kept.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: Vec<File>,
    by_name: HashMap<String, FileId>,
    by_symbol: HashMap<String, FileId>,
    /// The extensions of each message, by number. A message that nobody extends has none.
    extensions: HashMap<String, BTreeMap<i32, FileId>>,
}

#[derive(Debug)]
struct File {
    /// With our options in it.
    encoded: Vec<u8>,
    imports: Vec<FileId>,
}

impl Index {
    fn of(sets: &[&[u8]]) -> Result<Self, DescriptorError> {
        let mut pool = DescriptorPool::new();
        for set in sets {
            // Of a file that is in two sets, such as a well-known type, the first counts.
            pool.decode_file_descriptor_set(*set)?;
        }
        let mut index = Self::default();
        let ids = pool.files().enumerate().map(|(place, file)| (file.name().to_owned(), FileId(place)));
        index.by_name = ids.collect();
        for file in pool.files() {
            let imports = file.dependencies().map(|import| index.by_name[import.name()]).collect();
            index.files.push(File { encoded: file.encode_to_vec(), imports });
        }
        index.read_types(&pool);
        index.read_services(&pool);
        index.read_extensions(&pool);
        Ok(index)
    }

    fn read_types(&mut self, pool: &DescriptorPool) {
        for message in pool.all_messages() {
            let file = message.parent_file();
            self.declare(message.full_name(), &file);
            message.fields().for_each(|field| self.declare(field.full_name(), &file));
            message.oneofs().for_each(|oneof| self.declare(oneof.full_name(), &file));
            self.extensions.insert(message.full_name().to_owned(), BTreeMap::new());
        }
        for list in pool.all_enums() {
            let file = list.parent_file();
            self.declare(list.full_name(), &file);
            list.values().for_each(|value| self.declare(value.full_name(), &file));
        }
    }

    fn read_services(&mut self, pool: &DescriptorPool) {
        for service in pool.services() {
            let file = service.parent_file();
            self.declare(service.full_name(), &file);
            service.methods().for_each(|method| self.declare(method.full_name(), &file));
        }
    }

    fn read_extensions(&mut self, pool: &DescriptorPool) {
        for extension in pool.all_extensions() {
            let file = extension.parent_file();
            self.declare(extension.full_name(), &file);
            let number = i32::try_from(extension.number()).expect("protobuf's numbers have 29 bits");
            let of_message = self.extensions.entry(extension.containing_message().full_name().to_owned());
            of_message.or_default().insert(number, self.by_name[file.name()]);
        }
    }

    fn declare(&mut self, symbol: &str, file: &FileDescriptor) {
        self.by_symbol.insert(symbol.to_owned(), self.by_name[file.name()]);
    }

    /// The file of this name, such as `order/v1/order_service.proto`.
    pub(super) fn file(&self, name: &str) -> Option<FileId> {
        self.by_name.get(name).copied()
    }

    /// The file that declares what has this full name: a message, field, enum, value, service, method or extension.
    pub(super) fn symbol(&self, name: &str) -> Option<FileId> {
        self.by_symbol.get(name).copied()
    }

    /// The file that declares the extension of a message with this number.
    pub(super) fn extension(&self, message: &str, number: i32) -> Option<FileId> {
        self.extensions.get(message)?.get(&number).copied()
    }

    /// The numbers of all extensions of a message, in order; `None` when there is no such message.
    pub(super) fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        Some(self.extensions.get(message)?.keys().copied().collect())
    }

    /// A file as a `FileDescriptorProto`.
    pub(super) fn encoded(&self, file: FileId) -> &[u8] {
        &self.files[file.0].encoded
    }

    /// The files that a file imports.
    pub(super) fn imports(&self, file: FileId) -> &[FileId] {
        &self.files[file.0].imports
    }
}
