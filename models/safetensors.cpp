// SPDX-License-Identifier: Apache-2.0
// Reads the safetensors container. The header is parsed as a stream of events, not as a document. So a hostile header of 100 MB
// costs no more memory than the names it really holds, and deep nesting is refused at its first bracket.
#include "models/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/error.h"
#include "models/sniff.h"
#include "models/stored_dtype.h"
#include "models/text.h"

namespace elek {

using detail::in_quotes;
using detail::shape_text;

namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
constexpr size_t kMostTensors = 100'000;
constexpr size_t kMaxRank = 64;  // more than any network needs; limits what a false header can make us store
constexpr std::string_view kMetadataKey = "__metadata__";

/// A tensor as described in the header.
struct Claim {
  std::optional<std::string> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

/// Accepts exactly {"__metadata__": {name: string…}, name: {"dtype": string, "shape": [int…], "data_offsets": [int, int]}…}.
/// Anything else is an InputError at the event that differs.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& where) : where_(where) {}

  std::map<std::string, Claim> claims;
  std::map<std::string, std::string> metadata;

  bool null() override { refuse("null"); }
  bool boolean(bool /*value*/) override { refuse("a boolean"); }
  bool number_float(double /*value*/, const std::string& /*text*/) override {
    refuse("a number with a fraction or out of range");
  }
  bool binary(nlohmann::json::binary_t& /*value*/) override { refuse("binary data"); }
  bool number_integer(int64_t value) override { refuse("the negative number " + std::to_string(value)); }

