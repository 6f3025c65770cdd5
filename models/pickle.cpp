// SPDX-License-Identifier: Apache-2.0
// What a document's values are; the machine that makes them is in pickle_reader.cpp.
#include "models/pickle.h"

#include "models/text.h"

namespace elek::pickle {

std::optional<std::string_view> Document::text(Ref ref) const {
  const Value& value = values_[ref];
  if (value.kind != Kind::kText && value.kind != Kind::kBytes) return std::nullopt;
  return value.text;
}

std::optional<int64_t> Document::integer(Ref ref) const {
  const Value& value = values_[ref];
  if (value.kind != Kind::kInt && value.kind != Kind::kBool) return std::nullopt;
  return value.integer;
}

std::span<const Ref> Document::elements(Ref ref) const {
  const Value& value = values_[ref];
  if (value.kind == Kind::kTuple || value.kind == Kind::kList) return value.items;
  if (value.kind == Kind::kObject) return values_[value.items[kListItems]].items;
  return {};
}

std::span<const Ref> Document::pairs(Ref ref) const {
  const Value& value = values_[ref];
  if (value.kind == Kind::kDict) return value.items;
  if (value.kind == Kind::kObject) return values_[value.items[kDictItems]].items;
  return {};
}

std::optional<Ref> Document::find(Ref ref, std::string_view key) const {
  const std::span<const Ref> all = pairs(ref);
  for (size_t i = all.size(); i >= 2; i -= 2)
    if (text(all[i - 2]) == key) return all[i - 1];
  return std::nullopt;
}

std::string_view Document::callable(Ref ref) const {
  const Value& value = values_[ref];
  if (value.kind == Kind::kGlobal) return value.text;
  if (value.kind != Kind::kObject) return {};
  const Value& called = values_[value.items[kCallable]];
  return called.kind == Kind::kGlobal ? called.text : std::string_view{};
}

Ref Document::arguments(Ref object) const {
  return values_[object].kind == Kind::kObject ? values_[object].items[kArguments] : kNothing;
}

Ref Document::state(Ref object) const {
  return values_[object].kind == Kind::kObject ? values_[object].items[kState] : kNothing;
}

std::string Document::describe(Ref ref) const {
  const Value& value = values_[ref];
  const auto many = [&](const char* what, size_t count) { return std::string(what) + std::to_string(count); };
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return "the number " + std::to_string(value.integer);
    case Kind::kBigInt:
      return "a number of " + std::to_string(value.text.size()) + " bytes";
    case Kind::kFloat:
      return "the number " + std::to_string(value.number);
    case Kind::kBytes:
      return many("bytes: ", value.text.size());
    case Kind::kText:
      return "the text " + detail::in_quotes(value.text);
    case Kind::kTuple:
      return many("a tuple of ", value.items.size());
    case Kind::kList:
      return many("a list of ", value.items.size());
    case Kind::kSet:
      return many("a set of ", value.items.size());
    case Kind::kDict:
      return many("a dict of ", value.items.size() / 2);
    case Kind::kGlobal:
      return "the class or function " + detail::in_quotes(value.text);
    case Kind::kObject:
      return callable(ref).empty() ? "an object" : "an object of " + detail::in_quotes(callable(ref));
    case Kind::kPersistent:
      return "a reference to something outside of the pickle";
  }
  return "";
}

std::optional<std::vector<std::byte>> latin1_bytes(std::string_view utf8) {
  std::vector<std::byte> bytes;
  bytes.reserve(utf8.size());
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0x80) {
      bytes.push_back(static_cast<std::byte>(lead));
      continue;
    }
    if ((lead != 0xc2 && lead != 0xc3) || i + 1 == utf8.size()) return std::nullopt;  // U+0080 to U+00FF take two bytes
    const auto next = static_cast<unsigned char>(utf8[++i]);
    if ((next & 0xc0U) != 0x80U) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(((lead & 0x03U) << 6) | (next & 0x3fU)));
  }
  return bytes;
}

}  // namespace elek::pickle
