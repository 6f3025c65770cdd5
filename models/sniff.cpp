// SPDX-License-Identifier: Apache-2.0
#include "models/sniff.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <optional>
#include <string_view>

namespace elek {

namespace {

constexpr size_t kTextBytes = 512;  // as many bytes must be text in a text file

struct Magic {
  size_t at;
  std::string_view bytes;
  FileKind kind;
};
constexpr std::array kMagics = {
    Magic{0, {"PK\x03\x04", 4}, FileKind::kZip},
    Magic{0, {"PK\x05\x06", 4}, FileKind::kZip},
    Magic{0, "\x89HDF\r\n\x1a\n", FileKind::kHdf5},
    Magic{0, "\x93NUMPY", FileKind::kNumpyArray},
    Magic{0, "\x1f\x8b", FileKind::kGzip},
    Magic{4, "TFL3", FileKind::kTfLite},
    Magic{0, "version https://git-lfs", FileKind::kLfsPointer},
    Magic{257, "ustar", FileKind::kTar},
};

bool is_text_byte(char c) {  // of UTF-8
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f && byte < 0xf8) || c == '\n' || c == '\r' || c == '\t';
}

/// A header's length, then the header, which is an object.
bool is_safetensors(std::string_view text) {
  uint64_t length = 0;
  if (text.size() < 9 || text[8] != '{') return false;
  std::memcpy(&length, text.data(), sizeof(length));
  return length >= 2 && length < (uint64_t{1} << 32);
}

/// The first tars have no magic, but every header has a checksum: the sum of its bytes, with blanks for the checksum itself.
bool is_old_tar(std::string_view text) {
  constexpr size_t kHeader = 512, kSumAt = 148, kSumBytes = 8;
  if (text.size() < kHeader) return false;
  uint32_t sum = 0, claimed = 0;
  for (size_t i = 0; i < kHeader; ++i) {
    const bool blank = i >= kSumAt && i < kSumAt + kSumBytes;
    sum += blank ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(text[i]);
  }
  bool digits = false;
  for (const char c : text.substr(kSumAt, kSumBytes)) {
    if (c >= '0' && c <= '7') {
      claimed = claimed * 8 + static_cast<uint32_t>(c - '0');
      digits = true;
    } else if (c != ' ' && c != '\0') {
      return false;
    }
  }
  return digits && claimed == sum;
}

/// Protocols 2 and later start with their number. The older ones start with what is in them: a dict, a list or a class.
bool is_pickle(std::string_view text) {
  if (text.size() >= 2 && text[0] == '\x80') return text[1] >= 2 && text[1] <= 5;
  for (const std::string_view start :
       {"(dp", "(lp", "(iplist", "ccollections\n", "ctorch", "cnumpy", "cargparse\n", "}q", "]q", "(dq"}) {
    if (text.starts_with(start)) return true;
  }
  return false;
}

/// A protobuf message whose first field is a small number (the version of the format) and the second one that may follow.
bool is_onnx(std::string_view text) {
  constexpr std::string_view kNext("\x12\x1a\x22\x28\x32\x3a\x42", 7);  // producer, version, domain, …, graph, operator sets
  return text.size() > 4 && text[0] == '\x08' && text[1] > 0 && text[1] < 64 && kNext.find(text[2]) != std::string_view::npos;
}

FileKind text_kind(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const size_t first = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  std::string start(text.substr(first, 14));
  std::transform(start.begin(), start.end(), start.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head")) return FileKind::kHtml;
  return start.starts_with('{') ? FileKind::kJson : FileKind::kText;
}

}  // namespace

FileKind kind_of(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) return FileKind::kEmpty;
  if (is_safetensors(text)) return FileKind::kSafetensors;
  for (const Magic& magic : kMagics)
    if (text.size() > magic.at && text.substr(magic.at).starts_with(magic.bytes)) return magic.kind;
  if (is_pickle(text)) return FileKind::kPickle;
  if (is_old_tar(text)) return FileKind::kTar;
  if (is_onnx(text)) return FileKind::kOnnx;
  const std::string_view start = text.substr(0, kTextBytes);
  return std::all_of(start.begin(), start.end(), is_text_byte) ? text_kind(text) : FileKind::kUnknown;
}

std::string description_of(FileKind kind) {
  switch (kind) {
    case FileKind::kEmpty:
      return "the file is empty; get it again";
    case FileKind::kSafetensors:
      return "a safetensors file";
    case FileKind::kZip:
      return "a zip archive";
    case FileKind::kPickle:
      return "a Python pickle, as PyTorch before 1.6 wrote its files";
    case FileKind::kTar:
      return "a tar archive";
    case FileKind::kOnnx:
      return "an ONNX model";
    case FileKind::kHdf5:
      return "an HDF5 file, as Keras writes them; export the network to ONNX instead (tf2onnx does it)";
    case FileKind::kNumpyArray:
      return "a NumPy array (.npy) without a name; save all of them with numpy.savez(FILE, **state_dict)";
    case FileKind::kGzip:
      return "a gzip file; unpack it first (gunzip, or tar -xzf)";
    case FileKind::kTfLite:
      return "a TensorFlow Lite model, which elek does not read; export the network to ONNX instead";
    case FileKind::kLfsPointer:
      return "a Git LFS pointer, not the file itself; get the file with: git lfs pull";
    case FileKind::kHtml:
      return "an HTML page, not the file itself; the download needs another address or a login";
    case FileKind::kJson:
      return "a JSON text";
    case FileKind::kText:
      return "a text file";
    case FileKind::kUnknown:
      break;
  }
  return "a file of an unknown kind, or a damaged one";
}

}  // namespace elek
