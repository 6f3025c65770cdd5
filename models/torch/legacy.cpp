// SPDX-License-Identifier: Apache-2.0
// The two formats before PyTorch 1.6 keep the storages outside of zip archives. Legacy: pickles of a magic number, a version,
// the system, the object and the storages' keys, then each storage. Tar, until 2017: pickles and storages in three files.
#include <cstring>

#include "core/error.h"
#include "models/stored_dtype.h"
#include "models/text.h"
#include "models/torch/tensors.h"
#include "models/weights_readers.h"

namespace elek::detail {

using pickle::Document;
using pickle::Kind;

namespace {

constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);  // 0x1950a86a20f9469cfc6c
constexpr int64_t kVersion = 1001;
constexpr int64_t kMostArrays = 100'000;

/// Reads numbers and storages one after another.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, size_t at, const std::string& where) : bytes_(bytes), at_(at), where_(where) {}
  std::span<const std::byte> take(uint64_t count, const std::string& what) {
    if (count > bytes_.size() - at_) {
      throw InputError(where_ + ": truncated at byte " + std::to_string(bytes_.size()) + ", in " + what + ": it needs " +
                       std::to_string(count) + " bytes from byte " + std::to_string(at_) + " on; get the file again");
    }
    const std::span<const std::byte> part = bytes_.subspan(at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return part;
  }
  int64_t number(const std::string& what) {  // little-endian, as the machines that elek supports
    int64_t value = 0;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    return value;
  }
  Document document() {
    Document document = Document::read(bytes_, at_, where_);
    at_ = document.end();
    return document;
  }
  /// A storage: its number of elements, then their bytes.
  std::span<const std::byte> storage(std::string_view dtype, const std::string& key) {
    const std::string what = "storage " + in_quotes(key);
    const int64_t elements = number(what);
    uint64_t bytes = 0;
    if (elements < 0 || __builtin_mul_overflow(static_cast<uint64_t>(elements), stored_bytes(dtype).value(), &bytes)) {
      throw InputError(where_ + ": " + what + " has " + std::to_string(elements) + " elements; the file is damaged");
    }
    return take(bytes, what);
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_;
  const std::string& where_;
};

/// The key of a list, which may be a text or a number.
std::string key_of(const Document& document, Ref ref) {
  if (const std::optional<std::string_view> text = document.text(ref)) return std::string(*text);
  if (const std::optional<int64_t> number = document.integer(ref)) return std::to_string(*number);
  return {};
}

/// The types of the storages that the object needs, by key.
std::map<std::string, std::string_view, std::less<>> storage_types(const Document& object) {
  std::map<std::string, std::string_view, std::less<>> types;
  for (Ref ref = 0; ref < object.size(); ++ref) {
    if (object[ref].kind != Kind::kPersistent) continue;
    const std::span<const Ref> id = object.elements(object[ref].items.front());
    if (id.size() >= 5 && object.text(id[0]) == "storage")
      types[key_of(object, id[2])] = dtype_of_torch(object.callable(id[1]));
  }
  return types;
}

}  // namespace

bool is_legacy(const Document& first) {
  const pickle::Value& root = first[first.root()];
  return root.kind == Kind::kBigInt && root.text == kMagic;
}

LegacyFile read_legacy(const MappedFile& file, std::span<const std::byte> bytes, WeightsFile::Content& content) {
  const std::string& where = content.where;
  Cursor cursor(bytes, 0, where);
  const auto damaged = [&](const std::string& what) {
    throw InputError(where + ": a PyTorch file before version 1.6, but " + what + "; the file is damaged");
  };
  if (!is_legacy(cursor.document())) damaged("without its magic number");
  const Document version = cursor.document();
  if (version.integer(version.root()) != kVersion) damaged("of an unknown version");
  const Document system = cursor.document();
  if (const std::optional<Ref> order = system.find(system.root(), "little_endian"); order && system.integer(*order) == 0) {
    throw InputError(where + ": a PyTorch file with big-endian numbers, which elek does not read");
  }
  LegacyFile result{cursor.document(), {}};
  refuse_hostile(result.object, where);
  const auto types = storage_types(result.object);
  const Document keys = cursor.document();
  for (const Ref ref : keys.elements(keys.root())) {
    const std::string key = key_of(keys, ref);
    const auto type = types.find(key);
    if (type == types.end() || type->second.empty()) damaged("the type of its storage " + in_quotes(key) + " is not known");
    content.records.push_back({file, cursor.storage(type->second, key), std::nullopt});
    if (!result.records.emplace(key, content.records.size() - 1).second)
      damaged("its storage " + in_quotes(key) + " appears twice");
  }
  return result;
}

WeightsFile::Content read_pickle_weights(const MappedFile& file, const std::string& key) {
  WeightsFile::Content content;
  content.where = file.where();
  const Document first = Document::read(file.bytes(), 0, content.where);
  if (is_legacy(first)) {
    const LegacyFile legacy = read_legacy(file, file.bytes(), content);
    TorchPickle pickle(legacy.object, file, {legacy.records, {}}, content);
    take_weights(pickle, key, content);
    return content;
  }
  refuse_hostile(first, content.where);
  TorchPickle pickle(first, file, {}, content);
  take_weights(pickle, key, content);
  return content;
}

namespace {

/// The parts of a tar archive that the first format needs.
struct TarParts {
  std::span<const std::byte> storages, tensors, pickle;
};

TarParts tar_parts(std::span<const std::byte> bytes, const std::string& where) {
  constexpr size_t kBlock = 512, kNameBytes = 100, kSizeAt = 124, kSizeBytes = 12;
  TarParts parts;
  std::string names;
  for (size_t at = 0; at + kBlock <= bytes.size();) {
    const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + at, kBlock);
    const std::string_view name = header.substr(0, std::min(header.find('\0'), kNameBytes));
    if (name.empty()) break;  // two empty blocks end the archive
    if (leaves_folder(name)) {
      throw InputError(where + ": the tar archive's entry " + in_quotes(name) +
                       " has a path out of the archive's folder; the file is damaged or hostile");
    }
    uint64_t size = 0;
    for (const char c : header.substr(kSizeAt, kSizeBytes))
      if (c >= '0' && c <= '7') size = size * 8 + static_cast<uint64_t>(c - '0');
    at += kBlock;
    if (size > bytes.size() - at) {
      throw InputError(where + ": truncated at byte " + std::to_string(bytes.size()) + ", in " + in_quotes(name) +
                       " of the tar archive; get the file again");
    }
    const std::string_view last = name.substr(name.rfind('/') == std::string_view::npos ? 0 : name.rfind('/') + 1);
    for (const auto& [wanted, part] :
         {std::pair{"storages", &parts.storages}, std::pair{"tensors", &parts.tensors}, std::pair{"pickle", &parts.pickle}}) {
      if (last == wanted) *part = bytes.subspan(at, size);
    }
    if (names.size() < 200) names += (names.empty() ? "" : ", ") + in_quotes(name);
    at += std::min<uint64_t>((size + kBlock - 1) / kBlock * kBlock, bytes.size() - at);
  }
  if (parts.storages.empty() || parts.tensors.empty() || parts.pickle.empty()) {
    throw InputError(where + ": a tar archive that is no PyTorch file; it contains " + (names.empty() ? "nothing" : names) +
                     "; unpack it (tar -xf) and give the weights file");
  }
  return parts;
}

int64_t count_in(Cursor& cursor, const std::string& where) {
  const Document document = cursor.document();
  const std::optional<int64_t> count = document.integer(document.root());
  if (!count || *count < 0 || *count > kMostArrays) {
    throw InputError(where + ": a tar archive of PyTorch with " + document.describe(document.root()) +
                     " storages or tensors; the file is damaged");
  }
  return *count;
}

void read_tar_storages(const TarParts& parts, const MappedFile& file, TorchPickle::Storages& storages,
                       std::map<std::string, std::string, std::less<>>& types, WeightsFile::Content& content) {
  Cursor cursor(parts.storages, 0, content.where);
  const int64_t count = count_in(cursor, content.where);
  const auto add = [&](const std::string& key, std::span<const std::byte> bytes, const std::string& type) {
    content.records.push_back({file, bytes, std::nullopt});
    storages.records[key] = content.records.size() - 1;
    types[key] = type;
  };
  for (int64_t i = 0; i < count; ++i) {
    const Document id = cursor.document();  // (key, place, storage class)
    const std::span<const Ref> fields = id.elements(id.root());
    const std::string_view type = fields.size() == 3 ? dtype_of_torch(id.callable(fields[2])) : "";
    if (type.empty())
      throw InputError(content.where + ": storage " + std::to_string(i) + " of the tar archive has no known type");
    const std::string key = key_of(id, fields[0]);
    add(key, cursor.storage(type, key), std::string(type));
  }
  const Document views = cursor.document();  // (key, key of the whole, offset, elements) each
  for (const Ref view : views.elements(views.root())) {
    const std::span<const Ref> fields = views.elements(view);
    const auto whole = fields.size() == 4 ? storages.records.find(key_of(views, fields[1])) : storages.records.end();
    if (whole == storages.records.end()) throw InputError(content.where + ": a view of no storage; the file is damaged");
    const std::string type = types.at(whole->first);
    const std::span<const std::byte> bytes = content.records[whole->second].bytes;
    const uint64_t size = stored_bytes(type).value();
    const auto offset = static_cast<uint64_t>(views.integer(fields[2]).value_or(-1));
    const auto elements = static_cast<uint64_t>(views.integer(fields[3]).value_or(-1));
    if (offset > bytes.size() / size || elements > bytes.size() / size - offset) {
      throw InputError(content.where + ": a view lies outside of its storage; the file is damaged");
    }
    add(key_of(views, fields[0]), bytes.subspan(offset * size, elements * size), type);
  }
}

void read_tar_tensors(const TarParts& parts, TorchPickle::Storages& storages,
                      const std::map<std::string, std::string, std::less<>>& types, const std::string& where) {
  Cursor cursor(parts.tensors, 0, where);
  const int64_t count = count_in(cursor, where);
  for (int64_t i = 0; i < count; ++i) {
    const Document id = cursor.document();  // (key, storage's key, class)
    const std::span<const Ref> fields = id.elements(id.root());
    const auto record = fields.size() == 3 ? storages.records.find(key_of(id, fields[1])) : storages.records.end();
    const std::string what = "tensor " + std::to_string(i) + " of the tar archive";
    if (record == storages.records.end()) throw InputError(where + ": " + what + " has no storage; the file is damaged");
    WeightsFile::Entry entry;
    entry.dtype = types.at(record->first);
    entry.record = record->second;
    const auto rank = static_cast<uint64_t>(cursor.number(what)) & 0xffffffffU;  // 4 bytes, then 4 that are not used
    if (rank > 64) throw InputError(where + ": " + what + " has " + std::to_string(rank) + " dimensions; the file is damaged");
    for (std::vector<int64_t>* numbers : {&entry.shape, &entry.strides})
      for (uint64_t axis = 0; axis < rank; ++axis) numbers->push_back(cursor.number(what));
    const int64_t offset = cursor.number(what);
    if (offset < 0 || __builtin_mul_overflow(static_cast<uint64_t>(offset), stored_bytes(entry.dtype).value(), &entry.offset)) {
      throw InputError(where + ": " + what + " has the offset " + std::to_string(offset) + "; the file is damaged");
    }
    storages.tensors[key_of(id, fields[0])] = std::move(entry);
  }
}

}  // namespace

WeightsFile::Content read_tar_weights(const MappedFile& file, const std::string& key) {
  WeightsFile::Content content;
  content.where = file.where();
  const TarParts parts = tar_parts(file.bytes(), content.where);
  TorchPickle::Storages storages;
  std::map<std::string, std::string, std::less<>> types;
  read_tar_storages(parts, file, storages, types, content);
  read_tar_tensors(parts, storages, types, content.where);
  const Document document = Document::read(parts.pickle, 0, content.where);
  refuse_hostile(document, content.where);
  TorchPickle pickle(document, file, std::move(storages), content);
  take_weights(pickle, key, content);
  return content;
}

}  // namespace elek::detail
