// SPDX-License-Identifier: Apache-2.0
// The words in a layer's name. "layer1.0.conv1" and "layer1_0_conv1" are both layer1, 0, conv1. Blocks are found by the words
// that layers share; convolutions and batch norms by the words in which they differ. Numbers are compared as numbers, so that
// block 10 comes after block 9. Knows no networks and no files. Internal to models/. Tests: tests/models/layer_words_test.cpp
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace elek::detail {

using Words = std::vector<std::string>;

/// Splits at '.', '_', '/' and ':'. Empty words are left out. The 64th word takes the rest of a longer name, which no network
/// has.
[[nodiscard]] Words words_of(std::string_view name);
/// The beginning of a name that holds its first `count` words.
[[nodiscard]] std::string path_of(std::string_view name, size_t count);

/// The sign of the difference: numbers inside a word are compared as numbers ("conv10" after "conv9").
[[nodiscard]] int compare_words(std::string_view a, std::string_view b);
[[nodiscard]] int compare(const Words& a, const Words& b);

/// Whether the names say which of the two comes first: they first differ in a number, or in a single letter (conv1 and conv2,
/// branch2a and branch2b), or one name continues the other. "expand" and "project" do not say it.
[[nodiscard]] bool shows_order(const Words& a, const Words& b);

[[nodiscard]] bool starts_with(const Words& words, const Words& prefix);
/// How many words at the beginning are equal.
[[nodiscard]] size_t common_words(const Words& a, const Words& b);

/// The same words for a convolution and for its batch norm: conv1 and bn1 become @1, conv1.conv and conv1.norm become @1 @,
/// firstConv and firstNorm become first@.
[[nodiscard]] Words without_kind(const Words& words);

/// Whether a word says that the layer lies on the shortcut of a block: downsample, shortcut, skip, identity, proj …
[[nodiscard]] bool names_shortcut(const Words& words);
/// Whether a word says that the layer is a part of squeeze-and-excitation.
[[nodiscard]] bool names_squeeze(const Words& words);

/// Up to `count` of the names that need the fewest changed letters to become `name`, best first.
[[nodiscard]] std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& names,
                                                     size_t count);

}  // namespace elek::detail
