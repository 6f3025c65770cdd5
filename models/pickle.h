// SPDX-License-Identifier: Apache-2.0
// Python pickles as values, protocols 0 to 5. Nothing is imported, called or run: a pickle is a program for a stack machine,
// and this machine only notes what that program would do. A class or function is its dotted name (kGlobal); what it would be
// called with becomes an inert object (kObject). So the values of a hostile pickle can be read and its intentions named. Values
// refer to each other by number and may form cycles, so whoever walks them limits the depth and the number of steps. Must not
// know tensors: models/torch/ gives the objects their meaning. Tests: tests/models/pickle_test.cpp,
// tests/fuzz/pickle_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elek::pickle {

/// The number of a value in its document. Number 0 (kNothing) is always None.
using Ref = uint32_t;
constexpr Ref kNothing = 0;

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,     // up to 64 bits
  kBigInt,  // more: `text` holds its bytes, little-endian two's complement
  kFloat,
  kBytes,
  kText,  // UTF-8; a str of Python 2 is kBytes
  kTuple,
  kList,
  kSet,
  kDict,        // `items`: key, value, key, value …; a later key replaces an earlier one
  kGlobal,      // `text`: "module.name"
  kObject,      // `items`: its five parts below; None where there are none
  kPersistent,  // `items`: the id of something that lies outside of the pickle
};

/// Where the parts of an object are in its `items`.
constexpr size_t kCallable = 0, kArguments = 1, kState = 2, kListItems = 3, kDictItems = 4;

struct Value {
  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kBool, kInt
  double number = 0;    // kFloat
  std::string_view text;
  std::vector<Ref> items;
};

/// What one pickle may cost.
struct Limits {
  size_t values = 4'000'000;  // about 100 bytes of memory each
};

class Document {
 public:
  /// Reads one pickle that starts at byte `start` of `bytes`; `bytes` must outlive the document, which refers to their texts.
  /// Errors    InputError, starting with `where` and the byte: an opcode that is unknown or misused, a pickle that is cut off,
  ///           more values than the limit
  [[nodiscard]] static Document read(std::span<const std::byte> bytes, size_t start, const std::string& where,
                                     const Limits& limits = {});

  [[nodiscard]] Ref root() const noexcept { return root_; }
  /// The first byte behind the pickle: some files hold several, one after another.
  [[nodiscard]] size_t end() const noexcept { return end_; }
  [[nodiscard]] const Value& operator[](Ref ref) const { return values_[ref]; }
  [[nodiscard]] size_t size() const noexcept { return values_.size(); }

  /// The text of a kText or kBytes, as Python 2 wrote names.
  [[nodiscard]] std::optional<std::string_view> text(Ref ref) const;
  [[nodiscard]] std::optional<int64_t> integer(Ref ref) const;  // kInt and kBool
  /// The elements of a tuple or list, or of an object that is a list.
  [[nodiscard]] std::span<const Ref> elements(Ref ref) const;
  /// key, value, key, value … of a dict, or of an object that is a dict. Empty for anything else.
  [[nodiscard]] std::span<const Ref> pairs(Ref ref) const;
  /// The value under a text key of pairs(ref), the last one if there are several; nothing if there is none.
  [[nodiscard]] std::optional<Ref> find(Ref ref, std::string_view key) const;
  /// The dotted name of a global, or of the class or function that makes an object. Empty for anything else.
  [[nodiscard]] std::string_view callable(Ref ref) const;
  [[nodiscard]] Ref arguments(Ref object) const;  // None if `object` is none
  [[nodiscard]] Ref state(Ref object) const;
  /// A short description for messages: `a dict of 3`, `the text "abc"`, `an object of os.system`.
  [[nodiscard]] std::string describe(Ref ref) const;

 private:
  friend class Reader;
  std::vector<Value> values_;
  std::deque<std::string> owned_;  // texts that are not in the file as they are
  Ref root_ = kNothing;
  size_t end_ = 0;
};

/// Texts like `bytes.decode("utf-8").encode("latin-1")`: Python 3 writes bytes as such text in protocols 0 to 2. Nothing if the
/// text has a character beyond U+00FF.
[[nodiscard]] std::optional<std::vector<std::byte>> latin1_bytes(std::string_view utf8);

}  // namespace elek::pickle
