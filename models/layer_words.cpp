// SPDX-License-Identifier: Apache-2.0
#include "models/layer_words.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <utility>

namespace elek::detail {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_separator(char c) { return c == '.' || c == '_' || c == '/' || c == ':'; }

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

size_t digits_at(std::string_view text, size_t from) {
  size_t end = from;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - from;
}

/// Compares two runs of digits of any length: without leading zeros the longer is the larger.
int compare_digits(std::string_view a, std::string_view b) {
  while (a.size() > 1 && a.front() == '0') a.remove_prefix(1);
  while (b.size() > 1 && b.front() == '0') b.remove_prefix(1);
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  const int order = a.compare(b);
  return order < 0 ? -1 : (order > 0 ? 1 : 0);
}

/// Edit distance of Levenshtein. Longer names are cut, so that a hostile file costs no time.
size_t distance(std::string_view a, std::string_view b) {
  constexpr size_t kLongest = 80;
  a = a.substr(0, kLongest);
  b = b.substr(0, kLongest);
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

/// The letters at the beginning of a word, and the rest: "conv", "1".
std::pair<std::string, std::string> letters_and_rest(const std::string& word) {
  size_t end = 0;
  while (end < word.size() && !is_digit(word[end])) ++end;
  return {lower(std::string_view(word).substr(0, end)), word.substr(end)};
}

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

/// A word written in camel case, in its parts: firstConv is first, Conv.
std::vector<std::string> camel_parts(const std::string& word) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < word.size(); ++i) {
    if (i > 0 && is_upper(word[i]) && !is_upper(word[i - 1])) parts.emplace_back();
    parts.back() += word[i];
  }
  return parts;
}

constexpr std::array<std::string_view, 5> kConvolutionWords = {"conv", "convolution", "cnn", "convs", "weightlayer"};
constexpr std::array<std::string_view, 7> kNormWords = {"bn",    "norm", "normalization", "batchnorm", "normalisation",
                                                        "bnorm", "bns"};
constexpr std::array<std::string_view, 14> kShortcutWords = {"downsample", "shortcut", "skip",         "identity", "proj",
                                                             "projection", "short",    "residual",     "match",    "bypass",
                                                             "ds",         "right",    "downsampling", "adjust"};

}  // namespace

Words words_of(std::string_view name) {
  constexpr size_t kMostWords = 64;
  Words words;
  std::string word;
  for (const char c : name) {
    if (is_separator(c) && words.size() + 1 < kMostWords) {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

std::string path_of(std::string_view name, size_t count) {
  size_t words = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool ends = !is_separator(name[i]) && (i + 1 == name.size() || is_separator(name[i + 1]));
    if (ends && ++words == count) return std::string(name.substr(0, i + 1));
  }
  return std::string(count == 0 ? std::string_view() : name);
}

int compare_words(std::string_view a, std::string_view b) {
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    const size_t in_a = digits_at(a, i);
    const size_t in_b = digits_at(b, j);
    if (in_a > 0 && in_b > 0) {
      const int order = compare_digits(a.substr(i, in_a), b.substr(j, in_b));
      if (order != 0) return order;
      i += in_a;
      j += in_b;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j] ? -1 : 1;
    ++i;
    ++j;
  }
  if (i == a.size() && j == b.size()) return 0;
  return i == a.size() ? -1 : 1;
}

int compare(const Words& a, const Words& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (const int order = compare_words(a[i], b[i]); order != 0) return order;
  }
  if (a.size() == b.size()) return 0;
  return a.size() < b.size() ? -1 : 1;
}

bool shows_order(const Words& a, const Words& b) {
  const size_t same = common_words(a, b);
  if (same == a.size() || same == b.size()) return true;
  const std::string& first = a[same];
  const std::string& second = b[same];
  size_t from = 0;
  while (from < first.size() && from < second.size() && first[from] == second[from]) ++from;
  const bool numbers = (from < first.size() && is_digit(first[from])) || (from < second.size() && is_digit(second[from])) ||
                       from == first.size() || from == second.size();
  return numbers || (from + 1 == first.size() && from + 1 == second.size());
}

bool starts_with(const Words& words, const Words& prefix) { return common_words(words, prefix) == prefix.size(); }

size_t common_words(const Words& a, const Words& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<size_t>(end - a.begin());
}

Words without_kind(const Words& words) {
  Words made;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::vector<std::string> parts = camel_parts(words[i]);
    std::string left;
    for (size_t p = 0; p < parts.size(); ++p) {
      const auto [letters, rest] = letters_and_rest(parts[p]);
      const bool last = p + 1 == parts.size();
      if (letters == "batch" && rest.empty() && !(last && i + 1 == words.size())) continue;  // batch_norm, batchNorm
      const bool kind = is_one_of(letters, kConvolutionWords) || is_one_of(letters, kNormWords);
      left += kind ? "@" + rest : parts[p];
    }
    if (!left.empty()) made.push_back(std::move(left));
  }
  return made;
}

bool names_shortcut(const Words& words) {
  std::vector<std::string> parts;
  for (const std::string& word : words) {
    const std::vector<std::string> of_word = camel_parts(word);
    parts.insert(parts.end(), of_word.begin(), of_word.end());
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string letters = letters_and_rest(parts[i]).first;
    // Some code calls the main branch residual_function or residual_branch.
    if (letters == "residual" && i + 1 < parts.size() && !is_digit(parts[i + 1].front())) continue;
    if (is_one_of(letters, kShortcutWords) || letters == "convshortcut" || lower(parts[i]) == "branch1") return true;
  }
  return false;
}

bool names_squeeze(const Words& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    const std::string letters = letters_and_rest(word).first;
    return letters == "se" || letters.starts_with("squeeze") || letters.starts_with("excit") || letters == "selayer" ||
           letters == "semodule" || letters == "seblock";
  });
}

std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& names, size_t count) {
  constexpr size_t kMostCompared = 20000;
  std::vector<std::pair<size_t, const std::string*>> far;
  for (const std::string& each : names) {
    if (far.size() == kMostCompared) break;
    far.emplace_back(distance(name, each), &each);
  }
  std::sort(far.begin(), far.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first < b.first : *a.second < *b.second; });
  std::vector<std::string> near;
  for (size_t i = 0; i < std::min(count, far.size()); ++i) near.push_back(*far[i].second);
  return near;
}

}  // namespace elek::detail
