// SPDX-License-Identifier: Apache-2.0
#include "models/c_array.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "core/file.h"

namespace elek {
namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

/// Text that may stand in a C comment.
std::string in_comment(std::string text) {
  for (char& c : text) {
    if (c == '*' || static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return text;
}

/// The bytes as 64-bit words of a little-endian machine, the only kind that elek runs on. So the array is aligned, its text is
/// half as long as one of bytes, and it compiles several times faster. The last word is filled up with zeros.
std::string words_of(std::span<const std::byte> bytes) {
  constexpr size_t kWord = sizeof(uint64_t), kInLine = 6;
  std::string text;
  text.reserve(bytes.size() / kWord * 20 + 100);
  for (size_t at = 0; at < bytes.size(); at += kWord) {
    std::array<unsigned char, kWord> word{};
    std::memcpy(word.data(), bytes.data() + at, std::min(kWord, bytes.size() - at));
    uint64_t value = 0;
    for (size_t i = kWord; i-- > 0;) value = value << 8 | word[i];
    std::array<char, 2 * kWord> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    text += at / kWord % kInLine == 0 ? "\n  0x" : " 0x";
    text.append(digits.data(), end);
    text += ',';
  }
  return text;
}

}  // namespace

bool is_c_identifier(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void save_c_array(const CArray& a, const std::string& path) {
  ELEK_CHECK(is_c_identifier(a.name), "save_c_array: '" + a.name + "' is no C identifier");
  const std::string capitals = upper(a.name);
  std::string text =
      "/* Made by elek from " + in_comment(a.source) +
      ". Include it in one source file: the array is static.\n"
      " * The network: pass it to elek_session_open_memory(). The options: those for which the block's size holds. */\n"
      "#include <elek/c.h>\n\n";
  const auto constant = [&](const char* what, const auto& value, const std::string& remark) {
    text += "#define " + capitals + "_" + what + " " + std::to_string(value) + (remark.empty() ? "" : " /* " + remark + " */") +
            "\n";
  };
  constant("CHANNELS", a.input.channels, "of an image, uint8 [height, width, channels]");
  constant("HEIGHT", a.input.height, "");
  constant("WIDTH", a.input.width, "");
  constant("CLASSES", a.classes, "logits of an image");
  constant("BATCH", a.batch, "images computed together");
  constant("BLOCK_BYTES", a.block_bytes,
           "for a processor that runs '" + in_comment(a.kernels) + "'. Another kind may need more; opening then says so");
  constant("FILE_BYTES", a.file.size(), "");
  text += "\nstatic inline elek_options " + a.name + "_options(void) {\n  elek_options options = elek_default_options();\n";
  const auto option = [&](const char* field, const std::string& value) {
    text += std::string("  options.") + field + " = " + value + ";\n";
  };
  option("batch", capitals + "_BATCH");
  option("threads", std::to_string(a.threads));
  option("precision", "ELEK_PRECISION_" + upper(std::string(name_of(a.precision))));
  option("deterministic", a.deterministic ? "1" : "0");
  text += "  return options;\n}\n\nstatic const uint64_t " + a.name + "_file[] = {" + words_of(a.file) + "\n};\n";
  write_whole_file(path, text);
}

}  // namespace elek
