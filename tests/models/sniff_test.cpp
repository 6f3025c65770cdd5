// SPDX-License-Identifier: Apache-2.0
// A file's kind by its first bytes, and that a file which is refused is called by its right name.
#include "models/sniff.h"

#include <gmock/gmock.h>

#include "elek/model.h"
#include "models/weights_file.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

FileKind kind(const std::string& bytes) { return kind_of(std::as_bytes(std::span<const char>(bytes))); }

/// A tar header for an empty file, as the first tars were: without a magic, with a checksum.
std::string old_tar() {
  std::string header(512, '\0');
  header.replace(0, 5, "names");
  header.replace(148, 8, "        ");
  uint32_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::string digits(6, '0');
  for (size_t i = 6; i-- > 0; sum /= 8) digits[i] = static_cast<char>('0' + sum % 8);
  header.replace(148, 8, digits + std::string("\0 ", 2));
  return header;
}

TEST(Sniff, KnowsAFileByItsBytes) {
  EXPECT_EQ(kind(""), FileKind::kEmpty);
  EXPECT_EQ(kind(test::container("{}", "")), FileKind::kSafetensors);
  EXPECT_EQ(kind(std::string("PK\x03\x04\x14\0\0\0", 8)), FileKind::kZip);
  EXPECT_EQ(kind("\x80\x02}q\x01."), FileKind::kPickle);
  EXPECT_EQ(kind("\x80\x05]\x94."), FileKind::kPickle);
  EXPECT_EQ(kind("(dp0\nS'a'\np1\nI1\ns."), FileKind::kPickle);
  EXPECT_EQ(kind("ccollections\nOrderedDict\n(tR."), FileKind::kPickle);
  EXPECT_EQ(kind(std::string(257, 'x') + "ustar"), FileKind::kTar);
  EXPECT_EQ(kind(old_tar()), FileKind::kTar);
  EXPECT_EQ(kind(std::string(512, '\0')), FileKind::kUnknown) << "zeros have no checksum";
  EXPECT_EQ(kind("\x08\x07\x12\x07pytorch"), FileKind::kOnnx);
  EXPECT_EQ(kind("\x89HDF\r\n\x1a\n"), FileKind::kHdf5);
  EXPECT_EQ(kind("\x93NUMPY\x01"), FileKind::kNumpyArray);
  EXPECT_EQ(kind("\x1f\x8b\x08"), FileKind::kGzip);
  EXPECT_EQ(kind(std::string("\x1c\0\0\0TFL3", 8)), FileKind::kTfLite);
  EXPECT_EQ(kind("version https://git-lfs.github.com/spec/v1\noid"), FileKind::kLfsPointer);
  EXPECT_EQ(kind("\n<!DOCTYPE HTML><html>"), FileKind::kHtml);
  EXPECT_EQ(kind("<html><body>Sign in</body></html>"), FileKind::kHtml);
  EXPECT_EQ(kind(" {\"weight_map\": {}}"), FileKind::kJson);
  EXPECT_EQ(kind("conv1 0.5\n"), FileKind::kText);
  EXPECT_EQ(kind(std::string("\xff\xfe\x00\x01", 4)), FileKind::kUnknown);
}

TEST(Sniff, ARefusedFileIsCalledByItsNameFirst) {
  const test::Folder folder;
  const auto refused = [&](const std::string& bytes) {
    test::write_all(folder / "w", bytes);
    return message_of<InputError>([&] { (void)WeightsFile::open(folder / "w"); });
  };
  EXPECT_THAT(refused("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
              AllOf(HasSubstr(folder / "w"), HasSubstr("Git LFS pointer"), HasSubstr("git lfs pull")));
  EXPECT_THAT(refused("<!DOCTYPE html><html><body>Sign in</body></html>"), HasSubstr("an HTML page"));
  EXPECT_THAT(refused("\x89HDF\r\n\x1a\n\x00\x00"), AllOf(HasSubstr("HDF5"), HasSubstr("tf2onnx")));
  EXPECT_THAT(refused("\x08\x07\x12\x07pytorch"), HasSubstr("an ONNX model"));
  EXPECT_THAT(refused(""), HasSubstr("the file is empty"));
}

TEST(Sniff, AWeightsFileGivenAsAModelIsSentToPrepare) {
  const test::Folder folder;
  test::write_all(folder / "w.onnx", "\x08\x07\x12\x07pytorch");
  EXPECT_THAT(message_of<InputError>([&] { (void)load_model(folder / "w.onnx", host_resource()); }),
              AllOf(HasSubstr("expected a model file of elek"), HasSubstr("an ONNX model")));
}

}  // namespace
}  // namespace elek
