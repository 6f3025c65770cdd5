// SPDX-License-Identifier: Apache-2.0
#include "models/torch/tensors.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "models/stored_dtype.h"
#include "models/text.h"

namespace elek::detail {

using pickle::Document;
using pickle::Kind;

namespace {

constexpr int kMostWrappers = 8;  // a parameter around a subclass around a tensor takes 3

using Pair = std::pair<std::string_view, std::string_view>;
constexpr std::array kDtypes = {
    Pair{"FloatStorage", "F32"},
    Pair{"HalfStorage", "F16"},
    Pair{"BFloat16Storage", "BF16"},
    Pair{"DoubleStorage", "F64"},
    Pair{"LongStorage", "I64"},
    Pair{"IntStorage", "I32"},
    Pair{"ShortStorage", "I16"},
    Pair{"CharStorage", "I8"},
    Pair{"ByteStorage", "U8"},
    Pair{"BoolStorage", "BOOL"},
    Pair{"ComplexFloatStorage", "C64"},
    Pair{"ComplexDoubleStorage", "C128"},
    Pair{"UntypedStorage", "U8"},
    Pair{"_UntypedStorage", "U8"},
    Pair{"float32", "F32"},
    Pair{"float16", "F16"},
    Pair{"bfloat16", "BF16"},
    Pair{"float64", "F64"},
    Pair{"int64", "I64"},
    Pair{"int32", "I32"},
    Pair{"int16", "I16"},
    Pair{"int8", "I8"},
    Pair{"uint8", "U8"},
    Pair{"bool", "BOOL"},
    Pair{"uint16", "U16"},
    Pair{"uint32", "U32"},
    Pair{"uint64", "U64"},
    Pair{"complex64", "C64"},
    Pair{"complex128", "C128"},
    Pair{"float8_e4m3fn", "F8_E4M3"},
    Pair{"float8_e5m2", "F8_E5M2"},
    Pair{"float8_e4m3fnuz", "F8_E4M3FNUZ"},
    Pair{"float8_e5m2fnuz", "F8_E5M2FNUZ"},
    Pair{"float8_e8m0fnu", "F8_E8M0"},
};

bool rebuilds_a_tensor(std::string_view callable) {
  return callable.starts_with("torch._utils._rebuild_") || callable.starts_with("torch._tensor._rebuild_");
}
bool is_reconstruct(std::string_view callable) {
  return callable == "numpy.core.multiarray._reconstruct" || callable == "numpy._core.multiarray._reconstruct";
}
bool is_frombuffer(std::string_view callable) {
  return callable == "numpy.core.numeric._frombuffer" || callable == "numpy._core.numeric._frombuffer";
}
/// Classes and functions whose first argument is the tensor itself.
bool wraps_a_tensor(std::string_view callable) {
  return callable == "torch._utils._rebuild_parameter" || callable == "torch._utils._rebuild_parameter_with_state" ||
         callable == "torch._utils._rebuild_device_tensor_from_numpy" || callable == "torch._utils._rebuild_xla_tensor" ||
         callable == "torch._utils._rebuild_device_tensor_from_cpu_tensor" || callable == "torch.nn.parameter.Parameter" ||
         callable == "torch.nn.parameter.Buffer" || callable == "torch.autograd.variable.Variable";
}

}  // namespace

std::string_view dtype_of_torch(std::string_view name) {
  const size_t dot = name.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (!name.starts_with("torch.")) return {};
  const auto* const found = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Pair& pair) { return pair.first == last; });
  return found == kDtypes.end() ? std::string_view{} : found->second;
}

TorchPickle::TorchPickle(const Document& document, MappedFile file, Storages storages, WeightsFile::Content& content)
    : document_(document), file_(std::move(file)), storages_(std::move(storages)), content_(content) {}

void TorchPickle::fail(const std::string& name, const std::string& what) const {
  throw InputError(where() + ": tensor " + in_quotes(name) + ": " + what);
}

/// None if the object has fewer arguments.
Ref TorchPickle::argument(Ref object, size_t index) const {
  const std::span<const Ref> all = document_.elements(document_.arguments(object));
  return index < all.size() ? all[index] : pickle::kNothing;
}

