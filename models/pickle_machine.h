// SPDX-License-Identifier: Apache-2.0
// The stack machine of Python pickles. Each opcode (pickle_opcodes.cpp) takes values from the stack and pushes others; none
// does anything else. Internal to the pickle reader. Format: https://github.com/python/cpython/blob/main/Lib/pickletools.py
// (the opcodes and their arguments). Tests: tests/models/pickle_test.cpp
#pragma once

#include <charconv>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/pickle.h"
#include "models/text.h"

namespace elek::pickle {

/// Reads one pickle.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, size_t start, const std::string& where, const Limits& limits)
      : bytes_(bytes), at_(start), where_(where), limits_(limits) {
    document_.values_.emplace_back();  // None
  }
  Document read();

  // What the opcodes are made of.
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(where_ + ": its pickle is damaged at byte " + std::to_string(opcode_at_) + ": " + what);
  }
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) {
      throw InputError(where_ + ": truncated at byte " + std::to_string(bytes_.size()) + ", in the middle of a pickle");
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return text;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;  // little-endian, as are the machines that elek supports
  }
  /// The text of protocol 0's arguments, up to the end of the line.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos) static_cast<void>(take(rest.size() + 1));  // truncated
    at_ += length + 1;
    return rest.substr(0, length);
  }
  template <typename T>
  T number_in(std::string_view text) const {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fail("expected a number, found " + detail::in_quotes(text));
    return value;
  }

  [[noreturn]] void too_many() const {
    throw InputError(where_ + ": its pickle has more than " + std::to_string(limits_.values) +
                     " values; a file of weights has some thousands");
  }
  Ref add(Value value) {
    if (document_.values_.size() >= limits_.values) too_many();
    document_.values_.push_back(std::move(value));
    return static_cast<Ref>(document_.values_.size() - 1);
  }
  void push(Ref ref) {
    if (stack_.size() >= limits_.values) too_many();
    stack_.push_back(ref);
  }
  void push(Value value) { push(add(std::move(value))); }
  void push_int(int64_t integer) { push({Kind::kInt, integer, 0, {}, {}}); }
  void push_text(Kind kind, std::string_view text) { push({kind, 0, 0, text, {}}); }
  void push_owned(Kind kind, std::string text) {
    document_.owned_.push_back(std::move(text));
    push_text(kind, document_.owned_.back());
  }
  Ref pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("it takes a value from an empty stack");
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  [[nodiscard]] Ref top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("it uses the top of an empty stack");
    return stack_.back();
  }
  void mark() {
    if (marks_.size() >= limits_.values) too_many();
    marks_.push_back(stack_.size());
  }
  /// The values above the last mark, which is removed.
  std::vector<Ref> pop_to_mark() {
    if (marks_.empty()) fail("it has no mark");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  void pop_one_more() {  // POP also removes a mark
    if (!marks_.empty() && marks_.back() == stack_.size()) {
      marks_.pop_back();
    } else {
      static_cast<void>(pop());
    }
  }
  std::vector<Ref> pop_items(size_t count) {
    std::vector<Ref> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  void push_dict(std::vector<Ref> items) {
    if (items.size() % 2 != 0) fail("a dict has a key without a value");
    push({Kind::kDict, 0, 0, {}, std::move(items)});
  }
  void push_global(std::string_view module, std::string_view name) {
    document_.owned_.push_back(std::string(module) + "." + std::string(name));
    push_text(Kind::kGlobal, document_.owned_.back());
  }
  void push_named_global();
  void push_object(Ref callable, Ref arguments) {
    push({Kind::kObject, 0, 0, {}, {callable, arguments, kNothing, kNothing, kNothing}});
  }
  Ref tuple_of(std::vector<Ref> items) { return add({Kind::kTuple, 0, 0, {}, std::move(items)}); }
  void instance();
  void object_of_items();
  void reduce() {
    const Ref arguments = pop();
    push_object(pop(), arguments);
  }
  void new_object_with_keywords() {  // NEWOBJ_EX
    static_cast<void>(pop());
    reduce();
  }
  void build();
  /// Adds to the list or dict on the stack, or to the object that is one.
  void extend(Kind kind, const std::vector<Ref>& items);
  void remember(uint64_t index);
  void memoize() { remember(remembered_); }
  void recall(uint64_t index);
  void push_long(uint64_t count);
  void push_int_line();
  void push_long_line();
  void push_string_line();
  void push_unicode_line();
  void finish() {
    document_.root_ = pop();
    document_.end_ = at_;
    done_ = true;
  }

 private:
  static constexpr Ref kUnset = ~Ref{0};
  std::span<const std::byte> bytes_;
  size_t at_;
  size_t opcode_at_ = 0;
  const std::string& where_;
  Limits limits_;
  Document document_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::vector<Ref> memo_;
  size_t remembered_ = 0;
  bool done_ = false;
};

}  // namespace elek::pickle
