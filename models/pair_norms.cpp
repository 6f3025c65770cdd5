// SPDX-License-Identifier: Apache-2.0
// Which batch norm belongs to which convolution: by equal names (conv1 and bn1), by neighbouring places in a list (0 and 1),
// or, for those that are left, by order; if the sizes then leave a choice, a note says so. Sizes must agree in every case. If a
// batch norm has the size of the convolution's input instead, the network is a pre-activation network, which is refused.
// Tests: tests/models/import_names_test.cpp
#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "models/structure.h"

namespace elek::detail {
namespace {

bool is_number(const std::string& word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The norm directly behind the convolution in a list: layer1.0.left.3 and layer1.0.left.4.
bool is_next(const Words& conv, const Words& norm) {
  constexpr size_t kLongest = 9;  // digits that fit an int64
  if (conv.size() != norm.size() || conv.empty() || common_words(conv, norm) + 1 != conv.size()) return false;
  const std::string& a = conv.back();
  const std::string& b = norm.back();
  if (!is_number(a) || !is_number(b) || a.size() > kLongest || b.size() > kLongest) return false;
  return std::strtoll(b.c_str(), nullptr, 10) == std::strtoll(a.c_str(), nullptr, 10) + 1;
}

class Pairing {
 public:
  Pairing(std::vector<ConvLayer*> convs, std::vector<FileLayer>& norms, bool keeps_order, const std::string& where,
          std::vector<std::string>& guessed)
      : convs_(std::move(convs)), norms_(norms), keeps_order_(keeps_order), where_(where), guessed_(guessed) {}

  void pair() {
    by([](const Words& conv, const Words& norm) { return without_kind(conv) == without_kind(norm); });
    by(is_next);
    by([](const Words& conv, const Words& norm) { return norm.size() > conv.size() && starts_with(norm, conv); });
    by_order();
    for (const ConvLayer* each : convs_) {
      if (each->norm || each->conv.bias.given()) continue;
      throw InputError(
          where_ + ": the convolution " + each->conv.text() +
          " has neither a bias nor a batch norm that belongs to it; networks without normalisation and other kinds of it "
          "are not supported");
    }
  }

 private:
  template <typename Belongs>
  void by(const Belongs& belongs) {
    for (ConvLayer* each : convs_) {
      if (each->norm) continue;
      const auto fits = [&](const FileLayer& norm) { return belongs(each->conv.words, norm.words); };
      const auto found = std::find_if(norms_.begin(), norms_.end(), fits);
      if (found == norms_.end() || std::find_if(std::next(found), norms_.end(), fits) != norms_.end()) continue;
      give(*each, found);
    }
  }

  /// What has no name in common is paired in the file's order, or in that of the names, if the numbers and all sizes agree.
  void by_order() {
    std::vector<ConvLayer*> left;
    for (ConvLayer* each : convs_) {
      if (!each->norm) left.push_back(each);
    }
    if (left.size() != norms_.size() || left.empty()) return;
    const auto earlier = [this](const FileLayer& a, const FileLayer& b) {
      return keeps_order_ ? a.position < b.position : compare(a.words, b.words) < 0;
    };
    bool numbered = true;  // bn1, bn2, bn3: the order of the block
    for (size_t i = 1; i < norms_.size(); ++i) numbered = numbered && shows_order(norms_[i - 1].words, norms_[i].words);
    if (!numbered) {
      std::sort(left.begin(), left.end(), [&](const ConvLayer* a, const ConvLayer* b) { return earlier(a->conv, b->conv); });
      std::sort(norms_.begin(), norms_.end(), earlier);
    }
    for (size_t i = 0; i < left.size(); ++i) check(*left[i], norms_[i]);
    std::set<int64_t> sizes;
    for (const ConvLayer* each : left) sizes.insert(each->conv.outputs());
    const bool choice = sizes.size() < left.size();
    for (ConvLayer* each : left) {
      if (choice) guessed_.push_back("the batch norm '" + norms_.front().path + "' comes behind '" + each->conv.path + "'");
      give(*each, norms_.begin());
    }
  }

  void give(ConvLayer& to, std::vector<FileLayer>::iterator norm) {
    check(to, *norm);
    to.norm = std::move(*norm);
    norms_.erase(norm);
  }

  void check(const ConvLayer& to, const FileLayer& norm) const {
    if (norm.outputs() == to.conv.outputs()) return;
    const bool before = norm.outputs() == to.conv.inputs() * to.groups;
    throw InputError(where_ + ": the batch norm " + norm.text() + " does not fit behind the convolution " + to.conv.text() +
                     (before ? ", but before it: this is a pre-activation network (ResNet v2), which is not supported" : ""));
  }

  std::vector<ConvLayer*> convs_;
  std::vector<FileLayer>& norms_;
  const bool keeps_order_;
  const std::string& where_;
  std::vector<std::string>& guessed_;
};

}  // namespace

void pair_norms(std::vector<ConvLayer*> convs, std::vector<FileLayer>& norms, bool keeps_order, const std::string& where,
                std::vector<std::string>& guessed) {
  Pairing(std::move(convs), norms, keeps_order, where, guessed).pair();
}

}  // namespace elek::detail