/// Without nn.Parameter and classes derived from Tensor around it.
Ref TorchPickle::unwrapped(Ref ref) const {
  for (int i = 0; i < kMostWrappers && wraps_a_tensor(document_.callable(ref)); ++i) ref = argument(ref, 0);
  return ref;
}

bool TorchPickle::is_tensor(Ref ref) const {
  const Ref inner = unwrapped(ref);
  const pickle::Value& value = document_[inner];
  if (value.kind == Kind::kPersistent && !storages_.tensors.empty()) {
    const std::optional<std::string_view> key = document_.text(value.items.front());
    return key && storages_.tensors.contains(*key);
  }
  const std::string_view callable = document_.callable(inner);
  return value.kind == Kind::kObject && (rebuilds_a_tensor(callable) || is_reconstruct(callable) || is_frombuffer(callable));
}

/// The tuple with a tensor's sizes; None if the tensor is of a kind that has none.
Ref TorchPickle::sizes_of(Ref ref) const {
  const std::string_view callable = document_.callable(ref);
  if (is_frombuffer(callable)) return argument(ref, 2);
  if (is_reconstruct(callable)) {
    const std::span<const Ref> state = document_.elements(document_.state(ref));
    return state.size() > 1 ? state[1] : pickle::kNothing;
  }
  if (callable == "torch._tensor._rebuild_from_type_v2") {
    const std::span<const Ref> inner = document_.elements(argument(ref, 2));
    return inner.size() > 2 ? inner[2] : pickle::kNothing;
  }
  return argument(ref, 2);
}

bool TorchPickle::is_matrix(Ref ref) const {
  if (!is_tensor(ref)) return false;
  const Ref inner = unwrapped(ref);
  if (document_[inner].kind == Kind::kPersistent) {
    return storages_.tensors.find(*document_.text(document_[inner].items.front()))->second.shape.size() >= 2;
  }
  Ref sizes = sizes_of(inner);
  if (document_.callable(sizes) == "torch.Size") sizes = argument(sizes, 0);
  return document_.elements(sizes).size() >= 2;
}

std::vector<int64_t> TorchPickle::integers(Ref ref, const std::string& name) const {
  if (document_.callable(ref) == "torch.Size") ref = argument(ref, 0);
  std::vector<int64_t> numbers;
  for (const Ref element : document_.elements(ref)) {
    const std::optional<int64_t> number = document_.integer(element);
    if (!number || *number < 0) fail(name, "a size is " + document_.describe(element));
    if (numbers.size() == 64) fail(name, "more than 64 dimensions");
    numbers.push_back(*number);
  }
  return numbers;
}

void TorchPickle::set_dtype(WeightsFile::Entry& entry, Ref type) const {
  const std::string_view name = document_.callable(type);
  entry.dtype = dtype_of_torch(name);
  if (entry.dtype.empty()) fail(entry.name, "its type " + in_quotes(name) + " is not known to elek");
}

/// The record and type of the storage, and the place in it: `offset` is in elements.
void TorchPickle::set_storage(WeightsFile::Entry& entry, Ref storage, int64_t offset) {
  const pickle::Value& value = document_[storage];
  if (document_.callable(storage) == "torch.storage._load_from_bytes") {
    const NestedStorage& nested = nested_storage(storage, entry.name);
    entry.record = nested.record;
    if (entry.dtype.empty()) entry.dtype = nested.dtype;
  } else {
    if (value.kind != Kind::kPersistent) fail(entry.name, "its storage is " + document_.describe(storage));
    const std::span<const Ref> id = document_.elements(value.items.front());
    if (id.size() < 5 || document_.text(id[0]) != "storage") fail(entry.name, "its storage has no id");
    if (entry.dtype.empty()) set_dtype(entry, id[1]);
    const std::string key(document_.text(id[2]).value_or("?"));
    const auto record = storages_.records.find(key);
    if (record == storages_.records.end()) fail(entry.name, "its storage " + in_quotes(key) + " is not in the file");
    entry.record = record->second;
    if (const std::span<const Ref> view = document_.elements(id.size() > 5 ? id[5] : pickle::kNothing); view.size() == 3) {
      const int64_t start = document_.integer(view[1]).value_or(-1);  // a view of another storage, from this element on
      if (start < 0 || __builtin_add_overflow(offset, start, &offset)) fail(entry.name, "its storage's view is damaged");
    }
  }
  if (offset < 0 || __builtin_mul_overflow(static_cast<uint64_t>(offset), stored_bytes(entry.dtype).value(), &entry.offset)) {
    fail(entry.name, "its offset " + std::to_string(offset) + " is out of range");
  }
}