  bool number_unsigned(uint64_t value) override {
    if (state_ == State::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) refuse("a dimension of " + std::to_string(value));
      if (claim_->shape->size() == kMaxRank) fail("more than " + std::to_string(kMaxRank) + " dimensions");
      claim_->shape->push_back(static_cast<int64_t>(value));
    } else if (state_ == State::kOffsets) {
      if (claim_->offsets->size() == 2) fail("more than two data_offsets");
      claim_->offsets->push_back(value);
    } else {
      refuse("the number " + std::to_string(value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (state_ == State::kMetadata) {
      metadata_value_->swap(value);
    } else if (state_ == State::kDType) {
      if (!detail::stored_bytes(value)) {
        fail("unknown dtype " + in_quotes(value) + "; elek knows " + detail::stored_dtype_names());
      }
      claim_->dtype = std::move(value);
      state_ = State::kTensor;
    } else {
      refuse("the string " + in_quotes(value));
    }
    return true;
  }

  bool start_object(size_t /*elements*/) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTensorStart) {
      state_ = State::kTensor;
    } else if (state_ == State::kMetadataStart) {
      state_ = State::kMetadata;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool key(std::string& name) override {
    field_ = name;
    if (state_ == State::kTop) {
      tensor_ = name;
      if (name == kMetadataKey) {
        if (std::exchange(metadata_seen_, true)) fail("appears twice");
        state_ = State::kMetadataStart;
      } else {
        const auto [at, fresh] = claims.try_emplace(name);
        if (!fresh) fail("the name appears twice");
        if (claims.size() > kMostTensors)
          fail("more than " + std::to_string(kMostTensors) + " tensors; this is no file of weights");
        claim_ = &at->second;
        state_ = State::kTensorStart;
      }
    } else if (state_ == State::kMetadata) {
      const auto [at, fresh] = metadata.try_emplace(name);
      if (!fresh) fail("the key " + in_quotes(name) + " appears twice");
      metadata_value_ = &at->second;
    } else if (name == "dtype" && !claim_->dtype) {
      state_ = State::kDType;
    } else if (name == "shape" && !claim_->shape) {
      state_ = State::kShapeStart;
    } else if (name == "data_offsets" && !claim_->offsets) {
      state_ = State::kOffsetsStart;
    } else {
      fail("expected dtype, shape and data_offsets once each, found " + in_quotes(name));
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTop) {
      state_ = State::kDone;
      return true;
    }
    if (state_ == State::kTensor && !(claim_->dtype && claim_->shape && claim_->offsets && claim_->offsets->size() == 2)) {
      fail("expected dtype, shape and two data_offsets; one of them is missing");
    }
    state_ = State::kTop;
    return true;
  }

  bool start_array(size_t /*elements*/) override {
    if (state_ == State::kShapeStart) {
      claim_->shape.emplace();
      state_ = State::kShape;
    } else if (state_ == State::kOffsetsStart) {
      claim_->offsets.emplace();
      state_ = State::kOffsets;
    } else {
      refuse("an array");
    }
    return true;
  }

  bool end_array() override {
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::detail::exception& /*error*/) override {
    throw InputError(where_ + ": the header is not valid JSON at its byte " + std::to_string(position) +
                     "; the file is damaged or is not a safetensors file");
  }

 private:
  enum class State : uint8_t {
    kStart,
    kTop,            // in the outermost object, a name comes next
    kMetadataStart,  // "__metadata__":
    kMetadata,
    kTensorStart,  // name:
    kTensor,       // in a tensor's object, a field's name comes next
    kDType,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets,
    kDone,
  };

  [[noreturn]] void fail(const std::string& what) const {
    const bool metadata_part = tensor_ == kMetadataKey;
    throw InputError(where_ + ": " + (metadata_part ? "" : "tensor ") + in_quotes(tensor_) + ": " + what);
  }

  [[noreturn]] void refuse(const std::string& found) const {
    switch (state_) {
      case State::kStart:
        throw InputError(where_ + ": the header is " + found + ", expected an object; this is not a safetensors file");
      case State::kMetadataStart:
        fail("expected an object of strings, found " + found);
      case State::kMetadata:
        fail("key " + in_quotes(field_) + ": expected a string, found " + found);
      case State::kTensorStart:
        fail("expected an object with dtype, shape and data_offsets, found " + found);
      case State::kDType:
        fail("dtype: expected a string, found " + found);
      case State::kShapeStart:
        fail("shape: expected a list of sizes, found " + found);
      case State::kOffsetsStart:
        fail("data_offsets: expected two byte offsets, found " + found);
      case State::kTop:
      case State::kTensor:
      case State::kShape:
      case State::kOffsets:
      case State::kDone:
        break;
    }
    fail(field_ + ": expected non-negative integers, found " + found);
  }

  const std::string& where_;
  State state_ = State::kStart;
  std::string tensor_, field_;
  Claim* claim_ = nullptr;
  std::string* metadata_value_ = nullptr;
  bool metadata_seen_ = false;
};

/// Product of the shape times the element size; InputError if it does not fit 63 bits.
uint64_t claimed_bytes(const std::string& where, const std::string& name, const std::vector<int64_t>& shape,
                       const std::string& dtype) {
  uint64_t bytes = detail::stored_bytes(dtype).value();
  for (const int64_t dim : shape) {
    if (dim == 0) return 0;
  }
  for (const int64_t dim : shape) {
    if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / static_cast<uint64_t>(dim)) {
      throw InputError(where + ": tensor " + in_quotes(name) + ": shape " + shape_text(shape) +
                       " has more elements than fit in memory");
    }
    bytes *= static_cast<uint64_t>(dim);
  }
  return bytes;
}

/// Offsets must cover the data exactly, from first to last byte, without overlap or hole, as in the reference implementation.
void check_coverage(const std::string& where, const std::map<std::string, Claim>& claims, uint64_t data_bytes) {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, const std::string*>> order;
  order.reserve(claims.size());
  for (const auto& [name, claim] : claims) order.push_back({{(*claim.offsets)[0], (*claim.offsets)[1]}, &name});
  std::sort(order.begin(), order.end());
  uint64_t end = 0;
  for (const auto& [range, name] : order) {
    if (range.first != end) {
      throw InputError(where + ": tensor " + in_quotes(*name) +
                       (range.first < end ? ": overlaps the one before it" : ": leaves a hole before it") +
                       ": expected to start at byte " + std::to_string(end) + " of the data, found " +
                       std::to_string(range.first) + "; the file is damaged");
    }
    end = range.second;
  }
  if (end != data_bytes) {
    throw InputError(where + ": expected " + std::to_string(end) + " bytes of data, found " + std::to_string(data_bytes) +
                     "; the file is damaged");
  }
}

uint64_t little_endian_u64(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

/// The header's text, after a check that the file holds all of it.
std::string_view header_of(std::span<const std::byte> bytes, const std::string& where) {
  // Most files that are refused here are whole files of another kind, so that is said first.
  if (const FileKind kind = kind_of(bytes); kind != FileKind::kSafetensors && kind != FileKind::kUnknown) {
    throw InputError(where + ": expected a safetensors file: " + description_of(kind));
  }
  if (bytes.size() < 8)
    throw InputError(where + ": truncated at byte " + std::to_string(bytes.size()) + "; get the file again");
  const uint64_t length = little_endian_u64(bytes);
  if (length > kMaxHeaderBytes) {
    throw InputError(where + ": not a safetensors file, or a damaged one: its header would have " + std::to_string(length) +
                     " bytes, more than the format's " + std::to_string(kMaxHeaderBytes));
  }
  if (length > bytes.size() - 8) {
    throw InputError(where + ": truncated at byte " + std::to_string(bytes.size()) + ": the header claims " +
                     std::to_string(length) + " bytes, the file holds " + std::to_string(bytes.size() - 8) +
                     " after its first eight; get it again");
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(length));
  if (header.empty() || header.front() != '{') {
    throw InputError(where + ": not a safetensors file, or a damaged one: the header does not start with '{'");
  }
  // The JSON library treats a zero byte as the end of its input and would not read what follows.
  if (const size_t zero = header.find('\0'); zero != std::string_view::npos) {
    throw InputError(where + ": the header is not valid JSON at its byte " + std::to_string(zero) + "; the file is damaged");
  }
  return header;
}

}  // namespace

struct SafetensorsFile::Impl {
  explicit Impl(MappedFile mapped) : file(std::move(mapped)) {}
  void read();

