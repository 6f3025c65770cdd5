// SPDX-License-Identifier: Apache-2.0
// Codes and texts of errors, null pointers, missing files, and errors of several threads.
#include <new>
#include <stdexcept>
#include <thread>

#include "tests/api/c_api.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(CApiErrors, MissingFileIsAnInputErrorThatNamesIt) {
  elek_model* model = nullptr;
  EXPECT_EQ(elek_model_load("/nowhere/net.safetensors", &model), ELEK_ERROR_INPUT);
  EXPECT_EQ(model, nullptr);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("/nowhere/net.safetensors"));
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open_file("/nowhere/net.safetensors", nullptr, &session), ELEK_ERROR_INPUT);
  EXPECT_EQ(session, nullptr);
}

TEST(CApiErrors, NullPointersAreUsageErrors) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  const SessionHandle session = open(model.get(), elek_default_options());
  elek_shape shape;
  elek_class top;
  elek_memory memory = elek_empty_memory();
  size_t count = 0;
  float logits[10];
  uint8_t pixels[360] = {};
  elek_session* made = nullptr;
  const elek_status all[] = {
      elek_model_load(nullptr, nullptr),
      elek_model_load_memory(nullptr, 0, nullptr),
      elek_model_shape(nullptr, &shape),
      elek_model_shape(model.get(), nullptr),
      elek_model_read_image(model.get(), nullptr, pixels, 360),
      elek_model_decode_image(model.get(), nullptr, 0, pixels, 360),
      elek_model_top_k(model.get(), nullptr, 1, &top),
      elek_model_memory(nullptr, nullptr, &memory),
      elek_model_memory(model.get(), nullptr, nullptr),
      elek_session_open(nullptr, nullptr, &made),
      elek_session_open(model.get(), nullptr, nullptr),
      elek_session_open_file(nullptr, nullptr, &made),
      elek_session_run_pixels(nullptr, pixels, 1, logits),
      elek_session_run_pixels(session.get(), nullptr, 1, logits),
      elek_session_run_values(session.get(), nullptr, 1, logits),
      elek_session_run_values(nullptr, logits, 1, logits),
      elek_session_memory(nullptr, &memory),
      elek_session_memory(session.get(), nullptr),
      elek_session_statistics(nullptr, "relu", nullptr, 0, &count),
      elek_session_statistics(session.get(), nullptr, nullptr, 0, &count),
      elek_session_reset_statistics(nullptr),
  };
  for (const elek_status status : all) EXPECT_EQ(status, ELEK_ERROR_USAGE) << "function " << &status - all;
  elek_model_free(nullptr);
  elek_session_close(nullptr);
  EXPECT_EQ(elek_session_model(nullptr), nullptr);
  EXPECT_EQ(elek_model_label(nullptr, 0), nullptr);
  EXPECT_EQ(elek_session_watched(nullptr, 0), nullptr);
}

TEST(CApiErrors, AnExceptionOfACallersFunctionBecomesACode) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.deallocate = [](void*, void*, size_t) {};
  options.allocate = [](void*, size_t, size_t, const char*) -> void* { throw std::runtime_error("thrown by the caller"); };
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), ELEK_ERROR_INTERNAL);
  EXPECT_STREQ(elek_last_error(nullptr), "thrown by the caller");
  options.allocate = [](void*, size_t, size_t, const char*) -> void* { throw 7; };  // NOLINT: no exception class
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), ELEK_ERROR_INTERNAL);
  options.allocate = [](void*, size_t, size_t, const char*) -> void* { throw std::bad_alloc(); };
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), ELEK_ERROR_MEMORY);
  EXPECT_EQ(session, nullptr);
}

TEST(CApiErrors, ASessionKeepsItsOwnTextAndEveryThreadToo) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  const SessionHandle session = open(model.get(), elek_default_options());
  EXPECT_STREQ(elek_last_error(session.get()), "");
  size_t count = 0;
  std::string on_thread;
  std::thread([&] {
    EXPECT_STREQ(elek_last_error(nullptr), "");
    EXPECT_EQ(elek_session_statistics(session.get(), "relu", nullptr, 0, &count), ELEK_ERROR_USAGE);
    on_thread = elek_last_error(nullptr);
  }).join();
  EXPECT_THAT(on_thread, HasSubstr("options.watch"));
  elek_model* none = nullptr;
  EXPECT_EQ(elek_model_load("/nowhere", &none), ELEK_ERROR_INPUT);
  EXPECT_EQ(elek_last_error(session.get()), on_thread);  // another thread's call with it, and no later one
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("/nowhere"));
}

TEST(CApiErrors, LongTextsAreCutBetweenCharacters) {
  std::string path = "/nowhere/";
  while (path.size() < 3000) path += "\xC3\xA7";  // ç, two bytes
  elek_model* model = nullptr;
  for (const char* shift : {"", "x"}) {
    EXPECT_EQ(elek_model_load((shift + path).c_str(), &model), ELEK_ERROR_INPUT);
    const std::string text = elek_last_error(nullptr);
    EXPECT_LE(text.size(), 1023U);
    EXPECT_GE(text.size(), 1022U);
    EXPECT_EQ(text.back(), '\xA7');  // a whole ç
  }
}

}  // namespace
}  // namespace elek::test