WeightsFile::Entry TorchPickle::tensor(Ref ref, const std::string& name) {
  const Ref inner = unwrapped(ref);
  if (document_[inner].kind == Kind::kPersistent && is_tensor(inner)) {
    WeightsFile::Entry entry = storages_.tensors.find(*document_.text(document_[inner].items.front()))->second;
    entry.name = name;
    return entry;
  }
  std::string_view function = document_.callable(inner);
  if (is_reconstruct(function) || is_frombuffer(function)) return array(inner, name);
  Ref arguments = document_.arguments(inner);
  if (function == "torch._tensor._rebuild_from_type_v2") {  // (function, class, arguments, state)
    function = document_.callable(argument(inner, 0));
    arguments = argument(inner, 2);
  }
  const bool is_v3 = function == "torch._utils._rebuild_tensor_v3";
  if (function != "torch._utils._rebuild_tensor" && function != "torch._utils._rebuild_tensor_v2" && !is_v3) {
    fail(name, "it is rebuilt by " + in_quotes(function) +
                   ", which elek does not know (quantized, sparse and other special "
                   "tensors are not read)");
  }
  const std::span<const Ref> parts = document_.elements(arguments);  // storage, offset, size, stride, …
  if (parts.size() < 4) fail(name, "it has no storage, offset, size and stride");
  WeightsFile::Entry entry;
  entry.name = name;
  entry.shape = integers(parts[2], name);
  entry.strides = integers(parts[3], name);
  if (entry.shape.size() != entry.strides.size()) fail(name, "it has another number of sizes than of strides");
  if (is_v3 && parts.size() > 6) set_dtype(entry, parts[6]);
  set_storage(entry, parts[0], document_.integer(parts[1]).value_or(-1));
  return entry;
}

const TorchPickle::NestedStorage& TorchPickle::nested_storage(Ref storage, const std::string& name) {
  if (const auto known = nested_.find(storage); known != nested_.end()) return known->second;
  const auto [file, bytes] = bytes_of(argument(storage, 0), name);
  const LegacyFile nested = read_legacy(file, bytes, content_);
  const pickle::Value& root = nested.object[nested.object.root()];
  if (root.kind != Kind::kPersistent) fail(name, "its storage contains " + nested.object.describe(nested.object.root()));
  const std::span<const Ref> id = nested.object.elements(root.items.front());
  const std::string_view dtype = id.size() < 5 ? "" : dtype_of_torch(nested.object.callable(id[1]));
  const auto record = nested.records.find(id.size() < 5 ? "" : nested.object.text(id[2]).value_or(""));
  if (dtype.empty() || record == nested.records.end()) fail(name, "its storage has no id");
  return nested_.emplace(storage, NestedStorage{record->second, std::string(dtype)}).first->second;
}

std::optional<std::vector<Member>> TorchPickle::members(Ref ref) const {
  const pickle::Value& value = document_[ref];
  std::vector<Member> all;
  const auto add = [&](Ref key, Ref item) {
    if (const std::optional<std::string_view> text = document_.text(key)) {
      all.push_back({std::string(*text), item});
    } else if (const std::optional<int64_t> number = document_.integer(key)) {
      all.push_back({std::to_string(*number), item});
    }
  };
  const std::string_view callable = document_.callable(ref);
  const bool ordered = callable == "collections.OrderedDict" || callable == "collections.defaultdict";
  const std::span<const Ref> pairs = document_.pairs(ref);
  if (value.kind == Kind::kDict || !pairs.empty() || (value.kind == Kind::kObject && ordered)) {
    if (ordered) {  // Python 2 gives an OrderedDict its items as an argument: a list of pairs
      for (const Ref pair : document_.elements(argument(ref, 0)))
        if (const auto both = document_.elements(pair); both.size() == 2) add(both[0], both[1]);
    }
    for (size_t i = 0; i + 1 < pairs.size(); i += 2) add(pairs[i], pairs[i + 1]);
    return all;
  }
  const std::span<const Ref> elements = document_.elements(ref);
  if (value.kind != Kind::kList && value.kind != Kind::kTuple && elements.empty()) return std::nullopt;
  for (size_t i = 0; i < elements.size(); ++i) all.push_back({std::to_string(i), elements[i]});
  return all;
}

