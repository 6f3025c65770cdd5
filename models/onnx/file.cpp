// SPDX-License-Identifier: Apache-2.0
// The messages of ONNX, field by field. Unknown fields are skipped, as protobuf demands. Limits keep a hostile file from
// costing more memory than its own size: they lie far above what any network has.
#include "models/onnx/file.h"

#include <utility>

#include "core/error.h"
#include "models/text.h"

namespace elek::onnx {

using detail::in_quotes;

namespace {

constexpr size_t kMostOfAKind = 100'000;  // nodes, initialisers, inputs, outputs
constexpr size_t kMostPerNode = 4096;     // inputs, outputs, attributes
constexpr size_t kMostNumbers = 65'536;   // in an attribute
constexpr size_t kMostDimensions = 8;
constexpr size_t kMostNameBytes = 512;

/// Length in bytes of the UTF-8 character that starts `text`; 0 if it is none, or a control character.
size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first < 0x20 || first == 0x7f ? 0 : 1;
  const size_t bytes = first >= 0xf0 && first < 0xf5   ? 4
                       : first >= 0xe0 && first < 0xf0 ? 3
                       : first >= 0xc2 && first < 0xe0 ? 2
                                                       : 0;
  if (bytes == 0 || text.size() < bytes) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;  // no surrogates, nothing above U+10FFFF
  if (second < low || second > high) return 0;
  for (const char c : text.substr(2, bytes - 2)) {
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

/// A name that may go into messages and files: short, UTF-8, no control characters.
std::string name_in(const Fields& field) {
  const std::string_view name = field.text();
  if (name.size() > kMostNameBytes) {
    field.fail("a name of " + std::to_string(name.size()) + " bytes: " + in_quotes(name));
  }
  for (std::string_view rest = name; !rest.empty();) {
    const size_t bytes = character_bytes(rest);
    if (bytes == 0)
      field.fail("the name " + in_quotes(name.substr(0, name.size() - rest.size())) + " goes on with a byte that is no text");
    rest.remove_prefix(bytes);
  }
  return std::string(name);
}

template <typename T>
void push(std::vector<T>& to, T value, size_t most, const Fields& field, const char* what) {
  if (to.size() == most) field.fail("more than " + std::to_string(most) + " " + what);
  to.push_back(std::move(value));
}

std::pair<std::string, std::string> pair_in(std::span<const std::byte> message, const Source& source) {
  std::pair<std::string, std::string> entry;
  for (Fields fields(message, source); fields.next();) {
    if (fields.field() == 1) entry.first = fields.text();
    if (fields.field() == 2) entry.second = fields.text();
  }
  return entry;
}

TensorProto tensor_in(std::span<const std::byte> message, const Source& source) {
  constexpr uint64_t kDims = 1, kType = 2, kName = 8, kRaw = 9, kExternalData = 13, kLocation = 14;
  TensorProto tensor;
  tensor.message = message;
  for (Fields fields(message, source); fields.next();) {
    switch (fields.field()) {
      case kDims:
        fields.each_integer([&](int64_t dim) { push(tensor.dims, dim, kMostDimensions, fields, "dimensions of a tensor"); });
        break;
      case kType:
        tensor.type = static_cast<ElementType>(static_cast<int32_t>(fields.integer()));
        break;
      case kName:
        tensor.name = name_in(fields);
        break;
      case kRaw:
        tensor.raw = fields.bytes();
        break;
      case kExternalData:
        if (tensor.data.size() == kMostDimensions) fields.fail("more than 8 entries about external data");
        tensor.data.insert(pair_in(fields.bytes(), source));
        break;
      case kLocation:
        tensor.external = fields.integer() == 1;
        break;
      default:
        break;
    }
  }
  return tensor;
}

std::pair<std::string, Attribute> attribute_in(std::span<const std::byte> message, const Source& source) {
  constexpr uint64_t kName = 1, kFloat = 2, kInteger = 3, kText = 4, kTensor = 5, kFloats = 7, kIntegers = 8;
  std::pair<std::string, Attribute> made;
  Attribute& attribute = made.second;
  for (Fields fields(message, source); fields.next();) {
    switch (fields.field()) {
      case kName:
        made.first = name_in(fields);
        break;
      case kFloat:
        attribute.real = fields.real();
        break;
      case kInteger:
        attribute.integer = fields.integer();
        break;
      case kText:
        attribute.text = fields.text();
        break;
      case kTensor:
        attribute.tensor = tensor_in(fields.bytes(), source);
        break;
      case kFloats:
        fields.each_run<float>([&](std::span<const std::byte> run) {
          const size_t count = run.size() / sizeof(float);
          if (attribute.reals.size() + count > kMostNumbers) fields.fail("an attribute has too many numbers");
          const size_t before = attribute.reals.size();
          attribute.reals.resize(before + count);
          std::copy(run.begin(), run.end(),
                    std::as_writable_bytes(std::span(attribute.reals)).subspan(before * sizeof(float)).begin());
        });
        break;
      case kIntegers:
        fields.each_integer(
            [&](int64_t value) { push(attribute.integers, value, kMostNumbers, fields, "numbers in an attribute"); });
        break;
      default:
        break;
    }
  }
  return made;
}

NodeProto node_in(std::span<const std::byte> message, const Source& source) {
  constexpr uint64_t kInput = 1, kOutput = 2, kName = 3, kOperator = 4, kAttribute = 5, kDomain = 7;
  NodeProto node;
  std::string domain;
  for (Fields fields(message, source); fields.next();) {
    switch (fields.field()) {
      case kInput:
        push(node.inputs, name_in(fields), kMostPerNode, fields, "inputs of a node");
        break;
      case kOutput:
        push(node.outputs, name_in(fields), kMostPerNode, fields, "outputs of a node");
        break;
      case kName:
        node.name = name_in(fields);
        break;
      case kOperator:
        node.op = name_in(fields);
        break;
      case kAttribute:
        if (node.attributes.size() == kMostPerNode) fields.fail("too many attributes of a node");
        if (!node.attributes.insert(attribute_in(fields.bytes(), source)).second) fields.fail("an attribute appears twice");
        break;
      case kDomain:
        domain = name_in(fields);
        break;
      default:
        break;
    }
  }
  if (!domain.empty() && domain != "ai.onnx") node.op = domain + "." + node.op;
  return node;
}

/// The dimensions in a TensorShapeProto; each a number, a name or nothing.
std::vector<std::optional<int64_t>> dims_in(std::span<const std::byte> message, const Source& source) {
  std::vector<std::optional<int64_t>> dims;
  for (Fields fields(message, source); fields.next();) {
    if (fields.field() != 1) continue;
    std::optional<int64_t> dim;
    for (Fields value(fields.bytes(), source); value.next();) {
      if (value.field() == 1 && value.integer() > 0) dim = value.integer();  // some exporters write 0 or -1 for "open"
    }
    push(dims, dim, kMostDimensions, fields, "dimensions of an input");
  }
  return dims;
}

ValueProto value_in(std::span<const std::byte> message, const Source& source) {
  ValueProto value;
  for (Fields fields(message, source); fields.next();) {
    if (fields.field() == 1) value.name = name_in(fields);
    if (fields.field() != 2) continue;
    for (Fields type(fields.bytes(), source); type.next();) {
      if (type.field() != 1) continue;  // a tensor; the others are sequences and maps
      for (Fields tensor(type.bytes(), source); tensor.next();) {
        if (tensor.field() == 1) value.type = static_cast<ElementType>(static_cast<int32_t>(tensor.integer()));
        if (tensor.field() == 2) value.dims = dims_in(tensor.bytes(), source);
      }
    }
  }
  return value;
}

void read_graph(std::span<const std::byte> message, FileProto& to) {
  constexpr uint64_t kNode = 1, kName = 2, kInitialiser = 5, kInput = 11, kOutput = 12;
  for (Fields fields(message, to.source); fields.next();) {
    switch (fields.field()) {
      case kNode:
        push(to.nodes, node_in(fields.bytes(), to.source), kMostOfAKind, fields, "nodes");
        break;
      case kName:
        to.graph_name = name_in(fields);
        break;
      case kInitialiser: {
        if (to.initialisers.size() == kMostOfAKind) fields.fail("more than " + std::to_string(kMostOfAKind) + " initialisers");
        TensorProto tensor = tensor_in(fields.bytes(), to.source);
        const std::string name = tensor.name;
        if (!to.initialisers.emplace(name, std::move(tensor)).second)
          fields.fail("the initialiser " + in_quotes(name) + " appears twice");
        break;
      }
      case kInput:
        push(to.inputs, value_in(fields.bytes(), to.source), kMostOfAKind, fields, "inputs");
        break;
      case kOutput:
        push(to.outputs, value_in(fields.bytes(), to.source), kMostOfAKind, fields, "outputs");
        break;
      default:
        break;
    }
  }
}

}  // namespace

const Attribute* NodeProto::find(const std::string& attribute) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? nullptr : &found->second;
}

int64_t NodeProto::integer(const std::string& attribute, int64_t otherwise) const {
  const Attribute* found = find(attribute);
  return found == nullptr ? otherwise : found->integer.value_or(0);  // some writers leave out zeros
}

float NodeProto::real(const std::string& attribute, float otherwise) const {
  const Attribute* found = find(attribute);
  return found == nullptr ? otherwise : found->real.value_or(0);
}

std::string NodeProto::text(const std::string& attribute, const std::string& otherwise) const {
  const Attribute* found = find(attribute);
  return found == nullptr ? otherwise : found->text.value_or("");
}

std::vector<int64_t> NodeProto::integers(const std::string& attribute, const std::vector<int64_t>& otherwise) const {
  const Attribute* found = find(attribute);
  return found == nullptr ? otherwise : found->integers;
}

const std::string& NodeProto::label() const { return name.empty() && !outputs.empty() ? outputs.front() : name; }

FileProto read_file(const MappedFile& file) {
  constexpr uint64_t kProducer = 2, kGraph = 7, kOperatorSet = 8, kMetadata = 14;
  FileProto made{file, {file.where(), file.bytes()}, {}, 1, {}, {}, {}, {}, {}, {}};
  bool has_graph = false, has_set = false;
  for (Fields fields(file.bytes(), made.source); fields.next();) {
    switch (fields.field()) {
      case kProducer:
        made.producer = name_in(fields);
        break;
      case kGraph:
        has_graph = true;
        read_graph(fields.bytes(), made);
        break;
      case kOperatorSet: {
        std::string domain;
        int64_t version = 1;
        for (Fields set(fields.bytes(), made.source); set.next();) {
          if (set.field() == 1) domain = set.text();
          if (set.field() == 2) version = set.integer();
        }
        if (domain.empty() || domain == "ai.onnx") {
          made.operator_set = version;
          has_set = true;
        }
        break;
      }
      case kMetadata:
        if (made.metadata.size() == kMostPerNode) fields.fail("too much metadata");
        made.metadata.insert(pair_in(fields.bytes(), made.source));
        break;
      default:
        break;
    }
  }
  if (has_graph && !has_set) throw InputError(file.where() + ": it does not say which operator set it uses; it is truncated");
  if (!has_graph) throw InputError(file.where() + ": not an ONNX file, or an empty one: it contains no graph");
  return made;
}

}  // namespace elek::onnx
