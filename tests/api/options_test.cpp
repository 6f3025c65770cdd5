// SPDX-License-Identifier: Apache-2.0
// Options that are not possible, and structs of other versions of the header.
#include "tests/api/c_api.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

void expect_refused(const elek_options& options, const char* text, elek_status code = ELEK_ERROR_USAGE) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), code) << text;
  EXPECT_EQ(session, nullptr);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr(text));
}

TEST(CApiOptions, WhatCannotBeIsNamed) {
  elek_options options = elek_default_options();
  options.struct_size = 0;
  expect_refused(options, "struct_size");
  options = elek_default_options();
  options.batch = -1;
  expect_refused(options, "batch");
  options = elek_default_options();
  options.threads = -1;
  expect_refused(options, "threads");
  options = elek_default_options();
  options.precision = 4;
  expect_refused(options, "precision");
  options = elek_default_options();
  options.device = 2;
  expect_refused(options, "device is 2");
  options = elek_default_options();
  options.device_index = 1;
  expect_refused(options, "device_index");
  options = elek_default_options();
  options.precision = ELEK_PRECISION_F16;
  expect_refused(options, "f16");
}

TEST(CApiOptions, ADeviceThatIsNotThereIsADeviceError) {
  if (elek_device_available(ELEK_DEVICE_CUDA, 99) == ELEK_OK) GTEST_SKIP() << "a hundred GPUs";
  EXPECT_STRNE(elek_last_error(nullptr), "");
  EXPECT_EQ(elek_device_available(ELEK_DEVICE_CUDA, 99), ELEK_ERROR_DEVICE);
  EXPECT_EQ(elek_device_available(ELEK_DEVICE_CPU, 0), ELEK_OK);
  EXPECT_EQ(elek_device_available(7, 0), ELEK_ERROR_USAGE);
  elek_options options = elek_default_options();
  options.device = ELEK_DEVICE_CUDA;
  options.device_index = 99;
  expect_refused(options, "", ELEK_ERROR_DEVICE);
}

/// A header of a later version: the same fields and one more.
struct Later {
  elek_options known;
  uint64_t added;
};

TEST(CApiOptions, ANewerStructIsTakenIfItsNewFieldsAreZero) {
  Later later = {elek_default_options(), 0};
  later.known.struct_size = sizeof later;
  const ModelFile file;
  const ModelHandle model = load(file.path());
  const SessionHandle session = open(model.get(), later.known);
  later.added = 1;
  elek_session* refused = nullptr;
  EXPECT_EQ(elek_session_open(model.get(), &later.known, &refused), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("does not know"));
}

TEST(CApiOptions, FiguresAreWrittenAsFarAsTheCallersStructGoes) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  struct {
    elek_memory known;
    uint64_t added;
    uint64_t beyond;
  } later = {elek_empty_memory(), 5, 6};
  later.known.struct_size = sizeof later.known + sizeof later.added;
  ASSERT_EQ(elek_model_memory(model.get(), nullptr, &later.known), ELEK_OK);
  EXPECT_GT(later.known.weights_bytes, 0U);
  EXPECT_EQ(later.known.struct_size, sizeof later.known + sizeof later.added);
  EXPECT_EQ(later.added, 0U);
  EXPECT_EQ(later.beyond, 6U);
  later.known.struct_size = sizeof(size_t);
  EXPECT_EQ(elek_model_memory(model.get(), nullptr, &later.known), ELEK_ERROR_USAGE);
}

}  // namespace
}  // namespace elek::test