std::optional<std::vector<Member>> TorchPickle::module_members(Ref ref) const {
  if (document_[ref].kind != Kind::kObject) return std::nullopt;
  const std::string_view callable = document_.callable(ref);
  Ref state = document_.state(ref);
  if (callable.ends_with("reduce_graph_module") || callable.ends_with("reduce_deploy_graph_module")) state = argument(ref, 0);
  if (const auto parts = document_.elements(state); parts.size() == 2) state = parts[0];  // attributes and slots
  if (callable.starts_with("__torch__.")) {  // TorchScript: tensors and modules are plain attributes
    std::optional<std::vector<Member>> all = members(state);
    if (!all) return std::vector<Member>{};
    std::erase_if(*all, [&](const Member& m) { return !is_tensor(m.value) && document_[m.value].kind != Kind::kObject; });
    return all;
  }
  if (!document_.find(state, "_modules") && !document_.find(state, "_parameters")) return std::nullopt;
  std::vector<std::string_view> left_out;  // buffers that are no part of a state dict
  if (const std::optional<Ref> set = document_.find(state, "_non_persistent_buffers_set")) {
    const std::span<const Ref> names =
        document_[*set].kind == Kind::kSet ? document_[*set].items : document_.elements(argument(*set, 0));
    for (const Ref name : names)
      if (const auto text = document_.text(name)) left_out.push_back(*text);
  }
  std::vector<Member> all;
  for (const char* part : {"_parameters", "_buffers", "_modules"}) {
    const std::optional<Ref> part_ref = document_.find(state, part);
    for (Member& member : (part_ref ? members(*part_ref) : std::nullopt).value_or(std::vector<Member>{})) {
      const bool skip =
          document_[member.value].kind == Kind::kNone ||
          (part == std::string_view("_buffers") && std::find(left_out.begin(), left_out.end(), member.name) != left_out.end());
      if (!skip) all.push_back(std::move(member));
    }
  }
  return all;
}

void refuse_hostile(const Document& document, const std::string& where) {
  constexpr std::array<std::string_view, 12> kModules = {"os.",     "posix.",  "nt.",        "subprocess.",
                                                         "shutil.", "socket.", "importlib.", "runpy.",
                                                         "pty.",    "ctypes.", "sys.",       "webbrowser."};
  constexpr std::array<std::string_view, 7> kBuiltins = {"eval", "exec", "execfile", "compile", "open", "__import__", "input"};
  for (Ref ref = 0; ref < document.size(); ++ref) {
    if (document[ref].kind != Kind::kObject) continue;
    const std::string_view called = document.callable(ref);
    bool hostile = std::any_of(kModules.begin(), kModules.end(), [&](std::string_view m) { return called.starts_with(m); });
    for (const std::string_view module : {"builtins.", "__builtin__."}) {
      if (!called.starts_with(module)) continue;
      const std::string_view function = called.substr(module.size());
      hostile = hostile || std::find(kBuiltins.begin(), kBuiltins.end(), function) != kBuiltins.end();
    }
    if (!hostile) continue;
    const std::span<const Ref> arguments = document.elements(document.arguments(ref));
    throw InputError(where + ": a hostile file: Python would call " + in_quotes(called) +
                     (arguments.empty() ? "" : " with " + document.describe(arguments[0])) +
                     " when it loads it; elek ran nothing and takes nothing from it");
  }
}

}  // namespace elek::detail
