// SPDX-License-Identifier: Apache-2.0
// The longer steps of the machine: numbers and texts of protocol 0, objects, the memo.
#include "models/pickle_machine.h"

namespace elek::pickle {

namespace {

void append_utf8(std::string& text, uint32_t code) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | (code >> 6));
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3f));
    put(0x80 | ((code >> 6) & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

/// `digits` hexadecimal digits at `at`.
std::optional<uint32_t> hex_at(std::string_view text, size_t at, size_t digits) {
  uint32_t code = 0;
  if (at + digits > text.size()) return std::nullopt;
  const char* const end = text.data() + at + digits;
  const auto [stop, error] = std::from_chars(text.data() + at, end, code, 16);
  if (error != std::errc() || stop != end || code > 0x10ffff) return std::nullopt;
  return code;
}

}  // namespace

void Reader::push_named_global() {  // STACK_GLOBAL
  const std::optional<std::string_view> name = document_.text(pop()), module = document_.text(pop());
  if (!name || !module) fail("a class or function is not named by texts");
  push_global(*module, *name);
}

void Reader::instance() {  // INST
  std::vector<Ref> arguments = pop_to_mark();
  const std::string_view module = line();
  push_global(module, line());
  const Ref callable = pop();
  push_object(callable, tuple_of(std::move(arguments)));
}

void Reader::object_of_items() {  // OBJ
  std::vector<Ref> items = pop_to_mark();
  if (items.empty()) fail("an object has no class");
  const Ref callable = items.front();
  items.erase(items.begin());
  push_object(callable, tuple_of(std::move(items)));
}

void Reader::build() {
  const Ref state = pop();
  Value& object = document_.values_[top()];
  if (object.kind == Kind::kObject) {
    object.items[kState] = state;
  } else if (object.kind != Kind::kGlobal && object.kind != Kind::kPersistent) {
    fail("it sets the state of what is no object");
  }
}

void Reader::extend(Kind kind, const std::vector<Ref>& items) {
  Ref target = top();
  if (document_.values_[target].kind == Kind::kObject) {
    const size_t part = kind == Kind::kDict ? kDictItems : kListItems;
    if (document_.values_[target].items[part] == kNothing) {
      const Ref fresh = add({kind == Kind::kSet ? Kind::kList : kind, 0, 0, {}, {}});
      document_.values_[target].items[part] = fresh;
    }
    target = document_.values_[target].items[part];
  } else if (document_.values_[target].kind != kind) {
    fail("it adds items to " + document_.describe(target));
  }
  if (kind == Kind::kDict && items.size() % 2 != 0) fail("a dict has a key without a value");
  std::vector<Ref>& all = document_.values_[target].items;
  all.insert(all.end(), items.begin(), items.end());
}

void Reader::remember(uint64_t index) {
  // Writers count from 0, so no honest index reaches the number of bytes.
  if (index >= bytes_.size() || index >= limits_.values) fail("the memo index " + std::to_string(index) + " is too large");
  if (index >= memo_.size()) memo_.resize(static_cast<size_t>(index) + 1, kUnset);
  if (memo_[static_cast<size_t>(index)] == kUnset) ++remembered_;
  memo_[static_cast<size_t>(index)] = top();
}

void Reader::recall(uint64_t index) {
  if (index >= memo_.size() || memo_[static_cast<size_t>(index)] == kUnset) {
    fail("it recalls the memo index " + std::to_string(index) + ", which was not set");
  }
  push(memo_[static_cast<size_t>(index)]);
}

void Reader::push_long(uint64_t count) {
  const std::string_view digits = take(count);
  if (digits.size() > sizeof(int64_t)) return push_text(Kind::kBigInt, digits);
  const bool negative = !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80U) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = digits.size(); i-- > 0;) value = (value << 8) | static_cast<unsigned char>(digits[i]);
  push_int(static_cast<int64_t>(value));
}

void Reader::push_int_line() {
  const std::string_view text = line();
  if (text == "00" || text == "01") return push({Kind::kBool, text == "01" ? 1 : 0, 0, {}, {}});
  push_int(number_in<int64_t>(text));
}

void Reader::push_long_line() {
  std::string_view text = line();
  if (text.ends_with('L')) text.remove_suffix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return push_text(Kind::kBigInt, text);
  if (error != std::errc() || end != text.data() + text.size()) fail("expected a number, found " + detail::in_quotes(text));
  push_int(value);
}

/// STRING: a quoted text with Python's escapes.
void Reader::push_string_line() {
  std::string_view text = line();
  if (text.size() < 2 || text.front() != text.back() || (text.front() != '\'' && text.front() != '"')) {
    fail("a text is not in quotes");
  }
  text = text.substr(1, text.size() - 2);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      plain += text[i];
      continue;
    }
    const char c = text[++i];
    constexpr std::string_view kEscapes = "\\'\"nrtabfv0", kMeanings("\\'\"\n\r\t\a\b\f\v\0", 11);
    if (c == 'x') {
      const std::optional<uint32_t> code = hex_at(text, i + 1, 2);
      if (!code) fail("a text has a wrong \\x");
      plain += static_cast<char>(*code);
      i += 2;
    } else if (const size_t known = kEscapes.find(c); known != std::string_view::npos) {
      plain += kMeanings[known];
    } else {
      plain += '\\';
      plain += c;
    }
  }
  push_owned(Kind::kBytes, std::move(plain));
}

/// UNICODE: Latin-1, and \uXXXX or \UXXXXXXXX for the rest.
void Reader::push_unicode_line() {
  const std::string_view text = line();
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == 'u' || text[i + 1] == 'U');
    if (!escaped) {
      append_utf8(plain, static_cast<unsigned char>(text[i]));
      continue;
    }
    const size_t digits = text[i + 1] == 'u' ? 4 : 8;
    const std::optional<uint32_t> code = hex_at(text, i + 2, digits);
    if (!code) fail("a text has a wrong \\u");
    append_utf8(plain, *code);
    i += 1 + digits;
  }
  push_owned(Kind::kText, std::move(plain));
}

}  // namespace elek::pickle