  MappedFile file;
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
};

void SafetensorsFile::Impl::read() {
  const std::string& where = file.where();
  const std::span<const std::byte> bytes = file.bytes();
  const std::string_view header = header_of(bytes, where);
  const std::span<const std::byte> data = bytes.subspan(8 + header.size());
  HeaderReader reader(where);
  // Our own errors leave the parser as InputError. Errors of the library end in parse_error(). The rest is caught too, so that
  // callers get InputError only.
  try {
    nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(where + ": the header is not valid JSON (" + error.what() + ")");
  }
  for (const auto& [name, claim] : reader.claims) {
    const uint64_t begin = (*claim.offsets)[0];
    const uint64_t end = (*claim.offsets)[1];
    if (begin <= end && end > data.size()) {
      throw InputError(where + ": truncated at byte " + std::to_string(bytes.size()) + ": tensor " + in_quotes(name) +
                       " ends at byte " + std::to_string(end) + " of the data, outside the file's " +
                       std::to_string(data.size()) + " bytes of data; get it again");
    }
    if (begin > end) {
      throw InputError(where + ": tensor " + in_quotes(name) + ": its data_offsets [" + std::to_string(begin) + ", " +
                       std::to_string(end) + "] are reversed; the file is damaged");
    }
    const uint64_t expected = claimed_bytes(where, name, *claim.shape, *claim.dtype);
    if (expected != end - begin) {
      throw InputError(where + ": tensor " + in_quotes(name) + ": " + *claim.dtype + " " + shape_text(*claim.shape) +
                       " takes " + std::to_string(expected) + " bytes, its data_offsets hold " + std::to_string(end - begin));
    }
  }
  check_coverage(where, reader.claims, data.size());
  for (auto& [name, claim] : reader.claims) {
    const auto begin = static_cast<size_t>((*claim.offsets)[0]);
    const auto end = static_cast<size_t>((*claim.offsets)[1]);
    entries.emplace(name, Entry{name, std::move(*claim.dtype), std::move(*claim.shape), data.subspan(begin, end - begin)});
  }
  metadata = std::move(reader.metadata);
}

SafetensorsFile SafetensorsFile::parse(const MappedFile& file) {
  auto impl = std::make_shared<Impl>(file);
  impl->read();
  SafetensorsFile result;
  result.impl_ = std::move(impl);
  return result;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& where) {
  return parse(MappedFile::in_memory(bytes, where));
}

SafetensorsFile SafetensorsFile::open(const std::string& path) { return parse(MappedFile::open(path)); }

const std::map<std::string, SafetensorsFile::Entry>& SafetensorsFile::entries() const noexcept { return impl_->entries; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept { return impl_->metadata; }
const std::string& SafetensorsFile::where() const noexcept { return impl_->file.where(); }
const MappedFile& SafetensorsFile::mapped() const noexcept { return impl_->file; }

const SafetensorsFile::Entry& SafetensorsFile::at(const std::string& name) const {
  const auto found = impl_->entries.find(name);
  if (found == impl_->entries.end()) {
    throw InputError(where() + ": tensor " + in_quotes(name) + " is missing; the file holds " +
                     std::to_string(impl_->entries.size()) + " others");
  }
  return found->second;
}

}  // namespace elek
