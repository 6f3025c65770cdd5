// SPDX-License-Identifier: Apache-2.0
// The command's DATA words, slices of data, and how many samples two data sets share.
// Tests: tests/data/dataset_test.cpp
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "data/cifar.h"
#include "data/idx.h"
#include "data/image_folder.h"
#include "data/synthetic.h"
#include "data/view.h"
#include "elek/data.h"

namespace elek {
namespace {

constexpr const char* kForms =
    "idx:DIR[:train|test], images:DIR, cifar10:DIR[:train|test] or synthetic:N[:seed], each with an optional slice [a:b]";

class SliceOf final : public DatasetView {
 public:
  SliceOf(std::shared_ptr<const Dataset> whole, int64_t begin, int64_t end)
      : DatasetView(std::move(whole)), begin_(begin), count_(end - begin) {}
  [[nodiscard]] int64_t size() const override { return count_; }

 private:
  [[nodiscard]] int64_t at(int64_t index) const override {
    ELEK_CHECK(index >= 0 && index < count_, "sample " + std::to_string(index) + " of a slice of " + std::to_string(count_));
    return begin_ + index;
  }

  const int64_t begin_;
  const int64_t count_;
};

// Parses decimal digits only; no value if the word is something else or too large.
template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Range {
  std::optional<int64_t> begin, end;
};

// Removes "[a:b]" from the end of the word. Brackets without a colon belong to the path.
std::optional<Range> take_slice(std::string_view& word, const std::string& data) {
  if (word.empty() || word.back() != ']') return std::nullopt;
  const size_t open = word.rfind('[');
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view inside = word.substr(open + 1, word.size() - open - 2);
  const size_t colon = inside.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  Range range;
  const std::string_view begin = inside.substr(0, colon);
  const std::string_view end = inside.substr(colon + 1);
  if (!begin.empty()) range.begin = parse_number<int64_t>(begin);
  if (!end.empty()) range.end = parse_number<int64_t>(end);
  if ((!begin.empty() && !range.begin) || (!end.empty() && !range.end)) {
    throw UsageError("data '" + data + "': slice [" + std::string(inside) +
                     "]; expected [a:b] with numbers of at least 0; each may be left out");
  }
  word.remove_suffix(word.size() - open);
  return range;
}

// Removes ":train" or ":test" from the end. Without one it is the test split, because most data are named for evaluation.
std::string take_split(std::string_view& word) {
  for (const std::string_view split : {std::string_view("train"), std::string_view("test")}) {
    if (word.size() > split.size() && word.ends_with(split) && word[word.size() - split.size() - 1] == ':') {
      word.remove_suffix(split.size() + 1);
      return std::string(split);
    }
  }
  return "test";
}

std::shared_ptr<const Dataset> parse_synthetic(std::string_view rest, const std::string& data, const ImageShape& shape) {
  const size_t colon = rest.find(':');
  const std::optional<int64_t> count = parse_number<int64_t>(rest.substr(0, colon));
  const std::optional<uint64_t> seed =
      colon == std::string_view::npos ? std::optional<uint64_t>(0) : parse_number<uint64_t>(rest.substr(colon + 1));
  if (!count || *count < 1 || !seed) {
    throw UsageError("data '" + data + "': expected synthetic:N[:seed] with N of at least 1 and a seed of 64 bits");
  }
  return make_synthetic(*count, *seed, shape);
}

std::shared_ptr<const Dataset> cut(std::shared_ptr<const Dataset> whole, const Range& range, const std::string& data) {
  const int64_t begin = range.begin.value_or(0);
  const int64_t end = range.end.value_or(whole->size());
  if (begin >= end || end > whole->size()) {
    throw UsageError("data '" + data + "': slice [" + std::to_string(begin) + ":" + std::to_string(end) + "] of " +
                     std::to_string(whole->size()) + " samples; expected 0 <= a < b <= " + std::to_string(whole->size()));
  }
  return std::make_shared<SliceOf>(std::move(whole), begin, end);
}

}  // namespace

std::shared_ptr<const Dataset> parse_data(const std::string& data, const ImageShape& shape) {
  std::string_view word(data);
  const std::optional<Range> range = take_slice(word, data);
  const size_t colon = word.find(':');
  const std::string_view kind = word.substr(0, colon);
  std::string_view rest = colon == std::string_view::npos ? std::string_view() : word.substr(colon + 1);
  std::string split;
  if (kind == "idx" || kind == "cifar10") split = take_split(rest);
  if (rest.empty()) throw UsageError("data '" + data + "': expected " + kForms);
  std::shared_ptr<const Dataset> dataset;
  if (kind == "idx") {
    dataset = open_idx(std::string(rest), split);
  } else if (kind == "cifar10") {
    dataset = open_cifar10(std::string(rest), split);
  } else if (kind == "images") {
    dataset = open_image_folder(std::string(rest));
  } else if (kind == "synthetic") {
    dataset = parse_synthetic(rest, data, shape);
  } else {
    throw UsageError("data '" + data + "': '" + std::string(kind) + "' is not a kind of data; expected " + kForms);
  }
  return range ? cut(std::move(dataset), *range, data) : dataset;
}

uint64_t content_hash(const Dataset& dataset) {
  uint64_t hash = kHashSeed;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    throw_if_interrupted();
    const std::array<uint64_t, 2> sample{dataset.content_hash(i), static_cast<uint64_t>(int64_t{dataset.label(i)})};
    hash = hash_bytes(sample.data(), sizeof(sample), hash);
  }
  return hash;
}

int64_t overlap(const Dataset& a, const Dataset& b) {
  std::unordered_set<uint64_t> contents;
  contents.reserve(static_cast<size_t>(b.size()));
  for (int64_t i = 0; i < b.size(); ++i) {
    throw_if_interrupted();
    contents.insert(b.content_hash(i));
  }
  int64_t shared = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    throw_if_interrupted();
    shared += contents.contains(a.content_hash(i)) ? 1 : 0;
  }
  return shared;
}

}  // namespace elek
