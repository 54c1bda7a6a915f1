//! Writes GGUF bytes for tests, right or wrong in every field.

/// A tensor to be written; offsets follow from the order unless `offset` is set.
#[derive(Debug, Clone)]
pub(crate) struct BuiltTensor {
    pub(crate) name: String,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) type_id: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) offset: Option<u64>,
}

/// A file to be written.
#[derive(Debug, Clone)]
pub(crate) struct GgufBuilder {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) alignment: u64,
    /// Key, value type and the value's bytes.
    pub(crate) keys: Vec<(String, u32, Vec<u8>)>,
    pub(crate) tensors: Vec<BuiltTensor>,
    /// Written instead of the true counts.
    pub(crate) tensor_count: Option<u64>,
    pub(crate) key_count: Option<u64>,
}

impl Default for GgufBuilder {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            keys: Vec::new(),
            tensors: Vec::new(),
            tensor_count: None,
            key_count: None,
        }
    }
}

pub(crate) fn text_bytes(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

impl GgufBuilder {
    /// Sets a key, replacing an older value.
    pub(crate) fn raw(&mut self, key: &str, value_type: u32, bytes: Vec<u8>) -> &mut Self {
        self.remove(key);
        self.keys.push((key.to_string(), value_type, bytes));
        self
    }

    pub(crate) fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.raw(key, 4, value.to_le_bytes().to_vec())
    }

    pub(crate) fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.raw(key, 6, value.to_le_bytes().to_vec())
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, 8, text_bytes(value))
    }

    pub(crate) fn remove(&mut self, key: &str) -> &mut Self {
        self.keys.retain(|(existing, _, _)| existing != key);
        self
    }

    pub(crate) fn tensor(&mut self, name: &str, dimensions: &[u64], type_id: u32, data: Vec<u8>) -> &mut Self {
        let dimensions = dimensions.to_vec();
        self.tensors.push(BuiltTensor { name: name.to_string(), dimensions, type_id, data, offset: None });
        self
    }

    pub(crate) fn tensor_mut(&mut self, name: &str) -> &mut BuiltTensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor of this name")
    }

    pub(crate) fn remove_tensor(&mut self, name: &str) -> &mut Self {
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    /// The bytes before the tensor data, not padded.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value_type, value) in &self.keys {
            bytes.extend(text_bytes(key));
            bytes.extend(value_type.to_le_bytes());
            bytes.extend_from_slice(value);
        }
        let mut next = 0u64;
        for tensor in &self.tensors {
            bytes.extend(text_bytes(&tensor.name));
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|length| bytes.extend(length.to_le_bytes()));
            bytes.extend(tensor.type_id.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(next).to_le_bytes());
            next = (next + tensor.data.len() as u64).next_multiple_of(self.alignment);
        }
        bytes
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(self.alignment as usize), 0);
            bytes.extend_from_slice(&tensor.data);
        }
        bytes
    }

    /// Writes the file to a temporary place that lives as long as the handle.
    pub(crate) fn write(&self) -> tempfile::NamedTempFile {
        write_bytes(&self.bytes())
    }
}

pub(crate) fn write_bytes(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}
